"""Reading to a GPU: one way there, tried with a library that stands in for CuPy."""

import sys
from types import SimpleNamespace

import dask.array  # noqa: F401 - looks for CuPy when it is first imported
import numpy as np
import pytest
import synth

import sansfilm
import sansfilm_kernels
from sansfilm.errors import DeviceError, OptionError
from sansfilm.options import Options, Storage

SMALL = Options(storage=Storage(chunk=8, slab=8, smallest=8))


class OnGpu(np.ndarray):
    """An array that was copied, and says so."""


@pytest.fixture
def copied(monkeypatch):
    """Give the shapes of all that was copied to a stand-in for a GPU."""
    shapes = []

    def asarray(array):
        assert type(array) is np.ndarray
        shapes.append(array.shape)
        return array.view(OnGpu)

    monkeypatch.setitem(
        sys.modules, "cupy",
        SimpleNamespace(asarray=asarray, cuda=SimpleNamespace(is_available=lambda: True)),
    )  # fmt: skip
    monkeypatch.setattr(
        sansfilm_kernels.namespace.array_api_compat, "is_cupy_array",
        lambda array: isinstance(array, OnGpu),
    )  # fmt: skip
    return shapes


@pytest.fixture(params=[{}, {"slope": 0.5, "intercept": 3.25}], ids=["integer", "rescaled"])
def volume(request, tmp_path):
    made = synth.series(tmp_path / "in", slices=20, **request.param)
    sansfilm.ingest(made.folder, tmp_path / "a", options=SMALL)
    return sansfilm.open(tmp_path / "a")[made.series_uid]


def test_each_part_is_copied_as_it_was_read(volume, copied):
    array = volume.to_xarray(device="gpu")
    assert isinstance(array.data._meta, OnGpu)
    assert [shape for shape in copied if 0 not in shape] == []
    part = array[3:6, 4:9, 2:30].data.compute(scheduler="single-threaded")
    assert isinstance(part, OnGpu)
    # the part alone goes over, before it is rescaled
    assert sum(map(np.prod, copied)) == part.size
    expected = volume.to_xarray()[3:6, 4:9, 2:30]
    np.testing.assert_array_equal(np.asarray(part), expected)
    assert array.dtype == expected.dtype


def test_both_devices_have_their_own_key(volume, copied):
    names = {volume.to_xarray(device=device).data.name for device in ("cpu", "gpu")}
    assert len(names) == 2


def test_what_is_computed_of_a_volume_is_copied_once(volume, monkeypatch):
    """`resample` sends a level and gets the result back: the kernels decide by what they get."""
    sent, back = [], []
    monkeypatch.setattr(sansfilm_kernels, "gpu_available", lambda: True)
    monkeypatch.setattr(
        sansfilm_kernels, "to_device", lambda array: sent.append(array.shape) or array
    )
    monkeypatch.setattr(
        sansfilm_kernels, "to_host", lambda array: back.append(array.shape) or array
    )
    found = volume.resample(0.9, device="gpu", level=0)
    assert sent == [volume.array.shape]
    assert back == [found.array.shape]
    np.testing.assert_array_equal(found.array[:], volume.resample(0.9, level=0).array[:])


def test_without_a_gpu_the_cure_is_told(volume, monkeypatch):
    monkeypatch.setattr(sansfilm_kernels, "gpu_available", lambda: False)
    for call in (volume.to_xarray, volume.mpr, volume.mip, lambda **k: volume.resample(1, **k)):
        with pytest.raises(DeviceError, match=r"no GPU .*sansfilm\[gpu\].*device='cpu'"):
            call(device="gpu")
        with pytest.raises(OptionError, match="device is cpu or gpu, got 'cuda'"):
            call(device="cuda")


@pytest.mark.gpu
def test_on_a_gpu(volume):
    cupy = pytest.importorskip("cupy")
    if not sansfilm_kernels.gpu_available():
        pytest.skip("no GPU")
    part = volume.to_xarray(device="gpu")[3:6].data.compute()
    assert isinstance(part, cupy.ndarray)
    np.testing.assert_array_equal(part.get(), volume.to_xarray()[3:6])
    for ask in (
        lambda **how: volume.resample(0.9, level=0, **how),
        lambda **how: volume.mpr((1, 2, 3), level=0, **how),
        lambda **how: volume.mip("coronal", kind="mean", level=0, **how),
    ):
        ours, theirs = ask(device="cpu").array[:], ask(device="gpu").array[:]
        np.testing.assert_allclose(theirs, ours, atol=1, rtol=1e-12)
