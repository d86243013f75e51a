"""What waits for the device of a process: one thread does all of it, and notes what is not trusted.

All that waits for one backend goes in one batch.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sansfilm.decode import codestream, syntaxes
from sansfilm.decode.canaries import Health
from sansfilm.decode.codestream import Codestream
from sansfilm.decode.contract import NOT_READ, DeviceDecoder
from sansfilm.decode.frames import Encoded
from sansfilm.decode.rates import Rates
from sansfilm.errors import FrameDecodeError
from sansfilm.model import FrameSpec

MOST_BYTES = 2**30
"""Stored values that the device is given at once, of all slabs that wait for it."""


@dataclass(slots=True, eq=False)
class Part:
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


class Queue:
    """The parts of batches that wait for the device, and the thread that does them.

    Parameters
    ----------
    rates : Rates
        Learns how fast the device is.
    """

    def __init__(self, rates: Rates) -> None:
        self._rates = rates
        self._health = Health()
        self._wrong: dict[tuple[str, str], str] = {}
        self._most: dict[str, int] = {}
        self._lock = threading.Lock()
        self._waiting: list[Part] = []
        self._busy = False

    def trusts(self, backend: DeviceDecoder, syntax: str) -> bool:
        """Tell whether a backend has not been wrong with a syntax so far."""
        return (backend.name, syntax) not in self._wrong

    def distrust(self, part: Part, reason: str) -> None:
        """Use a backend no more for a syntax, and note why for the report, once."""
        key = part.backend.name, part.syntax
        with self._lock:
            known = key in self._wrong
            self._wrong[key] = reason
        if not known:
            name = syntaxes.NAMES[part.syntax]
            part.notes += (f"{part.backend.name} is not used for {name} here: {reason}",)

    def put(self, part: Part) -> None:
        """Have a part done; its event tells when."""
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
                first, size, some = self._waiting[0], 0, list[Part]()
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

    def _run(self, parts: Sequence[Part], size: int) -> None:
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
        self._rates.note_gpu(syntax, size, time.monotonic() - began)
        for (part, number), reason in zip(places, reasons, strict=True):
            part.reasons[number] = reason

    def _halving(self, backend: DeviceDecoder, places: Sequence[tuple[Part, int]]) -> Sequence[str]:
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

    def _fail(self, part: Part, reason: str) -> None:
        self.distrust(part, reason)
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
        out = room_for(spec, codestream.sniff(frame, spec))
        try:
            (reason,) = self._backend.decode_batch([(bytes(frame), spec)], [out])
        except Exception as exc:
            reason = type(exc).__name__
        if reason:
            raise FrameDecodeError(f"{self.name}: {reason}")
        return out


def room_for(spec: FrameSpec, found: Codestream | None) -> np.ndarray:
    """Make room for a frame as its codec gives it."""
    if found is None:
        return np.zeros(spec.shape, f"u{spec.bits_allocated // 8}")
    return np.zeros(spec.shape, f"{'i' if found.signed else 'u'}{1 if found.precision <= 8 else 2}")
