"""Read the marker segments of a JPEG-LS codestream (ITU-T T.87 Annex C) and find its scans.

What is read here decides where the kernel reads and writes, so it is checked here.
"""

import re
import struct
from dataclasses import dataclass

from sansfilm_kernels._batch import FrameStatus, RefusedError

_SOI, _EOI, _SOS, _DRI, _COM, _SOF55, _LSE = 0xD8, 0xD9, 0xDA, 0xDD, 0xFE, 0xF7, 0xF8
_RST0, _STANDALONE = 0xD0, range(0xD0, 0xDA)
_APPLICATION, _APP8 = range(0xE0, 0xF0), 0xE8
_MARKER = re.compile(rb"\xff[\x80-\xfe]")
"""Found only where a piece ends, since a zero bit is stuffed in after each FF of coded data."""
_BY_PLANE, _BY_LINE, _BY_SAMPLE = range(3)
_PRESET = 1
_MOST_SAMPLES = 4
_DEFAULT_RESET = 64
_DEFAULT_THRESHOLDS = ((3, 2, 3), (7, 3, 5), (21, 4, 7))
"""T1, T2, T3: their basic value at 8 bits, the part of it that does not grow with the range, and
their growth with NEAR."""


@dataclass(frozen=True, slots=True)
class Coding:
    """The parameters of a scan: MAXVAL, NEAR, T1, T2, T3 and RESET (C.2.4.1.1)."""

    maxval: int
    near: int
    t1: int
    t2: int
    t3: int
    reset: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Lines that are coded on their own: a scan, or one restart interval of it."""

    start: int
    """First byte of its coded data in the codestream."""
    end: int
    """Where to stop at the latest; a marker before it ends the piece too, which the kernel sees."""
    row: int
    rows: int
    component: int
    """The first of its components; the others follow."""
    components: int
    by_line: bool
    """The components alternate line by line, otherwise sample by sample."""
    coding: Coding


def read_pieces(codestream: bytes, shape: tuple[int, int, int], bits: int) -> list[Piece]:
    """Return all pieces of an image, which together cover it once.

    Parameters
    ----------
    codestream : bytes
        From SOI to EOI; what follows it does not count.
    shape : tuple of int
        Rows, columns, samples that are expected.
    bits : int
        The most that a sample may have.

    Raises
    ------
    RefusedError
        With the status of a codestream that is not that image, or not for the kernel.
    """
    if codestream[:2] != bytes((0xFF, _SOI)):
        raise RefusedError(FrameStatus.NOT_A_CODESTREAM)
    pieces: list[Piece] = []
    start, preset, interval = 2, b"", 0
    precision, identifiers, missing = 0, b"", {-1}
    while missing:
        marker, body, start = _segment(codestream, start)
        if marker == _SOF55 and not identifiers:
            precision, identifiers = _frame(body, shape, bits)
            missing = set(range(len(identifiers)))
        elif marker == _LSE:
            preset = _preset(body)
        elif marker == _DRI and 2 <= len(body) <= 4:
            interval = int.from_bytes(body)
        elif marker == _SOS and identifiers:
            components, near, by_line = _scan(body, identifiers)
            if not missing.issuperset(components):
                raise RefusedError(FrameStatus.CORRUPT)
            missing.difference_update(components)
            coding = _coding(preset, precision, near)
            ends = _ends(codestream, start, shape[0], interval, last=not missing)
            for row, rows, begin, end in ends:
                piece = Piece(
                    begin, end, row, rows, components[0], len(components), by_line, coding
                )
                pieces.append(piece)
            start = pieces[-1].end
        else:
            _skip(marker, body, known=bool(identifiers))
    return pieces


def _segment(codestream: bytes, start: int) -> tuple[int, bytes, int]:
    """Return marker, parameters and where the next marker begins."""
    while codestream[start : start + 2] == b"\xff\xff":  # fill bytes (T.81 B.1.1.2)
        start += 1
    if len(codestream) < start + 4:
        raise RefusedError(FrameStatus.TRUNCATED)
    lead, marker, length = struct.unpack_from(">BBH", codestream, start)
    if lead != 0xFF or marker in _STANDALONE or length < 2:
        raise RefusedError(FrameStatus.TRUNCATED if marker == _EOI else FrameStatus.CORRUPT)
    end = start + 2 + length
    if len(codestream) < end:
        raise RefusedError(FrameStatus.TRUNCATED)
    return marker, codestream[start + 4 : end], end


def _skip(marker: int, body: bytes, *, known: bool) -> None:
    """Pass over what does not change the samples, refuse the rest."""
    if marker == _APP8 and body[:4] == b"mrfx" and body[4:] != b"\0":
        raise RefusedError(FrameStatus.UNSUPPORTED)  # a colour transform of Hewlett-Packard
    if marker not in _APPLICATION and marker != _COM:
        # a frame header of another JPEG, before ours, is another codestream
        raise RefusedError(FrameStatus.CORRUPT if known else FrameStatus.NOT_A_CODESTREAM)


def _frame(body: bytes, shape: tuple[int, int, int], bits: int) -> tuple[int, bytes]:
    """Read SOF55 (C.2.2): the precision and the identifiers of the components."""
    if len(body) < 6:
        raise RefusedError(FrameStatus.CORRUPT)
    precision, rows, columns, samples = struct.unpack_from(">BHHB", body)
    if not 2 <= precision <= 16 or len(body) != 6 + 3 * samples:
        raise RefusedError(FrameStatus.CORRUPT)
    identifiers, sampling = body[6::3], body[7::3]
    if not rows or not columns or samples > _MOST_SAMPLES or sampling != b"\x11" * samples:
        raise RefusedError(
            FrameStatus.UNSUPPORTED
        )  # a size that comes later, subsampled components
    if (rows, columns, samples) != shape or precision > bits:
        raise RefusedError(FrameStatus.MISMATCH)
    if len(set(identifiers)) < samples:
        raise RefusedError(FrameStatus.CORRUPT)
    return precision, identifiers


def _preset(body: bytes) -> bytes:
    """Read LSE (C.2.4): preset parameters, not mapping tables nor sizes above 65535."""
    if body[:1] != bytes((_PRESET,)):
        raise RefusedError(FrameStatus.UNSUPPORTED)
    if len(body) != 11:
        raise RefusedError(FrameStatus.CORRUPT)
    return body[1:]


def _scan(body: bytes, identifiers: bytes) -> tuple[range, int, bool]:
    """Read SOS (C.2.3): the components, NEAR, and whether they alternate line by line."""
    count = body[0] if body else 0
    if not 1 <= count <= len(identifiers) or len(body) != 4 + 2 * count:
        raise RefusedError(FrameStatus.CORRUPT)
    names, tables = body[1 : 1 + 2 * count : 2], body[2 : 2 + 2 * count : 2]
    near, interleave, point_transform = body[-3:]
    if any(tables) or point_transform:
        raise RefusedError(FrameStatus.UNSUPPORTED)
    first = identifiers.find(names)
    if interleave > _BY_SAMPLE or (count > 1 and interleave == _BY_PLANE):
        raise RefusedError(FrameStatus.CORRUPT)
    if first < 0:  # not there, or not in the order of the frame header
        raise RefusedError(FrameStatus.CORRUPT)
    return range(first, first + count), near, interleave == _BY_LINE


def _coding(preset: bytes, precision: int, near: int) -> Coding:
    """Return the parameters of a scan; a preset 0 means the default value (C.2.4.1.1)."""
    maxval, *thresholds, reset = struct.unpack(">5H", preset or bytes(10))
    largest = 2**precision - 1
    maxval = maxval or largest
    defaults = default_thresholds(maxval, near)
    t1, t2, t3 = (given or default for given, default in zip(thresholds, defaults, strict=True))
    reset = reset or _DEFAULT_RESET
    if not (
        maxval <= largest
        and near <= min(255, maxval // 2)
        and near + 1 <= t1 <= t2 <= t3 <= maxval
        and 3 <= reset <= max(255, maxval)
    ):
        raise RefusedError(FrameStatus.CORRUPT)
    return Coding(maxval, near, t1, t2, t3, reset)


def default_thresholds(maxval: int, near: int) -> tuple[int, int, int]:
    """Return T1, T2 and T3 where none are preset (C.2.4.1.1.1)."""
    found, least = [], near + 1
    for basic, fixed, slope in _DEFAULT_THRESHOLDS:
        if maxval >= 128:
            value = (min(maxval, 4095) + 128) // 256 * (basic - fixed) + fixed + slope * near
        else:
            value = max(fixed, basic // (256 // (maxval + 1)) + slope * near)
        least = value if least <= value <= maxval else least
        found.append(least)
    return found[0], found[1], found[2]


def _ends(
    codestream: bytes, start: int, rows: int, interval: int, *, last: bool
) -> list[tuple[int, int, int, int]]:
    """Cut a scan at its restart markers: first row, rows, first byte, end.

    The interval counts lines, as in CharLS. Where the very last piece ends is left to the kernel:
    looking for it here would mean to read all bytes of most images.
    """
    found = []
    interval = interval or rows
    for row in range(0, rows, interval):
        height = min(interval, rows - row)
        if last and row + height == rows:
            end = codestream.rfind(bytes((0xFF, _EOI)), start)
        else:
            marker = _MARKER.search(codestream, start)
            end = marker.start() if marker else -1
        if end < 0:
            raise RefusedError(FrameStatus.TRUNCATED)
        found.append((row, height, start, end))
        if row + height < rows:
            if codestream[end + 1] != _RST0 + row // interval % 8:
                raise RefusedError(FrameStatus.CORRUPT)
            start = end + 2
    return found
