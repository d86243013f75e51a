"""Decoding that survives its codecs: frames go to guard processes, which this process keeps.

A codec that crashes, hangs or allocates wildly costs the frame that it had in hand. Each thread
that decodes has a guard of its own for the time of a batch; those that nobody uses end after a
while, and all end with this process: their end of the line closes.
"""

import atexit
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby

import numpy as np

from sansfilm.decode import device, syntaxes
from sansfilm.decode.frames import Encoded, decode_frame
from sansfilm.decode.guard import Guard, GuardLostError
from sansfilm.decode.registry import OURS, backend, names
from sansfilm.errors import BadInstanceError
from sansfilm.model import Decoded, Decoding, FrameSpec

IDLE_S = 10.0
"""Seconds after which a guard that nobody uses is ended."""
KEEP_BYTES = 2**26
"""A guard with a larger area is not kept: the memory would not come back."""
_PLAIN = syntaxes.NATIVE | {syntaxes.DEFLATED_FRAME}


def decode_frames(frames: Sequence[Encoded], how: Decoding) -> Iterator[Decoded]:
    """Decode frames to stored values; one that is bad, or kills its decoder, is an error.

    Uncompressed frames need no codec and are views of their bytes.

    Parameters
    ----------
    frames : sequence of (codestream, spec)
    how : Decoding

    Yields
    ------
    Decoded
        In the order of `frames`. Stored values are lent until the next frame is asked for.

    Raises
    ------
    OptionError
        If `how` names a decoder that does not exist.
    """
    for name in how.prefer:
        if name not in OURS and name not in names():
            backend(name)  # raises; one that exists is loaded in guards only
    yield from device.decode(frames, how, _on_cpu)


def _on_cpu(frames: Sequence[Encoded], how: Decoding) -> Iterator[Decoded]:
    guarded = _guards_work()
    for plain, run in groupby(frames, lambda frame: _is_plain(frame[1], how)):
        decode = _guarded if guarded and not plain else _here
        yield from decode(list(run), how)


def decode_one(frame: bytes, spec: FrameSpec, how: Decoding) -> np.ndarray:
    """Decode one frame to stored values that are the caller's own.

    Raises
    ------
    BadInstanceError
        As `decode_frame`, or TIMEOUT.
    """
    (stored,) = (
        done.error or np.array(done.stored) for done in decode_frames([(frame, spec)], how)
    )
    if isinstance(stored, BadInstanceError):
        raise stored
    return stored


def _is_plain(spec: FrameSpec, how: Decoding) -> bool:
    """Tell whether only our own reading of uncompressed words can get to see a frame."""
    return spec.transfer_syntax in _PLAIN and set(how.prefer) <= OURS.keys()


def _here(frames: Sequence[Encoded], how: Decoding) -> Iterator[Decoded]:
    for frame, spec in frames:
        try:
            yield Decoded(*decode_frame(frame, spec, how.prefer))
        except BadInstanceError as exc:
            yield Decoded(error=exc)


def _guarded(frames: Sequence[Encoded], how: Decoding) -> Iterator[Decoded]:
    """Decode frames in a guard; all but the one that ended it are done again in a new one."""
    failed: dict[int, BadInstanceError] = {}
    tries = 2
    while tries and len(failed) < len(frames):
        left = [number for number in range(len(frames)) if number not in failed]
        guard = GUARDS.take()
        try:
            results = guard.decode([frames[number] for number in left], how)
        except GuardLostError as exc:
            guard.close()
            error = BadInstanceError(exc.code, exc.message)
            if exc.certain:
                failed[left[exc.frame]] = error
            elif len(frames) > 1 and exc.frame >= 0:  # whose fault it was shows one by one
                for frame in frames:
                    yield from _guarded([frame], how)
                return
            else:  # once more: it may have been the machine
                tries -= 1
            continue
        except BaseException:  # nobody waits for its answers
            guard.close()
            raise
        try:
            found = dict(zip(left, results, strict=True))
            for number in range(len(frames)):
                yield found.get(number) or Decoded(error=failed[number])
        finally:
            GUARDS.give(guard)
        return
    yield from (Decoded(error=failed.get(number, error)) for number in range(len(frames)))


class _Guards:
    """The guards of this process that are free; each is taken by one thread at a time."""

    def __init__(self) -> None:
        self._free: list[tuple[Guard, float]] = []
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def take(self) -> Guard:
        """Return a guard that is alive: the last one used, or a new one."""
        with self._lock:
            while self._free:
                guard, _ = self._free.pop()
                if guard.usable:
                    return guard
                guard.close()
        return Guard()

    def give(self, guard: Guard) -> None:
        """Take back a guard whose batch is finished."""
        if guard.area_bytes > KEEP_BYTES:
            guard.close()
            return
        with self._lock:
            self._free.append((guard, time.monotonic()))
            self._watch()

    def close(self) -> None:
        """End all guards that are free."""
        with self._lock:
            free, self._free = self._free, []
            if self._timer:
                self._timer.cancel()
                self._timer = None
        for guard, _ in free:
            guard.close()

    def forget(self) -> None:
        """Start anew in a fork: guards and timer are the parent's."""
        for guard, _ in self._free:
            guard.forget()
        self.__init__()  # type: ignore[misc]

    def _watch(self) -> None:
        if self._timer is None:
            self._timer = threading.Timer(IDLE_S, self._retire)
            self._timer.daemon = True
            self._timer.start()

    def _retire(self) -> None:
        """End the guards that have been free for long."""
        with self._lock:
            self._timer = None
            limit = time.monotonic() - IDLE_S
            old = [guard for guard, since in self._free if since <= limit]
            self._free = [(guard, since) for guard, since in self._free if since > limit]
            if self._free:
                self._watch()
        for guard in old:
            guard.close()


GUARDS = _Guards()
atexit.register(GUARDS.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=GUARDS.forget)


@cache
def _guards_work() -> bool:
    """Tell whether guards can be started here; say it once where they cannot."""
    if os.name == "posix" and sys.executable:
        return True
    message = "codecs run without a guard here: one that crashes ends this process"
    warnings.warn(message, RuntimeWarning, stacklevel=2)
    return False
