"""Reductions against plain Python on every cell, and the properties that the pipeline needs."""

import math
import sys
import tracemalloc
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sansfilm_kernels import downsample, get_namespace, pyramid, to_host
from sansfilm_kernels._grid import reduced_region, reduced_shape, tiles

# The function of the same name hides the module in the package.
MODULE = sys.modules[pyramid.__module__]
INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32"]
FLOATS = ["float32", "float64"]
METHODS = ["mean", "max", "min", "mode", "nearest"]


def cells(block, factors):
    """Yield the voxels of each cell, in C order of the cells, as an array."""
    for index in np.ndindex(*(math.ceil(n / f) for n, f in zip(block.shape, factors, strict=True))):
        yield block[tuple(slice(i * f, (i + 1) * f) for i, f in zip(index, factors, strict=True))]


def expected_cell(cell, factors, method, padding):
    """Reduce one cell of integers as the documentation says."""
    if method == "nearest":
        place = ((f - 1) // 2 for f in factors)
        return int(cell[tuple(min(i, n - 1) for i, n in zip(place, cell.shape, strict=True))])
    voxels = [int(voxel) for voxel in cell.flat]
    low, high = padding if padding else (1, 0)
    kept = [voxel for voxel in voxels if not low <= voxel <= high]
    if not kept:
        return low
    if method == "mean":
        return math.floor(Fraction(sum(kept), len(kept)) + Fraction(1, 2))
    if method in ("max", "min"):
        return max(kept) if method == "max" else min(kept)
    counted = Counter(kept)
    most = max(counted.values())
    return min(value for value, count in counted.items() if count == most)


def expected_level(block, factors, method, padding):
    values = [expected_cell(cell, factors, method, padding) for cell in cells(block, factors)]
    shape = tuple(math.ceil(n / f) for n, f in zip(block.shape, factors, strict=True))
    return np.array(values, dtype=block.dtype).reshape(shape)


@st.composite
def integer_blocks(draw, max_side=7):
    """Blocks of few values (ties, uniform cells), of extremes, or of anything."""
    dtype = np.dtype(draw(st.sampled_from(INTEGERS)))
    info = np.iinfo(dtype)
    anything = st.integers(int(info.min), int(info.max))
    few = draw(st.lists(anything, min_size=1, max_size=3))
    extremes = [info.min, info.min + 1, info.max - 1, info.max]
    elements = draw(
        st.sampled_from(
            [anything, st.sampled_from(few), st.sampled_from(extremes), st.integers(0, 3)]
        )
    )
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=max_side))
    return draw(hnp.arrays(dtype, shape, elements=elements))


@st.composite
def paddings(draw, block):
    """None, one value of the block, or a range that starts or ends at one."""
    info = np.iinfo(block.dtype)
    voxel = int(draw(st.sampled_from(block.reshape(-1).tolist())))
    below = draw(st.integers(int(info.min), voxel))
    above = draw(st.integers(voxel, int(info.max)))
    choices = [None, (voxel, voxel), (below, voxel), (voxel, above), (int(info.min), voxel)]
    return draw(st.sampled_from(choices))


def chains(ndim, depth):
    """Draw 1 to `depth` levels, each a multiple of the one before, not powers of two only."""
    step = st.lists(st.integers(1, 4), min_size=ndim, max_size=ndim)

    def multiply(levels):
        return np.cumprod(levels, axis=0).tolist()

    return st.lists(step, min_size=1, max_size=depth).map(multiply)


@settings(deadline=None, max_examples=120)
@given(data=st.data(), block=integer_blocks(), method=st.sampled_from(METHODS))
def test_every_voxel_is_what_its_cell_says(xp, data, block, method):
    padding = data.draw(paddings(block))
    factors = data.draw(st.lists(st.integers(1, 9), min_size=block.ndim, max_size=block.ndim))
    result = downsample(xp(block), factors, method=method, padding=padding)
    assert get_namespace(result) is get_namespace(xp(block))
    assert to_host(result).dtype == block.dtype
    expected = expected_level(block, factors, method, padding)
    np.testing.assert_array_equal(to_host(result), expected)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), block=integer_blocks(), method=st.sampled_from(METHODS))
def test_every_level_is_that_level_alone(xp, data, block, method):
    padding = data.draw(paddings(block))
    levels = data.draw(chains(block.ndim, 4))
    results = pyramid(xp(block), levels, method=method, padding=padding)
    assert len(results) == len(levels)
    for factors, result in zip(levels, results, strict=True):
        alone = downsample(xp(block), factors, method=method, padding=padding)
        np.testing.assert_array_equal(to_host(result), to_host(alone))
        expected = expected_level(block, factors, method, padding)
        np.testing.assert_array_equal(to_host(result), expected)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), block=integer_blocks(max_side=12), method=st.sampled_from(METHODS))
