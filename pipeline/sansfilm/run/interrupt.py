"""Ctrl-C and SIGTERM: what is at work is finished, nothing more is begun; twice ends it at once.

Python raises KeyboardInterrupt wherever the process happens to be, and loses it where nobody may
raise: in a callback of the garbage collector, say. A flag is not lost.
"""

import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

_TOLD = b"sansfilm: finishing what is at work; once more to end at once\n"
_received: list[int] = []


@contextmanager
def draining() -> Iterator[None]:
    """Keep the first signal for `going` and `check`; only the main thread can, others leave it."""
    _received.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _keep) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _received.clear()


def _keep(number: int, _: FrameType | None) -> None:
    if _received:
        raise KeyboardInterrupt(number)
    _received.append(number)
    os.write(2, _TOLD)


def going[T](tasks: Iterable[T]) -> Iterator[T]:
    """Yield tasks until a signal has come: a runner then finishes those that it has."""
    for task in tasks:
        if _received:
            return
        yield task


def interrupted() -> bool:
    """Tell whether a signal has come."""
    return bool(_received)


def check() -> None:
    """Raise what `draining` has kept.

    Raises
    ------
    KeyboardInterrupt
        With the number of the signal, if one has come.
    """
    if _received:
        raise KeyboardInterrupt(_received[0])


def pause(seconds: float) -> None:
    """Sleep, but no longer than until a signal has come.

    Raises
    ------
    KeyboardInterrupt
        As `check`.
    """
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        check()
        time.sleep(min(left, 0.2))
    check()
