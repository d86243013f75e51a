"""The measures of `make gpu` run to their end, on the CPU and on small arrays; no figure counts."""

import importlib.util
from pathlib import Path

import pytest

from sansfilm_kernels import _nvjpeg2k_api

PATH = Path(__file__).parents[2] / "benchmarks" / "gpu_measures.py"


@pytest.fixture
def measures(fake, monkeypatch):
    spec = importlib.util.spec_from_file_location("gpu_measures", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(_nvjpeg2k_api, "find_library", lambda: fake.path)
    monkeypatch.setattr(module, "nvimgcodec", lambda: None)
    small = {"SHAPE": (32, 24), "SLOTS": (1, 3), "BATCHES": (2, 7), "LAUNCHES": (1, 9), "ROUNDS": 1}
    for name, value in small.items():
        monkeypatch.setattr(module, name, value)
    return module


def test_kernels_of_arrays_and_of_jpegls(measures):
    found = measures.array_rates()
    assert found[-1] == {"what": "equal to NumPy", "exact": True}
    assert all(entry["GB/s"] > 0 for entry in found[:-1])
    found = measures.jpegls_rates()
    assert [entry.get("wrong", 0) for entry in found] == [0, 0, 0]


def test_jpeg2000(measures):
    """The library writes something else, and the measure has to say that it is not exact."""
    found = measures.exactness()
    assert found["nvImageCodec"] == "not installed"
    assert found["J2K 12 bits"] == {"status": 0, "exact": False}
    found = measures.jpeg2000_rates()
    assert [entry["what"] for entry in found if "flight" in entry["what"]] == [
        f"{codec}, {slots} in flight" for codec in ("J2K", "HTJ2K") for slots in (1, 3)
    ]
    assert not any(entry.get("wrong") for entry in found)


def test_zstd_on_the_cores(measures, monkeypatch):
    monkeypatch.setattr(measures, "SHAPE", (256, 256))
    found = measures.zstd_rates()
    assert found[0]["what"] == "nvCOMP"
    assert found[1]["GB/s"] > 0
