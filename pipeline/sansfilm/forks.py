"""Forks of this process: the same modules and data in a few milliseconds, where that is safe."""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from itertools import pairwise

HARMLESS = "sansfilm-idle"
"""Name of threads that hold no lock which a fork would miss."""
_FILES = 2**16
"""File descriptors that a fork lets go of: there may be no limit to them, and older systems close
them one by one."""
_LOOK_S = 0.005
"""Seconds between two looks whether a fork has ended."""


def may_fork() -> bool:
    """Tell whether no other thread can hold a lock that a fork of this process would wait for.

    The idle threads of OpenBLAS and of Arrow's allocator, which Python does not know, are looked
    after by these in a fork. On macOS, system libraries end a fork.
    """
    others = (thread for thread in threading.enumerate() if thread.name != HARMLESS)
    return sys.platform == "linux" and list(others) == [threading.current_thread()]


class Fork:
    """A process forked from this one that calls a function and ends.

    Nothing of the parent's is run, flushed or removed at its end. What the parent has, it has too,
    but for signal handlers: Ctrl-C and SIGTERM are for the parent. All objects of the parent are
    frozen for this (`gc.freeze`): a search for cycles would write to them, here and there, and what
    is written to is shared no more; and there it would close files once more.

    Parameters
    ----------
    function : callable
        Its exit code is 0 if this returns, 1 if it raises.
    keep : sequence of int, optional
        The only file descriptors that it keeps; standard streams lead nowhere then.
    """

    def __init__(self, function: Callable[[], object], keep: tuple[int, ...] | None = None) -> None:
        self.returncode: int | None = None
        with warnings.catch_warnings():  # the threads that may_fork speaks of
            warnings.simplefilter("ignore", DeprecationWarning)
            gc.freeze()
            self.pid = os.fork()
        if not self.pid:
            code = 1
            try:
                _become_own()
                if keep is not None:
                    _let_go(keep)
                function()
                code = 0
            finally:
                os._exit(code)

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        return self._look(os.WNOHANG)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; return the exit code.

        Raises
        ------
        subprocess.TimeoutExpired
        """
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self._look(0 if end is None else os.WNOHANG)) is None:
            if end is not None and time.monotonic() >= end:
                raise subprocess.TimeoutExpired(f"fork {self.pid}", timeout or 0)
            time.sleep(_LOOK_S)
        return code

    def kill(self) -> None:
        """End it, whatever it does."""
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


def _become_own() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _let_go(keep: tuple[int, ...]) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    for before, after in pairwise([2, *sorted(keep), _FILES]):
        os.closerange(before + 1, after)
