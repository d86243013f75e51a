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
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

import numpy as np

from sansfilm.decode import codestream, syntaxes
from sansfilm.decode.area import stored_bytes
from sansfilm.decode.canaries import Health
from sansfilm.decode.codestream import Codestream
from sansfilm.decode.contract import NOT_READ, DeviceDecoder
from sansfilm.decode.frames import Encoded
from sansfilm.decode.rates import Rates
from sansfilm.decode.stored import to_stored
from sansfilm.errors import BadInstanceError, FrameDecodeError
from sansfilm.model import Decoded, Decoding, FrameSpec, SlabPlan, SlabResult

GROUP = "sansfilm.decoders.gpu"
OURS = {
    name: f"sansfilm.decode.gpu_backends:{attribute}"
    for name, attribute in (
        ("jpegls-cuda", "JpegLs"), ("rle-cuda", "Rle"),
        ("nvjpeg2000", "Jpeg2000"), ("nvimagecodec", "Jpeg"),
    )
}  # fmt: skip
EVERY = 200
"""One frame in so many is compared with the CPU, and the first of each syntax; see `Decoding`."""
BATCH_BYTES = 2**27
"""Stored values that are decoded in one go where a GPU takes part: a whole slab, as a rule."""
MOST_BYTES = 2**30
"""Stored values that the device is given at once, of all slabs that wait for it."""
_EXACT = syntaxes.LOSSLESS | syntaxes.JPEG_LS
"""Syntaxes of which two right decoders give the same values."""

OnCpu = Callable[[Sequence[Encoded], Decoding], Iterator[Decoded]]


@cache
def backends() -> dict[str, DeviceDecoder | str]:
    """Load all backends, ours first; in place of one that cannot be loaded, why."""
    found: dict[str, DeviceDecoder | str] = {}
    others = {entry.name: entry.value for entry in entry_points(group=GROUP)}
    for name, path in (OURS | {n: p for n, p in others.items() if n not in OURS}).items():
        module, _, attribute = path.partition(":")
        try:
            decoder: object = getattr(import_module(module), attribute)()
        except Exception as exc:  # whatever the import of somebody else's module raises
            found[name] = f"{name} cannot be loaded: {type(exc).__name__}: {exc}"
        else:
            right = isinstance(decoder, DeviceDecoder)
            found[name] = decoder if right else f"{name} is no DeviceDecoder"  # type: ignore[assignment]
    return found


@cache
def readers(transfer_syntax: str, *, installed: bool = True) -> tuple[DeviceDecoder, ...]:
    """Return the backends that know a syntax, and are there if it is to be here."""
    return tuple(
        one for one in backends().values()
        if not isinstance(one, str)
        and any(transfer_syntax in reads.transfer_syntaxes for reads in one.reads)
        and not (installed and one.missing(transfer_syntax))
    )  # fmt: skip


def present() -> bool:
    """Tell whether this machine has a device that decodes anything."""
    return any(readers(syntax) for syntax in syntaxes.NAMES)


def wanted(plan: SlabPlan, *, cores: float = 1) -> bool:
    """Tell whether a slab is one for a GPU, wherever that is: `cores` would do it otherwise."""
    pictures = [frame.picture for frame in plan.frames if frame is not None]
    if not pictures or plan.decoding.device == "cpu":
        return False
    spec = pictures[0]
    kind = spec.bits_stored if spec.transfer_syntax != syntaxes.RLE else spec.bits_allocated
    if not _reader(spec, kind, signed=False, installed=False):
        return False
    share = DEVICE.rates.share(spec.transfer_syntax, len(pictures), stored_bytes(spec), cores=cores)
    return plan.decoding.device == "gpu" or share > 0


def has_decoded(result: SlabResult) -> bool:
    """Tell whether a device has decoded any frame of a slab."""
    return any(frame.decoder in backends() for frame in result.frames)


def decode(frames: Sequence[Encoded], how: Decoding, on_cpu: OnCpu) -> Iterator[Decoded]:
    """Decode frames, some of them on a device if `how` allows it and it pays; in their order.

    Parameters
    ----------
    on_cpu : callable
        ``on_cpu(frames, how)`` decodes what is not for the device.
    """
    return DEVICE.decode(frames, how, on_cpu) if how.device != "cpu" else on_cpu(frames, how)


