"""Where voxels are in the patient: edges, corners, directions and the words for them.

LPS millimetres throughout; indices and affines are those of (z, y, x).
"""

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from sansfilm.errors import OptionError

if TYPE_CHECKING:
    from sansfilm.view.volume import Volume

_WORDS = (
    ("right-to-left", "left-to-right"),
    ("anterior-to-posterior", "posterior-to-anterior"),
    ("inferior-to-superior", "superior-to-inferior"),
)
"""OME-NGFF RFC-4: the way up and the way down of patient x, y and z."""


def placed_affine(volume: "Volume", level: int, cure: str) -> np.ndarray:
    """Return the affine of a level; OptionError, with the cure, for images without a place."""
    affine = volume.affine(level)
    if affine is None:
        raise OptionError(f"these images have no place in the patient: use {cure}")
    return affine


def uneven_places(volume: "Volume") -> np.ndarray | None:
    """Return where uneven slices lie, counted in the affine's steps along z; None if even."""
    uneven, affine = volume.attributes["axes_values"].get("z"), volume.affine_lps
    if uneven is None or affine is None:
        return None
    step = affine[:3, 0]
    length = np.linalg.norm(step)
    return np.asarray((np.asarray(uneven["values"]) - affine[:3, 3] @ step / length) / length)


def voxel_edges(volume: "Volume", level: int = 0) -> list[np.ndarray]:
    """Return where the voxels of a level begin and end along z, y and x, in its indices.

    Between uneven slices the edge is in the middle; they are the same on every level.
    """
    shape = volume.levels[level].shape[-3:]
    edges = [np.arange(size + 1) - 0.5 for size in shape]
    where = uneven_places(volume)
    if where is not None:
        gaps = np.diff(where) / 2
        edges[0] = np.concatenate([where[:1] - gaps[:1], where[:-1] + gaps, where[-1:] + gaps[-1:]])
    return edges


def corners(affine: np.ndarray, spans: Any) -> np.ndarray:
    """Return where an affine maps the 8 corners of a box to; shape (8, 3)."""
    found = np.array([[*corner, 1.0] for corner in product(*spans)])
    return np.asarray((found @ affine.T)[:, :3])


def outline(volume: "Volume") -> np.ndarray:
    """Return the 8 outer corners of the outermost voxels of level 0; shape (8, 3)."""
    affine = placed_affine(volume, 0, "to_xarray")
    return corners(affine, [(edge[0], edge[-1]) for edge in voxel_edges(volume)])


def nearest_axes(steps: np.ndarray) -> list[int]:
    """Return for each patient axis (x, y, z) the array axis that runs most nearly along it."""
    strength = np.abs(steps / np.linalg.norm(steps, axis=0))
    found = [0, 0, 0]
    for _ in range(3):
        patient, axis = np.unravel_index(int(np.argmax(strength)), (3, 3))
        found[int(patient)] = int(axis)
        strength[patient, :] = -1
        strength[:, axis] = -1
    return found


def directions(steps: np.ndarray) -> list[str]:
    """Return the nearest anatomical direction of each array axis, in the words of RFC-4."""
    words = ["", "", ""]
    for patient, axis in enumerate(nearest_axes(steps)):
        words[axis] = _WORDS[patient][int(steps[patient, axis] < 0)]
    return words


def upright(steps: np.ndarray) -> np.ndarray:
    """Return unit vectors (columns z, y, x) at right angles: rows stay, shear goes."""
    across = steps[:, 2] / np.linalg.norm(steps[:, 2])
    down = steps[:, 1] - across * (steps[:, 1] @ across)
    down /= np.linalg.norm(down)
    normal = np.cross(across, down)
    return np.column_stack([normal * np.sign(normal @ steps[:, 0]), down, across])


def is_sheared(affine: np.ndarray) -> bool:
    """Tell whether the axes are not at right angles, beyond what DICOM's digits explain."""
    direction = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return not np.allclose(direction.T @ direction, np.eye(3), atol=1e-3)
