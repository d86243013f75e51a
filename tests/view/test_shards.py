"""The reader of shards, against NumPy: any selection of any shape, any damage, any thread."""

import json
import math
import pickle
import struct
import subprocess
import sys
from itertools import product

import google_crc32c
import imagecodecs
import numpy as np
import pytest
import synth
import zarr
from hypothesis import example, given, settings
from hypothesis import strategies as st
from zarr.errors import ChunkNotFoundError

import sansfilm
from sansfilm.errors import IntegrityError
from sansfilm.options import Options, Storage
from sansfilm.store.memory import MemoryTarget
from sansfilm.store.shard import array_metadata, encode_shard
from sansfilm.view import shards
from sansfilm.view.shards import Shards

WHENEVER = settings(deadline=None)  # threads of a busy machine wake late
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")


def stored(values, chunk, shard, level=1):
    """Write an array as volumes are written; return the reader of it."""
    target = MemoryTarget()
    grid = [range(math.ceil(n / size)) for n, size in zip(values.shape, shard, strict=True)]
    for place in product(*grid):
        part = values[tuple(slice(p * n, (p + 1) * n) for p, n in zip(place, shard, strict=True))]
        key = "/".join(("v/0/c", *map(str, place)))
        target.put(key, encode_shard(part, shard, chunk, 0, level))
    about = array_metadata(values.shape, values.dtype.name, chunk, shard, level)
    found = Shards.of(target, "v/0", json.dumps(about).encode())
    assert (found.shape, found.dtype, found.nbytes) == (values.shape, values.dtype, values.nbytes)
    return found


def index(size):
    """Draw one index, or a slice, with bounds on both sides of the ends."""
    bound = st.one_of(st.none(), st.integers(-2 * size - 2, 2 * size + 2))
    return st.one_of(
        st.integers(-size, size - 1),
        st.integers(-size, size - 1).map(np.int32),
        st.builds(slice, bound, bound, st.sampled_from([None, 1])),
    )


@st.composite
def selections(draw, shape):
    """Draw all axes, only the first ones, or some around an Ellipsis."""
    items = [draw(index(size)) for size in shape]
    first, last = sorted(draw(st.tuples(*[st.integers(0, len(shape))] * 2)))
    match draw(st.sampled_from(["all", "first", "dots", "alone"])):
        case "first":
            return tuple(items[:first])
        case "dots":
            return (*items[:first], ..., *items[last:])
        case "alone":
            return draw(st.sampled_from([items[0], ...]))
    return tuple(items)


@st.composite
def cases(draw):
    """Draw an array of 1 to 4 axes, and what is selected of it."""
    axes = draw(st.integers(1, 4))
    chunk = draw(st.tuples(*[st.integers(1, 4)] * axes))
    shard = tuple(edge * draw(st.integers(1, 3)) for edge in chunk)
    shape = draw(st.tuples(*[st.integers(1, 13)] * axes))
    dtype = draw(st.sampled_from(DTYPES))
    return shape, chunk, shard, dtype, draw(selections(shape))


def check(found, values, where):
    expected = values[where]
    assert found.shape == expected.shape
    assert found.dtype == values.dtype
    assert found.flags.writeable
    np.testing.assert_array_equal(found, expected)


@WHENEVER
@given(case=cases())
def test_any_selection_is_that_of_numpy(case):
    shape, chunk, shard, dtype, where = case
    values = np.random.default_rng(1).integers(0, 100, shape).astype(dtype)
    check(stored(values, chunk, shard)[where], values, where)


LARGE = (40, 70, 60)
"""Of chunks of 32 x 64 x 64, which Blosc divides into blocks."""


@pytest.fixture(scope="module", params=[1, 0], ids=["compressed", "as it is"])
def large(request):
    values = np.random.default_rng(2).integers(-1000, 1000, LARGE, dtype=np.int16)
    found = stored(values, (32, 64, 64), (32, 64, 64), request.param)
    return found, values


@WHENEVER
@given(where=selections(LARGE))
@example(where=(7,))
@example(where=(slice(31, 33), slice(63, 65)))
def test_only_the_blocks_that_are_needed_are_decoded(large, where):
    check(large[0][where], large[1], where)


