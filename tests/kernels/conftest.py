"""The array libraries that every kernel is tested on."""

import importlib

import numpy as np
import pytest

from sansfilm_kernels import gpu_available


def read_only(values):
    """Make a NumPy array that catches a kernel writing into its input."""
    array = np.array(values)
    array.flags.writeable = False
    return array


def strict(values):
    """Make an array of the library that refuses all that the array API does not promise."""
    return importlib.import_module("array_api_strict").asarray(np.array(values))


def cupy(values):
    return importlib.import_module("cupy").asarray(values)


@pytest.fixture(
    scope="session", params=[np.array, read_only, strict, cupy], ids=lambda f: f.__name__
)
def xp(request):
    """Make an array of each library from a NumPy array."""
    if request.param is cupy:
        pytest.importorskip("cupy")
        if not gpu_available():
            pytest.skip("no GPU")
    return request.param
