"""Which array library an array belongs to, and the only two functions that copy between devices."""

from importlib import import_module
from typing import Any

import array_api_compat
import numpy as np

type Array = Any
"""An array of NumPy, of CuPy, or of any library with the Python array API."""

_NUMPY = (np.ndarray, np.generic)
_SCALARS = (bool, int, float, complex, type(None))


def get_namespace(*arrays: Array) -> Any:
    """Return the array-API namespace that all `arrays` belong to.

    Parameters
    ----------
    *arrays : array
        Of one library; Python scalars and None are passed over.

    Returns
    -------
    module
        NumPy itself, which has all names of the standard (loading `array_api_compat.numpy` takes
        as long as a hundred kernels), `array_api_compat.cupy` for CuPy, and so on. Asking never
        imports a library that is not loaded.

    Raises
    ------
    TypeError
        If there is no array among the arguments, or arrays of several libraries.
    """
    there = [array for array in arrays if type(array) not in _SCALARS]
    if there and all(isinstance(array, _NUMPY) for array in there):
        return np
    return array_api_compat.array_namespace(*arrays)


def gpu_available() -> bool:
    """Return whether CuPy is installed and sees a GPU."""
    try:
        return bool(import_module("cupy").cuda.is_available())
    except ImportError:
        return False


def to_device(array: Array) -> Array:
    """Return `array` as a CuPy array on the current GPU.

    Parameters
    ----------
    array : array, shape (...)
        A CuPy array is returned as it is; anything else is copied to the GPU.

    Returns
    -------
    cupy.ndarray, same shape and dtype

    Raises
    ------
    RuntimeError
        If CuPy or a GPU is missing.
    """
    if array_api_compat.is_cupy_array(array):
        return array
    if not gpu_available():
        raise RuntimeError(
            "no GPU to copy to: install sansfilm[gpu] on a machine with an NVIDIA GPU and driver"
        )
    return import_module("cupy").asarray(to_host(array))


def to_host(array: Array) -> np.ndarray:
    """Return `array` as a NumPy array.

    Parameters
    ----------
    array : array or sequence, shape (...)
        A NumPy array is returned as it is; a CuPy array is copied from the GPU.

    Returns
    -------
    numpy.ndarray, same shape and dtype
    """
    if array_api_compat.is_cupy_array(array):
        return np.asarray(array.get())
    return np.asarray(array)
