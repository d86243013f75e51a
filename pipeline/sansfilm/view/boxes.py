"""Boxes of the patient, in LPS millimetres -> the part of a level that covers them."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sansfilm.errors import OptionError
from sansfilm.view.world import corners, voxel_edges

if TYPE_CHECKING:
    import xarray as xr

    from sansfilm.view.volume import Volume

_HAIR = 1e-6
"""What a box may reach into a voxel by rounding alone, in voxels."""


def sel_mm(volume: "Volume", level: int, box: Mapping[str, Any]) -> "xr.DataArray":
    """See Volume.sel_mm."""
    affine = volume.affine(level)
    if affine is None:
        raise OptionError("these images have no place in the patient: use to_xarray().sel")
    ends = [_ends(name, box[name]) for name in "xyz"]
    array = volume.to_xarray(level)
    edges = voxel_edges(volume, level)
    outline = corners(affine, [(edge[0], edge[-1]) for edge in edges])
    spans = list(zip(outline.min(axis=0), outline.max(axis=0), strict=True))
    whole = [
        (low if a is None else a, high if b is None else b)
        for (a, b), (low, high) in zip(ends, spans, strict=True)
    ]
    indices = corners(np.linalg.inv(affine), whole)
    chosen = [
        _cells(edge, low, high)
        for edge, low, high in zip(edges, indices.min(axis=0), indices.max(axis=0), strict=True)
    ]
    if any(cells.stop <= cells.start for cells in chosen):
        there = ", ".join(
            f"{name} {low:.1f} to {high:.1f}"
            for name, (low, high) in zip("xyz", spans, strict=True)
        )
        raise OptionError(f"nothing of the volume is in this box; it spans {there} mm")
    first = np.array([cells.start for cells in chosen])
    part = array.isel(dict(zip("zyx", chosen, strict=True)))
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ first
    return part.assign_attrs(affine_lps=moved.tolist(), first_index=first.tolist())


def _ends(name: str, side: Any) -> tuple[float | None, float | None]:
    """Return where a side of the box begins and ends; a number is a place."""
    if side is None:
        return None, None
    low, high = (side.start, side.stop) if isinstance(side, slice) else (side, side)
    try:
        found = [None if end is None else float(end) for end in (low, high)]
    except (TypeError, ValueError):
        found = [math.nan]
    known = [end for end in found if end is not None]
    if getattr(side, "step", None) is not None or not all(map(math.isfinite, known)):
        raise OptionError(f"{name} is slice(from, to) or a number, in mm, got {side!r}")
    if len(known) == 2 and known[1] < known[0]:
        raise OptionError(f"{name} ends before it begins: {known[0]:g} to {known[1]:g}")
    return found[0], found[1]


def _cells(edges: np.ndarray, low: float, high: float) -> slice:
    """Return the voxels between whose edges some of a span lies; one for a place."""
    hair = min(_HAIR, (high - low) / 2)
    start = int(np.searchsorted(edges, low + hair, side="right")) - 1
    stop = int(np.searchsorted(edges, high - hair, side="left"))
    return slice(max(start, 0), min(max(stop, start + 1), len(edges) - 1))
