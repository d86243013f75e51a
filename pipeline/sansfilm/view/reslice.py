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

PLANES = {"axial": (0.0, 0.0, 1.0), "coronal": (0.0, 1.0, 0.0), "sagittal": (-1.0, 0.0, 0.0)}
"""Normals, LPS: the patient's right is on the left of axial and coronal planes, anterior on the
left of sagittal ones."""
PROJECTIONS = {"max": "Largest values", "min": "Smallest values", "mean": "Means"}

_HAIR = 1e-6
"""What rounding alone makes of a length, in voxels."""
_DRIFT = 1e-3
"""What may be left out of a matrix, in voxels over the whole lattice."""
_MOST_GIB = 16


@dataclass(frozen=True, slots=True)
class _Lattice:
    """Where the voxels of a volume to be are: how many along (z, y, x), and their affine."""

    shape: tuple[int, int, int]
    affine: np.ndarray

    def planes(self, first: int, many: int) -> "_Lattice":
        """Return some of the planes along z."""
        moved = self.affine.copy()
        moved[:3, 3] += moved[:3, 0] * first
        return _Lattice((many, *self.shape[1:]), moved)

    def thinner(self, times: int) -> "_Lattice":
        """Return a lattice with several planes in the place of each along z."""
        moved = self.affine.copy()
        moved[:3, 3] -= moved[:3, 0] * (1 - 1 / times) / 2
        moved[:3, 0] /= times
        return _Lattice((self.shape[0] * times, *self.shape[1:]), moved)


@dataclass(frozen=True, slots=True)
class _Source:
    """The values of a level, and how they are to be sampled."""

    values: Any
    affine: np.ndarray
    method: Any
    padding: tuple[float, float] | None
    fill: float
    ends: list[float]
    places: list[float] | None

    def sample(self, lattice: _Lattice) -> Any:
        """Return the values at the points of a lattice."""
        return kernels.resample(
            self.values, _index_matrix(self.affine, lattice), lattice.shape, method=self.method,
            padding=self.padding, fill=self.fill, ends=self.ends, places=self.places,
        )  # fmt: skip


def resample(
    volume: "Volume", spacing_mm: Any, method: str | None, level: int | None, device: str
) -> "Volume":
    """See Volume.resample."""
    spacing = _spacings(spacing_mm, 3)
    affine = placed_affine(volume, 0, "to_xarray")
    lattice = _cover(volume, upright(affine[:3, :3]), spacing)
    source, told = _source(volume, lattice, spacing, method, level, device)
    how = f"Resampled to {_size(spacing)}{told}"
    return _derived(volume, source.sample(lattice), lattice, source, how)


def mpr(
    volume: "Volume", plane: Any, spacing_mm: Any, at: Any, method: str | None, level: int | None,
    device: str,
) -> "Volume":  # fmt: skip
    """See Volume.mpr."""
    frame, name = _frame(plane)
    spacing = np.full(3, _finest(volume)) if spacing_mm is None else _spacings(spacing_mm, 3)
    lattice = _cover(volume, frame, spacing, at)
    source, told = _source(volume, lattice, np.full(3, spacing.min()), method, level, device)
    how = f"Cut into {name} planes of {_size(spacing)}{_at(at)}{told}"
    return _derived(volume, source.sample(lattice), lattice, source, how)


def mip(
    volume: "Volume", plane: Any, slab_mm: float | None, kind: Any, spacing_mm: Any, at: Any,
    level: int | None, device: str,
) -> "Volume":  # fmt: skip
    """See Volume.mip."""
    if kind not in PROJECTIONS:
        raise OptionError(f"kind is {', '.join(PROJECTIONS)}, got {kind!r}")
    if slab_mm is None and at is not None:
        raise OptionError("a projection through a point needs slab_mm, how thick it is")
    frame, name = _frame(plane)
    pixel = np.full(2, _finest(volume)) if spacing_mm is None else _spacings(spacing_mm, 2)
    whole = float(np.ptp(outline(volume) @ frame[:, 0]))
    slab = whole if slab_mm is None else float(_spacings(slab_mm, 1)[0])
    lattice = _cover(volume, frame, np.array([slab, *pixel]), at)
    many = max(1, math.ceil(slab / _natural_step(volume, frame[:, 0]) - _HAIR))
    fine = lattice.thinner(many)
    source, told = _source(volume, fine, np.full(3, min(slab / many, *pixel)), None, level, device)
    slabs = []
    for first in range(0, fine.shape[0], many):
        planes = source.sample(fine.planes(first, many))
        factors = [1] * (planes.ndim - 3) + [many, 1, 1]
        slabs.append(
            kernels.to_host(
                kernels.downsample(planes, factors, method=kind, padding=source.padding)
            )
        )
    how = f"{PROJECTIONS[kind]} of {name} slabs of {slab:.4g} mm{_at(at)}{told}"
    return _derived(volume, np.concatenate(slabs, axis=-3), lattice, source, how)


