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
    from pathlib import Path

    import napari
    import neuroglancer
    import nibabel
    import pandas as pd
    import pydicom
    import SimpleITK
    import torch
    import xarray as xr
    import zarr
    from ipywidgets import VBox
    from matplotlib.figure import Figure
    from monai.data import MetaTensor


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
        return pd.read_parquet(io.BytesIO(self.read("frames.parquet")), use_threads=False)

    def to_xarray(self, level: int = 0) -> "xr.DataArray":
        """Return a level as a lazy DataArray of modality values.

        Dimensions as in `axes`. Coordinates of z, y and x in mm: the position along each array
        axis, as in the OME-Zarr metadata; of unevenly spaced slices the true ones. Along ``t``
        seconds after the first where a time was measured, else the values that tell its frames
        apart, with their unit; ``c`` is red, green, blue. Where several attributes share an axis
        it is numbered, and each is a coordinate of its own, by DICOM keyword. ``attrs`` has the
        affine to patient coordinates, unit, verdict and UIDs; of volumes with missing frames
        their indices (``missing``) and what they hold (``padding``).
        """
        from sansfilm.view.labelled import to_xarray

        return to_xarray(self, level)

    def to_datatree(self) -> "xr.DataTree":
        """Return all levels as a lazy DataTree: ``tree["0/image"]`` is `to_xarray` of level 0."""
        from sansfilm.view.labelled import to_datatree

        return to_datatree(self)

    def sel_mm(
        self,
        x: slice | float | None = None,
        y: slice | float | None = None,
        z: slice | float | None = None,
        *,
        level: int = 0,
    ) -> "xr.DataArray":
        """Return the part of a level that covers a box in the patient, as `to_xarray` does.

        All voxels that some of the box lies in, and no more, where the volume is parallel to
        patient x, y and z. Of an oblique or sheared volume it is the smallest part that covers
        the box, which then has voxels outside of it as well. A box that reaches out of the volume
        is cut off there. ``attrs["affine_lps"]`` is that of the part, and ``first_index`` its
        first voxel (z, y, x) in the level.

        Parameters
        ----------
        x, y, z : slice(from, to) or number, optional
            In DICOM's LPS millimetres: x to the patient's left, y to the back, z to the head. Ends
            that are left out are those of the volume; three numbers give the voxel at a point.
        level : int, optional

        Raises
        ------
        OptionError
            For images without a place in the patient, a box outside the volume, and what is no box.
        """
        from sansfilm.view.boxes import sel_mm

        return sel_mm(self, level, {"x": x, "y": y, "z": z})

    def window(self, window: Any = None, *, level: int = 0) -> np.ndarray:
        """Return a level as a picture: uint8, same shape, windowed, MONOCHROME1 inverted.

        Colour has no window: it is returned as it is, in 8 bits.

        Parameters
        ----------
        window : str, (center, width) or None
            Name of a preset ("lung", "bone", ...), "voi lut" or the explanation of one of the
            series' own VOI LUTs (``attributes["voi_luts"]``), two numbers in modality units, or
            the series' own first window, else its first VOI LUT.
        level : int, optional

        Raises
        ------
        OptionError
            If there is no such preset, the width is below 1, or the images are in colour.
        """
        from sansfilm.view.windows import apply_window

        return apply_window(self, window, level)

    def show(self, window: Any = None, *, level: int | None = None, **at: int) -> "Figure":
        """Return a figure of axial, coronal and sagittal views through the middle.

        Orientation letters are on the edges, the aspect is that of the patient. Of images
        without a place there: the first, the middle and the last. Not for clinical use.

        In a live notebook with ipywidgets the picture has a slider for each plane, and for each
        further axis.

        Parameters
        ----------
        window
            As in `window`.
        level : int, optional
            The first one that is not too large for a screen, unless it is given.
        **at : int
            Index along further axes, such as ``t=3`` or ``b=1``; 0 where none is given. The
            title says which.

        Raises
        ------
        OptionError
            If there is no such window, level, axis or index.
        """
        from sansfilm.view.show import show

        return show(self, window, level, at)

    def view(
        self, window: Any = None, *, level: int | None = None, height: int = 400, **at: int
    ) -> "VBox":
        """Show it in NiiVue, in a notebook; needs ipyniivue. Not for clinical use.

        The browser gets one level, whole, as a NIfTI made in memory with `affine_lps`, so it is
        cut where the patient is axial, coronal and sagittal, whatever way it was acquired, and
        shear is drawn as it is. The patient's right is on the left, as in `show`.

        Parameters
        ----------
        window
            As in `window`.
        level : int, optional
            The first one of at most 64 MiB, unless it is given.
        height : int, optional
            In pixels of the screen.
        **at : int
            Index along further axes, as in `show`.

        Returns
        -------
        ipywidgets.VBox
            Its first child is the ``ipyniivue.NiiVue``, to go on with.

        Raises
        ------
        MissingPackageError
            Without ipyniivue.
        OptionError
            For what has no place in a NIfTI: uneven slices, colour, images without a place in
            the patient. And as in `show`.
        """
        from sansfilm.view.niivue import view

        return view(self, window, level, height, at)

    def neuroglancer(self, window: Any = None, **at: int) -> "neuroglancer.Viewer":
        """Show it in Neuroglancer, in a browser of this machine; not for clinical use.

        Needs the package neuroglancer, whose local server brings the pages: nothing is loaded from
        elsewhere. The levels are read as they are needed, and lie where they are in the patient:
        its dimensions are L, P and S, in mm. The address is the viewer's text.

        Parameters
        ----------
        window
            As in `window`; there are sliders for its centre and width.
        **at : int
            Index along further axes, as in `show`, to begin with.

        Raises
        ------
        MissingPackageError
            Without neuroglancer.
        OptionError
            For what it has no place: uneven slices, colour, float64, images without a place in
            the patient. And as in `show`.
        """
        from sansfilm.view.neuroglancer import neuroglancer_view

        return neuroglancer_view(self, window, at)

    def napari(
        self, window: Any = None, *, plane: str = "axial", viewer: Any = None, **at: int
    ) -> "napari.Viewer":
        """Add it to napari as an image layer of all levels; not for clinical use.

        The world is the patient: axes S, P and L in mm, after the further ones. Needs napari and
        a Qt for its window.

        Parameters
        ----------
        window
            As in `window`.
        plane : "axial", "coronal" or "sagittal", optional
            What is shown first, hung as in `show`.
        viewer : napari.Viewer, optional
            A new one, unless it is given.
        **at : int
            Index along further axes, as in `show`, to begin with.

        Raises
        ------
        MissingPackageError
            Without napari, or a Qt.
        OptionError
            If the array's axes are not the patient's: napari cuts along these alone. Also for
            uneven slices, colour, images without a place in the patient, and as in `show`.
        """
        from sansfilm.view.napari import napari_view

        return napari_view(self, window, plane, viewer, at)

    def header_bytes(self, frame: int) -> bytes:
        """Return the bytes outside Pixel Data of a frame's instance, as the hospital sent them.

        `frame` is a row of `frames`. The frames of a multi-frame instance share one header.
        """
        from sansfilm.view.headers import header_bytes

        return header_bytes(self, frame)

    def headers(self) -> "list[pydicom.Dataset]":
        """Return the dataset of each instance without Pixel Data, in the order of its first frame.

        One for each SOP Instance: of a multi-frame instance there is one for all its frames.
        """
        from sansfilm.view.headers import headers

        return headers(self)

    def to_nibabel(self, level: int = 0) -> "nibabel.Nifti1Image":
        """Return a NIfTI image of modality values, RAS affine; needs nibabel.

        Data (x, y, z), then t or whatever else the further axes are. The time step is 0 where
        it is unknown or not always the same. Missing slices hold padding.

        Raises
        ------
        OptionError
            For what NIfTI has no place: uneven slices, colour, images without a place in the
            patient.
        """
        from sansfilm.view.exits import to_nibabel

        return to_nibabel(self, level)

    def to_sitk(self, level: int = 0) -> "SimpleITK.Image":
        """Return a SimpleITK image (x, y, z) of modality values, LPS; needs SimpleITK.

        Raises
        ------
        OptionError
            For what it has no place: shear, uneven slices, more than three dimensions, images
            without a place in the patient.
        """
        from sansfilm.view.exits import to_sitk

        return to_sitk(self, level)

    def to_torch(self, level: int = 0) -> "torch.Tensor":
        """Return a tensor of modality values, dimensions as in `axes`; needs PyTorch.

        Unsigned values of 16 bits and more become signed ones of twice the width, with which
        PyTorch can count.
        """
        from sansfilm.view.tensors import to_torch

        return to_torch(self, level)

    def to_monai(self, level: int = 0) -> "MetaTensor":
        """Return a MONAI MetaTensor (channel, x, y, z), RAS affine; needs MONAI.

        As `LoadImage` with `EnsureChannelFirst` gives it: float32, which is exact for whole
        numbers up to 16 million. Times, b-values or colours are the channels, else there is one.

        Raises
        ------
        OptionError
            For what it has no place: uneven slices, more than four dimensions, images without a
            place in the patient.
        """
        from sansfilm.view.tensors import to_monai

        return to_monai(self, level)

    def export(self, path: "str | Path", *, level: int = 0) -> "Path":
        """Write a level to a file, replacing what was there; return its path.

        ``.nii`` and ``.nii.gz`` are written as `to_nibabel` says, ``.nrrd`` and ``.mha`` as
        `to_sitk`. No header goes with it, and no identity.

        Raises
        ------
        OptionError
            For another ending, and for what the format has no place.
        """
        from sansfilm.view.exits import export

        return export(self, path, level)

    def __repr__(self) -> str:
        shape = " x ".join(str(size) for size in self.array.shape)
        return f"<sansfilm.Volume {self.modality} {shape} {self.array.dtype}, {self.verdict.code}>"

    def _repr_html_(self) -> str:
        """Show what it is in a notebook; the smallest level is all that is read of the voxels."""
        from sansfilm.view.cards import volume_card

        return volume_card(self, self._sizes)
