"""Where the bytes of each frame lie in a file: words, bits or fragments (PS3.5 8.1 and A.4).

A frame is one range of bytes, so that one request fetches it. Uncompressed frames follow each
other without a gap, those of one bit per pixel even within a byte. The range of a compressed frame
holds its items whole, heads included: a frame may be in several fragments, and whether it is, a
correct offset table does not say. `FrameBytes.cut` takes the frame out of its range, and sees to
it that the items are what the table promised.

Memory: uncompressed frames are two numbers, however many there are; compressed ones 8 bytes each,
and 17 bytes for each fragment while they are looked for.
"""

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import FrameSpec
from sansfilm.options import Budgets
from sansfilm.planning import dataset
from sansfilm.planning.fragments import find_bounds
from sansfilm.planning.source import Source

NATIVE = frozenset({dataset.IMPLICIT_LE, dataset.EXPLICIT_LE}
                   | {dataset.EXPLICIT_BE, dataset.DEFLATED_LE})  # fmt: skip
ENCAPSULATED = frozenset(
    "1.2.840.10008.1.2." + tail
    for tail in (
        "4.50", "4.51", "4.53", "4.55", "4.57", "4.70", "4.80", "4.81", "4.90", "4.91", "4.110",
        "4.111", "4.112", "4.201", "4.202", "4.203", "5", "8.1",
    )
)  # fmt: skip
"""Transfer syntaxes that `decode` reads; a test holds the two lists together."""
_HEAD = struct.Struct("<HHI")
_HALF_CHROMA = frozenset({"YBR_FULL_422", "YBR_PARTIAL_422"})


@dataclass(frozen=True, slots=True)
class FrameBytes:
    """One frame: a range of bytes to read, and what of it is the frame.

    Offsets count as in `PixelLocation`. An uncompressed frame has `bits` bits, the first of them
    bit `shift` of the first byte, counted from the least significant (PS3.5 section 8.1.1); for a
    compressed one `bits` is 0, and the range holds items.
    """

    offset: int
    length: int
    bits: int = 0
    shift: int = 0

    def cut(self, data: bytes | memoryview) -> bytes | memoryview:
        """Return the frame out of the bytes of its range.

        Returns
        -------
        bytes or memoryview
            The codestream, fragments joined; or the words of an uncompressed frame. Pixels of
            one bit begin in the least significant bit of the first byte, whatever precedes them
            in the file; unused bits of the last byte are 0. What is in one piece is a part of
            `data`: of a memoryview, no copy.

        Raises
        ------
        BadInstanceError
            BAD_FRAGMENTS if the range does not hold whole items, or only empty ones; TRUNCATED
            if there are fewer bytes than the range has.
        """
        if len(data) != self.length:
            message = f"{len(data)} bytes of a frame of {self.length}"
            raise BadInstanceError(ProblemCode.TRUNCATED, message)
        if self.bits == 0:
            parts = [data[start : start + size] for start, size in self.parts(data)]
            return parts[0] if len(parts) == 1 else b"".join(parts)
        if self.shift == 0 and self.bits % 8 == 0:
            return data
        number = int.from_bytes(data, "little") >> self.shift
        return (number & (1 << self.bits) - 1).to_bytes((self.bits + 7) // 8, "little")

    def parts(self, data: bytes | memoryview) -> list[tuple[int, int]]:
        """Return offset in `data` and length of each fragment that is not empty."""
        found, pos = [], 0
        while pos < len(data):
            start = pos + _HEAD.size
            group, number, length = _HEAD.unpack_from(data, pos) if start <= len(data) else (0,) * 3
            pos = start + length
            if group << 16 | number != dataset.ITEM or pos > len(data):
                message = f"no fragment at byte {self.offset + start - _HEAD.size}"
                raise BadInstanceError(ProblemCode.BAD_FRAGMENTS, message)
            if length:
                found.append((start, length))
        if not found:
            message = f"the frame at byte {self.offset} is empty"
            raise BadInstanceError(ProblemCode.BAD_FRAGMENTS, message)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameTable:
    """Where the frames of an instance lie: ``table[n].cut(bytes)`` is frame n, from 0.

    `element_offset` to `element_end`, `total` and `prefix` are as in `PixelLocation`.
    """

    element_offset: int
    element_end: int
    total: int
    prefix: int
    count: int
    start: int = 0
    """First byte of uncompressed frames."""
    frame_bits: int = 0
    """Bits of an uncompressed frame; 0 if the frames are compressed."""
    bounds: "array[int]" = field(default_factory=lambda: array("q"), hash=False)
    """First byte of each compressed frame, and the end of the last."""

    @property
    def header_length(self) -> int:
        """Bytes of the instance outside Pixel Data, file meta information included."""
        return self.prefix + self.element_offset + self.total - self.element_end

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, frame: int) -> FrameBytes:
        if not 0 <= frame < self.count:
            raise IndexError(frame)
        if self.frame_bits == 0:
            return FrameBytes(self.bounds[frame], self.bounds[frame + 1] - self.bounds[frame])
        first, shift = divmod(frame * self.frame_bits, 8)
        end = ((frame + 1) * self.frame_bits + 7) // 8
        return FrameBytes(self.start + first, end - first, self.frame_bits, shift)

    def __iter__(self) -> Iterator[FrameBytes]:
        return map(self.__getitem__, range(self.count))


