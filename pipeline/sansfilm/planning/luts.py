"""Lookup tables of a header: palettes (PS3.3 C.7.6.3.1.5, C.7.9), Modality and VOI LUTs (C.11)."""

import struct
from contextlib import suppress

import numpy as np

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.frame_spec import Lut, shared_lut
from sansfilm.model import VoiLut
from sansfilm.planning.dataset import EXPLICIT_BE
from sansfilm.planning.items import Item

_COLOURS = ("Red", "Green", "Blue")
_LONGEST_TYPE = 16
_LONGEST_NAME = 64
_MOST = 16
"""VOI LUTs of one frame."""


def read_palette(values: Item, syntax: str, *, signed: bool) -> Lut:
    """Return the palette of a PALETTE COLOR image.

    Parameters
    ----------
    signed : bool
        Whether stored values are: the first value that is mapped has their sign.

    Raises
    ------
    BadInstanceError
        BAD_LUT if a table is missing, or longer or shorter than its descriptor says, or if the
        three differ in length, first value or depth.
    """
    tables, described = [], set()
    for colour in _COLOURS:
        name = f"{colour}PaletteColorLookupTable"
        count, first, bits = _descriptor(values, f"{name}Descriptor", syntax, signed=signed)
        if bits not in (8, 16):
            raise _bad(f"{name}Descriptor has entries of {bits} bits, not 8 or 16")
        described.add((count, first, bits))
        if f"{name}Data" in values:
            tables.append(_entries(values, f"{name}Data", syntax, count, bits))
        else:
            tables.append(_segmented(values, f"Segmented{name}Data", syntax, count, bits))
    if len(described) > 1:
        raise _bad(f"the palettes of red, green and blue differ: {sorted(described)}")
    entries = np.stack(tables, axis=1)
    narrow = bits == 8 and int(entries.max()) < 256
    data = entries.astype("u1" if narrow else "<u2").tobytes()
    return shared_lut(first, 8 if narrow else 16, 3, data, "")


def read_modality_lut(values: Item, syntax: str, *, signed: bool) -> Lut | None:
    """Return the Modality LUT of a header, its entries as words of 16 bits; None without one.

    Raises
    ------
    BadInstanceError
        BAD_LUT if there are several, or its data does not fit its descriptor.
    """
    items = list(values.items("ModalityLUTSequence"))
    if not items:
        return None
    if len(items) > 1:
        raise _bad(f"ModalityLUTSequence has {len(items)} items")
    (item,) = items
    count, first, bits = _descriptor(item, "LUTDescriptor", syntax, signed=signed)
    if not 8 <= bits <= 16:
        raise _bad(f"LUTDescriptor has entries of {bits} bits, not 8 to 16")
    entries = _entries(item, "LUTData", syntax, count, bits)
    kind = item.text("ModalityLUTType")[:_LONGEST_TYPE]
    return shared_lut(first, 16, 1, entries.astype("<u2").tobytes(), kind)


def read_voi_luts(values: Item, *, signed: bool) -> tuple[VoiLut, ...]:
    """Return the VOI LUTs of a dataset or a functional group, their entries as words of 16 bits.

    A broken one is display advice lost, not an image lost.

    Parameters
    ----------
    signed : bool
        Whether modality values are, where the writing of the table does not tell.
    """
    found = []
    with suppress(BadInstanceError):
        for item, _ in zip(values.items("VOILUTSequence"), range(_MOST), strict=False):
            with suppress(BadInstanceError):
                found.append(_voi_lut(item, signed=signed))
    return tuple(found)


