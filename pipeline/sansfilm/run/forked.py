"""Processes forked from this one: as many as cores, and no scheduler between."""

import contextlib
import pickle
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, Self, cast

from sansfilm.errors import SansfilmError
from sansfilm.forks import Fork
from sansfilm.model import Map
from sansfilm.run.contract import OnGpu, Outcome, attempt

_SHORT = 2**15
"""Bytes of a task that fit into any pipe, so that sending them waits for nobody who reads."""


class WorkerLostError(Exception):
    """The process of a task has ended, also when it had no other task."""


class ForkedRunner:
    """One task at a time in each of `workers` processes, which are there while tasks run.

    Threads wait for the interpreter's lock where much of the work is Python's; these do not. They
    need no start: a fork has all modules and data already.
    """

    dashboard = ""
    map: Map = staticmethod(map)
    gpus = 0

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def run(
        self, function: Callable[[Any], Any], tasks: Iterable[Any], on_gpu: OnGpu | None = None
    ) -> Iterator[Outcome]:
        """See Runner.run. The tasks of a process that dies are done once more at the end, alone."""
        lost = list[Any]()
        for outcome in _outcomes(function, iter(tasks), self._workers):
            if isinstance(outcome.error, WorkerLostError):
                lost.append(outcome.task)
            else:
                yield outcome
        for task in lost:
            yield from _outcomes(function, iter([task]), 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


def _outcomes(
    function: Callable[[Any], Any], tasks: Iterator[Any], workers: int
) -> Iterator[Outcome]:
    """Yield the outcome of each task; WorkerLostError for those that a process had when it died."""
    team = dict[Connection, _Worker]()
    ready = deque[tuple[Any, bytes]]()

    def feed(worker: _Worker) -> None:
        while len(worker.tasks) < 2:
            if not ready:
                task = next(tasks, ready)
                if task is ready:
                    return
                ready.append((task, pickle.dumps(task, pickle.HIGHEST_PROTOCOL)))
            if worker.tasks and len(ready[0][1]) > _SHORT:
                return
            worker.give(*ready.popleft())

    def hire() -> None:
        try:
            worker = _Worker(function, team)
        except OSError as exc:
            if not team:
                raise SansfilmError("no process can be started", str(exc)) from exc
        else:
            team[worker.link] = worker
            feed(worker)

    try:
        for _ in range(workers):
            hire()
        while busy := [link for link, worker in team.items() if worker.tasks]:
            for link in cast("list[Connection]", wait(busy)):
                worker = team[link]
                outcomes = worker.take()
                if worker.code is None:
                    feed(worker)
                    if not worker.tasks:  # its memory is free while the last volume is finished
                        del team[link]
                        worker.end()
                else:
                    del team[link]
                    hire()
                yield from outcomes
    finally:
        for worker in team.values():
            worker.end()


class _Worker:
    """One process: it has a task in hand, and maybe the next one in its pipe."""

    def __init__(self, function: Callable[[Any], Any], team: Iterable[Connection]) -> None:
        self.tasks = deque[Any]()
        self.code: int | None = None
        self.link, theirs = Pipe()

        def work() -> None:
            for link in (self.link, *team):  # else none of them would see the parent's end
                link.close()
            _work(theirs, function)

        with theirs:
            self._process = Fork(work)

    def give(self, task: Any, data: bytes) -> None:
        """Send a task."""
        self.tasks.append(task)
        with contextlib.suppress(OSError):  # what became of the process is found when it is read
            self.link.send_bytes(data)

    def take(self) -> list[Outcome]:
        """Wait for what came of the task in hand; if the process died, of all that it has.

        Raises
        ------
        SansfilmError
            What the task raised on purpose.
        """
        try:
            result, error = self.link.recv()
        except (EOFError, OSError):
            self.end()
            lost = WorkerLostError(f"the process ended with code {self.code}")
            return [Outcome(task, error=lost) for task in self.tasks]
        if isinstance(error, SansfilmError):
            raise error
        if isinstance(error, str):
            error = type(error, (Exception,), {})(error)
        return [Outcome(self.tasks.popleft(), result, error)]

    def end(self) -> None:
        """End the process, whatever it does."""
        self.link.close()
        self._process.kill()
        self.code = self._process.wait()


def _work(link: Connection, function: Callable[[Any], Any]) -> None:
    """Do tasks until there is nobody who asks."""
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            task = pickle.loads(link.recv_bytes())
            try:
                outcome = attempt(function, task)
                told = outcome.result, _portable(outcome.error)
            except SansfilmError as exc:
                told = None, exc
            link.send(told)


def _portable(error: Exception | None) -> Exception | str | None:
    """Return an error that comes home as it is; the name of its class for any other."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever somebody else's class does there
        return type(error).__name__
    return error
