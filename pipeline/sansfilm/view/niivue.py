"""A volume in NiiVue, in the notebook: the browser gets a NIfTI that is made in memory."""

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from sansfilm.errors import MissingPackageError, OptionError
from sansfilm.view.exits import placed, ras_affine
from sansfilm.view.grey import choose_grey
from sansfilm.view.planes import choose_places
from sansfilm.view.words import describe
from sansfilm.view.world import is_sheared

if TYPE_CHECKING:
    from ipywidgets import VBox

    from sansfilm.view.volume import Volume

_BYTES = 2**26
"""Levels up to this size go to the browser unasked."""
_CURVE = "sansfilm"
"""Name of the colour map of a window that is no straight line."""


def view(
    volume: "Volume", window: Any, level: int | None, height: int, at: Mapping[str, int]
) -> "VBox":
    """See Volume.view."""
    try:
        import ipyniivue
        import nibabel  # noqa: F401  (make_nifti needs it: both are told at once)
        from ipywidgets import HTML, VBox
    except ImportError as exc:
        raise MissingPackageError("NiiVue is needed: pip install 'sansfilm[notebook]'") from exc
    level = choose_level(volume) if level is None else level
    data = make_nifti(volume, level, at)
    grey = choose_grey(volume, window)
    niivue = ipyniivue.NiiVue(
        height=height,
        is_slice_mm=True,  # else it draws the array's planes, and calls them the patient's
        is_radiological_convention=True,
        sagittal_nose_left=True,
        show_all_orientation_markers=True,
        multiplanar_pad_pixels=24,
        font_color=(1.0, 1.0, 0.0, 1.0),
        font_min_px=18,
        crosshair_color=(0.2, 0.6, 1.0, 0.6),
        crosshair_width=0.5,
    )
    about = {"cal_min": grey.low, "cal_max": grey.high, "colormap": "gray"}
    niivue.load_volumes([{"data": data, "name": "volume.nii", **about}])
    if grey.curve is not None:  # the browser takes colour maps once it is there
        niivue.on_canvas_attached(lambda: niivue.add_colormap(_CURVE, _colours(grey.greys)))
        niivue.on_image_loaded(lambda shown: shown.set_trait("colormap", _CURVE))
    caption = describe(volume, window, at)
    told = escape(f"{caption} · level {level} · not for clinical use")
    return VBox([niivue, HTML(f'<span style="opacity:0.65">{told}</span>')])


def choose_level(volume: "Volume") -> int:
    """Return the first level that is no burden for a browser."""
    space = [volume.axes.index(axis) for axis in "zyx" if axis in volume.axes]
    sizes = [
        np.prod([level.shape[axis] for axis in space]) * level.dtype.itemsize
        for level in volume.levels
    ]
    return next((n for n, size in enumerate(sizes) if size <= _BYTES), len(sizes) - 1)


def make_nifti(volume: "Volume", level: int, at: Mapping[str, int]) -> bytes:
    """Return one time, b-value, ... of a level as a NIfTI file: modality values, RAS affine.

    Raises
    ------
    OptionError
        For what NIfTI has no place: uneven slices, colour, images without a place in the patient.
    """
    import nibabel

    affine = ras_affine(placed(volume, level, "NIfTI"))
    if "c" in volume.axes:
        raise OptionError("NIfTI has no place for colour beside z: use show")
    array = volume.to_xarray(level).isel(choose_places(volume, at))
    values = np.asarray(array.data.compute(scheduler="threads")).transpose()
    if values.dtype.itemsize == 8:
        values = values.astype(np.float64)  # NiiVue knows no whole numbers of 64 bits
    image = nibabel.Nifti1Image(values, affine)
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="unknown" if is_sheared(affine) else "scanner")
    image.header.set_xyzt_units("mm")
    return bytes(image.to_bytes())


def _colours(greys: np.ndarray) -> dict[str, list[int]]:
    grey, steps = greys.tolist(), list(range(len(greys)))
    return {"R": grey, "G": grey, "B": grey, "A": [255] * len(steps), "I": steps}
