"""One contract for everything that executes tasks."""

import fcntl
import gc
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest
from distributed import Client, LocalCluster

from sansfilm.errors import TargetError
from sansfilm.run.contract import Outcome, attempt
from sansfilm.run.dask import DaskRunner
from sansfilm.run.forked import ForkedRunner, WorkerLostError
from sansfilm.run.local import SerialRunner, ThreadsRunner


class Started:
    """Numbers of the tasks that have begun, in this process or in another."""

    def __init__(self):
        self.fd, name = tempfile.mkstemp()
        Path(name).unlink()
        fcntl.fcntl(self.fd, fcntl.F_SETFL, os.O_APPEND)

    def append(self, number):
        os.write(self.fd, number.to_bytes(4))

    def numbers(self):
        data = os.pread(self.fd, 2**20, 0)
        return [int.from_bytes(data[at : at + 4]) for at in range(0, len(data), 4)]


STARTED = Started()


@pytest.fixture(autouse=True)
def nothing_has_started():
    os.ftruncate(STARTED.fd, 0)


@pytest.fixture(scope="module")
def cluster():
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(params=["serial", "threads", "forked", "dask"])
def runner(request):
    if request.param == "dask":
        return DaskRunner(request.getfixturevalue("cluster"))
    if request.param == "forked":
        return ForkedRunner(2)
    return SerialRunner() if request.param == "serial" else ThreadsRunner(2)


def square(number):
    STARTED.append(number)
    return number * number


def slow_square(number):
    time.sleep(0.01)
    return square(number)


def fails_at_3(number):
    if number == 3:
        raise ZeroDivisionError("three")
    return square(number)


def full_at_3(number):
    if number == 3:
        raise TargetError("cannot write x", "the disk is full")
    return slow_square(number)


