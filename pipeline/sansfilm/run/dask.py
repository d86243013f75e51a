"""The one file that drives a Dask cluster: local, or one that is there already."""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Self

import dask
from distributed import Client, Future, LocalCluster, as_completed
from distributed.comm.addressing import get_address_host_port
from distributed.scheduler import KilledWorker

from sansfilm.errors import DeviceError, SansfilmError, TargetError
from sansfilm.model import Map
from sansfilm.run.contract import OnGpu, Outcome, attempt

GPU = {"GPU": 1}
"""The resource of Dask's workers that have a GPU, one process for each: --resources "GPU=1"."""
CONNECT_S = 30
"""Seconds after which a scheduler that does not answer is not there."""


class DaskRunner:
    """Tasks as futures; at most four per worker thread are known to the scheduler at once.

    Parameters
    ----------
    client : distributed.Client
    owned : tuple of objects with ``close``
        What this runner started and closes at its end, last first.
    """

    map: Map = staticmethod(map)
    ahead = 4
    patience = 30.0
    """Seconds in which a worker with a GPU may come back."""

    def __init__(self, client: Client, owned: tuple[Any, ...] = ()) -> None:
        self._client, self._owned = client, owned
        self._threads, self._ask_again = 1, 0.0
        self._with_gpu, self._without = list[str](), list[str]()
        self._gpu_seen = time.monotonic()
        self.dashboard = str(client.dashboard_link or "")

    @classmethod
    def local(cls, workers: int, *, gpu: bool = False) -> Self:
        """Start a cluster of single-threaded, spawned processes on the loopback interface.

        `gpu`: and one more, for the GPU.
        """
        # A task is suspected after two lost workers, not four: see `run`.
        with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
            cluster = LocalCluster(n_workers=workers, threads_per_worker=1, host="127.0.0.1",
                                   dashboard_address="127.0.0.1:0")  # fmt: skip
        if gpu:
            ((name, spec),) = cluster.new_worker_spec().items()
            spec = spec | {"options": spec["options"] | {"resources": GPU}}
            cluster.worker_spec[name] = spec
            cluster.scale(workers + 1)
        client = Client(cluster)
        if gpu:
            client.wait_for_workers(workers + 1)
        return cls(client, (cluster, client))

    @classmethod
    def connect(cls, address: str) -> Self:
        """Use the cluster behind a scheduler's address, ``tcp://`` or ``tls://``.

        Raises
        ------
        TargetError
            If no scheduler answers.
        """
        try:
            get_address_host_port(address)  # a Client of no address is never closed again
            client = Client(address, timeout=CONNECT_S)
        except (OSError, ValueError, TypeError) as exc:  # TypeError: tls:// without a certificate
            raise TargetError(f"no Dask scheduler answers at {address}", str(exc)) from exc
        return cls(client, (client,))

    @property
    def gpus(self) -> int:
        """See Runner.gpus."""
        self._workers()
        return len(self._with_gpu)

    def run(
        self, function: Callable[[Any], Any], tasks: Iterable[Any], on_gpu: OnGpu | None = None
    ) -> Iterator[Outcome]:
        """See Runner.run.

        A GPU is kept busy with the tasks that are for one; the other workers take whatever comes,
        so that each side does as many as it can.

        The scheduler blames a worker's death on every task that was sent to it. What it gives up
        is tried again at the end, alone, so that only the task that kills fails.
        """
        source = iter(tasks)
        doing: dict[Future[Outcome], Any] = {}
        queue = as_completed(loop=self._client.loop)
        suspects: list[Any] = []
        on_device: set[Future[Outcome]] = set()

        def submit(task: Any) -> Future[Outcome]:
            room = on_gpu and (on_gpu.always or len(on_device) < self.ahead * len(self._with_gpu))
            if on_gpu and room and on_gpu.wanted(task):
                future = self._client.submit(
                    attempt, on_gpu.function, task, pure=False, resources=GPU
                )
                on_device.add(future)
            else:
                others = self._without if self._with_gpu and self._without else None
                future = self._client.submit(
                    attempt, function, task, pure=False, workers=others,
                    allow_other_workers=bool(others),
                )  # fmt: skip
            doing[future] = task
            return future

        def refill() -> None:
            for task in islice(source, max(0, self.ahead * self._workers() - len(doing))):
                queue.add(submit(task))

        try:
            refill()
            while queue.count():
                while on_device and not queue.has_ready():
                    for task in self._stranded(on_device, doing, on_gpu):
                        queue.add(submit(task))
                    time.sleep(0.02)
                future = next(queue)
                if future not in doing:  # given up before
                    continue
                task, outcome = doing[future], _outcome(doing, future)
                on_device.discard(future)
                refill()
                if isinstance(outcome.error, KilledWorker):
                    suspects.append(task)
                else:
                    yield outcome
            for task in suspects:
                future = submit(task)
                yield _outcome(doing, future)
        finally:
            if self._client.status == "running":
                self._client.cancel(list(doing), force=True)

    def _stranded(
        self,
        on_device: set[Future[Outcome]],
        doing: dict[Future[Outcome], Any],
        on_gpu: OnGpu | None,
    ) -> list[Any]:
        """Take back the tasks for a GPU when no worker has one any more: nobody would do them.

        Raises
        ------
        DeviceError
            If they are to be done nowhere else.
        """
        self._workers()
        if self._with_gpu:
            self._gpu_seen = time.monotonic()
        if time.monotonic() - self._gpu_seen < self.patience:
            return []
        if on_gpu and on_gpu.always:
            message = 'the workers with a GPU are gone: start them again (--resources "GPU=1")'
            raise DeviceError(message)
        lost = [doing.pop(future) for future in on_device]
        self._client.cancel(list(on_device), force=True)
        on_device.clear()
        return lost

    def _workers(self) -> int:
        """Return the worker threads that there are now; a cluster may grow while it works."""
        if time.monotonic() >= self._ask_again:
            self._threads = sum(self._client.nthreads().values()) or 1
            workers = self._client.scheduler_info(n_workers=-1)["workers"]
            having = [name for name, known in workers.items() if known["resources"].get("GPU")]
            self._with_gpu, self._without = having, [n for n in workers if n not in having]
            self._ask_again = time.monotonic() + 1
        return self._threads

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for part in reversed(self._owned):
            part.close()


def _outcome(doing: dict[Future[Outcome], Any], future: Future[Outcome]) -> Outcome:
    """Wait for a future and return what came of its task.

    Raises
    ------
    SansfilmError
        What the task raised on purpose; TargetError if the scheduler is gone.
    """
    error, task = future.exception(), doing.pop(future)
    if isinstance(error, SansfilmError):
        raise error
    if future.cancelled():
        raise TargetError("the Dask scheduler is gone", "run the same command again")
    # KilledWorker and its like: the task never came home
    return Outcome(task, error=error) if error else future.result()
