"""Where slices are: pure maths on positions and orientations, in millimetres, LPS.

Order and spacing come from Image Position and Image Orientation (Patient) alone
(PS3.3 C.7.6.2.1.1); Instance Number, Slice Location and file names decide nothing.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from sansfilm.errors import ProblemCode
from sansfilm.model import Matrix, Verdict
from sansfilm.options import Tolerances

_LETTERS = (
    ("right-to-left", "left-to-right"),
    ("anterior-to-posterior", "posterior-to-anterior"),
    ("inferior-to-superior", "superior-to-inferior"),
)
_CODES = {
    ProblemCode.GEOMETRY_DUPLICATE: "duplicate",
    ProblemCode.GEOMETRY_SHEARED: "sheared",
    ProblemCode.GEOMETRY_GAPPED: "gapped",
    ProblemCode.GEOMETRY_VARIABLE: "variable",
}


@dataclass(frozen=True, slots=True)
class Placement:
    """A stack in order: indices into the input, and what its geometry is.

    `problem` is set when the stack is not one that can be stored as it is. `step` is the vector
    from one slice to the next, mm.
    """

    order: tuple[int, ...]
    verdict: Verdict
    spacing_mm: float
    step: tuple[float, float, float]
    problem: ProblemCode | None = None


def place_slices(
    positions: Sequence[Sequence[float]],
    orientation: Sequence[float],
    pixel_spacing: Sequence[float],
    thickness: float | None,
    tolerances: Tolerances,
) -> Placement:
    """Order the slices of a stack along its normal and judge their distances.

    A stack is regular when every slice lies where ``first + index * step`` says, within the
    tolerances, and no two neighbours differ in distance by more than that.

    Parameters
    ----------
    positions : sequence of (x, y, z)
        Image Position (Patient) of each slice, mm, LPS; any order.
    orientation : sequence of 6 floats
        Image Orientation (Patient) that they share: row direction, then column direction.
    pixel_spacing : sequence of 2 floats
        Between rows and between columns, mm: the scale on which two positions are one.
    thickness : float or None
        Slice Thickness, mm: the extent of a single slice.
    tolerances : Tolerances

    Returns
    -------
    Placement
        `order` sorts along the normal, ascending, so that (x, y, z) is right-handed. `step` is
        exactly (last - first) / (n - 1).
    """
    points = np.asarray(positions, dtype=np.float64)
    normal = _normal(orientation)
    depth = points @ normal
    order = np.argsort(depth, kind="stable")
    points, depth = points[order], depth[order]
    count = len(points)
    if count == 1:
        return _place_one(normal, thickness, tolerances)

    gaps = np.diff(depth)
    step = (points[-1] - points[0]) / (count - 1)
    shear = step - normal * (step @ normal)
    spacing = float(step @ normal)
    tolerance = min(tolerances.z_mm, float(np.median(gaps)) / 4)
    same = min(tolerances.same_position_mm, min(pixel_spacing) / 4)
    index = np.arange(count)
    sideways = points - points[0] - np.outer(depth - depth[0], normal)
    drift = float(np.linalg.norm(sideways, axis=1).max())
    off_line = float(np.linalg.norm(sideways - np.outer(index, shear), axis=1).max())
    off_lattice = float(np.abs(depth - depth[0] - index * spacing).max())
    numbers = {
        "spacing_mm": spacing,
        "spacing_min_mm": float(gaps.min()),
        "spacing_max_mm": float(gaps.max()),
        "shear_deg": float(np.degrees(np.arctan2(np.linalg.norm(shear), spacing))),
        "in_plane_drift_mm": drift,
        "off_lattice_mm": off_lattice,
        "slices": count,
        "missing": [],
        "duplicates": int((gaps < same).sum()),
        "tolerances": asdict(tolerances) | {"z_used_mm": tolerance, "same_used_mm": same},
    }
    problem, text = None, f"{count} slices, one every {spacing:.4g} mm."
    if numbers["duplicates"]:
        problem = ProblemCode.GEOMETRY_DUPLICATE
        text = f"{numbers['duplicates']} of {count} slices share the position of another."
    elif max(float(np.ptp(gaps)), off_lattice) > tolerance:
        problem, text, numbers["missing"] = _uneven(depth, gaps, tolerance)
    elif off_line > tolerances.in_plane_mm:
        problem = ProblemCode.GEOMETRY_VARIABLE
        text = f"Slices are offset sideways by up to {drift:.2f} mm, not along a line."
    elif drift > tolerances.in_plane_mm:
        problem = ProblemCode.GEOMETRY_SHEARED
        text = f"The stack leans by {numbers['shear_deg']:.2f} degrees."
    code = _CODES[problem] if problem else "regular"
    verdict = Verdict(code, numbers, text)
    return Placement(tuple(order.tolist()), verdict, spacing, _vector(step), problem)


def _place_one(normal: np.ndarray, thickness: float | None, tolerances: Tolerances) -> Placement:
    known = thickness is not None and thickness > 0
    spacing = thickness if thickness and known else 1.0
    text = "One slice; its extent along the normal is the slice thickness."
    if not known:
        text = "One slice of unknown thickness; 1 mm is assumed along the normal."
    numbers = {"spacing_mm": spacing, "slices": 1, "tolerances": asdict(tolerances)}
    return Placement((0,), Verdict("single", numbers, text), spacing, _vector(normal * spacing))


def _uneven(
    depth: np.ndarray, gaps: np.ndarray, tolerance: float
) -> tuple[ProblemCode, str, list[int]]:
    """Tell a regular lattice with slices missing from spacing that varies."""
    base = float(np.median(gaps[gaps <= gaps.min() + tolerance]))
    index = np.rint((depth - depth[0]) / base)
    lost = int(index[-1]) + 1 - len(depth)
    off = np.abs(depth - depth[0] - index * ((depth[-1] - depth[0]) / index[-1])).max()
    # with more slices missing than there are, a lattice explains any positions
    if 0 < lost <= len(depth) and off <= min(tolerance, base / 4) and np.diff(index).min() > 0:
        missing = sorted(set(range(int(index[-1]))) - set(index.astype(int).tolist()))
        text = f"{lost} slices are missing on a lattice of {base:.4g} mm."
        return ProblemCode.GEOMETRY_GAPPED, text, missing
    text = f"The distance between slices varies from {gaps.min():.4g} to {gaps.max():.4g} mm."
    return ProblemCode.GEOMETRY_VARIABLE, text, []


def affine_lps(
    origin: Sequence[float],
    orientation: Sequence[float],
    pixel_spacing: Sequence[float],
    step: Sequence[float],
) -> Matrix:
    """Return the 4 x 4 matrix from array index (z, y, x, 1) to LPS millimetres (x, y, z, 1).

    `pixel_spacing` is (between rows, between columns) as in PS3.3 10.7.1.1; `step` is the
    vector from one slice to the next. Direction cosines that were written with few digits are
    stretched to unit length first: the pixels are as large as Pixel Spacing says.
    """
    row, column = _axes(orientation)
    matrix = np.eye(4)
    matrix[:3, 0] = step
    matrix[:3, 1] = column * pixel_spacing[0]
    matrix[:3, 2] = row * pixel_spacing[1]
    matrix[:3, 3] = origin
    return tuple(tuple(float(value) for value in row) for row in matrix)


def anatomical_directions(affine: Matrix) -> list[str]:
    """Return the nearest anatomical direction of each array axis (z, y, x), OME-NGFF RFC-4.

    Each patient axis is used once: the axes are matched from the clearest to the least clear.
    """
    columns = np.asarray(affine, dtype=np.float64)[:3, :3]
    columns = columns / np.linalg.norm(columns, axis=0)
    found: dict[int, str] = {}
    strength = np.abs(columns)
    for _ in range(3):
        patient, axis = np.unravel_index(int(np.argmax(strength)), (3, 3))
        found[int(axis)] = _LETTERS[patient][int(columns[patient, axis] < 0)]
        strength[patient, :] = -1
        strength[:, axis] = -1
    return [found[axis] for axis in range(3)]


def far_corners(
    orientation: Sequence[float], pixel_spacing: Sequence[float], rows: int, columns: int
) -> np.ndarray:
    """Return the two edges of a slice, mm: along a row and along a column, 6 numbers.

    Two slices are on one grid when these agree: then so do all their pixels.
    """
    row, column = _axes(orientation)
    return np.concatenate([row * pixel_spacing[1] * columns, column * pixel_spacing[0] * rows])


def _axes(orientation: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    row, column = np.asarray(orientation[:3], float), np.asarray(orientation[3:], float)
    return row / np.linalg.norm(row), column / np.linalg.norm(column)


def _normal(orientation: Sequence[float]) -> np.ndarray:
    """Return the unit normal of a slice: row direction x column direction."""
    normal = np.cross(orientation[:3], orientation[3:])
    return np.asarray(normal / np.linalg.norm(normal))


def _vector(vector: np.ndarray) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])
