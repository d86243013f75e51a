"""The floor: the least that has to be done, and nothing of what makes it safe.

Read each file once, decode in threads straight into a slab, add integers for the levels, encode
chunks in threads, write each shard in one go. No check of anything, no digests, no headers kept,
no table of frames, no commit, no catalogue; a file that is unlike the others would go wrong. It
shares no code with sansfilm, and writes the same levels, chunks, shards and codecs.
"""

import json
import os
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import google_crc32c
import imagecodecs
import numpy as np
import ome

SLAB = 64
CORES = len(os.sched_getaffinity(0))
POOL = ThreadPoolExecutor(CORES)
SLABS = ThreadPoolExecutor(2)
LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT"}
DECODERS = {
    b"1.2.840.10008.1.2.4.90": imagecodecs.jpeg2k_decode,
    b"1.2.840.10008.1.2.4.80": imagecodecs.jpegls_decode,
    b"1.2.840.10008.1.2.4.201": imagecodecs.htj2k_decode,
}


def walk(data: bytes, at: int = 132) -> Iterator[tuple[int, int, int]]:
    """Yield tag, start and length of each element of the top level up to Pixel Data."""
    unpack = struct.unpack_from
    while at < len(data):
        group, element, vr = unpack("<HH2s", data, at)
        if vr in LONG:
            length, at = unpack("<I", data, at + 8)[0], at + 12
        else:
            length, at = unpack("<H", data, at + 6)[0], at + 8
        yield group << 16 | element, at, length
        if length == 0xFFFFFFFF:  # a sequence: behind its delimiter; nested ones have lengths here
            if group == 0x7FE0:
                return
            length = data.index(b"\xfe\xff\xdd\xe0\0\0\0\0", at) + 8 - at
        at += length


def read(file: Path) -> tuple[float, dict[int, bytes], bytes]:
    """Return place along z, values of the header, codestream."""
    data = file.read_bytes()
    found = {tag: (start, length) for tag, start, length in walk(data)}
    start, length = found.pop(0x7FE00010)
    values = {tag: data[at : at + size] for tag, (at, size) in found.items() if size < 256}
    if length == 0xFFFFFFFF:  # an empty offset table, then one fragment
        start += 8 + struct.unpack_from("<I", data, start + 4)[0]
        length = struct.unpack_from("<I", data, start + 4)[0]
        start += 8
    return float(values[0x00200032].split(b"\\")[2]), values, data[start : start + length]


def decode(codestream: bytes, values: dict[int, bytes], out: np.ndarray) -> None:
    """Decode a frame, and rescale it, into its plane of the slab."""
    syntax = values[0x00020010].rstrip(b"\0")
    if syntax in DECODERS:
        stored = DECODERS[syntax](codestream)
    elif syntax == b"1.2.840.10008.1.2.5":
        stored = rle(codestream, out.shape)
    else:
        stored = np.frombuffer(codestream, "<u2").reshape(out.shape)
    np.add(stored.view(np.int16), int(values[0x00281052]), out=out)


