"""Each level of a stored volume is the block mean of level 0, for any chunk, slab and shape.

The oracle is plain Python with fractions, the stored bytes are read by zarr-python: nothing of
what wrote them takes part.
"""

import math
import shutil
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import synth
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sansfilm.intake import ingest
from sansfilm.options import Options, Storage


def stored_levels(folder, storage, **series):
    """Ingest a synthetic series; return it, its level arrays, their factors and the padding."""
    made = synth.series(folder / "in", **series)
    (row,) = ingest(made.folder, folder / "a", workers=1, options=Options(storage=storage)).volumes
    group = zarr.open_group(row["uri"], mode="r")
    datasets = group.attrs["ome"]["multiscales"][0]["datasets"]
    scales = [data["coordinateTransformations"][0]["scale"] for data in datasets]
    factors = [
        tuple(round(here / first) for here, first in zip(scale, scales[0], strict=True))
        for scale in scales
    ]
    levels = [group[data["path"]] for data in datasets]
    return made, levels, factors, group.attrs["sansfilm"]["padding"]


def cells(shape, factors):
    """Yield each voxel of a level and the level-0 voxels that it covers."""
    axes = [
        [range(start, min(start + factor, size)) for start in range(0, size, factor)]
        for size, factor in zip(shape, factors, strict=True)
    ]
    for place in product(*(range(len(axis)) for axis in axes)):
        covered = [axis[index] for axis, index in zip(axes, place, strict=True)]
        yield place, list(product(*covered))


def assert_block_means(level, values, factors, padding):
    rounded = np.issubdtype(values.dtype, np.integer)
    numbers = values.tolist()
    found = level[:]
    assert found.size == sum(1 for _ in cells(values.shape, factors))
    found = found.tolist()
    for (z, y, x), covered in cells(values.shape, factors):
        inside = [numbers[c][b][a] for c, b, a in covered]
        if padding is not None:
            inside = [value for value in inside if not padding[0] <= value <= padding[1]]
        if not inside:
            assert found[z][y][x] == padding[0]
            continue
        mean = sum(map(Fraction, inside)) / len(inside)
        if rounded:
            assert found[z][y][x] == math.floor(mean + Fraction(1, 2))
        else:
            nearest = np.float32(mean.numerator / mean.denominator)
            assert abs(found[z][y][x] - nearest) <= np.spacing(np.abs(nearest))


series = st.fixed_dictionaries(
    {
        "slices": st.integers(1, 11),
        "rows": st.integers(1, 23),
        "columns": st.integers(2, 27),
        "spacing": st.sampled_from([(1, 1, 1), (5, 0.5, 0.5), (0.4, 1, 1), (2, 0.7, 1.5)]),
        "padding": st.sampled_from([None, 0, 7]),
        "intercept": st.sampled_from([-1024, 0, 3.5]),
        "seed": st.integers(0, 99),
    }
)
storage = st.builds(
    Storage,
    chunk=st.sampled_from([2, 4, 8, 64]),
    slab=st.sampled_from([1, 2, 4, 8, 64]),
    smallest=st.integers(1, 12),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(series=series, storage=storage)
def test_every_level_is_the_block_mean_of_level_0(tmp_path_factory, series, storage):
    folder = tmp_path_factory.mktemp("pyramid")
    made, levels, factors, padding = stored_levels(folder, storage, **series)
    values = levels[0][:]
    np.testing.assert_array_equal(
        values, made.values if series["intercept"] != 3.5 else made.stored
    )
    assert (padding is None) == (series["padding"] is None)
    for level, factor in zip(levels[1:], factors[1:], strict=True):
        assert_block_means(level, values, factor, padding)
    shutil.rmtree(folder)


def test_float_levels_are_the_block_mean_too(tmp_path):
    made, levels, factors, padding = stored_levels(
        tmp_path, Storage(chunk=4, slab=4, smallest=3), slices=7, rows=13, columns=9,
        slope=[0.5, 1.25, 2, 3, 0.1, 7, 1], intercept=0, modality="PT", spacing=(1, 1, 1),
    )  # fmt: skip
    assert levels[0].dtype == np.float32
    np.testing.assert_array_equal(levels[0][:], made.values.astype(np.float32))
    assert len(levels) == 4
    for level, factor in zip(levels[1:], factors[1:], strict=True):
        assert_block_means(level, levels[0][:], factor, padding)


def test_means_round_half_up_also_below_zero_and_only_once(tmp_path):
    """Rounding level 1 again would make level 2 of the first slice 1: exact is 3/8."""
    half, none = np.array([[0, 1], [1, 0]]), np.zeros((2, 2), int)
    frames = [[[half, half], [half, none]], [[-half, -half], [none, -half]]]

    def known(dataset, index):
        frame = np.block(frames[index]) + 1024
        dataset.PixelData = frame.astype(np.uint16).tobytes()

    _, levels, _, _ = stored_levels(
        tmp_path, Storage(chunk=2, slab=2, smallest=1), slices=2, rows=4, columns=4,
        spacing=(4, 1, 1), edit=known,
    )  # fmt: skip
    assert levels[1][:].tolist() == [[[1, 1], [1, 0]], [[0, 0], [0, 0]]]
    assert levels[2][:].ravel().tolist() == [0, 0]


def test_padding_never_bleeds_into_means(tmp_path):
    """A cell with one voxel of tissue shows that tissue, one without any shows padding."""
    made, levels, factors, padding = stored_levels(
        tmp_path, Storage(chunk=4, slab=4, smallest=4), slices=3, rows=21, columns=19, padding=0,
    )  # fmt: skip
    assert padding == [-1024, -1024]
    tissue = levels[0][:] != -1024
    for level, factor in zip(levels[1:], factors[1:], strict=True):
        values = level[:]
        for (z, y, x), covered in cells(made.values.shape, factor):
            inside = [made.values[place] for place in covered if tissue[place]]
            if inside:
                assert min(inside) <= values[z, y, x] <= max(inside)
            else:
                assert values[z, y, x] == -1024


@pytest.mark.parametrize("chunk", [1, 8])
@pytest.mark.parametrize("slab", [1, 2, 16])
def test_chunk_and_slab_change_no_voxel(tmp_path, chunk, slab):
    """Where the slab allows the same factors, the same levels."""
    shape = {"slices": 5, "rows": 9, "columns": 7, "spacing": (8, 1, 1)}
    plain = stored_levels(tmp_path / "plain", Storage(chunk=64, slab=64, smallest=2), **shape)
    other = stored_levels(tmp_path / "other", Storage(chunk=chunk, slab=slab, smallest=2), **shape)
    assert plain[2] == other[2] == [(1, 1, 1), (1, 2, 2), (1, 4, 4), (1, 8, 8)][: len(plain[2])]
    for one, two in zip(plain[1], other[1], strict=True):
        np.testing.assert_array_equal(one[:], two[:])


def test_a_slab_holds_whole_cells_at_its_seams(tmp_path):
    """Slabs of 4 slices over 11: no level may differ from that of one slab."""
    shape = {"slices": 11, "rows": 17, "columns": 18, "spacing": (1, 1, 1)}
    one = stored_levels(tmp_path / "one", Storage(chunk=4, slab=64, smallest=5), **shape)
    many = stored_levels(tmp_path / "many", Storage(chunk=4, slab=4, smallest=5), **shape)
    assert one[2] == many[2]
    assert many[1][0].shards[0] == 4
    for a, b in zip(one[1], many[1], strict=True):
        np.testing.assert_array_equal(a[:], b[:])
