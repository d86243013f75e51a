"""A level as an xarray DataArray: lazy, named axes, millimetres. The one use of Dask in view."""

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize

from sansfilm.model import padding_range
from sansfilm.view.axis_values import axis_coordinates

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
    coordinates = _coordinates(volume, level, array.shape)
    name = volume.modality or None
    return xr.DataArray(lazy, coordinates, volume.axes, name, _attributes(volume, level))


def _coordinates(volume: "Volume", level: int, shape: tuple[int, ...]) -> dict[Hashable, Any]:
    transformations = volume.ome["multiscales"][0]["datasets"][level]["coordinateTransformations"]
    scale, translation = transformations[0]["scale"], transformations[1]["translation"]
    given = volume.attributes["axes_values"]
    found: dict[Hashable, Any] = {}
    for number, (axis, size) in enumerate(zip(volume.axes, shape, strict=True)):
        if axis == "c":
            labels = [channel["label"] for channel in volume.ome["omero"]["channels"]]
            found[axis] = (axis, labels)
        elif axis in "yx" or (axis == "z" and axis not in given):
            unit = {} if volume.spacing_mm[number] is None else {"units": "mm"}
            places = translation[number] + scale[number] * np.arange(size)
            found[axis] = (axis, places, unit)
        elif axis == "z":  # uneven: never reduced, so the same on every level
            found[axis] = (axis, np.array(given[axis]["values"]), {"units": given[axis]["unit"]})
        else:
            for name, (values, unit) in axis_coordinates(axis, size, given.get(axis)).items():
                found[name] = (axis, values, unit)
    return found


def _attributes(volume: "Volume", level: int) -> dict[str, Any]:
    own, affine = volume.attributes, volume.affine(level)
    attributes = {
        "units": volume.unit,
        "modality": volume.modality,
        "verdict": volume.verdict.code,
        "affine_lps": None if affine is None else affine.tolist(),
        "orientation": own["orientation"],
        "series_uid": volume.series_uid,
        "volume_id": volume.volume_id,
    }
    if own["missing"]:
        padding, rescale = np.array(padding_range(own["padding"])), own["rescale"]
        if not rescale["applied"]:
            padding = np.sort(padding * rescale["slope"] + rescale["intercept"])
        attributes |= {"missing": own["missing"], "padding": padding.tolist()}
    return attributes
