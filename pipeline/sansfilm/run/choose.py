"""Which runner a job gets."""

import os
from pathlib import Path
from typing import Any, Literal

from sansfilm.errors import OptionError
from sansfilm.run.contract import Runner
from sansfilm.run.local import SerialRunner, ThreadsRunner

FEW_SLABS = 64
"""Up to this many slabs, starting a cluster costs more than it gives; see docs/decisions."""
FEW_CORES = 4
"""Up to this many cores, threads do more than processes, whatever the size."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_large(slabs: int) -> bool:
    """Tell whether a job of so many slabs is one for several processes on this machine."""
    return slabs > FEW_SLABS and cores() > FEW_CORES


Workers = int | Literal["auto"] | None


def choose_runner(
    slabs: int,
    *,
    client: Any = None,
    workers: Workers = None,
    scheduler: str | None = None,
    tls: str | Path | None = None,
    gpu: bool = False,
) -> Runner:
    """Return the runner for a job of so many slabs.

    What the caller names decides: a Dask client, a scheduler's address, or a number of worker
    processes (1 is this process, one task after the other). "auto" is the threads of this process
    for a few slabs or on few cores, else a cluster of one process per core. The default is threads:
    a script that starts processes would need a main guard. `gpu`: a cluster that is started here
    gets one worker more, which has the GPU of this machine.

    A cluster that is started here, or a scheduler, speaks TLS with the certificates of the folder
    `tls`; a client has its own.

    Raises
    ------
    OptionError
        If two of them are named, or fewer than one worker, or certificates that nobody uses.
    """
    if sum(choice is not None for choice in (client, workers, scheduler)) > 1:
        raise OptionError("name only one of client, workers and scheduler")
    auto = workers == "auto"
    if workers == "auto":
        workers = cores() if is_large(slabs) else None
    if workers is not None and workers < 1:
        raise OptionError(f"workers must be at least 1, got {workers}")
    if tls and scheduler is None and workers in (None, 1) and not auto:
        raise OptionError("certificates are for a cluster: name a scheduler or several workers")
    if workers == 1:
        return SerialRunner()
    if client is None and scheduler is None and workers is None:
        return ThreadsRunner(cores())
    from sansfilm.run.dask import DaskRunner  # only now: it costs a second

    if client is not None:
        return DaskRunner(client)
    if scheduler is not None:
        return DaskRunner.connect(scheduler, tls)
    return DaskRunner.local(workers or cores(), tls, gpu=gpu)
