"""Faults of the machine around an ingest: little memory, clocks that jump. More are in tests/chaos.

docs/reliability.md has the list of all faults, each with its test.
"""

import random
import time

import pytest
import synth

import sansfilm
from sansfilm.run import dask as dask_module


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
