"""Faults of the machine around an ingest: little memory, clocks that jump. More are in tests/chaos.

docs/reliability.md has the list of all faults, each with its test.
"""

import random
import time

import pytest
import synth

import sansfilm
from sansfilm import convert
from sansfilm.run import dask as dask_module
from sansfilm.run.contract import Outcome, attempt
from sansfilm.run.local import SerialRunner


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return synth.series(tmp_path_factory.mktemp("in"), slices=70, rows=256, columns=256,
                        transfer_syntax=synth.J2K)  # fmt: skip


@pytest.fixture(scope="module")
def quiet(made, tmp_path_factory):
    url = tmp_path_factory.mktemp("quiet") / "a"
    sansfilm.ingest(made.folder, url)
    return url


def test_clocks_and_time_zones_shape_nothing(made, quiet, tmp_path, tree, monkeypatch):
    """A clock that jumps for years, either way, and a worker that lives in another zone."""
    real, chance = time.time, random.Random(1)
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    monkeypatch.setattr(time, "time", lambda: real() + chance.uniform(-1e9, 1e9))
    sansfilm.ingest(made.folder, tmp_path / "a", workers=1)
    monkeypatch.undo()
    time.tzset()
    assert tree(tmp_path / "a") == tree(quiet)


def test_workers_of_half_a_gigabyte_are_enough(made, quiet, tmp_path, tree, monkeypatch):
    monkeypatch.setattr(dask_module, "MEMORY_LIMIT", 2 * 512 * 2**20)
    report = sansfilm.ingest(made.folder, tmp_path / "a", workers=2)
    assert report.problems == []
    assert tree(tmp_path / "a") == tree(quiet)


def test_a_file_that_kills_who_reads_its_header_costs_itself_only(made, tmp_path, monkeypatch):
    """Its neighbours in the batch are read again, or volumes would be published without them."""

    class Deadly(SerialRunner):
        def run(self, function, tasks, on_gpu=None):
            for task in tasks:
                dies = isinstance(task, tuple) and any(file.uri == bad for file in task)
                lost = Outcome(task, error=RuntimeError("its worker died"))
                yield lost if dies else attempt(function, task)

    bad = str(made.paths[33])
    monkeypatch.setattr(convert, "choose_runner", lambda *_, **__: Deadly())
    report = sansfilm.ingest(made.folder, tmp_path / "a")
    (problem,) = report.problems
    assert (problem.uri, problem.code, problem.stage) == (bad, "WORKER_LOST", "headers")
    (row,) = report.volumes
    assert report.frames["stored"] == 69
    assert row["verdict"] == "gapped"
