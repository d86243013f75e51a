"""Runners inside this process: one task after the other, or a few at once on threads."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import islice
from typing import Any, Self

from sansfilm.model import Map
from sansfilm.run.contract import OnGpu, Outcome, attempt, choose


class SerialRunner:
    """One task after the other in the calling thread."""

    dashboard = ""
    map: Map = staticmethod(map)

    gpus = None

    def run(
        self, function: Callable[[Any], Any], tasks: Iterable[Any], on_gpu: OnGpu | None = None
    ) -> Iterator[Outcome]:
        """See Runner.run."""
        for task in tasks:
            yield attempt(partial(choose, function, on_gpu), task)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


class ThreadsRunner:
    """Two tasks at once, whose pieces share one pool of `workers` threads.

    The codecs, the compressor and the digests release the GIL. While one slab is in a step that
    cannot be split, the other keeps the cores busy; so never more than two slabs are in memory.
    """

    dashboard = ""
    gpus = None
    at_once = 2

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self.map: Map = self._map
        self._open()

    def _open(self) -> None:
        self._pieces = ThreadPoolExecutor(self._workers, "sansfilm-piece")
        self._tasks = ThreadPoolExecutor(self.at_once, "sansfilm-task")

    def _close(self) -> None:
        self._tasks.shutdown(cancel_futures=True)
        self._pieces.shutdown(cancel_futures=True)

    def _map(self, function: Callable[..., Any], *pieces: Iterable[Any]) -> Iterator[Any]:
        return self._pieces.map(function, *pieces)

    def run(
        self, function: Callable[[Any], Any], tasks: Iterable[Any], on_gpu: OnGpu | None = None
    ) -> Iterator[Outcome]:
        """See Runner.run. Its threads end with it: a process without any can be forked."""
        source, function = iter(tasks), partial(choose, function, on_gpu)
        waiting: set[Future[Outcome]] = set()
        try:
            while True:
                for task in islice(source, self.at_once + 1 - len(waiting)):
                    waiting.add(self._tasks.submit(attempt, function, task))
                if not waiting:
                    return
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            self._close()
            self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._close()
