"""Sampling at the points of another lattice, against plain Python, point by point."""

import itertools
import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansfilm_kernels import get_namespace, resample, to_host

MODULE = sys.modules[resample.__module__]
TURN = np.array([[0.8, 0.36, 0.48], [-0.6, 0.48, 0.64], [0.0, -0.8, 0.6]])


def index_along(where, size, end, places):
    """Return an index between voxels, or None outside."""
    if places is not None:
        before = max(n for n in range(size - 1) if n == 0 or places[n] <= where)
        where = before + (where - places[before]) / (places[before + 1] - places[before])
    return where if -0.5 <= where < end else None


def is_data(value, padding):
    if not math.isfinite(value):
        return False
    return padding is None or not padding[0] <= value <= padding[1]


def expected(block, matrix, point, method, padding, fill, ends, places):
    """Return the value at a point, before it is rounded."""
    found = []
    for axis, size in enumerate(block.shape):
        end = size - 0.5 if ends is None else ends[axis]
        where = matrix[axis] @ [*point, 1]
        found.append(index_along(where, size, end, places if axis == 0 else None))
    if None in found:
        return fill
    sizes = block.shape
    if method == "nearest":
        near = (min(max(math.floor(w + 0.5), 0), n - 1) for w, n in zip(found, sizes, strict=True))
        return block[tuple(near)]
    total = weight = 0.0
    low = [min(math.floor(max(w, 0)), max(n - 2, 0)) for w, n in zip(found, sizes, strict=True)]
    for corner in itertools.product((0, 1), repeat=3):
        part, place = 1.0, []
        for up, base, where, size in zip(corner, low, found, sizes, strict=True):
            distance = min(max(where, 0), size - 1) - base
            part *= distance if up else 1 - distance
            place.append(min(base + up, size - 1))
        value = float(block[tuple(place)])
        if is_data(value, padding):
            total, weight = total + value * part, weight + part
    return total / weight if weight >= 0.5 else fill


def check(xp, block, matrix, shape, **how):
    found = resample(xp(block), matrix, shape, **how)
    assert get_namespace(found) is get_namespace(xp(block))
    found = to_host(found)
    assert found.dtype == block.dtype
    assert found.shape == (*block.shape[:-3], *shape)
    told = {"method": "linear", "padding": None, "fill": 0, "ends": None, "places": None} | how
    rows = np.asarray(matrix)[:3]
    for point in np.ndindex(*shape):
        value = expected(block, rows, point, **told)
        if found.dtype.kind == "f":
            np.testing.assert_allclose(found[point], value, rtol=2e-6, atol=1e-6)
        else:  # half a unit of rounding, a hair of float64
            assert abs(float(found[point]) - value) <= 0.5 + 1e-6, point
    return found


def lattice(scale, shift, turned):
    matrix = np.eye(4)
    matrix[:3, :3] = (TURN if turned else np.eye(3)[[2, 0, 1]]) * scale
    matrix[:3, 3] = shift
    return matrix


@settings(deadline=None, max_examples=60)
@given(data=st.data(), turned=st.booleans(), method=st.sampled_from(["linear", "nearest"]))
def test_every_point_is_what_its_voxels_say(xp, data, turned, method):
    dtype = data.draw(st.sampled_from(["int8", "uint16", "int16", "int32", "float32", "float64"]))
    shape = data.draw(st.tuples(*[st.integers(1, 5)] * 3))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    block = rng.integers(0, 120, shape).astype(dtype)
    number = st.floats(0.3, 2.5)
    matrix = lattice(data.draw(number), data.draw(st.tuples(*[st.floats(-1, 3)] * 3)), turned)
    padding = data.draw(st.sampled_from([None, (0, 30), (5, 5)]))
    check(
        xp, block, matrix, data.draw(st.tuples(*[st.integers(1, 4)] * 3)), method=method,
        padding=padding, fill=7,
    )  # fmt: skip


@pytest.mark.parametrize("method", ["linear", "nearest"])
@pytest.mark.parametrize("padding", [None, (-3, 2)])
def test_a_lattice_that_is_the_same_gives_the_same(xp, method, padding):
    block = np.random.default_rng(0).integers(-9, 9, (2, 4, 5, 6)).astype("int16")
    found = to_host(resample(xp(block), np.eye(4), (4, 5, 6), method=method, padding=padding,
                             fill=-3))  # fmt: skip
    kept = block
    if padding and method == "linear":
        kept = np.where((block >= -3) & (block <= 2), -3, block)
    np.testing.assert_array_equal(found, kept)


def test_turned_axes_are_axes_in_another_order(xp):
    block = np.random.default_rng(1).integers(0, 99, (3, 4, 5)).astype("uint8")
    matrix = np.zeros((3, 4))
    matrix[0, 1], matrix[1, 2], matrix[2, 0] = 1, -1, 1
    matrix[1, 3] = 3
    found = to_host(resample(xp(block), matrix, (5, 3, 4)))
    np.testing.assert_array_equal(found, block[:, ::-1].transpose(2, 0, 1))


