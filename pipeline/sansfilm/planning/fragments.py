"""Which fragments of encapsulated Pixel Data make which frame (PS3.5 A.4, PS3.3 C.7.6.3.1.8).

An offset table is used where it can be true: it names as many frames as there are, in order and
within the file; whole items fill the way from one frame to the next, and no codestream begins
within a frame. Else the items are walked: one fragment for each frame, or several, the first of
which is known by the marker that begins a codestream.
"""

import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.options import Budgets
from sansfilm.planning.dataset import ITEM, SEQUENCE_END, UNDEFINED, Walked
from sansfilm.planning.source import Source

_HEAD = struct.Struct("<HHI")
_PEEK = 24
"""Bytes that are read of an item: its head, and enough to recognise a codestream."""
_BLOCK = 2**20
"""Bytes that are read at once of a remote file, as long as its items are smaller."""
_REMOTE_PROBES = 64
"""Frames of a remote file on which an offset table is tested; of a local file it is all."""
_EXTENDED_OFFSETS = 0x7FE00001
_ONE_FRAGMENT = frozenset({"1.2.840.10008.1.2.5", "1.2.840.10008.1.2.8.1"})
"""Syntaxes that put each frame into one fragment (PS3.5 A.4.2 and A.4.13)."""
_JPEG_FAMILY, _JPEG_XL = "1.2.840.10008.1.2.4.", "1.2.840.10008.1.2.4.11"
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ", b"\0\0\0\x0cJXL ")
"""How JPEG and JPEG-LS begin, JPEG 2000, and the boxes around JPEG 2000 and JPEG XL."""
_START_OF_JPEG_XL = b"\xff\x0a"
_END_MARKER = b"\xff\xd9"


def find_bounds(
    walked: Walked, syntax: str, source: Source, number_of_frames: int, budgets: Budgets
) -> tuple["array[int]", int]:
    """Find the items of each frame.

    Returns
    -------
    bounds : array of int
        Where the first item of each frame begins, and where the last item of the last one ends.
        Between two bounds there are whole items.
    end : int
        Where the Pixel Data element ends.

    Raises
    ------
    BadInstanceError
        BAD_FRAGMENTS, TRUNCATED, TOO_MANY_ELEMENTS.
    """
    assert walked.pixel is not None
    start = walked.pixel[3]
    items, most = _Items(source, syntax), budgets.elements + number_of_frames
    table = items.at(start)
    if table is None:
        raise BadInstanceError(ProblemCode.BAD_FRAGMENTS, "Pixel Data holds no fragment")
    first = start + 8 + table[0]
    for offsets in _read_tables(walked, source, start + 8, table[0], budgets):
        # the only frame of an instance has all fragments, whatever its table says
        if len(offsets) < max(number_of_frames, 2):
            continue
        found = _follow_table(items, first, offsets, most)
        if found is not None and len(offsets) > number_of_frames:
            message = f"Pixel Data holds {len(offsets)} frames, the header says {number_of_frames}"
            raise BadInstanceError(ProblemCode.BAD_FRAGMENTS, message)
        if found is not None:
            return found
    return _follow_items(items, first, number_of_frames, most)


class _Items:
    """Reads the heads of items: of a local file nothing else, of a remote one in blocks."""

    def __init__(self, source: Source, syntax: str) -> None:
        self.source, self.size = source, source.size
        self.one_fragment = syntax in _ONE_FRAGMENT
        self.remote = source.modified_ns is None
        self._starts: tuple[bytes, ...] = _STARTS if syntax.startswith(_JPEG_FAMILY) else ()
        if syntax.startswith(_JPEG_XL):
            self._starts += (_START_OF_JPEG_XL,)
        self._data, self._at, self._last = b"", 0, 0

    def at(self, pos: int) -> tuple[int, bool] | None:
        """Return an item's length, and whether a codestream begins in it; None for the end."""
        data = self._peek(pos)
        if len(data) < 8:
            raise BadInstanceError(ProblemCode.TRUNCATED, "the file ends inside Pixel Data")
        group, number, length = _HEAD.unpack_from(data)
        tag = group << 16 | number
        if tag == SEQUENCE_END:
            return None
        if tag != ITEM or length == UNDEFINED:
            raise BadInstanceError(ProblemCode.BAD_FRAGMENTS, f"no fragment at byte {pos}")
        if pos + 8 + length > self.size:
            message = f"a fragment of {length} bytes, {self.size - pos - 8} are left"
            raise BadInstanceError(ProblemCode.TRUNCATED, message)
        return length, data[8 : 8 + length].startswith(self._starts)

    def ends(self, pos: int, length: int) -> bool:
        """Tell whether a codestream ends with an item: by the end marker of the JPEG families."""
        last = self.source.read(pos + 8 + max(length - 3, 0), min(length, 3))
        return last.rstrip(b"\0").endswith(_END_MARKER)

    def _peek(self, pos: int) -> bytes:
        if not self._at <= pos <= self._at + len(self._data) - _PEEK:
            near = pos - self._last < _BLOCK
            self._data = self.source.read(pos, _BLOCK if self.remote and near else _PEEK)
            self._at = pos
        self._last = pos
        return self._data[pos - self._at : pos - self._at + _PEEK]


