"""Slices in space: what was put there comes back, and whatever is not regular is not called so."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sansfilm.options import Tolerances
from sansfilm.planning.geometry import (
    Placement,
    affine_lps,
    anatomical_directions,
    far_corners,
    find_places,
    lie_beside,
    place_slices,
)

TOLERANCES = Tolerances()
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SPACING = (0.7, 0.8)

numbers = st.floats(-1, 1, allow_nan=False)


@st.composite
def rotations(draw) -> np.ndarray:
    """Draw a rotation: columns are row direction, column direction and normal."""
    quaternion = np.array([draw(numbers) for _ in range(4)])
    length = np.linalg.norm(quaternion)
    assume(length > 0.1)
    w, x, y, z = quaternion / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


@st.composite
def stacks(draw, *, least: int = 2):
    """Draw (orientation, normal, positions in order, distance, a permutation)."""
    rotation = draw(rotations())
    distance = draw(st.floats(0.05, 20))
    count = draw(st.integers(least, 30))
    origin = np.array([draw(st.floats(-1000, 1000)) for _ in range(3)])
    positions = origin + np.arange(count)[:, None] * distance * rotation[:, 2]
    orientation = (*rotation[:, 0].tolist(), *rotation[:, 1].tolist())
    order = draw(st.permutations(range(count)))
    return orientation, rotation[:, 2], positions, distance, order


def place(positions, orientation=AXIAL, spacing=SPACING, thickness=None) -> Placement:
    """Place frames that are alone at their place, whatever their order."""
    positions = np.asarray(positions, dtype=np.float64)
    places = find_places(positions, orientation, spacing, TOLERANCES)
    assert sorted(places) == list(range(len(positions)))
    return place_slices(positions[np.argsort(places)], orientation, thickness, TOLERANCES)


def depths(*values: float) -> np.ndarray:
    return np.array([[0.0, 0.0, value] for value in values])


# -------------------------------------------------------------------------------- regular


@given(stacks(), st.floats(0.05, 5), st.floats(0.05, 5))
def test_a_regular_stack_comes_back(stack, between_rows, between_columns):
    orientation, normal, positions, distance, order = stack
    spacing = (between_rows, between_columns)
    assert find_places(positions[list(order)], orientation, spacing, TOLERANCES) == tuple(order)
    placed = place(positions[list(order)], orientation, spacing)
    assert (placed.verdict.code, placed.even) == ("regular", True)
    assert placed.cells == tuple(range(placed.count)) == tuple(range(len(positions)))
    assert math.isclose(placed.spacing_mm, distance, abs_tol=1e-9)
    affine = np.array(affine_lps(positions[0], orientation, spacing, placed.step))
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    for z, y, x in ((0, 0, 0), (len(positions) - 1, 0, 0), (1, 511, 0), (0, 0, 511), (1, 99, 77)):
        expected = positions[0] + z * distance * normal
        expected = expected + y * between_rows * column + x * between_columns * row
        assert np.abs(affine @ (z, y, x, 1) - (*expected, 1)).max() < 1e-6


@given(stacks(), st.randoms(use_true_random=False))
def test_rounding_is_no_defect(stack, random):
    orientation, _, positions, distance, _ = stack
    noise = 1e-3 if distance >= 0.3 else distance / 500
    noisy = positions + np.array(
        [[random.uniform(-noise, noise) for _ in "xyz"] for _ in positions]
    )
    assert place(noisy, orientation).verdict.code == "regular"


@pytest.mark.parametrize("distance", [0.002, 0.009, 0.05, 0.3, 5.0])
def test_thin_slices(distance):
    """Micro-CT has voxels of a few micrometres: these slices are not at one position."""
    positions = depths(*np.arange(9) * distance)
    assert place(positions, spacing=(distance, distance)).verdict.code == "regular"
    without = np.delete(positions, 4, axis=0)
    placed = place(without, spacing=(distance, distance))
    assert (placed.verdict.code, placed.count) == ("gapped", 9)
    assert placed.cells == (0, 1, 2, 3, 5, 6, 7, 8)
    assert placed.verdict.numbers["missing"] == [4]
    assert placed.spacing_mm == pytest.approx(distance)


def test_one_slice_has_the_extent_of_its_thickness():
    for thickness, expected in ((5.0, 5.0), (None, 1.0), (0.0, 1.0), (-2.0, 1.0)):
        placed = place([(1, 2, 3)], thickness=thickness)
        assert (placed.verdict.code, placed.spacing_mm, placed.cells) == ("single", expected, (0,))
        assert placed.step == (0, 0, expected)
        assert ("assumed" in placed.verdict.text) == (expected != thickness)


def test_slices_in_any_direction_ascend_along_the_normal():
    feet_first = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    assert find_places(depths(0, 1, 2, 3), feet_first, SPACING, TOLERANCES) == (3, 2, 1, 0)
    assert place(depths(0, 1, 2, 3), feet_first).step == (0, 0, -1)


# ------------------------------------------------------------------------------ not regular


@given(stacks(least=4), st.data())
def test_a_missing_slice_is_a_gap(stack, data):
    orientation, _, positions, _, order = stack
    gone = data.draw(st.integers(1, len(positions) - 2))
    left = positions[[index for index in order if index != gone]]
    placed = place(left, orientation)
    assert placed.verdict.code == "gapped"
    assert placed.verdict.numbers["missing"] == [gone]
    expected = positions[0] + np.outer(placed.cells, placed.step)
    np.testing.assert_allclose(expected, np.delete(positions, gone, axis=0), atol=1e-6)


@given(stacks(least=2), st.data())
def test_two_slices_at_one_position(stack, data):
    orientation, _, positions, _, _ = stack
    twice = data.draw(st.integers(0, len(positions) - 1))
    both = np.vstack([positions, positions[twice] + 1e-3])
    places = find_places(both, orientation, SPACING, TOLERANCES)
    assert places == (*range(len(positions)), twice)
    assert not lie_beside(both, places, TOLERANCES)


@given(stacks(least=2), st.data())
def test_two_slices_in_one_plane(stack, data):
    orientation, _, positions, _, _ = stack
    twice = data.draw(st.integers(0, len(positions) - 1))
    angle, shift = data.draw(st.floats(0, 6.28)), data.draw(st.floats(0.11, 500))
    sideways = math.cos(angle) * np.array(orientation[:3])
    sideways = sideways + math.sin(angle) * np.array(orientation[3:])
    both = np.vstack([positions, positions[twice] + shift * sideways])
    places = find_places(both, orientation, SPACING, TOLERANCES)
    assert places == (*range(len(positions)), twice)
    assert lie_beside(both, places, TOLERANCES)


@given(stacks(least=4), st.data())
def test_a_slice_shifted_along_the_normal(stack, data):
    orientation, normal, positions, distance, _ = stack
    moved = data.draw(st.integers(1, len(positions) - 2))
    shift = data.draw(st.floats(0.26, 0.45)) * distance
    shift = max(shift, 0.21) if distance > 0.9 else shift
    positions = positions.copy()
    positions[moved] += shift * normal
    placed = place(positions, orientation)
    assert placed.verdict.code in ("variable", "gapped")
    assert placed.even == (placed.verdict.code == "gapped")


@given(stacks(least=3), st.data())
def test_a_slice_shifted_sideways(stack, data):
    orientation, _, positions, _, _ = stack
    moved = data.draw(st.integers(0, len(positions) - 1))
    angle, shift = data.draw(st.floats(0, 6.28)), data.draw(st.floats(0.25, 50))
    sideways = math.cos(angle) * np.array(orientation[:3])
    sideways = sideways + math.sin(angle) * np.array(orientation[3:])
    positions = positions.copy()
    positions[moved] += shift * sideways
    placed = place(positions, orientation)
    drift = placed.verdict.numbers["in_plane_drift_mm"]
    assert placed.verdict.code in ("variable", "sheared")
    assert placed.wandering == (placed.verdict.code == "variable")
    assert drift == pytest.approx(shift, abs=1e-6)


@given(stacks(least=2), st.floats(0.5, 40))
def test_a_tilted_gantry_is_a_shear(stack, degrees):
    orientation, _, positions, distance, _ = stack
    assume((len(positions) - 1) * distance * math.tan(math.radians(degrees)) > 0.11)
    lean = math.tan(math.radians(degrees)) * distance * np.array(orientation[3:])
    positions = positions + np.arange(len(positions))[:, None] * lean
    placed = place(positions, orientation)
    assert (placed.verdict.code, placed.even) == ("sheared", True)
    expected = positions[0] + np.outer(placed.cells, placed.step)
    np.testing.assert_allclose(expected, positions, atol=1e-6)
    assert math.isclose(placed.verdict.numbers["shear_deg"], degrees, abs_tol=1e-6)


def test_small_differences_do_not_add_up():
    """Each distance is within 0.2 mm of all others; the slices are millimetres off the lattice."""
    gaps = np.r_[np.full(100, 2.0), np.full(100, 2.19)]
    placed = place(depths(0, *np.cumsum(gaps)))
    assert (placed.verdict.code, placed.even) == ("variable", False)
    assert placed.verdict.numbers["off_lattice_mm"] > 4


@pytest.mark.parametrize(
    ("positions", "code", "missing"),
    [
        ((0, 5, 10, 20), "gapped", [3]),
        ((0, 0.75, 1.5, 3), "gapped", [3]),
        ((0, 10, 15, 20), "gapped", [1]),
        ((0, 1, 2, 4, 5, 8), "gapped", [3, 6, 7]),
        ((0, 1, 2, 3.5, 4.5), "variable", []),
        ((0, 1, 3, 6), "gapped", [2, 4, 5]),
        ((0, 1, 3, 6, 10, 15), "variable", []),  # fewer slices than holes: any lattice would do
        ((0, 2, 5, 6, 8), "variable", []),  # the third is shifted: there is no lattice of 1 mm
        ((0, 2, 4, 5, 6, 8), "variable", []),
        ((0, 0.02, 1000, 2000), "variable", []),
        ((0, 0.011, 1e6, 2e6), "variable", []),
    ],
)
def test_codes(positions, code, missing):
    placed = place(depths(*positions))
    assert (placed.verdict.code, placed.verdict.numbers["missing"]) == (code, missing)
    assert placed.verdict.text.endswith(".")
    assert placed.even == (code != "variable")
    assert placed.count == len(positions) + len(missing)
    assert sorted({*placed.cells, *missing}) == list(range(placed.count))


@pytest.mark.parametrize(
    ("positions", "places"),
    [
        ((0, 0, 0, 0), (0, 0, 0, 0)),
        ((0, 0.001, 0.002), (0, 0, 0)),
        ((0, 0.009), (0, 0)),
        ((0, 0.011), (0, 1)),
        ((0, 0.006, 0.012), (0, 0, 1)),  # small differences do not add up
        ((5, 0, 5, 0), (1, 0, 1, 0)),
    ],
)
def test_places(positions, places):
    assert find_places(depths(*positions), AXIAL, SPACING, TOLERANCES) == places


# ------------------------------------------------------------------------- affine, directions


def test_cosines_of_few_digits_do_not_shrink_pixels():
    oblique = (0.71, 0.71, 0.0, -0.71, 0.71, 0.0)
    affine = np.array(affine_lps((0, 0, 0), oblique, (2.0, 3.0), (0, 0, 1)))
    assert np.allclose(np.linalg.norm(affine[:3, :3], axis=0), (1, 2, 3))
    assert np.allclose(np.linalg.norm(far_corners(oblique, (2.0, 3.0), 10, 20)[:3]), 60)


@given(stacks())
def test_directions_use_each_axis_once(stack):
    orientation, _, positions, _, _ = stack
    step = positions[1] - positions[0]
    words = anatomical_directions(affine_lps(positions[0], orientation, SPACING, step))
    assert len({frozenset(word.split("-to-")) for word in words}) == 3


def test_directions_of_plain_orientations():
    axial = anatomical_directions(affine_lps((0, 0, 0), AXIAL, SPACING, (0, 0, 1)))
    assert axial == ["inferior-to-superior", "anterior-to-posterior", "right-to-left"]
    sagittal = (0, 1, 0, 0, 0, -1)
    words = anatomical_directions(affine_lps((0, 0, 0), sagittal, SPACING, (-1, 0, 0)))
    assert words == ["left-to-right", "superior-to-inferior", "anterior-to-posterior"]
