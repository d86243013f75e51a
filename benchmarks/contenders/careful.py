"""What one writes who has time: two processes, whole shards each, means of integers."""

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import ome
import pydicom
import zarr
from zarr.codecs import BloscCodec

SLAB = 64


def convert(pool: ProcessPoolExecutor, folder: Path, out: Path) -> None:
    """Make the arrays here, and let the processes fill them slab by slab."""
    places = []
    for file in folder.iterdir():
        header = pydicom.dcmread(file, specific_tags=["ImagePositionPatient"],
                                 stop_before_pixels=True)  # fmt: skip
        places.append((float(header.ImagePositionPatient[2]), file))
    places.sort()
    first = pydicom.dcmread(places[0][1], stop_before_pixels=True)
    x, y, z = map(float, first.ImagePositionPatient)
    spacing = (places[1][0] - z, *map(float, first.PixelSpacing))
    shape = len(places), first.Rows, first.Columns
    steps = ome.factors(spacing, shape)
    group = zarr.create_group(out, attributes=ome.attributes(spacing, (z, y, x), steps))
    depth = min(SLAB, 1 << (len(places) - 1).bit_length())
    for level, step in enumerate([(1, 1, 1), *steps]):
        shape = tuple(-(-size // by) for size, by in zip(shape, step, strict=True))
        depth //= step[0]
        chunks = depth, min(64, shape[1]), min(64, shape[2])
        whole = depth, *(-(-size // 64) * 64 for size in shape[1:])
        group.create_array(
            str(level), shape=shape, dtype=np.int16, chunks=chunks, shards=whole,
            compressors=BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"),
            dimension_names=["z", "y", "x"],
        )  # fmt: skip
    files = [file for _, file in places]
    tasks = [(start, files[start : start + SLAB]) for start in range(0, len(files), SLAB)]
    list(pool.map(partial(fill, out, steps), tasks))


def fill(out: Path, steps: list[tuple[int, ...]], task: tuple[int, list[Path]]) -> None:
    """Decode the files of a slab, and write it at every level: whole shards."""
    start, files = task
    planes = []
    for file in files:
        each = pydicom.dcmread(file)
        planes.append(each.pixel_array.astype(np.int16) + np.int16(each.RescaleIntercept))
    block = np.stack(planes)
    group = zarr.open_group(out, mode="r+")
    for level, step in enumerate([(1, 1, 1), *steps]):
        if level:
            block = means(block, step)
            start //= step[0]
        group[str(level)][start : start + len(block)] = block


def means(block: np.ndarray, step: tuple[int, ...]) -> np.ndarray:
    """Return means of integers, rounded half up, axis by axis; an odd end stands for itself."""
    total = block.astype(np.int32)
    for axis, by in enumerate(step):
        if by == 2:
            if total.shape[axis] % 2:
                total = np.concatenate([total, total.take([-1], axis)], axis)
            even = [slice(None)] * 3
            odd = list(even)
            even[axis], odd[axis] = slice(0, None, 2), slice(1, None, 2)
            total = total[tuple(even)] + total[tuple(odd)]
    count = int(np.prod(step))
    return ((2 * total + count) // (2 * count)).astype(block.dtype)


if __name__ == "__main__":
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as processes:
        ome.main(partial(convert, processes))
