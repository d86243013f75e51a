"""One volume of an archive: lazy arrays with their place in the patient, and its headers."""

import hashlib
import io
import json
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from sansfilm.errors import IntegrityError, OptionError, VolumeNotFoundError
from sansfilm.model import Verdict
from sansfilm.objects import Objects

if TYPE_CHECKING:
    import nibabel
    import pandas as pd
    import pydicom
    import SimpleITK
    import xarray as xr
    import zarr
    from matplotlib.figure import Figure


class Volume:
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

    def __init__(self, target: Objects, key: str) -> None:
        self._target, self.key = target, key
        try:
            objects = json.loads(target.get(f"{key}/_commit.json"))["objects"]
            self._digests = {stored["key"]: stored["sha256"] for stored in objects}
        except FileNotFoundError as exc:
            raise VolumeNotFoundError(f"no committed volume at {target.join(key)}") from exc
        except (ValueError, KeyError, TypeError) as exc:
            raise self._damaged("_commit.json") from exc
        attributes = json.loads(self._read("zarr.json"))["attributes"]
        self.attributes: dict[str, Any] = attributes["sansfilm"]
        self.ome: dict[str, Any] = attributes["ome"]

    def _read(self, name: str) -> bytes:
        """Read an object that has no checksum of its own."""
        try:
            data = self._target.get(f"{self.key}/{name}")
        except FileNotFoundError as exc:
            raise self._damaged(name) from exc
        if hashlib.sha256(data).hexdigest() != self._digests.get(name):
            raise self._damaged(name)
        return data

    def _damaged(self, name: str) -> IntegrityError:
        where = self._target.join(f"{self.key}/{name}")
        return IntegrityError(where, "is damaged: see `sansfilm verify`")

    def _open(self, paths: Sequence[str]) -> "list[zarr.Array[Any]]":
        from sansfilm.view.zarr_store import open_levels

        for path in paths:
            self._read(f"{path}/zarr.json")
        return open_levels(self._target, self.key, paths)

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

        None for images without a place in the patient.
        """
        affine = self.attributes["affine_lps"]
        return None if affine is None else np.array(affine)

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the array axes: (z, y, x), or (i, y, x) without a place in the patient."""
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
        factors = self.factors(level)
        scaled = affine.copy()
        scaled[:3, :3] = affine[:3, :3] * factors
        scaled[:3, 3] = affine[:3, 3] + affine[:3, :3] @ ((factors - 1) / 2)
        return scaled

    def factors(self, level: int) -> np.ndarray:
        """Return how many voxels of level 0 one voxel of a level spans along each axis.

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
        return np.asarray(np.rint(np.divide(scales[0], scales[1])))

    @cached_property
    def levels(self) -> "list[zarr.Array[Any]]":
        """Zarr arrays of all resolution levels, full resolution first. A lost chunk raises."""
        return self._open([dataset["path"] for dataset in self.ome["multiscales"][0]["datasets"]])

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
        return pd.read_parquet(io.BytesIO(self._read("frames.parquet")), use_threads=False)

    def to_xarray(self, level: int = 0) -> "xr.DataArray":
        """Return a level as a lazy DataArray of modality values.

        Dimensions (z, y, x), or (i, y, x) without a place in the patient. Coordinates in mm:
        the position along each array axis, as in the OME-Zarr metadata; ``attrs`` has the
        affine to patient coordinates, unit, verdict and UIDs.
        """
        from sansfilm.view.labelled import to_xarray

        return to_xarray(self, level)

    def window(self, window: Any = None, *, level: int = 0) -> np.ndarray:
        """Return a level as a picture: uint8, same shape, windowed, MONOCHROME1 inverted.

        Parameters
        ----------
        window : str, (center, width) or None
            Name of a preset ("lung", "bone", ...), two numbers in modality units, or the
            series' own first window.
        level : int, optional

        Raises
        ------
        OptionError
            If there is no such preset, or the width is below 1.
        """
        from sansfilm.view.windows import apply_window

        return apply_window(self, window, level)

    def show(self, window: Any = None, *, level: int | None = None) -> "Figure":
        """Return a figure of axial, coronal and sagittal views through the middle.

        Orientation letters are on the edges, the aspect is that of the patient. Not for
        clinical use.
        """
        from sansfilm.view.show import show

        return show(self, window, level)

    def header_bytes(self, frame: int) -> bytes:
        """Return one instance's bytes outside Pixel Data, as they came from the hospital."""
        from sansfilm.view.headers import header_bytes

        return header_bytes(self, frame)

    def headers(self) -> "list[pydicom.Dataset]":
        """Return the dataset of each frame's instance without Pixel Data, in frame order."""
        from sansfilm.view.headers import headers

        return headers(self)

    def to_nibabel(self, level: int = 0) -> "nibabel.Nifti1Image":
        """Return a NIfTI image of modality values, RAS affine; needs nibabel."""
        from sansfilm.view.exits import to_nibabel

        return to_nibabel(self, level)

    def to_sitk(self, level: int = 0) -> "SimpleITK.Image":
        """Return a SimpleITK image of modality values, LPS; needs SimpleITK."""
        from sansfilm.view.exits import to_sitk

        return to_sitk(self, level)

    def __repr__(self) -> str:
        shape = " x ".join(str(size) for size in self.array.shape)
        return f"<sansfilm.Volume {self.modality} {shape} {self.array.dtype}, {self.verdict.code}>"
