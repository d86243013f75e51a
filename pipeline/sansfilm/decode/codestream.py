"""Read a codestream's own header, without decoding: is it the image that DICOM describes.

JPEG and JPEG-LS: frame header (ITU-T T.81 B.2.2, T.87 C.2.2). JPEG 2000 and HTJ2K: SIZ marker
(ITU-T T.800 A.5.1), also inside a JP2 box. JPEG XL: size header and bit depth (ISO/IEC 18181-1
annex D). RLE: PS3.5 annex G. A decoder allocates what these headers ask for, so they are checked
first.
"""

import struct
from itertools import pairwise
from typing import NamedTuple

from sansfilm.decode import syntaxes
from sansfilm.decode.jpeg2000 import MainHeader, has_all_tiles, main_header
from sansfilm.decode.jpegxl import size_and_depth
from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import FrameSpec

_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_SOS, _LSE = 0xDA, 0xF8
_END = b"\xff\xd9"
"""EOI of JPEG and JPEG-LS, EOC of JPEG 2000; nothing inside of a codestream looks like it."""
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})


class Codestream(NamedTuple):
    """What the codestream itself says it holds; `components` 0 where it says so only inside."""

    rows: int
    columns: int
    components: int
    precision: int
    signed: bool


def sniff(frame: bytes | memoryview, spec: FrameSpec) -> Codestream | None:
    """Read the codestream's own header; None for syntaxes whose frames are words without one.

    Raises
    ------
    BadInstanceError
        CODESTREAM_MISMATCH if it is not a codestream of that family, or one whose components have
        fewer pixels than the image; DECODE_FAILED if it is cut.
    """
    syntax = spec.transfer_syntax
    found: Codestream | None
    header: MainHeader | None = None
    if syntax in syntaxes.MARKED:
        found = _jpeg(frame)
    elif syntax in syntaxes.WAVELETS:
        header = main_header(frame)
        found = header and _wavelets(header)
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
    if syntax not in syntaxes.JPEG_XL and not _has_end(frame):
        # decoders give what they have of a cut frame, or look for its end for seconds (CharLS)
        raise BadInstanceError(ProblemCode.DECODE_FAILED, f"{name}: the frame is cut")
    if syntax in syntaxes.JPEG_LS:
        _check_largest(frame, found)
    if header and not has_all_tiles(frame, header):
        # OpenJPEG leaves them 0 and calls it a success
        raise BadInstanceError(ProblemCode.DECODE_FAILED, f"{name}: tiles are missing")
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


def _has_end(frame: bytes | memoryview) -> bool:
    """Look for the end where it should be, and anywhere if it is not there."""
    return _END in bytes(frame[-64:]) or _END in bytes(frame)


def _jpeg(frame: bytes | memoryview) -> Codestream | None:
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


def _check_largest(frame: bytes | memoryview, found: Codestream) -> None:
    """Refuse a JPEG-LS image with a MAXVAL of its own (T.87 C.2.4.1.1).

    CharLS takes the largest sample from the precision alone, and gives other values without an
    error.
    """
    pos = 2
    while pos + 7 <= len(frame) and frame[pos] == 0xFF and frame[pos + 1] != _SOS:
        marker, length, kind = struct.unpack_from(">xBHB", frame, pos)
        if marker == 0xFF:  # fill byte
            pos += 1
            continue
        if marker == _LSE and kind == 1:
            (largest,) = struct.unpack_from(">H", frame, pos + 5)
            if largest not in (0, (1 << found.precision) - 1):
                message = f"JPEG-LS with a largest value of its own, {largest}"
                raise BadInstanceError(ProblemCode.MISSING_CODEC, message)
        pos += 2 + max(length, 2)


def _wavelets(header: MainHeader) -> Codestream:
    if not header.alike:
        # all alike and none for several pixels (PS3.5 table 8.2.4-1): of others decoders repeat
        # pixels, turn colours to RGB, or leave pixels as they were in memory
        message = "components in the codestream that differ, or are sub-sampled"
        raise BadInstanceError(ProblemCode.CODESTREAM_MISMATCH, message)
    return Codestream(*header[:5])


def _check_rle(frame: bytes | memoryview, spec: FrameSpec) -> None:
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
