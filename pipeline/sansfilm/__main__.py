"""`python -m sansfilm` is the `sansfilm` command."""

from sansfilm.cli.main import run

run()
