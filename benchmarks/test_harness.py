"""The harness judges: the input is what it says, and what is wrong is found."""

import json
import sys

import numpy as np
import pydicom
import pytest

import sansfilm
from benchmarks import report
from benchmarks.checking import Judge
from benchmarks.compare import Heat, compare
from benchmarks.inputs import KINDS, Shape, given, prepare
from benchmarks.running import run

SHAPE = Shape(series=2, slices=30, edge=128)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def judged(cache, tmp_path):
    """Ingest one input; give the judge of it and the folder of a volume."""
    entry = prepare(cache, SHAPE, "raw")
    assert not sansfilm.ingest(entry.folder, tmp_path / "a").problems
    uid = next(iter(entry.series.values()))
    (record,) = (tmp_path / "a" / "series" / uid).glob("*/_commit.json")
    return Judge(entry.truth), record.parent


@pytest.mark.parametrize("kind", KINDS)
def test_the_input_is_its_truth(cache, kind):
    entry = prepare(cache, SHAPE, kind)
    truth, uids = entry.truth, set()
    for name, series in entry.series.items():
        for number, file in enumerate(sorted((entry.folder / name).iterdir())):
            slice_ = pydicom.dcmread(file)
            uids.add(slice_.SOPInstanceUID)
            assert slice_.SeriesInstanceUID == series
            assert slice_.file_meta.TransferSyntaxUID == KINDS[kind][0]
            place = [float(value) for value in slice_.ImagePositionPatient]
            expected = [truth.origin_mm[0] + number * truth.spacing_mm[0], *truth.origin_mm[1:]]
            assert place == pytest.approx(expected[::-1])
            values = slice_.pixel_array.astype(int) + int(slice_.RescaleIntercept)
            np.testing.assert_array_equal(values, truth.voxels[number])
    assert len(uids) == entry.files == SHAPE.series * SHAPE.slices
    assert prepare(cache, SHAPE, kind) == entry


def test_a_folder_of_somebody_is_taken_as_it_is(cache):
    entry = prepare(cache, SHAPE, "raw")
    found = given(entry.folder)
    assert (found.series, found.files, found.bytes) == (entry.series, entry.files, entry.bytes)
    np.testing.assert_array_equal(found.truth.voxels, entry.truth.voxels)
    assert found.truth.spacing_mm == pytest.approx(entry.truth.spacing_mm)
    assert found.truth.origin_mm == pytest.approx(entry.truth.origin_mm)


def test_what_is_right_has_no_fault(judged):
    judge, volume = judged
    found = judge.look(volume, 0)
    assert (found.faults, found.remarks) == ([], [])
    assert found.levels == len([path for path in volume.iterdir() if path.name.isdigit()])


def test_a_displaced_level_is_found(judged):
    judge, volume = judged
    document = json.loads((volume / "zarr.json").read_text())
    level = document["attributes"]["ome"]["multiscales"][0]["datasets"][1]
    level["coordinateTransformations"][1]["translation"][2] += 0.01
    (volume / "zarr.json").write_text(json.dumps(document))
    (fault,) = judge.look(volume, 0).faults
    assert fault.startswith("level 1: translation")


@pytest.mark.parametrize(
    ("level", "change", "rounding", "said"),
    [
        (0, lambda values: values[::-1], 0, "level 0: flipped along z"),
        (0, lambda values: np.where(values == values.max(), 0, values), 0, "voxels differ"),
        (1, lambda values: values + 1, 0, "level 1: means are wrong by up to 1"),
        (1, lambda values: values + 1, 1, ""),
        (1, lambda values: values + 2, 1, "level 1: means are wrong by up to 2"),
    ],
)
def test_wrong_values_are_found(judged, level, change, rounding, said):
    import zarr

    judge, volume = judged
    array = zarr.open_array(volume / str(level), mode="r+")
    array[:] = change(array[:])
    faults = judge.look(volume, rounding).faults
    assert (not faults) if not said else (said in faults[0])


def test_the_cost_of_a_child_counts():
    child = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    cost = run([sys.executable, "-c", parent])
    assert cost.code == 0
    assert cost.cpu_s > 0.3


def test_the_memory_of_a_child_counts():
    child = "import time; held = bytearray(10**8); time.sleep(0.3)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    cost = run([sys.executable, "-c", parent], watch=True)
    assert 100 < cost.peak_mb < 200


def test_a_comparison_becomes_a_page(cache, tmp_path):
    found = compare(Heat(SHAPE, "htj2k", ("sansfilm", "floor"), 1), cache, tmp_path)
    assert not [each for each in found["contenders"].values() if each["faults"]]
    facts = {"cores": 2, "cpu": "a CPU", "memory_mb": 1, "system": "", "kernel": "", "python": ""}
    page = tmp_path / "page.md"
    report.write({"machine": facts, "comparisons": [found]}, page, tmp_path / "images")
    text = page.read_text()
    assert "### 2 series, 60 slices, HTJ2K" in text
    assert "{" not in text.replace("{4}", "")
    assert len(list((tmp_path / "images").iterdir())) == 1
