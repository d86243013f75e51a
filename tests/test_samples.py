"""The sample series: in the repository, and in a wheel."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import sansfilm
from sansfilm import sample_data
from sansfilm.errors import OptionError, SourceNotFoundError

ROOT = Path(__file__).parents[1]


def test_every_sample_is_there_and_is_what_it_says():
    told = sansfilm.samples()
    assert list(told) == sorted(told)
    for name, words in told.items():
        (volume,) = sansfilm.read(sansfilm.samples(name))
        assert volume.modality == words[:2]
    tilt, head = (sansfilm.read(sansfilm.samples(n))[0] for n in ("ct-tilt-jpegls", "ct-head-j2k"))
    assert (tilt.verdict.code, head.verdict.code) == ("sheared", "regular")


def test_another_name_is_told_with_those_that_there_are():
    with pytest.raises(OptionError, match="no sample named 'ct'; there are ct-head-j2k, ct-tilt"):
        sansfilm.samples("ct")


def test_without_its_data_the_cure_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(sample_data, "_PLACES", (tmp_path,))
    with pytest.raises(SourceNotFoundError, match=r"samples are not at .*install a wheel"):
        sansfilm.samples("mr-asl")


def test_a_wheel_has_them_with_their_licences(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    there = tmp_path / "site" / "sansfilm" / "samples"
    assert sorted(path.name for path in there.iterdir()) == ["LICENSES", *sansfilm.samples()]
    script = "import sansfilm; print(len(sansfilm.read(sansfilm.samples('mr-hitachi'))[0].frames))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True,
        env={"PYTHONPATH": str(tmp_path / "site")}, check=False,
    )  # fmt: skip
    assert done.stdout == "4\n", done.stderr
