"""What only a cluster can do: lose a worker, lose its scheduler, grow, and be somebody else's."""

import gc
import itertools
import os
import threading
import time
import warnings

import psutil
import pytest
from distributed import Client, Future, LocalCluster
from distributed.client import _get_global_client
from distributed.scheduler import KilledWorker

from sansfilm.errors import DeviceError, OptionError, SansfilmError, TargetError
from sansfilm.run import dask as dask_module
from sansfilm.run.contract import OnGpu
from sansfilm.run.dask import DaskRunner


def in_process(workers=1):
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=False,
        dashboard_address="127.0.0.1:0",
    )


def settled(condition, seconds=5):
    """Wait until something holds; tell whether it did."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def listening():
    """Return the addresses on which this process and its children can be reached."""
    root = psutil.Process()
    return {
        connection.laddr
        for process in [root, *root.children(recursive=True)]
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }


def test_a_task_that_kills_its_worker_costs_itself_only_and_all_is_closed():
    """As a decoder's crash does: the others finish, and no process, client or warning is left."""

    def task(number):
        if number == 3:
            os._exit(1)
        time.sleep(0.01)
        return number, os.getpid()

    deaf = listening()
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    gc.collect()  # what other tests left warns now, not below
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with DaskRunner.local(2) as runner:
            assert runner.dashboard.startswith("http://127.0.0.1:")
            outcomes = {outcome.task: outcome for outcome in runner.run(task, range(12))}
            again = list(runner.run(abs, [-1, -2]))
            heard = listening() - deaf
        gc.collect()
    assert sorted(outcomes) == list(range(12))
    assert isinstance(outcomes.pop(3).error, KilledWorker)
    assert [outcome.result[0] for _, outcome in sorted(outcomes.items())] == sorted(outcomes)
    assert os.getpid() not in {outcome.result[1] for outcome in outcomes.values()}
    assert sorted(outcome.result for outcome in again) == [1, 2]
    assert {address.ip for address in heard} == {"127.0.0.1"}
    assert settled(lambda: _get_global_client() is None)
    left = {child.pid: child for child in psutil.Process().children(recursive=True)}
    trackers = {pid for pid in left if "resource_tracker" in " ".join(left[pid].cmdline())}
    assert left.keys() - trackers <= before
    assert [str(warning.message) for warning in caught] == []


def test_a_client_need_not_be_the_default_one_and_stays_open():
    with (
        in_process() as cluster,
        Client(cluster, set_as_default=False) as client,
        in_process() as other,
        Client(other),
    ):
        with DaskRunner(client) as runner:
            assert sum(outcome.result for outcome in runner.run(abs, range(5))) == 10
        assert client.status == "running"
        assert not other.scheduler.tasks


def test_a_cluster_that_grows_is_used():
    with in_process(0) as cluster, Client(cluster) as client:
        most = 0
        growing = threading.Timer(0.2, cluster.scale, [4])
        growing.start()
        for outcome in DaskRunner(client).run(time.sleep, itertools.repeat(0.03, 180)):
            assert outcome.error is None
            busy = sum(len(worker.processing) for worker in cluster.scheduler.workers.values())
            most = max(most, busy)
        growing.join()
    assert most > 4  # what was in flight for the one worker that was thought of


def test_a_scheduler_that_goes_away_ends_the_run_with_what_to_do():
    cluster = in_process()
    client = Client(cluster)
    outcomes = DaskRunner(client).run(time.sleep, itertools.repeat(0.01))
    next(outcomes)
    cluster.close()
    with pytest.raises(TargetError, match="the Dask scheduler is gone: run the same command again"):
        list(itertools.islice(outcomes, 50))
    client.close()


def test_a_run_that_is_broken_off_takes_its_tasks_back():
    with in_process() as cluster, Client(cluster) as client:
        outcomes = DaskRunner(client).run(time.sleep, itertools.repeat(0.02))
        next(outcomes)
        outcomes.close()
        assert settled(lambda: not cluster.scheduler.tasks)


