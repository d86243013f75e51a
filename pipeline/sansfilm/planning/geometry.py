"""Where slices are: pure maths on positions and orientations, in millimetres, LPS.

Order and spacing come from Image Position and Image Orientation (Patient) alone
(PS3.3 C.7.6.2.1.1); Instance Number, Slice Location and file names decide nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sansfilm.model import Matrix, Verdict
from sansfilm.options import Tolerances

_LETTERS = (
    ("right-to-left", "left-to-right"),
    ("anterior-to-posterior", "posterior-to-anterior"),
    ("inferior-to-superior", "superior-to-inferior"),
)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the places of a stack are on its lattice, and what its geometry is.

    `cells` has the lattice index of each place; there are `count` cells. `spacing_mm` is along
    the normal, `step` the vector from one cell to the next, mm. `even` tells whether the places
    are where ``first + index * step`` says, `wandering` whether they leave the line of the steps
    sideways.
    """

    cells: tuple[int, ...]
    count: int
    verdict: Verdict
    spacing_mm: float
    step: tuple[float, float, float]
    even: bool = True
    wandering: bool = False


def find_places(
    positions: Sequence[Sequence[float]],
    orientation: Sequence[float],
    pixel_spacing: Sequence[float],
    tolerances: Tolerances,
) -> tuple[int, ...]:
    """Give each frame the number of its place along the normal, so that (x, y, z) is right-handed.

    Parameters
    ----------
    positions : sequence of (x, y, z)
        Image Position (Patient) of each frame, mm, LPS; any order.
    orientation : sequence of 6 floats
        Image Orientation (Patient) that they share: row direction, then column direction.
    pixel_spacing : sequence of 2 floats
        Between rows and between columns, mm: the scale on which two positions are one.
    tolerances : Tolerances

    Returns
    -------
    tuple of int
        The number of each frame's place; equal for frames in one plane.
    """
    points = np.asarray(positions, dtype=np.float64)
    same = min(tolerances.same_position_mm, min(pixel_spacing) / 4)
    depth = points @ _normal(orientation)
    order = np.argsort(depth, kind="stable")
    # Places begin where the depth has moved on from the place's first frame: nothing chains.
    places, starts = np.zeros(len(points), int), [order[0]]
    for frame in order:
        if depth[frame] - depth[starts[-1]] >= same:
            starts.append(frame)
        places[frame] = len(starts) - 1
    return tuple(places.tolist())


def lie_beside(
    positions: Sequence[Sequence[float]], places: Sequence[int], tolerances: Tolerances
) -> bool:
    """Tell whether frames of one place lie beside each other: they are not one stack."""
    points = np.asarray(positions, dtype=np.float64)
    _, first = np.unique(places, return_index=True)
    apart = np.linalg.norm(points - points[first[list(places)]], axis=1)
    return bool(apart.max() >= tolerances.in_plane_mm)


def place_slices(
    positions: Sequence[Sequence[float]],
    orientation: Sequence[float],
    thickness: float | None,
    tolerances: Tolerances,
) -> Placement:
    """Judge the distances of the places of a stack.

    A stack is regular when every slice lies where ``first + index * step`` says, within the
    tolerances, and no two neighbours differ in distance by more than that. It is sheared when
    the step leans against the normal, gapped when whole steps are missing, variable otherwise.

    Parameters
    ----------
    positions : sequence of (x, y, z)
        One position of each place, mm, LPS, in the order of the places.
    orientation : sequence of 6 floats
        Image Orientation (Patient) that they share: row direction, then column direction.
    thickness : float or None
        Slice Thickness, mm: the extent of a single slice.
    tolerances : Tolerances
    """
    points = np.asarray(positions, dtype=np.float64)
    normal = _normal(orientation)
    count = len(points)
    if count == 1:
        return _place_one(normal, thickness, tolerances)

    depth = points @ normal
    gaps = np.diff(depth)
    tolerance = min(tolerances.z_mm, float(np.median(gaps)) / 4)
    cells, even = np.arange(count), True
    spacing = float(depth[-1] - depth[0]) / (count - 1)
    off_lattice = float(np.abs(depth - depth[0] - cells * spacing).max())
    missing: list[int] = []
    if max(float(np.ptp(gaps)), off_lattice) > tolerance:
        lattice = _lattice(depth, gaps, tolerance)
        even = lattice is not None
        if lattice is not None:
            cells = lattice
            missing = sorted(set(range(int(cells[-1]))) - set(cells.tolist()))
    step = (points[-1] - points[0]) / cells[-1]
    shear = step - normal * (step @ normal)
    sideways = points - points[0] - np.outer(depth - depth[0], normal)
    drift = float(np.linalg.norm(sideways, axis=1).max())
    leaning = np.outer((depth - depth[0]) / (step @ normal), shear)
    off_line = float(np.linalg.norm(sideways - leaning, axis=1).max())
    numbers = {
        "spacing_mm": float(step @ normal),
        "spacing_min_mm": float(gaps.min()),
        "spacing_max_mm": float(gaps.max()),
        "shear_deg": float(np.degrees(np.arctan2(np.linalg.norm(shear), step @ normal))),
        "in_plane_drift_mm": drift,
        "off_lattice_mm": off_lattice,
        "slices": count,
        "missing": missing,
        "duplicates": 0,
        "tolerances": asdict(tolerances) | {"z_used_mm": tolerance},
    }
    leans = drift > tolerances.in_plane_mm
    wandering = off_line > tolerances.in_plane_mm
    even = even and not wandering
    code, text = _judge(numbers, leans=leans, even=even)
    return Placement(
        tuple(cells.tolist()), int(cells[-1]) + 1, Verdict(code, numbers, text),
        float(step @ normal), _vector(step), even, wandering,
    )  # fmt: skip


