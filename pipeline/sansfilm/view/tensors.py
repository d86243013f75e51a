"""Ways out to PyTorch and MONAI."""

from typing import TYPE_CHECKING

import numpy as np

from sansfilm.errors import MissingPackageError, OptionError
from sansfilm.view.exits import modality_values, placed, ras_affine

if TYPE_CHECKING:
    import torch
    from monai.data import MetaTensor

    from sansfilm.view.volume import Volume

_SIGNED = {"uint16": np.int32, "uint32": np.int64, "uint64": np.int64}
"""Types with which PyTorch can hardly count -> the ones that it uses."""


def to_torch(volume: "Volume", level: int) -> "torch.Tensor":
    """See Volume.to_torch."""
    try:
        import torch
    except ImportError as exc:
        raise MissingPackageError("PyTorch is needed: pip install torch") from exc
    values = modality_values(volume, level)
    wide = values.astype(_SIGNED.get(values.dtype.name, values.dtype), copy=False)
    return torch.from_numpy(np.require(wide, requirements=["C", "W"]))


def to_monai(volume: "Volume", level: int) -> "MetaTensor":
    """See Volume.to_monai."""
    try:
        from monai.data import MetaTensor
        from monai.utils import SpaceKeys
    except ImportError as exc:
        raise MissingPackageError("MONAI is needed: pip install monai") from exc
    affine = ras_affine(placed(volume, level, "MONAI"))
    further = [axis for axis in volume.axes if axis not in "zyx"]
    if len(further) > 1:
        raise OptionError(
            f"MONAI has one axis of channels beside x, y, z, this has ({', '.join(further)}): "
            "take a part of to_xarray()"
        )
    order = [volume.axes.index(axis) for axis in (*further, "x", "y", "z")]
    values = modality_values(volume, level).transpose(order).astype(np.float32)
    if not further:
        values = values[None]
    about = {
        "original_affine": affine, "spatial_shape": np.array(values.shape[1:]),
        "original_channel_dim": 0, "space": SpaceKeys.RAS,
    }  # fmt: skip
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(values))
    return MetaTensor(tensor, affine=torch.from_numpy(affine), meta=about)
