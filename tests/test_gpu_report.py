"""The report of `make gpu`, with a device that does not exist and measures that are not taken."""

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


report = load("gpu_report")
PROPERTIES = {
    "name": b"NVIDIA H200 (fake)",
    "major": 9,
    "minor": 0,
    "multiProcessorCount": 132,
    "totalGlobalMem": 150 * 10**9,
}
CUPY = SimpleNamespace(
    cuda=SimpleNamespace(
        Device=lambda: SimpleNamespace(id=0),
        runtime=SimpleNamespace(
            getDeviceProperties=lambda number: PROPERTIES,
            driverGetVersion=lambda: 13000,
            runtimeGetVersion=lambda: 13000,
            getDeviceCount=lambda: 1,
        ),
    )
)
PASSED = {"exit": 0, "passed": 3, "failed": [], "skipped": {}}


@pytest.fixture
def fake_gpu(monkeypatch):
    monkeypatch.setattr(report, "missing", lambda: None)
    monkeypatch.setattr(report, "tested", lambda *arguments: PASSED)
    monkeypatch.setitem(sys.modules, "cupy", CUPY)


def run(tmp_path, measures):
    code = report.main(["--results", str(tmp_path / "results")], measures)
    (path,) = (tmp_path / "results").iterdir()
    return code, path.name, json.loads(path.read_text())


def test_one_file_says_all(fake_gpu, tmp_path):
    measures = {"1 copies": lambda: {"up GB/s": 50.0}, "2 rates": lambda: [{"wrong": 0}]}
    code, name, found = run(tmp_path, measures)
    assert code == 0
    assert re.fullmatch(r"gpu-nvidia-h200-fake-\d{4}-\d\d-\d\d\.json", name)
    assert found["machine"]["gpu"]["name"] == "NVIDIA H200 (fake)"
    assert found["machine"]["gpu"]["compute capability"] == "9.0"
    assert {"processor", "cores", "system", "python", "packages", "commit"} < set(found["machine"])
    assert found["tests"] == PASSED
    assert found["measurements"]["1 copies"]["results"] == {"up GB/s": 50.0}


def boom():
    raise RuntimeError("no memory")


@pytest.mark.parametrize(
    "bad",
    [boom, lambda: {"J2K": {"exact": False}}, lambda: [{"what": "J2K", "wrong": 2}]],
    ids=["raises", "not exact", "wrong frames"],
)
def test_what_is_wrong_fails_and_the_others_are_measured_all_the_same(fake_gpu, tmp_path, bad):
    code, _, found = run(tmp_path, {"1 bad": bad, "2 good": lambda: {"exact": True}})
    assert code == 1
    assert found["measurements"]["2 good"]["results"] == {"exact": True}
    if bad is boom:
        assert found["measurements"]["1 bad"]["error"] == "RuntimeError: no memory"


@pytest.mark.parametrize("change", [{"failed": ["x"]}, {"passed": 0}, {"exit": 2}])
def test_tests_that_fail_or_do_not_run_fail_the_report(change):
    tests = PASSED | change
    assert not report.is_good({"tests": tests, "measurements": {}})
    assert report.is_good({"tests": PASSED, "measurements": {}})


def test_tests_are_counted(tmp_path):
    file = tmp_path / "test_three.py"
    file.write_text(
        "import pytest\n"
        "def test_good(): pass\n"
        "def test_bad(): assert False\n"
        "def test_left_out(): pytest.skip('no GPU')\n"
    )
    found = report.tested(str(file), "-p", "no:cacheprovider")
    assert found["exit"] == 1
    assert found["passed"] == 1
    assert [name.rpartition("::")[2] for name in found["failed"]] == ["test_bad"]
    assert list(found["skipped"].values()) == ["no GPU"]


@pytest.mark.parametrize("arguments", [[], ["--check"]])
def test_without_a_gpu_it_says_so_with_the_cure_and_fails(monkeypatch, capsys, tmp_path, arguments):
    monkeypatch.setattr(report, "missing", lambda: "no driver")
    assert report.main([*arguments, "--results", str(tmp_path / "results")]) == 1
    told = capsys.readouterr().err
    assert "No GPU: no driver" in told
    assert "make gpu" in told
    assert not (tmp_path / "results").exists()


def test_there_are_six_measures_and_their_inputs_can_be_made():
    measures = load("gpu_measures")
    assert [name[0] for name in measures.MEASURES] == list("123456")
    (image,) = measures.images(1)
    for encode in (measures.jpeg2000, measures.htj2k, measures.jpegls, measures.lossless):
        assert len(encode(image)) < image.nbytes
