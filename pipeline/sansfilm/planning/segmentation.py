"""The frames of one segmentation -> its plan: on which grid, and whether its segments overlap.

The reasons are in docs/decisions/0006-segmentations.md.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from sansfilm.errors import BadInstanceError
from sansfilm.model import (
    Frame,
    Grid,
    Labels,
    Matrix,
    Rescale,
    Segmentation,
    Verdict,
    VolumePlan,
)
from sansfilm.options import Options, Tolerances
from sansfilm.planning.geometry import (
    affine_lps,
    anatomical_directions,
    find_places,
    lie_beside,
    place_slices,
)
from sansfilm.planning.stacks import is_placed, patient_of
from sansfilm.planning.volumes import plan_pictures, volume_id

Drawn = Callable[[Frame], int]
"""The pixels of a frame that are not 0, as the bits of a number; BadInstanceError."""
Stored = Callable[[str], Iterable[Grid]]
"""The grids of a series in the archive, by its UID."""

SEGMENT = "ReferencedSegmentNumber"


@dataclass(frozen=True, slots=True)
class _Place:
    """A lattice, and where on it the frames lie; `corner` is their first row and column."""

    shape: tuple[int, int, int]
    cells: tuple[int, ...]
    verdict: Verdict
    affine: Matrix | None = None
    spacing: tuple[float | None, ...] = (None, None, None)
    corner: tuple[int, int] = (0, 0)
    values: Mapping[str, Any] = field(default_factory=dict)
    source: Grid | None = None


def find_grids(
    stacks: Iterable[Sequence[Frame]], plans: Iterable[VolumePlan], stored: Stored | None = None
) -> list[Grid]:
    """Return what segmentations may have been drawn on: volumes of this run, and stored ones.

    `stored` is asked for series that they refer to and that are not in this run. The order is
    that of series and volume_id, so that one run and two choose the same.
    """
    plans = list(plans)
    here = {plan.series_uid for plan in plans}
    grids = [plan.grid for plan in plans if plan.grid]
    if stored is not None:
        wanted = {uid for stack in stacks if (about := stack[0].segmentation)
                  for uid in about.references}  # fmt: skip
        grids += [grid for uid in sorted(wanted - here) for grid in stored(uid)]
    return sorted(grids, key=lambda grid: (grid.series_uid, grid.volume_id))


def plan_segmentation(
    stack: Sequence[Frame],
    grids: Sequence[Grid],
    options: Options,
    drawn: Drawn | None = None,
) -> VolumePlan:
    """Plan the frames of one segmentation that share an orientation.

    Parameters
    ----------
    grids : sequence of Grid
        What it may have been drawn on, the first that fits is taken.
    drawn : callable, optional
        Asked whether segments overlap; without it they are kept apart.
    """
    first = stack[0]
    about = first.segmentation
    assert about is not None
    order = {segment.number: place for place, segment in enumerate(about.segments)}
    numbers = [int(frame.axes.get(SEGMENT) or 0) for frame in stack]
    if about.kind == "LABELMAP":  # a frame holds all segments
        order, numbers = {0: 0}, [0] * len(stack)
    if not all(number in order for number in numbers):
        why = "Some frames name no segment, or one that is not there."
        return plan_pictures(stack, options, why)
    grid = _find_place(stack, about, grids, options.tolerances)
    of_cell = {
        (order[number], cell): frame
        for number, cell, frame in zip(numbers, grid.cells, stack, strict=True)
    }
    if len(of_cell) < len(stack):
        return _pictures(stack, about, options)
    source = grid.source.key if grid.source else None
    several = about.kind == "FRACTIONAL" or segments_overlap(stack, grid.cells, drawn)
    depth = grid.shape[0]
    if several:
        frames = [of_cell.get((n, z)) for n in range(len(order)) for z in range(depth)]
    else:
        frames = [of_cell.get((n, z)) for z in range(depth) for n in range(len(order))]
    lead = ("segment",) if several else ()
    values = dict(grid.values)
    if several:
        values["segment"] = {"values": list(order), "unit": "", "keywords": [SEGMENT]}
    return VolumePlan(
        volume_id=volume_id(stack, options, [grid.shape, grid.affine, grid.corner, several,
                                             source]),
        series_uid=first.series_uid,
        axes=(*lead, "z" if grid.affine else "i", "y", "x"),
        shape=(*(len(order) for _ in lead), *grid.shape), dtype=label_dtype(stack),
        frames=tuple(frames),
        verdict=_verdict(grid, about, overlap=several and about.kind == "BINARY"),
        affine_lps=grid.affine, spacing_mm=(*(None for _ in lead), *grid.spacing),
        rescale=label_rescale(about), padding=None, patient_key=patient_of(first),
        orientation=tuple(anatomical_directions(grid.affine)) if grid.affine else (),
        axes_values=values, notes=_notes(grid, about, stack),
        labels=Labels(about, 1 if several else len(order), grid.corner, source),
    )  # fmt: skip


def _pictures(stack: Sequence[Frame], about: Segmentation, options: Options) -> VolumePlan:
    """Keep frames that have no cells of their own; label maps stay such."""
    why = "Several frames of a segment share a place." if is_placed(stack[0]) else ""
    plan = plan_pictures(stack, options, why)
    if about.kind != "LABELMAP":
        return plan
    return replace(
        plan, dtype=label_dtype(stack), rescale=label_rescale(about), padding=None,
        labels=Labels(about, 1, (0, 0), None),
    )  # fmt: skip


def label_dtype(stack: Sequence[Frame]) -> str:
    """Return the smallest dtype of labels or fractions; that of a label map's pixels."""
    about = stack[0].segmentation
    assert about is not None
    if about.kind == "LABELMAP":
        return stack[0].spec.container
    largest = about.segments[-1].number if about.numbered else about.maximum
    return "uint8" if largest < 256 else "uint16"


