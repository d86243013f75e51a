"""Where the codestream of a single-frame instance lies: native words, or fragments (PS3.5 A.4)."""

import struct

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import FrameSpec, PixelLocation
from sansfilm.options import Budgets
from sansfilm.planning import dataset
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
_ONE_FRAGMENT = frozenset({"1.2.840.10008.1.2.5", "1.2.840.10008.1.2.8.1"})
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51")
_END_MARKER = b"\xff\xd9"


def locate_native(
    walked: dataset.Walked, spec: FrameSpec, total: int, prefix: int
) -> PixelLocation:
    """Find an uncompressed frame; its length must be the one that the image needs.

    Parameters
    ----------
    total : int
        Length of the file, or of the dataset once inflated.
    prefix : int
        Length of the file meta information of a deflated dataset, 0 for all others.

    Raises
    ------
    BadInstanceError
        TRUNCATED, PIXEL_LENGTH or BAD_FRAGMENTS.
    """
    assert walked.pixel is not None
    _, _, element, start, length = walked.pixel
    need = spec.rows * spec.columns * (spec.bits_allocated // 8)
    if length == dataset.UNDEFINED:
        message = "encapsulated Pixel Data in an uncompressed syntax"
        raise BadInstanceError(ProblemCode.BAD_FRAGMENTS, message)
    if length not in (need, need + need % 2):
        message = f"Pixel Data of {length} bytes, one frame needs {need}"
        raise BadInstanceError(ProblemCode.PIXEL_LENGTH, message)
    if start + length > total:
        message = f"Pixel Data of {length} bytes, {max(total - start, 0)} are left"
        raise BadInstanceError(ProblemCode.TRUNCATED, message)
    return PixelLocation(element, start + length, total, ((start, need),), prefix)


def locate_fragments(
    walked: dataset.Walked, syntax: str, source: Source, budgets: Budgets
) -> PixelLocation:
    """Find the fragments of a compressed frame.

    Raises
    ------
    BadInstanceError
        TRUNCATED or BAD_FRAGMENTS.
    """
    assert walked.pixel is not None
    _, _, element, start, length = walked.pixel
    if length != dataset.UNDEFINED:
        message = "Pixel Data of a compressed syntax has a defined length"
        raise BadInstanceError(ProblemCode.BAD_FRAGMENTS, message)
    table, parts, end, closed = _follow(source, start, budgets.elements)
    if not closed and not _is_complete(parts, syntax, source):
        raise BadInstanceError(ProblemCode.TRUNCATED, "the file ends inside Pixel Data")
    if not parts:
        raise BadInstanceError(ProblemCode.BAD_FRAGMENTS, "Pixel Data holds no fragment")
    frames = table // 4
    if frames < 2 and len(parts) > 1:
        frames = sum(source.read(offset, 4).startswith(_STARTS) for offset, _ in parts)
    if frames > 1:
        message = f"Pixel Data holds {frames} frames, the header says one"
        raise BadInstanceError(ProblemCode.BAD_FRAGMENTS, message)
    return PixelLocation(element, end, source.size, tuple(parts))


def _follow(source: Source, start: int, most: int) -> tuple[int, list[tuple[int, int]], int, bool]:
    """Walk the items: length of the Basic Offset Table, fragments, end, whether it was closed."""
    items: list[tuple[int, int]] = []
    pos, closed = start, False
    while pos < source.size or not items:
        head = source.read(pos, 8)
        if len(head) < 8:
            raise BadInstanceError(ProblemCode.TRUNCATED, "the file ends inside Pixel Data")
        group, number, length = struct.unpack("<HHI", head)
        tag = group << 16 | number
        pos += 8
        if tag == dataset.SEQUENCE_END:
            closed = True
            break
        if tag != dataset.ITEM or length == dataset.UNDEFINED:
            raise BadInstanceError(ProblemCode.BAD_FRAGMENTS, f"no fragment at byte {pos - 8}")
        if pos + length > source.size:
            message = f"a fragment of {length} bytes, {source.size - pos} are left"
            raise BadInstanceError(ProblemCode.TRUNCATED, message)
        items.append((pos, length))
        pos += length
        if len(items) > most:
            message = f"Pixel Data has more than {most} fragments"
            raise BadInstanceError(ProblemCode.TOO_MANY_ELEMENTS, message)
    table = items[0][1] if items else 0
    return table, [item for item in items[1:] if item[1]], pos, closed


def _is_complete(parts: list[tuple[int, int]], syntax: str, source: Source) -> bool:
    """Tell whether a frame is all there though no delimiter follows it.

    It is when it ends with the end marker of the JPEG families, or where the syntax puts each
    frame into one fragment (PS3.5 A.4.2 and A.4.13).
    """
    if syntax in _ONE_FRAGMENT:
        return len(parts) == 1
    offset, length = parts[-1] if parts else (0, 0)
    return source.read(offset + max(length - 3, 0), 3).rstrip(b"\0").endswith(_END_MARKER)