# ------------------------------------------------------------------------------------- lattices


def _spacings(given: Any, many: int) -> np.ndarray:
    """Return one or several distances, mm, checked."""
    try:
        found = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        found = np.array([np.nan])
    if found.shape not in ((), (many,)) or not (np.isfinite(found).all() and (found > 0).all()):
        choices = {1: "a number", 2: "a number or two (y, x)", 3: "a number or three (z, y, x)"}
        raise OptionError(f"millimetres are {choices[many]} above 0, got {given!r}")
    return np.asarray(np.broadcast_to(found, (many,)))


def _frame(plane: Any) -> tuple[np.ndarray, str]:
    """Return unit vectors (columns z, y, x) of planes that hang as radiologists hang them."""
    if isinstance(plane, str):
        if plane not in PLANES:
            raise OptionError(f"plane is {', '.join(PLANES)} or a normal (x, y, z), got {plane!r}")
        name, normal = plane, np.array(PLANES[plane])
    else:
        try:
            normal = np.asarray(plane, np.float64)
            length = float(np.linalg.norm(normal))
        except (TypeError, ValueError):
            length = math.nan
        if not (length > 0 and math.isfinite(length) and normal.shape == (3,)):
            raise OptionError(f"plane is {', '.join(PLANES)} or a normal (x, y, z), got {plane!r}")
        normal = normal / length
        name = f"({', '.join(f'{part:.3g}' for part in normal)})"
    # Down is the patient's feet, or the back where a plane is nearer to an axial one.
    down = np.array([0, 1.0, 0]) if np.argmax(np.abs(normal)) == 2 else np.array([0, 0, -1.0])
    down = down - normal * (down @ normal)
    down /= np.linalg.norm(down)
    return np.column_stack([normal, down, np.cross(down, normal)]), name


def _cover(volume: "Volume", frame: np.ndarray, spacing: np.ndarray, at: Any = None) -> _Lattice:
    """Return the lattice around the whole volume, or the one plane of it through a point.

    Edge to edge: what it is too large by is halved between both ends.
    """
    along = outline(volume) @ frame
    low, high = along.min(axis=0), along.max(axis=0)
    count = np.maximum(np.ceil((high - low) / spacing - _HAIR), 1)
    start = (low + high) / 2 - (count - 1) / 2 * spacing
    if at is not None:
        count[0], start[0] = 1, _point(at) @ frame[:, 0]
        if not low[0] <= start[0] <= high[0]:
            ends = f"along its normal the volume is at {low[0]:.1f} to {high[0]:.1f} mm"
            raise OptionError(f"no plane of the volume goes through {at}: {ends}")
    array = volume.array
    size = math.prod((*array.shape[:-3], *count)) * array.dtype.itemsize / 2**30
    if size > _MOST_GIB:
        cure = "choose larger distances, or a plane with at="
        raise OptionError(f"that would take {size:.0f} GiB of memory: {cure}")
    affine = np.eye(4)
    affine[:3, :3] = frame * spacing + 0.0  # no minus zero
    affine[:3, 3] = frame @ start
    return _Lattice((int(count[0]), int(count[1]), int(count[2])), affine)


def _point(at: Any) -> np.ndarray:
    try:
        point = np.asarray(at, np.float64)
    except (TypeError, ValueError):
        point = np.array([np.nan])
    if point.shape != (3,) or not np.isfinite(point).all():
        raise OptionError(f"at is a point (x, y, z) in LPS millimetres, got {at!r}")
    return point


def _steps(volume: "Volume", level: int = 0) -> np.ndarray:
    """Return the distances of voxels along z, y, x; of leaning and uneven slices the smallest."""
    affine = placed_affine(volume, level, "to_xarray")
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    steps[0] = abs(affine[:3, 0] @ upright(affine[:3, :3])[:, 0])
    where = uneven_places(volume)
    if where is not None:
        steps[0] *= np.diff(where).min()
    return np.asarray(steps)


