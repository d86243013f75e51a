"""The frames of one segmentation -> its plan: on which grid, and whether its segments overlap.

The reasons are in docs/decisions/0006-segmentations.md.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sansfilm.errors import BadInstanceError
from sansfilm.model import (
    Frame,
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

Pixels = Callable[[Frame], np.ndarray]
"""Stored values of a frame; BadInstanceError."""

SEGMENT = "ReferencedSegmentNumber"


@dataclass(frozen=True, slots=True)
class _Grid:
    """A lattice, and where on it the frames lie; `corner` is their first row and column."""

    shape: tuple[int, int, int]
    cells: tuple[int, ...]
    verdict: Verdict
    affine: Matrix | None = None
    spacing: tuple[float | None, ...] = (None, None, None)
    corner: tuple[int, int] = (0, 0)
    values: Mapping[str, Any] = field(default_factory=dict)
    source: VolumePlan | None = None


def plan_segmentation(
    stack: Sequence[Frame],
    volumes: Iterable[VolumePlan],
    options: Options,
    pixels: Pixels | None = None,
) -> VolumePlan:
    """Plan the frames of one segmentation that share an orientation.

    Parameters
    ----------
    volumes : iterable of VolumePlan
        What it may have been drawn on.
    pixels : callable, optional
        Asked whether segments overlap; without it they are kept apart.
    """
    first = stack[0]
    about = first.segmentation
    assert about is not None
    order = {segment.number: place for place, segment in enumerate(about.segments)}
    numbers = [int(frame.axes.get(SEGMENT) or 0) for frame in stack]
    if not all(number in order for number in numbers):
        why = "Some frames name no segment, or one that is not there."
        return plan_pictures(stack, options, why)
    grid = _find_grid(stack, about, volumes, options.tolerances)
    of_cell = {
        (order[number], cell): frame
        for number, cell, frame in zip(numbers, grid.cells, stack, strict=True)
    }
    if len(of_cell) < len(stack):
        return plan_pictures(stack, options, "Several frames of a segment share a place.")
    source = grid.source.key if grid.source else None
    several = about.kind == "FRACTIONAL" or _overlap(stack, grid.cells, pixels)
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
        shape=(*(len(order) for _ in lead), *grid.shape), dtype=_dtype(about), frames=tuple(frames),
        verdict=_verdict(grid, about, overlap=several and about.kind == "BINARY"),
        affine_lps=grid.affine, spacing_mm=(*(None for _ in lead), *grid.spacing),
        rescale=_rescale(about), padding=None, patient_key=patient_of(first),
        orientation=tuple(anatomical_directions(grid.affine)) if grid.affine else (),
        axes_values=values,
        labels=Labels(about, 1 if several else len(order), grid.corner, source),
    )  # fmt: skip


def _dtype(about: Segmentation) -> str:
    largest = about.maximum
    if about.kind == "BINARY":
        largest = about.segments[-1].number
    return "uint8" if largest < 256 else "uint16"


def _rescale(about: Segmentation) -> Rescale:
    if about.kind == "FRACTIONAL" and about.maximum > 1:
        return Rescale(1 / about.maximum, 0.0, "", "attributes")
    return Rescale(1.0, 0.0, "", "integer")


def _verdict(grid: _Grid, about: Segmentation, *, overlap: bool) -> Verdict:
    count = len(about.segments)
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


def _find_grid(
    stack: Sequence[Frame],
    about: Segmentation,
    volumes: Iterable[VolumePlan],
    tolerances: Tolerances,
) -> _Grid:
    first = stack[0]
    if not is_placed(first):
        verdict = Verdict("single", {"slices": 1}, "")
        return _Grid((1, first.spec.rows, first.spec.columns), (0,) * len(stack), verdict)
    for volume in sorted(volumes, key=lambda plan: (plan.series_uid, plan.volume_id)):
        if volume.series_uid in about.references:
            grid = _fit(stack, volume, tolerances)
            if grid is not None:
                return grid
    return _own_grid(stack, tolerances)


def _fit(stack: Sequence[Frame], volume: VolumePlan, tolerances: Tolerances) -> _Grid | None:
    """Lay frames on the lattice of a volume, None if they do not lie on it."""
    first = stack[0]
    same = volume.present[0].frame_of_reference_uid == first.frame_of_reference_uid
    if not same or volume.affine_lps is None or "z" in volume.axes_values:
        return None
    affine: np.ndarray = np.array(volume.affine_lps)
    depth, rows, columns = (volume.shape[volume.axes.index(axis)] for axis in "zyx")
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
    numbers = {name: value for name, value in volume.verdict.numbers.items()
               if name.startswith(("spacing", "shear", "tolerances"))}  # fmt: skip
    return _Grid(
        (depth, rows, columns), tuple(z.tolist()), Verdict(volume.verdict.code, numbers, ""),
        volume.affine_lps, tuple(volume.spacing_mm[-3:]), (int(y), int(x)), source=volume,
    )  # fmt: skip


def _own_grid(stack: Sequence[Frame], tolerances: Tolerances) -> _Grid:
    first = stack[0]
    orientation, spacing = first.orientation or (), first.pixel_spacing or (1.0, 1.0)
    positions = [frame.position or (0.0, 0.0, 0.0) for frame in stack]
    places = find_places(positions, orientation, spacing, tolerances)
    flat = (1, first.spec.rows, first.spec.columns)
    if lie_beside(positions, places, tolerances):  # no grid: each frame at the same cell, refused
        return _Grid(flat, (0,) * len(stack), Verdict("single", {}, ""))
    at = {place: min(p for p, where in zip(positions, places, strict=True) if where == place)
          for place in sorted(set(places))}  # fmt: skip
    placement = place_slices(list(at.values()), orientation, first.slice_thickness, tolerances)
    values: dict[str, Any] = {}
    if not placement.even:
        unit = np.array(placement.step) / np.linalg.norm(placement.step)
        along = [float(np.dot(position, unit)) for position in at.values()]
        values["z"] = {"values": along, "unit": "mm"}
    return _Grid(
        (placement.count, *flat[1:]), tuple(placement.cells[place] for place in places),
        placement.verdict, affine_lps(at[0], orientation, spacing, placement.step),
        (placement.spacing_mm, *spacing), values=values,
    )  # fmt: skip


# ---------------------------------------------------------------------------------------- overlap


def _overlap(stack: Sequence[Frame], cells: Sequence[int], pixels: Pixels | None) -> bool:
    """Tell whether a pixel is in several segments, by looking: headers may be wrong or silent."""
    by_cell: dict[int, list[Frame]] = defaultdict(list)
    for cell, frame in zip(cells, stack, strict=True):
        by_cell[cell].append(frame)
    for frames in by_cell.values():
        if len(frames) == 1:
            continue
        if pixels is None:
            return True
        try:
            taken = pixels(frames[0]) != 0
            for frame in frames[1:]:
                here = pixels(frame) != 0
                if (taken & here).any():
                    return True
                taken |= here
        except BadInstanceError:
            return True  # decoding it for good tells why
    return False
