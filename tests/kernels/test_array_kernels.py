"""The fused CUDA kernels, on a GPU and through the same source on the CPU, against NumPy's."""

import functools
import math
import subprocess
from fractions import Fraction
from types import SimpleNamespace

import kernels_on_host
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sansfilm_kernels import (
    _cuda,
    _pyramid_cuda,
    _window_cuda,
    downsample,
    pyramid,
    to_host,
    window_linear,
    window_linear_exact,
    window_sigmoid,
    window_to_grey,
)

WINDOWS = {
    "LINEAR": window_linear,
    "LINEAR_EXACT": window_linear_exact,
    "SIGMOID": window_sigmoid,
}
# The fixture `gpu` says where kernels run, which no example changes.
SETTINGS = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def launches(monkeypatch):
    """Give the names of the kernels that are asked for, so that no other path passes for them."""
    names = []
    module = _cuda.module

    @functools.cache
    def watched(source):
        def get_function(name):
            names.append(name)
            return module(source).get_function(name)

        return SimpleNamespace(get_function=get_function)

    monkeypatch.setattr(_cuda, "module", watched)
    return names


def same_bits(one, other):
    assert one.dtype == other.dtype
    assert one.shape == other.shape
    assert one.tobytes() == other.tobytes()


@st.composite
def stored_arrays(draw, dtypes):
    """Arrays of a few values, of extremes, or of anything, infinities and NaN included."""
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6))
    elements = hnp.from_dtype(dtype) | st.integers(0, 100).map(dtype.type)
    if dtype.kind == "f":
        elements |= st.floats(-3000, 3000, width=32)
    return draw(hnp.arrays(dtype, shape, elements=elements))


NUMBERS = st.integers(-3000, 3000) | st.floats(-3000, 3000) | st.floats(-1e30, 1e30)
WIDTHS = st.sampled_from([1, 1.0, 1.5, 2, 256, 400, 4096]) | st.floats(1, 1e5)


@SETTINGS
@given(
    values=stored_arrays(_window_cuda.FLOATS),
    function=st.sampled_from(list(WINDOWS)),
    center=NUMBERS,
    width=WIDTHS,
    ends=st.sampled_from([(0.0, 255.0), (255.0, 0.0), (-3.5, 7.25)]),
)
def test_windows_are_those_of_numpy(gpu, values, function, center, width, ends):
    arguments = {"center": center, "width": width, "low": ends[0], "high": ends[1]}
    with np.errstate(all="ignore"):
        expected = WINDOWS[function](values, **arguments)
    found = to_host(WINDOWS[function](gpu(values), **arguments))
    if function == "SIGMOID":
        close = 8 * np.finfo(values.dtype).eps * 255
        np.testing.assert_allclose(found, expected, rtol=0, atol=close)
    else:
        same = np.isnan(found) & np.isnan(expected)  # which NaN is nobody's business
        same_bits(np.where(same, 0, found), np.where(same, 0, expected))


@SETTINGS
@given(
    stored=stored_arrays(_window_cuda.STORED),
    function=st.sampled_from(list(WINDOWS)),
    center=NUMBERS,
    width=WIDTHS,
    slope=st.sampled_from([1, -1, 0, 0.37, 2.0, 1e-30]) | st.floats(-100, 100),
    intercept=st.sampled_from([0, -1024, 0.1]) | st.floats(-1e5, 1e5),
)
def test_grey_is_that_of_numpy(gpu, stored, function, center, width, slope, intercept):
    arguments = {"center": center, "width": width, "function": function}
    arguments |= {"slope": slope, "intercept": intercept}
    expected = window_to_grey(stored, **arguments)
    found = to_host(window_to_grey(gpu(stored), **arguments))
    if function == "SIGMOID":
        assert found.dtype == np.uint8
        assert np.abs(found.astype(int) - expected).max(initial=0) <= 1
    else:
        same_bits(found, expected)


def test_the_window_kernels_run(gpu, launches):
    for dtype in _window_cuda.STORED:
        window_to_grey(gpu(np.ones((2, 3), dtype)), center=0, width=2)
    for dtype in _window_cuda.FLOATS:
        window_sigmoid(gpu(np.ones((2, 3), dtype)), center=0, width=2)
    expected = [f"grey_{dtype}" for dtype in _window_cuda.STORED]
    assert launches == expected + [f"window_{dtype}" for dtype in _window_cuda.FLOATS]


