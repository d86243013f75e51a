"""How fast decoders are: how large a batch should be, and how much of it a GPU should take.

The tables are where a process begins; what it measures takes their place. A GPU needs long for
its first frame and hardly longer for a thousand, so each has a time before the first byte.
"""

import threading
from dataclasses import dataclass

from sansfilm.decode import syntaxes
from sansfilm.decode.syntaxes import HTJ2K, JPEG_2000, JPEG_LS, RLE
from sansfilm.frame_spec import FrameSpec, stored_bytes


@dataclass(frozen=True, slots=True)
class Rate:
    """Seconds before anything is there, then bytes of stored values in each second."""

    start_s: float
    bytes_per_s: float

    def seconds(self, size: float) -> float:
        """Return how long so many bytes take."""
        return self.start_s + size / self.bytes_per_s if size else 0.0


_FAMILIES: tuple[tuple[frozenset[str], float, Rate], ...] = (
    (frozenset({RLE}), 600e6, Rate(0.005, 5e9)),
    (JPEG_LS, 90e6, Rate(0.12, 4e9)),
    (JPEG_2000, 15e6, Rate(0.02, 1.5e9)),
    (HTJ2K, 500e6, Rate(0.02, 2e9)),
    (syntaxes.JPEG, 300e6, Rate(0.01, 2e9)),
)
"""Of one core as measured (docs/decoding.md), and of a GPU as estimated: no GPU has run yet."""


_UNKNOWN = Rate(0.02, 1e9)
_CORES = {syntax: core for family, core, _ in _FAMILIES for syntax in family}
_CORE = 300e6
BATCH_BYTES = 2**22
"""Stored values of a batch: enough frames that sending them costs little."""
_BATCH_S = 0.04


def batch_bytes(spec: FrameSpec, *, alone: bool) -> int:
    """Return how many bytes of stored values one thread should decode at a time.

    Who is not `alone` takes fewer of slow decoders, but two frames: at the end of a slab all others
    wait for the thread that began last.
    """
    if alone or spec.transfer_syntax not in _CORES:
        return BATCH_BYTES
    enough = max(_BATCH_S * _CORES[spec.transfer_syntax], 2 * stored_bytes(spec))
    return min(BATCH_BYTES, int(enough))


class Rates:
    """The rates of one process, by transfer syntax; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._core: dict[str, float] = {}
        self._gpu: dict[str, Rate] = {}
        self._core.update(_CORES)
        for family, _, gpu in _FAMILIES:
            self._gpu.update(dict.fromkeys(family, gpu))

    def share(self, syntax: str, frames: int, frame_bytes: int, *, cores: float = 1) -> int:
        """Return how many of some frames a GPU takes so that all are done soonest.

        Parameters
        ----------
        syntax : str
        frames : int
        frame_bytes : int
            Stored values of one.
        cores : float
            How many are free for the others.
        """
        core = self._core.get(syntax, _CORE) * cores
        gpu = self._gpu.get(syntax, _UNKNOWN)

        def ends(count: int) -> float:
            size = count * frame_bytes
            return max(gpu.seconds(size), (frames * frame_bytes - size) / core)

        # Both are done at once where start + x / gpu = (whole - x) / core.
        whole = frames * frame_bytes
        both = (whole / core - gpu.start_s) / (1 / gpu.bytes_per_s + 1 / core)
        near = int(max(0.0, both) // max(frame_bytes, 1))
        return min((0, min(near, frames), min(near + 1, frames)), key=lambda n: (ends(n), n))

    def note_core(self, syntax: str, size: int, seconds: float) -> None:
        """Take in how long one core took."""
        if size and seconds > 0:
            with self._lock:
                before = self._core.get(syntax, size / seconds)
                self._core[syntax] = (before + size / seconds) / 2

    def note_gpu(self, syntax: str, size: int, seconds: float) -> None:
        """Take in how long a GPU took: one that needs twice as long starts so late, too."""
        if not size or seconds <= 0:
            return
        with self._lock:
            known = self._gpu.get(syntax, _UNKNOWN)
            factor = (1 + seconds / known.seconds(size)) / 2
            self._gpu[syntax] = Rate(known.start_s * factor, known.bytes_per_s / factor)
