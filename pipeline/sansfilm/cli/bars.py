"""Progress bars on a terminal; a few plain lines elsewhere."""

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from sansfilm.model import SlabResult
from sansfilm.progress import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Rich
    from rich.progress import TaskID

_EVERY_S = 0.1


@contextlib.contextmanager
def progress_for(stream: TextIO) -> Iterator[Progress]:
    """Return what draws progress on a stream: bars if it is a terminal, else lines."""
    if not stream.isatty():
        yield Lines(stream)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Rich

    columns = (TextColumn("{task.description:8}"), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn())  # fmt: skip
    # drawn when something has happened, for a thread that draws would keep us from forking
    console = Console(file=stream)
    with Rich(*columns, console=console, transient=True, auto_refresh=False) as bars:
        yield Bars(bars)


class Lines(Progress):
    """One line per stage."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def files_found(self, count: int) -> None:
        """See Progress."""
        self._say(f"{count} files")

    def planned(self, volumes: int, slabs: int, unchanged: int) -> None:
        """See Progress."""
        self._say(f"{volumes} volumes, {unchanged} already there, {slabs} slabs to write")

    def slabs_found(self, slabs: int) -> None:
        """See Progress."""
        self._say(f"{slabs} slabs were stored by an earlier run")

    def cluster_started(self, dashboard: str) -> None:
        """See Progress."""
        self._say(f"Dask dashboard: {dashboard}")

    def _say(self, text: str) -> None:
        print(text, file=self._stream)


class Bars(Progress):
    """A bar for headers and one for slabs."""

    def __init__(self, bars: "Rich") -> None:
        self._bars = bars
        self._headers: TaskID | None = None
        self._slabs: TaskID | None = None
        self._next = 0.0

    def files_found(self, count: int) -> None:
        """See Progress."""
        self._headers = self._bars.add_task("headers", total=count)

    def header_read(self) -> None:
        """See Progress."""
        self._advance(self._headers)

    def planned(self, volumes: int, slabs: int, unchanged: int) -> None:
        """See Progress."""
        self._slabs = self._bars.add_task("slabs", total=slabs)

    def slabs_found(self, slabs: int) -> None:
        """See Progress."""
        self._bars.console.print(f"{slabs} slabs were stored by an earlier run")

    def cluster_started(self, dashboard: str) -> None:
        """See Progress."""
        self._bars.console.print(f"Dask dashboard: {dashboard}")

    def slab_written(self, result: SlabResult) -> None:
        """See Progress."""
        self._advance(self._slabs)

    def _advance(self, bar: "TaskID | None") -> None:
        if bar is not None:
            self._bars.advance(bar)
            if time.monotonic() >= self._next:
                self._bars.refresh()
                self._next = time.monotonic() + _EVERY_S
