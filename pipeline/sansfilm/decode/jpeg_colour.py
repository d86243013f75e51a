"""Whether the samples of a JPEG codestream are RGB or YCbCr, as its markers and DICOM say."""

import struct
from collections.abc import Iterator

from sansfilm.decode import syntaxes
from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import FrameSpec

_SOS = 0xDA
_LOSSLESS = (0xC3, 0xC7, 0xCB, 0xCF)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_RGB = (b"RGB", b"rgb")


def colourspace(frame: bytes | memoryview, spec: FrameSpec) -> str:
    """Return what to call the samples of a codestream of three components: "RGB" or "YCbCr".

    "RGB" leaves them as they are. What the codestream says of itself comes first: component
    identifiers R, G, B; a JFIF marker, which means YCbCr; Adobe's APP14 marker with its transform.
    Where it says nothing, Photometric Interpretation decides (PS3.5 section 8.2.1), and not the
    guess that libjpeg would make. Lossless JPEG, and YBR that the decoder is not to turn
    to RGB, is left as it is.

    Raises
    ------
    BadInstanceError
        CODESTREAM_MISMATCH if a lossless syntax holds another process, whose colours nothing
        tells.
    """
    lossless = spec.transfer_syntax in syntaxes.JPEG_LOSSLESS
    jfif, transform = False, None
    for marker, body in _segments(frame):
        if marker in _FRAMES:
            if lossless != (marker in _LOSSLESS):
                message = f"JPEG process {marker:#04x} in {syntaxes.NAMES[spec.transfer_syntax]}"
                raise BadInstanceError(ProblemCode.CODESTREAM_MISMATCH, message)
            if lossless or spec.ybr or body[6:15:3] in _RGB:
                return "RGB"
        elif marker == 0xE0 and body[:5] == b"JFIF\0":
            jfif = True
        elif marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12:
            transform = body[11]
    if jfif:
        return "YCbCr"
    if transform is not None:
        return "YCbCr" if transform else "RGB"
    return "RGB" if spec.photometric == "RGB" else "YCbCr"


def _segments(frame: bytes | memoryview) -> Iterator[tuple[int, bytes | memoryview]]:
    """Yield marker and body of each segment before the first scan; stop where there is none."""
    pos = 2
    while pos + 4 <= len(frame) and frame[pos] == 0xFF:
        marker = frame[pos + 1]
        if marker == 0xFF:  # fill byte
            pos += 1
            continue
        if marker == _SOS:
            return
        length = max(struct.unpack_from(">H", frame, pos + 2)[0], 2)
        yield marker, frame[pos + 4 : pos + 2 + length]
        pos += 2 + length
