"""A volume that was left half done goes on with its next slab, and ends in the same bytes.

The oracle is the archive of a run that nothing happened to. tests/store/test_checkpoint.py has what
a checkpoint is; tests/test_resume.py what is repeated without one.
"""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import time
from datetime import timedelta

import pytest
import slides
import synth
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slow_slabs import THIN, lines, start

import sansfilm
from sansfilm import convert
from sansfilm.cli.main import main
from sansfilm.events import Events
from sansfilm.store import checkpoint
from sansfilm.store.checkpoint import CHECKPOINT
from sansfilm.store.target import LocalTarget

SLABS = 6


class KilledError(BaseException):
    """Not an Exception: nothing may catch it."""


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Write a checkpoint after each slab, or small volumes would have none."""
    for name in ("FIRST_S", "EVERY_S", "SHARE"):
        monkeypatch.setattr(checkpoint, name, 0)
    monkeypatch.setattr(os, "fsync", lambda file: None)  # tests/store/test_target.py has it


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return synth.series(tmp_path_factory.mktemp("in"), slices=2 * SLABS).folder


@pytest.fixture(scope="module")
def quiet(sources, tmp_path_factory):
    url = tmp_path_factory.mktemp("quiet") / "a"
    sansfilm.ingest(sources, url, options=THIN)
    return url


@contextlib.contextmanager
def stopped_after(slabs):
    """Let a run in this process end without warning when it has made so many slabs.

    Gives a list that fills with (volume, slab) of what was made.
    """
    made, write = [], convert.write_slab

    def counted(target, run, plan):
        if len(made) == slabs:
            raise KilledError
        result = write(target, run, plan)
        made.append((plan.volume, plan.index))
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convert, "write_slab", counted)
        with contextlib.suppress(KilledError):
            yield made


def checkpoints(url):
    return sorted(url.rglob(CHECKPOINT))


def test_only_what_is_missing_is_made(sources, quiet, tmp_path, tree):
    url, all_made = tmp_path / "a", []
    for _ in range(SLABS):
        with stopped_after(1) as made:
            sansfilm.ingest(sources, url, options=THIN, workers=1)
        all_made += made
    with stopped_after(-1) as made:
        report = sansfilm.ingest(sources, url, options=THIN, workers=1)
    assert [index for _, index in all_made] == list(range(SLABS))
    assert made == []
    assert report.slabs_before == SLABS - 1 or report.unchanged
    assert tree(url) == tree(quiet)


def test_a_stop_before_any_write_or_delete(tmp_path, tree, monkeypatch):
    """In turn before each; then the same command. What was made and noted is not made again."""
    sources, url, stops, ended = (
        synth.series(tmp_path / "in", slices=6).folder,
        tmp_path / "a",
        0,
        0,
    )
    sansfilm.ingest(sources, tmp_path / "quiet", options=THIN, workers=1)
    expected = tree(tmp_path / "quiet")
    real = {name: getattr(LocalTarget, name) for name in ("put", "create", "delete")}
    while not ended:
        left, noted = [stops], [0]

        def step(name, left=left, noted=noted):
            def wrapper(self, key, *data):
                if left[0] == 0:
                    raise KilledError
                left[0] -= 1
                done = real[name](self, key, *data)
                noted[0] += key.endswith(CHECKPOINT) and name == "put"
                return done

            return wrapper

        shutil.rmtree(url, ignore_errors=True)
        for name in real:
            monkeypatch.setattr(LocalTarget, name, step(name))
        try:
            sansfilm.ingest(sources, url, options=THIN, workers=1)
            ended += 1
        except KilledError:
            stops += 1
        for name, method in real.items():
            monkeypatch.setattr(LocalTarget, name, method)
        committed = any(url.rglob("_commit.json"))
        with stopped_after(-1) as made:
            sansfilm.ingest(sources, url, options=THIN, workers=1)
        assert len(made) == (0 if committed else 3 - noted[0])
        for stray in checkpoints(url):  # the stop was between the record and it
            assert committed
            assert [(stray.relative_to(url).as_posix(), stray.stat().st_size)] == list(
                sansfilm.gc(url, older_than=timedelta(0))
            )
        assert tree(url) == expected
    assert stops == len(expected) + 1 + 3  # the mark twice; two checkpoints, and one delete


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(plan=st.lists(st.integers(0, SLABS), max_size=4), seed=st.integers(0, 99))
def test_any_stops_with_anything_lost_between_them(
    sources, quiet, tmp_path_factory, tree, plan, seed
):  # fmt: skip
    """Between two runs an object is lost or cut, or the checkpoint is damaged."""
    url, chance = tmp_path_factory.mktemp("any") / "a", random.Random(seed)
    for slabs in plan:
        with stopped_after(slabs):
            sansfilm.ingest(sources, url, options=THIN, workers=1)
        if any(url.rglob("_commit.json")):
            break
        found = sorted(path for path in url.rglob("series/**/*") if path.is_file())
        if found:
            path, how = chance.choice(found), chance.choice(["nothing", "lost", "cut", "flip"])
            data = path.read_bytes()
            if how == "lost":
                path.unlink()
            elif how == "cut":
                path.write_bytes(data[:-1])
            elif how == "flip" and path.name == CHECKPOINT:
                place = chance.randrange(len(data))
                path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    sansfilm.ingest(sources, url, options=THIN, workers=1)
    assert tree(url) == tree(quiet)


@pytest.mark.parametrize("seed", range(2))
def test_volumes_of_all_kinds_go_on(tmp_path_factory, data, tree, seed):
    """Colour, cine, label maps, slides with levels of their own, further dimensions, padding."""
    folder, chance = tmp_path_factory.mktemp("kinds"), random.Random(seed)
    slides.slide(folder / "slide", seed=1)
    named, made_in_all, ended = [data, folder / "slide"], [], False
    with stopped_after(-1) as needed:
        report = sansfilm.ingest(named, folder / "quiet", options=THIN, workers=1)
    while not ended:
        with stopped_after(chance.randrange(1, 40)) as made:
            again = sansfilm.ingest(named, folder / "a", options=THIN, workers=1)
            ended = True
        made_in_all += made
    assert tree(folder / "a") == tree(folder / "quiet")
    assert again.problems == report.problems
    assert len(needed) > 150
    assert sorted(made_in_all) == sorted(needed)


def test_the_account_of_a_run_that_goes_on(sources, quiet, tmp_path, capsys):
    url, told = tmp_path / "a", []
    with stopped_after(4):
        sansfilm.ingest(sources, url, options=THIN, workers=1)
    events = Events(lambda event, fields: told.append({"event": event, **fields}))
    report = sansfilm.ingest(sources, url, options=THIN, workers=1, progress=events)
    names = [event["event"] for event in told]
    assert names == [
        "started", "found", "planned", "before", "slab", "slab", "volume", "finished",
    ]  # fmt: skip
    planned, before = told[2:4]
    assert (planned["slabs"], before["slabs"], report.slabs_before) == (2, 4, 4)
    assert [event["slab"] for event in told if event["event"] == "slab"] == [4, 5]
    assert report.frames == {"found": 12, "stored": 12, "in_problems": 0}
    (record,) = url.rglob("_commit.json")
    sizes = {each["key"]: each["size"] for each in json.loads(record.read_text())["objects"]}
    before = [size for key, size in sizes.items() if re.search("/c/[0-3](/|$)", key)]
    assert len(before) * SLABS == 4 * sum("/c/" in key for key in sizes)
    assert report.bytes["written"] == sum(sizes.values()) - sum(before)
    whole = sansfilm.ingest(sources, tmp_path / "whole", options=THIN, workers=1)
    assert (whole.slabs_before, whole.bytes["written"]) == (0, sum(sizes.values()))
    assert report.bytes["decoded"] * 3 == whole.bytes["decoded"]


def test_a_frame_that_fails_costs_its_slab_each_time_not_its_volume(tmp_path):
    """The volume is not stored, and every frame is in the problems, as without a checkpoint."""
    made = synth.series(tmp_path / "in", slices=2 * SLABS, transfer_syntax=synth.J2K,
                        names="ordered")  # fmt: skip
    reports = []
    head, data = made.paths[0].read_bytes().split(b"\xff\x93")
    made.paths[0].write_bytes(head[:-40] + bytes(40) + b"\xff\x93" + data)
    for expected in (SLABS, 1):
        with stopped_after(-1) as slabs:
            reports.append(sansfilm.ingest(made.folder, tmp_path / "a", options=THIN, workers=1))
        assert len(slabs) == expected
    first, second = reports
    assert first.problems == second.problems
    assert len(second.problems) == second.frames["in_problems"] == 2 * SLABS
    assert not list((tmp_path / "a").rglob("_commit.json"))


def test_repair_makes_what_a_stray_checkpoint_calls_stored(sources, quiet, tmp_path, tree):
    url = tmp_path / "a"
    with stopped_after(5):
        sansfilm.ingest(sources, url, options=THIN, workers=1)
    (kept,) = checkpoints(url)
    data = kept.read_bytes()
    sansfilm.ingest(sources, url, options=THIN, workers=1)
    kept.write_bytes(data)
    shard = kept.parent / "0/c/1/0/0"
    shard.write_bytes(shard.read_bytes()[::-1])
    assert main(["verify", str(url), "--repair"]) == 0
    kept.unlink()
    assert tree(url) == tree(quiet)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "made"


def until(condition, process):
    for _ in range(1500):
        if condition() or process.poll() is not None:
            return
        time.sleep(0.01)
    raise AssertionError("it takes too long")


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """Give a volume of 60 slabs and its archive."""
    folder = tmp_path_factory.mktemp("long")
    synth.series(folder / "in", slices=120)
    sansfilm.ingest(folder / "in", folder / "a", options=THIN)
    return folder / "in", folder / "a"


@pytest.mark.parametrize("workers", ["threads", 2])
def test_kills_at_any_moment_repeat_what_was_at_work(long, tmp_path, tree, log, workers):
    sources, quiet = long
    url, chance, kills = tmp_path / "a", random.Random(str(workers)), 0
    while kills < 3:
        before, process = len(lines(log)), start(sources, url, log, workers)
        goal = before + chance.randrange(4, 12)
        until(lambda goal=goal: len(lines(log)) >= goal, process)
        time.sleep(chance.uniform(0, 0.1))
        kill(process)
        assert process.returncode == -signal.SIGKILL
        kills += 1
    out, err = start(sources, url, log, workers).communicate()
    assert int(out) >= 12 - 3, err
    assert tree(url) == tree(quiet)
    # Those at work when the kill came, or on their way home: two, in each worker of Dask one.
    assert len(lines(log)) - 60 <= 3 * kills


@pytest.mark.parametrize("workers", ["threads", 2])
def test_who_is_asked_to_end_loses_nothing(long, tmp_path, tree, log, workers):
    """However short the run was: a checkpoint is written at its end."""
    sources, quiet = long
    url = tmp_path / "a"
    process = start(sources, url, log, workers, every=1e6)
    until(lambda: len(lines(log)) >= 7, process)
    os.kill(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert "finishing what is at work" in err
    made = len(lines(log))
    assert 7 <= made < 60
    assert len(checkpoints(url)) == 1
    out, _ = start(sources, url, log, workers, every=1e6, seconds=0).communicate(timeout=60)
    assert int(out) == made
    assert len(lines(log)) == 60
    assert tree(url) == tree(quiet)


def test_two_ingests_of_one_volume_at_once(long, tmp_path, tree, log):
    """They overwrite each other's checkpoints, one is killed and comes back; one commits."""
    sources, quiet = long
    url = tmp_path / "a"
    one, other = (start(sources, url, log, how, seconds=0.05) for how in (1, "threads"))
    until(lambda: len(lines(log)) >= 30, one)
    kill(other)
    other = start(sources, url, log, "threads", seconds=0.05)
    for process in (one, other):
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert tree(url) == tree(quiet)
    assert [found for _, found in sansfilm.verify(url)] == [[], []]
