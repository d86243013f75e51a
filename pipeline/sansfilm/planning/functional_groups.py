"""What a multi-frame header says of each of its frames (PS3.3 C.7.6.16).

A functional group stands either once for all frames (Shared) or in each frame's own item
(Per-Frame). Where a frame has its own, that counts; where neither has it, the top level of the
dataset does, as in objects that were converted or predate the groups. Private groups decide
nothing: Philips' (2005,140F) repeats standard attributes with positions of its own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import FrameFacts, Vector
from sansfilm.planning import dimensions, facts, increments, mappings
from sansfilm.planning.calibration import calibrate
from sansfilm.planning.dataset import Walked
from sansfilm.planning.details import read_windows
from sansfilm.planning.group_values import GROUPS, read_group
from sansfilm.planning.items import Item
from sansfilm.planning.luts import read_voi_luts

_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
_MOST_KNOWN = 1000
"""Readings that are kept: a group that repeats from frame to frame is read once."""


def frame_facts(
    buffer: bytes, walked: Walked, syntax: str, number_of_frames: int
) -> list[FrameFacts]:
    """Return what a header says of each frame, in the order of the pixels.

    Parameters
    ----------
    buffer : bytes
        The file, or the inflated dataset, up to Pixel Data at least.
    walked : Walked
        Its top-level elements.
    syntax : str
        Transfer syntax UID of the dataset.
    number_of_frames : int
        Number of Frames (0028,0008), 1 where it is absent.

    Returns
    -------
    list of FrameFacts
        One for each frame. `axes` has what may tell frames at one place apart, by keyword:
        times in ms or s as the attribute has them, dates with time in s since 1970, and as
        ``Dimension:<name>`` the indices of the dimensions that are no positions. Position and
        orientation, both or neither, are those in the patient; those of an ultrasound volume
        (PS3.3 C.8.24.3.3) are in that volume, and `extra` then has "VolumeFrameOfReferenceUID".

    Raises
    ------
    BadInstanceError
        BAD_VALUE for counts that contradict each other and for values that would place or scale
        a frame wrongly; BAD_LENGTH or TRUNCATED for sequences that cannot be followed.
    """
    top = Item(buffer, walked, syntax)
    if _SHARED not in top and _PER_FRAME not in top:
        return increments.frame_facts(top, number_of_frames)
    nothing = Item(buffer, Walked({}, None), syntax)
    shared = list(top.items(_SHARED)) or [nothing]
    if len(shared) > 1:
        raise BadInstanceError(ProblemCode.BAD_VALUE, f"{_SHARED} has {len(shared)} items")
    groups = _Groups(top, shared[0])
    steps = increments.frame_axes(top, number_of_frames)
    own = _counted(top.items(_PER_FRAME), number_of_frames)
    found = [groups.read(item, axes) for item, axes in zip(own, steps, strict=False)]
    if not found:  # tiles that fill their slide have no groups of their own
        if not steps[0]:
            return [groups.read(nothing, {})] * number_of_frames
        return [groups.read(nothing, axes) for axes in steps]
    lengths = {len(frame.extra.get("DimensionIndexValues", ())) for frame in found}
    if len(lengths) > 1:
        message = f"DimensionIndexValues of different lengths: {sorted(lengths)}"
        raise BadInstanceError(ProblemCode.BAD_VALUE, message)
    return found


def _counted(items: Iterator[Item], expected: int) -> Iterator[Item]:
    """Yield as many items as there are frames, or none at all."""
    count = 0
    for item in items:
        count += 1
        if count > expected:
            break
        yield item
    if count not in (0, expected):
        what = f"more than {expected}" if count > expected else f"{count}"
        message = f"{_PER_FRAME} has {what} items, NumberOfFrames is {expected}"
        raise BadInstanceError(ProblemCode.BAD_VALUE, message)


def _single[T](read: Callable[[Item], T]) -> Callable[[Sequence[Item]], T]:
    """Return a reader for a group that must have one item."""

    def read_one(items: Sequence[Item]) -> T:
        if len(items) != 1:
            message = f"a functional group of {len(items)} items where one is allowed"
            raise BadInstanceError(ProblemCode.BAD_VALUE, message)
        return read(items[0])

    return read_one


def _read_measures(
    item: Item,
) -> tuple[tuple[float, float] | None, float | None, float | None]:
    spacing = facts.read_spacing(item)
    return spacing, item.number("SliceThickness"), item.number("SpacingBetweenSlices")


def _read_rescale(item: Item) -> tuple[float, float, str]:
    return *facts.read_rescale(item), facts.read_unit(item)


_POSITION = _single(facts.read_position)
_ORIENTATION = _single(facts.read_orientation)
_POSITION_IN_VOLUME = _single(partial(facts.read_position, keyword="ImagePositionVolume"))
_ORIENTATION_IN_VOLUME = _single(partial(facts.read_orientation, keyword="ImageOrientationVolume"))
_MEASURES = _single(_read_measures)
_RESCALE = _single(_read_rescale)
_WINDOWS = _single(read_windows)
_INDICES = _single(dimensions.read_indices)


class _Groups:
    """Reads the groups of one frame after the other."""

    def __init__(self, top: Item, shared: Item) -> None:
        self._shared = shared
        self._dataset, self._top = top, facts.read_facts(top)
        sign = facts.has_sign(top)
        self._luts = _single(partial(read_voi_luts, signed=sign or self._top.intercept < 0))
        self._mappings = partial(mappings.read_mappings, signed=sign)
        self._volume = top.text("VolumeFrameOfReferenceUID")
        self._names = dimensions.read_names(top)
        self._readers = {keyword: partial(read_group, keyword) for keyword in GROUPS}
        self._known: dict[tuple[object, bytes | None], Any] = {}

    def read(self, own: Item, axes: Mapping[str, float | str]) -> FrameFacts:
        """Return what a frame's own groups, the shared ones and the top level say of it.

        `axes` is what is known without groups.
        """
        top = self._top
        axes, extra = dict(axes), dict(top.extra)
        for keyword, reader in self._readers.items():
            if (values := self._find(own, keyword, reader)) is not None:
                axes |= values[0]
                extra |= values[1]
        if indices := self._find(own, "FrameContentSequence", _INDICES):
            axes |= dimensions.axes(self._names, indices)
            extra["DimensionIndexValues"] = indices
        position, orientation = self._place(own, extra)
        measures = self._find(own, "PixelMeasuresSequence", _MEASURES)
        spacing, thickness, between = measures or (top.pixel_spacing, top.slice_thickness, None)
        kind = top.spacing_kind
        if measures:
            spacing, kind = calibrate(self._dataset, spacing)
        if between is not None:
            extra["SpacingBetweenSlices"] = between
        rescale = self._find(own, "PixelValueTransformationSequence", _RESCALE)
        slope, intercept, unit = rescale or (top.slope, top.intercept, "")
        display = self._find(own, "FrameVOILUTSequence", _WINDOWS)
        function, windows = display or (top.voi_function, top.windows)
        luts = self._find(own, "FrameVOILUTSequence", self._luts) or top.voi_luts
        if mapped := self._find(own, mappings.SEQUENCE, self._mappings):
            extra[mappings.NAME] = mapped
        return FrameFacts(
            position=position, orientation=orientation, pixel_spacing=spacing,
            spacing_kind=kind, slice_thickness=thickness, slope=slope, intercept=intercept,
            unit=unit or top.unit, windows=windows, voi_function=function, voi_luts=luts,
            axes=axes, extra=extra,
        )  # fmt: skip

    def _place(
        self, own: Item, extra: dict[str, Any]
    ) -> tuple[Vector, tuple[float, ...]] | tuple[None, None]:
        position = self._find(own, "PlanePositionSequence", _POSITION)
        orientation = self._find(own, "PlaneOrientationSequence", _ORIENTATION)
        if position is None and orientation is None:
            position = self._find(own, "PlanePositionVolumeSequence", _POSITION_IN_VOLUME)
            orientation = self._find(own, "PlaneOrientationVolumeSequence", _ORIENTATION_IN_VOLUME)
            if position and orientation:
                extra["VolumeFrameOfReferenceUID"] = self._volume
                return position, orientation
            position = orientation = None  # half a place in the volume is none in the patient
        position = position or self._top.position
        orientation = orientation or self._top.orientation
        return (position, orientation) if position and orientation else (None, None)

    def _find[T](self, own: Item, keyword: str, read: Callable[[Sequence[Item]], T]) -> T | None:
        """Read a group where it stands: in the frame's own item, else in the shared one."""
        for item in (own, self._shared):
            if keyword in item:
                key = read, item.raw(keyword)
                if key not in self._known:
                    if len(self._known) >= _MOST_KNOWN:
                        self._known.clear()
                    self._known[key] = read(list(item.items(keyword)))
                found: T = self._known[key]
                return found
        return None
