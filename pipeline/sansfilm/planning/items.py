"""Items of nested sequences (PS3.5 section 7.5), and their values by DICOM keyword.

The walk over the header steps over sequences and checks them against the budgets; this opens the
ones that are asked for. For 5,000 frames pydicom's nested datasets need ten times the time and
forty times the memory (5.7 s, 270 MB), and it raises a dozen kinds of exception.
"""

import math
import re
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.options import Budgets
from sansfilm.planning.attributes import ATTRIBUTES
from sansfilm.planning.dataset import (
    DELIMITERS,
    IMPLICIT_LE,
    ITEM,
    ITEM_END,
    SEQUENCE_END,
    UNDEFINED,
    Element,
    Walked,
    _Cursor,
)
from sansfilm.planning.values import TAGS, Values

_TAGS = {**TAGS, **{keyword: tag for keyword, (tag, _) in ATTRIBUTES.items()}}
_NOTHING: Element = (b"", 0, 0)
_LAYOUTS = {
    "AT": "H", "FD": "d", "FL": "f", "SL": "i", "SS": "h", "SV": "q", "UL": "I", "US": "H",
    "UV": "Q",
}  # fmt: skip
_NUMERIC = frozenset(_LAYOUTS) | {"DS", "IS"}
_SEQUENCES = (b"SQ", b"UN", b"")
_LONGEST_TEXT = 2**16
"""Bytes of the longest text that is read."""
_CUT = 256
"""Characters of a text that are kept."""
_ALREADY_CHECKED = Budgets(elements=2**40)
_DATETIME = re.compile(
    r"(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\.\d{1,6})?([+-]\d{4})?", re.ASCII
)
_TIME = re.compile(r"(\d\d):?(\d\d)?:?(\d\d)?(\.\d{1,6})?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Item(Values):
    """Typed access to the values of one dataset: the whole one, or an item at any depth."""

    def __init__(self, buffer: bytes, walked: Walked, syntax: str) -> None:
        super().__init__(buffer, walked, syntax)
        self._syntax = syntax

    def __contains__(self, keyword: str) -> bool:
        return self._element(keyword)[2] != 0

    def raw(self, keyword: str) -> bytes | None:
        """Return the bytes of a value, None if it is absent, or text longer than any may be."""
        _, start, length = self._element(keyword)
        if start == 0 or (length > _LONGEST_TEXT and not _may_be_long(keyword)):
            return None
        return self._buffer[start : start + length]

    @property
    def byteorder(self) -> Literal["little", "big"]:
        """Return the order of bytes in numbers."""
        return "big" if self._order == ">" else "little"

    @property
    def syntax(self) -> str:
        """Return the UID of the transfer syntax that the values are written in."""
        return self._syntax

    def written_vr(self, keyword: str) -> bytes:
        """Return the VR that an element was written with; b"" if it is absent or says nothing."""
        return self._element(keyword)[0]

    def private(self, group: int, creator: str, element: int) -> bytes:
        """Return the value of a private element, b"" if it is absent.

        It is looked for in the block that its creator has reserved (PS3.5 section 7.8.1): "" for
        the first block, if nobody has.
        """
        for block in range(0x10, 0x100):
            _, start, length = self._walked.elements.get(group << 16 | block, _NOTHING)
            name = self._buffer[start : start + min(length, 64)].decode("latin-1").strip(" \0")
            if name == creator:
                place = group << 16 | block << 8 | element
                _, start, length = self._walked.elements.get(place, _NOTHING)
                return self._buffer[start : start + length]
        return b""

    def items(self, keyword: str) -> Iterator["Item"]:
        """Yield the items of a sequence, one at a time; none if it is absent.

        Raises
        ------
        BadInstanceError
            BAD_VALUE if the element is no sequence, BAD_LENGTH or TRUNCATED if its items cannot
            be followed.
        """
        vr, start, length = self._element(keyword)
        if length == 0:
            return
        self._once(keyword)
        if vr not in _SEQUENCES:
            raise BadInstanceError(ProblemCode.BAD_VALUE, f"{keyword} is not a sequence")
        syntax = IMPLICIT_LE if vr == b"UN" else self._syntax  # PS3.5 section 6.2.2
        charset = self._walked.elements.get(TAGS["SpecificCharacterSet"])
        for walked in _read_items(self._buffer, start, length, syntax):
            if charset is not None:  # PS3.5 section 7.5.3
                walked.elements.setdefault(TAGS["SpecificCharacterSet"], charset)
            yield Item(self._buffer, walked, syntax)

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """Return all values of a numeric attribute; none if it is absent or not finite numbers."""
        vr = self._vr(keyword)
        layout = _LAYOUTS.get(vr)
        if layout is None:
            found = tuple(self.floats(keyword) or ())
            whole = vr == "IS" and all(map(float.is_integer, found))
            return tuple(map(int, found)) if whole else found
        raw = self.raw(keyword) or b""
        count, rest = divmod(len(raw), struct.calcsize(layout))
        if rest:
            return ()
        values: tuple[float, ...] = struct.unpack(f"{self._order}{count}{layout}", raw)
        return values if all(map(math.isfinite, values)) else ()

    def need_floats(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """Return exactly `count` finite floats, None if the element is absent or empty."""
        if self._vr(keyword) not in _LAYOUTS:
            return super().need_floats(keyword, count)
        self._once(keyword)
        found = self.numbers(keyword)
        if len(found) == count:
            return tuple(map(float, found))
        if keyword not in self:
            return None
        raise BadInstanceError(ProblemCode.BAD_VALUE, f"{keyword} must be {count} finite numbers")

    def tags(self, keyword: str) -> list[int]:
        """Return the tags that an attribute points to (VR AT)."""
        halves = [int(half) for half in self.numbers(keyword)]
        return [
            group << 16 | element for group, element in zip(halves[::2], halves[1::2], strict=False)
        ]

    def value(self, keyword: str) -> float | str | None:
        """Return a value in the form that suits its VR, None if it is absent or unreadable.

        Numbers as they are, several of them as text with backslashes; a date with time as
        seconds since 1970, of UTC where it has no offset of its own; a time as seconds of its
        day; all else as text.
        """
        vr = ATTRIBUTES[keyword][1]
        if vr in _NUMERIC:
            found = self.numbers(keyword)
            return found[0] if len(found) == 1 else joined(found) or None
        if vr == "DT":
            return _seconds_since_1970(self.token(keyword))
        if vr == "TM":
            return _seconds_of_day(self.token(keyword))
        return self.text(keyword)[:_CUT] or None

    def _element(self, keyword: str) -> Element:
        return self._walked.elements.get(_TAGS[keyword], _NOTHING)

    def _vr(self, keyword: str) -> str:
        """Return the VR that was written, that of the dictionary where it says nothing."""
        vr = self._element(keyword)[0].decode()
        return vr if vr in _NUMERIC else ATTRIBUTES.get(keyword, (0, ""))[1]

    def _once(self, keyword: str) -> None:
        if _TAGS[keyword] in self._walked.repeated:
            raise BadInstanceError(ProblemCode.BAD_VALUE, f"{keyword} stands twice")


def joined(values: tuple[float, ...]) -> str:
    """Return numbers as DICOM writes several values: as text, joined by backslashes."""
    return "\\".join(f"{value + 0.0:.9g}" for value in values)


def _may_be_long(keyword: str) -> bool:
    vr = ATTRIBUTES.get(keyword, (0, ""))[1]
    return vr == "SQ" or vr in _NUMERIC or "OW" in vr


def _read_items(buffer: bytes, start: int, length: int, syntax: str) -> Iterator[Walked]:
    """Walk the items of a sequence whose value starts at `start`."""
    cursor = _Cursor(buffer, syntax, len(buffer), _ALREADY_CHECKED)
    end = UNDEFINED if length == UNDEFINED else cursor.end(start, length, len(buffer))
    limit = min(end, len(buffer))
    pos = start
    while pos != end:
        tag, _, start, length = cursor.element(pos, explicit=False)
        if tag == SEQUENCE_END and end == UNDEFINED:
            return
        if tag in DELIMITERS:  # superfluous: of an item whose length was given
            pos = start
            continue
        if tag != ITEM:
            raise BadInstanceError(ProblemCode.BAD_LENGTH, f"no item at {pos}")
        stop = UNDEFINED if length == UNDEFINED else cursor.end(start, length, limit)
        walked, pos = _read_item(cursor, start, stop, limit, explicit=syntax != IMPLICIT_LE)
        yield walked


def _read_item(
    cursor: _Cursor, pos: int, end: int, limit: int, *, explicit: bool
) -> tuple[Walked, int]:
    """Walk one item; sequences in it get the length of their items, delimiter excluded."""
    elements: dict[int, Element] = {}
    repeated: set[int] = set()
    limit = min(end, limit)
    while pos != end:
        tag, vr, start, length = cursor.element(pos, explicit)
        if tag == ITEM_END and end == UNDEFINED:
            pos = start
            break
        if tag == ITEM or tag in DELIMITERS:
            raise BadInstanceError(ProblemCode.BAD_LENGTH, f"item out of place at {pos}")
        if tag in elements:
            repeated.add(tag)
        if length == UNDEFINED:
            pos = cursor.skip_nested(vr, start, length, explicit)
            length = pos - 8 - start
        else:
            pos = cursor.end(start, length, limit)
        elements[tag] = vr, start, length
    return Walked(elements, None, frozenset(repeated)), pos


def _seconds_since_1970(text: str) -> float | None:
    match = _DATETIME.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    try:
        moment = datetime(
            int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), tzinfo=UTC
        )
    except ValueError:
        return None
    east = 0.0
    if offset:
        east = float(offset[0] + "1") * (int(offset[1:3]) * 3600 + int(offset[3:]) * 60)
    whole = (moment - _EPOCH) / timedelta(seconds=1)
    return whole + int(second or 0) + float(fraction or 0) - east


def _seconds_of_day(text: str) -> float | None:
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    hour, minute, second, fraction = match.groups()
    if int(hour) > 23 or int(minute or 0) > 59:
        return None
    return int(hour) * 3600.0 + int(minute or 0) * 60 + int(second or 0) + float(fraction or 0)
