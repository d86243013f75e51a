"""Speed of writing one shard: 64 x 512 x 512 voxels of int16, chunks of 64, on one CPU core.

``make bench`` measures our writer against zarr-python writing the same array into memory, with
one thread each; the normal test run executes each once, on a smaller array, and checks what was
written. In the JSON report
(``--benchmark-json``), `times zarr` is how many times as long zarr-python takes (best rounds),
`MB/s` is bytes of the array per second, `size` is what is left of a byte.
"""

import json
import timeit

import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.buffer import cpu
from zarr.storage import MemoryStore

from sansfilm.store.shard import array_metadata, encode_shard

CHUNK = (64, 64, 64)
LEVEL = 3


@pytest.fixture(params=["head", "noise"])
def block(request, pytestconfig):
    """Make a head-like volume with noise of 20 HU, or noise of 12 bits: nothing to compress."""
    wide = 512 if pytestconfig.getoption("benchmark_enable") else 128
    rng = np.random.default_rng(0)
    if request.param == "noise":
        return rng.integers(-1024, 3072, (64, wide, wide)).astype(np.int16)
    y, x = np.ogrid[-1 : 1 : wide * 1j, -1 : 1 : wide * 1j]
    inside = x**2 + y**2 < 0.6
    values = np.where(inside, 40 + rng.normal(0, 20, (64, wide, wide)), -1000)
    return np.rint(values).astype(np.int16)


def with_zarr(block):
    """Write the block as one shard of the same codecs through zarr-python; return its bytes."""
    objects = {}
    array = zarr.create_array(
        MemoryStore(objects), shape=block.shape, dtype=block.dtype,
        chunks=CHUNK, shards=block.shape,
        compressors=[
            BloscCodec(cname="zstd", clevel=LEVEL, shuffle="bitshuffle", typesize=2),
            Crc32cCodec(),
        ],
        config={"write_empty_chunks": True},
    )  # fmt: skip
    array[:] = block
    return objects["c/0/0/0"].to_bytes()


def ours(block):
    return encode_shard(block, block.shape, CHUNK, 0, LEVEL)


def read_back(data, block):
    """Read a shard with zarr-python under the metadata that we write."""
    metadata = array_metadata(block.shape, "int16", CHUNK, block.shape, LEVEL)
    objects = {
        "zarr.json": cpu.Buffer.from_bytes(json.dumps(metadata).encode()),
        "c/0/0/0": cpu.Buffer.from_bytes(data),
    }
    return zarr.open_array(MemoryStore(objects), mode="r")[:]


@pytest.mark.parametrize("write", [ours, with_zarr], ids=["ours", "zarr-python"])
def bench_write_a_shard(benchmark, block, write):
    with zarr.config.set({"threading.max_workers": 1, "async.concurrency": 1}):
        data = benchmark(write, block)
        np.testing.assert_array_equal(read_back(data, block), block)
        assert 0.99 < len(data) / len(with_zarr(block)) < 1.01
        if benchmark.enabled:
            best = benchmark.stats.stats.min
            benchmark.extra_info["MB/s"] = round(block.nbytes / best / 1e6)
            benchmark.extra_info["size"] = round(len(data) / block.nbytes, 3)
            if write is ours:
                theirs = min(timeit.repeat(lambda: with_zarr(block), number=1, repeat=3))
                benchmark.extra_info["times zarr"] = round(theirs / best, 2)
