"""Shards and chunks as two other programs read them, for any shape and dtype."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
import tensorstore
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sansfilm.store.shard import array_metadata, encode_chunk, encode_shard

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")


@st.composite
def arrays(draw):
    """Draw an array of 1 to 4 axes with a chunk shape and a shard shape of whole chunks."""
    dtype = draw(st.sampled_from(DTYPES))
    axes = draw(st.integers(1, 4))
    chunk = draw(st.tuples(*[st.integers(1, 4)] * axes))
    shard = tuple(edge * draw(st.integers(1, 3)) for edge in chunk)
    shape = draw(st.tuples(*[st.integers(1, 9)] * axes))
    elements = {"allow_nan": False} if dtype.startswith("float") else None
    array = draw(hnp.arrays(dtype, shape, elements=elements and st.floats(-9, 9, width=32)))
    return array, chunk, shard


def write(folder, array, chunk, shard, fill, level=3, run=map):
    """Write an array with the functions under test, one object per shard or chunk."""
    metadata = array_metadata(array.shape, str(array.dtype), chunk, shard, level, fill=fill)
    grid = shard or chunk
    objects = {"zarr.json": json.dumps(metadata).encode()}
    for place in product(
        *(range(math.ceil(n / g)) for n, g in zip(array.shape, grid, strict=True))
    ):
        part = array[tuple(slice(i * g, (i + 1) * g) for i, g in zip(place, grid, strict=True))]
        if shard:
            data = encode_shard(part, shard, chunk, fill, level, run)
        else:
            whole = np.full(chunk, fill, array.dtype)
            whole[tuple(slice(0, size) for size in part.shape)] = part
            data = encode_chunk(whole, level)
        objects["c/" + "/".join(map(str, place))] = data
    for key, data in objects.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return objects


def with_zarr(folder):
    return zarr.open_array(folder, mode="r")[...]


def with_tensorstore(folder):
    store = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{folder}/"}}
    return tensorstore.open(store).result().read().result()


@settings(max_examples=40, deadline=None)
@given(case=arrays(), fill=st.integers(0, 5))
def test_two_programs_read_back_every_shard(tmp_path_factory, case, fill):
    array, chunk, shard = case
    folder = tmp_path_factory.mktemp("array")
    write(folder, array, chunk, shard, fill)
    np.testing.assert_array_equal(with_zarr(folder), array, strict=True)
    np.testing.assert_array_equal(with_tensorstore(folder), array, strict=True)


@settings(max_examples=20, deadline=None)
@given(case=arrays())
def test_two_programs_read_back_every_chunk(tmp_path_factory, case):
    array, chunk, _ = case
    folder = tmp_path_factory.mktemp("array")
    write(folder, array, chunk, None, 0)
    np.testing.assert_array_equal(with_zarr(folder), array, strict=True)
    np.testing.assert_array_equal(with_tensorstore(folder), array, strict=True)


@given(case=arrays())
def test_the_bytes_depend_neither_on_who_maps_nor_on_memory_order(case):
    array, chunk, shard = case
    block = array[tuple(slice(0, extent) for extent in shard)]
    plain = encode_shard(block, shard, chunk, 0, 3)
    with ThreadPoolExecutor(3) as pool:
        assert encode_shard(block, shard, chunk, 0, 3, pool.map) == plain
    assert encode_shard(np.asfortranarray(block), shard, chunk, 0, 3) == plain
    swapped = block.astype(block.dtype.newbyteorder())
    assert encode_shard(swapped, shard, chunk, 0, 3) == plain


@pytest.mark.parametrize("level", [1, 5, 9])
def test_every_level_of_effort_gives_the_same_voxels(tmp_path, level):
    array = np.random.default_rng(0).integers(0, 50, (5, 20, 20)).astype("int16")
    write(tmp_path, array, (4, 8, 8), (8, 24, 24), 0, level)
    np.testing.assert_array_equal(with_zarr(tmp_path), array)
    np.testing.assert_array_equal(with_tensorstore(tmp_path), array)


@pytest.mark.parametrize("dtype", DTYPES)
def test_chunks_are_bit_shuffled_by_their_own_type(dtype):
    """As the metadata says, and as the header of blosc shows: readers would not mind another."""
    chunk = np.arange(512).reshape(8, 8, 8).astype(dtype)
    for block in (chunk, chunk.astype(chunk.dtype.newbyteorder())):
        _, _, flags, type_size = encode_chunk(block, 3)[:4]
        assert type_size == chunk.itemsize
        assert flags & 0b111 == 0b100  # bit shuffle, not byte shuffle, not stored as it is
        assert flags >> 5 == 4  # zstd
    (blosc,) = [
        codec["configuration"]
        for codec in array_metadata((8,), dtype, (8,), None, 3)["codecs"]
        if codec["name"] == "blosc"
    ]
    assert (blosc["shuffle"], blosc["typesize"]) == ("bitshuffle", chunk.itemsize)
    assert (blosc["cname"], blosc["clevel"]) == ("zstd", 3)


def test_cells_beyond_the_array_hold_the_fill_value(tmp_path):
    array = np.ones((1, 3), "int16")
    write(tmp_path, array, (2, 2), (2, 4), -1024)
    metadata = json.loads((tmp_path / "zarr.json").read_bytes())
    metadata["shape"] = [2, 4]
    (tmp_path / "zarr.json").write_text(json.dumps(metadata))
    assert with_zarr(tmp_path).tolist() == [[1, 1, 1, -1024], [-1024] * 4]


@pytest.mark.parametrize(
    ("block", "shard", "chunk"),
    [
        ((4, 8, 8), (4, 8, 8), (4, 8, 3)),
        ((5, 8, 8), (4, 8, 8), (4, 8, 8)),
        ((4, 8, 9), (4, 8, 8), (4, 8, 8)),
        ((4, 8), (4, 8, 8), (4, 8, 8)),
        ((4, 8, 8), (4, 8, 8), (8, 8, 8)),
    ],
)
def test_what_is_no_whole_shard_is_refused(block, shard, chunk):
    with pytest.raises(ValueError):  # noqa: PT011 - shapes of different length are zip's to refuse
        encode_shard(np.zeros(block, "int16"), shard, chunk, 0, 3)


@pytest.mark.parametrize("reader", [with_zarr, with_tensorstore])
def test_a_flipped_bit_anywhere_in_a_shard_is_no_voxel(tmp_path, reader):
    """The checksums of chunks and index tell readers that know nothing of sansfilm."""
    array = np.random.default_rng(1).integers(0, 9, (4, 8, 8)).astype("int16")
    objects = write(tmp_path, array, (4, 4, 8), (4, 8, 8), 0)
    whole = objects["c/0/0/0"]
    path = tmp_path / "c/0/0/0"
    for bit in range(0, len(whole) * 8, 37):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises((ValueError, RuntimeError)):
            reader(tmp_path)
    path.write_bytes(whole)
    np.testing.assert_array_equal(reader(tmp_path), array)
