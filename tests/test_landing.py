"""A landing zone: files are read once they stand still, late ones bring their series along."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import synth
from hypothesis import given
from hypothesis import strategies as st

import sansfilm
from sansfilm import landing
from sansfilm.errors import (
    OptionError,
    Problem,
    ProblemCode,
    SourceNotFoundError,
    TargetError,
)
from sansfilm.landing import PATIENCE, Zone
from sansfilm.model import FileRef, Report
from sansfilm.options import Options, Storage

SMALL = Options(storage=Storage(chunk=8, slab=4, smallest=8))


def ref(name, size=1, modified=1):
    return FileRef(f"/in/{name}", size, modified)


def taken(zone, files, now):
    """Look, and read what is ready; return its names."""
    ready = zone.look(files, [], now)
    zone.read(ready, Report(), now)
    return [file.uri.removeprefix("/in/") for file in ready]


# ------------------------------------------------------------------------------------- the zone


def test_a_file_is_taken_once_it_stood_still():
    zone = Zone(10)
    assert taken(zone, [ref("a")], 0) == []
    assert taken(zone, [ref("a")], 9) == []
    assert taken(zone, [ref("a")], 10) == ["a"]
    assert taken(zone, [ref("a")], 100) == []


@pytest.mark.parametrize("other", [ref("a", size=2), ref("a", modified=2)])
def test_a_file_that_changes_waits_anew_and_is_taken_again(other):
    zone = Zone(10)
    assert taken(zone, [ref("a")], 0) == []
    assert taken(zone, [other], 9) == []
    assert taken(zone, [other], 18) == []
    assert taken(zone, [other], 19) == ["a"]
    assert taken(zone, [ref("a", 3, 3)], 20) == []
    assert taken(zone, [ref("a", 3, 3)], 30) == ["a"]


def test_objects_are_told_apart_by_their_version():
    zone = Zone(0)
    for version in ("x", "y"):
        file = FileRef("s3://b/a", 1, version=version)
        assert zone.look([file], [], ord(version)) == []
        assert zone.look([file], [], ord(version) + 0.5) == [file]
        zone.read([file], Report(), ord(version) + 0.6)


def test_without_a_quiet_time_two_listings_still_have_to_agree():
    zone = Zone(0)
    assert taken(zone, [ref("a")], 0) == []
    assert taken(zone, [ref("a")], 0.1) == ["a"]


def test_a_folder_is_waited_for_but_not_for_ever():
    """Where something arrives at all times, nothing may starve."""
    zone, first = Zone(10), None
    for now in range(0, 300, 5):
        files = [ref("a/0"), ref("b/0"), *(ref(f"a/{n}") for n in range(1, now // 5 + 2))]
        got = taken(zone, files, now)
        assert ("b/0" in got) == (now == 10)  # another folder does not wait
        if "a/0" in got and first is None:
            first = now
    assert first == 10 * PATIENCE
    assert "a/59" in taken(zone, files, 400)


def test_what_vanished_is_forgotten_and_new_if_it_comes_back():
    zone = Zone(10)
    assert taken(zone, [ref("a")], 0) == []
    assert taken(zone, [], 10) == []
    assert taken(zone, [ref("a")], 20) == []
    assert taken(zone, [ref("a")], 30) == ["a"]


@pytest.mark.parametrize("code", [ProblemCode.UNREADABLE, ProblemCode.WORKER_LOST])
def test_what_may_go_better_is_tried_again_ever_more_rarely(code):
    zone, tried = Zone(10), []
    for now in range(0, 400, 5):
        if ready := zone.look([ref("a")], [], now):
            tried.append(now)
            zone.read(ready, Report(problems=[Problem("/in/a", "headers", code, "")]), now)
    assert tried == [10, 30, 70, 150, 310]


def test_what_will_not_go_better_is_told_once():
    zone, problem = Zone(10), Problem("/in/a", "headers", ProblemCode.NOT_DICOM, "")
    zone.look([ref("a")], [], 0)
    zone.read(zone.look([ref("a")], [], 10), Report(problems=[problem]), 10)
    assert zone.look([ref("a")], [], 100) == []
    lost = Problem("/in/x", "discover", ProblemCode.UNREADABLE, "")
    empty = Problem("/in", "discover", ProblemCode.EMPTY_SOURCE, "")
    assert zone.look([ref("a")], [lost, empty], 110) == [lost]
    assert zone.look([ref("a")], [lost, empty], 120) == []
    assert zone.look([ref("a")], [], 130) == []
    assert zone.look([ref("a")], [lost], 140) == [lost]


def test_companions_are_known_unchanged_files_of_the_same_series():
    zone = Zone(10)
    frames = [SimpleNamespace(uri=f"/in/{name}", series_uid=name[0]) for name in ("x1", "x2", "y1")]
    files = [ref(name) for name in ("x1", "x2", "y1")]
    zone.look(files, [], 0)
    assert zone.look(files, [], 10) == files
    assert zone.companions(frames) == []
    zone.read(files, Report(), 10)
    late = SimpleNamespace(uri="/in/x3", series_uid="x")
    assert [file.uri for file in zone.companions([late])] == ["/in/x1", "/in/x2"]
    zone.look([replace(files[0], size=5), ref("x3")], [], 20)  # x1 changes, x2 has gone
    assert zone.companions([late]) == []


@given(st.lists(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 3)), min_size=1))
def test_each_state_that_lasts_is_taken_exactly_once(listings):
    zone, lasting, read = Zone(10), {}, []
    listings = [*listings, *[listings[-1]] * (3 * PATIENCE)]
    for now, listing in enumerate(listings):
        files = [ref(name, size) for name, size in listing.items()]
        ready = zone.look(files, [], 7 * now)
        zone.read(ready, Report(), 7 * now)
        lasting = {name: (size, lasting[name][1] if lasting.get(name, (0,))[0] == size else now)
                   for name, size in listing.items()}  # fmt: skip
        for file in ready:
            name = file.uri[-1]
            size, since = lasting[name]
            assert file.size == size
            assert 7 * (now - since) >= 10
            assert (name, since) not in read
            read.append((name, since))
    assert {name for name, _ in lasting.items()} == {
        name for name, since in read if lasting.get(name, (0, -1))[1] == since
    }


# --------------------------------------------------------------------------------- the whole of it


@pytest.fixture
def clock(monkeypatch):
    """Let no time pass but the one that the loop sleeps, and do something at each sleep."""
    now, deeds = [100.0], []

    def sleep(seconds):
        now[0] += seconds
        if deeds:
            deeds.pop(0)()

    monkeypatch.setattr(landing, "pause", sleep)
    monkeypatch.setattr(landing, "monotonic", lambda: now[0])
    return deeds


def nothing():
    pass


def test_late_slices_make_a_new_volume_with_those_that_were_there(tmp_path, clock, tree):
    made = synth.series(tmp_path / "made", slices=8)
    other = synth.series(tmp_path / "other", slices=3, seed=9)
    zone = tmp_path / "zone"
    (zone / "x").mkdir(parents=True)

    def arrive(paths, folder="x"):
        for path in paths:
            (zone / folder).mkdir(exist_ok=True)
            shutil.copy(path, zone / folder / path.name)

    clock += [
        lambda: arrive(made.paths[:5]), nothing,  # read at the third look
        lambda: arrive(other.paths, "y"), lambda: arrive(made.paths[5:]), nothing,
    ]  # fmt: skip
    rounds = sansfilm.watch(zone, tmp_path / "a", every_s=10, options=SMALL)
    first, second, third = next(rounds), next(rounds), next(rounds)
    assert first.frames == {"found": 5, "stored": 5, "in_problems": 0}
    assert second.frames["stored"] == 3
    assert second.files["seen"] == 3  # of another series: nothing else is read again
    assert third.files["seen"] == third.frames["stored"] == 8
    rows = sansfilm.open(tmp_path / "a").rows()
    assert sorted(row["frames"] for row in rows) == [3, 8]
    (old,) = [row for row in sansfilm.open(tmp_path / "a").rows(history=True)
              if row["superseded_by"]]  # fmt: skip
    assert old["frames"] == 5
    volume = sansfilm.open(tmp_path / "a")[made.series_uid]
    np.testing.assert_array_equal(volume.array[:], made.values)
    # all at once gives the same bytes, and a new start finds all there
    sansfilm.ingest(zone, tmp_path / "b", options=SMALL)
    new = {key: data for key, data in tree(tmp_path / "a").items() if volume.key in key}
    assert new == {key: data for key, data in tree(tmp_path / "b").items() if volume.key in key}
    again = next(sansfilm.watch(zone, tmp_path / "a", every_s=10, options=SMALL))
    assert len(again.unchanged) == 2
    assert again.files["seen"] == 11


def test_a_changed_slice_is_a_conflict_never_written_over(tmp_path, clock):
    made = synth.series(tmp_path / "zone", slices=5)
    whole = made.paths[2].read_bytes()
    again = tmp_path / "zone" / "again.dcm"
    clock += [nothing, lambda: again.write_bytes(whole[:-2] + b"??")]
    rounds = sansfilm.watch(tmp_path / "zone", tmp_path / "a", options=SMALL)
    assert next(rounds).problems == []
    report = next(rounds)
    assert {str(problem.code) for problem in report.problems} == {"CONFLICT"}
    volume = sansfilm.open(tmp_path / "a")
    assert max(row["frames"] for row in volume.rows(history=True)) == 5
    assert not any(found for _, found in sansfilm.verify(tmp_path / "a"))


def test_storage_that_fails_is_told_and_the_next_round_does_the_work(tmp_path, clock, monkeypatch):
    made = synth.series(tmp_path / "zone", slices=4)
    from sansfilm.store.target import LocalTarget

    real, calls = LocalTarget.put, []

    def put(self, key, data):
        calls.append(key)
        if len(calls) in (1, 3):
            raise TargetError("cannot write", "the disk is full")
        real(self, key, data)

    monkeypatch.setattr(LocalTarget, "put", put)
    rounds = sansfilm.watch(tmp_path / "zone", tmp_path / "a", options=SMALL, workers=1)
    for _ in range(2):
        report = next(rounds)
        assert "the disk is full" in report.error
        assert report.volumes == []
        assert sansfilm.open(tmp_path / "a").rows() == []
    report = next(rounds)
    assert report.error == ""
    assert report.frames == {"found": 4, "stored": 4, "in_problems": 0}
    np.testing.assert_array_equal(
        sansfilm.open(tmp_path / "a")[made.series_uid].array[:], made.values
    )


def test_a_zone_that_is_gone_for_a_while_is_told_and_nothing_of_it_is_read(tmp_path, clock):
    zone, away = tmp_path / "zone", tmp_path / "away"
    synth.series(zone, slices=3)
    clock += [lambda: zone.rename(away), nothing, lambda: away.rename(zone)]
    rounds = sansfilm.watch(zone, tmp_path / "a", options=SMALL)
    for _ in range(2):
        report = next(rounds)
        assert "source does not exist" in report.error
        assert report.files["seen"] == 0
    assert next(rounds).frames["stored"] == 3


def test_an_empty_zone_says_nothing(tmp_path, clock):
    (tmp_path / "zone").mkdir()
    clock += [nothing] * 20 + [lambda: synth.series(tmp_path / "zone", slices=2)]
    report = next(sansfilm.watch(tmp_path / "zone", tmp_path / "a", options=SMALL))
    assert clock == []
    assert report.frames["stored"] == 2
    assert report.problems == []


def test_wrong_calls_end_it_at_once(tmp_path):
    (tmp_path / "zone").mkdir()
    (tmp_path / "thesis.txt").write_text("chapter 1")
    for wrong in ({"every_s": 0}, {"quiet_s": -1}, {"every_s": float("nan")}):
        with pytest.raises(OptionError, match="positive"):
            next(sansfilm.watch(tmp_path / "zone", tmp_path / "a", **wrong))
    with pytest.raises(SourceNotFoundError):
        next(sansfilm.watch(tmp_path / "nowhere", tmp_path / "a"))
    with pytest.raises(OptionError, match="not empty"):
        next(sansfilm.watch(tmp_path / "zone", tmp_path))


# ------------------------------------------------------------------------------------ the command


@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_prints_a_line_a_round_and_ctrl_c_ends_it(tmp_path, as_json):
    made = synth.series(tmp_path / "zone", slices=4)
    command = [sys.executable, "-m", "sansfilm", "ingest", "--watch", "--every", "0.2",
               *["--json"] * as_json, str(tmp_path / "zone"), str(tmp_path / "a")]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, env=env)  # fmt: skip
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        (tmp_path / "zone" / "notes.txt").write_text("no DICOM")
        second = process.stdout.readline()
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert errors.endswith("\nsansfilm: interrupted; the same command goes on from here\n")
    assert errors.count("\n") == 2
    assert rest == ""
    if as_json:
        reports = [json.loads(line) for line in (first, second)]
        assert reports[0]["volumes"][0]["series_uid"] == made.series_uid
        assert [each["code"] for each in reports[1]["problems"]] == ["NOT_DICOM"]
        assert [each["error"] for each in reports] == ["", ""]
    else:
        assert "4 files: 1 new volumes, 0 were there; 4 frames found = 4 stored + 0" in first
        assert "1 files: 0 new volumes" in second
        assert "(1 NOT_DICOM)" in second


@pytest.mark.parametrize(
    "arguments", [["--every", "5"], ["--watch", "--dry-run"], ["--watch", "--every", "0"]]
)
def test_wrong_options_are_wrong_calls(tmp_path, arguments):
    from sansfilm.cli.main import main

    (tmp_path / "zone").mkdir()
    assert main(["ingest", *arguments, str(tmp_path / "zone"), str(tmp_path / "a")]) == 2