@WHENEVER
@given(
    size=st.integers(1, 3000), block=st.sampled_from([0, 128, 256, 400]), data=st.data(),
    kind=st.sampled_from(["u1", "i2", "f8"]),
    compressor=st.sampled_from(["zstd", "blosclz", "lz4"]),
    shuffle=st.sampled_from(["noshuffle", "shuffle", "bitshuffle"]), level=st.integers(0, 5),
)  # fmt: skip
def test_blocks_of_any_blosc_are_found(size, block, kind, compressor, level, shuffle, data):
    values = (np.arange(size) // 3 % data.draw(st.sampled_from([1, 50]))).astype(kind)
    packed = imagecodecs.blosc_encode(
        values, level, compressor=compressor, shuffle=shuffle, blocksize=block, numthreads=1
    )
    last = data.draw(st.one_of(st.just(values.nbytes), st.integers(1, values.nbytes)))
    first = data.draw(st.one_of(st.just(last - 1), st.integers(0, last - 1)))
    check_blocks(packed, values, first, last)


def check_blocks(packed, values, first, last):
    some, begin, end = shards._blocks(packed + b"\0" * 4, first, last)
    assert begin <= first < last <= end
    out = np.empty(end - begin, np.uint8)
    imagecodecs.blosc_decode(some, out=out)
    np.testing.assert_array_equal(out, values.view(np.uint8)[begin:end])


def test_blocks_may_be_in_any_order():
    """As Blosc leaves them where several threads have compressed one chunk."""
    values = np.arange(1024, dtype=np.int16)
    packed = imagecodecs.blosc_encode(values, 3, compressor="zstd", shuffle="noshuffle",
                                      blocksize=512, numthreads=1)  # fmt: skip
    *_, size = shards._HEAD.unpack_from(packed)
    starts = struct.unpack_from("<4I", packed, 16)
    parts = [packed[a:b] for a, b in zip(starts, (*starts[1:], size), strict=True)]
    order = (2, 0, 3, 1)
    ends = np.cumsum([32, *(len(parts[n]) for n in order)])
    moved = [int(ends[order.index(n)]) for n in range(4)]
    packed = packed[:16] + struct.pack("<4I", *moved) + b"".join(parts[n] for n in order)
    for first in range(0, values.nbytes, 512):
        check_blocks(packed, values, first, first + 512)


def test_a_slice_of_a_chunk_is_a_part_of_the_work():
    values = np.random.default_rng(3).integers(0, 100, (64, 64, 64), dtype=np.int16)
    packed = imagecodecs.blosc_encode(values, 3, compressor="zstd", shuffle="bitshuffle") + b"crc "
    some, begin, end = shards._blocks(packed, 10 * 8192, 11 * 8192)
    assert end - begin <= values.nbytes // 4
    assert len(some) < len(packed) // 3


@pytest.mark.parametrize("where", [
    (slice(None, None, 2),), (slice(None, None, -1),), [1, 2], np.array([0, 3]), 13, -14, True,
    None, (0, 0, 0), (..., ...), (..., 0, ...), "a", 1.0, (slice(None), [1]),
], ids=str)  # fmt: skip
def test_what_is_no_plain_selection_is_left_to_zarr(where):
    found = stored(np.zeros((13, 5), np.uint8), (2, 2), (4, 4))
    assert found.spans(where) is None
    with pytest.raises(IndexError):
        found[where]


# ----------------------------------------------------------------------------------------- damage

VALUES = np.random.default_rng(4).integers(1, 100, (7, 10), dtype=np.int16)  # in every chunk


@WHENEVER
@given(data=st.data())
def test_every_damage_raises(data):
    found = stored(VALUES, (2, 3), (4, 6))
    key = data.draw(st.sampled_from(sorted(found.target.objects)))
    whole = found.target.objects[key]
    match data.draw(st.sampled_from(["flip", "cut", "more", "lost"])):
        case "flip":
            bit = data.draw(st.integers(0, len(whole) * 8 - 1))
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << bit % 8
            found.target.objects[key] = bytes(damaged)
        case "cut":
            found.target.objects[key] = whole[: data.draw(st.integers(0, len(whole) - 1))]
        case "more":
            found.target.objects[key] = whole + data.draw(st.binary(min_size=1, max_size=90))
        case "lost":
            del found.target.objects[key]
    with pytest.raises(IntegrityError, match=f"memory:{key}.*is damaged"):
        found[...]


@pytest.mark.parametrize("chunk", [(1, 3), (4, 3)])
def test_the_shard_of_another_array_raises(chunk):
    """It has as many chunks, and its checksums are right."""
    found = stored(VALUES, (2, 3), (4, 6))
    found[...]  # leaves values in the buffers of threads
    other = encode_shard(VALUES[:1, :6], (chunk[0] * 2, 6), chunk, 0, 1)
    found.target.objects["v/0/c/0/0"] = other
    with pytest.raises(IntegrityError, match=r"v/0/c/0/0.*is damaged"):
        found[...]


SMALL = Options(storage=Storage(chunk=8, slab=16, smallest=8))


@pytest.fixture
def archive(tmp_path):
    made = synth.series(tmp_path / "in", slices=20, rows=20, columns=17)
    sansfilm.ingest(made.folder, tmp_path / "a", options=SMALL)
    return tmp_path / "a"


def shard_of(archive, name):
    (path,) = archive.glob(f"series/*/*/{name}")
    return path


def without(data, number, many):
    """Return a shard whose index says, soundly, that a chunk was never written."""
    index = bytearray(data[-16 * many - 4 : -4])
    index[16 * number : 16 * number + 16] = b"\xff" * 16
    return (data[: -len(index) - 4] + index
            + google_crc32c.value(bytes(index)).to_bytes(4, "little"))  # fmt: skip


def test_damage_raises_the_errors_of_zarr(archive):
    (volume,) = sansfilm.open(archive)
    path, array = shard_of(archive, "0/c/0/0/0"), volume.array
    whole, values = path.read_bytes(), array[...]
    path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    with pytest.raises(ValueError, match=r"(?i)crc32c|checksum"):
        array[0]
    path.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=r"(?i)crc32c|checksum"):
        array[0]
    path.unlink()
    with pytest.raises(ChunkNotFoundError, match="1 chunk"):
        array[...]
    path.write_bytes(without(whole, 0, 18))  # which zarr takes for zeros
    with pytest.raises(IntegrityError, match=r"0/c/0/0/0.*is damaged"):
        array[0]
    path.write_bytes(whole)  # as `verify --repair` does below an open volume
    np.testing.assert_array_equal(array[...], values)


