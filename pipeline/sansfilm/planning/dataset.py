"""A guarded walk over the elements of a DICOM dataset (PS3.5 section 7), values untouched.

pydicom reads a cut file as an empty dataset and allocates what a header asks for; this walk
checks every length against the bytes that are there, counts elements and nesting, and stops at
Pixel Data. It keeps (VR, offset, length) of the top-level elements; nested ones are stepped
over. Reading values with pydicom costs seven times as much per file.
"""

import struct
import zlib
from dataclasses import dataclass

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.options import Budgets

UNDEFINED = 0xFFFFFFFF
PIXEL_DATA = 0x7FE00010
PIXEL_TAGS = frozenset({PIXEL_DATA, 0x7FE00008, 0x7FE00009})
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
DELIMITERS = frozenset({ITEM_END, SEQUENCE_END})
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())

IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
EXPLICIT_BE = "1.2.840.10008.1.2.2"
DEFLATED_LE = "1.2.840.10008.1.2.1.99"

Element = tuple[bytes, int, int]


class NeedMoreError(Exception):
    """The buffer ended inside an element; the file goes on."""


@dataclass(frozen=True, slots=True)
class Walked:
    """Top-level elements (tag -> VR, value offset, value length) and where Pixel Data starts.

    `pixel` is (tag, VR, element offset, value offset, value length) or None. `repeated` are
    tags that stand there more than once, of which `elements` has the last.
    """

    elements: dict[int, Element]
    pixel: tuple[int, bytes, int, int, int] | None
    repeated: frozenset[int] = frozenset()


def read_meta(buffer: bytes, total: int) -> tuple[str, int]:
    """Read preamble and file meta information (PS3.10 section 7.1).

    Parameters
    ----------
    buffer : bytes
        The file from its first byte, perhaps not all of it.
    total : int
        Length of the whole file.

    Returns
    -------
    transfer_syntax : str
    offset : int
        Where the dataset starts.

    Raises
    ------
    BadInstanceError
        NOT_DICOM without the prefix, TRUNCATED if the file ends inside, BAD_VALUE without a
        transfer syntax.
    NeedMoreError
    """
    if buffer[128:132] != b"DICM":
        raise BadInstanceError(ProblemCode.NOT_DICOM, "no DICM prefix at byte 128")
    cursor = _Cursor(buffer, EXPLICIT_LE, total, Budgets())
    pos, end, syntax = 132, 0, ""
    while pos + 8 <= total:
        tag, _, start, length = cursor.element(pos, explicit=True)
        if tag >> 16 != 2:
            break
        pos = cursor.end(start, length, total)
        if pos > len(buffer):
            raise NeedMoreError
        if tag == 0x00020000 and length == 4:
            end = pos + struct.unpack_from("<I", buffer, start)[0]
        elif tag == 0x00020010:
            syntax = buffer[start:pos].rstrip(b"\0 ").decode("ascii", "replace")
    if end > total or (not syntax and pos + 8 > total):
        raise BadInstanceError(ProblemCode.TRUNCATED, "the file ends inside its meta information")
    if not syntax:
        raise BadInstanceError(ProblemCode.BAD_VALUE, "file meta has no Transfer Syntax UID")
    return syntax, pos


def inflate(data: bytes, limit: int) -> bytes:
    """Inflate a deflated dataset (PS3.5 A.5), never beyond `limit` bytes.

    Raises
    ------
    BadInstanceError
        BUDGET beyond the limit, TRUNCATED if the stream is cut, BAD_VALUE if it is not deflate.
    """
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        out = engine.decompress(data, limit)
        if not engine.eof and engine.decompress(engine.unconsumed_tail, 1):
            raise BadInstanceError(ProblemCode.BUDGET, f"deflated dataset exceeds {limit} bytes")
    except zlib.error as exc:
        raise BadInstanceError(ProblemCode.BAD_VALUE, "the deflated dataset is not valid") from exc
    if not engine.eof:
        raise BadInstanceError(ProblemCode.TRUNCATED, "the deflated dataset is cut")
    return out


def walk(buffer: bytes, pos: int, syntax: str, total: int, budgets: Budgets) -> Walked:
    """Step over the elements of a dataset up to its Pixel Data.

    Parameters
    ----------
    buffer : bytes
        The file from its first byte, perhaps not all of it.
    pos : int
        Where the dataset starts.
    syntax : str
        Transfer syntax UID of the dataset.
    total : int
        Length of the whole file: an element that ends beyond it is an error.
    budgets : Budgets

    Raises
    ------
    BadInstanceError
        TRUNCATED, BAD_LENGTH, TOO_DEEP, TOO_MANY_ELEMENTS.
    NeedMoreError
        If the buffer ended and the file does not.
    """
    cursor = _Cursor(buffer, syntax, total, budgets)
    explicit = syntax != IMPLICIT_LE
    elements: dict[int, Element] = {}
    repeated: set[int] = set()
    while pos != total:
        tag, vr, start, length = cursor.element(pos, explicit)
        if tag in PIXEL_TAGS:
            return Walked(elements, (tag, vr, pos, start, length), frozenset(repeated))
        if tag in DELIMITERS:  # of a sequence whose length was given: superfluous
            pos = start
            continue
        if tag == ITEM:
            raise BadInstanceError(ProblemCode.BAD_LENGTH, f"item out of place at {pos}")
        if tag in elements:
            repeated.add(tag)
        elements[tag] = (vr, start, length)
        if length == UNDEFINED or vr == b"SQ":
            pos = cursor.skip_nested(vr, start, length, explicit)
        else:
            pos = cursor.end(start, length, total)
    return Walked(elements, None, frozenset(repeated))