@pytest.mark.parametrize("dtype", ["int16", "uint8", "int32"])
@pytest.mark.parametrize("center", [40, 40.5])
@pytest.mark.parametrize("width", [1, 2, 400, 65536])
def test_grey_is_as_the_standard_defines(xp, dtype, center, width):
    """In exact fractions; a value at half way may have been rounded to either side before."""
    stored = np.arange(-1000, 1000).clip(np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)
    found = to_host(window_to_grey(xp(stored), center=center, width=width, slope=2, intercept=-5))
    c = Fraction(center) - Fraction(1, 2)
    for value, grey in zip(stored.tolist(), found.tolist(), strict=True):
        x = 2 * Fraction(value) - 5
        unit = (x - c) / (width - 1) + Fraction(1, 2) if width > 1 else Fraction(x > c)
        exact = min(max(unit, Fraction(0)), Fraction(1)) * 255
        assert abs(exact - grey) <= Fraction(1, 2) + Fraction(1, 2**12)


def test_grey_of_nan_is_0_and_of_infinities_the_ends(xp):
    values = xp(np.array([np.nan, -np.inf, np.inf], np.float32))
    assert to_host(window_to_grey(values, center=0, width=2)).tolist() == [0, 0, 255]


@pytest.mark.parametrize("name", ["center", "width", "slope", "intercept"])
def test_numbers_that_are_not_finite_are_refused(name):
    arguments = {"center": 40.0, "width": 400.0} | {name: math.inf}
    with pytest.raises(ValueError, match="finite"):
        window_to_grey(np.zeros(3, np.int16), **arguments)


def test_wrong_windows_are_refused(xp):
    with pytest.raises(TypeError, match="stored must be"):
        window_to_grey(xp(np.zeros(3, np.int64)), center=0, width=2)
    with pytest.raises(TypeError, match="stored must be"):
        window_to_grey(xp(np.zeros(3, bool)), center=0, width=2)
    with pytest.raises(ValueError, match="function must be"):
        window_to_grey(xp(np.zeros(3, np.int16)), center=0, width=2, function="GAMMA")
    with pytest.raises(ValueError, match="at least 1"):
        window_to_grey(xp(np.zeros(3, np.int16)), center=0, width=0.5)


@st.composite
def blocks(draw, max_side=9):
    """Blocks of few values, of extremes, or of anything, laid out in any way."""
    dtype = np.dtype(draw(st.sampled_from(_pyramid_cuda.INTEGERS)))
    info = np.iinfo(dtype)
    anything = st.integers(int(info.min), int(info.max))
    extremes = st.sampled_from([info.min, info.min + 1, info.max - 1, info.max])
    elements = draw(st.sampled_from([anything, extremes, st.integers(0, 3)]))
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=max_side))
    return draw(hnp.arrays(dtype, shape, elements=elements))


@st.composite
def reductions(draw, block):
    """Levels, each a multiple of the one before, and padding."""
    step = st.lists(st.integers(1, 4), min_size=block.ndim, max_size=block.ndim)
    levels = np.cumprod(draw(st.lists(step, min_size=1, max_size=5)), axis=0).tolist()
    info, voxel = np.iinfo(block.dtype), int(draw(st.sampled_from(block.reshape(-1).tolist())))
    above = draw(st.integers(voxel, int(info.max)))
    ranges = [None, (voxel, voxel), (voxel, above), (int(info.min), voxel), (-(2**40), voxel)]
    return levels, draw(st.sampled_from(ranges))


LAYOUTS = {
    "C": lambda array: array,
    "transposed": lambda array: array.T.copy().T,
    "backwards": lambda array: array[::-1].copy()[::-1],
    "every other": lambda array: np.repeat(array, 2, axis=-1)[..., ::2],
}


