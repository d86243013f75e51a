"""Volumes on other lattices: even and upright, along any plane, and projections of slabs."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import sansfilm_kernels as kernels
from sansfilm.errors import OptionError
from sansfilm.view.derived import derive
from sansfilm.view.devices import placing
from sansfilm.view.exits import modality_values
from sansfilm.view.lattices import (
    HAIR,
    Lattice,
    cover,
    finest_of,
    frame_of,
    natural_step,
    spacings_of,
    steps_of,
)
from sansfilm.view.values import modality_padding, modality_range
from sansfilm.view.world import (
    corners,
    is_sheared,
    outline,
    placed_affine,
    uneven_places,
    upright,
    voxel_edges,
)

if TYPE_CHECKING:
    from sansfilm.view.volume import Volume

PROJECTIONS = {"max": "Largest values", "min": "Smallest values", "mean": "Means"}


@dataclass(frozen=True, slots=True)
class _Source:
    """The values of a level, and how they are to be sampled.

    `reduces` is how several become one: mean, mode of label maps, "" where none shall.
    """

    values: Any
    affine: np.ndarray
    method: Any
    reduces: Any
    padding: tuple[float, float] | None
    fill: float
    ends: list[float]
    places: list[float] | None

    def sample(self, lattice: Lattice) -> Any:
        """Return the values at the points of a lattice."""
        return kernels.resample(
            self.values, lattice.index_matrix(self.affine), lattice.shape, method=self.method,
            padding=self.padding, fill=self.fill, ends=self.ends, places=self.places,
        )  # fmt: skip

    def sample_finely(self, lattice: Lattice, times: tuple[int, int, int], method: Any) -> Any:
        """Return what `method` makes of several points in the place of each; on the host."""
        if max(times) == 1:
            return kernels.to_host(self.sample(lattice))
        fine, found = lattice.thinner(times), []
        for first in range(0, fine.shape[0], times[0]):
            planes = self.sample(fine.planes(first, times[0]))
            factors = [1] * (planes.ndim - 3) + list(times)
            found.append(
                kernels.to_host(
                    kernels.downsample(planes, factors, method=method, padding=self.padding)
                )
            )
        return np.concatenate(found, axis=-3)


def resample(
    volume: "Volume", spacing_mm: Any, method: str | None, level: int | None, device: str
) -> "Volume":
    """See Volume.resample."""
    spacing = spacings_of(spacing_mm, 3)
    affine = placed_affine(volume, 0, "to_xarray")
    lattice = cover(volume, upright(affine[:3, :3]), spacing)
    source, told = _source(volume, lattice, spacing, method, level, device)
    values = kernels.to_host(source.sample(lattice))
    how = f"Resampled to {_size(spacing)}{told}"
    return derive(volume, values, lattice.affine, how=how, padding=source.padding)


def mpr(
    volume: "Volume", plane: Any, spacing_mm: Any, at: Any, method: str | None, level: int | None,
    device: str,
) -> "Volume":  # fmt: skip
    """See Volume.mpr."""
    frame, name = frame_of(plane)
    spacing = np.full(3, finest_of(volume)) if spacing_mm is None else spacings_of(spacing_mm, 3)
    lattice = cover(volume, frame, spacing, at)
    smallest = float(spacing.min())
    # Planes are thin, but what lies between their own rows and columns counts.
    down, across = (
        max(1, math.floor(size / max(smallest, natural_step(volume, axis)) + HAIR))
        for size, axis in zip(spacing[1:], frame.T[1:], strict=True)
    )
    times = (1, 1, 1) if method == "nearest" else (1, down, across)
    fine = lattice.thinner(times)
    source, told = _source(volume, fine, np.full(3, smallest), method, level, device)
    values = source.sample_finely(lattice, times, source.reduces)
    how = f"Cut into {name} planes of {_size(spacing)}{_at(at)}{told}"
    return derive(volume, values, lattice.affine, how=how, padding=source.padding)


def mip(
    volume: "Volume", plane: Any, slab_mm: float | None, kind: str, spacing_mm: Any, at: Any,
    level: int | None, device: str,
) -> "Volume":  # fmt: skip
    """See Volume.mip."""
    if kind not in PROJECTIONS:
        raise OptionError(f"kind is {', '.join(PROJECTIONS)}, got {kind!r}")
    if slab_mm is None and at is not None:
        raise OptionError("a projection through a point needs slab_mm, how thick it is")
    frame, name = frame_of(plane)
    pixel = np.full(2, finest_of(volume)) if spacing_mm is None else spacings_of(spacing_mm, 2)
    whole = float(np.ptp(outline(volume) @ frame[:, 0]))
    slab = whole if slab_mm is None else float(spacings_of(slab_mm, 1)[0])
    lattice = cover(volume, frame, np.array([slab, *pixel]), at)
    sizes = (slab, float(pixel[0]), float(pixel[1]))
    depth, down, across = (
        max(1, math.ceil(size / natural_step(volume, axis) - HAIR))
        for size, axis in zip(sizes, frame.T, strict=True)
    )
    times = depth, down, across
    smallest = min(size / many for size, many in zip(sizes, times, strict=True))
    fine = lattice.thinner(times)
    source, told = _source(volume, fine, np.full(3, smallest), None, level, device)
    values = source.sample_finely(lattice, times, kind)
    how = f"{PROJECTIONS[kind]} of {name} slabs of {slab:.4g} mm{_at(at)}{told}"
    return derive(volume, values, lattice.affine, how=how, padding=source.padding)


def _source(
    volume: "Volume", lattice: Lattice, spacing: np.ndarray, method: str | None,
    level: int | None, device: str,
) -> tuple[_Source, str]:  # fmt: skip
    """Read the level to sample from, reduced where the lattice is coarser than half of it."""
    put = placing(device)
    labels = is_label_map(volume)
    if method not in (None, "linear", "nearest"):
        raise OptionError(f"method is linear or nearest, got {method!r}")
    chosen = method or ("nearest" if labels else "linear")
    reduces: Any = "mode" if labels else "mean" if chosen == "linear" else ""
    if level is None:
        level = _level_for(volume, spacing) if reduces else 0
    affine, factors = placed_affine(volume, level, "to_xarray"), np.ones(3)
    _check_line(volume)
    values = put(modality_values(volume, level))
    padding = modality_padding(volume)
    where = uneven_places(volume)
    if reduces:
        factors = np.maximum(np.floor(spacing / steps_of(volume, level) + HAIR), 1)
        if where is not None:
            factors[0] = 1
    if factors.max() > 1:
        whole = [1] * (values.ndim - 3) + factors.astype(int).tolist()
        values = kernels.downsample(values, whole, method=reduces, padding=padding)
        affine = affine @ np.diag([*factors, 1])
        affine[:3, 3] += affine[:3, :3] @ ((factors - 1) / 2 / factors)
    shape = np.array(volume.levels[0].shape[-3:])
    total = volume.factors(level)[-3:] * factors
    ends = (shape / total - 0.5).tolist()
    values, padding, fill = _with_fill(volume, values, padding, affine, lattice)
    places = None if where is None else where.tolist()
    source = _Source(values, affine, chosen, reduces, padding, fill, ends, places)
    kind = f"{volume.verdict.code} volume"
    reduced = f", {'x'.join(f'{n:g}' for n in total)} voxels together" if total.max() > 1 else ""
    return source, f", {chosen}, of a {kind}{reduced}."


def _level_for(volume: "Volume", spacing: np.ndarray) -> int:
    """Return the coarsest level whose voxels are nowhere larger than is asked for."""
    levels = range(len(volume.ome["multiscales"][0]["datasets"]))
    fits = [n for n in levels if (steps_of(volume, n) <= spacing * (1 + HAIR)).all()]
    return fits[-1] if fits else 0


def is_label_map(volume: "Volume") -> bool:
    """Tell whether voxels are the numbers of segments, of which there is no mean."""
    return "image-label" in volume.ome


def _check_line(volume: "Volume") -> None:
    """Refuse slices whose places are on no line: no affine says where they are."""
    where = uneven_places(volume)
    if where is None:
        return
    affine, frames = placed_affine(volume, 0, "to_xarray"), volume.frames
    z = np.stack(list(frames["index"]))[:, -1].astype(int)
    known = affine[:3, 3] + np.outer(where[z], affine[:3, 0])
    allowed = volume.verdict.numbers["tolerances"]["in_plane_mm"]
    off = float(np.linalg.norm(np.stack(list(frames["position"])) - known, axis=1).max())
    if off > max(allowed, 1e-3):
        raise OptionError(
            f"slices are offset sideways by up to {off:.2f} mm, on no line: take the even ones "
            "with to_xarray().isel(z=...)"
        )


def _with_fill(
    volume: "Volume", values: Any, padding: tuple[float, float] | None, affine: np.ndarray,
    lattice: Lattice,
) -> tuple[Any, tuple[float, float] | None, float]:  # fmt: skip
    """Choose what voxels without data hold, in a dtype that can: one below the lowest value.

    NaN for fractional values, the background of label maps, black in colour.
    """
    if padding is not None:
        return values, padding, padding[0]
    if is_label_map(volume):
        background = volume.attributes["segmentation"].get("background") or 0
        return values, None, background
    if "c" in volume.axes or _all_inside(volume, affine, lattice):
        return values, None, 0
    if values.dtype.kind == "f":
        return values, (math.nan, math.nan), math.nan
    fill = math.floor(modality_range(volume)[0]) - 1
    for dtype in (values.dtype, "int16", "int32", "float64"):
        kind = np.dtype(dtype)
        fits = np.can_cast(values.dtype, kind)
        if fits and (kind.kind == "f" or np.iinfo(kind).min <= fill):
            return values.astype(kind, copy=False), (fill, fill), fill
    raise AssertionError(values.dtype)


def _all_inside(volume: "Volume", affine: np.ndarray, lattice: Lattice) -> bool:
    """Tell whether the centre of every voxel of a lattice is in the volume."""
    if is_sheared(affine):
        return False
    edges = voxel_edges(volume)
    origin = placed_affine(volume, 0, "to_xarray")
    last = [[0, size - 1] for size in lattice.shape]
    points = corners(np.linalg.inv(origin) @ lattice.affine, last)
    return all(
        bool((edge[0] - HAIR <= along).all() and (along <= edge[-1] + HAIR).all())
        for edge, along in zip(edges, points.T, strict=True)
    )


def _at(at: Any) -> str:
    return "" if at is None else f" through ({', '.join(f'{float(part):.4g}' for part in at)})"


def _size(spacing: np.ndarray) -> str:
    return f"{' x '.join(f'{size:.4g}' for size in spacing)} mm"
