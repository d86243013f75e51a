"""What is stored of one volume: arrays, their place in the patient, the frames they are made of."""

import hashlib
import io
import json
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from sansfilm.errors import IntegrityError, OptionError, VolumeNotFoundError
from sansfilm.model import Verdict
from sansfilm.objects import Readable
from sansfilm.view.shards import Shards

if TYPE_CHECKING:
    import pandas as pd
    import zarr


class StoredVolume:
    """A published volume; nothing is read before it is asked for.

    Voxels and headers have checksums of their own; metadata and frame table are compared with
    the commit record when they are read, so that no bit of an affine flips unseen.

    Raises
    ------
    VolumeNotFoundError
        If the volume is not committed: what is half written does not exist.
    IntegrityError
        If its metadata is not what was committed.
    """

    def __init__(self, target: Readable, key: str) -> None:
        self._target, self.key = target, key
        try:
            objects = json.loads(target.get(f"{key}/_commit.json"))["objects"]
            self._digests = {stored["key"]: stored["sha256"] for stored in objects}
            self._sizes = {stored["key"]: int(stored["size"]) for stored in objects}
        except FileNotFoundError as exc:
            raise VolumeNotFoundError(f"no committed volume at {target.join(key)}") from exc
        except (ValueError, KeyError, TypeError) as exc:
            raise self._damaged("_commit.json") from exc
        attributes = json.loads(self.read("zarr.json"))["attributes"]
        self.attributes: dict[str, Any] = attributes["sansfilm"]
        self.ome: dict[str, Any] = attributes["ome"]

    def read(self, name: str) -> bytes:
        """Read an object that has no checksum of its own."""
        if "derived_from" in self.__dict__.get("attributes", {}) and name not in self._digests:
            raise OptionError("what was made of another volume has no frames and headers: ask that")
        try:
            data = self._target.get(f"{self.key}/{name}")
        except FileNotFoundError as exc:
            raise self._damaged(name) from exc
        if hashlib.sha256(data).hexdigest() != self._digests.get(name):
            raise self._damaged(name)
        return data

    def read_part(self, name: str, offset: int, length: int) -> bytes:
        """Read a part of an object that has checksums inside, as chunks have."""
        try:
            return self._target.get(f"{self.key}/{name}", offset, length)
        except FileNotFoundError as exc:
            raise self._damaged(name) from exc

    @property
    def level_sizes(self) -> dict[str, int]:
        """Bytes of each object of the levels, by its name in the volume."""
        starts = tuple(f"{dataset['path']}/" for dataset in self.ome["multiscales"][0]["datasets"])
        return {name: size for name, size in self._sizes.items() if name.startswith(starts)}

    def _damaged(self, name: str) -> IntegrityError:
        where = self._target.join(f"{self.key}/{name}")
        return IntegrityError(where, "is damaged: see `sansfilm verify`")

    def _paths(self) -> list[str]:
        return [dataset["path"] for dataset in self.ome["multiscales"][0]["datasets"]]

    def _open(self, paths: Sequence[str]) -> "list[zarr.Array[Any]]":
        from sansfilm.view.zarr_store import open_levels

        documents = {name: self.read(name) for name in (f"{path}/zarr.json" for path in paths)}
        return open_levels(self._target, self.key, paths, documents)

    @property
    def uri(self) -> str:
        """URL of the OME-Zarr image, for any reader of such."""
        return self._target.join(self.key)

    @property
    def volume_id(self) -> str:
        """Identity of the volume: a digest of its sources and the options."""
        return str(self.attributes["volume_id"])

    @property
    def series_uid(self) -> str:
        """SeriesInstanceUID."""
        return str(self.attributes["series_uid"])

    @property
    def modality(self) -> str:
        """Modality: CT, MR, ..."""
        return str(self.attributes["modality"])

    @property
    def unit(self) -> str:
        """Unit of modality values: HU for most CT; "" where DICOM says nothing."""
        return str(self.attributes["rescale"]["unit"])

    @property
    def verdict(self) -> Verdict:
        """What the geometry turned out to be: code, numbers, and a sentence."""
        return Verdict(**self.attributes["verdict"])

    @property
    def affine_lps(self) -> np.ndarray | None:
        """Index (z, y, x, 1) -> millimetres (x, y, z, 1) in DICOM's LPS frame; shape (4, 4).

        The same for every time, channel, ... . None for images without a place in the patient.
        Of unevenly spaced slices (verdict ``variable``) it holds on the whole only:
        `to_xarray` says where each one is.
        """
        affine = self.attributes["affine_lps"]
        return None if affine is None else np.array(affine)

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the array axes: (z, y, x), or (i, y, x) without a place in the patient.

        Before these ``t`` (time), one axis of what else frames differ in (``b``, ``echo``, ...)
        and, in colour, ``c``; the frames of a cine are (t, y, x).
        """
        return tuple(axis["name"] for axis in self.ome["multiscales"][0]["axes"])

    @property
    def spacing_mm(self) -> tuple[float | None, ...]:
        """Distance of voxels along each axis; None along an axis without one."""
        return tuple(self.attributes["spacing_mm"])

    def affine(self, level: int = 0) -> np.ndarray | None:
        """Return `affine_lps` for the indices of a level; the half-voxel shift is in it."""
        affine = self.affine_lps
        if affine is None:
            return None
        factors = self.factors(level)[[self.axes.index(axis) for axis in "zyx"]]
        scaled = affine.copy()
        scaled[:3, :3] = affine[:3, :3] * factors
        scaled[:3, 3] = affine[:3, 3] + affine[:3, :3] @ ((factors - 1) / 2)
        return scaled

    def factors(self, level: int) -> np.ndarray:
        """Return how many voxels of level 0 one voxel of a level spans along each axis.

        Whole numbers, but for the levels that a slide brought along.

        Raises
        ------
        OptionError
            If there is no such level.
        """
        datasets = self.ome["multiscales"][0]["datasets"]
        if not 0 <= level < len(datasets):
            raise OptionError(f"level must be 0 to {len(datasets) - 1}, got {level}")
        scales = [
            dataset["coordinateTransformations"][0]["scale"]
            for dataset in (datasets[level], datasets[0])
        ]
        return np.asarray(np.round(np.divide(scales[0], scales[1]), 6))

    @cached_property
    def levels(self) -> "list[zarr.Array[Any]]":
        """Zarr arrays of all resolution levels, full resolution first. A lost chunk raises."""
        return self._open(self._paths())

    @cached_property
    def grids(self) -> "list[Shards | zarr.Array[Any]]":
        """Shape, dtype, chunks and values of each of `levels`, where that suffices.

        Of a volume at hand without loading zarr-python, which takes as long as the rest of a card.
        """
        if "levels" in self.__dict__:
            return list(self.levels)
        found = [
            Shards.of(self._target, f"{self.key}/{path}", self.read(f"{path}/zarr.json"))
            for path in self._paths()
        ]
        return [self.levels[n] if grid is None else grid for n, grid in enumerate(found)]

    @property
    def array(self) -> "zarr.Array[Any]":
        """Zarr array of level 0."""
        return self.levels[0]

    @cached_property
    def header_array(self) -> "zarr.Array[Any]":
        """Zarr array of all headers, uint8; `frames` says where each one lies."""
        return self._open(["dicom/headers"])[0]

    @cached_property
    def frames(self) -> "pd.DataFrame":
        """One row per frame: index, source, position, rescale, windows, digest, acquisition."""
        import pandas as pd

        # Without threads for the same reason as the catalogue is read: see catalogue.table.
        return pd.read_parquet(io.BytesIO(self.read("frames.parquet")), use_threads=False)