def locate_frames(
    walked: dataset.Walked,
    spec: FrameSpec,
    source: Source,
    number_of_frames: int,
    prefix: int,
    total: int,
    budgets: Budgets,
) -> FrameTable:
    """Find the frames of an instance.

    Parameters
    ----------
    walked : Walked
        The dataset up to Pixel Data.
    source : Source
        The file; of compressed frames the heads of fragments are read, and no pixels.
    number_of_frames : int
        What the header says.
    prefix : int
        Length of the file meta information of a deflated dataset, 0 for all others.
    total : int
        Length of the file, or of the dataset once inflated.
    budgets : Budgets

    Raises
    ------
    BadInstanceError
        PIXEL_LENGTH if uncompressed Pixel Data is shorter or longer than the frames need,
        BAD_FRAGMENTS if frames cannot be told apart, TRUNCATED, or TOO_MANY_ELEMENTS.
    """
    assert walked.pixel is not None
    _, _, element, start, length = walked.pixel
    if spec.transfer_syntax not in NATIVE:
        if length != dataset.UNDEFINED:
            message = "Pixel Data of a compressed syntax has a defined length"
            raise BadInstanceError(ProblemCode.BAD_FRAGMENTS, message)
        bounds, end = find_bounds(walked, spec.transfer_syntax, source, number_of_frames, budgets)
        return FrameTable(
            element_offset=element, element_end=end, total=source.size, prefix=0,
            count=number_of_frames, bounds=bounds,
        )  # fmt: skip
    if length == dataset.UNDEFINED:
        message = "encapsulated Pixel Data in an uncompressed syntax"
        raise BadInstanceError(ProblemCode.BAD_FRAGMENTS, message)
    samples = 2 if spec.photometric in _HALF_CHROMA else spec.samples_per_pixel
    frame_bits = spec.rows * spec.columns * samples * spec.bits_allocated
    need = (number_of_frames * frame_bits + 7) // 8
    if length not in (need, need + need % 2):
        message = f"Pixel Data of {length} bytes, {number_of_frames} frames need {need}"
        raise BadInstanceError(ProblemCode.PIXEL_LENGTH, message)
    if start + length > total:
        message = f"Pixel Data of {length} bytes, {max(total - start, 0)} are left"
        raise BadInstanceError(ProblemCode.TRUNCATED, message)
    return FrameTable(
        element_offset=element, element_end=start + length, total=total, prefix=prefix,
        count=number_of_frames, start=start, frame_bits=frame_bits,
    )  # fmt: skip
