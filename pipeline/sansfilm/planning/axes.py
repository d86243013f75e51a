"""Several frames at each place: which further axes they make, time and one more.

The rules, in their order:

1. What frames differ in beside time (b-value, echo, component, ...) is an axis when its values
   tell frames at one place apart and are nearly the same at every place. Attributes that follow
   from others are left out; several that are needed fold into one axis, in the order of their
   values, since OME-Zarr has room for ``t`` and one more.
2. What is still alike is told apart by time: positions that the object states, then times that
   all places share, then the order of times at each place ("by rank"); acquisition numbers and
   content times come after the times of acquisition. Time and the other axis are two when every
   combination occurs; when not (several b = 0 among many directions), they fold into one.
3. Instance Number comes last, by its order alone, and only where it runs from volume to volume or
   from place to place. The axis is ``i``, instance order, or ``t`` if Number of Temporal Positions
   says that so many were prescribed. Many anonymised series have nothing else; `numbers` and
   `text` say so plainly.

Frames may be missing: a quarter of each volume at most, and any part of one of them where two
others stand (half of it beside a single other). What is told by order alone is refused when a
frame that is missing would put frames of different volumes together in silence. Nothing depends
on the order of the input.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import Any, Literal

from sansfilm.planning.arrangement import PRESENT, Stack, arrange_frames
from sansfilm.planning.candidates import (
    INSTANCE,
    MEASURED,
    MOMENTS,
    QUALIFIERS,
    Source,
    Value,
    other_sources,
)
from sansfilm.planning.features import ABSOLUTE, RELATIVE, Feature

REPEAT = "repeat"
"""Key of the rank among frames that nothing else on a folded axis tells apart."""
SECOND_TIME = "dynamic"
"""Name of an axis of time beside ``t``: the temporal positions of a cine."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One further axis.

    `values` has one entry per index: the value of the one keyword (None where frames have none),
    or a mapping of keyword -> value. `unit` is that of the values, as in DICOM: "s", "ms", "s/mm2",
    "deg", "%" or "". `by` is "rank" where only the order of a keyword counted. `seconds`, of ``t``
    only and where a time was measured, is when each index began, after the first.
    """

    name: str
    values: tuple[Value | Mapping[str, Value] | None, ...]
    unit: str
    keywords: tuple[str, ...]
    by: Literal["value", "rank"]
    seconds: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Dimensions:
    """The further axes, ``t`` first; none if there is one frame at each place.

    `index` has one integer per axis for each frame, in the order of the input. `missing` lists
    the cells without a frame: one integer per axis, then the place.
    """

    axes: tuple[Axis, ...]
    index: tuple[tuple[int, ...], ...]
    missing: tuple[tuple[int, ...], ...]
    numbers: Mapping[str, Any]
    text: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the frames make no axes.

    `parts` numbers the stacks into which they fall apart, for each frame, if one attribute does
    that and leaves no place with two frames of a part; empty if none does.
    """

    numbers: Mapping[str, Any]
    text: str
    parts: tuple[int, ...] = ()


def plan_dimensions(
    places: Sequence[int], values: Sequence[Mapping[str, Value]]
) -> Dimensions | Refusal:
    """Decide which axes the frames of one stack make beside their place.

    Parameters
    ----------
    places : sequence of int
        Index of the slice position of each frame.
    values : sequence of mappings
        What may tell frames at one place apart: DICOM keyword -> value for each frame. Times of
        day and date-times in seconds, other times as in DICOM; several values joined by
        backslashes; dimension indexes as ``Dimension:<name>``.

    Returns
    -------
    Dimensions or Refusal
        Each frame has a cell of its own, or there is no plan.
    """
    stack = Stack(tuple(places), tuple(values))
    if stack.per_place[1] <= 1:
        text = f"One frame at each of {len(stack.distinct)} places."
        return Dimensions((), ((),) * len(stack.places), (), _numbers(stack), text)
    axes = arrange_frames(stack)
    return _describe(stack, axes) if axes else _refuse(stack)


