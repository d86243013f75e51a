"""Ways out: the objects of the libraries that researchers already use, in modality values."""

from typing import TYPE_CHECKING

import numpy as np

from sansfilm.errors import MissingPackageError, OptionError

if TYPE_CHECKING:
    import nibabel
    import SimpleITK

    from sansfilm.view.volume import Volume


def to_nibabel(volume: "Volume", level: int) -> "nibabel.Nifti1Image":
    """Return a NIfTI image: data (x, y, z), affine to RAS millimetres.

    Raises
    ------
    MissingPackageError
        Without nibabel.
    OptionError
        For images without a place in the patient.
    """
    try:
        import nibabel
    except ImportError as exc:
        raise MissingPackageError("nibabel is needed: pip install 'sansfilm[nibabel]'") from exc
    affine = _placed(volume, level)[:, [2, 1, 0, 3]]
    affine[:2] *= -1  # LPS to RAS
    image = nibabel.Nifti1Image(_values(volume, level).T, affine)
    image.header.set_xyzt_units("mm")
    return image


def to_sitk(volume: "Volume", level: int) -> "SimpleITK.Image":
    """Return a SimpleITK image: index (x, y, z), LPS millimetres.

    Raises
    ------
    MissingPackageError
        Without SimpleITK.
    OptionError
        For images without a place in the patient, and for sheared ones, which SimpleITK cannot
        hold.
    """
    try:
        import SimpleITK
    except ImportError as exc:
        raise MissingPackageError("SimpleITK is needed: pip install 'sansfilm[sitk]'") from exc
    affine = _placed(volume, level)[:, [2, 1, 0, 3]]
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    direction = affine[:3, :3] / spacing
    if not np.allclose(direction.T @ direction, np.eye(3), atol=1e-3):
        raise OptionError("SimpleITK has no place for shear: use to_nibabel, or affine_lps")
    image = SimpleITK.GetImageFromArray(_values(volume, level))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection(direction.ravel().tolist())
    return image


def _placed(volume: "Volume", level: int) -> np.ndarray:
    affine = volume.affine(level)
    if affine is None:
        raise OptionError("these images have no place in the patient: use to_xarray")
    return affine


def _values(volume: "Volume", level: int) -> np.ndarray:
    return np.asarray(volume.to_xarray(level).data.compute(scheduler="threads"))
