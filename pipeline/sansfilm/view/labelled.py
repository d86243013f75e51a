"""A level as an xarray DataArray: lazy, named axes, millimetres. The one use of Dask in view."""

from typing import TYPE_CHECKING

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize

if TYPE_CHECKING:
    from sansfilm.view.volume import Volume


def to_xarray(volume: "Volume", level: int) -> xr.DataArray:
    """See Volume.to_xarray."""
    volume.factors(level)  # checks the level
    array = volume.levels[level]
    # The place is part of the key: a copy of a volume, perhaps a damaged one, is another array.
    key = f"sansfilm-{tokenize(volume.uri, level)}"
    lazy = da.from_array(array, chunks=array.shards or array.chunks, name=key)
    rescale = volume.attributes["rescale"]
    if not rescale["applied"]:
        lazy = lazy * rescale["slope"] + rescale["intercept"]
    names = volume.axes
    scale, translation = (
        step[kind]
        for step, kind in zip(
            volume.ome["multiscales"][0]["datasets"][level]["coordinateTransformations"],
            ("scale", "translation"),
            strict=True,
        )
    )
    placed = dict(zip(names, volume.spacing_mm, strict=True))
    coordinates = {}
    for name, size, step, first in zip(names, array.shape, scale, translation, strict=True):
        unit = {"units": "mm"} if placed[name] is not None else {}
        coordinates[name] = (name, first + step * np.arange(size), unit)
    affine = volume.affine(level)
    attributes = {
        "units": volume.unit,
        "modality": volume.modality,
        "verdict": volume.verdict.code,
        "affine_lps": None if affine is None else affine.tolist(),
        "orientation": volume.attributes["orientation"],
        "series_uid": volume.series_uid,
        "volume_id": volume.volume_id,
    }
    return xr.DataArray(lazy, coordinates, names, volume.modality or None, attributes)
