"""Where values are put: left in host memory, or copied to a GPU."""

from collections.abc import Callable
from typing import Any

import sansfilm_kernels as kernels
from sansfilm.errors import DeviceError, OptionError


def placing(device: str) -> Callable[[Any], Any]:
    """Return what puts an array on a device: "cpu" leaves it as it is, "gpu" copies it to CuPy.

    Raises
    ------
    OptionError
        If the device is another one.
    DeviceError
        If there is no GPU.
    """
    if device == "cpu":
        return _as_it_is
    if device != "gpu":
        raise OptionError(f"device is cpu or gpu, got {device!r}")
    if not kernels.gpu_available():
        raise DeviceError(
            "no GPU to read to: install sansfilm[gpu] on a machine with an NVIDIA GPU and driver, "
            "or use device='cpu'"
        )
    return kernels.to_device


def _as_it_is(array: Any) -> Any:
    return array