def label_rescale(about: Segmentation) -> Rescale:
    """Return how voxels become fractions of 1; labels are what they are."""
    if about.kind == "FRACTIONAL" and about.maximum > 1:
        return Rescale(1 / about.maximum, 0.0, "", "attributes")
    return Rescale(1.0, 0.0, "", "integer")


def _notes(grid: _Place, about: Segmentation, stack: Sequence[Frame]) -> tuple[str, ...]:
    """Tell if voxels that no frame covers seem to be of a segment."""
    covered = len(stack) * stack[0].spec.rows * stack[0].spec.columns
    if about.background is None and about.segments[0].number == 0 and covered < prod(grid.shape):
        return ("Voxels that no frame covers hold 0, which is also the number of a segment.",)
    return ()


def _verdict(grid: _Place, about: Segmentation, *, overlap: bool) -> Verdict:
    count = len(about.drawn)
    where = "on a grid of its own: the series that it refers to is not here, or does not fit"
    if grid.source:
        where = "on the grid of the series that it refers to"
    together = "overlapping" if overlap else "none overlapping another"
    if about.kind == "FRACTIONAL":
        together = "as fractions"
    named = "1 segment" if count == 1 else f"{count} segments, {together}"
    numbers = {
        **grid.verdict.numbers, "missing": [],
        "grid": "referenced" if grid.source else "own", "segments": count, "overlap": overlap,
    }  # fmt: skip
    code = "regular" if grid.verdict.code == "gapped" else grid.verdict.code
    return Verdict(code, numbers, f"A segmentation of {named}, {where}.")


# ------------------------------------------------------------------------------------------- grid


def _find_place(
    stack: Sequence[Frame],
    about: Segmentation,
    grids: Sequence[Grid],
    tolerances: Tolerances,
) -> _Place:
    first = stack[0]
    if not is_placed(first):
        verdict = Verdict("single", {"slices": 1}, "")
        return _Place((1, first.spec.rows, first.spec.columns), (0,) * len(stack), verdict)
    for grid in grids:
        if grid.series_uid in about.references:
            place = _fit(stack, grid, tolerances)
            if place is not None:
                return place
    return _own_grid(stack, tolerances)


