"""How the process of a guard comes to be: a fork of this one where that is safe, else a new Python.

A new Python takes 0.12 s of processor time until it can decode, a fork 0.003 s.
"""

import json
import os
import signal
import subprocess
import sys
from typing import Protocol

from sansfilm import forks
from sansfilm.decode import guard_worker

_RUN = """\
import sys, json
sys.path[:] = json.loads(sys.argv[1])
from sansfilm.decode.guard_worker import main
main(*map(int, sys.argv[2:]))
"""


class Process(Protocol):
    """What guards use of subprocess.Popen."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, or raise subprocess.TimeoutExpired."""

    def kill(self) -> None:
        """End it, whatever it does."""


def start(*fds: int) -> Process:
    """Start a process that runs `guard_worker.main` on these file descriptors, and has no others.

    Does not wait for it.
    """
    if forks.may_fork():
        return forks.Fork(lambda: _serve(fds), keep=fds)
    # One thread: numpy's are not needed here.
    return subprocess.Popen(
        [sys.executable, "-c", _RUN, json.dumps(sys.path), *map(str, fds)],
        pass_fds=fds, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip


def _serve(fds: tuple[int, ...]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    guard_worker.main(*fds)
