"""Array kernels for medical volumes: arrays in, arrays out, on the CPU or on a GPU.

Every kernel dispatches on its argument: a NumPy array gives a NumPy array, a CuPy array gives a
CuPy array on the same device. Only `to_device` and `to_host` copy between the two, and CuPy is
imported only when one of them, or `gpu_available`, needs it. Inputs are never changed. The decoders
differ: they take codestreams from host memory and fill frames that are already on a GPU; they are
loaded when they are first named.
"""

from typing import TYPE_CHECKING, Any

from sansfilm_kernels.colour import palette_to_rgb, ybr_to_rgb
from sansfilm_kernels.grey import window_to_grey
from sansfilm_kernels.lut import apply_lut
from sansfilm_kernels.namespace import get_namespace, gpu_available, to_device, to_host
from sansfilm_kernels.pyramid import downsample, pyramid
from sansfilm_kernels.resample import resample
from sansfilm_kernels.rescale import rescale
from sansfilm_kernels.window import window_linear, window_linear_exact, window_sigmoid

if TYPE_CHECKING:
    from sansfilm_kernels._batch import FrameStatus
    from sansfilm_kernels.jpegls import decode_jpegls
    from sansfilm_kernels.nvimgcodec import decode_jpeg
    from sansfilm_kernels.nvjpeg2000 import decode_jpeg2000
    from sansfilm_kernels.rle import decode_rle

__all__ = [
    "FrameStatus",
    "apply_lut",
    "decode_jpeg",
    "decode_jpeg2000",
    "decode_jpegls",
    "decode_rle",
    "downsample",
    "get_namespace",
    "gpu_available",
    "palette_to_rgb",
    "pyramid",
    "resample",
    "rescale",
    "to_device",
    "to_host",
    "window_linear",
    "window_linear_exact",
    "window_sigmoid",
    "window_to_grey",
    "ybr_to_rgb",
]

_DECODERS = {
    "FrameStatus": "_batch",
    "decode_jpeg": "nvimgcodec",
    "decode_jpeg2000": "nvjpeg2000",
    "decode_jpegls": "jpegls",
    "decode_rle": "rle",
}


def __getattr__(name: str) -> Any:
    if name not in _DECODERS:
        raise AttributeError(f"module 'sansfilm_kernels' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"sansfilm_kernels.{_DECODERS[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