@pytest.mark.parametrize("turned", [False, True])
def test_voxels_are_boxes_around_their_centres(xp, turned):
    """To half a voxel beyond the outermost centre, where that voxel counts alone."""
    block = np.array([10, 20, 30], "int16").reshape(1, 1, 3)
    matrix = np.zeros((3, 4))
    matrix[2, 2], matrix[2, 3] = 0.25, -0.75
    if turned:  # the same points; only that the axes are not told apart
        matrix[0, 2] = 1e-300
    found = to_host(resample(xp(block), matrix, (1, 1, 16), fill=-1)).ravel().tolist()
    inside = [10, 10, 10, 13, 15, 18, 20, 23, 25, 28, 30, 30]  # half up: 12.5 -> 13
    assert found == [-1, *inside, -1, -1, -1]
    near = to_host(resample(xp(block), matrix, (1, 1, 16), fill=-1, method="nearest"))
    assert near.ravel().tolist() == [-1] + [10] * 4 + [20] * 4 + [30] * 4 + [-1] * 3


def test_half_a_unit_goes_up_below_zero_too(xp):
    block = np.array([-5, -4, 4, 5], "int32").reshape(4, 1, 1)
    matrix = np.zeros((3, 4))
    matrix[0, 0], matrix[0, 3] = 2, 0.5
    assert to_host(resample(xp(block), matrix, (2, 1, 1))).ravel().tolist() == [-4, 5]


@pytest.mark.parametrize("turned", [False, True])
def test_padding_has_no_part_in_a_value(xp, turned):
    block = np.array([-2000, 100, 200], "int16").reshape(3, 1, 1)
    matrix = np.zeros((3, 4))
    matrix[0, 0] = 0.25
    if turned:
        matrix[1, 0] = 1e-300
    found = resample(xp(block), matrix, (9, 1, 1), padding=(-2000, -2000), fill=-2000)
    # nearer to the slice that is missing: nothing; half way and on: the one that is there
    assert to_host(found).ravel().tolist() == [-2000] * 2 + [100] * 3 + [125, 150, 175, 200]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("hole", [math.nan, math.inf])
def test_what_is_not_finite_spoils_no_neighbour(xp, turned, hole):
    block = np.array([1, hole, 3, 4], "float32").reshape(4, 1, 1)
    matrix = np.zeros((3, 4))
    matrix[0, 0] = 0.5
    if turned:
        matrix[1, 0] = 1e-300
    found = to_host(resample(xp(block), matrix, (7, 1, 1), fill=math.nan)).ravel()
    np.testing.assert_array_equal(found, [1, 1, np.nan, 3, 3, 3.5, 4])


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("method", ["linear", "nearest"])
def test_uneven_slices_count_where_they_are(xp, turned, method):
    rng = np.random.default_rng(2)
    block = rng.integers(0, 1000, (5, 3, 4)).astype("int16")
    places = [0.0, 1.0, 1.5, 4.0, 6.0]
    for shift in (-0.6, -0.2, 0.3):
        matrix = lattice(0.9, (shift, 0.1, 0.2), turned)
        check(xp, block, matrix, (7, 4, 5), method=method, places=places, fill=-5)


@pytest.mark.parametrize("turned", [False, True])
def test_data_that_ends_within_the_last_voxels(xp, turned):
    block = np.random.default_rng(3).integers(0, 1000, (3, 4, 5)).astype("int16")
    matrix = lattice(0.7, (0, 0.1, 0.2), turned)
    check(xp, block, matrix, (6, 6, 6), ends=(2.0, 3.5, 4.25), fill=-5)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("method", ["linear", "nearest"])
def test_tiles_change_nothing(monkeypatch, turned, method):
    block = np.random.default_rng(4).integers(-500, 500, (6, 7, 8)).astype("int16")
    matrix = lattice(0.6, (0.4, -0.3, 0.2), turned)
    how = {"method": method, "padding": (-20, 20), "fill": 0}
    whole = resample(block, matrix, (9, 9, 9), **how)
    monkeypatch.setattr(MODULE, "_HOST_TILE", 1)
    np.testing.assert_array_equal(resample(block, matrix, (9, 9, 9), **how), whole)


def test_axes_before_z_are_sampled_alike(xp):
    block = np.random.default_rng(5).integers(0, 99, (2, 3, 4, 4, 4)).astype("uint8")
    matrix = lattice(0.7, (0.4, 0.3, 0.2), turned=True)
    found = to_host(resample(xp(block), matrix, (3, 4, 5)))
    for place in np.ndindex(2, 3):
        one = to_host(resample(xp(block[place]), matrix, (3, 4, 5)))
        np.testing.assert_array_equal(found[place], one)


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"block": np.zeros((2, 2, 2), "int64")}, TypeError, "integers of at most 32 bits"),
        ({"block": np.zeros((2, 2, 2), bool)}, TypeError, "integers of at most 32 bits"),
        ({"block": np.zeros((2, 2), "int16")}, ValueError, "must have z, y and x"),
        ({"block": np.zeros((2, 0, 2), "int16")}, ValueError, "must have z, y and x"),
        ({"matrix": np.eye(3)}, ValueError, r"shape \(3, 4\) or \(4, 4\)"),
        ({"matrix": np.full((4, 4), np.nan)}, ValueError, "finite"),
        ({"shape": (2, 2)}, ValueError, "must have z, y and x"),
        ({"method": "cubic"}, ValueError, "method must be linear or nearest, got 'cubic'"),
        ({"places": [0, 1, 2]}, ValueError, "places must be 2 rising numbers"),
        ({"places": [1, 1]}, ValueError, "places must be 2 rising numbers"),
    ],
)
def test_wrong_calls_are_told(change, error, told):
    call = {"block": np.zeros((2, 2, 2), "int16"), "matrix": np.eye(4), "shape": (2, 2, 2)}
    with pytest.raises(error, match=told):
        resample(**(call | change))