class _Cursor:
    """Reads element heads of one buffer and guards the budgets of one dataset."""

    def __init__(self, buffer: bytes, syntax: str, total: int, budgets: Budgets) -> None:
        order = ">" if syntax == EXPLICIT_BE else "<"
        self._buffer, self._size, self._total = buffer, len(buffer), total
        self._head = struct.Struct(order + "HH2sH").unpack_from
        self._long = struct.Struct(order + "I").unpack_from
        self._left, self._budgets = budgets.elements, budgets

    def element(self, pos: int, explicit: bool) -> tuple[int, bytes, int, int]:
        """Return tag, VR (empty where there is none), value offset and value length."""
        if pos + 8 > self._size:
            raise self._missing(pos)
        self._left -= 1
        if self._left < 0:
            message = f"more than {self._budgets.elements} elements"
            raise BadInstanceError(ProblemCode.TOO_MANY_ELEMENTS, message)
        group, number, vr, length = self._head(self._buffer, pos)
        tag = group << 16 | number
        if explicit and group != 0xFFFE:
            if vr in _SHORT_VRS:
                return tag, vr, pos + 8, length
            if vr in _LONG_VRS:
                if pos + 12 > self._size:
                    raise self._missing(pos)
                return tag, vr, pos + 12, self._long(self._buffer, pos + 8)[0]
            if vr.isalpha() and vr.isupper():  # a VR of the future (PS3.5 section 6.2)
                return tag, vr, pos + 8, length
        # implicit VR, also where one element of an explicit dataset has none
        return tag, b"", pos + 8, self._long(self._buffer, pos + 4)[0]

    def end(self, start: int, length: int, limit: int) -> int:
        """Return where a value ends, checked against the file and what it stands in."""
        end = start + length
        if end > self._total:
            # A value that is longer than the file is a cut file; a hopeless length is a lie.
            code = ProblemCode.BAD_LENGTH if length >= 0xFFFFFF00 else ProblemCode.TRUNCATED
            message = f"{length} bytes declared at {start}, {self._total - start} are left"
            raise BadInstanceError(code, message)
        if end > limit:
            raise BadInstanceError(
                ProblemCode.BAD_LENGTH, f"the element at {start} leaves its item"
            )
        return end

    def skip_nested(self, vr: bytes, start: int, length: int, explicit: bool) -> int:
        """Step over a sequence, or over fragments below the top level; return where it ends.

        Iterative: what is open lies in a list, so that depth costs no stack.
        """
        pos = start
        open_parts = [self._part(vr, start, length, explicit, self._total)]
        while open_parts:
            end, limit, kind, explicit = open_parts[-1]
            if pos == end:
                open_parts.pop()
                continue
            tag, vr, start, length = self.element(pos, explicit)
            pos = start
            if tag in DELIMITERS:
                if end == UNDEFINED and tag == (ITEM_END if kind == "item" else SEQUENCE_END):
                    open_parts.pop()
                elif kind == "item":
                    raise BadInstanceError(
                        ProblemCode.BAD_LENGTH, f"delimiter out of place at {pos - 8}"
                    )
            elif (tag == ITEM) == (kind == "item"):
                raise BadInstanceError(ProblemCode.BAD_LENGTH, f"item out of place at {pos - 8}")
            elif kind == "sequence":
                stop = UNDEFINED if length == UNDEFINED else self.end(start, length, limit)
                open_parts.append((stop, min(stop, limit), "item", explicit))
            elif kind == "item" and (length == UNDEFINED or vr == b"SQ"):
                open_parts.append(self._part(vr, start, length, explicit, limit))
                if len(open_parts) > 2 * self._budgets.depth:
                    message = f"sequences nest deeper than {self._budgets.depth}"
                    raise BadInstanceError(ProblemCode.TOO_DEEP, message)
            else:
                pos = self.end(start, length, limit)
        return pos

    def _part(
        self, vr: bytes, start: int, length: int, explicit: bool, limit: int
    ) -> tuple[int, int, str, bool]:
        """Return what an element opens: (end or UNDEFINED, hard limit, kind, explicit VR)."""
        if length != UNDEFINED:
            end = self.end(start, length, limit)
            return end, end, "sequence", explicit
        kind = "fragments" if vr in (b"OB", b"OW") else "sequence"
        return UNDEFINED, limit, kind, explicit and vr != b"UN"  # PS3.5 section 6.2.2

    def _missing(self, pos: int) -> Exception:
        if self._size < self._total:
            return NeedMoreError()
        return BadInstanceError(ProblemCode.TRUNCATED, f"the file ends inside an element at {pos}")
