"""One volume of an archive: lazy arrays with their place in the patient, and its headers."""

from typing import TYPE_CHECKING, Any

import numpy as np

from sansfilm.view.stored import StoredVolume

if TYPE_CHECKING:
    from pathlib import Path

    import napari
    import neuroglancer
    import nibabel
    import pydicom
    import SimpleITK
    import torch
    import xarray as xr
    from ipywidgets import VBox
    from matplotlib.figure import Figure
    from monai.data import MetaTensor


class Volume(StoredVolume):
    """A published volume, and what researchers do with it; nothing is read before it is asked for.

    Every volume has the same methods: of an archive, of `sansfilm.read`, and made of another one.
    """

    def to_xarray(self, level: int = 0, *, device: str = "cpu") -> "xr.DataArray":
        """Return a level as a lazy DataArray of modality values.

        Dimensions as in `axes`. Coordinates of z, y and x in mm: the position along each array
        axis, as in the OME-Zarr metadata; of unevenly spaced slices the true ones. Along ``t``
        seconds after the first where a time was measured, else the values that tell its frames
        apart, with their unit; ``c`` is red, green, blue. Where several attributes share an axis
        it is numbered, and each is a coordinate of its own, by DICOM keyword. ``attrs`` has the
        affine to patient coordinates, unit, verdict and UIDs; of volumes with missing frames
        their indices (``missing``) and what they hold (``padding``).

        Parameters
        ----------
        level : int, optional
        device : {"cpu", "gpu"}, optional
            gpu: what is computed are CuPy arrays; each chunk is decoded by the CPU and copied.

        Raises
        ------
        OptionError
            If there is no such level or device.
        DeviceError
            If there is no GPU.
        """
        from sansfilm.view.labelled import to_xarray

        return to_xarray(self, level, device)

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

    def resample(
        self,
        spacing_mm: Any,
        *,
        method: str | None = None,
        level: int | None = None,
        device: str = "cpu",
    ) -> "Volume":
        """Return the volume on an even, upright lattice: a new Volume, in memory.

        It covers this one from edge to edge, along the same rows and columns; z is at right
        angles to them, so that shear is gone. Uneven slices count where they are. Padding is left
        out: where it has more than half of the weight, as in slices that are missing, and beyond
        the volume the result has padding too (``attributes["padding"]``), of which series without
        one get a value of their own, one below their lowest; fractional values NaN. Slices of
        nothing else are ``missing``.

        Parameters
        ----------
        spacing_mm : float or (z, y, x)
            Distance of voxels, mm.
        method : {"linear", "nearest"}, optional
            linear, computed in float64 and rounded once to the dtype of the modality values; of
            label maps nearest.
        level : int, optional
            Where the values come from. The coarsest level whose voxels are nowhere larger than
            `spacing_mm`, unless it is given, so that each voxel counts when there are fewer of
            them; whole voxels that are still to be taken together are reduced in memory. With
            nearest of anything but label maps always level 0, and nothing is reduced.
        device : {"cpu", "gpu"}, optional
            Where it is computed. The result is in host memory.

        Raises
        ------
        OptionError
            For images without a place in the patient, slices that lie on no line, a distance that
            is none, and a result of more than 16 GiB.
        DeviceError
            If there is no GPU.
        """
        from sansfilm.view.reslice import resample

        return resample(self, spacing_mm, method, level, device)

    def mpr(
        self,
        plane: Any = "coronal",
        *,
        spacing_mm: Any = None,
        at: Any = None,
        method: str | None = None,
        level: int | None = None,
        device: str = "cpu",
    ) -> "Volume":
        """Return planes of any orientation through the volume: a new Volume, in memory.

        Its z runs from plane to plane, y and x are rows and columns as radiologists hang them:
        the patient's right on the left, or anterior on the left of sagittal planes; feet down, or
        the back in planes that are nearer to axial ones.

        Parameters
        ----------
        plane : {"axial", "coronal", "sagittal"} or (x, y, z), optional
            The planes of the patient, or the direction from plane to plane, in LPS.
        spacing_mm : float or (z, y, x), optional
            Distance of planes, rows and columns, mm; the smallest of the volume.
        at : (x, y, z), optional
            A point in LPS millimetres: only the plane through it.
        method, level, device : optional
            As in `resample`. Planes are thin, however far apart they are: for thick ones see
            `mip`.

        Raises
        ------
        OptionError, DeviceError
            As in `resample`, and if the point is outside of the volume.
        """
        from sansfilm.view.reslice import mpr

        return mpr(self, plane, spacing_mm, at, method, level, device)

    def mip(
        self,
        plane: Any = "coronal",
        *,
        slab_mm: float | None = None,
        kind: str = "max",
        spacing_mm: Any = None,
        at: Any = None,
        level: int | None = None,
        device: str = "cpu",
    ) -> "Volume":
        """Return a projection, or one for each slab: a new Volume, in memory, z across the slabs.

        Of all values in the box that a voxel of the result is. These are taken as far apart as
        voxels are along their own axis, where a line is parallel to one, else as far as they are
        apart where they are closest.

        Parameters
        ----------
        plane : {"axial", "coronal", "sagittal"} or (x, y, z), optional
            As in `mpr`: what the projection is seen in.
        slab_mm : float, optional
            How thick each slab is; they lie side by side. One of the whole volume.
        kind : {"max", "min", "mean"}, optional
            Of values that are not padding.
        spacing_mm : float or (y, x), optional
            Distance of rows and columns, mm; the smallest of the volume.
        at : (x, y, z), optional
            A point in LPS millimetres: only the slab around it.
        level : int, optional
            Level 0 unless it is given: every voxel counts. Of another it is the largest mean.
        device : {"cpu", "gpu"}, optional
            Where it is computed.

        Raises
        ------
        OptionError, DeviceError
            As in `mpr`.
        """
        from sansfilm.view.reslice import mip

        return mip(self, plane, slab_mm, kind, spacing_mm, at, level, device)

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

    def to_itk_dict(self, level: int = 0) -> dict[str, Any]:
        """Return an image as itk-wasm, ITK.js, vtk.js and ngff-zarr take it; needs no package.

        ``itkwasm.Image(**volume.to_itk_dict())``, ``itk.image_from_dict(...)``. Modality values
        (z, y, x), or (z, y, x, c) in colour; ``origin``, ``spacing`` and ``size`` are (x, y, z),
        ``direction`` has the directions of x, y and z as columns, LPS.

        Raises
        ------
        OptionError
            For what it has no place: shear, uneven slices, times and the like, images without a
            place in the patient.
        """
        from sansfilm.view.exits import to_itk_dict

        return to_itk_dict(self, level)

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
        shape = " x ".join(str(size) for size in self.grids[0].shape)
        kind = self.grids[0].dtype
        return f"<sansfilm.Volume {self.modality} {shape} {kind}, {self.verdict.code}>"

    def _repr_html_(self) -> str:
        """Show what it is in a notebook; the smallest level is all that is read of the voxels."""
        from sansfilm.view.cards import volume_card

        return volume_card(self, self._sizes)
