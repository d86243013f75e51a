"""Speed of the kernels on one slab of 64 x 512 x 512 voxels, on one CPU core.

``make bench`` measures; the normal test run executes each once and checks its result. `GB/s` in
the JSON report (``--benchmark-json``) is bytes of the input per second of the best round.
"""

import numpy as np
import pytest

from sansfilm_kernels import apply_lut, downsample, pyramid, rescale, window_linear, window_sigmoid

SHAPE = (64, 512, 512)
CUBIC = ((2, 2, 2), (4, 4, 4), (8, 8, 8))
IN_PLANE_FIRST = ((1, 2, 2), (2, 4, 4), (4, 8, 8))
AIR = -2000


@pytest.fixture(scope="module")
def hounsfield():
    """CT values, 12 bits wide, noisy: nothing for a kernel to guess."""
    return np.random.default_rng(0).integers(-1024, 3072, SHAPE).astype(np.int16)


@pytest.fixture(scope="module")
def padded(hounsfield):
    """Return the same with padding outside a circular field of view: 21 % of the voxels."""
    y, x = np.ogrid[:512, :512]
    return np.where((y - 255.5) ** 2 + (x - 255.5) ** 2 > 256**2, np.int16(AIR), hounsfield)


def measure(benchmark, source, function, *args, **kwargs):
    result = benchmark(function, *args, **kwargs)
    if benchmark.enabled:
        benchmark.extra_info["GB/s"] = round(source.nbytes / benchmark.stats.stats.min / 1e9, 2)
    return result


def reshape_mean(block, levels):
    """Do what everybody writes first: the float64 mean of a reshaped block, rounded half up."""
    results = []
    for factors in levels:
        split = [part for n, f in zip(block.shape, factors, strict=True) for part in (n // f, f)]
        mean = block.reshape(split).mean(axis=(1, 3, 5), dtype=np.float64)
        results.append(np.floor(mean + 0.5).astype(block.dtype))
    return results


def assert_levels_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("levels", [CUBIC, IN_PLANE_FIRST], ids=["cubic", "in-plane-first"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
def bench_pyramid_mean(benchmark, hounsfield, dtype, levels):
    block = hounsfield.astype(dtype)
    found = measure(benchmark, block, pyramid, block, levels)
    assert [level.dtype for level in found] == [block.dtype] * 3
    if dtype != "float32":
        assert_levels_equal(found[2:], reshape_mean(block, levels[2:]))


def bench_pyramid_mean_naively(benchmark, hounsfield):
    found = measure(benchmark, hounsfield, reshape_mean, hounsfield, CUBIC)
    assert_levels_equal(found, pyramid(hounsfield, CUBIC))


@pytest.mark.parametrize("padding", [(AIR, AIR), (AIR, AIR + 500)], ids=["value", "range"])
def bench_pyramid_mean_with_padding(benchmark, padded, padding):
    found = measure(benchmark, padded, pyramid, padded, CUBIC, padding=padding)
    assert np.all(found[2][:, 0, 0] == AIR)
    assert found[0].min(where=found[0] != AIR, initial=0) > -1025
    inside = (slice(None), slice(16, 48), slice(16, 48))
    np.testing.assert_array_equal(found[2][inside], downsample(padded, CUBIC[2])[inside])


def bench_pyramid_mean_with_padding_that_does_not_occur(benchmark, hounsfield):
    found = measure(benchmark, hounsfield, pyramid, hounsfield, CUBIC, padding=(AIR, AIR))
    assert_levels_equal(found, pyramid(hounsfield, CUBIC))


@pytest.mark.parametrize("method", ["max", "nearest"])
def bench_pyramid_of_picked_voxels(benchmark, hounsfield, method):
    found = measure(benchmark, hounsfield, pyramid, hounsfield, CUBIC, method=method)
    if method == "max":
        expected = hounsfield.reshape(32, 2, 256, 2, 256, 2).max(axis=(1, 3, 5))
    else:
        expected = hounsfield[::2, ::2, ::2]
    np.testing.assert_array_equal(found[0], expected)


def bench_pyramid_mode_of_labels(benchmark):
    labels = np.zeros(SHAPE, np.uint8)
    labels[10:40, 101:300, 103:300] = 1
    labels[20:50, 200:401, 50:351] = 2
    found = measure(benchmark, labels, pyramid, labels, CUBIC, method="mode")
    assert [np.unique(level).tolist() for level in found] == [[0, 1, 2]] * 3
    assert found[2][4, 20, 20] == 1


def bench_rescale_into_a_slab(benchmark, hounsfield):
    stored, slab = (hounsfield + 1024).astype(np.uint16), np.empty(SHAPE, np.int16)
    arguments = {"slope": 1, "intercept": -1024, "dtype": "int16", "out": slab}
    assert measure(benchmark, stored, rescale, stored, **arguments) is slab
    np.testing.assert_array_equal(slab, hounsfield)


def bench_rescale_to_float32(benchmark, hounsfield):
    arguments = {"slope": 0.37, "intercept": -1.5, "dtype": "float32"}
    found = measure(benchmark, hounsfield, rescale, hounsfield, **arguments)
    np.testing.assert_array_equal(found[0], (hounsfield[0] * 0.37 - 1.5).astype(np.float32))


@pytest.mark.parametrize("window", [window_linear, window_sigmoid], ids=["linear", "sigmoid"])
def bench_window_of_a_frame(benchmark, hounsfield, window):
    frame = hounsfield[0].astype(np.float32)
    found = measure(benchmark, frame, window, frame, center=40, width=400)
    scaled = (frame.astype(np.float64) - 39.5) / 399
    expected = np.clip(scaled + 0.5, 0, 1) * 255
    if window is window_sigmoid:
        expected = 255 / (1 + np.exp(-4 * (frame.astype(np.float64) - 40) / 400))
    np.testing.assert_allclose(found, expected, atol=1e-3)


def bench_lookup_table_of_a_frame(benchmark, hounsfield):
    entries = np.arange(4096, dtype=np.uint16)[::-1].copy()
    found = measure(
        benchmark, hounsfield[0], apply_lut, hounsfield[0], first=-1024, entries=entries
    )
    np.testing.assert_array_equal(found, entries[hounsfield[0] + 1024])