def rle(codestream: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Decode PackBits of high bytes and of low bytes (PS3.5 annex G)."""
    ends = [*struct.unpack_from("<2I", codestream, 4), len(codestream)]
    stored = np.empty((*shape, 2), np.uint8)
    for part in range(2):
        packed = codestream[ends[part] : ends[part + 1]]
        plain = imagecodecs.packbits_decode(packed, out=stored[..., 0].size)
        stored[..., 1 - part] = np.frombuffer(plain, np.uint8)[: stored[..., 0].size].reshape(shape)
    return stored.view("<u2")[..., 0]


def pyramid(block: np.ndarray, steps: list[tuple[int, ...]]) -> Iterator[np.ndarray]:
    """Yield the block at each level: means of level 0, from sums that are never rounded."""
    yield block
    total, count = block, 1
    for step in steps:
        for axis, by in enumerate(step):
            if by == 2:
                if total.shape[axis] % 2:  # not in the input of the comparison
                    raise ValueError("an odd edge")
                even, odd = [slice(None)] * 3, [slice(None)] * 3
                even[axis], odd[axis] = slice(0, None, 2), slice(1, None, 2)
                total = np.add(total[tuple(even)], total[tuple(odd)], dtype=np.int32)
                count *= 2
        yield ((total + count // 2) >> (count.bit_length() - 1)).astype(np.int16)


def edges(depth: int, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the shape of chunks: thin ones are wide."""
    wide = 64 << ((64 // depth).bit_length() - 1) // 2
    rows, columns = (min(wide, 1 << (size - 1).bit_length()) for size in shape[1:])
    return depth, rows, columns


def encode(block: np.ndarray, chunk: tuple[int, ...]) -> bytes:
    """Return a shard: chunks of blosc-zstd-bitshuffle, CRC32C each, and their index."""

    def one(place: tuple[int, ...]) -> bytes:
        part = block[tuple(slice(i * n, i * n + n) for i, n in zip(place, chunk, strict=True))]
        if part.shape != chunk:
            whole = np.zeros(chunk, block.dtype)
            whole[tuple(map(slice, part.shape))] = part
            part = whole
        packed = imagecodecs.blosc_encode(
            np.ascontiguousarray(part), 3, compressor="zstd", shuffle="bitshuffle", numthreads=1
        )
        return packed + struct.pack("<I", google_crc32c.value(packed))

    grid = [range(-(-size // n)) for size, n in zip(block.shape, chunk, strict=True)]
    chunks = list(POOL.map(one, product(*grid)))
    lengths = np.array([len(each) for each in chunks], "<u8")
    index = np.stack([np.cumsum(lengths) - lengths, lengths], 1).astype("<u8").tobytes()
    return b"".join([*chunks, index, struct.pack("<I", google_crc32c.value(index))])


def metadata(shape: tuple[int, ...], chunk: tuple[int, ...], shard: tuple[int, ...]) -> bytes:
    """Return the zarr.json of a level."""
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    blosc = {"cname": "zstd", "clevel": 3, "shuffle": "bitshuffle", "typesize": 2, "blocksize": 0}
    inner = {
        "chunk_shape": chunk,
        "codecs": [little, {"name": "blosc", "configuration": blosc}, {"name": "crc32c"}],
        "index_codecs": [little, {"name": "crc32c"}],
        "index_location": "end",
    }
    return json.dumps({
        "zarr_format": 3, "node_type": "array", "shape": shape, "data_type": "int16",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shard}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0, "codecs": [{"name": "sharding_indexed", "configuration": inner}],
        "attributes": {}, "dimension_names": ["z", "y", "x"], "storage_transformers": [],
    }).encode()  # fmt: skip


def convert(folder: Path, out: Path) -> None:
    """Convert one series: two slabs at once, whose frames and chunks share the threads."""
    files = sorted(POOL.map(read, folder.iterdir()), key=lambda each: each[0])
    _, first, _ = files[0]
    rows, columns = (int.from_bytes(first[tag], "little") for tag in (0x00280010, 0x00280011))
    x, y, z = map(float, first[0x00200032].split(b"\\"))
    spacing = (files[1][0] - z, *map(float, first[0x00280030].split(b"\\")))
    shape = len(files), rows, columns
    steps = ome.factors(spacing, shape)
    depth = slab = min(SLAB, 1 << (len(files) - 1).bit_length())
    chunks = []
    for level, step in enumerate([(1, 1, 1), *steps]):
        shape = tuple(-(-size // by) for size, by in zip(shape, step, strict=True))
        depth //= step[0]
        chunk = edges(depth, shape)
        shard = depth, *(-(-size // n) * n for size, n in zip(shape[1:], chunk[1:], strict=True))
        (out / str(level) / "c").mkdir(parents=True)
        (out / str(level) / "zarr.json").write_bytes(metadata(shape, chunk, shard))
        chunks.append(chunk)

    def fill(start: int) -> None:
        part = files[start : start + slab]
        block = np.empty((len(part), rows, columns), np.int16)
        list(POOL.map(lambda n: decode(part[n][2], part[n][1], block[n]), range(len(part))))
        for level, each in enumerate(pyramid(block, steps)):
            place = out / str(level) / "c" / str(start // slab) / "0"
            place.mkdir(parents=True)
            (place / "0").write_bytes(encode(each, chunks[level]))

    list(SLABS.map(fill, range(0, len(files), slab)))
    group = {"zarr_format": 3, "node_type": "group"}
    group["attributes"] = ome.attributes(spacing, (z, y, x), steps)
    (out / "zarr.json").write_text(json.dumps(group))


if __name__ == "__main__":
    ome.main(convert)
