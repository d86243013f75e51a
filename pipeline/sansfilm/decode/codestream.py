"""Read a codestream's own header, without decoding: is it the image that DICOM describes.

JPEG and JPEG-LS: frame header (ITU-T T.81 B.2.2, T.87 C.2.2). JPEG 2000 and HTJ2K: SIZ marker
(ITU-T T.800 A.5.1), also inside a JP2 box. RLE: PS3.5 annex G.
"""

import struct
from dataclasses import dataclass

from sansfilm.decode import syntaxes
from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import FrameSpec

_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})


@dataclass(frozen=True, slots=True)
class Codestream:
    """What the codestream itself says it holds."""

    rows: int
    columns: int
    components: int
    precision: int
    signed: bool


def sniff(frame: bytes, transfer_syntax: str) -> Codestream | None:
    """Read the codestream's own header; None for syntaxes that have none.

    Raises
    ------
    BadInstanceError
        CODESTREAM_MISMATCH if it is not a codestream of that family.
    """
    if transfer_syntax in syntaxes.JPEG | syntaxes.JPEG_LS:
        found = _jpeg(frame)
    elif transfer_syntax in syntaxes.JPEG_2000 | syntaxes.HTJ2K:
        found = _jpeg_2000(frame)
    else:
        return None
    if found is None:
        name = syntaxes.NAMES[transfer_syntax]
        raise BadInstanceError(ProblemCode.CODESTREAM_MISMATCH, f"no {name} header in the frame")
    return found


def check(found: Codestream | None, spec: FrameSpec) -> None:
    """Compare a codestream with the dataset.

    Raises
    ------
    BadInstanceError
        CODESTREAM_MISMATCH if size, components or precision do not fit.
    """
    if found is None:
        return
    inside = (found.rows, found.columns, found.components)
    outside = (spec.rows, spec.columns, spec.samples_per_pixel)
    if inside != outside:
        message = f"the codestream holds {inside} (rows, columns, samples), the header {outside}"
        raise BadInstanceError(ProblemCode.CODESTREAM_MISMATCH, message)
    if not 0 < found.precision <= max(spec.bits_allocated, 8):
        message = f"{found.precision} bits in the codestream, {spec.bits_allocated} allocated"
        raise BadInstanceError(ProblemCode.CODESTREAM_MISMATCH, message)


def _jpeg(frame: bytes) -> Codestream | None:
    if frame[:2] != b"\xff\xd8":
        return None
    pos = 2
    while pos + 4 <= len(frame):
        if frame[pos] != 0xFF:
            return None
        marker = frame[pos + 1]
        if marker == 0xFF or marker in _STANDALONE:  # fill byte, or a marker without length
            pos += 1 if marker == 0xFF else 2
            continue
        length = struct.unpack_from(">H", frame, pos + 2)[0]
        if marker in _SOF and pos + 10 <= len(frame):
            precision, rows, columns, components = struct.unpack_from(">BHHB", frame, pos + 4)
            return Codestream(rows, columns, components, precision, signed=False)
        pos += 2 + max(length, 2)
    return None


def _jpeg_2000(frame: bytes) -> Codestream | None:
    start = 0
    if frame[:12] == b"\0\0\0\x0cjP  \r\n\x87\n":
        start = _codestream_box(frame)
    if frame[start : start + 4] != b"\xff\x4f\xff\x51" or len(frame) < start + 43:
        return None
    xsiz, ysiz, xosiz, yosiz = struct.unpack_from(">4I", frame, start + 8)
    components, depth = struct.unpack_from(">HB", frame, start + 40)
    return Codestream(ysiz - yosiz, xsiz - xosiz, components, (depth & 0x7F) + 1, bool(depth >> 7))


def _codestream_box(frame: bytes) -> int:
    pos = 0
    while pos + 8 <= len(frame):
        length, kind = struct.unpack_from(">I4s", frame, pos)
        head = 8
        if length == 1 and pos + 16 <= len(frame):
            length, head = struct.unpack_from(">Q", frame, pos + 8)[0], 16
        if kind == b"jp2c":
            return pos + head
        if length < head:
            break
        pos += length
    return len(frame)
