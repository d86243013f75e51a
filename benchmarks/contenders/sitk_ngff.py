"""SimpleITK reads the series, ngff-zarr writes it, with its fastest mean."""

from pathlib import Path

import ngff_zarr as nz
import ome
import SimpleITK as sitk  # noqa: N813 - as its documentation does
from zarr.codecs import BloscCodec


def convert(folder: Path, out: Path) -> None:
    """Read with GDCM, order by place, reduce with ``dask_bin_shrink``."""
    image = sitk.ReadImage(
        sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)), sitk.sitkInt16
    )
    spacing = dict(zip("xyz", image.GetSpacing(), strict=True))
    origin = dict(zip("xyz", image.GetOrigin(), strict=True))
    values = sitk.GetArrayViewFromImage(image)
    made = nz.to_ngff_image(values, dims=("z", "y", "x"), scale=spacing, translation=origin,
                            axes_units=dict.fromkeys("zyx", "millimeter"))  # fmt: skip
    steps = ome.factors(tuple(spacing[axis] for axis in "zyx"), values.shape)
    total, scales = (1, 1, 1), []
    for step in steps:
        total = tuple(a * b for a, b in zip(total, step, strict=True))
        scales.append(dict(zip("zyx", total, strict=True)))
    levels = nz.to_multiscales(made, scale_factors=scales, chunks=64,
                               method=nz.Methods.DASK_BIN_SHRINK)  # fmt: skip
    wide = {axis: -(-size // 64) for axis, size in zip("zyx", values.shape, strict=True)}
    nz.to_ngff_zarr(
        out, levels, version="0.5", chunks_per_shard=wide | {"z": 1},
        compressors=[BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle")],
    )  # fmt: skip


if __name__ == "__main__":
    ome.main(convert)