def _finest(volume: "Volume") -> float:
    return float(_steps(volume).min())


def _natural_step(volume: "Volume", normal: np.ndarray) -> float:
    """Return how far apart samples along a line may be: as the voxels, if it runs along an axis."""
    steps = _steps(volume)
    axes = upright(placed_affine(volume, 0, "to_xarray")[:3, :3])
    along = np.abs(normal @ axes)
    return float(steps[along.argmax()] if along.max() > 1 - _HAIR else steps.min())


def _index_matrix(affine: np.ndarray, lattice: _Lattice) -> np.ndarray:
    """Return the matrix from an index of the lattice to one of the source; no hair in it.

    So voxels that stay where they are have whole numbers, and axes that stay parallel are.
    """
    matrix = (np.linalg.inv(affine) @ lattice.affine)[:3]
    reach = np.abs(matrix[:, :3]) * np.array(lattice.shape)
    matrix[:, :3][reach < _DRIFT] = 0
    return np.asarray(np.round(matrix, 9))


# --------------------------------------------------------------------------------------- values


def _source(
    volume: "Volume", lattice: _Lattice, spacing: np.ndarray, method: str | None,
    level: int | None, device: str,
) -> tuple[_Source, str]:  # fmt: skip
    """Read the level to sample from, reduced where the lattice is coarser than half of it."""
    put = placing(device)
    labels = is_label_map(volume)
    if method not in (None, "linear", "nearest"):
        raise OptionError(f"method is linear or nearest, got {method!r}")
    chosen = method or ("nearest" if labels else "linear")
    reduces = labels or chosen == "linear"
    if level is None:
        level = _level_for(volume, spacing) if reduces else 0
    affine, factors = placed_affine(volume, level, "to_xarray"), np.ones(3)
    _check_line(volume)
    values = put(modality_values(volume, level))
    padding = modality_padding(volume)
    where = uneven_places(volume)
    if reduces:
        factors = np.maximum(np.floor(spacing / _steps(volume, level) + _HAIR), 1)
        if where is not None:
            factors[0] = 1
    if factors.max() > 1:
        whole = [1] * (values.ndim - 3) + factors.astype(int).tolist()
        values = kernels.downsample(
            values, whole, method="mode" if labels else "mean", padding=padding
        )
        affine = affine @ np.diag([*factors, 1])
        affine[:3, 3] += affine[:3, :3] @ ((factors - 1) / 2 / factors)
    shape = np.array(volume.levels[0].shape[-3:])
    total = volume.factors(level)[-3:] * factors
    ends = (shape / total - 0.5).tolist()
    values, padding, fill = _with_fill(volume, values, padding, affine, lattice)
    places = None if where is None else where.tolist()
    source = _Source(values, affine, chosen, padding, fill, ends, places)
    kind = f"{volume.verdict.code} volume"
    reduced = f", {'x'.join(f'{n:g}' for n in total)} voxels together" if total.max() > 1 else ""
    return source, f", {chosen}, of a {kind}{reduced}."


def _level_for(volume: "Volume", spacing: np.ndarray) -> int:
    """Return the coarsest level whose voxels are nowhere larger than is asked for."""
    levels = range(len(volume.ome["multiscales"][0]["datasets"]))
    fits = [n for n in levels if (_steps(volume, n) <= spacing * (1 + _HAIR)).all()]
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
    lattice: _Lattice,
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


def _all_inside(volume: "Volume", affine: np.ndarray, lattice: _Lattice) -> bool:
    """Tell whether the centre of every voxel of a lattice is in the volume."""
    if is_sheared(affine):
        return False
    edges = voxel_edges(volume)
    origin = placed_affine(volume, 0, "to_xarray")
    last = [[0, size - 1] for size in lattice.shape]
    points = corners(np.linalg.inv(origin) @ lattice.affine, last)
    return all(
        bool((edge[0] - _HAIR <= along).all() and (along <= edge[-1] + _HAIR).all())
        for edge, along in zip(edges, points.T, strict=True)
    )


def _derived(
    volume: "Volume", values: Any, lattice: _Lattice, source: _Source, how: str
) -> "Volume":
    host = kernels.to_host(values)
    return derive(volume, host, lattice.affine, how=how, padding=source.padding)


def _at(at: Any) -> str:
    return "" if at is None else f" through ({', '.join(f'{float(part):.4g}' for part in at)})"


def _size(spacing: np.ndarray) -> str:
    return f"{' x '.join(f'{size:.4g}' for size in spacing)} mm"
