"""The one file that drives a Dask cluster: local, or one that is there already."""

import signal
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Self

import dask
from distributed import (
    Client,
    Future,
    LocalCluster,
    Security,
    Status,
    Worker,
    WorkerPlugin,
    as_completed,
)
from distributed.client import ClosedClientError
from distributed.comm.addressing import get_address_host_port
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker
from distributed.system import MEMORY_LIMIT
from tornado.ioloop import PeriodicCallback

from sansfilm.errors import DeviceError, OptionError, SansfilmError, TargetError
from sansfilm.model import Map
from sansfilm.run.contract import OnGpu, Outcome, attempt

GPU = {"GPU": 1}
"""The resource of Dask's workers that have a GPU, one process for each: --resources "GPU=1"."""
CONNECT_S = 30
"""Seconds after which a scheduler that does not answer is not there."""
STARTS = 5
"""How often each worker of a cluster of our own may die before one is there."""
START_S = 60
"""Seconds in which one has to be there."""
SHAPING = ("sansfilm", "imagecodecs", "numpy")
"""Packages whose versions shape the bytes of volumes."""
_GONE = "the Dask scheduler is gone", "run the same command again"
LOOK_S = 1
"""Seconds between two looks whether all workers of a cluster of our own are there."""
TLS_FILES = ("ca.pem", "cert.pem", "key.pem")
"""What a folder of certificates holds: of the authority, our own, and the key of our own."""


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
    def local(cls, workers: int, tls: str | Path | None = None, *, gpu: bool = False) -> Self:
        """Start a cluster of single-threaded, spawned processes on the loopback interface.

        `gpu`: and one more, for the GPU.

        Raises
        ------
        OptionError
            If the folder `tls` lacks a file.
        SansfilmError
            If workers do not start.
        """
        security = certificates(tls) if tls else None
        workers += gpu
        # A task is suspected after two lost workers, not four: see `run`.
        with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
            cluster = LocalCluster(n_workers=0, threads_per_worker=1, host="127.0.0.1",
                                   memory_limit=MEMORY_LIMIT // workers, security=security,
                                   dashboard_address="127.0.0.1:0")  # fmt: skip
        if gpu:
            ((name, spec),) = cluster.new_worker_spec().items()
            spec = spec | {"options": spec["options"] | {"resources": GPU}}
            cluster.worker_spec[name] = spec
        client = Client(cluster)
        client.register_plugin(_Deaf())
        keeper = _Keeper(cluster, workers)
        runner = cls(client, (cluster, client, keeper))
        try:
            keeper.wait(workers if gpu else 1)
        except BaseException:
            runner.__exit__()
            raise
        return runner

    @classmethod
    def connect(cls, address: str, tls: str | Path | None = None) -> Self:
        """Use the cluster behind a scheduler's address, ``tcp://`` or ``tls://``.

        Raises
        ------
        OptionError
            If certificates are named for an address without TLS, or the folder lacks a file.
        TargetError
            If no scheduler answers, or its certificate is not one of the authority's.
        """
        if tls and not address.startswith("tls://"):
            raise OptionError(f"certificates are for tls:// addresses, not for {address}")
        security = certificates(tls) if tls else None
        try:
            get_address_host_port(address)  # a Client of no address is never closed again
            client = Client(address, timeout=CONNECT_S, security=security)
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
                    attempt_alike, versions(), on_gpu.function, task, pure=False, resources=GPU
                )
                on_device.add(future)
            else:
                others = self._without if self._with_gpu and self._without else None
                future = self._client.submit(
                    attempt_alike, versions(), function, task, pure=False, workers=others,
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
        except (CommClosedError, ClosedClientError) as exc:
            raise TargetError(*_GONE) from exc
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


def attempt_alike(wanted: tuple[str, ...], function: Callable[[Any], Any], task: Any) -> Outcome:
    """Call a task where the same versions are installed; others may write other bytes.

    Raises
    ------
    OptionError
        If they are not the same.
    """
    if (here := versions()) != wanted:
        message = f"a worker has {', '.join(here)}, this process {', '.join(wanted)}"
        raise OptionError(f"{message}: install the same versions on all nodes")
    return attempt(function, task)


@cache
def versions() -> tuple[str, ...]:
    """Return the versions of what the bytes of volumes depend on."""
    return tuple(f"{name} {version(name)}" for name in SHAPING)


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
        raise TargetError(*_GONE)
    if error is None:
        try:
            return future.result()
        except KilledWorker as exc:  # done, lost with its worker on the way home, done again, ...
            error = exc
    return Outcome(task, error=error)  # KilledWorker and its like: the task never came home


def certificates(folder: str | Path) -> Security:
    """Return the settings of encrypted connections only, between those whom one authority knows.

    Raises
    ------
    OptionError
        If the folder lacks a file.
    """
    paths = [Path(folder) / name for name in TLS_FILES]
    for path in paths:
        if not path.is_file():
            raise OptionError(f"{path} is missing: certificates are {', '.join(TLS_FILES)}")
    authority, cert, key = map(str, paths)
    roles = ("client", "scheduler", "worker")
    ours = {f"tls_{role}_cert": cert for role in roles} | {f"tls_{role}_key": key for role in roles}
    return Security(tls_ca_file=authority, require_encryption=True, **ours)


class _Deaf(WorkerPlugin):
    """A terminal sends Ctrl-C to workers too, but who started them says when they end."""

    name = "sansfilm-deaf"

    def setup(self, worker: Worker) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Keeper:
    """Starts the workers of a cluster, and those anew for which Dask has given up.

    Dask does so for a worker that dies while it starts. Without any the run would wait forever.
    """

    def __init__(self, cluster: LocalCluster, workers: int) -> None:
        assert cluster.loop is not None
        self._cluster, self._workers, self._failures = cluster, workers, 0
        self._look = PeriodicCallback(self._keep, LOOK_S * 1000)
        cluster.loop.add_callback(self._look.start)
        cluster.scale(workers)

    def _keep(self) -> None:
        if self._cluster.status != Status.running:
            return
        for name, nanny in list(self._cluster.workers.items()):
            if nanny.status in (Status.closed, Status.failed):
                self._failures += 1
                del self._cluster.workers[name]
        if len(self._cluster.workers) < self._workers:
            self._cluster.scale(self._workers)

    def wait(self, workers: int) -> None:
        """Wait until so many workers are there.

        Raises
        ------
        SansfilmError
            If they die again and again, or take too long.
        """
        end, scheduler = time.monotonic() + START_S, self._cluster.scheduler
        assert scheduler is not None
        while len(scheduler.workers) < workers:
            if self._failures > STARTS * self._workers or time.monotonic() > end:
                raise SansfilmError("the worker processes do not start")
            time.sleep(0.02)

    def close(self) -> None:
        assert self._cluster.loop is not None
        self._cluster.loop.add_callback(self._look.stop)
