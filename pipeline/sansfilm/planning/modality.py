"""How stored values become level-0 values (PS3.3 C.11.1): integers where that is exact."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sansfilm.model import Frame, FrameSpec, Padding, Rescale, padding_range

_INTEGERS = ("int16", "uint16", "int32")
_WIDER = {
    "uint8": ("int16",), "int8": ("int16",), "uint16": ("int32",), "int16": ("int32",),
    "uint32": ("float64",), "int32": ("float64",),
}  # fmt: skip
"""Where each dtype's values go when cells without a frame need one that no pixel has."""


def plan_values(
    frames: Sequence[Frame],
) -> tuple[str, Rescale, Padding | None]:
    """Choose the dtype of level 0 and how stored values get there.

    One integer slope and intercept whose result fits int16, uint16 or int32: level 0 holds
    modality values. Another single slope: level 0 holds stored values, attributes say the rest.
    Slopes that differ by frame: level 0 holds float modality values, float32 where the stored
    integer can be got back from it. A Modality LUT: level 0 holds what it gives. Colour: the
    samples, or what the palette gives. Floating pixels stay what they are; if their slopes
    differ, level 0 holds modality values as float64.

    Returns
    -------
    dtype : str
    rescale : Rescale
    padding : (low, high) or None
        Inclusive range of padding, in level-0 values; None where frames differ, since then no
        value means padding in all of them.
    """
    first = frames[0]
    stored_padding = first.padding if len({header.padding for header in frames}) == 1 else None
    spec = first.spec
    if spec.lut is not None:
        dtype = np.dtype(spec.lut.dtype).name
        if spec.channels > 1:
            return dtype, Rescale(1.0, 0.0, first.unit, "integer"), None
        facts = _lut_facts({frame.spec for frame in frames})
        return dtype, Rescale(1.0, 0.0, first.unit, "lut", facts), _mapped_padding(frames)
    slopes = {(header.slope, header.intercept) for header in frames}
    low, high = stored_range(spec.bits_stored, signed=spec.pixel_representation == 1)
    container = spec.container
    slope, intercept = first.slope, first.intercept
    if len(slopes) > 1:
        single = not spec.floating and all(_reversible(h, low, high) for h in frames)
        dtype = "float32" if single else "float64"
        # With slopes that differ no single level-0 value means padding, but for NaN.
        kept = stored_padding if stored_padding == ("NaN", "NaN") else None
        return dtype, Rescale(1.0, 0.0, first.unit, "per_frame"), kept
    if (slope, intercept) == (1.0, 0.0):
        return container, Rescale(slope, intercept, first.unit, "integer"), stored_padding
    if not spec.floating and slope.is_integer() and intercept.is_integer():
        ends = sorted((int(low * slope + intercept), int(high * slope + intercept)))
        for dtype in _INTEGERS:
            info = np.iinfo(dtype)
            if info.min <= ends[0] and ends[1] <= info.max:
                padding: Padding | None = None
                if (ends_of := padding_range(stored_padding)) is not None:
                    mapped = sorted(value * slope + intercept for value in ends_of)
                    padding = int(mapped[0]), int(mapped[1])
                return dtype, Rescale(slope, intercept, first.unit, "integer"), padding
    return container, Rescale(slope, intercept, first.unit, "attributes"), stored_padding


def plan_fill(
    dtype: str, rescale: Rescale, padding: Padding | None, frames: Sequence[Frame]
) -> tuple[str, Padding]:
    """Choose what cells without a frame hold: a value that no pixel can have.

    The series' own padding if it has one; otherwise the lowest or the highest value of the dtype
    that lies beyond the pixels' range; a wider dtype where pixels may have all of them.

    Returns
    -------
    dtype : str
    padding : (low, high)
        In level-0 values; cells without a frame hold `low`.
    """
    if padding is not None:
        return dtype, padding
    spec = frames[0].spec
    ends = stored_range(spec.bits_stored, signed=spec.pixel_representation == 1)
    if spec.lut is not None:
        ends = stored_range(8 * np.dtype(spec.lut.dtype).itemsize, signed=False)
    elif rescale.applied == "integer" and not spec.floating:
        low, high = sorted(int(end * rescale.slope + rescale.intercept) for end in ends)
        ends = low, high
    for wider in (dtype, *_WIDER.get(dtype, ())):
        if np.dtype(wider).kind == "f":
            lowest = float(np.finfo(wider).min)
            return wider, (lowest, lowest)
        info = np.iinfo(wider)
        for fill, free in ((info.min, info.min < ends[0]), (info.max, info.max > ends[1])):
            if free:
                return wider, (int(fill), int(fill))
    raise AssertionError(dtype)


def _lut_facts(specs: set[FrameSpec]) -> dict[str, Any]:
    """Describe Modality LUTs: what they map, and whether stored values can be got back.

    They can if no two stored values become one. The entries are in ``dicom/headers``.
    """
    luts = {spec.lut for spec in specs if spec.lut is not None}
    single = next(iter(luts)) if len(luts) == 1 else None
    return {
        "tables": len(luts),
        "first": single and single.first,
        "entries": single and single.count,
        "type": single and single.kind,
        "injective": all(
            len(np.unique(values)) == len(values) for values in map(_through_lut, specs)
        ),
    }


def _through_lut(spec: FrameSpec) -> np.ndarray:
    """Return what a LUT makes of every stored value, those beyond each end standing for one."""
    assert spec.lut is not None
    ends = stored_range(spec.bits_stored, signed=spec.pixel_representation == 1)
    mapped = np.arange(spec.lut.first - 1, spec.lut.first + spec.lut.count + 1).clip(*ends)
    entries = np.frombuffer(spec.lut.entries, spec.lut.dtype)
    stored = np.union1d(mapped, ends)
    return entries.take(stored - spec.lut.first, mode="clip")


def _mapped_padding(frames: Sequence[Frame]) -> tuple[float, float] | None:
    """Return what a Modality LUT makes of padding, None unless it means padding and nothing else.

    That is so if all frames share table and padding, which is one value that no other becomes.
    """
    spec, padding = frames[0].spec, padding_range(frames[0].padding)
    if len({(frame.spec.lut, frame.padding) for frame in frames}) > 1 or padding is None:
        return None
    assert spec.lut is not None
    entries = np.frombuffer(spec.lut.entries, spec.lut.dtype)
    place = int(padding[0]) - spec.lut.first
    if padding[0] != padding[1] or not 0 <= place < spec.lut.count:
        return None
    value = int(entries[place])
    return (value, value) if int(np.sum(_through_lut(spec) == value)) == 1 else None


def stored_range(bits_stored: int, *, signed: bool) -> tuple[int, int]:
    """Return the smallest and largest stored value."""
    if signed:
        return -(1 << bits_stored - 1), (1 << bits_stored - 1) - 1
    return 0, (1 << bits_stored) - 1


def _reversible(header: Frame, low: int, high: int) -> bool:
    """Tell whether float32 modality values are close enough to give stored values back."""
    single = np.finfo(np.float32)
    largest = max(abs(value * header.slope + header.intercept) for value in (low, high))
    fits = largest < float(single.max) and abs(header.slope) > float(single.tiny)
    return fits and largest * float(single.eps) < abs(header.slope) / 2
