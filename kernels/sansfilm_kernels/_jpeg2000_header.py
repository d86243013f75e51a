"""Read the headers of a JPEG 2000 codestream, and refuse what nvJPEG2000 cannot be trusted with.

ITU-T T.800 annex A; for HTJ2K, T.814 annex A. What is refused here is not decoded to wrong pixels:
a CPU decodes it.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from sansfilm_kernels._batch import FrameStatus, RefusedError

_SOC, _CAP, _SIZ, _COD, _COC = 0xFF4F, 0xFF50, 0xFF51, 0xFF52, 0xFF53
_RGN, _POC, _PPM, _PPT, _NLT = 0xFF5E, 0xFF5F, 0xFF60, 0xFF61, 0xFF76
_SOT, _SOD, _EOC = 0xFF90, 0xFF93, b"\xff\xd9"
_NOT_TRIED = frozenset({_RGN, _POC, _PPM, _PPT, _NLT})
_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
_EXTENDED, _PART_15 = 0x8000, 1 << (32 - 15)
_NOT_ONE_HT_SET = 0xF800
"""Of Ccap15: not all blocks are HT, several HT sets, a region of interest, mixed kinds (A.3.2)."""
_HT_BLOCKS, _MIXED_BLOCKS = 0x40, 0x80
_REVERSIBLE = 1
_MOST_LAYERS, _MOST_COMPONENTS, _MOST_BITS = 32, 4, 16


@dataclass(frozen=True, slots=True)
class Header:
    """What a codestream holds."""

    rows: int
    columns: int
    components: int
    precision: int
    signed: bool
    tiles: int
    resolutions: int
    """1 and the number of wavelet decompositions; of the component or tile with the fewest."""


def read_header(codestream: bytes) -> Header:
    """Return what a codestream holds.

    Raises
    ------
    RefusedError
        NOT_A_CODESTREAM, CORRUPT, TRUNCATED, or UNSUPPORTED for what nvJPEG2000 does not do or has
        done wrongly: an origin other than 0, more than four components, more than 16 bits, signed
        samples of at most 8 bits, subsampled or different components, more than 32 layers,
        extensions of part 2, regions of interest and other rare markers. In HTJ2K, what may hold
        refinement passes, which it has once ignored: irreversible coding, and several layers.
    """
    if codestream[:12] == _JP2:
        raise RefusedError(FrameStatus.UNSUPPORTED)
    if codestream[:4] != b"\xff\x4f\xff\x51":
        raise RefusedError(FrameStatus.NOT_A_CODESTREAM)
    try:
        return _read(codestream)
    except struct.error:
        raise RefusedError(FrameStatus.TRUNCATED) from None
    except (IndexError, ValueError):  # a marker segment that is too short for what it holds
        raise RefusedError(FrameStatus.CORRUPT) from None


def _read(codestream: bytes) -> Header:
    at, blocks_are_ht, levels, image = 2, False, [], None
    for marker, body in _all_segments(codestream, at):
        if marker in _NOT_TRIED:
            raise RefusedError(FrameStatus.UNSUPPORTED)
        if marker == _SIZ:
            blocks_are_ht, image = bool(body[0] & 0x40), _size(body)
        elif marker == _CAP:
            blocks_are_ht |= _is_one_ht_set(body)
        elif marker == _COD:
            layers = struct.unpack_from(">H", body, 2)[0]
            most = 1 if blocks_are_ht else _MOST_LAYERS
            _require(0 < layers <= most)
            levels.append(_coding(body, 5, blocks_are_ht))
        elif marker == _COC:
            levels.append(_coding(body, 2, blocks_are_ht))
    if image is None or not levels:
        raise RefusedError(FrameStatus.CORRUPT)
    return Header(*image, resolutions=1 + min(levels))


def _all_segments(codestream: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """Yield the marker segments of the main header and of all tile-parts; none may be missing."""
    ends = -1
    """Where the tile-part ends whose header this is; -1 in the main header."""
    while True:
        marker, length = struct.unpack_from(">HH", codestream, at)
        if marker == _SOD:
            if at > ends:  # in the main header too
                raise RefusedError(FrameStatus.CORRUPT)
            at, ends = ends, -1
            if codestream[at : at + 2] == _EOC:
                return
            marker, length = struct.unpack_from(">HH", codestream, at)
            if marker != _SOT:
                raise RefusedError(FrameStatus.CORRUPT)
        if marker < 0xFF00 or length < 2:
            raise RefusedError(FrameStatus.CORRUPT)
        body = codestream[at + 4 : at + 2 + length]
        if len(body) != length - 2:
            raise RefusedError(FrameStatus.TRUNCATED)
        if marker == _SOT:
            if ends >= 0:
                raise RefusedError(FrameStatus.CORRUPT)
            ends = _end_of_tile_part(codestream, at, body)
        yield marker, body
        at += 2 + length


def _end_of_tile_part(codestream: bytes, at: int, body: bytes) -> int:
    size = struct.unpack_from(">H I", body)[1]
    last = codestream.rfind(_EOC)
    end = at + size if size else last  # 0: until the end (A.4.2)
    if last < 0 or end > last:
        raise RefusedError(FrameStatus.TRUNCATED)
    if size and size < 14:
        raise RefusedError(FrameStatus.CORRUPT)
    return end


def _size(body: bytes) -> tuple[int, int, int, int, bool, int]:
    """Return rows, columns, components, precision, sign and tiles (A.5.1)."""
    extended, columns, rows, *origin = struct.unpack_from(">H 4I", body)
    wide, high, *tile_origin, components = struct.unpack_from(">4I H", body, 18)
    _require(not extended & _EXTENDED and not any((*origin, *tile_origin)))
    if not (rows and columns and wide and high and components):
        raise RefusedError(FrameStatus.CORRUPT)
    _require(components <= _MOST_COMPONENTS)
    kinds = {body[36 + 3 * n : 39 + 3 * n] for n in range(components)}
    _require(len(kinds) == 1)
    depth, *sampling = kinds.pop()
    _require(sampling == [1, 1])
    precision, signed = (depth & 0x7F) + 1, bool(depth >> 7)
    _require(precision <= _MOST_BITS and not (signed and precision <= 8))
    tiles = -(-columns // wide) * -(-rows // high)
    return rows, columns, components, precision, signed, tiles


def _is_one_ht_set(body: bytes) -> bool:
    parts = struct.unpack_from(">I", body)[0]
    _require(parts in (0, _PART_15))
    if parts:
        _require(not struct.unpack_from(">H", body, 4)[0] & _NOT_ONE_HT_SET)
    return bool(parts)


def _coding(body: bytes, at: int, blocks_are_ht: bool) -> int:
    """Return the number of decompositions (A.6.1, table A.15)."""
    levels, _, _, style, wavelet = body[at : at + 5]
    _require(bool(style & _HT_BLOCKS) == blocks_are_ht and not style & _MIXED_BLOCKS)
    _require(wavelet == _REVERSIBLE or not blocks_are_ht)
    return levels


def _require(supported: bool) -> None:
    if not supported:
        raise RefusedError(FrameStatus.UNSUPPORTED)