def test_a_card_of_damaged_voxels_raises(archive):
    (volume,) = sansfilm.open(archive)
    (path, *_) = archive.glob(f"series/*/*/{len(volume.grids) - 1}/c/0/0/0")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match="is damaged: see `sansfilm verify`"):
        volume._repr_html_()


# ------------------------------------------------------------------------------------ Zarr arrays


@pytest.fixture(params=["disk", "memory"])
def volume(request, archive):
    if request.param == "disk":
        return next(iter(sansfilm.open(archive)))
    return sansfilm.read(archive.parent / "in", options=SMALL)[0]


def test_levels_are_zarr_arrays_that_read_by_themselves(volume, monkeypatch):
    plain = [zarr.Array(level.async_array) for level in volume.levels]
    for own, other in zip(volume.levels, plain, strict=True):
        assert isinstance(own, zarr.Array)
        check(own[...], other[...], ...)
        for where in (3, (3, 4, 2), np.s_[2:7, ..., 3], np.s_[::2], [0, 2]):
            check(own[where], other[:], where)
        np.testing.assert_array_equal(own.oindex[[0, 2], 1], other[:][[0, 2], 1])
        with pytest.raises(IndexError):
            own[99]
    whole = [other[...] for other in plain]

    def fail(*_):
        raise AssertionError("read by zarr-python")

    monkeypatch.setattr(zarr.Array, "__getitem__", fail)
    for own, values in zip(volume.levels, whole, strict=True):
        np.testing.assert_array_equal(np.asarray(own), values)
        np.testing.assert_array_equal(own[1:, 2], values[1:, 2])


def test_a_level_travels_and_those_in_memory_once(volume):
    data = pickle.dumps(volume.array)
    np.testing.assert_array_equal(pickle.loads(data)[...], volume.array[...])
    there = sum(volume._sizes.values()) if volume.uri.startswith("memory:") else 0
    assert len(data) < there + 20_000


def test_a_process_that_was_forked_reads_too(archive):
    script = (
        "import multiprocessing, sys, warnings, sansfilm\n"
        "from sansfilm.view import shards\n"
        "warnings.simplefilter('ignore')\n"
        "shards.cores = lambda: 2\n"
        "(volume,) = sansfilm.open(sys.argv[1])\n"
        "grid = volume.grids[0]\n"
        "before = grid[...].sum()\n"
        "def child():\n"
        "    assert shards._pool.cache_info().currsize == 0  # the threads are the other's\n"
        "    assert grid[...].sum() == before\n"
        "process = multiprocessing.get_context('fork').Process(target=child)\n"
        "process.start(); process.join(60); assert process.exitcode == 0, process.exitcode\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(archive)],
                          capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
