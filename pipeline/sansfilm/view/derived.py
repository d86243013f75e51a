"""Volumes made of others: held in memory, with all that their origin says of itself."""

import copy
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.storage import MemoryStore

from sansfilm.view.volume import Volume
from sansfilm.view.world import directions

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from zarr.core.buffer import Buffer

_CHUNK = 64
"""Voxels along z, y and x of what is read at once."""


class Held:
    """Objects in memory that are only read; they pickle, with all that they hold."""

    url = "memory:"

    def __init__(self, objects: Mapping[str, bytes]) -> None:
        self._objects = dict(sorted(objects.items()))

    def join(self, key: str) -> str:
        """See Readable.join."""
        return f"{self.url}{key}"

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """See Readable.get."""
        if key not in self._objects:
            raise FileNotFoundError(key)
        end = None if length is None else offset + length
        return self._objects[key][offset:end]

    def find(self, prefix: str) -> dict[str, int]:
        """See Readable.find."""
        return {k: len(data) for k, data in self._objects.items() if k.startswith(f"{prefix}/")}


def derive(
    volume: Volume,
    values: "NDArray[Any]",
    affine: np.ndarray,
    *,
    how: str,
    padding: tuple[float, float] | None,
) -> Volume:
    """Return a volume of its own: an image in memory, in modality values, with one level.

    Parameters
    ----------
    volume
        What it is made of: it has the same axes, and the same further ones.
    values : array, axes as in ``volume.axes``
        Modality values.
    affine : array, shape (4, 4)
        Index (z, y, x, 1) -> LPS millimetres.
    how : str
        What was done, a sentence for people; it becomes part of the verdict and the identity.
    padding : (low, high) or None
        Which values stand for no data. Slices that hold nothing else are ``missing``.
    """
    ome, own = copy.deepcopy(volume.ome), copy.deepcopy(volume.attributes)
    identity = hashlib.sha256(f"{volume.volume_id} {how}".encode()).hexdigest()
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    further = [None] * (values.ndim - 3)
    words = directions(affine[:3, :3])
    own |= {
        "volume_id": identity[: len(volume.volume_id)],
        "derived_from": {"volume_id": volume.volume_id, "how": how},
        "verdict": {"code": "resampled", "numbers": {"spacing_mm": float(spacing[0])}, "text": how},
        "affine_lps": affine.tolist(),
        "spacing_mm": [*further, *spacing.tolist()],
        "orientation": words,
        "rescale": {"slope": 1.0, "intercept": 0.0, "unit": volume.unit, "applied": True,
                    "per_frame": False},
        "modality_lut": None,
        "padding": None if padding is None else [_spelt(end) for end in padding],
        "missing": _empty_slices(values, volume.axes, padding),
        "axes_values": {axis: told for axis, told in own["axes_values"].items() if axis != "z"},
    }  # fmt: skip
    _describe(ome, volume, values, affine, words, how)
    return Volume(*_stored(f"derived/{own['volume_id']}", ome, own, volume, values))


def _describe(
    ome: dict[str, Any], volume: Volume, values: np.ndarray, affine: np.ndarray, words: list[str],
    how: str,
) -> None:  # fmt: skip
    """Change what OME-Zarr says of the origin to what holds for the volume made of it."""
    multiscales = ome["multiscales"][0]
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    for axis, word in zip(multiscales["axes"][-3:], words, strict=True):
        axis |= {"unit": "millimeter", "orientation": {"type": "anatomical", "value": word}}
    first = multiscales["datasets"][0]["coordinateTransformations"]
    scale, shift = first[0]["scale"], first[1]["translation"]
    scale[-3:] = spacing.tolist()
    shift[-3:] = (affine[:3, 3] @ (affine[:3, :3] / spacing)).tolist()
    multiscales["datasets"] = [{"path": "0", "coordinateTransformations": first}]
    multiscales["metadata"] = {"method": "sansfilm_kernels.resample", "description": how}
    rescale = volume.attributes["rescale"]
    if not rescale["applied"]:
        for channel in ome["omero"]["channels"]:
            ends = {
                name: value * rescale["slope"] + rescale["intercept"]
                for name, value in channel["window"].items()
            }
            if rescale["slope"] < 0:
                ends = {"min": ends["max"], "max": ends["min"], "start": ends["end"],
                        "end": ends["start"]}  # fmt: skip
            channel["window"] = ends
    ome["omero"].setdefault("rdefs", {})["defaultZ"] = values.shape[-3] // 2


def _stored(
    key: str, ome: Mapping[str, Any], own: Mapping[str, Any], volume: Volume, values: np.ndarray
) -> tuple[Held, str]:
    """Return an OME-Zarr image in memory, complete with its commit record, and its key."""
    kept: dict[str, Buffer] = {}
    store = MemoryStore(kept)
    zarr.create_group(store, attributes={"ome": ome, "sansfilm": own}, zarr_format=3)
    lead = (1,) * (values.ndim - 3)
    array = zarr.create_array(
        store, name="0", shape=values.shape, dtype=values.dtype, compressors=None,
        chunks=(*lead, *(max(1, min(_CHUNK, size)) for size in values.shape[-3:])),
        dimension_names=volume.axes, attributes={"units": volume.unit} if volume.unit else {},
        config={"write_empty_chunks": True}, zarr_format=3,
    )  # fmt: skip
    array[...] = values
    objects = {name: kept[name].to_bytes() for name in sorted(kept)}
    record = [
        {"key": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in objects.items()
    ]
    objects["_commit.json"] = json.dumps({"objects": record}).encode()
    return Held({f"{key}/{name}": data for name, data in objects.items()}), key


def _empty_slices(
    values: np.ndarray, axes: tuple[str, ...], padding: tuple[float, float] | None
) -> list[Any]:
    """Return the indices of slices without any data, as ``attributes["missing"]`` has them."""
    if padding is None:
        return []
    low, high = padding
    empty = np.isnan(values) if low != low else (values >= low) & (values <= high)
    number = axes.index("z")
    inner = tuple(n for n, axis in enumerate(axes) if axis in "cyx")
    found: list[Any] = np.argwhere(empty.all(axis=inner)).tolist()
    return found if number > sum(axis == "c" for axis in axes) else [index[0] for index in found]


def _spelt(value: float) -> float | str:
    """Return a number as JSON has it: see model.Padding."""
    if np.isnan(value):
        return "NaN"
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else float(value)
