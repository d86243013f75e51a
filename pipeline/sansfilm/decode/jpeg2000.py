"""What a JPEG 2000 or HTJ2K codestream says of itself, also inside of a JP2 file (ITU-T T.800 A).

The main header is the same for all frames of a series, so what it says is kept: a frame whose
header is known costs a look into a table.
"""

import struct
from functools import lru_cache
from typing import NamedTuple

from sansfilm.decode.boxes import boxes

_SIZ = b"\xff\x4f\xff\x51"
_COD, _COC, _SOT = 0xFF52, 0xFF53, 0xFF90
_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
_MOST_TILES = 65535
"""Tiles of an image, whose numbers have 16 bits (A.4.2)."""
_USUAL = 512
"""Main headers are rarely as long."""


class MainHeader(NamedTuple):
    """What SIZ and COD say (A.5.1, A.6.1).

    `alike`: all components have the same depth and sign, and none has fewer pixels than the image.
    `reversible`: all of them use the reversible wavelet. `length`: bytes of the header.
    """

    rows: int
    columns: int
    components: int
    precision: int
    signed: bool
    tiles: int
    alike: bool
    reversible: bool
    length: int


def main_header(frame: bytes | memoryview) -> MainHeader | None:
    """Read the main header; None if there is none, or one of an image that cannot be."""
    start = _start(frame)
    usual = bytes(frame[start : start + _USUAL])
    end = usual.find(b"\xff\x90")  # a comment may hold such bytes too
    header = _known(usual[:end]) if end > 0 else None
    if header is None or header.length != end:
        header = _parse(bytes(frame[start : _first_tile(frame, start)]))
    return header


def without_jp2(frame: bytes | memoryview) -> bytes | memoryview:
    """Take a JPEG 2000 codestream out of a JP2 file.

    What its boxes say of colour and palettes would make decoders change the samples; in DICOM the
    dataset alone says that (PS3.5 section 8.2.4).
    """
    start = _start(frame)
    return frame[start:] if start else frame


def is_reversible(frame: bytes | memoryview) -> bool:
    """Tell whether all of an image uses the reversible wavelet (A.6.1, A.6.2)."""
    header = main_header(frame)
    return header is not None and header.reversible


def has_all_tiles(frame: bytes | memoryview, header: MainHeader) -> bool:
    """Hop from tile-part to tile-part and look for each tile (A.4.2)."""
    pos, seen = _start(frame) + header.length, set[int]()
    while pos + 10 <= len(frame) and len(seen) < header.tiles:
        marker, length, tile, part = struct.unpack_from(">3HI", frame, pos)
        if marker == _SOT:
            if tile >= header.tiles:
                return False
            seen.add(tile)
            length = (part or len(frame)) - 2  # 0: up to the end
        pos += 2 + max(length, 2)
    return len(seen) == header.tiles


def _parse(header: bytes) -> MainHeader | None:
    """Read the bytes of a main header; what follows them in the frame begins a tile."""
    if header[:4] != _SIZ or len(header) < 43:
        return None
    xsiz, ysiz, xosiz, yosiz, width, height, left, top = struct.unpack_from(">8I", header, 8)
    components, depth = struct.unpack_from(">HB", header, 40)
    if not width or not height or left >= xsiz or top >= ysiz:
        return None
    tiles = -(-(xsiz - left) // width) * -(-(ysiz - top) // height)
    if tiles > _MOST_TILES:
        return None
    # steps of 0 are no image, but a broken one
    kinds = header[42 : 42 + 3 * components]
    broken = 0 in kinds[1::3] + kinds[2::3]
    alike = broken or kinds == bytes([depth, 1, 1]) * components
    pos, reversible, own_kind = 2, False, False
    while pos + 4 <= len(header):
        marker, length = struct.unpack_from(">HH", header, pos)
        if marker == _COD:
            reversible = header[pos + 13 : pos + 14] == b"\1"
        own_kind |= marker == _COC  # of one component
        pos += 2 + max(length, 2)
    return MainHeader(
        ysiz - yosiz, xsiz - xosiz, components, (depth & 0x7F) + 1, bool(depth >> 7), tiles, alike,
        reversible and not own_kind, pos,
    )  # fmt: skip


_known = lru_cache(maxsize=64)(_parse)
"""The same for headers that are not long."""


def _first_tile(frame: bytes | memoryview, start: int) -> int:
    """Hop over the markers of the main header; the end of the frame if there is no tile."""
    pos = start + 2
    while pos + 4 <= len(frame):
        marker, length = struct.unpack_from(">HH", frame, pos)
        if marker == _SOT:
            return pos
        pos += 2 + max(length, 2)
    return len(frame)


def _start(frame: bytes | memoryview) -> int:
    """Find the codestream: at once, or in a box of a JP2 file (T.800 I.5.4)."""
    if frame[:12] != _JP2:
        return 0
    return next((start for kind, start in boxes(frame) if kind == b"jp2c"), len(frame))
