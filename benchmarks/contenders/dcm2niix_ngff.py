"""dcm2niix makes NIfTI, nibabel reads it, ngff-zarr writes it."""

import subprocess
import sys
import tempfile
from pathlib import Path

import ngff_zarr as nz
import nibabel
import ome


def convert(folder: Path, out: Path) -> None:
    """Go by way of an uncompressed NIfTI file, as ngff-zarr reads one."""
    with tempfile.TemporaryDirectory() as between:
        dcm2niix = str(Path(sys.executable).with_name("dcm2niix"))
        command = [dcm2niix, "-z", "n", "-b", "n", "-o", between, "-f", "volume", str(folder)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        image = nibabel.load(Path(between, "volume.nii"))
        made = nz.nibabel_image_to_ngff_image(image)
        spacing = tuple(made.scale[axis] for axis in made.dims)
        steps = ome.factors(spacing, made.data.shape)
        total, scales = (1, 1, 1), []
        for step in steps:
            total = tuple(a * b for a, b in zip(total, step, strict=True))
            scales.append(dict(zip(made.dims, total, strict=True)))
        levels = nz.to_multiscales(made, scale_factors=scales, chunks=64,
                                   method=nz.Methods.DASK_BIN_SHRINK)  # fmt: skip
        nz.to_ngff_zarr(out, levels, version="0.5")


if __name__ == "__main__":
    ome.main(convert)