def table() -> list[dict[str, str]]:
    """Return one row per backend and syntax that it knows, as `registry.table` does."""
    rows = []
    for uid, name in syntaxes.NAMES.items():
        for one in readers(uid, installed=False):
            missing = one.missing(uid)
            rows += [{
                "uid": uid, "name": name, "decoder": one.name,
                "state": "missing" if missing else one.device,
                "bits": "{}-{}".format(*reads.bits), "signed": "yes" if reads.signed else "no",
                "samples": ", ".join(map(str, sorted(reads.samples))),
                "missing": f"{missing}; install {one.requires}" if missing else "",
            } for reads in one.reads if uid in reads.transfer_syntaxes]  # fmt: skip
    return rows


def broken() -> dict[str, str]:
    """Return the backends that cannot be loaded, and why."""
    return {name: one for name, one in backends().items() if isinstance(one, str)}


def _reader(
    spec: FrameSpec, bits: int, *, signed: bool, installed: bool = True
) -> DeviceDecoder | None:
    if spec.floating or spec.swapped:
        return None
    syntax = spec.transfer_syntax
    for one in readers(syntax, installed=installed):
        for reads in one.reads:
            fits = not reads.why_not(bits, spec.samples_per_pixel, signed=signed)
            if fits and syntax in reads.transfer_syntaxes:
                return one
    return None


