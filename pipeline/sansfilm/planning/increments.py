"""Frames that are told apart by vectors of the top level instead of functional groups.

Cine (PS3.3 C.7.6.5 and C.7.6.6), nuclear medicine (C.8.4.8), secondary capture (C.8.6.4), dose
(C.8.8.3).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import FrameFacts, Vector
from sansfilm.planning import facts
from sansfilm.planning.classic import read_axes
from sansfilm.planning.items import Item

_VECTORS = (
    "EnergyWindowVector", "DetectorVector", "PhaseVector", "RotationVector", "RRIntervalVector",
    "TimeSlotVector", "AngularViewVector", "TimeSliceVector", "PageNumberVector",
    "FramePrimaryAngleVector", "FrameSecondaryAngleVector", "SliceLocationVector",
    "PositionerPrimaryAngleIncrement", "PositionerSecondaryAngleIncrement",
)  # fmt: skip
_SLICES, _DOSE = "SliceVector", "GridFrameOffsetVector"
_TURNING = ("RotationVector", "AngularViewVector")
"""Vectors of projections: their detector moves, so that its position is that of one frame."""
_RT_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
_CLOSE_MM = 0.01
_FRAME_TIME, _FRAME_TIME_VECTOR = 0x00181063, 0x00181065


def frame_facts(top: Item, number_of_frames: int) -> list[FrameFacts]:
    """Return what a header without functional groups says of each frame.

    All frames have what the top level has. They have its place too where they follow each other
    in time; where nothing says how frames relate, a place would be invented for all but one.

    Raises
    ------
    BadInstanceError
        BAD_VALUE for values that would place or scale a frame wrongly, and for vectors of places
        that are longer or shorter than there are frames.
    """
    base = facts.read_facts(top)
    axes = frame_axes(top, number_of_frames)
    if number_of_frames == 1:
        axes = [read_axes(top) | axes[0]]
    if "DoseGridScaling" in top or top.token("SOPClassUID") == _RT_DOSE:
        base = _as_dose(base, top)
    places: list[tuple[Vector, tuple[float, ...]]] = []
    if _SLICES in top:
        slices = _need_vector(top, _SLICES, number_of_frames)
        places = _slice_places(top, base, slices, axes)
        if not places:
            axes = [own | {_SLICES: number} for own, number in zip(axes, slices, strict=True)]
    elif base.position and base.orientation:
        if _DOSE in top and number_of_frames > 1:
            offsets = _need_vector(top, _DOSE, number_of_frames)
            positions = plane_positions(offsets, base.position, base.orientation)
            places = [(position, base.orientation) for position in positions]
        elif number_of_frames == 1 or "FrameTime" in axes[0]:
            places = [(base.position, base.orientation)] * number_of_frames
    base = replace(base, position=None, orientation=None)
    if places:
        return [
            replace(base, axes=own, position=position, orientation=orientation)
            for own, (position, orientation) in zip(axes, places, strict=True)
        ]
    return [replace(base, axes=own) for own in axes] if axes[0] else [base] * number_of_frames


def frame_axes(top: Item, number_of_frames: int) -> list[dict[str, float | str]]:
    """Return what tells frames apart, for each frame: vectors by keyword, and "FrameTime", ms.

    A vector that is longer or shorter than there are frames says nothing of any of them.
    """
    columns = {keyword: top.numbers(keyword) for keyword in _VECTORS if keyword in top}
    columns["FrameTime"] = _frame_times(top, number_of_frames)
    usable = {name: column for name, column in columns.items() if len(column) == number_of_frames}
    if not usable:
        return [{}] * number_of_frames
    return [
        {name: column[index] for name, column in usable.items()}
        for index in range(number_of_frames)
    ]


def plane_positions(
    offsets: Sequence[float], position: Vector, orientation: Sequence[float]
) -> list[Vector]:
    """Return the position of each plane of a dose grid, mm (PS3.3 C.8.8.3.2).

    Parameters
    ----------
    offsets : sequence of float
        Grid Frame Offset Vector. Relative if its first value is 0: distances along the normal
        from the first plane. Absolute if its first value is the z of `position` and the planes
        are transverse: the z of each plane.
    position, orientation
        Image Position and Orientation (Patient).

    Raises
    ------
    BadInstanceError
        BAD_VALUE if it is neither, or neither rises nor falls throughout.
    """
    steps = np.diff(offsets)
    if not (np.all(steps > 0) or np.all(steps < 0)):
        message = f"{_DOSE} neither rises nor falls throughout"
        raise BadInstanceError(ProblemCode.BAD_VALUE, message)
    transverse = np.allclose(orientation, (1, 0, 0, 0, 1, 0), atol=1e-4)
    if offsets[0] == 0:
        return _along_normal(position, orientation, offsets)
    if transverse and abs(offsets[0] - position[2]) < _CLOSE_MM:
        return [(position[0], position[1], z) for z in offsets]
    message = f"{_DOSE} starts neither at 0 nor at the z of a transverse first plane"
    raise BadInstanceError(ProblemCode.BAD_VALUE, message)


def _as_dose(base: FrameFacts, top: Item) -> FrameFacts:
    """Scale stored values to dose (PS3.3 C.8.8.3); a dose without its scaling is none."""
    if "DoseGridScaling" not in top:
        raise BadInstanceError(ProblemCode.BAD_VALUE, "DoseGridScaling is missing")
    scaling = facts.need_scale(top, "DoseGridScaling")
    kinds = {name: top.code(name) for name in ("DoseType", "DoseSummationType")}
    extra = {**base.extra, **{name: kind for name, kind in kinds.items() if kind}}
    return replace(base, slope=scaling, intercept=0.0, unit=top.code("DoseUnits"), extra=extra)


def _slice_places(
    top: Item, base: FrameFacts, slices: Sequence[float], axes: Sequence[Mapping[str, float | str]]
) -> list[tuple[Vector, tuple[float, ...]]]:
    """Return the places of reconstructed slices (PS3.3 C.8.4.11 and C.8.4.15), or none.

    The detector has the place of slice 1; the others follow along the normal, against it where
    Spacing Between Slices is negative.
    """
    spacing = top.number("SpacingBetweenSlices")
    if spacing is None or any(keyword in top for keyword in _TURNING):
        return []
    places = [
        (facts.read_position(item), facts.read_orientation(item))
        for item in top.items("DetectorInformationSequence")
    ]
    if not any(all(place) for place in places):
        places = [(base.position, base.orientation)]
    found = []
    for number, own in zip(slices, axes, strict=True):
        choice = set(places)
        if "DetectorVector" in own:
            detector = int(own["DetectorVector"])
            choice = set(places[detector - 1 : detector]) if detector else set()
        if len(choice) != 1:
            return []
        position, orientation = choice.pop()
        if position is None or orientation is None:
            return []
        offset = (number - 1) * spacing
        found += [(p, orientation) for p in _along_normal(position, orientation, [offset])]
    return found


def _along_normal(
    position: Vector, orientation: Sequence[float], offsets: Sequence[float]
) -> list[Vector]:
    normal = np.cross(orientation[:3], orientation[3:]).astype(np.float64)
    normal /= np.linalg.norm(normal)
    points = np.asarray(position) + np.outer(offsets, normal)
    return [(x, y, z) for x, y, z in points.tolist()]


def _need_vector(top: Item, keyword: str, number_of_frames: int) -> tuple[float, ...]:
    values = top.numbers(keyword)
    if len(values) != number_of_frames:
        message = f"{keyword} has {len(values)} numbers, NumberOfFrames is {number_of_frames}"
        raise BadInstanceError(ProblemCode.BAD_VALUE, message)
    return values


def _frame_times(top: Item, number_of_frames: int) -> tuple[float, ...]:
    """Return the time of each frame in ms from the first, none where it is not told."""
    pointers = top.tags("FrameIncrementPointer")
    intervals, interval = top.numbers("FrameTimeVector"), top.numbers("FrameTime")
    if number_of_frames == 1:
        return ()
    if intervals and (_FRAME_TIME_VECTOR in pointers or not (pointers or interval)):
        return tuple(accumulate(intervals[1:], initial=0.0)) if min(intervals) >= 0 else ()
    if interval and interval[0] > 0 and (_FRAME_TIME in pointers or not pointers):
        return tuple(index * interval[0] for index in range(number_of_frames))
    return ()
