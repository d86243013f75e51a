"""Windows against the standard's piecewise definitions, pydicom and highdicom."""

import math
from fractions import Fraction

import numpy as np
import pytest
from highdicom.pixels import apply_voi_window
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.pixels import apply_windowing

from sansfilm_kernels import (
    get_namespace,
    to_host,
    window_linear,
    window_linear_exact,
    window_sigmoid,
)

WINDOWS = {
    "LINEAR": window_linear,
    "LINEAR_EXACT": window_linear_exact,
    "SIGMOID": window_sigmoid,
}
CASES = [
    (40, 400),
    (50, 1),
    (40.5, 1),
    (0, 2),
    (-600, 1500),
    (0.25, 1.5),
    (127.3, 80.7),
    (2048, 4096),
]
# So that the ends of a window are exact in float64, too.
BINARY_FRACTIONS = st.integers(-2000, 2000) | st.integers(-(2**20), 2**20).map(lambda n: n / 2**9)
HU = np.concatenate([np.arange(-1100, 3100, 7), [39, 39.5, 40, 40.5, 49, 49.5, 50]]).astype(float)


def standard(function, x, center, width, low, high):
    """PS3.3 C.11.2.1.2.1 and C.11.2.1.3, in exact fractions but for the exponential."""
    c, w, low, high = (Fraction(number) for number in (center, width, low, high))
    if function == "SIGMOID":
        exponent = min(float(-4 * (Fraction(x) - c) / w), 700.0)
        return float(low) + float(high - low) / (1 + math.exp(exponent))
    if function == "LINEAR":
        c, w = c - Fraction(1, 2), w - 1
    if Fraction(x) <= c - w / 2:
        return float(low)
    if Fraction(x) > c + w / 2:
        return float(high)
    return float(((Fraction(x) - c) / w + Fraction(1, 2)) * (high - low) + low)


@pytest.mark.parametrize("function", WINDOWS)
@settings(deadline=None)
@given(
    values=st.lists(st.floats(-5000, 5000), min_size=1, max_size=20),
    center=BINARY_FRACTIONS,
    width=BINARY_FRACTIONS.map(lambda number: 1 + abs(number)),
    ends=st.sampled_from([(0.0, 255.0), (0.0, 1.0), (-3.5, 7.25), (255.0, 0.0)]),
)
def test_every_value_is_as_the_standard_defines(xp, function, values, center, width, ends):
    low, high = ends
    array = np.array(values)
    result = WINDOWS[function](xp(array), center=center, width=width, low=low, high=high)
    assert get_namespace(result) is get_namespace(xp(array))
    expected = [standard(function, value, center, width, low, high) for value in values]
    # A value is rounded to 2**-40 before it is divided by the width.
    slack = 1e-9 + 2.0**-40 / (width - 1 if function == "LINEAR" and width > 1 else width)
    np.testing.assert_allclose(to_host(result), expected, rtol=0, atol=slack * abs(high - low))