def _describe(stack: Stack, features: Sequence[Sequence[Feature]]) -> Dimensions:
    axes, labels = zip(*(_fold(stack, of_axis) for of_axis in features), strict=True)
    if [axis.name for axis in axes] == ["t", "t"]:
        axes = axes[0], replace(axes[1], name=SECOND_TIME)
    index = tuple(zip(*labels, strict=True))
    filled = {(*cell, place) for cell, place in zip(index, stack.places, strict=True)}
    sizes = (range(len(axis.values)) for axis in axes)
    missing = tuple(cell for cell in product(*sizes, stack.distinct) if cell not in filled)
    ordered_by = [keyword for axis in axes for keyword in axis.keywords]
    shape = " x ".join(f"{len(axis.values)} ({axis.name})" for axis in axes)
    text = f"{shape} frames at each of {len(stack.distinct)} places, by {', '.join(ordered_by)}."
    if INSTANCE.keyword in ordered_by:
        text += " Nothing but the order of the instance numbers tells them apart."
    if missing:
        text += f" {len(missing)} frames are missing."
    numbers = _numbers(stack) | {
        "shape": [len(axis.values) for axis in axes],
        "ordered_by": ordered_by[0] if len(ordered_by) == 1 else ordered_by,
        "by": "rank" if any(axis.by == "rank" for axis in axes) else "value",
        "missing": len(missing),
    }
    return Dimensions(axes, index, missing, numbers, text)


def _fold(stack: Stack, features: Sequence[Feature]) -> tuple[Axis, list[int]]:
    """Return the axis of the combinations that occur, by their values, and where frames are."""
    levels = stack.levels(features)
    combinations = sorted(set(levels))
    number = {combination: index for index, combination in enumerate(combinations)}
    index = [number[combination] for combination in levels]
    keywords = tuple(feature.source.keyword for feature in features)
    first, *rest = features
    name, unit = first.source.name, first.source.unit
    if not rest:
        seconds = _seconds(stack, index, first.source) if name == "t" else ()
        return Axis(name, first.values, unit, keywords, first.by, seconds), index
    names = dict.fromkeys(feature.source.name for feature in features)
    name = "_".join(name for name in names if name not in ("t", "i")) or SECOND_TIME
    entries = tuple(_entry(features, combination) for combination in combinations)
    return Axis(name, entries, "", keywords, features[-1].by), index


def _entry(features: Sequence[Feature], combination: Sequence[int]) -> dict[str, Value]:
    entry: dict[str, Value] = {}
    for feature, level in zip(features, combination, strict=True):
        value = feature.values[level]
        if feature.by == "rank":
            entry[REPEAT] = level
        elif value is not None:
            entry[feature.source.keyword] = value
    return entry


def _seconds(stack: Stack, index: Sequence[int], source: Source) -> tuple[float, ...]:
    """Return when each index began, s after the first, by the best time that agrees with it."""
    for clock in (source, *MEASURED):
        column = stack.column(clock)
        times = [value for value in column if isinstance(value, float)]
        if clock.name != "t" or clock.unit not in ("s", "ms") or len(times) < len(column):
            continue
        begun: dict[int, float] = {}
        for label, time in zip(index, times, strict=True):
            begun[label] = min(time, begun.get(label, time))
        starts = [begun[label] for label in sorted(begun)]
        if all(start < later for start, later in pairwise(starts)):
            scale = 1e-3 if clock.unit == "ms" else 1.0
            return tuple(scale * (start - starts[0]) for start in starts)
    return ()


def _numbers(stack: Stack) -> dict[str, Any]:
    fewest, most = stack.per_place
    return {
        "frames": len(stack.places),
        "places": len(stack.distinct),
        "per_place_min": fewest,
        "per_place_max": most,
        "tolerances": {"value_relative": RELATIVE, "time": ABSOLUTE, "present": PRESENT},
    }


def _refuse(stack: Stack) -> Refusal:
    alike = len(stack.places) - len(stack.cells(frozenset(v.items()) for v in stack.frames))
    if alike:
        text = "Frames at one place differ in nothing that says which is which."
        return Refusal(_numbers(stack) | {"alike": alike}, text)
    differing = [
        keyword
        for keyword in sorted(stack.keywords)
        if len(stack.cells(values.get(keyword) for values in stack.frames)) > len(stack.distinct)
    ]
    numbers = _numbers(stack) | {"differ_in": differing}
    text = f"Frames at one place differ in {', '.join(differing)}, but not alike at each place."
    for source in (*QUALIFIERS, *MOMENTS, *other_sources(stack.keywords), *MEASURED):
        feature = stack.feature(source) if source.keyword in differing else None
        if feature and len(stack.cells(feature.labels)) == len(stack.places):
            text += f" {source.keyword} parts them into {len(feature.values)} stacks."
            return Refusal(numbers | {"parted_by": source.keyword}, text, feature.labels)
    return Refusal(numbers, text)
