"""A guarded walk over the elements of a DICOM dataset (PS3.5 section 7), values untouched.

pydicom reads a cut file as an empty dataset and allocates what a header asks for; this walk
checks every length against the bytes that are there, counts elements and nesting, and stops at
Pixel Data. It keeps (VR, offset, length) of the top-level elements; nested ones are stepped
over. Reading values with pydicom costs seven times as much per file.
"""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.options import Budgets

UNDEFINED = 0xFFFFFFFF
PIXEL_DATA = 0x7FE00010
PIXEL_TAGS = frozenset({PIXEL_DATA, 0x7FE00008, 0x7FE00009})
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN"}
                     | {b"UR", b"UT", b"UV"})  # fmt: skip

IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_BE = "1.2.840.10008.1.2.2"
DEFLATED_LE = "1.2.840.10008.1.2.1.99"

Element = tuple[bytes, int, int]


class NeedMoreError(Exception):
    """The buffer ended inside an element; the file goes on."""


@dataclass(frozen=True, slots=True)
class Walked:
    """Top-level elements (tag -> VR, value offset, value length) and where Pixel Data starts.

    `pixel` is (tag, VR, element offset, value offset, value length) or None.
    """

    elements: dict[int, Element]
    pixel: tuple[int, bytes, int, int, int] | None
    end: int
    repeated: frozenset[int] = frozenset()


def read_meta(buffer: bytes) -> tuple[str, int]:
    """Read preamble and file meta information (PS3.10 section 7.1).

    Returns
    -------
    transfer_syntax : str
    offset : int
        Where the dataset starts.

    Raises
    ------
    BadInstanceError
        NOT_DICOM without the prefix; BAD_VALUE without a transfer syntax.
    NeedMoreError
    """
    if len(buffer) < 132 or buffer[128:132] != b"DICM":
        raise BadInstanceError(ProblemCode.NOT_DICOM, "no DICM prefix at byte 128")
    pos, syntax = 132, ""
    while pos + 8 <= len(buffer):
        group, element = struct.unpack_from("<HH", buffer, pos)
        if group != 2:
            break
        vr = buffer[pos + 4 : pos + 6]
        if vr in LONG_VRS:
            if pos + 12 > len(buffer):
                raise NeedMoreError
            start, length = pos + 12, struct.unpack_from("<I", buffer, pos + 8)[0]
        else:
            start, length = pos + 8, struct.unpack_from("<H", buffer, pos + 6)[0]
        if start + length > len(buffer):
            raise NeedMoreError
        if element == 0x0010:
            syntax = buffer[start : start + length].rstrip(b"\0 ").decode("ascii", "replace")
        pos = start + length
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
        if engine.unconsumed_tail:
            raise BadInstanceError(ProblemCode.BUDGET, f"deflated dataset exceeds {limit} bytes")
        out += engine.flush()
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
    order = ">" if syntax == EXPLICIT_BE else "<"
    explicit = syntax != IMPLICIT_LE
    read_tag = struct.Struct(order + "HH").unpack_from
    read_short = struct.Struct(order + "H").unpack_from
    read_long = struct.Struct(order + "I").unpack_from
    elements: dict[int, Element] = {}
    # What is open around the position: (end or UNDEFINED, is a sequence, explicit VR before it)
    stack: list[tuple[int, bool, bool]] = []
    size, count = len(buffer), 0
    repeated: set[int] = set()

    def missing() -> Exception:
        if size < total:
            return NeedMoreError()
        return BadInstanceError(ProblemCode.TRUNCATED, f"the file ends inside an element at {pos}")

    while True:
        while stack and stack[-1][0] == pos:
            explicit = stack.pop()[2]
        if pos == total and not stack:
            return Walked(elements, None, pos, frozenset(repeated))
        if pos + 8 > size:
            raise missing()
        group, number = read_tag(buffer, pos)
        tag = group << 16 | number
        if group == 0xFFFE:
            length = read_long(buffer, pos + 4)[0]
            pos += 8
            if tag == ITEM and stack and stack[-1][1]:
                end = UNDEFINED if length == UNDEFINED else _checked_end(pos, length, total, stack)
                stack.append((end, False, explicit))
            elif tag in (ITEM_END, SEQUENCE_END) and stack and stack[-1][0] == UNDEFINED:
                explicit = stack.pop()[2]
            elif tag not in (ITEM_END, SEQUENCE_END):
                raise BadInstanceError(ProblemCode.BAD_LENGTH, f"item out of place at {pos - 8}")
            if len(stack) > 2 * budgets.depth:
                raise BadInstanceError(
                    ProblemCode.TOO_DEEP, f"sequences nest deeper than {budgets.depth}"
                )
            continue
        if stack and stack[-1][1]:
            raise BadInstanceError(ProblemCode.BAD_LENGTH, f"no item in the sequence at {pos}")
        vr = buffer[pos + 4 : pos + 6] if explicit else b""
        if explicit and vr.isalpha() and vr.isupper():
            if vr in LONG_VRS:
                if pos + 12 > size:
                    raise missing()
                start, length = pos + 12, read_long(buffer, pos + 8)[0]
            else:
                start, length = pos + 8, read_short(buffer, pos + 6)[0]
        else:  # implicit VR, also where one element of an explicit dataset has none
            vr, start, length = b"", pos + 8, read_long(buffer, pos + 4)[0]
        if not stack:
            if tag in PIXEL_TAGS:
                pixel = (tag, vr, pos, start, length)
                return Walked(elements, pixel, pos, frozenset(repeated))
            if tag in elements:
                repeated.add(tag)
            elements[tag] = (vr, start, length)
        count += 1
        if count > budgets.elements:
            raise BadInstanceError(
                ProblemCode.TOO_MANY_ELEMENTS, f"more than {budgets.elements} elements"
            )
        if length == UNDEFINED:
            stack.append((UNDEFINED, True, explicit))
            explicit = explicit and vr != b"UN"  # PS3.5 section 6.2.2
            pos = start
        elif vr == b"SQ":
            stack.append((_checked_end(start, length, total, stack), True, explicit))
            pos = start
        else:
            pos = _checked_end(start, length, total, stack)


