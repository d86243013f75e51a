"""Preloaded by workers of the tests: slabs take a while, and each is noted in a file.

SANSFILM_TEST_NOTES is the file, SANSFILM_TEST_SLOW_S how long a slab takes more. Beside the notes a
file `hold` keeps all slabs from being begun.
"""

import os
import time
from pathlib import Path

from sansfilm import tasks

_write = tasks.write_slab


def write_slab(*told, **how):
    path = Path(os.environ["SANSFILM_TEST_NOTES"])
    while path.with_name("hold").exists():
        time.sleep(0.05)
    time.sleep(float(os.environ["SANSFILM_TEST_SLOW_S"]))
    result = _write(*told, **how)
    with path.open("a") as notes:
        notes.write(f"{time.time()}\n")
    return result


tasks.write_slab = write_slab
