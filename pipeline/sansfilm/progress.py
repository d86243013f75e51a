"""What an ingest tells while it runs; the command line draws it, the library stays silent."""

from sansfilm.errors import Problem
from sansfilm.model import SlabResult


class Progress:
    """Receives the events of one run, on the client, in order; every method may be overridden."""

    def files_found(self, count: int) -> None:
        """Note that discovery has ended; `count` headers are to be read."""

    def header_read(self) -> None:
        """Note that one more header was read."""

    def planned(self, volumes: int, slabs: int, unchanged: int) -> None:
        """Note that planning has ended; `unchanged` volumes are in the archive already."""

    def cluster_started(self, dashboard: str) -> None:
        """Note that a Dask cluster is at work; `dashboard` is the address of its web page."""

    def slab_written(self, result: SlabResult) -> None:
        """Note that one more slab has ended."""

    def volume_committed(self, key: str) -> None:
        """Note that a volume has become visible."""

    def problem_found(self, problem: Problem) -> None:
        """Note that a file or frame cannot be used."""