@dataclass(slots=True, eq=False)
class _Part:
    """The frames of a batch that go to one backend, by their number in it."""

    backend: DeviceDecoder
    syntax: str
    frames: dict[int, Encoded]
    found: dict[int, Codestream | None]
    out: dict[int, np.ndarray]
    reasons: dict[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def size(self) -> int:
        """Bytes of values."""
        return sum(array.nbytes for array in self.out.values())


class Device:
    """The device of one process: what it is trusted with, what it holds, who waits for it."""

    def __init__(self) -> None:
        self.rates = Rates()
        self._health = Health()
        self._wrong: dict[tuple[str, str], str] = {}
        self._most: dict[str, int] = {}
        self._counted: dict[tuple[str, str], int] = defaultdict(int)
        self._lock = threading.Lock()
        self._waiting: list[_Part] = []
        self._busy = False

    # ------------------------------------------------------------- in the thread that asks

    def decode(self, frames: Sequence[Encoded], how: Decoding, on_cpu: OnCpu) -> Iterator[Decoded]:
        """See `decode` of this module."""
        part = self._part(frames, how)
        if part is None:
            yield from on_cpu(frames, how)
            return
        self._put(part)
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
            yield replace(one, notes=notes + one.notes) if notes else one
        size = sum(stored_bytes(spec) for _, spec in others)
        self.rates.note_core(part.syntax, size, spent)

    def _part(self, frames: Sequence[Encoded], how: Decoding) -> _Part | None:
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
            one = _reader(spec, bits, signed=found is not None and found.signed)
            if one is None or (one.name, spec.transfer_syntax) in self._wrong:
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
        out = {number: _raw(frames[number][1], able[number]) for number in taken}
        some = {number: frames[number] for number in taken}
        return _Part(chosen, syntax, some, {n: able[n] for n in taken}, out) if taken else None

    def _settle(self, part: _Part, how: Decoding, on_cpu: OnCpu) -> dict[int, Decoded]:
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
            self._distrust(part, f"{reason}: ingest again what this device has decoded")
            part.reasons.update(dict.fromkeys(part.frames, NOT_READ))
            return {}
        return good

    def _due(self, part: _Part, good: dict[int, Decoded], every: int) -> list[int]:
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

    def _compared(self, part: _Part, number: int, theirs: Decoded) -> Decoded:
        """Tell of what the device did not give although the CPU could."""
        reason = part.reasons[number]
        if theirs.error is not None or reason == NOT_READ:
            return theirs
        ours = part.out[number]
        alike = ours.nbytes == theirs.stored.nbytes
        if alike and np.array_equal(ours.view(theirs.stored.dtype), theirs.stored):
            return theirs  # suspected of being flat, and it is
        note = f"{part.backend.name}, {syntaxes.NAMES[part.syntax]}: {reason}; the CPU took over"
        return replace(theirs, notes=(*theirs.notes, note))

    def _distrust(self, part: _Part, reason: str) -> None:
        key = part.backend.name, part.syntax
        with self._lock:
            known = key in self._wrong
            self._wrong[key] = reason
        if not known:
            name = syntaxes.NAMES[part.syntax]
            part.notes += (f"{part.backend.name} is not used for {name} here: {reason}",)

    # --------------------------------------------------------- in the thread of the device

    def _put(self, part: _Part) -> None:
        with self._lock:
            self._waiting.append(part)
            if not self._busy:
                self._busy = True
                threading.Thread(target=self._work, name="sansfilm-device", daemon=True).start()

    def _work(self) -> None:
        """Do what waits until nothing does: all that waits for one backend goes in one batch."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._busy = False
                    return
                first, size, some = self._waiting[0], 0, list[_Part]()
                for part in self._waiting:
                    alike = part.backend is first.backend and part.syntax == first.syntax
                    if alike and (not some or size + part.size <= MOST_BYTES):
                        some.append(part)
                        size += part.size
                self._waiting = [part for part in self._waiting if part not in some]
            try:
                self._run(some, size)
            except BaseException as exc:  # nobody may wait for ever
                for part in some:
                    self._fail(part, f"failed: {type(exc).__name__}")
            for part in some:
                part.done.set()

    def _run(self, parts: Sequence[_Part], size: int) -> None:
        first = parts[0]
        backend, syntax = first.backend, first.syntax
        if not self._health.trusts(_OneByOne(backend), syntax):
            first.notes += self._health.take_notes()
            with self._lock:
                self._wrong[backend.name, syntax] = "of a known image"
        if (backend.name, syntax) in self._wrong:
            for part in parts:
                part.reasons = dict.fromkeys(part.frames, NOT_READ)
            return
        places = [(part, number) for part in parts for number in part.frames]
        began = time.monotonic()
        reasons = self._halving(backend, places)
        self.rates.note_gpu(syntax, size, time.monotonic() - began)
        for (part, number), reason in zip(places, reasons, strict=True):
            part.reasons[number] = reason

    def _halving(
        self, backend: DeviceDecoder, places: Sequence[tuple[_Part, int]]
    ) -> Sequence[str]:
        """Decode as many at once as the memory of the device takes; fewer from then on."""
        reasons: list[str] = []
        while len(reasons) < len(places):
            most = self._most.get(backend.name, len(places))
            some = places[len(reasons) : len(reasons) + most]
            frames = [(bytes(part.frames[n][0]), part.frames[n][1]) for part, n in some]
            try:
                reasons += backend.decode_batch(frames, [part.out[n] for part, n in some])
            except MemoryError:
                if len(some) == 1:
                    reasons.append("no memory on the device for one frame")
                self._most[backend.name] = max(1, len(some) // 2)
        return reasons

    def _fail(self, part: _Part, reason: str) -> None:
        self._distrust(part, reason)
        part.reasons = dict.fromkeys(part.frames, NOT_READ)


class _OneByOne:
    """A backend as the canaries know decoders."""

    requires = ""

    def __init__(self, backend: DeviceDecoder) -> None:
        self.name, self.reads, self._backend = backend.name, backend.reads, backend
        self.missing = backend.missing

    def decode(
        self, frame: bytes | memoryview, spec: FrameSpec, out: np.ndarray | None = None
    ) -> np.ndarray:
        """See FrameDecoder."""
        out = _raw(spec, codestream.sniff(frame, spec))
        try:
            (reason,) = self._backend.decode_batch([(bytes(frame), spec)], [out])
        except Exception as exc:
            reason = type(exc).__name__
        if reason:
            raise FrameDecodeError(f"{self.name}: {reason}")
        return out


def _raw(spec: FrameSpec, found: Codestream | None) -> np.ndarray:
    """Make room for a frame as its codec gives it."""
    if found is None:
        return np.zeros(spec.shape, f"u{spec.bits_allocated // 8}")
    return np.zeros(spec.shape, f"{'i' if found.signed else 'u'}{1 if found.precision <= 8 else 2}")


DEVICE = Device()