def _read_tables(
    walked: Walked, source: Source, start: int, length: int, budgets: Budgets
) -> Iterator[np.ndarray]:
    """Yield the Extended and the Basic Offset Table, whichever there are."""
    _, extended, size = walked.elements.get(_EXTENDED_OFFSETS, (b"", 0, 0))
    for offset, count, width in ((extended, size, 8), (start, length, 4)):
        if 0 < count <= width * budgets.frames and count % width == 0:
            yield np.frombuffer(source.read(offset, count), f"<u{width}")


@dataclass(frozen=True, slots=True)
class _Run:
    """Items up to the end of Pixel Data: places, lengths, whether a codestream begins in them."""

    places: "array[int]"
    lengths: "array[int]"
    begins: bytearray
    stop: int
    closed: bool

    @property
    def full(self) -> list[int]:
        """Indices of the items that are not empty."""
        return [index for index, length in enumerate(self.lengths) if length]

    @property
    def end(self) -> int:
        """Where the Pixel Data element ends."""
        return self.stop + 8 * self.closed


def _walk(items: _Items, pos: int, most: int) -> _Run:
    places, lengths, begins = array("q"), array("q"), bytearray()
    closed = False
    while pos < items.size or not places:
        item = items.at(pos)
        if item is None:
            closed = True
            break
        places.append(pos)
        lengths.append(item[0])
        begins.append(item[1])
        pos += 8 + item[0]
        if len(places) > most:
            message = f"Pixel Data has more than {most} fragments"
            raise BadInstanceError(ProblemCode.TOO_MANY_ELEMENTS, message)
    return _Run(places, lengths, begins, pos, closed)


def _is_whole(items: _Items, run: _Run, number_of_frames: int) -> bool:
    """Tell whether frames are all there, even if no delimiter follows them."""
    full = run.full
    if run.closed:
        return True
    if items.one_fragment:
        return len(full) == number_of_frames
    return bool(full) and items.ends(run.places[full[-1]], run.lengths[full[-1]])


def _follow_table(
    items: _Items, first: int, offsets: np.ndarray, most: int
) -> tuple["array[int]", int] | None:
    """Return bounds and end by an offset table, None if it cannot be true."""
    if offsets[0] != 0 or int(offsets.max()) > items.size - first - 8:
        return None
    starts = offsets.astype(np.int64)
    if (np.diff(starts) < 8).any() or (starts % 2).any():
        return None
    starts += first
    probes = np.arange(len(starts) - 1)
    if items.remote and len(probes) > _REMOTE_PROBES:
        probes = np.linspace(0, len(probes) - 1, _REMOTE_PROBES).astype(int)
    try:
        if not all(_is_frame(items, int(starts[at]), int(starts[at + 1])) for at in probes):
            return None
        last = _walk(items, int(starts[-1]), most)
        if not _is_whole(items, last, 1) or not _is_frame(items, int(starts[-1]), last.stop):
            return None
    except BadInstanceError:
        return None
    bounds = array("q", starts.tobytes())
    bounds.append(last.stop)
    return bounds, last.end


def _is_frame(items: _Items, pos: int, stop: int) -> bool:
    """Tell whether whole items lie between two places, and no codestream begins in a later one."""
    inside = False
    while pos < stop:
        item = items.at(pos)
        if item is None or (inside and item[1]):
            return False
        inside = inside or item[0] > 0
        pos += 8 + item[0]
    return pos == stop


def _follow_items(
    items: _Items, first: int, number_of_frames: int, most: int
) -> tuple["array[int]", int]:
    """Return bounds and end by walking all items."""
    run = _walk(items, first, most)
    if not _is_whole(items, run, number_of_frames):
        raise BadInstanceError(ProblemCode.TRUNCATED, "the file ends inside Pixel Data")
    if not run.full:
        raise BadInstanceError(ProblemCode.BAD_FRAGMENTS, "Pixel Data holds no fragment")
    bounds = array("q", (run.places[index] for index in _frames_in(items, run, number_of_frames)))
    bounds.append(run.stop)
    return bounds, run.end


def _frames_in(items: _Items, run: _Run, number_of_frames: int) -> Sequence[int]:
    """Return the index of the item in which each frame begins.

    One fragment for each frame is believed unless only some of them begin as a codestream does:
    then a fragment begins a frame if it has the marker, or follows one that ends with the end
    marker, which the first has lost.
    """
    full = run.full
    marked = [bool(run.begins[index]) for index in full]
    if number_of_frames == 1 and sum(marked) < 2:
        return full[:1]
    if len(full) == number_of_frames and (items.one_fragment or not any(marked)):
        return full
    if len(full) < number_of_frames == len(run.places):
        return range(number_of_frames)
    if len(full) >= number_of_frames and not items.one_fragment:
        marked[0] = True
        if sum(marked) != number_of_frames:
            for at, (before, _) in enumerate(pairwise(full), start=1):
                marked[at] |= items.ends(run.places[before], run.lengths[before])
        if sum(marked) == number_of_frames:
            return [index for index, begins in zip(full, marked, strict=True) if begins]
    message = f"{len(full)} fragments cannot be told apart as {number_of_frames} frames"
    raise BadInstanceError(ProblemCode.BAD_FRAGMENTS, message)
