"""The first bits of a JPEG XL codestream (ISO/IEC 18181-1): image size and bit depth."""

from sansfilm.decode.boxes import boxes

_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_SIZE = ((1, 9), (1, 13), (1, 18), (1, 30))
_DEPTH = ((8, 0), (10, 0), (12, 0), (1, 6))


def size_and_depth(frame: bytes | memoryview) -> tuple[int, int, int] | None:
    """Return rows, columns and bits per sample.

    None if this is no JPEG XL, or one that no single-frame image needs: a preview, an
    animation, floating samples.
    """
    codestream = _inner(frame)
    if codestream[:2] != b"\xff\x0a":
        return None
    bits = _Bits(codestream[2:64])
    rows, columns = bits.size()
    if bits.read(1):  # all defaults
        return rows, columns, 8
    if bits.read(1):  # extra fields: orientation, intrinsic size, preview, animation
        bits.read(3)
        if bits.read(1):
            bits.size()
        if bits.read(2):
            return None
    if bits.read(1):  # floating samples
        return None
    depth = bits.choice(_DEPTH)
    return (rows, columns, depth) if bits.inside else None


def _inner(frame: bytes | memoryview) -> bytes | memoryview:
    """Return the start of the codestream, out of its container if there is one."""
    if frame[:12] != b"\0\0\0\x0cJXL \r\n\x87\n":
        return frame[:66]
    for kind, start in boxes(frame):
        if kind in (b"jxlc", b"jxlp"):  # whole, or its first part behind a number
            start += 4 if kind == b"jxlp" else 0
            return frame[start : start + 66]
    return b""


class _Bits:
    """Reads bits from the lowest of each byte on; zeros beyond the end."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._number, self._left = int.from_bytes(data, "little"), 8 * len(data)

    @property
    def inside(self) -> bool:
        """Whether all that was read was there."""
        return self._left >= 0

    def read(self, count: int) -> int:
        """Return the next bits as a number."""
        value = self._number & ((1 << count) - 1)
        self._number >>= count
        self._left -= count
        return value

    def choice(self, kinds: tuple[tuple[int, int], ...]) -> int:
        """Return a number in one of four encodings: an offset, and how many bits are added."""
        offset, count = kinds[self.read(2)]
        return offset + self.read(count)

    def size(self) -> tuple[int, int]:
        """Return rows and columns of a size header."""
        small = self.read(1)
        rows = 8 * (1 + self.read(5)) if small else self.choice(_SIZE)
        ratio = self.read(3)
        if ratio:
            above, below = _RATIOS[ratio - 1]
            return rows, rows * above // below
        return rows, 8 * (1 + self.read(5)) if small else self.choice(_SIZE)
