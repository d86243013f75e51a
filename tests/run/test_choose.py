"""Which runner a job gets, and what cannot be asked for."""

import os
import sys
import threading

import pytest

from sansfilm import forks
from sansfilm.errors import OptionError, TargetError
from sansfilm.intake import ingest
from sansfilm.machine import cores
from sansfilm.run import choose
from sansfilm.run import dask as dask_module
from sansfilm.run.choose import FEW_CORES, FEW_TASKS, choose_runner
from sansfilm.run.forked import ForkedRunner
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
    for slabs in (0, 1, FEW_TASKS):
        with choose_runner(slabs) as runner:
            assert isinstance(runner, ThreadsRunner)
            assert runner._pieces._max_workers == cores()


@pytest.fixture
def eight_cores(monkeypatch):
    monkeypatch.setattr(choose, "cores", lambda: 8)


@pytest.fixture(params=[True, False])
def may_be_forked(request, monkeypatch):
    monkeypatch.setattr(choose, "may_fork", lambda: request.param)


@pytest.fixture
def cannot_be_forked(monkeypatch):
    monkeypatch.setattr(choose, "may_fork", lambda: False)


@pytest.mark.skipif(sys.platform != "linux", reason="forks are made on Linux only")
def test_a_process_with_other_threads_is_not_forked(monkeypatch):
    main = threading.current_thread()
    idle, busy = threading.Thread(name=forks.HARMLESS), threading.Thread()
    for others, safe in (([], True), ([idle], True), ([busy], False), ([idle, busy], False)):
        monkeypatch.setattr(threading, "enumerate", lambda others=others: [main, *others])
        assert forks.may_fork() is safe
    monkeypatch.setattr(threading, "enumerate", lambda: [main])
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not forks.may_fork()


@pytest.mark.parametrize("count", [2, FEW_CORES, 8])
def test_a_large_job_gets_forks_if_the_size_decides(monkeypatch, count):
    monkeypatch.setattr(choose, "cores", lambda: count)
    monkeypatch.setattr(choose, "may_fork", lambda: True)
    runner = choose_runner(FEW_TASKS + 1, workers="auto")
    assert isinstance(runner, ForkedRunner)
    assert runner._workers == count
    assert not isinstance(choose_runner(FEW_TASKS, workers="auto"), ForkedRunner)


def test_one_core_is_not_forked(monkeypatch):
    monkeypatch.setattr(choose, "cores", lambda: 1)
    assert isinstance(choose_runner(100 * FEW_TASKS, workers="auto"), ThreadsRunner)


@pytest.mark.usefixtures("cannot_be_forked")
@pytest.mark.parametrize("count", [1, 2, FEW_CORES])
def test_on_few_cores_any_job_that_cannot_be_forked_gets_threads(monkeypatch, count):
    monkeypatch.setattr(choose, "cores", lambda: count)
    with choose_runner(100 * FEW_TASKS, workers="auto") as runner:
        assert isinstance(runner, ThreadsRunner)


@pytest.mark.usefixtures("eight_cores", "cannot_be_forked")
def test_a_large_job_that_cannot_be_forked_gets_a_cluster():
    assert choose_runner(FEW_TASKS + 1, workers="auto").how == ("local", 8)
    for large in (choose_runner(FEW_TASKS, workers="auto"), choose_runner(FEW_TASKS + 1)):
        with large as runner:  # a script without a main guard must not start processes
            assert isinstance(runner, ThreadsRunner)


@pytest.mark.parametrize("slabs", [0, FEW_TASKS, FEW_TASKS + 1])
def test_what_the_caller_names_decides(slabs):
    client = object()
    assert isinstance(choose_runner(slabs, workers=1), SerialRunner)
    assert choose_runner(slabs, workers=3).how == ("local", 3)
    assert choose_runner(slabs, scheduler="tcp://x:1").how == ("connect", "tcp://x:1")
    assert choose_runner(slabs, client=client).how == (client,)
    assert choose_runner(slabs, workers=3, gpu=True).how == ("local", 3, "gpu")
    assert isinstance(choose_runner(slabs, gpu=True), ThreadsRunner)


@pytest.mark.usefixtures("eight_cores", "may_be_forked")
def test_a_gpu_of_a_large_job_has_a_worker_of_its_own():
    assert choose_runner(FEW_TASKS + 1, workers="auto", gpu=True).how == ("local", 8, "gpu")


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


@pytest.mark.usefixtures("eight_cores", "may_be_forked")
def test_certificates_go_to_who_speaks_tls():
    assert choose_runner(1, workers=2, tls="pki").how == ("local", 2, "pki")
    assert choose_runner(1, scheduler="tls://x:1", tls="pki").how == ("connect", "tls://x:1", "pki")
    assert choose_runner(FEW_TASKS + 1, workers="auto", tls="pki").how == ("local", 8, "pki")
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
