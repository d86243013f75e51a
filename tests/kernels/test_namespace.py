"""Dispatch by argument; copies between devices; what an import costs."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import array_api_strict
import numpy as np
import pytest

import sansfilm_kernels
from sansfilm_kernels import get_namespace, gpu_available, to_device, to_host

KERNELS = Path(__file__).parents[2] / "kernels"
ALL_KERNELS = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import sansfilm_kernels as k
stored = np.arange(512, dtype=np.int16).reshape(8, 8, 8)
values = k.rescale(stored, slope=1.5, intercept=0, dtype="float32")
for window in (k.window_linear, k.window_linear_exact, k.window_sigmoid):
    window(values, center=40, width=400)
k.apply_lut(stored, first=0, entries=np.arange(4, dtype=np.uint8))
k.palette_to_rgb(stored, first=0, entries=np.zeros((4, 3), np.uint8))
k.ybr_to_rgb(np.zeros((4, 3), np.uint8), bits=8)
for method in ("mean", "max", "min", "mode", "nearest"):
    k.pyramid(stored, [(2, 2, 2)], method=method, padding=(0, 0))
k.to_host(stored)
k.get_namespace(stored)
print(*sorted(name.partition(".")[0] for name in sys.modules))
"""


def fake_cupy(monkeypatch, available):
    """Stand in for CuPy: its arrays are NumPy's of a subclass, with `get`."""

    class FakeArray(np.ndarray):
        def get(self):
            return np.array(self)

    module = SimpleNamespace(
        ndarray=FakeArray,
        asarray=lambda array: array.view(FakeArray),
        cuda=SimpleNamespace(is_available=lambda: available),
    )
    monkeypatch.setitem(sys.modules, "cupy", module)
    return FakeArray


def test_exports_are_sorted_and_exactly_the_public_names():
    names = [name for name in dir(sansfilm_kernels) if callable(getattr(sansfilm_kernels, name))]
    assert sansfilm_kernels.__all__ == sorted(names)
    there = {name for name, value in vars(sansfilm_kernels).items()
             if not name.startswith("_") and callable(value) and name != "Any"}  # fmt: skip
    assert there <= set(names)


def test_kernels_on_numpy_load_neither_cupy_nor_the_pipeline():
    command = [sys.executable, "-c", ALL_KERNELS, str(KERNELS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "sansfilm_kernels" in loaded
    unwanted = {"cupy", "cupyx", "sansfilm", "pydicom", "zarr", "dask", "fsspec", "pandas"}
    assert not loaded & unwanted
    assert "cupy" not in loaded


def test_namespace_is_that_of_the_argument():
    assert get_namespace(np.zeros(1), None, 2.0) is np
    assert get_namespace(array_api_strict.zeros(1)) is array_api_strict


def test_namespace_of_a_mixture_is_refused():
    with pytest.raises(TypeError):
        get_namespace(np.zeros(1), array_api_strict.zeros(1))


def test_to_host_returns_numpy_whatever_came_in(xp):
    values = np.arange(6, dtype=np.int16).reshape(2, 3)
    host = to_host(xp(values))
    assert type(host) is np.ndarray
    assert host.dtype == values.dtype
    np.testing.assert_array_equal(host, values)


def test_to_host_does_not_copy_numpy_and_takes_lists():
    values = np.arange(3)
    assert to_host(values) is values
    np.testing.assert_array_equal(to_host([1, 2]), np.array([1, 2]))


def test_without_cupy_there_is_no_gpu(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert not gpu_available()
    with pytest.raises(RuntimeError, match=r"install sansfilm\[gpu\]"):
        to_device(np.zeros(1))


def test_without_a_gpu_the_error_names_the_cure(monkeypatch):
    fake_cupy(monkeypatch, available=False)
    assert not gpu_available()
    with pytest.raises(RuntimeError, match=r"install sansfilm\[gpu\]"):
        to_device(np.zeros(1))


def test_to_device_and_back_with_a_stand_in_for_cupy(monkeypatch):
    fake_array = fake_cupy(monkeypatch, available=True)
    there = to_device([1, 2])
    assert type(there) is fake_array
    assert to_device(there) is there
    back = to_host(there)
    assert type(back) is np.ndarray
    np.testing.assert_array_equal(back, np.array([1, 2]))


def test_to_device_and_back_on_a_gpu():
    pytest.importorskip("cupy")
    if not gpu_available():
        pytest.skip("no GPU")
    values = np.arange(6, dtype=np.int16).reshape(2, 3)
    there = to_device(values)
    assert get_namespace(there).__name__ == "array_api_compat.cupy"
    np.testing.assert_array_equal(to_host(there), values)
