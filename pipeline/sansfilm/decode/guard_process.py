"""How the process of a guard comes to be: a fork of this one where that is safe, else a new Python.

A new Python takes 0.12 s of processor time until it can decode, a fork 0.003 s.
"""

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from itertools import pairwise
from typing import Protocol

from sansfilm.decode import guard_worker

_RUN = """\
import sys, json
sys.path[:] = json.loads(sys.argv[1])
from sansfilm.decode.guard_worker import main
main(*map(int, sys.argv[2:]))
"""
_FILES = 2**16
"""File descriptors that a fork closes: there may be no limit to them, and older systems close them
one by one."""
_LOOK_S = 0.005
"""Seconds between two looks whether a fork has ended."""


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
    return _fork(fds) if _may_fork() else _spawn(fds)


def _may_fork() -> bool:
    """Tell whether no other thread can hold a lock that a fork of this process would wait for.

    The idle threads of OpenBLAS and of Arrow's allocator, which Python does not know, are handled
    by these when they are forked. On macOS, system libraries end a fork.
    """
    return sys.platform == "linux" and threading.active_count() == 1


def _spawn(fds: tuple[int, ...]) -> Process:
    # One thread: numpy's are not needed here.
    return subprocess.Popen(
        [sys.executable, "-c", _RUN, json.dumps(sys.path), *map(str, fds)],
        pass_fds=fds, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip


def _fork(fds: tuple[int, ...]) -> Process:
    with warnings.catch_warnings():  # the threads that _may_fork speaks of
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        return _Fork(pid)
    code = 1
    try:
        _let_go(fds)
        guard_worker.main(*fds)
        code = 0
    finally:
        os._exit(code)  # nothing of the parent's is to be run, flushed or removed


def _let_go(kept: tuple[int, ...]) -> None:
    """Leave to the parent what is the parent's: its files, connections, and signal handlers."""
    gc.freeze()  # no object of the parent's is taken down here and closes a file once more
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    for before, after in pairwise([2, *sorted(kept), _FILES]):
        os.closerange(before + 1, after)


class _Fork:
    """A process forked from this one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._look(os.WNOHANG)

    def wait(self, timeout: float | None = None) -> int:
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self._look(0 if end is None else os.WNOHANG)) is None:
            if end is not None and time.monotonic() >= end:
                raise subprocess.TimeoutExpired(f"fork {self.pid}", timeout or 0)
            time.sleep(_LOOK_S)
        return code

    def kill(self) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _look(self, flags: int) -> int | None:
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, flags)
            except ChildProcessError:  # somebody else has waited for it
                self.returncode = 0
            else:
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode
