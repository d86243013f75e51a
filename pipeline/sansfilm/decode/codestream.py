"""Read a codestream's own header, without decoding: is it the image that DICOM describes.

JPEG and JPEG-LS: frame header (ITU-T T.81 B.2.2, T.87 C.2.2). JPEG 2000 and HTJ2K: SIZ marker
(ITU-T T.800 A.5.1), also inside a JP2 box. JPEG XL: size header and bit depth (ISO/IEC 18181-1
annex D). RLE: PS3.5 annex G. A decoder allocates what these headers ask for, so they are checked
first.
"""

import struct
from dataclasses import dataclass
from itertools import pairwise

from sansfilm.decode import syntaxes
from sansfilm.decode.jpegxl import size_and_depth
from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import FrameSpec

_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_COD, _COC, _SOT = 0xFF52, 0xFF53, 0xFF90
_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
_END = b"\xff\xd9"
"""EOI of JPEG and JPEG-LS, EOC of JPEG 2000; nothing inside of a codestream looks like it."""
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})


@dataclass(frozen=True, slots=True)
class Codestream:
    """What the codestream itself says it holds; `components` 0 where it says so only inside."""

    rows: int
    columns: int
    components: int
    precision: int
    signed: bool


def sniff(frame: bytes, spec: FrameSpec) -> Codestream | None:
    """Read the codestream's own header; None for syntaxes whose frames are words without one.

    Raises
    ------
    BadInstanceError
        CODESTREAM_MISMATCH if it is not a codestream of that family, or one whose components have
        fewer pixels than the image; DECODE_FAILED if it is cut.
    """
    syntax = spec.transfer_syntax
    found: Codestream | None
    if syntax in syntaxes.JPEG | syntaxes.JPEG_LS:
        found = _jpeg(frame)
    elif syntax in syntaxes.JPEG_2000 | syntaxes.HTJ2K:
        found = _jpeg_2000(frame)
    elif syntax in syntaxes.JPEG_XL:
        inside = size_and_depth(frame)
        found = Codestream(*inside[:2], 0, inside[2], signed=False) if inside else None
    else:
        if syntax == syntaxes.RLE:
            _check_rle(frame, spec)
        return None
    name = syntaxes.NAMES[syntax]
    if found is None:
        raise BadInstanceError(ProblemCode.CODESTREAM_MISMATCH, f"no {name} header in the frame")
    if syntax not in syntaxes.JPEG_XL and frame.rfind(_END) < 0:
        # decoders give what they have of a cut frame, or look for its end for seconds (CharLS)
        raise BadInstanceError(ProblemCode.DECODE_FAILED, f"{name}: the frame is cut")
    return found


def check(found: Codestream, spec: FrameSpec) -> None:
    """Compare a codestream with the dataset.

    Raises
    ------
    BadInstanceError
        CODESTREAM_MISMATCH if size, components or precision do not fit.
    """
    components = found.components or spec.samples_per_pixel
    inside = (found.rows, found.columns, components)
    outside = (spec.rows, spec.columns, spec.samples_per_pixel)
    if inside != outside:
        message = f"the codestream holds {inside} (rows, columns, samples), the header {outside}"
        raise BadInstanceError(ProblemCode.CODESTREAM_MISMATCH, message)
    if not 0 < found.precision <= spec.bits_allocated:
        message = f"{found.precision} bits in the codestream, {spec.bits_allocated} allocated"
        raise BadInstanceError(ProblemCode.CODESTREAM_MISMATCH, message)


def without_jp2(frame: bytes) -> bytes:
    """Take a JPEG 2000 codestream out of a JP2 file.

    What its boxes say of colour and palettes would make decoders change the samples; in DICOM the
    dataset alone says that (PS3.5 section 8.2.4).
    """
    return frame[_codestream_box(frame) :] if frame[:12] == _JP2 else frame


def is_reversible(frame: bytes) -> bool:
    """Tell whether all of a JPEG 2000 image uses the reversible wavelet (T.800 A.6.1, A.6.2)."""
    pos, reversible = frame.find(b"\xff\x4f\xff\x51") + 2, False
    while pos + 4 <= len(frame):
        marker, length = struct.unpack_from(">HH", frame, pos)
        if marker == _SOT:
            return reversible
        if marker == _COC:  # a component of its own kind
            return False
        if marker == _COD:
            reversible = frame[pos + 13 : pos + 14] == b"\1"
        pos += 2 + max(length, 2)
    return False


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
    start = _codestream_box(frame) if frame[:12] == _JP2 else 0
    if frame[start : start + 4] != b"\xff\x4f\xff\x51" or len(frame) < start + 45:
        return None
    xsiz, ysiz, xosiz, yosiz = struct.unpack_from(">4I", frame, start + 8)
    components, depth = struct.unpack_from(">HB", frame, start + 40)
    steps = frame[start + 43 : start + 42 + 3 * components]  # XRsiz, YRsiz, and the next depth
    if any(step > 1 for step in (*steps[::3], *steps[1::3])):
        # decoders refuse them, repeat pixels, or turn colours to RGB; PS3.5 table 8.2.4-1 has none
        message = "sub-sampled components in the codestream"
        raise BadInstanceError(ProblemCode.CODESTREAM_MISMATCH, message)
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


def _check_rle(frame: bytes, spec: FrameSpec) -> None:
    """Refuse an RLE header that leads outside of the frame: imagecodecs would follow it."""
    if len(frame) < 64:
        raise BadInstanceError(ProblemCode.DECODE_FAILED, f"RLE: a frame of {len(frame)} bytes")
    segments, *offsets = struct.unpack_from("<16I", frame)
    need = spec.samples_per_pixel * max(spec.bits_allocated, 8) // 8
    if segments != need:
        message = f"RLE: {segments} segments, {need} bytes in a pixel"
        raise BadInstanceError(ProblemCode.CODESTREAM_MISMATCH, message)
    bounds = [64, *offsets[1:need], len(frame)]
    if offsets[0] != 64 or any(a >= b for a, b in pairwise(bounds)):
        raise BadInstanceError(ProblemCode.DECODE_FAILED, "RLE: segments leave the frame")
