"""An ingest of one volume of many thin slabs that take a while each, to be killed; it is a script.

    slow_slabs.py SOURCES ARCHIVE LOG EVERY_S SLAB_S WORKERS

Each slab that is begun, and each that is made, is a line of LOG. Checkpoints are written every
EVERY_S seconds, with 0 after each slab, with "usual" as always. WORKERS is a number, or "threads".
Prints how many slabs were there before.
"""

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from sansfilm import convert, ingest
from sansfilm.options import Options, Storage
from sansfilm.run.interrupt import draining
from sansfilm.store import checkpoint

THIN = Options(storage=Storage(slab=2, smallest=8, chunk=8, slab_bytes=2**15))
"""Two slices of 32 x 40 pixels to a slab."""


def start(sources, url, log, workers, every=0.0, seconds=0.1, endpoint=""):
    """Start the script in a process group of its own."""
    told = map(str, (sources, url, log, every, seconds, workers))
    path = os.pathsep.join(path for path in sys.path if path)
    there = {"AWS_ENDPOINT_URL": endpoint} if endpoint else {}
    return subprocess.Popen(
        [sys.executable, __file__, *told], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True, env=os.environ | {"PYTHONPATH": path} | there,
    )  # fmt: skip


def lines(log: Path, what: str = "made") -> list[str]:
    """Return which slabs were made, or begun, so far."""
    told = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return [index for kind, index in told if kind == what]


def slow(write, log, seconds, target, run, plan):
    """Write a slab, slowly."""

    def note(what):
        with Path(log).open("a") as file:
            file.write(f"{what} {plan.index}\n")

    note("begun")
    time.sleep(seconds)
    result = write(target, run, plan)
    note("made")
    return result


if __name__ == "__main__":
    sources, url, log, every, seconds, workers = sys.argv[1:]
    if every != "usual":
        checkpoint.FIRST_S = checkpoint.EVERY_S = float(every)
        checkpoint.SHARE *= checkpoint.EVERY_S > 0
    convert.write_slab = partial(slow, convert.write_slab, log, float(seconds))
    how = {} if workers == "threads" else {"workers": int(workers)}
    with draining():
        sys.stdout.write(f"{ingest(sources, url, options=THIN, **how).slabs_before}\n")