def test_slabs_reduced_one_by_one_are_the_whole(xp, data, block, method):
    padding = data.draw(paddings(block))
    levels = data.draw(chains(block.ndim, 3))
    depth = levels[-1][0] * data.draw(st.integers(1, 2))
    whole = pyramid(xp(block), levels, method=method, padding=padding)
    slabs = [
        pyramid(xp(block[start : start + depth]), levels, method=method, padding=padding)
        for start in range(0, block.shape[0], depth)
    ]
    for number, level in enumerate(whole):
        joined = np.concatenate([to_host(slab[number]) for slab in slabs])
        np.testing.assert_array_equal(joined, to_host(level))


@settings(deadline=None, max_examples=60)
@given(data=st.data(), block=integer_blocks(max_side=12), method=st.sampled_from(METHODS))
def test_tiles_do_not_show(data, block, method):
    padding = data.draw(paddings(block))
    levels = data.draw(chains(block.ndim, 3))
    whole = pyramid(block, levels, method=method, padding=padding)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MODULE, "_HOST_TILE", data.draw(st.integers(1, 200)))
        tiled = pyramid(block, levels, method=method, padding=padding)
    for one, other in zip(whole, tiled, strict=True):
        np.testing.assert_array_equal(one, other)


@settings(deadline=None)
@given(
    shape=hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=12),
    data=st.data(),
    voxels=st.integers(1, 500),
)
def test_tiles_cover_every_voxel_once_and_cut_no_cell(shape, data, voxels):
    factors = data.draw(st.lists(st.integers(1, 9), min_size=len(shape), max_size=len(shape)))
    seen, reduced = np.zeros(shape, int), np.zeros(reduced_shape(shape, factors), int)
    for region in tiles(shape, factors, voxels):
        seen[region] += 1
        reduced[reduced_region(region, factors)] += 1
        assert seen[region].size <= max(voxels, math.prod(factors))
    assert np.all(seen == 1)
    assert np.all(reduced == 1)


@pytest.mark.parametrize(
    "value", [2047, 4095, 4096, 32767, 65535, 2**28, 2**29, 2**31 - 1, -(2**15), -(2**31)]
)
@pytest.mark.parametrize("factors", [(1, 2, 2), (2, 2, 2), (3, 3, 3), (4, 4, 4), (2, 3, 5)])
def test_sums_never_overflow(xp, value, factors):
    for dtype in INTEGERS:
        if np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
            block = xp(np.full((7, 7, 7), value, dtype))
            assert np.all(to_host(downsample(block, factors)) == value)
            result = downsample(
                block, factors, padding=(value - 1, value - 1) if value > 0 else None
            )
            assert np.all(to_host(result) == value)


@pytest.mark.parametrize("side", [15, 16, 17, 255, 256, 257])
def test_counts_of_large_cells_with_padding(xp, side):
    block = np.full((2, side, side), -5, np.int16)
    block[:, 0, 0] = -2000
    result = downsample(xp(block), (2, side, side), padding=(-2000, -2000))
    assert to_host(result).tolist() == [[[-5]]]


def test_halves_round_up_also_below_zero(xp):
    pairs = [[0, 1], [1, 2], [-1, 0], [-2, -1], [-3, -2], [-1, -1]]
    result = downsample(xp(np.array(pairs, np.int16)), (1, 2))
    assert to_host(result)[:, 0].tolist() == [1, 2, 0, -1, -2, -1]


@pytest.mark.parametrize("count", range(1, 25))
@pytest.mark.parametrize("padded", [0, 1, 3])
def test_every_fraction_is_rounded_right(xp, count, padded):
    totals = range(-2 * count, 2 * count)
    block = np.zeros((len(totals), count + padded), np.int16)
    block[:, 0] = totals
    block[1:, count:] = 99  # the first cell is full: zeros instead of padding
    result = downsample(xp(block), (1, count + padded), padding=(99, 99))
    counts = [count + padded, *[count] * (len(totals) - 1)]
    fractions = [Fraction(total, n) for total, n in zip(totals, counts, strict=True)]
    assert to_host(result)[:, 0].tolist() == [math.floor(x + Fraction(1, 2)) for x in fractions]


def test_padding_does_not_bleed(xp):
    block = np.array([[-2000, -2000, 10, 11], [-2000, 7, -2000, 12]], np.int16)
    levels = [(1, 2), (2, 4)]
    results = pyramid(xp(block), levels, padding=(-2000, -2000))
    assert to_host(results[0]).tolist() == [[-2000, 11], [7, 12]]
    assert to_host(results[1]).tolist() == [[10]]