def _voi_lut(item: Item, *, signed: bool) -> VoiLut:
    vr = item.written_vr("LUTDescriptor")
    signed = vr == b"SS" or (signed and vr != b"US")
    count, first, bits = _descriptor(item, "LUTDescriptor", item.syntax, signed=signed)
    if not 8 <= bits <= 16:
        raise _bad(f"LUTDescriptor has entries of {bits} bits, not 8 to 16")
    entries = _entries(item, "LUTData", item.syntax, count, bits)
    if int(entries.max()) >> bits:
        raise _bad(f"entries of more than the {bits} bits of LUTDescriptor")
    data = entries.astype("u1" if bits == 8 else "<u2").tobytes()
    return VoiLut(
        shared_lut(first, bits, 1, data, ""), item.text("LUTExplanation")[:_LONGEST_NAME]
    )  # fmt: skip


def _descriptor(item: Item, keyword: str, syntax: str, *, signed: bool) -> tuple[int, int, int]:
    """Return number of entries, first mapped value and bits per entry."""
    raw = item.raw(keyword)
    if raw is None or len(raw) != 6:
        raise _bad(f"{keyword} must be three 16-bit integers")
    count, first, bits = struct.unpack(f"{_order(syntax)}H{'h' if signed else 'H'}H", raw)
    return count or 2**16, first, bits


def _entries(item: Item, keyword: str, syntax: str, count: int, bits: int) -> np.ndarray:
    """Return the entries of a table: words, or for 8 bits also bytes packed into words."""
    raw = item.raw(keyword) or b""
    if len(raw) == 2 * count:
        return np.frombuffer(raw, f"{_order(syntax)}u2")
    if bits == 8 and len(raw) == count + count % 2:
        return _bytes_of(raw, syntax)[:count]
    raise _bad(f"{keyword} has {len(raw)} bytes for {count} entries of {bits} bits")


def _bytes_of(raw: bytes, syntax: str) -> np.ndarray:
    """Return bytes that are packed into words, the first in the lower half."""
    return np.frombuffer(np.frombuffer(raw, f"{_order(syntax)}u2").astype("<u2").tobytes(), "u1")


def _segmented(item: Item, keyword: str, syntax: str, count: int, bits: int) -> np.ndarray:
    """Expand a segmented table (PS3.3 C.7.9.2); never beyond `count` entries."""
    raw = item.raw(keyword) or b""
    if not raw or len(raw) % 2:
        raise _bad(f"{keyword} is missing or has an odd number of bytes")
    words = np.frombuffer(raw, f"{_order(syntax)}u2") if bits == 16 else _bytes_of(raw, syntax)
    data = words.tolist()
    parts = 32 // bits  # of the offset of an indirect segment, the lowest first
    found: list[int] = []
    pos = 0
    try:
        while len(found) < count:
            if data[pos] == 2:  # indirect: some segments again, from a byte of the table on
                offset = sum(data[pos + 2 + n] << bits * n for n in range(parts))
                place = offset // (bits // 8)
                for _ in range(data[pos + 1]):
                    place = _segment(data, place, found, count)
                pos += 2 + parts
            else:
                pos = _segment(data, pos, found, count)
    except (IndexError, ValueError) as exc:
        raise _bad(f"the segments of {keyword} cannot be followed") from exc
    return np.array(found, np.uint16)


def _segment(data: list[int], pos: int, found: list[int], count: int) -> int:
    """Append a discrete (0) or linear (1) segment; return where the next one starts."""
    kind, length = data[pos], data[pos + 1]
    if kind > 1 or length == 0 or len(found) + length > count:
        raise ValueError(kind, length)
    if kind == 0:
        values = data[pos + 2 : pos + 2 + length]
        if len(values) < length:
            raise IndexError(pos)
        found += values
        return pos + 2 + length
    start, end = found[-1], data[pos + 2]
    steps = np.linspace(start, end, length + 1)[1:]
    found += np.rint(steps).astype(int).tolist()
    return pos + 3


def _order(syntax: str) -> str:
    return ">" if syntax == EXPLICIT_BE else "<"


def _bad(message: str) -> BadInstanceError:
    return BadInstanceError(ProblemCode.BAD_LUT, message)
