"""Decoding that survives its codecs: frames go to guard processes, which this process keeps.

A codec that crashes, hangs or allocates wildly costs the frame that it had in hand. Each thread
that decodes has a guard of its own for the time of a batch; those that nobody uses end after a
while, and all end with this process: their end of the line closes.
"""

import atexit
import contextlib
import math
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain, groupby, zip_longest

import numpy as np

from sansfilm import forks
from sansfilm.decode import device, rates, syntaxes
from sansfilm.decode.canaries import why_not
from sansfilm.decode.frames import Encoded, decode_frame
from sansfilm.decode.guard import Guard, GuardLostError
from sansfilm.decode.registry import OURS, backend, names
from sansfilm.errors import BadInstanceError
from sansfilm.frame_spec import stored_bytes
from sansfilm.model import Decoded, Decoding, FrameSpec

IDLE_S = 10.0
"""Seconds after which a guard that nobody uses is ended."""
KEEP_BYTES = 2**26
"""A guard with larger areas is not kept: the memory would not come back."""
PART_BYTES = rates.BATCH_BYTES
"""Values that a guard is asked for in one go."""
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
    # only our own reading of uncompressed words can get to see these
    plain_ones = _PLAIN if set(how.prefer) <= OURS.keys() else ()
    for plain, run in groupby(frames, lambda frame: frame[1].transfer_syntax in plain_ones):
        decode = _guarded if guarded and not plain else _here
        yield from decode(list(run), how)


def decode_one(frame: bytes | memoryview, spec: FrameSpec, how: Decoding) -> np.ndarray:
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


def expect(specs: Iterable[FrameSpec], threads: int, alike: int = 1) -> None:
    """Start guards, which takes up to 0.1 s, for frames that so many threads will decode soon.

    None are started for frames that need no codec. There are so many `alike` to each.
    """
    batches = alike * sum(
        stored_bytes(spec) / rates.batch_bytes(spec, alone=threads == 1)
        for spec in specs if spec.transfer_syntax not in _PLAIN
    )  # fmt: skip
    if batches and threads and _guards_work():
        GUARDS.prepare(min(threads, math.ceil(batches)))


def _here(frames: Sequence[Encoded], how: Decoding) -> Iterator[Decoded]:
    for frame, spec in frames:
        try:
            yield Decoded(*decode_frame(frame, spec, how.prefer))
        except BadInstanceError as exc:
            yield Decoded(error=exc)


def _guarded(frames: Sequence[Encoded], how: Decoding) -> Iterator[Decoded]:
    """Decode frames in a guard part by part: while it decodes one, the one before is used."""
    parts = _parts(frames)
    guard = GUARDS.take()
    try:
        guard.lay(parts[0])
        guard.ask(how, GUARDS.distrusted)
        for part, following in zip_longest(parts, parts[1:]):
            try:
                if following:
                    guard.lay(following)
                results = guard.answers()
            except GuardLostError as lost:
                first, *others = _again(part, how, lost)
                results = [first._replace(notes=GUARDS.take_notes() + first.notes), *others]
            if following:
                if not guard.usable:
                    guard.close()
                    guard = GUARDS.take()
                    guard.lay(following)
                guard.ask(how, GUARDS.distrusted)
            yield from results
    finally:
        GUARDS.give(guard)


def _parts(frames: Sequence[Encoded]) -> list[Sequence[Encoded]]:
    """Split frames into what is decoded in one go: PART_BYTES of values, or one frame."""
    parts: list[list[Encoded]] = []
    room = 0
    for frame in frames:
        size = stored_bytes(frame[1])
        if size > room:
            parts.append([])
            room = PART_BYTES
        parts[-1].append(frame)
        room -= size
    return list(parts)


def _again(
    frames: Sequence[Encoded], how: Decoding, lost: GuardLostError | None = None
) -> list[Decoded]:
    """Decode frames in a new guard: all but the one that ended the guard before.

    Returns
    -------
    list of Decoded
        Their values are the caller's own.
    """
    failed: dict[int, BadInstanceError] = {}
    done: dict[int, Decoded] = {}
    left, tries = [*range(len(frames))], 2
    while left and not done:
        if lost:
            error = BadInstanceError(lost.code, lost.message)
            if lost.certain and lost.trial:  # no frame's fault: it was the decoder's golden image
                syntax = frames[left[lost.frame]][1].transfer_syntax
                GUARDS.distrust(lost.trial, syntax, lost.message.replace("the decoder", "it", 1))
            elif lost.certain:
                failed[left.pop(lost.frame)], lost = error, None
                continue
            elif len(frames) > 1 and lost.frame >= 0:  # whose fault it was shows one by one
                return list(chain.from_iterable(_again([frame], how) for frame in frames))
            elif tries == 1:
                failed |= dict.fromkeys(left, error)
                break
            else:  # once more: it may have been the machine
                tries -= 1
        guard = GUARDS.take()
        try:
            results = guard.decode([frames[n] for n in left], how, GUARDS.distrusted)
            done = {n: _owned(one) for n, one in zip(left, results, strict=True)}
        except GuardLostError as exc:
            lost = exc
        finally:
            GUARDS.give(guard)
    done |= {number: Decoded(error=error) for number, error in failed.items()}
    return [done[number] for number in range(len(frames))]


def _owned(done: Decoded) -> Decoded:
    return done if done.error else done._replace(stored=done.stored.copy())


class _Guards:
    """The guards of this process that are free; each is taken by one thread at a time."""

    def __init__(self) -> None:
        self._free: list[tuple[Guard, float]] = []
        self._distrusted: dict[tuple[str, str], None] = {}
        self._notes: list[str] = []
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    @property
    def distrusted(self) -> tuple[tuple[str, str], ...]:
        """The decoders that ended a guard with their golden image, each with the syntax."""
        return tuple(self._distrusted)

    def distrust(self, decoder: str, transfer_syntax: str, reason: str) -> None:
        """Use a decoder no more for a syntax."""
        with self._lock:
            if (decoder, transfer_syntax) not in self._distrusted:
                self._distrusted[decoder, transfer_syntax] = None
                self._notes.append(why_not(decoder, transfer_syntax, reason))

    def take_notes(self) -> tuple[str, ...]:
        """Return what is to be told of decoders, each once."""
        with self._lock:
            notes, self._notes = tuple(self._notes), []
        return notes

    def prepare(self, count: int) -> None:
        """Have so many guards free; where they cannot be started, that shows when they are used."""
        with self._lock, contextlib.suppress(OSError):
            while len(self._free) < count:
                self._free.append((Guard(), time.monotonic()))
            self._watch()

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
        """Take back a guard; it is ended if nobody waits for what it does, or it is of no use."""
        if guard.busy or guard.area_bytes > KEEP_BYTES or not guard.usable:
            guard.close()
            return
        with self._lock:
            self._free.append((guard, time.monotonic()))
            self._watch()

    def close(self) -> None:
        """End all guards that are free, and trust all decoders again."""
        with self._lock:
            free, self._free = self._free, []
            self._distrusted.clear()
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
            self._timer.name, self._timer.daemon = forks.HARMLESS, True
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
