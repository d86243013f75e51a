"""The array libraries that every kernel is tested on, and where CUDA kernels run."""

import ctypes
import importlib
import itertools
import os
import sys
from types import SimpleNamespace

import array_api_compat
import array_api_compat.numpy
import kernels_on_host
import numpy as np
import pytest

from sansfilm_kernels import _cuda, _ring, gpu_available


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
    scope="session",
    params=[np.array, read_only, strict, pytest.param(cupy, marks=pytest.mark.gpu)],
    ids=lambda f: f.__name__,
)
def xp(request):
    """Make an array of each library from a NumPy array."""
    if request.param is cupy:
        pytest.importorskip("cupy")
        if not gpu_available():
            pytest.skip("no GPU")
    return request.param


@pytest.fixture(scope="session")
def host_libraries(tmp_path_factory):
    """Give the CUDA kernels, compiled for the CPU: the decoders, and those that take arrays."""
    if kernels_on_host.COMPILER is None:
        pytest.skip("no g++ to compile the kernels for the CPU")
    folder = tmp_path_factory.mktemp("kernels")
    return [
        ctypes.CDLL(
            str(kernels_on_host.compiled(f"{name}.cpp", folder / name, *kernels_on_host.LIBRARY))
        )
        for name in ("kernels", "arrays")
    ]


@pytest.fixture
def on_host(host_libraries, monkeypatch):
    """Give a function that makes the public functions run their kernels on the CPU."""

    def use(recorder=None):
        _cuda.module.cache_clear()
        _ring.ring.cache_clear()
        stand_in = kernels_on_host.stand_in(*host_libraries, recorder)
        monkeypatch.setitem(sys.modules, "cupy", stand_in)
        monkeypatch.setattr(array_api_compat, "cupy", array_api_compat.numpy, raising=False)

    yield use
    _cuda.module.cache_clear()
    _ring.ring.cache_clear()


@pytest.fixture(params=["host build", pytest.param("device", marks=pytest.mark.gpu)])
def gpu(request):
    """Give a function that copies an array to where the kernels run: NumPy's, or a real GPU's."""
    if request.param == "host build":
        request.getfixturevalue("on_host")()
        return kernels_on_host.as_host_array
    pytest.importorskip("cupy")
    if not gpu_available():
        pytest.skip("no GPU")
    return cupy


@pytest.fixture(scope="session")
def fake_library(tmp_path_factory):
    """Give the file of a library that pretends to be nvJPEG2000."""
    if kernels_on_host.COMPILER is None:
        pytest.skip("no g++ to compile the library that pretends")
    path = tmp_path_factory.mktemp("fake") / "libfake.so"
    options = kernels_on_host.LIBRARY
    return kernels_on_host.compiled("fake_nvjpeg2k.cpp", path, *options)


@pytest.fixture
def fake(fake_library, on_host, monkeypatch):
    """Give the fake library in the place of nvJPEG2000, and streams that it runs on."""
    on_host()
    library = ctypes.CDLL(str(fake_library))
    wrong = library.fake_wrong_uses()
    numbers = itertools.count(1000)

    class Stream(kernels_on_host.HostStream):
        def __init__(self, non_blocking):
            assert non_blocking
            self.ptr = next(numbers)
            self.waits = 0

        def wait_event(self, event):
            assert event.recorded
            self.waits += 1

        def synchronize(self):
            if library.fake_synchronize(ctypes.c_void_p(self.ptr)):
                raise RuntimeError

    class Event(kernels_on_host.HostEvent):
        recorded = False

        def record(self, stream=None):
            self.recorded = True

    cuda = sys.modules["cupy"].cuda
    cuda.Stream, cuda.Event = Stream, Event
    cuda.runtime = SimpleNamespace(CUDARuntimeError=RuntimeError)
    yield SimpleNamespace(path=str(fake_library), library=library)
    assert library.fake_wrong_uses() == wrong
    assert library.fake_live() == 0  # whoever made something gave it back
    library.fake_version(0, 11)


@pytest.fixture(scope="session")
def share():
    """Give a function that says how many of a full check `make test` does, or does them all."""
    full = os.environ.get("SANSFILM_FULL_FUZZ") == "1"
    return lambda few, all_of_them: all_of_them if full else few
