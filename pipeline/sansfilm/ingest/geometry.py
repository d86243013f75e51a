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


@dataclass(frozen=True, slots=True)
class Placement:
    """A stack in order: indices into the input, and what its geometry is.

    `problem` is set when the stack is not one that can be stored as it is.
    """

    order: tuple[int, ...]
    verdict: Verdict
    spacing_mm: float
    step: tuple[float, float, float]
    problem: ProblemCode | None = None


def slice_normal(orientation: Sequence[float]) -> np.ndarray:
    """Return the unit normal of a slice: row direction x column direction."""
    normal = np.cross(orientation[:3], orientation[3:])
    return np.asarray(normal / np.linalg.norm(normal))


def place_slices(
    positions: Sequence[Sequence[float]],
    orientation: Sequence[float],
    thickness: float | None,
    tolerances: Tolerances,
) -> Placement:
    """Order the slices of a stack along its normal and judge their distances.

    Parameters
    ----------
    positions : sequence of (x, y, z)
        Image Position (Patient) of each slice, mm, LPS; any order.
    orientation : sequence of 6 floats
        Image Orientation (Patient) that they share: row direction, then column direction.
    thickness : float or None
        Slice Thickness, mm: the extent of a single slice.
    tolerances : Tolerances

    Returns
    -------
    Placement
        `order` sorts along the normal, ascending, so that (x, y, z) is right-handed. `step` is
        the vector from one slice to the next: exactly (last - first) / (n - 1).
    """
    points = np.asarray(positions, dtype=np.float64)
    normal = slice_normal(orientation)
    depth = points @ normal
    order = np.argsort(depth, kind="stable")
    points, depth = points[order], depth[order]
    count = len(points)
    if count == 1:
        spacing = thickness if thickness and thickness > 0 else 1.0
        numbers = {"spacing_mm": spacing, "slices": 1, "tolerances": asdict(tolerances)}
        text = "One slice; its extent along the normal is the slice thickness."
        if spacing != thickness:
            text = "One slice of unknown thickness; 1 mm is assumed along the normal."
        return Placement((0,), Verdict("single", numbers, text), spacing, _tuple(normal * spacing))

    gaps = np.diff(depth)
    step = (points[-1] - points[0]) / (count - 1)
    spacing = float((depth[-1] - depth[0]) / (count - 1))
    typical = float(np.median(gaps))
    tolerance = min(tolerances.z_mm, typical / 4)
    sideways = points - points[0] - np.outer(depth - depth[0], normal)
    drift = float(np.linalg.norm(sideways, axis=1).max())
    shear = step - normal * (step @ normal)
    off_line = float(np.linalg.norm(sideways - np.outer(np.arange(count), shear), axis=1).max())
    numbers = {
        "spacing_mm": spacing,
        "spacing_min_mm": float(gaps.min()),
        "spacing_max_mm": float(gaps.max()),
        "shear_deg": float(np.degrees(np.arctan2(np.linalg.norm(shear), abs(step @ normal)))),
        "in_plane_drift_mm": drift,
        "slices": count,
        "missing": [],
        "duplicates": int((gaps < tolerances.same_position_mm).sum()),
        "tolerances": asdict(tolerances) | {"z_used_mm": tolerance},
    }
    code, text, problem = "regular", "", None
    if numbers["duplicates"]:
        problem = ProblemCode.GEOMETRY_DUPLICATE
        text = f"{numbers['duplicates'] + 1} or more of {count} slices share a position."
    elif gaps.max() - gaps.min() > tolerance:
        problem, text, numbers["missing"] = _uneven(gaps, tolerance)
    elif drift > tolerances.in_plane_mm:
        problem = ProblemCode.GEOMETRY_SHEARED
        text = f"The stack leans by {numbers['shear_deg']:.2f} degrees."
        if off_line > tolerances.in_plane_mm:
            problem = ProblemCode.GEOMETRY_VARIABLE
            text = f"Slices are offset sideways by up to {drift:.2f} mm, not along a line."
    else:
        text = f"{count} slices, one every {spacing:.4g} mm."
    names = {
        ProblemCode.GEOMETRY_DUPLICATE: "duplicate",
        ProblemCode.GEOMETRY_SHEARED: "sheared",
        ProblemCode.GEOMETRY_GAPPED: "gapped",
        ProblemCode.GEOMETRY_VARIABLE: "variable",
    }
    code = names[problem] if problem else "regular"
    verdict = Verdict(code, numbers, text)
    return Placement(tuple(int(i) for i in order), verdict, spacing, _tuple(step), problem)


def _uneven(gaps: np.ndarray, tolerance: float) -> tuple[ProblemCode, str, list[int]]:
    """Tell a regular lattice with slices missing from spacing that varies."""
    base = float(np.median(gaps[gaps <= gaps.min() + tolerance]))
    steps = np.rint(gaps / base)
    if np.all(np.abs(gaps - steps * base) <= tolerance):
        index = np.cumsum(steps).astype(int)
        missing = sorted(set(range(int(index[-1]) + 1)) - {0, *index.tolist()})
        text = f"{len(missing)} slices are missing on a lattice of {base:.4g} mm."
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
    vector from one slice to the next.
    """
    matrix = np.eye(4)
    matrix[:3, 0] = step
    matrix[:3, 1] = np.asarray(orientation[3:]) * pixel_spacing[0]
    matrix[:3, 2] = np.asarray(orientation[:3]) * pixel_spacing[1]
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


def _tuple(vector: np.ndarray) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])
