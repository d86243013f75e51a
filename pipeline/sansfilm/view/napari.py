"""A volume as a layer of napari: lazy levels, at its place in the patient."""

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sansfilm.errors import MissingPackageError, OptionError
from sansfilm.view.exits import placed
from sansfilm.view.grey import choose_grey
from sansfilm.view.planes import choose_places
from sansfilm.view.words import describe
from sansfilm.view.world import is_sheared, nearest_axes

if TYPE_CHECKING:
    import napari

    from sansfilm.view.volume import Volume

HANGING = {  # plane: the order of (S, P, L) as depth, down, across; where each of these points
    "axial": ((0, 1, 2), ("away", "down", "right")),
    "coronal": ((1, 0, 2), ("away", "up", "right")),
    "sagittal": ((2, 0, 1), ("towards", "up", "right")),
}
"""As radiologists hang them. What napari does by itself shows heads down, and mirrors in 3D."""

_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")


def napari_view(
    volume: "Volume", window: Any, plane: str, viewer: Any, at: Mapping[str, int]
) -> "napari.Viewer":
    """See Volume.napari."""
    try:
        import napari
        from napari.utils import Colormap
    except ImportError as exc:
        raise MissingPackageError("napari is needed: pip install 'sansfilm[napari]'") from exc
    if plane not in HANGING:
        raise OptionError(f"plane must be one of {', '.join(HANGING)}, got {plane!r}")
    affine = placed(volume, 0, "napari")
    if "c" in volume.axes:
        raise OptionError("this layer is for grey values, and these images are in colour: use show")
    order, matrix = place_axes(volume, affine)
    places = choose_places(volume, at)
    grey = choose_grey(volume, window)
    caption = f"{describe(volume, window, at)} · not for clinical use"
    if viewer is None:
        viewer = _new_viewer(napari)
    colormap: Any = "gray"
    if grey.curve is not None:
        colormap = Colormap(np.repeat(grey.greys[:, None] / 255, 3, axis=1), name="sansfilm")
    viewer.add_image(
        _levels(volume, order),
        multiscale=True,
        name=f"{volume.modality} {volume.verdict.code}, not for clinical use",
        affine=matrix,
        axis_labels=(*places, "S", "P", "L"),
        units=(*("pixel" for _ in places), "mm", "mm", "mm"),
        contrast_limits=(grey.low, grey.high),
        colormap=colormap,
    )
    first = len(places)
    turn, orientation = HANGING[plane]
    viewer.dims.axis_labels = (*places, "S", "P", "L")
    viewer.dims.order = (*range(first), *(first + axis for axis in turn))
    size = np.array(volume.array.shape)[[volume.axes.index(axis) for axis in "zyx"]]
    middle = (affine @ [*((size - 1) / 2), 1])[2::-1]
    viewer.dims.point = (*places.values(), *middle)
    viewer.scene.camera.orientation = orientation
    overlays = viewer.canvas.overlays
    overlays.text.text = caption
    overlays.text.position = "top_left"
    overlays.axes.visible = overlays.scale_bar.visible = overlays.text.visible = True
    viewer.reset_view()
    return viewer


def place_axes(volume: "Volume", affine: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Return the order of axes that makes them (..., z, y, x), and their affine to (S, P, L) mm.

    Raises
    ------
    OptionError
        If the axes of the array are not the patient's: napari cuts along those of the array
        alone, and would draw another place than it tells.
    """
    space = [volume.axes.index(axis) for axis in "zyx"]
    turned = [nearest_axes(affine[:3, :3])[patient] for patient in (2, 1, 0)]
    linear = affine[2::-1, :3][:, turned]
    size = np.array(volume.array.shape)[space][turned]
    astray = np.abs(linear - np.diag(np.diag(linear))) * size
    cure = "resample(), which sets it upright, or " if is_sheared(affine) else ""
    if (astray > np.abs(np.diag(linear))[:, None] / 2).any():
        raise OptionError(
            "napari cuts along the axes of the array alone, and these are not the patient's: "
            f"use {cure}view or neuroglancer, which draw it as it is"
        )
    further = [n for n in range(len(volume.axes)) if n not in space]
    matrix = np.eye(len(volume.axes) + 1)
    matrix[-4:-1, -4:-1] = linear
    matrix[-4:-1, -1] = affine[2::-1, 3]
    return [*further, *(space[axis] for axis in turned)], matrix


def _levels(volume: "Volume", order: list[int]) -> list[Any]:
    """Return modality values of all levels: Zarr arrays as they are, where that is possible."""
    if volume.attributes["rescale"]["applied"] and order == sorted(order):
        return list(volume.levels)
    return [volume.to_xarray(level).data.transpose(order) for level in range(len(volume.levels))]


def _new_viewer(napari: Any) -> Any:
    """Open a window.

    Raises
    ------
    MissingPackageError
        Without a Qt, or a screen, without which Qt would end the process.
    """
    if sys.platform == "linux" and not any(os.environ.get(name) for name in _SCREENS):
        raise MissingPackageError("napari needs a screen for its window: DISPLAY is not set")
    try:
        return napari.Viewer()
    except ImportError as exc:
        raise MissingPackageError(
            "napari needs a Qt to open a window: pip install pyside6"
        ) from exc
