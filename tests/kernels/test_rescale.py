"""Rescale against exact fractions: equal, or refused."""

import tracemalloc
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sansfilm_kernels import get_namespace, rescale, to_host

STORED = ["int8", "uint8", "int16", "uint16", "int32", "uint32"]
INTEGERS = [*STORED, "int64", "uint64"]
NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 2, -1024, 1024, 32768, -32768, 2**31, -(2**31), 2**40]),
    st.integers(-70000, 70000),
)


@st.composite
def stored_arrays(draw):
    dtype = np.dtype(draw(st.sampled_from(STORED)))
    info = np.iinfo(dtype)
    elements = st.one_of(st.integers(info.min, info.max), st.integers(0, 100))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    return draw(hnp.arrays(dtype, shape, elements=elements))


@settings(deadline=None, max_examples=200)
@given(stored=stored_arrays(), slope=NUMBERS, intercept=NUMBERS, dtype=st.sampled_from(INTEGERS))
def test_integers_are_exact_or_refused(xp, stored, slope, intercept, dtype):
    expected = [int(value) * slope + intercept for value in stored.flat]
    info = np.iinfo(dtype)
    if any(not info.min <= value <= info.max for value in expected):
        with pytest.raises(ValueError, match="become"):
            rescale(xp(stored), slope=slope, intercept=intercept, dtype=dtype)
        return
    result = rescale(xp(stored), slope=slope, intercept=intercept, dtype=dtype)
    assert get_namespace(result) is get_namespace(xp(stored))
    result = to_host(result)
    assert result.dtype == dtype
    assert result.shape == stored.shape
    assert [int(value) for value in result.flat] == expected


@settings(deadline=None)
@given(
    stored=stored_arrays(),
    slope=st.floats(-1e6, 1e6),
    intercept=st.floats(-1e6, 1e6),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_floats_are_computed_in_float64_and_rounded_once(xp, stored, slope, intercept, dtype):
    result = to_host(rescale(xp(stored), slope=slope, intercept=intercept, dtype=dtype))
    expected = [np.dtype(dtype).type(int(value) * slope + intercept) for value in stored.flat]
    assert result.dtype == dtype
    np.testing.assert_array_equal(result.reshape(-1), np.array(expected, dtype=dtype))


def test_floats_in_pieces_equal_floats_at_once():
    stored = np.random.default_rng(1).integers(-2000, 4000, (7, 300, 150)).astype(np.int16)
    result = rescale(stored, slope=0.1, intercept=-3.3, dtype="float32")
    np.testing.assert_array_equal(result, (stored * 0.1 + -3.3).astype(np.float32))
    flat = rescale(stored.reshape(-1), slope=0.1, intercept=-3.3, dtype="float32")
    np.testing.assert_array_equal(flat, result.reshape(-1))


@pytest.mark.parametrize("dtype", ["int16", "uint16", "int32", "float32"])
@pytest.mark.parametrize("slope", [1, 3])
def test_the_order_of_bytes_does_not_matter(dtype, slope):
    stored = np.array([[0, 1, 258], [259, 4095, 7]], np.uint16)
    expected = rescale(stored, slope=slope, intercept=9, dtype=dtype)
    swapped = rescale(stored.astype(">u2"), slope=slope, intercept=9, dtype=dtype)
    assert swapped.dtype == expected.dtype == dtype
    np.testing.assert_array_equal(swapped, expected)
    np.testing.assert_array_equal(expected, stored * slope + 9)


def test_typical_ct_is_hounsfield_units(xp):
    stored = xp(np.array([[0, 1024], [3071, 4095]], dtype=np.uint16))
    result = to_host(rescale(stored, slope=1, intercept=-1024, dtype="int16"))
    np.testing.assert_array_equal(result, np.array([[-1024, 0], [2047, 3071]], dtype=np.int16))


@pytest.mark.parametrize("dtype", [np.int16, np.dtype("int16"), "int16", "<i2"], ids=repr)
def test_dtype_may_be_given_in_every_usual_way(dtype):
    assert rescale(np.zeros(1, np.uint8), slope=1, intercept=0, dtype=dtype).dtype == np.int16


@pytest.mark.parametrize(
    "one", [1, 1.0, Decimal("1.0"), Fraction(1), np.float64(1), np.int64(1)], ids=repr
)
def test_integral_numbers_of_any_type_are_integers(xp, one):
    result = rescale(xp(np.array([5], np.int16)), slope=one, intercept=one, dtype="int16")
    assert to_host(result).tolist() == [6]


@pytest.mark.parametrize("dtype", ["int16", "float32", "float64"])
@pytest.mark.parametrize("slope", [1, 3])
def test_out_is_written_in_place(dtype, slope):
    stored = np.arange(12, dtype=np.uint16).reshape(3, 4)
    slab = np.zeros((2, 3, 8), dtype)
    view = slab[1, :, ::2]
    result = rescale(stored, slope=slope, intercept=-4, dtype=dtype, out=view)
    assert result is view
    np.testing.assert_array_equal(slab[1, :, ::2], stored.astype(np.int64) * slope - 4)
    assert not slab[0].any()
    assert not slab[1, :, 1::2].any()


def test_rescaling_into_a_slab_takes_no_temporaries():
    stored, out = np.zeros((8, 256, 256), np.uint16), np.empty((8, 256, 256), np.int16)
    tracemalloc.start()
    try:
        rescale(stored, slope=2, intercept=-1024, dtype="int16", out=out)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**17
    assert np.all(out == -1024)


def test_out_works_in_every_library(xp):
    stored = np.arange(6, dtype=np.int16).reshape(2, 3)
    for dtype in ("int32", "float32"):
        out = get_namespace(xp(stored)).zeros(
            (2, 3), dtype=getattr(get_namespace(xp(stored)), dtype)
        )
        assert rescale(xp(stored), slope=2, intercept=1, dtype=dtype, out=out) is out
        np.testing.assert_array_equal(to_host(out), stored * 2 + 1)


def test_out_that_does_not_fit_is_refused():
    stored = np.zeros((2, 3), np.int16)
    for out in (np.zeros((3, 2), np.int16), np.zeros((2, 3), np.int32)):
        with pytest.raises(ValueError, match="out must be"):
            rescale(stored, slope=1, intercept=0, dtype="int16", out=out)


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype", "message"),
    [
        (0.5, 0, "int16", "must be integers"),
        (1, 0.5, "int32", "must be integers"),
        (float("nan"), 0, "float32", "finite"),
        (1, float("inf"), "int16", "finite"),
        (1e300, 0, "float32", "become"),
        (1, -1, "uint8", "become"),
    ],
)
def test_what_cannot_be_exact_is_refused(xp, slope, intercept, dtype, message):
    stored = xp(np.array([0, 100], np.int16))
    with pytest.raises(ValueError, match=message):
        rescale(stored, slope=slope, intercept=intercept, dtype=dtype)


def test_other_dtypes_are_refused(xp):
    for dtype in ("float16", "complex64", "bool"):
        with pytest.raises(TypeError, match="dtype must be"):
            rescale(xp(np.zeros(1, np.int16)), slope=1, intercept=0, dtype=dtype)
    for dtype in ("float32", "int64", "bool"):
        with pytest.raises(TypeError, match="stored must be"):
            rescale(xp(np.zeros(1, dtype)), slope=1, intercept=0, dtype="int16")
