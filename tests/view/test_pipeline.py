"""Reading by parts of shards, against NumPy: any selection, also those that are not split."""

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from zarr.registry import register_pipeline

from sansfilm.view import pipeline
from sansfilm.view.pipeline import ShardPipeline

SHAPE, CHUNK, SHARD = (11, 21, 9), (2, 4, 3), (4, 12, 6)
VALUES = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Give a sharded array on a disk, opened as volumes are."""
    folder = tmp_path_factory.mktemp("array")
    array = zarr.create_array(folder, shape=SHAPE, chunks=CHUNK, shards=SHARD, dtype="int16")
    array[:] = VALUES
    register_pipeline(ShardPipeline)
    path = f"{ShardPipeline.__module__}.{ShardPipeline.__qualname__}"
    with zarr.config.set({"codec_pipeline.path": path, "codec_pipeline.max_workers": 3}):
        return zarr.open_array(folder, mode="r", config={"read_missing_chunks": False})


@pytest.fixture(autouse=True)
def _three_workers():
    with zarr.config.set({"codec_pipeline.max_workers": 3}):
        yield


def index(size):
    """One index, or a slice that may have steps."""
    bounds = st.integers(0, size)
    return st.one_of(
        st.integers(0, size - 1),
        st.tuples(bounds, bounds, st.sampled_from([None, 1, 1, 2, 3])).map(
            lambda parts: slice(min(parts[:2]), max(parts[:2]), parts[2])
        ),
    )


@given(where=st.tuples(*map(index, SHAPE)))
def test_any_selection_is_that_of_numpy(stored, where):
    np.testing.assert_array_equal(stored[where], VALUES[where])


@given(rows=st.lists(st.integers(0, SHAPE[1] - 1), min_size=1, max_size=5, unique=True))
def test_selections_that_are_no_slices_are_read_too(stored, rows):
    rows = sorted(rows)
    np.testing.assert_array_equal(stored.oindex[2:7, rows, 3], VALUES[2:7, rows, 3])


def test_a_read_of_one_shard_is_split(stored, monkeypatch):
    parts, real = [], pipeline._split

    def split(item, chunk):
        found = list(real(item, chunk))
        parts.append(len(found))
        return found

    monkeypatch.setattr(pipeline, "_split", split)
    stored[0:4, 0:12, 0:6]
    assert parts == [3]
    stored[:]  # 18 shards are enough for three threads
    assert parts == [3]


def test_a_shard_that_is_missing_is_told_once(stored):
    (stored.store.root / "c/0/0/0").rename(stored.store.root / "hidden")
    try:
        with pytest.raises(zarr.errors.ChunkNotFoundError, match="1 chunk"):
            stored[0:4, 0:12, 0:6]
    finally:
        (stored.store.root / "hidden").rename(stored.store.root / "c/0/0/0")