@pytest.mark.parametrize("function", WINDOWS)
@pytest.mark.parametrize(("center", "width"), CASES)
def test_agrees_with_pydicom(xp, function, center, width):
    dataset = Dataset()
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsStored, dataset.PixelRepresentation = 8, 0
    dataset.WindowCenter, dataset.WindowWidth = center, width
    dataset.VOILUTFunction = function
    with np.errstate(over="ignore"):
        expected = apply_windowing(HU, dataset)
    result = to_host(WINDOWS[function](xp(HU), center=center, width=width))
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("function", "center", "width"),
    # highdicom 0.28 divides by width - 1 in LINEAR.
    [(name, c, w) for name in WINDOWS for c, w in CASES if name != "LINEAR" or w > 1],
)
def test_agrees_with_highdicom(xp, function, center, width):
    with np.errstate(over="ignore"):
        expected = apply_voi_window(HU, center, width, function, output_range=(-1.0, 2.0))
    result = WINDOWS[function](xp(HU), center=center, width=width, low=-1.0, high=2.0)
    np.testing.assert_allclose(to_host(result), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("function", WINDOWS)
@pytest.mark.parametrize(("center", "width"), CASES)
def test_float32_stays_float32_and_close(xp, function, center, width):
    values = HU.astype(np.float32)
    result = to_host(WINDOWS[function](xp(values), center=center, width=width))
    assert result.dtype == np.float32
    exact = to_host(WINDOWS[function](xp(HU), center=center, width=width))
    np.testing.assert_allclose(result, exact, rtol=0, atol=1e-3)
    assert result.min() >= 0
    assert result.max() <= 255


def test_ct_abdomen_window_of_dcm4che_1578(xp):
    # W400 C40 must display 20, 144, 226 here; ramps over the whole width gave 23, 162, 255.
    values = xp(np.array([-128.0, 66.0, 194.0], np.float32))
    result = to_host(window_linear(values, center=40, width=400))
    assert np.rint(result).tolist() == [20, 144, 226]
    assert np.floor(result).tolist() == [20, 144, 226]


def test_notes_of_the_standard_on_linear(xp):
    # C.11.2.1.2.1: c=2048, w=4096 maps 0..4095 to the whole range; c=2048, w=1 is a threshold.
    ends = xp(np.array([0.0, 4095.0]))
    assert to_host(window_linear(ends, center=2048, width=4096)).tolist() == [0.0, 255.0]
    around = xp(np.array([2047.0, 2047.5, 2048.0]))
    assert to_host(window_linear(around, center=2048, width=1)).tolist() == [0.0, 0.0, 255.0]
    # C.11.2.1.3.2: c=2048, w=4096 maps 0..4096; c=2048, w=1 maps 2047.5..2048.5.
    ends = xp(np.array([0.0, 4096.0]))
    assert to_host(window_linear_exact(ends, center=2048, width=4096)).tolist() == [0.0, 255.0]
    around = xp(np.array([2047.5, 2048.0, 2048.5]))
    found = to_host(window_linear_exact(around, center=2048, width=1))
    assert found.tolist() == [0.0, 127.5, 255.0]


@pytest.mark.parametrize("function", WINDOWS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [1, 1.5, 400])
@pytest.mark.parametrize(("low", "high"), [(0.0, 255.0), (0.1, 0.7), (255.0, 0.0)])
def test_nan_stays_and_infinities_are_the_ends(xp, function, dtype, width, low, high):
    values = xp(np.array([np.nan, -np.inf, np.inf, -1e30, 1e30], dtype))
    result = WINDOWS[function](values, center=40, width=width, low=low, high=high)
    ends = np.array([np.nan, low, high, low, high], dtype)
    np.testing.assert_array_equal(to_host(result), ends)


@pytest.mark.parametrize("function", ["LINEAR_EXACT", "SIGMOID"])
def test_narrow_windows_do_not_overflow(xp, function):
    values = xp(np.array([-1e30, 0.0, 1e30], np.float32))
    result = to_host(WINDOWS[function](values, center=0, width=1e-20))
    assert result.tolist() == [0.0, 127.5, 255.0]


@pytest.mark.parametrize("shape", [(), (0,), (2, 3, 4)])
@pytest.mark.parametrize("function", WINDOWS)
def test_any_shape(xp, function, shape):
    result = WINDOWS[function](xp(np.full(shape, 1e6, np.float32)), center=40, width=400)
    assert result.shape == shape
    assert np.all(to_host(result) == 255)


@pytest.mark.parametrize("function", WINDOWS)
def test_integers_are_refused(xp, function):
    with pytest.raises(TypeError, match="real floating"):
        WINDOWS[function](xp(np.zeros(3, np.int16)), center=40, width=400)


@pytest.mark.parametrize(
    ("function", "width"),
    [
        ("LINEAR", 0.99),
        ("LINEAR", -1),
        ("LINEAR_EXACT", 0),
        ("LINEAR_EXACT", 1e-40),
        ("SIGMOID", -1),
    ],
)
def test_widths_that_are_no_windows_are_refused(xp, function, width):
    with pytest.raises(ValueError, match="width"):
        WINDOWS[function](xp(np.zeros(3, np.float32)), center=40, width=width)


@pytest.mark.parametrize("function", WINDOWS)
@pytest.mark.parametrize("name", ["center", "width", "low", "high"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_arguments_that_are_not_finite_are_refused(function, name, value):
    arguments = {"center": 40.0, "width": 400.0} | {name: value}
    with pytest.raises(ValueError, match="finite"):
        WINDOWS[function](np.zeros(3), **arguments)
