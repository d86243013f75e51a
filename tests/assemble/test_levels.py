"""Levels and slabs of arrays of any shape: what must hold, and examples by hand."""

import math
from itertools import pairwise

import pytest
import synth
from hypothesis import given
from hypothesis import strategies as st

from sansfilm.assemble.levels import plan_levels, plan_slabs
from sansfilm.model import HEADER_CHUNK
from sansfilm.options import Options, Storage

powers = st.integers(0, 7).map(lambda exponent: 2**exponent)
storages = st.builds(
    Storage, chunk=powers, slab=powers, smallest=st.sampled_from([1, 2, 7, 64, 100])
)
extents = st.one_of(st.integers(1, 40), st.sampled_from([1, 255, 256, 257, 512, 3000, 16384]))
shapes = st.tuples(st.integers(1, 700), extents, extents)
distances = st.floats(0.01, 50)
placed = st.tuples(distances, distances, distances)
unplaced = st.one_of(st.tuples(st.none(), distances, distances), st.just((None, None, None)))


def ceil(size, factor):
    return -(-size // factor)


@given(shapes, st.one_of(placed, unplaced), storages)
def test_every_plan_is_sound(shape, spacing, storage):
    levels = plan_levels(shape, spacing, storage)
    assert [level.path for level in levels] == [str(n) for n in range(len(levels))]
    assert levels[0].shape == shape
    assert levels[0].factors == (1, 1, 1)
    deepest = levels[-1].factors[0]
    assert levels[0].shards[0] <= storage.slab
    assert levels[0].shards[0] % deepest == 0  # a slab never needs its neighbour
    slabs = ceil(shape[0], levels[0].shards[0])
    for level in levels:
        assert level.shape == tuple(map(ceil, shape, level.factors))
        planes = zip(level.shape[1:], level.shards[1:], level.chunks[1:], strict=True)
        for size, shard, chunk in planes:
            assert shard == ceil(size, chunk) * chunk  # the plane, and not a chunk more
        assert level.shards[0] % level.chunks[0] == 0
        assert level.shards[0] * level.factors[0] == levels[0].shards[0]
        assert ceil(level.shape[0], level.shards[0]) == slabs
        assert math.prod(level.chunks) <= storage.chunk**3
        if all(size >= 8 * storage.chunk**1.5 for size in level.shape[1:]):
            assert math.prod(level.chunks) >= storage.chunk**3 / 2
    for before, after in pairwise(levels):
        steps = [new / old for old, new in zip(before.factors, after.factors, strict=True)]
        assert set(steps) <= {1, 2}
        assert 2 in steps


@given(shapes, placed, storages)
def test_levels_go_on_until_the_planes_are_small(shape, spacing, storage):
    *larger, last = plan_levels(shape, spacing, storage)
    assert max(last.shape[1:]) <= storage.smallest
    assert all(max(level.shape[1:]) > storage.smallest for level in larger)


@given(shapes, unplaced, storages)
def test_an_index_axis_is_never_reduced(shape, spacing, storage):
    for level in plan_levels(shape, spacing, storage):
        assert level.factors[0] == 1
        assert level.chunks[0] == 1


@given(shapes, placed, storages)
def test_voxels_become_isotropic_and_stay_so(shape, spacing, storage):
    """The finest direction is halved first; within a factor of two, all of them together."""
    levels = plan_levels(shape, spacing, storage)
    for before, after in pairwise(levels):
        can = [
            axis
            for axis in range(3)
            if before.shape[axis] > 1 and (axis or before.factors[0] < levels[0].shards[0])
        ]
        old, new = (
            [spacing[axis] * level.factors[axis] for axis in can] for level in (before, after)
        )
        assert max(new) / min(new) <= max(2, max(old) / min(old)) * (1 + 1e-9)
        halved = [o for o, n in zip(old, new, strict=True) if n > o]
        assert min(old) in halved
        assert max(halved) <= min(old) * math.sqrt(2) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("shape", "spacing", "factors"),
    [
        ((300, 512, 512), (0.7, 0.7, 0.7), [(1, 1, 1), (2, 2, 2), (4, 4, 4), (8, 8, 8)]),
        ((60, 512, 512), (5, 0.7, 0.7), [(1, 1, 1), (1, 2, 2), (1, 4, 4), (1, 8, 8)]),
        ((120, 512, 512), (2.5, 0.7, 0.7), [(1, 1, 1), (1, 2, 2), (1, 4, 4), (2, 8, 8)]),
        ((900, 100, 100), (0.25, 1, 1), [(1, 1, 1), (2, 1, 1), (4, 1, 1), (8, 2, 2)]),
        ((28, 64, 64), (5, 0.5, 0.5), [(1, 1, 1)]),
        ((1, 200, 200), (5, 0.5, 0.5), [(1, 1, 1), (1, 2, 2), (1, 4, 4)]),
        ((9, 130, 1), (None, None, None), [(1, 1, 1), (1, 2, 1), (1, 4, 1)]),
    ],
)
def test_factors_of_series_as_they_come(shape, spacing, factors):
    assert [level.factors for level in plan_levels(shape, spacing, Storage())] == factors


@pytest.mark.parametrize(
    ("depth", "chunk"),
    [(64, (64, 64, 64)), (16, (16, 128, 128)), (4, (4, 256, 256)), (1, (1, 512, 512))],
)
def test_thin_slabs_get_wide_chunks_of_the_same_size(depth, chunk):
    (level, *_) = plan_levels((depth, 600, 600), (1, 1, 1), Storage(slab=64))
    assert level.chunks == chunk


@pytest.mark.parametrize("slab", [1, 4, 64])
def test_slabs_are_the_frames_in_order_and_their_headers_start_on_chunks(tmp_path, plan_of, slab):
    def wide(dataset, index):
        dataset.add_new(0x00091010, "OB", bytes(300_000))
        dataset.add_new(0x00090010, "LO", "SANSFILM TEST")

    made = synth.series(tmp_path, slices=10, edit=wide)
    options = Options(storage=Storage(slab=slab, chunk=8, smallest=8))
    plan = plan_of(made.folder, options)
    slabs = list(plan_slabs(plan, options))
    assert tuple(frame for part in slabs for frame in part.frames) == plan.frames
    assert [part.index for part in slabs] == list(range(len(slabs)))
    assert all(part.volume == plan.key for part in slabs)
    depth = slabs[0].levels[0].shards[0]
    assert all(len(part.frames) == depth for part in slabs[:-1])
    taken = set()
    for part in slabs:
        lengths = [frame.pixels.header_length for frame in part.frames]
        start = part.header_ends[0] - lengths[0]
        assert start == part.header_chunk * HEADER_CHUNK
        assert part.header_ends == [start + sum(lengths[: n + 1]) for n in range(len(lengths))]
        mine = set(range(part.header_chunk, ceil(part.header_ends[-1], HEADER_CHUNK)))
        assert mine
        assert not mine & taken  # no two tasks write one chunk
        taken |= mine
    assert taken == set(range(len(taken)))
