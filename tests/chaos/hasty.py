"""The command `sansfilm` that waits less for an answer, so that stalls can be tried often."""

import os

from sansfilm import remote

remote._S3["config_kwargs"]["read_timeout"] = float(os.environ["SANSFILM_TEST_READ_S"])

if __name__ == "__main__":
    from sansfilm.cli.main import run

    run()
