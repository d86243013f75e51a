"""Which runner a job gets, and what cannot be asked for."""

import os

import pytest

from sansfilm.errors import OptionError, TargetError
from sansfilm.intake import ingest
from sansfilm.run import choose
from sansfilm.run import dask as dask_module
from sansfilm.run.choose import FEW_CORES, FEW_SLABS, choose_runner, cores
from sansfilm.run.local import SerialRunner, ThreadsRunner


@pytest.fixture(autouse=True)
def made(monkeypatch):
    """Note which Dask runner would be made, without making it."""

    class Fake:
        def __init__(self, *how):
            self.how = how

        @classmethod
        def local(cls, workers, tls, *, gpu=False):
            return cls("local", workers, *([tls] if tls else []), *["gpu"] * gpu)

        @classmethod
        def connect(cls, address, tls):
            return cls("connect", address, *([tls] if tls else []))

    monkeypatch.setattr(dask_module, "DaskRunner", Fake)


def test_a_small_job_runs_on_the_threads_of_this_process():
    for slabs in (0, 1, FEW_SLABS):
        with choose_runner(slabs) as runner:
            assert isinstance(runner, ThreadsRunner)
            assert runner._pieces._max_workers == cores()


@pytest.fixture
def eight_cores(monkeypatch):
    monkeypatch.setattr(choose, "cores", lambda: 8)


@pytest.mark.parametrize("count", [1, 2, FEW_CORES])
def test_on_few_cores_any_job_gets_threads(monkeypatch, count):
    monkeypatch.setattr(choose, "cores", lambda: count)
    with choose_runner(100 * FEW_SLABS, workers="auto") as runner:
        assert isinstance(runner, ThreadsRunner)


@pytest.mark.usefixtures("eight_cores")
def test_a_large_job_gets_a_process_per_core_if_the_size_decides():
    assert choose_runner(FEW_SLABS + 1, workers="auto").how == ("local", 8)
    for large in (choose_runner(FEW_SLABS, workers="auto"), choose_runner(FEW_SLABS + 1)):
        with large as runner:  # a script without a main guard must not start processes
            assert isinstance(runner, ThreadsRunner)


@pytest.mark.parametrize("slabs", [0, FEW_SLABS, FEW_SLABS + 1])
def test_what_the_caller_names_decides(slabs):
    client = object()
    assert isinstance(choose_runner(slabs, workers=1), SerialRunner)
    assert choose_runner(slabs, workers=3).how == ("local", 3)
    assert choose_runner(slabs, scheduler="tcp://x:1").how == ("connect", "tcp://x:1")
    assert choose_runner(slabs, client=client).how == (client,)
    assert choose_runner(slabs, workers=3, gpu=True).how == ("local", 3, "gpu")
    assert isinstance(choose_runner(slabs, gpu=True), ThreadsRunner)


@pytest.mark.parametrize(
    "named",
    [
        {"client": object(), "workers": 1},
        {"client": object(), "scheduler": "tcp://x:1"},
        {"workers": 2, "scheduler": "tcp://x:1"},
        {"client": object(), "workers": 2, "scheduler": "tcp://x:1"},
    ],
)
def test_only_one_can_be_named(named, tmp_path):
    with pytest.raises(OptionError, match="only one of client, workers and scheduler"):
        choose_runner(1, **named)
    with pytest.raises(OptionError):
        ingest(tmp_path, tmp_path / "a", **named)
    assert not (tmp_path / "a").exists()


@pytest.mark.usefixtures("eight_cores")
def test_certificates_go_to_who_speaks_tls():
    assert choose_runner(1, workers=2, tls="pki").how == ("local", 2, "pki")
    assert choose_runner(1, scheduler="tls://x:1", tls="pki").how == ("connect", "tls://x:1", "pki")
    assert choose_runner(FEW_SLABS + 1, workers="auto", tls="pki").how == ("local", 8, "pki")
    for named in ({}, {"workers": 1}, {"client": object()}):
        with pytest.raises(OptionError, match="certificates are for a cluster"):
            choose_runner(1, tls="pki", **named)


@pytest.mark.parametrize("workers", [0, -1])
def test_there_is_at_least_one_worker(workers):
    with pytest.raises(OptionError, match=f"at least 1, got {workers}"):
        choose_runner(1, workers=workers)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_cores_are_those_this_process_may_use():
    allowed = os.sched_getaffinity(0)
    assert cores() == len(allowed)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:9", "tls://127.0.0.1:9", "nonsense://x", "tcp://", "x"]
)
def test_a_scheduler_that_is_not_there_is_told(monkeypatch, address):
    monkeypatch.undo()
    monkeypatch.setattr(dask_module, "CONNECT_S", 0.5)
    with pytest.raises(TargetError, match=f"no Dask scheduler answers at {address}"):
        choose_runner(1, scheduler=address)