def test_padding_beyond_the_dtype(xp):
    block = xp(np.array([[0, 4], [0, 0]], np.uint16))
    found = to_host(downsample(block, (1, 2), padding=(-2000, -1000)))
    assert found.tolist() == [[2], [0]]
    found = to_host(downsample(block, (1, 2), padding=(-5, 0)))
    assert found.tolist() == [[4], [0]]
    found = to_host(downsample(block, (1, 2), padding=(4.0, 1e9)))
    assert found.tolist() == [[0], [0]]


def test_nearest_takes_the_voxel_before_the_middle(xp):
    block = xp(np.arange(11, dtype=np.uint8))
    assert to_host(downsample(block, (4,), method="nearest")).tolist() == [1, 5, 9]
    assert to_host(downsample(block, (5,), method="nearest")).tolist() == [2, 7, 10]
    assert to_host(downsample(block, (20,), method="nearest")).tolist() == [9]


def test_labels_are_reduced_by_mode(xp):
    labels = np.zeros((4, 4), np.uint8)
    labels[:3, :3] = 7
    labels[0, 3] = 9
    assert to_host(downsample(xp(labels), (2, 2), method="mode")).tolist() == [[7, 7], [0, 0]]
    found = downsample(xp(labels), (2, 2), method="mode", padding=(0, 0))
    assert to_host(found).tolist() == [[7, 7], [7, 7]]


@st.composite
def float_blocks(draw):
    dtype = np.dtype(draw(st.sampled_from(FLOATS)))
    elements = st.floats(-(2.0**40), 2.0**40, width=32) | st.sampled_from([0.0, 1.0, -1000.0])
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=7))
    return draw(hnp.arrays(dtype, shape, elements=elements))


@settings(deadline=None)
@given(data=st.data(), block=float_blocks())
def test_float_means_are_within_the_stated_error(xp, data, block):
    levels = data.draw(chains(block.ndim, 3))
    padding = data.draw(st.sampled_from([None, (-1000.0, -1000.0), (-1e3, 0.0)]))
    low, high = padding or (1.0, 0.0)
    results = pyramid(xp(block), levels, padding=padding)
    for factors, result in zip(levels, results, strict=True):
        alone = downsample(xp(block), factors, padding=padding)
        found = to_host(result)
        assert found.dtype == block.dtype
        np.testing.assert_array_equal(found, to_host(alone))
        for value, cell in zip(found.flat, cells(block, factors), strict=True):
            kept = [Fraction(float(v)) for v in cell.flat if not low <= v <= high]
            if not kept:
                assert value == low
                continue
            mean = sum(kept) / len(kept)
            size = float(sum(map(abs, kept)) / len(kept))
            slack = float(np.spacing(abs(value))) + cell.size * 2.0**-53 * size
            assert abs(float(Fraction(float(value)) - mean)) <= slack


