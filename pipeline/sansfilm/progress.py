"""What an ingest tells while it runs; the command line draws it, the library stays silent."""

from collections.abc import Callable, Mapping
from typing import Any

from sansfilm.errors import Problem
from sansfilm.model import Report, SlabResult


class Progress:
    """Receives the events of one run, on the client, in order; every method may be overridden.

    None of them is told anything of a patient.
    """

    def run_started(self, archive: str, about: Mapping[str, Any]) -> None:
        """Note that an ingest begins; `about` has its sources, options and versions."""

    def files_found(self, count: int) -> None:
        """Note that discovery has ended; `count` headers are to be read."""

    def header_read(self) -> None:
        """Note that one more header was read."""

    def planned(self, volumes: int, slabs: int, unchanged: int) -> None:
        """Note that planning has ended; `unchanged` volumes are in the archive already."""

    def slabs_found(self, slabs: int) -> None:
        """Note that an earlier run has stored more slabs than those that were planned."""

    def cluster_started(self, dashboard: str) -> None:
        """Note that a Dask cluster is at work; `dashboard` is the address of its web page."""

    def slab_written(self, result: SlabResult) -> None:
        """Note that one more slab has ended."""

    def volume_committed(self, key: str, frames: int, written: int) -> None:
        """Note that a volume of so many frames has become visible, for so many bytes."""

    def problem_found(self, problem: Problem) -> None:
        """Note that a file or frame cannot be used."""

    def run_finished(self, report: Report) -> None:
        """Note that the run has ended and its books are balanced."""

    def run_failed(self, error: BaseException) -> None:
        """Note that the run cannot go on; what was committed stays."""


class Several(Progress):
    """Passes each event on to several others, in their order."""

    def __init__(self, *others: Progress) -> None:
        self._others = others


def _passed_on(name: str) -> Callable[..., None]:
    def event(self: Several, *told: Any) -> None:
        for other in self._others:
            getattr(other, name)(*told)

    return event


for _name in [name for name in vars(Progress) if not name.startswith("_")]:
    setattr(Several, _name, _passed_on(_name))
