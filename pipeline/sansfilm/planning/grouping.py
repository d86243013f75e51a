"""Frames -> volume plans: series into stacks, stacks into volumes, everything accounted for."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from sansfilm.errors import BadInstanceError, Problem
from sansfilm.model import Frame, Vector, VolumePlan
from sansfilm.options import Options
from sansfilm.planning.axes import Dimensions, Refusal, plan_dimensions
from sansfilm.planning.candidates import INSTANCE
from sansfilm.planning.geometry import find_places, in_plane, lie_beside, place_slices
from sansfilm.planning.segmentation import Drawn, Stored, find_grids, plan_segmentation
from sansfilm.planning.slides import plan_slides
from sansfilm.planning.stacks import (
    Digest,
    is_placed,
    split_stacks,
    unique_instances,
    without_crooked,
)
from sansfilm.planning.volumes import plan_pictures, plan_placed

_AMBIGUOUS = "Several of them share a place, and nothing says which belong together."


def plan_volumes(
    frames: Iterable[Frame],
    options: Options,
    digest: Digest | None = None,
    drawn: Drawn | None = None,
    stored: Stored | None = None,
) -> tuple[list[VolumePlan], list[Problem], int]:
    """Group frames into volumes.

    The result does not depend on the order or the names of the files.

    Parameters
    ----------
    digest : callable, optional
        Digest of a frame's decoded values; asked only for frames that nothing else tells apart,
        and for instances of one UID in several codecs.
    drawn : callable, optional
        What a frame shows of its segment; asked only for segments, which may overlap.
    stored : callable, optional
        The grids of a stored series; asked only for what segmentations refer to and is not here.

    Returns
    -------
    plans : list of VolumePlan
        Sorted by series and volume_id.
    problems : list of Problem
        One for each frame that is in no plan.
    copies : int
        Frames that are used once where there are identical ones.
    """
    unique = unique_instances(frames, digest)
    straight = without_crooked(unique.frames, options.tolerances.direction)
    planner = _Planner(options, digest)
    tiles = [frame for frame in straight.frames if frame.tile]
    others = [frame for frame in straight.frames if not frame.tile]
    stacks = split_stacks(others, options.tolerances.in_plane_mm)
    for stack in stacks:
        if not stack[0].segmentation:
            planner.add(stack)
    segmented = [stack for stack in stacks if stack[0].segmentation]
    grids = find_grids(segmented, planner.plans, stored)
    labels = [plan_segmentation(stack, grids, options, drawn) for stack in segmented]
    plans = planner.plans + plan_slides(tiles, options, drawn) + labels
    plans.sort(key=lambda plan: (plan.series_uid, plan.volume_id))
    return plans, unique.problems + straight.problems, unique.copies + planner.copies


class _Planner:
    """Turns stacks into plans; what falls apart into several stacks is planned part by part.

    The ways to tell frames at one place apart, the surest first: attributes that make an axis, an
    attribute that makes stacks, pixels that are the same, codecs, the order of instance numbers.
    What is left is kept as pictures: no frame gets a place by chance.
    """

    def __init__(self, options: Options, digest: Digest | None) -> None:
        self.plans: list[VolumePlan] = []
        self.copies = 0
        self._options, self._digest = options, digest
        self._near = options.tolerances.in_plane_mm

    def add(self, stack: Sequence[Frame], collapsed: int = 0) -> None:
        """Plan one stack, of which so many copies were left out."""
        if not is_placed(stack[0]):
            self.plans.append(plan_pictures(stack, self._options))
            return
        first, tolerances = stack[0], self._options.tolerances
        orientation, pixel_spacing = first.orientation or (), first.pixel_spacing or ()
        positions = [frame.position or (0.0, 0.0, 0.0) for frame in stack]
        places = find_places(positions, orientation, pixel_spacing, tolerances)
        if lie_beside(positions, places, tolerances):
            self._add_beside(stack, places)
            return
        dimensions = plan_dimensions(places, [frame.axes for frame in stack])
        told = isinstance(dimensions, Dimensions) and not _is_last_resort(dimensions)
        if not told and self._add_parts(stack, places, dimensions, collapsed):
            return
        if isinstance(dimensions, Refusal):
            self._set_apart(stack, places)
            return
        at: dict[int, Vector] = {}
        for place, position in zip(places, positions, strict=True):
            at[place] = min(position, at.get(place, position))
        slices = [at[place] for place in sorted(at)]
        placement = place_slices(slices, orientation, first.slice_thickness, tolerances)
        if placement.wandering and _are_stacks(places, spots := self._spots(stack)):
            self._add_each(stack, spots)
            return
        self.plans.append(
            plan_placed(stack, places, slices[0], placement, dimensions, collapsed, self._options)
        )

    def _add_each(self, stack: Sequence[Frame], parts: Sequence[Hashable]) -> None:
        groups: dict[Hashable, list[Frame]] = defaultdict(list)
        for frame, part in zip(stack, parts, strict=True):
            groups[part].append(frame)
        for group in groups.values():
            self.add(group)

    def _add_parts(
        self,
        stack: Sequence[Frame],
        places: Sequence[int],
        dimensions: Dimensions | Refusal,
        collapsed: int,
    ) -> bool:
        """Tell frames at one place apart by more than their order; say whether that went."""
        if isinstance(dimensions, Refusal) and dimensions.parts:
            self._add_each(stack, dimensions.parts)
            return True
        kept = self._without_copies(stack, places, all_over=isinstance(dimensions, Dimensions))
        if copies := len(stack) - len(kept):
            self.copies += copies
            self.add(kept, collapsed + copies)
            return True
        codecs = [frame.spec.transfer_syntax for frame in stack]
        if len(set(codecs)) > 1 and _covers(codecs, places):
            self._add_each(stack, codecs)
            return True
        return False

    def _without_copies(
        self, stack: Sequence[Frame], places: Sequence[int], *, all_over: bool
    ) -> Sequence[Frame]:
        """Keep one of the frames at one place whose pixels and values are the same.

        With `all_over` that counts only if it leaves one frame at every place.
        """
        if self._digest is None:
            return stack
        by_place: dict[int, list[Frame]] = defaultdict(list)
        for place, frame in zip(places, stack, strict=True):
            by_place[place].append(frame)
        kept: list[Frame] = []
        for place in sorted(by_place):
            different = self._different(by_place[place], most=2 if all_over else len(stack))
            if all_over and len(different) > 1:
                return stack
            kept += different
        return kept

    def _different(self, frames: Sequence[Frame], most: int) -> list[Frame]:
        """Return the first of the frames that show the same; what cannot be decoded stays.

        Nothing more is decoded once there are `most`.
        """
        if self._digest is None or len(frames) == 1:
            return list(frames)
        seen: dict[Hashable, Frame] = {}
        for frame in frames:
            if len(seen) == most:
                break
            try:
                pixels = self._digest(frame)
            except BadInstanceError:
                pixels = f"{frame.sop_instance_uid} {frame.number}"
            values = frame.slope, frame.intercept, frame.padding, frame.lossy
            display = frame.windows, frame.voi_luts
            seen.setdefault((pixels, values, display), frame)
        return list(seen.values())

    def _add_beside(self, stack: Sequence[Frame], places: Sequence[int]) -> None:
        """Part frames that lie beside each other in one plane by where they lie in it.

        Where a stack leans each slice has a spot of its own: only planes with several are parted.
        """
        spots = self._spots(stack)
        if len(set(spots)) == 1:
            self._picture(stack)
            return
        alone, crowd = _alone(stack, places)
        if len(set(spots)) <= max(Counter(places).values()) or not alone:
            self._add_each(stack, spots)
            return
        self.add(alone)
        self._add_each(crowd, self._spots(crowd))

    def _set_apart(self, stack: Sequence[Frame], places: Sequence[int]) -> None:
        """Keep the slices that are alone at their place, and the others as pictures."""
        alone, crowd = _alone(stack, places)
        if len(alone) > len(set(places)) / 2:
            self.add(alone)
            self._picture(crowd)
        else:
            self._picture(stack)

    def _picture(self, stack: Sequence[Frame]) -> None:
        self.plans.append(plan_pictures(stack, self._options, _AMBIGUOUS))

    def _spots(self, stack: Sequence[Frame]) -> list[int]:
        """Return numbers of frames that are equal where they lie on one spot of their planes."""
        positions = [frame.position or (0.0, 0.0, 0.0) for frame in stack]
        spots = in_plane(positions, stack[0].orientation or ())
        return [
            int(np.argmax(np.linalg.norm(spots[: n + 1] - spot, axis=1) <= self._near))
            for n, spot in enumerate(spots)
        ]


def _is_last_resort(dimensions: Dimensions) -> bool:
    return any(INSTANCE.keyword in axis.keywords for axis in dimensions.axes)


def _covers(parts: Sequence[Hashable], places: Sequence[int]) -> bool:
    """Tell whether no part has two frames at one place, and one of them a frame at each."""
    cells = Counter(zip(parts, places, strict=True))
    largest = max(Counter(parts).values())
    return max(cells.values()) == 1 and largest == len(set(places))


def _are_stacks(places: Sequence[int], spots: Sequence[int]) -> bool:
    """Tell whether there are several spots, each with frames at several places."""
    depth = Counter(spot for spot, _ in set(zip(spots, places, strict=True)))
    return len(depth) > 1 and min(depth.values()) > 1


def _alone(stack: Sequence[Frame], places: Sequence[int]) -> tuple[list[Frame], list[Frame]]:
    """Return the frames that are alone at their place, and the others."""
    counts = Counter(places)
    alone: list[Frame] = []
    crowd: list[Frame] = []
    for frame, place in zip(stack, places, strict=True):
        (alone if counts[place] == 1 else crowd).append(frame)
    return alone, crowd
