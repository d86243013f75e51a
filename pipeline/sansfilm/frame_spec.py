"""The pixel format of a frame, and the lookup table of its values: what decoders are told."""

from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class Lut:
    """A lookup table of stored values: a Modality LUT (one channel) or a palette (three).

    `entries` are ``count x channels`` values of `dtype` in C order; the first is for the stored
    value `first` and all below, the last for all above. `kind` is Modality LUT Type.
    """

    first: int
    bits: int
    channels: int
    entries: bytes = field(repr=False)
    kind: str = ""

    @property
    def dtype(self) -> str:
        """Dtype of the entries; little endian."""
        return "uint8" if self.bits <= 8 else "<u2"

    @property
    def count(self) -> int:
        """How many stored values have an entry of their own."""
        return len(self.entries) // (self.channels * (1 if self.bits <= 8 else 2))

    def __reduce__(self) -> tuple[Any, ...]:
        """Become one object per table in each process, however many frames refer to it."""
        return shared_lut, (self.first, self.bits, self.channels, self.entries, self.kind)


@lru_cache(maxsize=64)
def shared_lut(first: int, bits: int, channels: int, entries: bytes, kind: str) -> Lut:
    """Return the one Lut of this content."""
    return Lut(first, bits, channels, entries, kind)


@cache
def _container(floating: bool, pixel_representation: int, bits_allocated: int) -> str:
    if floating:
        return f"float{bits_allocated}"
    sign = "int" if pixel_representation else "uint"
    return f"{sign}{max(bits_allocated, 8)}"


@dataclass(frozen=True, slots=True)
class FrameSpec:
    """What a decoder must know of a frame; names as in PS3.3 C.7.6.3.

    `floating`: the words are IEEE floats of Bits Allocated. `swapped`: bytes lie in big endian
    words of 16 bits. `ybr`: decoded samples are still luminance and chrominance, "full" or
    "partial" range; "" where they are not, or where the decoder itself turns them to RGB.
    """

    transfer_syntax: str
    rows: int
    columns: int
    samples_per_pixel: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    pixel_representation: int
    photometric: str
    planar: int = 0
    floating: bool = False
    swapped: bool = False
    ybr: str = ""
    lut: Lut | None = None

    @property
    def container(self) -> str:
        """Dtype of stored values: that of Bits Allocated, bytes for single bits."""
        return _container(self.floating, self.pixel_representation, self.bits_allocated)

    @property
    def channels(self) -> int:
        """Samples of a pixel of level 0: 3 also where a palette makes them."""
        return self.lut.channels if self.lut is not None else self.samples_per_pixel

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of stored values: (rows, columns), and samples where there are several."""
        whole = self.rows, self.columns, self.samples_per_pixel
        return whole if self.samples_per_pixel > 1 else whole[:2]

    @property
    def pixel_kind(self) -> tuple[str, int, str]:
        """What pixels of one array share: container, channels, and the dtype of a LUT."""
        return self.container, self.channels, self.lut.dtype if self.lut is not None else ""


def stored_bytes(spec: FrameSpec) -> int:
    """Return the bytes of a frame's stored values."""
    width = max(spec.bits_allocated, 8) // 8
    return spec.rows * spec.columns * spec.samples_per_pixel * width


@dataclass(frozen=True, slots=True)
class Decoding:
    """How frames are to be decoded: decoders in the order they are tried, and their time.

    `seconds` are for a frame, and one more is for each megapixel of it. One frame in `crosscheck`
    is decoded twice by different decoders; 0 is none. `device`: "cpu", "gpu", or "auto" for what is
    soonest.
    """

    prefer: tuple[str, ...]
    seconds: int = 30
    crosscheck: int = 0
    device: str = "cpu"


class Decoded(NamedTuple):
    """What came of one frame: its stored values and who decoded it, or the error.

    `stored` is lent: it is valid until the next frame is asked for. `notes` tell of decoders that
    were found to be wrong on the way.
    """

    stored: Any = None
    decoder: str = ""
    error: Any = None
    notes: tuple[str, ...] = ()