@SETTINGS
@given(
    data=st.data(),
    block=blocks(),
    layout=st.sampled_from(list(LAYOUTS)),
    voxels=st.sampled_from([1, 10, 100, 1 << 14]),
    most=st.sampled_from([1, 2, 2048]),
)
def test_every_level_is_that_of_numpy(gpu, data, block, layout, voxels, most):
    levels, padding = data.draw(reductions(block))
    there = gpu(block)
    if isinstance(there, np.ndarray):
        there = LAYOUTS[layout](there).view(type(there))
    expected = pyramid(block, levels, padding=padding)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_pyramid_cuda, "_TILE", voxels)
        patch.setattr(_pyramid_cuda, "_MOST_BLOCKS", most)
        found = pyramid(there, levels, padding=padding)
    for one, other in zip(found, expected, strict=True):
        same_bits(to_host(one), other)


def test_the_pyramid_kernels_run_once_for_all_levels(gpu, launches):
    for dtype in _pyramid_cuda.INTEGERS:
        pyramid(gpu(np.ones((4, 5, 6), dtype)), [(1, 2, 2), (2, 4, 4), (2, 8, 8)])
    assert launches == [f"pyramid_{dtype}" for dtype in _pyramid_cuda.INTEGERS]


def test_other_reductions_take_the_other_path(gpu, launches):
    block = np.arange(2**5).reshape(2, 2, 2, 2, 2).astype(np.int16)
    for array in (block, block.astype(np.float32)[0]):
        found = to_host(downsample(gpu(array), (2,) * array.ndim))
        same_bits(found, downsample(array, (2,) * array.ndim))
    same_bits(
        to_host(downsample(gpu(block), (2,) * 5, method="max")),
        downsample(block, (2,) * 5, method="max"),
    )
    assert launches == []


def test_factors_beyond_the_block_and_empty_blocks(gpu):
    block = np.arange(12, dtype=np.int16).reshape(3, 4)
    levels = [(2, 2), (2**20, 2), (2**40, 2**50)]
    found = pyramid(gpu(block), levels)
    for one, other in zip(found, pyramid(block, levels), strict=True):
        same_bits(to_host(one), other)
    assert pyramid(gpu(block[:0]), levels)[0].shape == (0, 2)


def record(on_host, path, shapes):
    """Launch on recorded arrays; return all that NumPy says they give."""
    rng = np.random.default_rng(5)
    on_host(kernels_on_host.ArrayRecorder(path))
    expected = b""
    for number, shape in enumerate(shapes):
        dtype = np.dtype(_pyramid_cuda.INTEGERS[number % 6])
        info = np.iinfo(dtype)
        block = rng.integers(info.min, info.max, shape, dtype, endpoint=True)
        levels = np.cumprod(rng.integers(1, 4, (3, len(shape))), axis=0).tolist()
        padding = None if number % 2 else (int(block.flat[0]), int(info.max))
        pyramid(kernels_on_host.as_host_array(block), levels, padding=padding)
        expected += b"".join(x.tobytes() for x in pyramid(block, levels, padding=padding))
        stored = block.astype(_window_cuda.STORED[number % 8])
        grey = {"center": 3, "width": 50 + number, "slope": 0.5, "intercept": -9}
        window_to_grey(kernels_on_host.as_host_array(stored), **grey)
        expected += window_to_grey(stored, **grey).tobytes()
    return expected


def shapes(count, most):
    rng = np.random.default_rng(6)
    return [tuple(rng.integers(1, most, rng.integers(1, 5)).tolist()) for _ in range(count)]


@pytest.mark.parametrize("sanitizers", ["SANITIZERS", "THREADS"])
def test_sanitizers_find_nothing(on_host, share, monkeypatch, tmp_path, sanitizers):
    """No byte outside of an array, nothing undefined, and a barrier wherever one is needed."""
    count = share(24, 300) if sanitizers == "THREADS" else share(60, 1000)
    monkeypatch.setattr(_pyramid_cuda, "_TILE", 200)
    monkeypatch.setattr(_pyramid_cuda, "_MOST_BLOCKS", 5)
    expected = record(on_host, tmp_path / "launches", shapes(count, 14))
    try:
        options = getattr(kernels_on_host, sanitizers)
        program = kernels_on_host.compiled("replay.cpp", tmp_path / "replay", *options)
    except subprocess.CalledProcessError:
        pytest.skip("this g++ has no such sanitizer")
    done = subprocess.run([str(program), str(tmp_path / "launches")], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[:5000]
    assert done.stdout == expected
