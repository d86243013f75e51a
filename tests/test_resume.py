"""Same command again, after anything: nothing lost, nothing doubled, nothing half visible."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
import synth

import sansfilm
from sansfilm import convert
from sansfilm.catalogue import segments, table
from sansfilm.options import Options, Storage
from sansfilm.store import commit
from sansfilm.store.verify import verify_volume


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Several series, so that a kill finds some volumes done, one half done, some not begun."""
    folder = tmp_path_factory.mktemp("sources")
    for seed in range(6):
        synth.series(folder / f"s{seed}", slices=70, rows=96, columns=96, seed=seed,
                     transfer_syntax=synth.J2K)  # fmt: skip
    (folder / "notes.txt").write_text("not DICOM")
    return folder


@pytest.fixture(scope="module")
def quiet(tmp_path_factory, sources):
    url = tmp_path_factory.mktemp("quiet") / "archive"
    started = time.perf_counter()
    assert command(sources, url).wait() == 3  # notes.txt is a Problem
    return url, time.perf_counter() - started


def command(sources, url):
    return subprocess.Popen(
        [sys.executable, "-m", "sansfilm", "ingest", str(sources), str(url)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_ten_kills_end_in_the_archive_of_a_quiet_run(quiet, sources, tmp_path, tree):
    reference, seconds = quiet
    url = tmp_path / "archive"
    chance, kills = random.Random(20261124), 0
    while kills < 10:
        process = command(sources, url)
        time.sleep(chance.uniform(0.05, 1.0) * seconds)
        kill(process)
        if process.returncode != -signal.SIGKILL:  # it was faster: not a kill, begin anew
            assert process.returncode == 3
            shutil.rmtree(url)
            continue
        kills += 1
        if (url / "sansfilm.json").exists():  # what a reader sees now is whole
            for volume in commit.find_volumes(opened(url)):
                assert not list(verify_volume(opened(url), volume))
    assert command(sources, url).wait() == 3
    assert tree(url) == tree(reference)


def opened(url):
    from sansfilm.store.target import open_target

    return open_target(str(url))


def test_kills_after_each_object_end_in_the_same_archive(sources, tmp_path, tree, monkeypatch):
    """Stop before every single write in turn: deterministic where signals are not."""
    from sansfilm.store.target import LocalTarget

    made = synth.series(tmp_path / "in", slices=5, seed=9)
    reference = tmp_path / "reference"
    sansfilm.ingest(made.folder, reference)
    expected = tree(reference)
    url = tmp_path / "archive"
    put, create = LocalTarget.put, LocalTarget.create

    class KilledError(BaseException):
        """Not an Exception: nothing may catch it."""

    stops = 0
    while True:
        left = [stops]

        def counted(write, left=left):
            def wrapper(self, key, data):
                if left[0] == 0:
                    raise KilledError
                left[0] -= 1
                return write(self, key, data)

            return wrapper

        monkeypatch.setattr(LocalTarget, "put", counted(put))
        monkeypatch.setattr(LocalTarget, "create", counted(create))
        shutil.rmtree(url, ignore_errors=True)
        try:
            sansfilm.ingest(made.folder, url, workers=1)
        except KilledError:
            pass
        else:
            break
        finally:
            monkeypatch.setattr(LocalTarget, "put", put)
            monkeypatch.setattr(LocalTarget, "create", create)
        if (url / "sansfilm.json").exists():
            for volume in commit.find_volumes(opened(url)):
                assert not list(verify_volume(opened(url), volume))
        sansfilm.ingest(made.folder, url, workers=1)
        assert tree(url) == expected
        stops += 1
    assert stops == len(expected) + 1  # the mark is created twice, to see the second one refused


def test_a_killed_run_of_many_volumes_ends_in_the_same_segments(tmp_path, tree, monkeypatch):
    """The rows of the volumes of before are read from their files, the others are in hand."""
    for number in range(segments.ENOUGH + 6):
        synth.series(tmp_path / "in" / str(number), slices=1 + number % 2, seed=number,
                     series_uid=f"1.2.{number}")  # fmt: skip
    sansfilm.ingest(tmp_path / "in", tmp_path / "quiet")
    commits, publish_volume = [], convert.commit_volume

    def killed(*arguments):
        if len(commits) == 40:
            raise KeyboardInterrupt
        commits.append(1)
        return publish_volume(*arguments)

    monkeypatch.setattr(convert, "commit_volume", killed)
    with pytest.raises(KeyboardInterrupt):
        sansfilm.ingest(tmp_path / "in", tmp_path / "a")
    monkeypatch.undo()
    report = sansfilm.ingest(tmp_path / "in", tmp_path / "a")
    assert len(report.unchanged) == 40
    assert len(list((tmp_path / "a" / table.SEGMENTS).iterdir())) == 1
    assert tree(tmp_path / "a") == tree(tmp_path / "quiet")


def test_the_same_command_again_does_nothing(quiet, sources, tree):
    url, _ = quiet
    before = {path: path.stat().st_mtime_ns for path in url.rglob("*")}
    report = sansfilm.ingest(sources, url)
    assert len(report.unchanged) == len(report.volumes) == 6
    assert report.bytes["written"] == 0
    assert {path: path.stat().st_mtime_ns for path in url.rglob("*")} == before


def test_a_half_written_volume_does_not_exist(tmp_path):
    made = synth.series(tmp_path / "in", slices=3)
    url = tmp_path / "archive"
    report = sansfilm.ingest(made.folder, url)
    (row,) = report.volumes
    (url / row["key"] / "_commit.json").unlink()
    shutil.rmtree(url / "catalogue")
    archive = sansfilm.open(url)
    assert len(archive) == 0
    with pytest.raises(LookupError):
        archive[made.series_uid]


@pytest.mark.parametrize(
    "how", [{"workers": 1}, {}, {"workers": 2}], ids=["serial", "threads", "dask"]
)
def test_every_runner_writes_the_same_bytes(quiet, sources, tmp_path, tree, how):
    reference, _ = quiet
    sansfilm.ingest(sources, tmp_path / "archive", **how)
    assert tree(tmp_path / "archive") == tree(reference)


def test_dry_run_writes_nothing(sources, tmp_path):
    report = sansfilm.ingest(sources, tmp_path / "archive", dry_run=True)
    assert len(report.volumes) == 6
    assert report.frames["found"] == 420
    assert not (tmp_path / "archive").exists()


def test_late_slices_make_a_new_volume_that_stands_for_the_old(tmp_path):
    made = synth.series(tmp_path / "in", slices=9, names="ordered")
    late = tmp_path / "late"
    late.mkdir()
    order = sorted(range(9), key=lambda n: made.paths[n])
    for path in [made.paths[n] for n in order if n >= 6]:
        shutil.move(path, late)
    url = tmp_path / "archive"
    (first,) = sansfilm.ingest(made.folder, url).volumes
    (second,) = sansfilm.ingest([made.folder, late], url).volumes
    assert first["volume_id"] != second["volume_id"]
    archive = sansfilm.open(url)
    assert [row["volume_id"] for row in archive.rows()] == [second["volume_id"]]
    assert archive[made.series_uid].array.shape[0] == 9
    # and the first part alone, later, does not hide the whole
    sansfilm.ingest(made.folder, url)
    assert [row["volume_id"] for row in sansfilm.open(url).rows()] == [second["volume_id"]]


@pytest.mark.parametrize("slab", [1, 8, 64])
def test_other_storage_options_are_another_volume(tmp_path, slab):
    made = synth.series(tmp_path / "in", slices=20)
    options = Options(storage=Storage(chunk=16, slab=slab, smallest=8))
    (row,) = sansfilm.ingest(made.folder, tmp_path / "a", options=options).volumes
    (plain,) = sansfilm.ingest(made.folder, tmp_path / "a").volumes
    assert row["volume_id"] != plain["volume_id"]
    volume = sansfilm.open(tmp_path / "a").volumes
    assert len(volume) == 1  # the newest of the same instances
