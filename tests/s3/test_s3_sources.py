"""Sources on a real S3 server: how often they are read, and what happens if they change."""

import os
import subprocess
import sys

import numpy as np
import pytest
import synth

import sansfilm
from sansfilm import landing
from sansfilm.options import Options, Storage
from sansfilm.planning import headers, pixels, source
from sansfilm.planning.recent import RECENT
from sansfilm.progress import Progress

SMALL = Options(storage=Storage(chunk=8, slab=4, smallest=8))


@pytest.fixture
def put(bucket, files):
    """Give a function that puts a folder on the server and returns its URL."""

    def put(folder):
        files.put(str(folder), f"{bucket}/in", recursive=True)
        return f"s3://{bucket}/in"

    return put


@pytest.fixture(autouse=True)
def nothing_kept():
    RECENT.clear()
    pixels._ASKED.clear()


def of_sources(requests, bucket):
    return [(method, path) for method, path, _ in requests if path.startswith(f"/{bucket}/in/")]


@pytest.mark.parametrize("workers", [None, 1])
def test_requests_of_140_slices_from_the_server(
    bucket, tmp_path, put, counted, files, record, workers
):
    made = synth.series(tmp_path / "in", slices=140, rows=160, columns=160)
    url = put(made.folder)
    with counted() as requests:
        report = sansfilm.ingest(url, f"s3://{bucket}/a", workers=workers)
    assert report.frames == {"found": 140, "stored": 140, "in_problems": 0}
    volume = sansfilm.open(f"s3://{bucket}/a")[made.series_uid]
    np.testing.assert_array_equal(volume.array[70], made.values[70])
    shards = [name for name in files.find(f"{bucket}/a/{volume.key}") if "/c/" in name
              and "headers" not in name]  # fmt: skip
    read = of_sources(requests, bucket)
    record("140 slices from S3 to S3", f"{len(read)} requests for sources, {len(requests)} in all")
    assert {method for method, _ in read} == {"GET"}
    assert len(read) == len(set(read)) == 140
    assert len(requests) <= 140 + len(shards) + 20


def test_planning_takes_one_request_for_a_file_and_two_for_a_large_one(
    bucket, tmp_path, put, counted, monkeypatch
):
    made = synth.series(tmp_path / "in", slices=5)
    url = put(made.folder)
    with counted() as requests:
        sansfilm.ingest(url, f"s3://{bucket}/a", dry_run=True)
    assert len(of_sources(requests, bucket)) == 5
    size = made.paths[0].stat().st_size
    for module in (headers, pixels, source):
        monkeypatch.setattr(module, "WHOLE", size // 2 + 100)
    with counted() as requests:
        report = sansfilm.ingest(url, f"s3://{bucket}/a", dry_run=True)
    assert report.frames["stored"] == 5
    read = [method for method, _ in of_sources(requests, bucket)]
    assert read.count("GET") == 2 * 5
    assert read.count("HEAD") == 5  # whether it changed while it was read
    with counted() as requests:
        report = sansfilm.ingest(url, f"s3://{bucket}/a", options=SMALL)
    assert report.frames["stored"] == 5
    volume = sansfilm.open(f"s3://{bucket}/a")[made.series_uid]
    np.testing.assert_array_equal(volume.array[:], made.values)


class Meanwhile(Progress):
    """Does something when the files are listed, or when all is planned."""

    def __init__(self, when, act):
        self.when, self.act = when, act

    def files_found(self, count):
        if self.when == "listed":
            self.act()

    def planned(self, volumes, slabs, unchanged):
        if self.when == "planned":
            self.act()


@pytest.mark.parametrize("more", [b"", b"!"])
@pytest.mark.parametrize("when", ["listed", "planned"])
def test_a_source_that_changes_meanwhile(bucket, files, tmp_path, put, monkeypatch, when, more):
    made = synth.series(tmp_path / "in", slices=5)
    url = put(made.folder)
    monkeypatch.setattr(RECENT, "budget", 0)  # what is kept could not change
    whole, name = made.paths[2].read_bytes(), f"{bucket}/in/{made.paths[2].name}"
    progress = Meanwhile(when, lambda: files.pipe_file(name, whole[:-1] + b"?" + more))
    report = sansfilm.ingest(url, f"s3://{bucket}/a", options=SMALL, progress=progress)
    codes = {str(problem.code) for problem in report.problems}
    if when == "planned":
        expected = {"UNREADABLE" if more else "SOURCE_CHANGED", "INCOMPLETE_VOLUME"}
    else:
        expected = {"UNREADABLE"} if more else set()  # other contents, which is what was read
    assert codes == expected
    assert report.frames["found"] == report.frames["stored"] + report.frames["in_problems"]
    assert report.frames["found"] == (4 if more and when == "listed" else 5)


def test_what_was_planned_is_stored_whatever_becomes_of_the_source(bucket, files, tmp_path, put):
    made = synth.series(tmp_path / "in", slices=5)
    url = put(made.folder)
    progress = Meanwhile("planned", lambda: files.rm(f"{bucket}/in", recursive=True))
    report = sansfilm.ingest(url, f"s3://{bucket}/a", options=SMALL, progress=progress)
    assert report.problems == []
    volume = sansfilm.open(f"s3://{bucket}/a")[made.series_uid]
    np.testing.assert_array_equal(volume.array[:], made.values)


def test_workers_read_from_the_server_too(bucket, tmp_path, put, counted):
    made = synth.series(tmp_path / "in", slices=12)
    url = put(made.folder)
    with counted() as requests:
        report = sansfilm.ingest(url, f"s3://{bucket}/a", options=SMALL, workers=2)
    assert report.frames == {"found": 12, "stored": 12, "in_problems": 0}
    read = of_sources(requests, bucket)
    assert {method for method, _ in read} == {"GET"}
    assert len(read) <= 2 * 12  # a worker cannot have what another one has read


def test_logs_of_the_client_say_nothing_of_what_it_sends(bucket, tmp_path):
    """At this level botocore would log every request with its body: headers, and who it is of."""
    made = synth.series(tmp_path / "in", slices=3)
    done = subprocess.run(
        [sys.executable, "-m", "sansfilm", "--debug", "ingest", str(made.folder),
         f"s3://{bucket}/a"],
        capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )  # fmt: skip
    assert "DEBUG sansfilm" in done.stderr
    assert "ZZPHI" not in done.stderr
    assert "botocore" not in done.stderr


def test_a_prefix_is_watched(bucket, files, tmp_path, monkeypatch, counted):
    made = synth.series(tmp_path / "in", slices=6)
    arrivals = [made.paths[:4], [], [], made.paths[4:], [], []]

    def arrive(_=0.0):
        for path in arrivals.pop(0):
            files.pipe_file(f"{bucket}/in/{path.name}", path.read_bytes())

    arrive()
    monkeypatch.setattr(landing, "pause", arrive)
    rounds = sansfilm.watch(f"s3://{bucket}/in", f"s3://{bucket}/a", quiet_s=0, options=SMALL)
    assert next(rounds).frames["stored"] == 4
    with counted() as requests:
        report = next(rounds)
    assert report.frames == {"found": 6, "stored": 6, "in_problems": 0}
    assert report.error == ""
    read = [path for method, path in of_sources(requests, bucket) if method == "GET"]
    assert len(read) == 6  # late ones and their companions, once each
    volume = sansfilm.open(f"s3://{bucket}/a")[made.series_uid]
    np.testing.assert_array_equal(volume.array[:], made.values)
