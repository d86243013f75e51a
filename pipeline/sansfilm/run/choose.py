"""Which runner a job gets."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from sansfilm.errors import OptionError
from sansfilm.forks import may_fork
from sansfilm.machine import cores
from sansfilm.run.contract import Runner
from sansfilm.run.local import SerialRunner, ThreadsRunner

FEW_TASKS = 64
"""Up to this many tasks, processes of their own cost more than they give; see docs/decisions."""
FEW_CORES = 4
"""Up to this many cores, threads do more than a cluster, whatever the size."""


def is_large(tasks: int) -> bool:
    """Tell whether a job of so many tasks is one for several processes on this machine."""
    return tasks > FEW_TASKS and cores() > 1


Workers = int | Literal["auto"] | None


def choose_runner(
    tasks: int,
    *,
    client: Any = None,
    workers: Workers = None,
    scheduler: str | None = None,
    tls: str | Path | None = None,
    gpu: bool = False,
) -> Runner:
    """Return the runner for a job of so many tasks.

    What the caller names decides: a Dask client, a scheduler's address, or a number of worker
    processes (1 is this process, one task after the other). "auto" is the threads of this process
    for a few tasks, for many of them a process forked for each core; where that is not safe or a
    GPU takes part, a cluster of one process per core, or threads on few cores. The default is
    threads: a script that starts processes would need a main guard. `gpu`: a cluster that is
    started here gets one worker more, which has the GPU of this machine.

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
        if is_large(tasks) and not (gpu or tls) and may_fork():
            from sansfilm.run.forked import ForkedRunner  # only now: few jobs are large

            return ForkedRunner(cores())
        workers = cores() if is_large(tasks) and cores() > FEW_CORES else None
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


def enlarged(
    stack: ExitStack,
    told: Callable[[str], None],
    named: Mapping[str, Any],
    runner: Runner,
    tasks: int,
    *,
    gpu: bool,
) -> Runner:
    """Return `runner`, or one for so many tasks if the size decides and they are many.

    A new one is closed with the stack; `told` of its dashboard.
    """
    if named.get("workers") != "auto" or runner.gpus is not None or not is_large(tasks):
        return runner
    runner = stack.enter_context(choose_runner(tasks, **named, gpu=gpu))
    told(runner.dashboard)
    return runner