def _judge(numbers: Mapping[str, Any], *, leans: bool, even: bool) -> tuple[str, str]:
    """Return the verdict's code and its sentence."""
    slices, missing, spacing = numbers["slices"], numbers["missing"], numbers["spacing_mm"]
    lean = f" They lean by {numbers['shear_deg']:.2f} degrees (gantry tilt)." if leans else ""
    if not even:
        low, high = numbers["spacing_min_mm"], numbers["spacing_max_mm"]
        text = f"{slices} slices, {low:.4g} to {high:.4g} mm apart: true positions are kept."
        if leans:
            text += f" They are offset sideways by up to {numbers['in_plane_drift_mm']:.2f} mm."
        return "variable", text
    if missing:
        lost = f"{len(missing)} of {slices + len(missing)} slices are missing"
        return "gapped", f"{lost} on a lattice of {spacing:.4g} mm: they hold padding.{lean}"
    text = f"{slices} slices, one every {spacing:.4g} mm."
    return ("sheared", text + lean) if leans else ("regular", text)


def _place_one(normal: np.ndarray, thickness: float | None, tolerances: Tolerances) -> Placement:
    known = thickness is not None and thickness > 0
    spacing = thickness if thickness and known else 1.0
    text = "One slice; its extent along the normal is the slice thickness."
    if not known:
        text = "One slice of unknown thickness; 1 mm is assumed along the normal."
    numbers = {"spacing_mm": spacing, "slices": 1, "tolerances": asdict(tolerances)}
    return Placement((0,), 1, Verdict("single", numbers, text), spacing, _vector(normal * spacing))


def _lattice(depth: np.ndarray, gaps: np.ndarray, tolerance: float) -> np.ndarray | None:
    """Return the lattice index of each slice if whole slices are missing, None if it is uneven.

    A lattice finer than what most slices are apart explains any positions, as does one with more
    slices missing than there are.
    """
    base = float(np.median(gaps[gaps <= gaps.min() + tolerance]))
    index = np.rint((depth - depth[0]) / base).astype(int)
    steps = np.bincount(np.diff(index))
    lost = int(index[-1]) + 1 - len(depth)
    off = np.abs(depth - depth[0] - index * ((depth[-1] - depth[0]) / index[-1])).max()
    usual = steps[0] == 0 and steps[1] == steps.max()
    return index if usual and 0 < lost <= len(depth) and off <= min(tolerance, base / 4) else None


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


def in_plane(positions: Sequence[Sequence[float]], orientation: Sequence[float]) -> np.ndarray:
    """Return where positions lie in their planes: mm along rows and columns, shape (n, 2)."""
    return np.asarray(np.asarray(positions, dtype=np.float64) @ np.stack(_axes(orientation)).T)


def _axes(orientation: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    row, column = np.asarray(orientation[:3], float), np.asarray(orientation[3:], float)
    return row / np.linalg.norm(row), column / np.linalg.norm(column)


def _normal(orientation: Sequence[float]) -> np.ndarray:
    """Return the unit normal of a slice: row direction x column direction."""
    normal = np.cross(orientation[:3], orientation[3:])
    return np.asarray(normal / np.linalg.norm(normal))


def _vector(vector: np.ndarray) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])
