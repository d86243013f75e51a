"""Writing one slab: whole objects, accounted for, and none that belongs to another slab."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import synth
import zarr

from sansfilm.assemble.levels import plan_slabs
from sansfilm.model import HEADER_CHUNK, FrameResult, SlabResult
from sansfilm.options import Options, Storage
from sansfilm.store.memory import MemoryTarget
from sansfilm.store.target import LocalTarget
from sansfilm.store.writer import fill_value, put_metadata, put_slab

OPTIONS = Options(storage=Storage(chunk=4, slab=4, smallest=4))


@pytest.fixture
def plans(tmp_path, plan_of):
    """Give the plan of a volume and its three slabs: 4, 4 and 1 slices."""
    made = synth.series(tmp_path / "in", slices=9, rows=11, columns=10, spacing=(1, 1, 1))
    plan = plan_of(made.folder, OPTIONS)
    return plan, list(plan_slabs(plan, OPTIONS))


def blocks_of(slab, seed=0):
    """Make noise of the shape of each level's part of a slab."""
    rng = np.random.default_rng(seed)
    shapes = [(-(-len(slab.frames) // level.factors[0]), *level.shape[1:]) for level in slab.levels]
    return [rng.integers(-99, 99, shape).astype(slab.dtype) for shape in shapes]


def headers_of(slab):
    return [
        bytes([number % 251]) * frame.pixels.header_length
        for number, frame in enumerate(slab.frames, start=1)
    ]


def results_of(slabs):
    return [
        SlabResult(slab.index, (), tuple(
            FrameResult(frame.sop_instance_uid, 1, "0" * 64, "native") for frame in slab.frames
        ))
        for slab in slabs
    ]  # fmt: skip


def test_what_was_written_is_what_is_told_and_no_two_slabs_share_an_object(plans):
    _, slabs = plans
    target, seen = MemoryTarget(), set()
    for slab in slabs:
        stored = put_slab(target, slab, blocks_of(slab), headers_of(slab))
        for item in stored:
            data = target.get(f"{slab.volume}/{item.key}")
            assert (item.size, item.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        keys = {item.key for item in stored}
        assert keys == {
            *(f"{level.path}/c/{slab.index}/0/0" for level in slab.levels),
            f"dicom/headers/c/{slab.header_chunk}",
        }
        assert not keys & seen
        seen |= keys
    assert set(target.objects) == {f"{slabs[0].volume}/{key}" for key in seen}


def test_the_volume_is_its_slabs_and_the_headers_are_where_the_table_says(plans, tmp_path):
    plan, slabs = plans
    target = LocalTarget(str(tmp_path / "a"))
    for slab in slabs:
        put_slab(target, slab, blocks_of(slab, slab.index), headers_of(slab))
    stored = put_metadata(target, plan, slabs, results_of(slabs), fresh := {})
    assert fresh == {f"{plan.key}/{name}": target.get(f"{plan.key}/{name}")
                     for name in ("zarr.json", "0/zarr.json")}  # fmt: skip
    assert {item.key for item in stored} == {
        "zarr.json", "dicom/zarr.json", "dicom/headers/zarr.json", "frames.parquet",
        *(f"{level.path}/zarr.json" for level in slabs[0].levels),
    }  # fmt: skip
    group = zarr.open_group(target.join(plan.key), mode="r")
    for number, level in enumerate(slabs[0].levels):
        expected = np.concatenate([blocks_of(slab, slab.index)[number] for slab in slabs])
        array = group[level.path]
        assert (array.shape, array.chunks, array.shards) == (
            level.shape, level.chunks, level.shards,
        )  # fmt: skip
        assert array.metadata.dimension_names == ("z", "y", "x")
        assert array.attrs["units"] == "HU"
        np.testing.assert_array_equal(array[:], expected)
    headers = group["dicom/headers"][:]
    assert headers.size == slabs[-1].header_ends[-1]
    for slab in slabs:
        for end, header in zip(slab.header_ends, headers_of(slab), strict=True):
            assert headers[end - len(header) : end].tobytes() == header


def test_headers_may_be_longer_than_a_chunk(tmp_path, plan_of):
    def wide(dataset, index):
        dataset.add_new(0x00090010, "LO", "SANSFILM TEST")
        dataset.add_new(0x00091010, "OB", bytes(HEADER_CHUNK // 2))

    made = synth.series(tmp_path / "in", slices=3, edit=wide)
    plan = plan_of(made.folder, OPTIONS)
    slabs = list(plan_slabs(plan, OPTIONS))
    target = LocalTarget(str(tmp_path / "a"))
    (slab,) = slabs
    put_slab(target, slab, blocks_of(slab), headers_of(slab))
    put_metadata(target, plan, slabs, results_of(slabs), {})
    assert len(target.find(f"{plan.key}/dicom/headers/c")) == 2
    headers = zarr.open_array(f"{target.join(plan.key)}/dicom/headers", mode="r")[:]
    assert headers.tobytes() == b"".join(headers_of(slab))


def test_threads_write_the_same_objects(plans):
    _, (slab, *_) = plans
    alone, together = MemoryTarget(), MemoryTarget()
    put_slab(alone, slab, blocks_of(slab), headers_of(slab))
    with ThreadPoolExecutor(4) as pool:
        put_slab(together, slab, blocks_of(slab), headers_of(slab), pool.map)
    assert alone.objects == together.objects


@pytest.mark.parametrize(
    "cut",
    [np.s_[:-1], np.s_[:, :-1], np.s_[:, :, 1:], np.s_[:, None], np.s_[:0]],
    ids=["a slice", "a row", "a column", "an axis", "all"],
)
@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("number", [0, 2])
def test_a_block_that_is_not_the_whole_slab_is_refused(plans, cut, level, number):
    """It would be filled up with padding, and nobody would ever know."""
    slab = plans[1][number]
    blocks = blocks_of(slab)
    blocks[level] = blocks[level][cut]
    with pytest.raises(ValueError, match=f"slab {number} of level {level} is"):
        put_slab(MemoryTarget(), slab, blocks, headers_of(slab))


def test_a_missing_level_is_refused(plans):
    _, (slab, *_) = plans
    with pytest.raises(ValueError, match="zip"):
        put_slab(MemoryTarget(), slab, blocks_of(slab)[:-1], headers_of(slab))


@pytest.mark.parametrize(
    ("padding", "fill"), [(None, 0), ((-2000, -2000), -2000), ((5, 9), 5), ((0.5, 0.5), 0.5)]
)
def test_cells_beyond_the_image_hold_padding(padding, fill):
    assert fill_value(padding) == fill
