"""highdicom makes the volume, zarr-python writes it."""

from pathlib import Path

import highdicom
import naive
import numpy as np
import ome
import pydicom


def convert(folder: Path, out: Path) -> None:
    """Let highdicom sort, rescale and place the slices."""
    slices = [pydicom.dcmread(file) for file in folder.iterdir()]
    volume = highdicom.get_volume_from_series(slices, dtype=np.int16)
    if volume.spacing_vectors()[0][2] < 0:
        volume = volume.flip_spatial(0)
    x, y, z = volume.position
    naive.write(volume.array, volume.spacing, (z, y, x), out)


if __name__ == "__main__":
    ome.main(convert)
