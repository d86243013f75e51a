"""Ways out: the objects of the libraries that researchers already use, in modality values."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sansfilm.errors import MissingPackageError, OptionError
from sansfilm.view.axis_values import time_step
from sansfilm.view.world import is_sheared, placed_affine

if TYPE_CHECKING:
    import nibabel
    import SimpleITK

    from sansfilm.view.volume import Volume


def to_nibabel(volume: "Volume", level: int) -> "nibabel.Nifti1Image":
    """Return a NIfTI image: data (x, y, z, further axes), affine to RAS millimetres.

    Raises
    ------
    MissingPackageError
        Without nibabel.
    OptionError
        For images without a place in the patient, uneven slices, and colour.
    """
    try:
        import nibabel
    except ImportError as exc:
        raise MissingPackageError("nibabel is needed: pip install 'sansfilm[nibabel]'") from exc
    affine = ras_affine(placed(volume, level, "NIfTI"))
    if "c" in volume.axes:
        raise OptionError("NIfTI has no place for colour beside z: use to_xarray")
    further = [axis for axis in volume.axes if axis not in "zyx"]
    order = [volume.axes.index(axis) for axis in ("x", "y", "z", *further)]
    image = nibabel.Nifti1Image(modality_values(volume, level).transpose(order), affine)
    # A quaternion has no place for shear: readers then take the matrix, which is exact.
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="unknown" if is_sheared(affine) else "scanner")
    step = time_step(volume.attributes["axes_values"].get("t")) if "t" in further else None
    image.header.set_xyzt_units("mm", "unknown" if step is None else "sec")
    if further:  # t is the first of them
        steps = [step or 0.0, *(0.0 for _ in further[1:])]
        image.header.set_zooms((*image.header.get_zooms()[:3], *steps))
    return image


def to_sitk(volume: "Volume", level: int) -> "SimpleITK.Image":
    """Return a SimpleITK image: index (x, y, z), LPS millimetres.

    Raises
    ------
    MissingPackageError
        Without SimpleITK.
    OptionError
        For images without a place in the patient, uneven slices, more than three dimensions,
        and shear, which SimpleITK cannot hold.
    """
    try:
        import SimpleITK
    except ImportError as exc:
        raise MissingPackageError("SimpleITK is needed: pip install 'sansfilm[sitk]'") from exc
    axes = _itk_axes(volume, level, "SimpleITK", {("z", "y", "x")})
    image = SimpleITK.GetImageFromArray(modality_values(volume, level))
    image.SetSpacing(axes.spacing)
    image.SetOrigin(axes.origin)
    image.SetDirection(axes.direction.ravel().tolist())
    return image


def to_itk_dict(volume: "Volume", level: int) -> dict[str, Any]:
    """See Volume.to_itk_dict."""
    grey, colour = ("z", "y", "x"), ("c", "z", "y", "x")
    axes = _itk_axes(volume, level, "ITK", {grey, colour})
    values = modality_values(volume, level)
    if volume.axes == colour:
        values = np.ascontiguousarray(np.moveaxis(values, 0, -1))
    return {
        "imageType": {
            "dimension": 3,
            "componentType": values.dtype.name,
            "pixelType": "RGB" if volume.axes == colour else "Scalar",
            "components": 3 if volume.axes == colour else 1,
        },
        "name": volume.volume_id,
        "origin": axes.origin,
        "spacing": axes.spacing,
        "direction": axes.direction,
        "size": list(values.shape[2::-1]),
        "metadata": {},
        "data": values,
    }


@dataclass(frozen=True, slots=True)
class _ItkAxes:
    """What ITK knows of a place: origin and spacing (x, y, z), direction by columns, LPS."""

    origin: list[float]
    spacing: list[float]
    direction: np.ndarray


def _itk_axes(volume: "Volume", level: int, package: str, held: set[tuple[str, ...]]) -> _ItkAxes:
    affine = placed(volume, level, package)[:, [2, 1, 0, 3]]
    if volume.axes not in held:
        first = next(axis for axis in volume.axes if axis not in "zyx")
        raise OptionError(
            f"only (z, y, x) becomes a {package} image, this is ({', '.join(volume.axes)}): "
            f"take one of them with Volume.to_xarray().isel({first}=0)"
        )
    if is_sheared(affine):
        raise OptionError(
            f"{package} has no place for shear: use resample(), which sets it upright, "
            "to_nibabel, or affine_lps"
        )
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return _ItkAxes(affine[:3, 3].tolist(), spacing.tolist(), affine[:3, :3] / spacing)


def export(volume: "Volume", path: str | Path, level: int) -> Path:
    """See Volume.export."""
    path = Path(path)
    if path.name.endswith((".nii", ".nii.gz")):
        image = to_nibabel(volume, level)  # first: without the package there is none to save with
        import nibabel

        nibabel.save(image, path)
    elif path.name.endswith((".nrrd", ".mha")):
        picture = to_sitk(volume, level)
        import SimpleITK

        SimpleITK.WriteImage(picture, str(path), useCompression=True)
    else:
        choices = ".nii, .nii.gz (nibabel), .nrrd or .mha (SimpleITK)"
        raise OptionError(f"the name must end in {choices}, got {path.name!r}")
    return path


def ras_affine(affine: np.ndarray) -> np.ndarray:
    """Return an affine from (z, y, x) to LPS as one from (x, y, z) to RAS."""
    turned = affine[:, [2, 1, 0, 3]]
    turned[:2] *= -1
    return turned


def placed(volume: "Volume", level: int, package: str) -> np.ndarray:
    """Return the affine of a level; OptionError if there is none that holds for each slice."""
    affine = placed_affine(volume, level, "to_xarray")
    if "z" in volume.attributes["axes_values"]:
        raise OptionError(
            f"{package} has no place for slices at uneven distances: use resample(), which makes "
            "them even, or to_xarray, whose z says where each one is"
        )
    return affine


def modality_values(volume: "Volume", level: int) -> np.ndarray:
    """Return a level in modality values, axes as in `Volume.axes`."""
    return np.asarray(volume.to_xarray(level).data.compute(scheduler="threads"))
