"""Ingest to, from and on a real S3 server: same volumes, few requests, one winner, no leftovers."""

import os
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta

import numpy as np
import pytest
import slow_slabs
import synth

import sansfilm
from sansfilm import convert
from sansfilm.cli.main import main
from sansfilm.errors import TargetError
from sansfilm.options import Options, Storage
from sansfilm.store import checkpoint
from sansfilm.view.volume import Volume

SMALL = Options(storage=Storage(chunk=8, slab=4, smallest=8))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return synth.series(tmp_path_factory.mktemp("in"), slices=12)


def objects(files, root):
    """Read an archive on the server as {key: bytes}."""
    return {name.split("/", 2)[2]: files.cat_file(name) for name in files.find(root)}


def test_an_archive_on_s3_is_that_on_a_disk(bucket, files, made, tmp_path, tree):
    files.put(str(made.folder), f"{bucket}/in", recursive=True)
    for source, archive in ((made.folder, tmp_path / "a"), (made.folder, f"s3://{bucket}/a")):
        report = sansfilm.ingest(source, archive, options=SMALL)
        assert report.problems == []
    assert objects(files, f"{bucket}/a") == tree(tmp_path / "a")
    report = sansfilm.ingest(f"s3://{bucket}/in", f"s3://{bucket}/b", options=SMALL)
    assert report.frames == {"found": 12, "stored": 12, "in_problems": 0}
    volume = sansfilm.open(f"s3://{bucket}/b")[made.series_uid]
    np.testing.assert_array_equal(volume.array[:], made.values)
    np.testing.assert_allclose(volume.affine_lps, made.affine_lps)
    assert len(volume.headers()) == 12
    assert [found for _, found in sansfilm.verify(f"s3://{bucket}/b")] == [[], []]


def test_the_same_command_again_writes_nothing(bucket, made, counted):
    url = f"s3://{bucket}/a"
    sansfilm.ingest(made.folder, url, options=SMALL)
    with counted() as requests:
        report = sansfilm.ingest(made.folder, url, options=SMALL)
    assert len(report.unchanged) == 1
    writes = {path: status for method, path, status in requests if method not in ("GET", "HEAD")}
    assert set(writes.values()) == {412}  # what is there is not written again
    assert len(writes) == 3  # the mark, a row of the volume and one of its patient


def test_requests_of_an_ingest_of_140_slices(bucket, tmp_path, counted, files, record):
    made = synth.series(tmp_path / "in", slices=140, rows=160, columns=160)
    with counted() as requests:
        sansfilm.ingest(made.folder, f"s3://{bucket}/a")
    volume = sansfilm.open(f"s3://{bucket}/a")[made.series_uid]
    shards = sum(1 for name in files.find(f"{bucket}/a/{volume.key}") if "/c/" in name
                 and "headers" not in name)  # fmt: skip
    record("140 slices from a disk", f"{len(requests)} requests, {shards} shards of all levels")
    assert shards == 3 * len(volume.levels)
    assert len(requests) <= shards + 30  # far below slices + shards + 20; from S3: test_s3_sources