def _checked_end(start: int, length: int, total: int, stack: list[tuple[int, bool, bool]]) -> int:
    end = start + length
    if end > total:
        # A plain value that is longer than the file is a cut file; a hopeless length is a lie.
        code = ProblemCode.BAD_LENGTH if length >= 0xFFFFFF00 else ProblemCode.TRUNCATED
        message = f"{length} bytes declared at {start}, {total - start} are left"
        raise BadInstanceError(code, message)
    if stack and stack[-1][0] != UNDEFINED and end > stack[-1][0]:
        raise BadInstanceError(ProblemCode.BAD_LENGTH, f"the element at {start} leaves its item")
    return end


def follow_fragments(
    read: Callable[[int, int], bytes], start: int, total: int, big_endian: bool = False
) -> tuple[list[tuple[int, int]], int]:
    """Walk the items of encapsulated Pixel Data (PS3.5 A.4).

    Returns
    -------
    fragments : list of (offset, length)
        All items after the Basic Offset Table.
    end : int
        Where the Pixel Data element ends.

    Raises
    ------
    BadInstanceError
        TRUNCATED if an item leaves the file, BAD_FRAGMENTS if something else stands there.
    """
    layout = ">HHI" if big_endian else "<HHI"
    fragments: list[tuple[int, int]] = []
    pos = start
    while True:
        if pos == total and fragments:  # the sequence delimiter is missing, all items are there
            return fragments[1:], pos
        head = read(pos, 8)
        if len(head) < 8:
            raise BadInstanceError(ProblemCode.TRUNCATED, "the file ends inside Pixel Data")
        group, number, length = struct.unpack(layout, head)
        tag = group << 16 | number
        pos += 8
        if tag == SEQUENCE_END:
            return fragments[1:], pos
        if tag != ITEM or length == UNDEFINED:
            raise BadInstanceError(ProblemCode.BAD_FRAGMENTS, f"no fragment at byte {pos - 8}")
        if pos + length > total:
            message = f"a fragment of {length} bytes, {total - pos} are left"
            raise BadInstanceError(ProblemCode.TRUNCATED, message)
        fragments.append((pos, length))
        pos += length