class OddError(Exception):
    """Wants two arguments and keeps one: plain pickle cannot bring it home."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def odd_at_3(number):
    if number == 3:
        raise OddError(1, 2)
    return square(number)


class Pulled:
    """Endless tasks that remember how many were asked for."""

    def __init__(self):
        self.count = 0

    def __iter__(self):
        return self

    def __next__(self):
        self.count += 1
        return self.count - 1


def test_every_task_has_one_outcome(runner):
    with runner:
        outcomes = list(runner.run(square, range(50)))
    assert sorted(outcome.task for outcome in outcomes) == list(range(50))
    assert all(outcome.result == outcome.task**2 and outcome.error is None for outcome in outcomes)
    assert sorted(STARTED.numbers()) == list(range(50))


def test_no_tasks_have_no_outcomes(runner):
    with runner:
        assert list(runner.run(square, [])) == []
        assert list(runner.run(square, iter(()))) == []


def test_a_runner_runs_more_than_once(runner):
    with runner:
        for _ in range(3):
            assert sum(outcome.result for outcome in runner.run(square, range(5))) == 30


@pytest.mark.parametrize(
    ("function", "kind"), [(fails_at_3, ZeroDivisionError), (odd_at_3, OddError)]
)
def test_an_unexpected_error_costs_its_own_task_only(runner, function, kind):
    with runner:
        outcomes = {outcome.task: outcome for outcome in runner.run(function, range(8))}
    assert sorted(outcomes) == list(range(8))
    bad = outcomes.pop(3)
    assert type(bad.error).__name__ == kind.__name__
    assert bad.result is None
    assert all(outcome.error is None for outcome in outcomes.values())


def test_a_full_disk_ends_the_run(runner):
    tasks = Pulled()
    with runner, pytest.raises(TargetError, match="cannot write x: the disk is full") as caught:
        list(itertools.islice(runner.run(full_at_3, tasks), 100))
    assert caught.value.args == ("cannot write x", "the disk is full")
    assert tasks.count < 25
    assert_quiet()


def test_few_tasks_are_in_flight_however_many_there_are(runner):
    tasks = Pulled()
    with runner:
        outcomes = runner.run(slow_square, tasks)
        for taken in range(1, 20):
            next(outcomes)
            assert tasks.count - taken <= 12
        outcomes.close()
    assert_quiet()


def test_tasks_are_asked_for_only_when_a_result_is(runner):
    tasks = Pulled()
    with runner:
        outcomes = runner.run(square, tasks)
        time.sleep(0.02)
        assert tasks.count == 0
        next(outcomes)
        outcomes.close()


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ZeroDivisionError])
def test_nothing_is_left_running_after_the_consumer_fails(runner, kind):
    def consume():
        with runner:
            for _ in runner.run(slow_square, itertools.count()):
                raise kind

    with pytest.raises(kind):
        consume()
    gc.collect()
    assert_quiet()


def test_an_error_of_who_makes_the_tasks_reaches_the_caller(runner):
    def tasks():
        yield from range(6)
        raise LookupError("no more")

    with runner, pytest.raises(LookupError, match="no more"):
        list(runner.run(slow_square, tasks()))
    assert_quiet()


def test_pieces_come_back_in_order(runner):
    with runner:
        assert list(runner.map(abs, [-3, 2, -1])) == [3, 2, 1]
        with pytest.raises(ZeroDivisionError):
            list(runner.map(lambda n: 1 / n, [1, 0]))


def assert_quiet():
    """Make sure that no task begins any more."""
    time.sleep(0.05)
    before = len(STARTED.numbers())
    time.sleep(0.05)
    assert len(STARTED.numbers()) == before


# -------------------------------------------------------------------------------------- threads


def test_threads_end_with_the_runner():
    before = set(threading.enumerate())
    with ThreadsRunner(3) as runner:
        list(runner.run(lambda n: list(runner.map(abs, [n])), range(9)))
    assert set(threading.enumerate()) <= before


def test_at_most_two_slabs_are_in_memory_however_many_threads_there_are():
    lock, now, most = threading.Lock(), [0], [0]

    def task(_):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.005)
        with lock:
            now[0] -= 1

    with ThreadsRunner(8) as runner:
        list(runner.run(task, range(20)))
    assert most[0] == 2


def test_pieces_of_two_tasks_share_the_threads_without_a_deadlock():
    with ThreadsRunner(1) as runner:
        done = list(runner.run(lambda n: sum(runner.map(abs, range(n))), range(20)))
    assert {outcome.task: outcome.result for outcome in done} == {
        n: sum(range(n)) for n in range(20)
    }


def test_serial_is_one_after_the_other_in_order():
    with SerialRunner() as runner:
        outcomes = runner.run(square, range(4))
        assert next(outcomes).task == 0
        assert STARTED.numbers() == [0]
        assert [outcome.task for outcome in outcomes] == [1, 2, 3]


# ---------------------------------------------------------------------------------------- forks


def killed_at(places, number, once=None):
    """End the process of some tasks; if there is a file `once`, only the first time."""
    if number in places and not (once and once.exists()):
        if once:
            once.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return square(number)


def test_a_task_whose_process_dies_is_done_once_more(tmp_path):
    once = tmp_path / "once"
    outcomes = list(ForkedRunner(2).run(lambda n: killed_at({3}, n, once), range(9)))
    assert sorted(outcome.result for outcome in outcomes) == [n * n for n in range(9)]


def test_a_task_that_kills_costs_itself_only():
    outcomes = list(ForkedRunner(3).run(lambda n: killed_at({0, 5, 8}, n), range(9)))
    results = {outcome.task: outcome for outcome in outcomes}
    assert len(outcomes) == len(results) == 9
    for number, outcome in results.items():
        if number in {0, 5, 8}:
            assert isinstance(outcome.error, WorkerLostError)
            assert "code -9" in str(outcome.error)
        else:
            assert outcome.result == number**2


def test_tasks_and_results_may_be_large():
    """Larger than what pipes hold, both ways at once."""
    tasks = [bytes([n]) * 2**20 for n in range(12)]
    outcomes = ForkedRunner(2).run(lambda task: task * 2, tasks)
    assert sorted(outcome.result[:1] for outcome in outcomes) == [bytes([n]) for n in range(12)]


def test_work_is_done_side_by_side():
    def work(_):
        time.sleep(0.02)
        return os.getpid()

    pids = {outcome.result for outcome in ForkedRunner(2).run(work, range(8))}
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_no_process_is_left_when_the_last_task_comes_home():
    pids = set()
    for count, outcome in enumerate(ForkedRunner(2).run(lambda _: os.getpid(), range(8)), 1):
        pids.add(outcome.result)
        if count == 8:
            for pid in pids:
                with pytest.raises(ProcessLookupError):
                    os.kill(pid, 0)
    assert count == 8


def test_forks_end_with_their_parent(tmp_path):
    script = """
import os, signal, time
from sansfilm.run.forked import ForkedRunner

def work(number):
    open(str(os.getpid()), "w").close()
    if number == 3:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(0.2)
    return number

list(ForkedRunner(2).run(work, range(9)))
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False,
                   env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
    pids = [int(path.name) for path in tmp_path.iterdir()]
    assert pids
    deadline = time.monotonic() + 5
    for pid in pids:
        while is_running(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not is_running(pid)


def is_running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_ctrl_c_is_for_the_parent():
    def interrupted(number):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        return number

    assert len([one for one in ForkedRunner(2).run(interrupted, range(4)) if not one.error]) == 4


# ------------------------------------------------------------------------------------- attempts


def test_an_attempt_keeps_errors_but_not_those_that_end_the_run():
    assert attempt(square, 3) == Outcome(3, 9)
    outcome = attempt(fails_at_3, 3)
    assert (outcome.task, outcome.result, str(outcome.error)) == (3, None, "three")
    with pytest.raises(TargetError):
        attempt(full_at_3, 3)

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt(stop, 0)
