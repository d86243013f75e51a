"""Where the voxels of a volume to be lie: even lattices around another one, and planes of them."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sansfilm.errors import OptionError
from sansfilm.view.world import outline, placed_affine, uneven_places, upright

if TYPE_CHECKING:
    from sansfilm.view.volume import Volume

PLANES = {"axial": (0.0, 0.0, 1.0), "coronal": (0.0, 1.0, 0.0), "sagittal": (-1.0, 0.0, 0.0)}
"""Normals, LPS: the patient's right is on the left of axial and coronal planes, anterior on the
left of sagittal ones."""

HAIR = 1e-6
"""What rounding alone makes of a length, in voxels."""
_DRIFT = 1e-3
"""What may be left out of a matrix, in voxels over the whole lattice."""
_MOST_GIB = 16


@dataclass(frozen=True, slots=True)
class Lattice:
    """Where the voxels of a volume to be are: how many along (z, y, x), and their affine."""

    shape: tuple[int, int, int]
    affine: np.ndarray

    def planes(self, first: int, many: int) -> "Lattice":
        """Return some of the planes along z."""
        moved = self.affine.copy()
        moved[:3, 3] += moved[:3, 0] * first
        return Lattice((many, *self.shape[1:]), moved)

    def thinner(self, times: tuple[int, int, int]) -> "Lattice":
        """Return a lattice with several voxels in the place of each, along z, y, x."""
        many = np.array(times)
        moved = self.affine.copy()
        moved[:3, 3] -= moved[:3, :3] @ ((1 - 1 / many) / 2)
        moved[:3, :3] /= many
        depth, rows, columns = self.shape
        return Lattice((depth * times[0], rows * times[1], columns * times[2]), moved)

    def index_matrix(self, affine: np.ndarray) -> np.ndarray:
        """Return the matrix from an index here to one of a volume; no hair in it.

        So voxels that stay where they are have whole numbers, and axes that stay parallel are.
        """
        matrix = (np.linalg.inv(affine) @ self.affine)[:3]
        reach = np.abs(matrix[:, :3]) * np.array(self.shape)
        matrix[:, :3][reach < _DRIFT] = 0
        return np.asarray(np.round(matrix, 9))


def spacings_of(given: Any, many: int) -> np.ndarray:
    """Return one or several distances, mm, checked."""
    try:
        found = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        found = np.array([np.nan])
    if found.shape not in ((), (many,)) or not (np.isfinite(found).all() and (found > 0).all()):
        choices = {1: "a number", 2: "a number or two (y, x)", 3: "a number or three (z, y, x)"}
        raise OptionError(f"millimetres are {choices[many]} above 0, got {given!r}")
    return np.asarray(np.broadcast_to(found, (many,)))


def frame_of(plane: Any) -> tuple[np.ndarray, str]:
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


def cover(volume: "Volume", frame: np.ndarray, spacing: np.ndarray, at: Any = None) -> Lattice:
    """Return the lattice around the whole volume, or the one plane of it through a point.

    Edge to edge: what it is too large by is halved between both ends.
    """
    along = outline(volume) @ frame
    low, high = along.min(axis=0), along.max(axis=0)
    count = np.maximum(np.ceil((high - low) / spacing - HAIR), 1)
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
    return Lattice((int(count[0]), int(count[1]), int(count[2])), affine)


def _point(at: Any) -> np.ndarray:
    try:
        point = np.asarray(at, np.float64)
    except (TypeError, ValueError):
        point = np.array([np.nan])
    if point.shape != (3,) or not np.isfinite(point).all():
        raise OptionError(f"at is a point (x, y, z) in LPS millimetres, got {at!r}")
    return point


def steps_of(volume: "Volume", level: int = 0) -> np.ndarray:
    """Return the distances of voxels along z, y, x; of leaning and uneven slices the smallest."""
    affine = placed_affine(volume, level, "to_xarray")
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    steps[0] = abs(affine[:3, 0] @ upright(affine[:3, :3])[:, 0])
    where = uneven_places(volume)
    if where is not None:
        steps[0] *= np.diff(where).min()
    return np.asarray(steps)


def finest_of(volume: "Volume") -> float:
    """Return the smallest distance of voxels, mm."""
    return float(steps_of(volume).min())


def natural_step(volume: "Volume", normal: np.ndarray) -> float:
    """Return how far apart samples along a line may be: as the voxels, if it runs along an axis."""
    steps = steps_of(volume)
    axes = upright(placed_affine(volume, 0, "to_xarray")[:3, :3])
    along = np.abs(normal @ axes)
    return float(steps[along.argmax()] if along.max() > 1 - HAIR else steps.min())
