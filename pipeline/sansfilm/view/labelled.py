"""A level as an xarray DataArray: lazy, named axes, millimetres. The one use of Dask in view."""

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize

from sansfilm.view.axis_values import axis_coordinates
from sansfilm.view.devices import placing
from sansfilm.view.values import ModalityValues, modality_padding

if TYPE_CHECKING:
    from sansfilm.view.volume import Volume


def to_xarray(volume: "Volume", level: int, device: str = "cpu") -> xr.DataArray:
    """See Volume.to_xarray."""
    put = placing(device)
    values, array = ModalityValues(volume, level, put), volume.levels[level]
    # The place is part of the key: a copy of a volume, perhaps a damaged one, is another array.
    key = f"sansfilm-{tokenize(volume.uri, level, device)}"
    lazy = da.from_array(
        values, chunks=array.shards or array.chunks, name=key, asarray=False,
        meta=put(np.empty((0,) * array.ndim, values.dtype)),
    )  # fmt: skip
    coordinates = _coordinates(volume, level, array.shape)
    name = volume.modality or None
    return xr.DataArray(lazy, coordinates, volume.axes, name, _attributes(volume, level))


def to_datatree(volume: "Volume") -> xr.DataTree:
    """See Volume.to_datatree."""
    levels = range(len(volume.ome["multiscales"][0]["datasets"]))
    arrays = {str(level): to_xarray(volume, level).rename("image") for level in levels}
    tree = xr.DataTree.from_dict({path: array.to_dataset() for path, array in arrays.items()})
    shared = ("modality", "verdict", "orientation", "series_uid", "volume_id")
    tree.attrs = {name: arrays["0"].attrs[name] for name in shared}
    return tree


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
    if own["missing"] and (padding := modality_padding(volume)) is not None:
        attributes |= {"missing": own["missing"], "padding": list(padding)}
    return attributes
