"""The command line as a person or a script uses it: output, streams, exit codes."""

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import synth
from PIL import Image

from sansfilm.cli.main import main


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return synth.series(tmp_path_factory.mktemp("in"), slices=6)


@pytest.fixture(scope="module")
def archive(tmp_path_factory, made):
    url = tmp_path_factory.mktemp("cli") / "archive"
    assert main(["ingest", str(made.folder), str(url)]) == 0
    return url


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "sansfilm", *map(str, arguments)],
        capture_output=True, text=True, check=False, **options,
    )  # fmt: skip


def test_ingest_says_what_it_did_on_stdout_and_progress_on_stderr(made, tmp_path):
    done = run("ingest", made.folder, tmp_path / "a")
    assert done.returncode == 0
    assert "6 frames found = 6 stored + 0 in problems" in done.stdout
    assert made.series_uid in done.stdout
    assert "6 files" in done.stderr
    again = run("ingest", made.folder, tmp_path / "a")
    assert again.returncode == 0
    (line,) = [line for line in again.stdout.splitlines() if made.series_uid in line]
    assert line.endswith("already there, nothing to do")


def test_ingest_json_is_the_report_of_the_contract(made, tmp_path, capsys):
    assert main(["ingest", str(made.folder), str(tmp_path / "a"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {"volumes", "problems", "files", "frames", "seconds", "bytes"} <= report.keys()
    assert report["files"] == {"seen": 6, "dicom": 6, "images": 6, "ingested": 6, "skipped": 0}
    assert report["frames"] == {"found": 6, "stored": 6, "in_problems": 0}
    assert set(report["bytes"]) == {"read", "decoded", "written"}
    assert report["bytes"]["decoded"] == made.stored.nbytes
    (volume,) = report["volumes"]
    np.testing.assert_allclose(volume["affine_lps"], made.affine_lps, atol=1e-9)


def test_dry_run_plans_and_writes_nothing(made, tmp_path, capsys):
    url = tmp_path / "a"
    assert main(["ingest", "--dry-run", str(made.folder), str(url)]) == 0
    assert "planned" in capsys.readouterr().out
    assert not url.exists()


def test_ls_json_is_one_object_per_line(archive, made, capsys):
    assert main(["ls", str(archive), "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    row = json.loads(line)
    assert row["series_uid"] == made.series_uid
    assert row["shape"] == list(made.stored.shape)
    assert row["verdict"] == "regular"


def test_info_tells_the_verdict_in_words(archive, made, capsys):
    assert main(["info", str(archive), made.series_uid]) == 0
    told = capsys.readouterr().out
    assert "regular: 6 slices, one every 2 mm." in told
    assert "affine_lps" in told
    assert "ZZPHI" not in told
    assert main(["info", str(archive), made.series_uid, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"]["code"] == "regular"


@pytest.fixture(scope="module")
def beats(tmp_path_factory):
    """Give an archive of one volume of three times, a slice of the second one missing."""
    folder = tmp_path_factory.mktemp("beats")

    def at(number):
        def tell(dataset, index):
            dataset.TriggerTime = 40.0 * number

        return tell

    made = [
        synth.series(folder / "in", slices=5, seed=n, modality="MR", edit=at(n),
                     series_uid="1.2.840.99.1", study_uid="1.2.840.99.2")
        for n in range(3)
    ]  # fmt: skip
    made[1].paths[2].unlink()
    assert main(["ingest", str(folder / "in"), str(folder / "a")]) == 0
    return folder / "a"


def test_ls_has_one_line_for_more_dimensions_too(beats, capsys):
    assert main(["ls", str(beats)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("MR  gapped")
    assert "3x5x32x40" in line


def test_info_tells_what_is_missing_and_the_values_of_axes(beats, capsys):
    assert main(["info", str(beats), "1.2.840.99.1"]) == 0
    told = capsys.readouterr().out
    assert "missing      1 frame, at index (1, 2)\n" in told
    assert "axes         t, z, y, x\n" in told
    assert "axis t       3 values: 0, 40, 80 ms (TriggerTime); begun at 0, 0.04, 0.08 s" in told
    assert "notes        none\n" in told
    assert "spacing      - x 2 x 0.7 x 0.8 mm\n" in told


def test_show_draws_the_time_that_is_asked_for(beats, tmp_path, capsys):
    pictures = [tmp_path / f"{number}.png" for number in range(2)]
    for number, picture in enumerate(pictures):
        arguments = ["show", str(beats), "1.2.840.99.1", "-o", str(picture)]
        assert main([*arguments, "--at", f"t={number}"]) == 0
    first, second = (np.asarray(Image.open(picture)) for picture in pictures)
    assert (first != second).any()
    for wrong in ("t=3", "t=-1", "t", "=1", "b=0"):
        assert main([*arguments, "--at", wrong]) == 2
    assert "no axis 'b' to choose from; there are: t" in capsys.readouterr().err


def test_many_missing_frames_are_told_in_one_line():
    from sansfilm.cli.text import _missing

    assert _missing([]) == "none"
    assert _missing([3]) == "1 frame, at index 3"
    assert _missing([1, 2, 3, 7]) == "4 frames, at index 1-3, 7"
    assert _missing(list(range(0, 40, 2))) == "20 frames, at index 0, 2, 4, 6, 8, 10, 12, ..., 38"
    assert _missing([[0, 2], [1, 2]]) == "2 frames, at index (0, 2), (1, 2)"


@pytest.mark.parametrize("window", [[], ["--window", "lung"], ["--window", "40,400"]])
def test_show_draws_a_picture(archive, made, tmp_path, window):
    picture = tmp_path / "picture.png"
    assert main(["show", str(archive), made.series_uid, "-o", str(picture), *window]) == 0
    pixels = np.asarray(Image.open(picture).convert("L"))
    assert pixels.std() > 10  # something is to be seen


def test_show_writes_nothing_for_a_wrong_window(archive, made, tmp_path, capsys):
    arguments = ["show", str(archive), made.series_uid, "-o", str(tmp_path / "p.png")]
    assert main([*arguments, "--window", "lungs"]) == 2
    assert "there are abdomen" in capsys.readouterr().err
    assert main([*arguments, "--level", "9"]) == 2
    assert main([*arguments, "--window", "1,x"]) == 2
    assert not (tmp_path / "p.png").exists()


def test_doctor_names_every_syntax_and_version(capsys):
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    assert "JPEG-LS Near-lossless" in told
    assert version("imagecodecs") in told
    assert main(["doctor", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    used = {row["name"] for row in findings["decoders"] if row["state"] == "used"}
    assert used == {row["name"] for row in findings["decoders"]}


def test_verify_is_clean_after_an_ingest(archive, capsys):
    assert main(["verify", str(archive)]) == 0
    assert "damaged" not in capsys.readouterr().out


def test_a_pipe_that_closes_early_is_no_error(archive):
    command = f"{sys.executable} -m sansfilm info {archive} $(ls {archive}/series) | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_help_and_version(capsys):
    assert main(["--help"]) == 0
    assert "exit codes" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert main([]) == 2


# ---------------------------------------------------------------------- bad input, wrong calls


def test_a_missing_path_is_a_wrong_call(tmp_path, capsys):
    assert main(["ingest", str(tmp_path / "nowhere"), str(tmp_path / "a")]) == 2
    told = capsys.readouterr().err
    assert "source does not exist" in told
    assert str(tmp_path / "nowhere") in told
    assert not (tmp_path / "a").exists()


def test_an_empty_folder_is_a_problem(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["ingest", str(tmp_path / "empty"), str(tmp_path / "a"), "--json"]) == 3
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert problem["code"] == "EMPTY_SOURCE"


def test_bad_files_are_problems_and_the_good_series_is_stored(made, tmp_path, capsys):
    folder = tmp_path / "mixed"
    shutil.copytree(made.folder, folder)
    whole = made.paths[0].read_bytes()
    (folder / "a.txt").write_text("<html>not DICOM</html>")
    (folder / "b.dcm").write_bytes(b"")
    other = synth.series(tmp_path / "other", slices=4, seed=5)
    (folder / "cut.dcm").write_bytes(other.paths[0].read_bytes()[: len(whole) // 2])

    def hostile(dataset, index):
        if index == 0:
            dataset.SeriesInstanceUID = "../../etc/passwd"
        if index == 1:
            dataset.SOPInstanceUID = "1.2.3/../4"
        if index == 2:
            del dataset.PixelData

    with pytest.warns(UserWarning, match="Invalid value for VR UI"):
        bad = synth.series(tmp_path / "bad", slices=3, seed=6, edit=hostile)
    for path in bad.paths:
        shutil.copy(path, folder)
    assert main(["ingest", str(folder), str(tmp_path / "a"), "--json"]) == 3
    report = json.loads(capsys.readouterr().out)
    codes = sorted(problem["code"] for problem in report["problems"])
    assert codes == ["BAD_UID", "BAD_UID", "NOT_DICOM", "NOT_DICOM", "NO_PIXEL_DATA", "TRUNCATED"]
    frames = report["frames"]
    assert frames["found"] == frames["stored"] + frames["in_problems"]
    assert [volume["frames"] for volume in report["volumes"]] == [6]
    assert {path.name for path in tmp_path.iterdir()} == {"mixed", "other", "bad", "a"}
    assert "ZZPHI" not in json.dumps(report)


def test_an_undecodable_frame_leaves_its_volume_out(made, tmp_path, capsys):
    def broken(dataset, index):
        if index == 2:
            data = bytearray(dataset.PixelData)
            data[60:] = bytes(len(data) - 60)
            dataset.PixelData = bytes(data)

    bad = synth.series(tmp_path / "in", slices=5, transfer_syntax=synth.J2K, edit=broken)
    assert main(["ingest", str(bad.folder), str(tmp_path / "a"), "--json"]) == 3
    report = json.loads(capsys.readouterr().out)
    codes = sorted(problem["code"] for problem in report["problems"])
    assert codes == ["DECODE_FAILED", *["INCOMPLETE_VOLUME"] * 4]
    assert report["frames"] == {"found": 5, "stored": 0, "in_problems": 5}
    assert report["volumes"] == []
    assert main(["ls", str(tmp_path / "a")]) == 0


def test_an_archive_is_never_made_among_other_files(made, tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("chapter 1")
    assert main(["ingest", str(made.folder), str(tmp_path)]) == 2
    assert "not empty and not a sansfilm archive" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_archive_below_its_source_is_no_source(made, tmp_path, capsys):
    folder = tmp_path / "in"
    shutil.copytree(made.folder, folder)
    assert main(["ingest", str(folder), str(folder / "archive")]) == 0
    assert main(["ingest", str(folder), str(folder / "archive")]) == 0
    assert "6 files, 6 images" in capsys.readouterr().out


def test_an_unwritable_target_is_a_storage_error(made, capsys, without_root):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(made.folder, folder / "in")
        (folder / "closed").mkdir()
        for path, mode in ((folder, 0o755), (folder / "in", 0o755), (folder / "closed", 0o555)):
            path.chmod(mode)
        with without_root():
            assert main(["ingest", str(folder / "in"), str(folder / "closed" / "a")]) == 4
        assert "permission denied" in capsys.readouterr().err
        assert not list((folder / "closed").iterdir())


def test_a_full_disk_is_a_storage_error_and_the_same_command_goes_on(
    made, tmp_path, capsys, monkeypatch, tree
):
    from sansfilm.store import target

    written = [0]
    real = target._write_all

    def full(descriptor, data):
        written[0] += len(data)
        if written[0] > 20_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor, data)

    monkeypatch.setattr(target, "_write_all", full)
    url = tmp_path / "a"
    assert main(["ingest", str(made.folder), str(url)]) == 4
    assert "the disk is full: free some space and run the same command again" in (
        capsys.readouterr().err
    )
    monkeypatch.setattr(target, "_write_all", real)
    assert main(["ls", str(url)]) == 0
    assert capsys.readouterr().out == ""  # nothing half visible
    assert main(["ingest", str(made.folder), str(url)]) == 0
    assert main(["ingest", str(made.folder), str(tmp_path / "quiet")]) == 0
    assert tree(url) == tree(tmp_path / "quiet")


@pytest.mark.parametrize("command", ["ls", "verify", "info", "show"])
def test_commands_on_no_archive_are_wrong_calls(command, tmp_path, capsys):
    more = {"info": ["1.2"], "show": ["1.2", "-o", "x.png"]}.get(command, [])
    assert main([command, str(tmp_path), *more]) == 2
    assert "there is no sansfilm archive" in capsys.readouterr().err


def test_an_unknown_series_is_a_wrong_call(archive, capsys):
    assert main(["info", str(archive), "1.2.3"]) == 2
    assert "no series or volume 1.2.3" in capsys.readouterr().err
    assert main(["verify", str(archive), "1.2.3"]) == 2


def test_a_gpu_that_is_not_used_is_not_promised(made, tmp_path, capsys):
    assert main(["ingest", str(made.folder), str(tmp_path / "a"), "--device", "gpu"]) == 1
    assert "use device auto or cpu" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("arguments", [["--workers", "0"], ["--workers", "-1"]])
def test_a_wrong_number_of_workers_is_a_wrong_call(made, tmp_path, arguments):
    assert main(["ingest", *arguments, str(made.folder), str(tmp_path / "a")]) == 2


def test_no_scheduler_is_a_network_error(made, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sansfilm.run.dask.CONNECT_S", 1)
    arguments = ["ingest", "--scheduler", "tcp://127.0.0.1:9", str(made.folder)]
    assert main([*arguments, str(tmp_path / "a")]) == 4
    assert "no Dask scheduler answers" in capsys.readouterr().err