def test_a_runner_that_is_closed_before_its_run_says_nothing():
    """As after an error in the consumer: the runner leaves first, its generator later."""
    cluster = in_process()
    client = Client(cluster)
    runner = DaskRunner(client, (cluster, client))
    with runner:
        outcomes = runner.run(time.sleep, itertools.repeat(0.01))
        next(outcomes)
    assert client.status == "closed"
    assert cluster.status.name == "closed"
    outcomes.close()


def test_a_result_that_is_lost_with_its_worker_after_the_task_had_ended(monkeypatch):
    """The scheduler says that a task is done; before its result is fetched, its workers die."""
    real = Future.result

    def lost(future):
        if not asked:
            asked.append(future)
            raise KilledWorker("attempt", None, 1)
        return real(future)

    asked = []
    monkeypatch.setattr(Future, "result", lost)
    with in_process() as cluster, Client(cluster) as client:
        outcomes = list(DaskRunner(client).run(abs, [-1, -2, -3]))
    assert sorted(outcome.result for outcome in outcomes) == [1, 2, 3]
    assert len(asked) == 1


def test_workers_of_other_versions_are_refused(monkeypatch):
    told = itertools.chain([("sansfilm 1",)], itertools.repeat(("sansfilm 2",)))
    with in_process() as cluster, Client(cluster) as client:
        monkeypatch.setattr(dask_module, "versions", lambda: next(told))
        with pytest.raises(OptionError, match="a worker has sansfilm 2, this process sansfilm 1"):
            list(DaskRunner(client).run(abs, [-1]))


def test_workers_that_die_while_they_start_are_started_again():
    """Dask gives such a worker up; without any a run would wait forever."""
    with DaskRunner.local(2) as runner:
        outcomes = runner.run(time.sleep, itertools.repeat(0.02))
        next(outcomes)
        cluster = runner._owned[0]
        for _ in range(2):  # what Dask does when a worker dies before it has come back
            for nanny in list(cluster.workers.values()):
                cluster.sync(nanny.close)
            assert settled(lambda: len(cluster.scheduler.workers) == 2, 30)
        assert next(outcomes).error is None
        outcomes.close()


def test_workers_that_never_start_are_told(monkeypatch):
    monkeypatch.setattr(dask_module, "START_S", 0.1)
    with pytest.raises(SansfilmError, match="the worker processes do not start"):
        DaskRunner.local(1)
    assert settled(lambda: _get_global_client() is None)


def test_keys_of_tasks_tell_nothing_of_the_patient():
    def slow(_):
        time.sleep(0.05)

    with in_process() as cluster, Client(cluster) as client:
        outcomes = DaskRunner(client).run(slow, ["ZZPHI"] * 3)
        next(outcomes)
        keys = [str(key) for key in cluster.scheduler.tasks]
        list(outcomes)
    assert keys
    assert all(key.startswith("attempt_alike-") and "ZZPHI" not in key for key in keys)


def slowly_on_a_gpu(_):
    time.sleep(0.05)
    return "gpu"


@pytest.mark.parametrize("always", [False, True])
def test_tasks_for_a_gpu_that_is_gone_are_done_elsewhere(always):
    """Nobody would ever do them: they ask for a resource that no worker has any more."""
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, resources={"GPU": 1},
                     dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        runner = DaskRunner(client)
        runner.patience = 0.3
        assert runner.gpus == 1
        on_gpu = OnGpu(slowly_on_a_gpu, lambda _: True, always)
        outcomes = runner.run(lambda _: "cpu", range(30), on_gpu)
        done = [next(outcomes)]
        assert done[0].result == "gpu"
        ((name, spec),) = cluster.new_worker_spec().items()
        plain = {key: value for key, value in spec["options"].items() if key != "resources"}
        cluster.worker_spec[name] = spec | {"options": plain}
        cluster.scale(2)
        assert settled(lambda: len(client.scheduler_info(n_workers=-1)["workers"]) == 2)
        client.retire_workers(names=[0])
        if always:
            with pytest.raises(DeviceError, match="are gone"):
                list(outcomes)
        else:
            done += outcomes
            assert sorted(outcome.task for outcome in done) == list(range(30))
            assert {outcome.result for outcome in done} == {"gpu", "cpu"}
