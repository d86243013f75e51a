"""Mappings to real-world values (PS3.3 C.7.6.16.2.11): recorded with their units, never applied."""

from collections.abc import Iterable, Mapping
from typing import Any

from sansfilm.planning.items import Item

SEQUENCE = "RealWorldValueMappingSequence"
NAME = "RealWorldValueMapping"
"""What they are called in the frame table."""
_MOST = 64
_ENDS = {
    "first": ("RealWorldValueFirstValueMapped", "DoubleFloatRealWorldValueFirstValueMapped"),
    "last": ("RealWorldValueLastValueMapped", "DoubleFloatRealWorldValueLastValueMapped"),
}


def read_mappings(items: Iterable[Item], *, signed: bool) -> tuple[Mapping[str, Any], ...]:
    """Return what stored values stand for.

    Parameters
    ----------
    items : iterable of Item
        Of Real World Value Mapping Sequence.
    signed : bool
        Whether stored values are.

    Returns
    -------
    tuple of mappings
        "label", "explanation"; "unit" (code), "unit_scheme" and "unit_meaning"; "first" and
        "last", the stored values that are mapped; "slope" and "intercept", or "lut_entries", the
        number of values of a table, which is in the header. "ignored" says why one cannot be used.
    """
    return tuple(_read(item, signed=signed) for item, _ in zip(items, range(_MOST), strict=False))


def _read(item: Item, *, signed: bool) -> Mapping[str, Any]:
    found: dict[str, Any] = {
        "label": _text(item, "LUTLabel"),
        "explanation": _text(item, "LUTExplanation"),
    }
    for unit in item.items("MeasurementUnitsCodeSequence"):
        found["unit"] = _text(unit, "CodeValue")
        found["unit_scheme"] = _text(unit, "CodingSchemeDesignator")
        found["unit_meaning"] = _text(unit, "CodeMeaning")
    for end, (integer, double) in _ENDS.items():
        found[end] = _end(item, integer, double, signed=signed)
    table = len(item.raw("RealWorldValueLUTData") or b"") // 8
    if table:
        return _kept(found | {"lut_entries": table})
    slope, intercept = (_finite(item, f"RealWorldValue{name}") for name in ("Slope", "Intercept"))
    reason = None
    if slope is None or intercept is None:
        reason = "slope and intercept are not two finite numbers"
    elif slope == 0:
        reason = "the slope is 0"
    return _kept(found | {"slope": slope, "intercept": intercept, "ignored": reason})


def _text(item: Item, keyword: str) -> str | None:
    return item.text(keyword) or None


def _end(item: Item, integer: str, double: str, *, signed: bool) -> float | None:
    raw = item.raw(integer) or b""
    if len(raw) == 2:
        return int.from_bytes(raw, item.byteorder, signed=signed)
    return _finite(item, double)


def _finite(item: Item, keyword: str) -> float | None:
    numbers = item.numbers(keyword)
    return float(numbers[0]) if len(numbers) == 1 else None


def _kept(found: dict[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in found.items() if value is not None}