@settings(deadline=None)
@given(data=st.data(), block=float_blocks(), method=st.sampled_from(["max", "min", "nearest"]))
def test_float_voxels_are_picked_unchanged(xp, data, block, method):
    levels = data.draw(chains(block.ndim, 3))
    for factors, result in zip(levels, pyramid(xp(block), levels, method=method), strict=True):
        for value, cell in zip(to_host(result).flat, cells(block, factors), strict=True):
            place = tuple(
                min((f - 1) // 2, n - 1) for f, n in zip(factors, cell.shape, strict=True)
            )
            picked = {"max": cell.max, "min": cell.min, "nearest": lambda: cell[place]}  # noqa: B023
            assert value == picked[method]()


@settings(deadline=None)
@given(data=st.data(), block=float_blocks())
def test_float_slabs_and_tiles_give_the_same_bits(xp, data, block):
    levels = data.draw(chains(block.ndim, 3))
    depth = levels[-1][0]
    whole = pyramid(xp(block), levels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MODULE, "_HOST_TILE", 5)
        slabs = [
            pyramid(xp(block[start : start + depth]), levels)
            for start in range(0, block.shape[0], depth)
        ]
    for number, level in enumerate(whole):
        joined = np.concatenate([to_host(slab[number]) for slab in slabs])
        assert joined.tobytes() == to_host(level).tobytes()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("padding", [None, (-1.0, -1.0), (-math.inf, -500.0)])
def test_nan_and_infinity_in_floats(xp, dtype, padding):
    rows = [[np.nan, 1], [np.inf, 1], [np.inf, -np.inf], [1, 2]]
    block = xp(np.array(rows, dtype))
    excluded = padding is not None and padding[0] == -math.inf
    mean = [np.nan, np.inf, np.inf if excluded else np.nan, 1.5]
    found = to_host(downsample(block, (1, 2), padding=padding))
    np.testing.assert_array_equal(found[:, 0], np.array(mean, dtype))
    found = to_host(downsample(block, (1, 2), method="max", padding=padding))
    np.testing.assert_array_equal(found[:, 0], np.array([np.nan, np.inf, np.inf, 2], dtype))


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data())
def test_nan_as_padding_gives_the_mean_of_the_others(xp, dtype, data):
    shape = data.draw(st.tuples(*[st.integers(1, 7)] * 2))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    block = rng.normal(0, 100, shape).astype(dtype)
    block[rng.random(shape) < data.draw(st.sampled_from([0.1, 0.5, 1.0]))] = np.nan
    nan = (math.nan, math.nan)
    for method, reduce in (("mean", np.nanmean), ("max", np.nanmax), ("min", np.nanmin)):
        found = to_host(downsample(xp(block), (2, 3), method=method, padding=nan))
        for y, x in np.ndindex(found.shape):
            cell = block[2 * y : 2 * y + 2, 3 * x : 3 * x + 3].astype(np.float64)
            if np.isnan(cell).all():
                assert np.isnan(found[y, x])
            else:
                np.testing.assert_allclose(found[y, x], reduce(cell), rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("padding", [None, (3, 5)])
def test_any_memory_layout_gives_the_same(method, padding):
    block = np.random.default_rng(3).integers(0, 9, (6, 7, 8)).astype(np.int16)
    levels = [(1, 2, 2), (2, 4, 4)]
    expected = pyramid(block, levels, method=method, padding=padding)
    wide = np.zeros((6, 7, 16), np.int16)
    wide[:, :, ::2] = block
    layouts = [
        np.asfortranarray(block),
        wide[:, :, ::2],
        np.ascontiguousarray(block[::-1, :, ::-1])[::-1, :, ::-1],
        block.astype(">i2"),
    ]
    for layout in layouts:
        results = pyramid(layout, levels, method=method, padding=padding)
        for one, other in zip(expected, results, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("method", METHODS)
def test_results_are_new_memory(method):
    block = np.arange(8, dtype=np.int16).reshape(2, 2, 2)
    (level,) = pyramid(block, [(1, 1, 1)], method=method)
    assert not np.shares_memory(level, block)
    np.testing.assert_array_equal(level, block)


@pytest.mark.parametrize("method", METHODS)
def test_empty_blocks_and_no_levels(xp, method):
    result = downsample(xp(np.zeros((0, 4), np.int16)), (2, 2), method=method)
    assert result.shape == (0, 2)
    assert pyramid(xp(np.zeros((2, 2), np.int16)), [], method=method) == []


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("padding", [None, (0, 0)])
def test_temporaries_are_smaller_than_the_block(method, padding):
    block = np.random.default_rng(4).integers(0, 2, (16, 512, 512)).astype(np.int16)
    levels = [(2, 2, 2), (4, 4, 4), (8, 8, 8)]
    pyramid(block, levels, method=method, padding=padding)
    tracemalloc.start()
    try:
        results = pyramid(block, levels, method=method, padding=padding)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - sum(level.nbytes for level in results) < block.nbytes


@pytest.mark.parametrize(
    ("factors", "message"),
    [([(2,)], "factors"), ([(0, 1)], "factors"), ([(2, 2), (3, 4)], "multiples")],
)
def test_wrong_factors_are_refused(factors, message):
    with pytest.raises(ValueError, match=message):
        pyramid(np.zeros((4, 4), np.int16), factors)


def test_wrong_arguments_are_refused(xp):
    block = xp(np.zeros((4, 4), np.int16))
    with pytest.raises(ValueError, match="method"):
        downsample(block, (2, 2), method="median")
    for padding in ((1, 0), (0.5, 1), (math.nan, 1), (-math.inf, 0)):
        with pytest.raises(ValueError, match="padding"):
            downsample(block, (2, 2), padding=padding)
    with pytest.raises(ValueError, match="axis"):
        downsample(xp(np.zeros((), np.int16)), ())
    for dtype in ("int64", "uint64", "complex64", "bool"):
        with pytest.raises(TypeError, match="block must be"):
            downsample(xp(np.zeros((4, 4), dtype)), (2, 2))
    with pytest.raises(TypeError, match="mode needs integers"):
        downsample(xp(np.zeros((4, 4), np.float32)), (2, 2), method="mode")