def _fit(stack: Sequence[Frame], grid: Grid, tolerances: Tolerances) -> _Place | None:
    """Lay frames on the lattice of a volume, None if they do not lie on it."""
    first = stack[0]
    if grid.frame_of_reference_uid != first.frame_of_reference_uid:
        return None
    affine: np.ndarray = np.array(grid.affine_lps)
    depth, rows, columns = grid.shape
    spec = first.spec
    step = affine[:3, 0].tolist()
    ours: np.ndarray = np.array(
        affine_lps((0, 0, 0), first.orientation or (), first.pixel_spacing or (), step)
    )
    corners = (ours - affine)[:3, 1:3] * (spec.rows, spec.columns)
    if np.abs(corners).max() > tolerances.in_plane_mm:
        return None
    points = np.array([frame.position for frame in stack]).T - affine[:3, 3:]
    index = np.linalg.solve(affine[:3, :3], points)
    nearest = np.rint(index).astype(int)
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    off = np.abs(index - nearest).max(axis=1) * sizes
    z, (y, x) = nearest[0], nearest[1:, 0]
    if (
        off[0] > min(tolerances.z_mm, sizes[0] / 4)
        or off[1:].max() > tolerances.in_plane_mm
        or np.ptp(nearest[1:], axis=1).any()
        or z.min() < 0 or z.max() >= depth
        or y < 0 or x < 0 or y + spec.rows > rows or x + spec.columns > columns
    ):  # fmt: skip
        return None
    numbers = {name: value for name, value in grid.verdict.numbers.items()
               if name.startswith(("spacing", "shear", "tolerances"))}  # fmt: skip
    return _Place(
        grid.shape, tuple(z.tolist()), Verdict(grid.verdict.code, numbers, ""),
        grid.affine_lps, grid.spacing_mm, (int(y), int(x)), source=grid,
    )  # fmt: skip


def _own_grid(stack: Sequence[Frame], tolerances: Tolerances) -> _Place:
    first = stack[0]
    orientation, spacing = first.orientation or (), first.pixel_spacing or (1.0, 1.0)
    positions = [frame.position or (0.0, 0.0, 0.0) for frame in stack]
    places = find_places(positions, orientation, spacing, tolerances)
    flat = (1, first.spec.rows, first.spec.columns)
    if lie_beside(positions, places, tolerances):  # no grid: each frame at the same cell, refused
        return _Place(flat, (0,) * len(stack), Verdict("single", {}, ""))
    at = {place: min(p for p, where in zip(positions, places, strict=True) if where == place)
          for place in sorted(set(places))}  # fmt: skip
    placement = place_slices(list(at.values()), orientation, first.slice_thickness, tolerances)
    values: dict[str, Any] = {}
    if not placement.even:
        unit = np.array(placement.step) / np.linalg.norm(placement.step)
        along = [float(np.dot(position, unit)) for position in at.values()]
        values["z"] = {"values": along, "unit": "mm"}
    return _Place(
        (placement.count, *flat[1:]), tuple(placement.cells[place] for place in places),
        placement.verdict, affine_lps(at[0], orientation, spacing, placement.step),
        (placement.spacing_mm, *spacing), values=values,
    )  # fmt: skip


# ---------------------------------------------------------------------------------------- overlap


def segments_overlap(
    stack: Sequence[Frame], cells: Sequence[Hashable], drawn: Drawn | None
) -> bool:
    """Tell whether a pixel is in several segments, by looking: headers may be wrong or silent."""
    by_cell: dict[Hashable, list[Frame]] = defaultdict(list)
    for cell, frame in zip(cells, stack, strict=True):
        by_cell[cell].append(frame)
    for frames in by_cell.values():
        if len(frames) == 1:
            continue
        if drawn is None:
            return True
        try:
            taken = 0
            for frame in frames:
                here = drawn(frame)
                if taken & here:
                    return True
                taken |= here
        except BadInstanceError:
            return True  # decoding it for good tells why
    return False
