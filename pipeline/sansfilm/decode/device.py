"""Which frames a GPU decodes, and what is done where it cannot or is wrong.

A batch is split by the rates of both sides; the CPU decodes its part meanwhile. All work of the
device is done in one thread of the process. A backend is trusted with a syntax after its golden
codestream came back right; one frame in so many is decoded by the CPU too, and where they differ
the CPU is believed and the backend not used for that syntax any more. What the device does not
give is decoded by the CPU, so a GPU never costs a frame.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sansfilm.decode import codestream, syntaxes
from sansfilm.decode.contract import NOT_READ, DeviceDecoder
from sansfilm.decode.device_backends import names, present, reader, readers
from sansfilm.decode.device_queue import Part, Queue, room_for
from sansfilm.decode.frames import Encoded
from sansfilm.decode.rates import Rates
from sansfilm.decode.stored import to_stored
from sansfilm.errors import BadInstanceError
from sansfilm.frame_spec import stored_bytes
from sansfilm.model import Decoded, Decoding, SlabPlan, SlabResult

if TYPE_CHECKING:
    from sansfilm.decode.codestream import Codestream

EVERY = 200
"""One frame in so many is compared with the CPU, and the first of each syntax; see `Decoding`."""
BATCH_BYTES = 2**27
"""Stored values that are decoded in one go where a GPU takes part: a whole slab, as a rule."""
_EXACT = syntaxes.LOSSLESS | syntaxes.JPEG_LS
"""Syntaxes of which two right decoders give the same values."""


OnCpu = Callable[[Sequence[Encoded], Decoding], Iterator[Decoded]]


def wanted(plan: SlabPlan, *, cores: float = 1) -> bool:
    """Tell whether a slab is one for a GPU, wherever that is: `cores` would do it otherwise."""
    pictures = [frame.picture for frame in plan.frames if frame is not None]
    if not pictures or plan.decoding.device == "cpu":
        return False
    spec = pictures[0]
    kind = spec.bits_stored if spec.transfer_syntax != syntaxes.RLE else spec.bits_allocated
    if not reader(spec, kind, signed=False, installed=False):
        return False
    share = DEVICE.rates.share(spec.transfer_syntax, len(pictures), stored_bytes(spec), cores=cores)
    return plan.decoding.device == "gpu" or share > 0


def has_decoded(result: SlabResult) -> bool:
    """Tell whether a device has decoded any frame of a slab."""
    return any(frame.decoder in names() for frame in result.frames)


def decode(frames: Sequence[Encoded], how: Decoding, on_cpu: OnCpu) -> Iterator[Decoded]:
    """Decode frames, some of them on a device if `how` allows it and it pays; in their order.

    Parameters
    ----------
    on_cpu : callable
        ``on_cpu(frames, how)`` decodes what is not for the device.
    """
    here = how.device != "cpu" and present()
    return DEVICE.decode(frames, how, on_cpu) if here else on_cpu(frames, how)


class Device:
    """The device of one process: what it is given, and what is made of what it gives."""

    def __init__(self) -> None:
        self.rates = Rates()
        self._queue = Queue(self.rates)
        self._counted: dict[tuple[str, str], int] = defaultdict(int)
        self._lock = threading.Lock()

    def decode(self, frames: Sequence[Encoded], how: Decoding, on_cpu: OnCpu) -> Iterator[Decoded]:
        """See `decode` of this module."""
        part = self._part(frames, how)
        if part is None:
            yield from on_cpu(frames, how)
            return
        self._queue.put(part)
        others = [frame for number, frame in enumerate(frames) if number not in part.frames]
        meanwhile, spent = on_cpu(others, how), 0.0
        again: Iterator[Decoded] | None = None
        good: dict[int, Decoded] = {}
        for number in range(len(frames)):
            if number not in part.frames:
                began = time.monotonic()
                yield next(meanwhile)
                spent += time.monotonic() - began
                continue
            if again is None:
                part.done.wait()
                good = self._settle(part, how, on_cpu)
                again = on_cpu([f for n, f in part.frames.items() if n not in good], how)
            one = good.pop(number, None) or self._compared(part, number, next(again))
            notes, part.notes = part.notes, ()
            yield one._replace(notes=notes + one.notes) if notes else one
        size = sum(stored_bytes(spec) for _, spec in others)
        self.rates.note_core(part.syntax, size, spent)

    def _part(self, frames: Sequence[Encoded], how: Decoding) -> Part | None:
        """Choose the last frames of a batch that one backend reads, as many as pay."""
        able: dict[int, Codestream | None] = {}
        chosen: DeviceDecoder | None = None
        syntax = ""
        for number, (data, spec) in enumerate(frames):
            if not readers(spec.transfer_syntax) or (syntax and spec.transfer_syntax != syntax):
                continue
            try:
                found = codestream.sniff(data, spec)
                if found is not None:
                    codestream.check(found, spec)
            except BadInstanceError:  # the CPU says so again
                continue
            bits = found.precision if found else spec.bits_allocated
            one = reader(spec, bits, signed=found is not None and found.signed)
            if one is None or not self._queue.trusts(one, spec.transfer_syntax):
                continue
            if chosen in (None, one):
                chosen, syntax, able[number] = one, spec.transfer_syntax, found
        if chosen is None:
            return None
        count = len(able)
        if how.device == "auto":
            mean = sum(stored_bytes(frames[number][1]) for number in able) // count
            count = self.rates.share(syntax, count, mean)
        taken = list(able)[len(able) - count :]
        out = {number: room_for(frames[number][1], able[number]) for number in taken}
        some = {number: frames[number] for number in taken}
        return Part(chosen, syntax, some, {n: able[n] for n in taken}, out) if taken else None

    def _settle(self, part: Part, how: Decoding, on_cpu: OnCpu) -> dict[int, Decoded]:
        """Return the frames that are good; notes tell of a backend that is not trusted any more."""
        good: dict[int, Decoded] = {}
        for number, (_, spec) in part.frames.items():
            if part.reasons[number]:
                continue
            try:
                stored = to_stored(part.out[number], spec, part.found[number])
            except BadInstanceError as exc:
                part.reasons[number] = str(exc)
                continue
            good[number] = Decoded(stored.astype(spec.container, copy=False), part.backend.name)
        due = self._due(part, good, how.crosscheck or EVERY)
        for number, theirs in zip(due, on_cpu([part.frames[n] for n in due], how), strict=True):
            if theirs.error is not None:  # as it is for all who have no GPU
                del good[number]
                part.reasons[number] = NOT_READ
                continue
            if np.array_equal(theirs.stored, good[number].stored):
                continue
            every = how.crosscheck or EVERY
            reason = f"a frame is not that of {theirs.decoder}; one in {every} is compared"
            self._queue.distrust(part, f"{reason}: ingest again what this device has decoded")
            part.reasons.update(dict.fromkeys(part.frames, NOT_READ))
            return {}
        return good

    def _due(self, part: Part, good: dict[int, Decoded], every: int) -> list[int]:
        """Return the frames whose turn it is to be compared."""
        if part.syntax not in _EXACT:
            return []
        key, due = (part.backend.name, part.syntax), []
        with self._lock:
            for number in good:
                if self._counted[key] % every == 0:
                    due.append(number)
                self._counted[key] += 1
        return due

    def _compared(self, part: Part, number: int, theirs: Decoded) -> Decoded:
        """Tell of what the device did not give although the CPU could."""
        reason = part.reasons[number]
        if theirs.error is not None or reason == NOT_READ:
            return theirs
        ours = part.out[number]
        alike = ours.nbytes == theirs.stored.nbytes
        if alike and np.array_equal(ours.view(theirs.stored.dtype), theirs.stored):
            return theirs  # suspected of being flat, and it is
        note = f"{part.backend.name}, {syntaxes.NAMES[part.syntax]}: {reason}; the CPU took over"
        return theirs._replace(notes=(*theirs.notes, note))


DEVICE = Device()