def test_requests_of_one_axial_slice(bucket, tmp_path, counted, record):
    made = synth.series(tmp_path / "in", slices=70, rows=200, columns=200)
    url = f"s3://{bucket}/a"
    sansfilm.ingest(made.folder, url)
    key = next(iter(sansfilm.open(url))).key
    target = sansfilm.open(url)._target
    with counted() as requests:
        volume = Volume(target, key)
        plane = volume.array[35]
    np.testing.assert_array_equal(plane, made.values[35])
    sizes = zip(volume.array.shape[1:], volume.array.chunks[1:], strict=True)
    chunks = int(np.prod([-(-size // edge) for size, edge in sizes]))
    record("one axial slice", f"{len(requests)} requests for {chunks} chunks")
    assert len(requests) <= chunks + 4
    with counted() as requests:
        sansfilm.open(url)[made.series_uid].array[35]
    record("the same by way of the catalogue", f"{len(requests)} requests")
    assert len(requests) <= chunks + 8


def command(source, url):
    return subprocess.Popen(
        [sys.executable, "-m", "sansfilm", "ingest", str(source), url],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )  # fmt: skip


def test_two_ingests_at_once_end_in_one_volume(bucket, made, counted, files, tmp_path, tree):
    url = f"s3://{bucket}/a"
    with counted() as requests:
        both = [command(made.folder, url) for _ in range(2)]
        told = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    commits = [status for method, path, status in requests
               if method == "PUT" and path.endswith("_commit.json")]  # fmt: skip
    assert commits.count(200) == 1
    assert len(sansfilm.open(url).rows(history=True)) == 1
    assert [found for _, found in sansfilm.verify(url)] == [[], []]
    sansfilm.ingest(made.folder, tmp_path / "quiet")
    assert objects(files, f"{bucket}/a") == tree(tmp_path / "quiet")


def test_kills_end_in_the_archive_of_a_quiet_run(bucket, files, tmp_path, tree, record):
    for seed in range(4):
        synth.series(tmp_path / "in", slices=70, rows=96, columns=96, seed=seed)
    url, chance, kills = f"s3://{bucket}/a", random.Random(20261125), 0
    started = time.perf_counter()
    sansfilm.ingest(tmp_path / "in", tmp_path / "quiet", workers=1)
    busy_s = 2 * (time.perf_counter() - started)
    for _ in range(5):
        process = command(tmp_path / "in", url)
        for _ in range(600):  # until it has begun to write
            if files.exists(f"{bucket}/a/series"):
                break
            time.sleep(0.05)
        time.sleep(chance.uniform(0, busy_s))
        kills += process.poll() is None
        process.kill()
        process.communicate()
        damages = dict(sansfilm.verify(url))
        del damages["catalogue"]  # rows follow the commits
        assert not any(damages.values())
    record("kills of an ingest at work", f"{kills} of 5")
    assert kills > 0
    last = command(tmp_path / "in", url)
    last.communicate()
    assert last.returncode == 0
    assert objects(files, f"{bucket}/a") == tree(tmp_path / "quiet")
    assert list(sansfilm.gc(url, older_than=timedelta(0))) == []


def test_a_volume_goes_on_slab_by_slab(bucket, files, tmp_path, tree, record):
    """Killed three times, on threads and on Dask: what was at work is made again, no more."""
    synth.series(tmp_path / "in", slices=80)
    sansfilm.ingest(tmp_path / "in", tmp_path / "quiet", options=slow_slabs.THIN)
    url, log = f"s3://{bucket}/a", tmp_path / "made"
    for kills, workers in enumerate(("threads", 1, 2)):
        process = slow_slabs.start(tmp_path / "in", url, log, workers)
        while len(slow_slabs.lines(log)) < 10 * (kills + 1) and process.poll() is None:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    _, err = slow_slabs.start(tmp_path / "in", url, log, "threads", seconds=0).communicate()
    again = len(slow_slabs.lines(log)) - 40
    record("one volume of 40 slabs, 3 kills", f"{again} slabs made again, {err}")
    assert 0 <= again <= 3 * 4
    assert objects(files, f"{bucket}/a") == tree(tmp_path / "quiet")


def test_requests_of_a_volume_that_goes_on(bucket, made, counted, monkeypatch):
    """One to look, one to say that it is at work, one list; one to clear away."""
    url, write, left = f"s3://{bucket}/a", convert.write_slab, [2]

    def stopping(target, run, plan):
        left[0] -= 1
        if left[0] < 0:
            raise TargetError(url, "gone")
        return write(target, run, plan)

    with monkeypatch.context() as patch:
        for name in ("FIRST_S", "EVERY_S", "SHARE"):
            patch.setattr(checkpoint, name, 0)
        patch.setattr(convert, "write_slab", stopping)
        with pytest.raises(TargetError):
            sansfilm.ingest(made.folder, url, options=SMALL, workers=1)
    with counted() as requests:
        assert sansfilm.ingest(made.folder, url, options=SMALL, workers=1).slabs_before == 2
    assert [(m, status) for m, path, status in requests if path.endswith("_checkpoint")] == [
        ("GET", 200), ("PUT", 200), ("DELETE", 204),
    ]  # fmt: skip
    sent = [path for m, path, _ in requests if m == "PUT" and "/c/" in path]
    assert {path.split("/c/")[1][0] for path in sent} == {"2"}  # the last of three slabs


def test_two_ingests_with_checkpoints_end_in_one_volume(bucket, files, tmp_path, tree):
    synth.series(tmp_path / "in", slices=40)
    sansfilm.ingest(tmp_path / "in", tmp_path / "quiet", options=slow_slabs.THIN)
    url, log = f"s3://{bucket}/a", tmp_path / "made"
    both = [slow_slabs.start(tmp_path / "in", url, log, how) for how in (1, "threads")]
    for process in both:
        _, err = process.communicate()
        assert process.returncode == 0, err
    assert [found for _, found in sansfilm.verify(url)] == [[], []]
    assert objects(files, f"{bucket}/a") == tree(tmp_path / "quiet")


def test_workers_find_the_server_by_the_environment(bucket, files, made, tmp_path, tree):
    sansfilm.ingest(made.folder, f"s3://{bucket}/a", options=SMALL, workers=2)
    sansfilm.ingest(made.folder, tmp_path / "a", options=SMALL)
    assert objects(files, f"{bucket}/a") == tree(tmp_path / "a")


def test_damage_on_s3_is_found_never_read_and_repaired(bucket, files, made):
    url = f"s3://{bucket}/a"
    sansfilm.ingest(made.folder, url, options=SMALL)
    volume = sansfilm.open(url)[made.series_uid]
    lost, cut, flipped = (f"{bucket}/a/{volume.key}/0/c/{place}/0/0" for place in range(3))
    whole = files.cat_file(flipped)
    files.rm_file(lost)
    files.pipe_file(cut, files.cat_file(cut)[:-100])
    files.pipe_file(flipped, whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    fresh = sansfilm.open(url)[made.series_uid]
    for start in (0, 4, 8):
        with pytest.raises(Exception, match=r"(?i)chunk|checksum|index|crc|range"):
            fresh.array[start : start + 4]
    assert main(["verify", url, "--quick"]) == 5
    found = [damage for _, damages in sansfilm.verify(url) for damage in damages]
    assert {damage.shard for damage in found} == {(0, 0, 0), (1, 0, 0), (2, 0, 0)}
    found = [damage for _, damages in sansfilm.verify(url, repair=True) for damage in damages]
    assert all(damage.repaired for damage in found)
    assert main(["verify", url]) == 0
    np.testing.assert_array_equal(sansfilm.open(url)[made.series_uid].array[:], made.values)


def test_gc_and_index_on_s3(bucket, files, made):
    url = f"s3://{bucket}/a"
    sansfilm.ingest(made.folder, url, options=SMALL)
    rows = sansfilm.open(url).rows()
    place = f"{bucket}/a/series/1.2.3/{'0' * 32}"
    files.pipe_file(f"{place}/0/c/0/0/0", b"x")
    files.rm(f"{bucket}/a/catalogue", recursive=True)
    assert list(sansfilm.gc(url)) == []
    assert main(["gc", url, "--older-than", "0s"]) == 0
    assert not files.exists(place)
    assert main(["index", url]) == 0
    assert sansfilm.open(url).rows() == rows
    assert main(["verify", url]) == 0
