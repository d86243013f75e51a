"""What a runner is: it calls a plain function on small plans and yields outcomes as they come."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, Self

from sansfilm.errors import SansfilmError
from sansfilm.model import Map


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one task: its result, or the error that ended it."""

    task: Any
    result: Any = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class OnGpu:
    """What is done with a task where a GPU is, and of which tasks; `always`: nowhere else."""

    function: Callable[[Any], Any]
    wanted: Callable[[Any], bool]
    always: bool = False


class Runner(Protocol):
    """Executes tasks; a context manager that gives back what it took."""

    dashboard: str
    """Address of a page to watch; "" if there is none."""
    map: Map
    """How a task may spread its own pieces: the builtin map where tasks are the only split."""

    @property
    def gpus(self) -> int | None:
        """Workers that have a GPU; None where tasks run in this process, with what it has."""
        ...

    def run(
        self, function: Callable[[Any], Any], tasks: Iterable[Any], on_gpu: OnGpu | None = None
    ) -> Iterator[Outcome]:
        """Yield one Outcome per task, in any order, with a bounded number of tasks in flight.

        `on_gpu` is done in place of `function` where a GPU is, with the tasks that it wants.

        Raises
        ------
        SansfilmError
            The first one that a task raises: a full disk or a lost network ends the run.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


def choose(function: Callable[[Any], Any], on_gpu: OnGpu | None, task: Any) -> Any:
    """Do a task in this process, which has the GPU if there is one."""
    return (on_gpu.function if on_gpu and on_gpu.wanted(task) else function)(task)


def attempt(function: Callable[[Any], Any], task: Any) -> Outcome:
    """Call a task; the one place where an unexpected error of one task is kept from the others.

    Raises
    ------
    SansfilmError
        What the task raised on purpose.
    """
    try:
        return Outcome(task, function(task))
    except SansfilmError:
        raise
    except Exception as exc:
        return Outcome(task, error=exc)
