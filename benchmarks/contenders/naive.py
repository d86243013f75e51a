"""What one writes first: pydicom, NumPy and zarr-python, one file after the other."""

from pathlib import Path

import numpy as np
import ome
import pydicom
import zarr
from zarr.codecs import BloscCodec


def convert(folder: Path, out: Path) -> None:
    """Stack the slices, rescale them, write them and their means."""
    slices = [pydicom.dcmread(file) for file in folder.iterdir()]
    slices.sort(key=lambda each: each.ImagePositionPatient[2])
    first, second = slices[0], slices[1]
    volume = np.stack([
        each.pixel_array * float(each.RescaleSlope) + float(each.RescaleIntercept)
        for each in slices
    ]).astype(np.int16)  # fmt: skip
    x, y, z = map(float, first.ImagePositionPatient)
    row, column = map(float, first.PixelSpacing)
    spacing = float(second.ImagePositionPatient[2]) - z, row, column
    write(volume, spacing, (z, y, x), out)


def write(
    volume: np.ndarray, spacing: tuple[float, ...], origin: tuple[float, ...], out: Path
) -> None:
    """Write a volume and its levels, each the rounded means of the one before."""
    steps = ome.factors(spacing, volume.shape)
    group = zarr.create_group(out, attributes=ome.attributes(spacing, origin, steps))
    for level, step in enumerate([(1, 1, 1), *steps]):
        if level:
            volume = means(volume, step)
        edges = tuple(min(64, -(-size // 8) * 8) for size in volume.shape)
        whole = (edges[0], *(-(-size // edge) * edge for size, edge in
                             zip(volume.shape[1:], edges[1:], strict=True)))  # fmt: skip
        array = group.create_array(
            str(level), shape=volume.shape, dtype=volume.dtype, chunks=edges, shards=whole,
            compressors=BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"),
            dimension_names=["z", "y", "x"],
        )  # fmt: skip
        array[:] = volume


def means(volume: np.ndarray, step: tuple[int, ...]) -> np.ndarray:
    """Return means of blocks, rounded half up; what is left over at an end is dropped."""
    shape = [size // by for size, by in zip(volume.shape, step, strict=True)]
    cut = volume[tuple(slice(0, size * by) for size, by in zip(shape, step, strict=True))]
    blocks = [part for pair in zip(shape, step, strict=True) for part in pair]
    return np.floor(cut.reshape(blocks).mean(axis=(1, 3, 5)) + 0.5).astype(volume.dtype)


if __name__ == "__main__":
    ome.main(convert)
