"""A landing zone: whatever arrives there is ingested once it has stood still.

What is known of the zone is in memory. After a new start all files are planned once, and found to
be in the archive.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from sansfilm.errors import (
    OptionError,
    Problem,
    ProblemCode,
    SourceLostError,
    SourceNotFoundError,
    TargetError,
)
from sansfilm.intake import fill, listed
from sansfilm.model import FileRef, Frame, Report
from sansfilm.options import Options
from sansfilm.planning.discover import discover
from sansfilm.progress import Progress
from sansfilm.run.choose import Workers
from sansfilm.run.interrupt import pause
from sansfilm.store.root import create_archive
from sansfilm.store.target import open_target

PATIENCE = 10
"""Quiet times after which a file is taken although others of its folder still arrive."""
_PASSING = (ProblemCode.UNREADABLE, ProblemCode.SOURCE_CHANGED, ProblemCode.WORKER_LOST)
_LOG = logging.getLogger(__name__)


def watch(
    sources: str | Path | Iterable[str | Path],
    archive: str | Path,
    *,
    every_s: float = 10,
    quiet_s: float | None = None,
    client: Any = None,
    workers: Workers = None,
    scheduler: str | None = None,
    tls: str | Path | None = None,
    options: Options | None = None,
    progress: Progress | None = None,
    storage_options: Mapping[str, Any] | None = None,
    allow_unsafe_commit: bool = False,
) -> Iterator[Report]:
    """Ingest what arrives in the sources, without end; give a Report for each round of work.

    The sources are listed every `every_s` seconds. A file is read once its size and time have
    stayed the same for `quiet_s` seconds, and from one listing to the next, and so have those of
    all others in its folder; after ten times as long the others are not waited for any more. When
    slices of a known series arrive, all its files that are still there are planned again: they
    become a new volume beside the old one. All else that was read is not read again.

    A round that storage ends early gives a Report with its `error`; the next one does its work.
    Files that could not be read are tried again, after longer and longer times.

    Parameters
    ----------
    every_s : float, optional
        Seconds between two listings, without the time that the work takes.
    quiet_s : float, optional
        Seconds; `every_s` if not given.

    Others
        As in `ingest`.

    Raises
    ------
    SourceNotFoundError, OptionError, DeviceError
        A wrong call.
    TargetError
        If the archive cannot be written at the start.
    """
    quiet_s = every_s if quiet_s is None else quiet_s
    if not (0 < every_s < float("inf") and 0 <= quiet_s < float("inf")):
        raise OptionError(f"times must be positive, got {every_s} and {quiet_s} seconds")
    names, zone, options = listed(sources), Zone(quiet_s), options or Options()
    target = open_target(str(archive), storage_options, checks_first=allow_unsafe_commit)
    create_archive(target)
    found = discover(names, target.url, options.budgets)
    while True:
        ready = zone.look(*found, monotonic())
        if ready:
            named = {"client": client, "workers": workers, "scheduler": scheduler, "tls": tls}
            files = [item for item in ready if isinstance(item, FileRef)]
            problems = [item for item in ready if isinstance(item, Problem)]
            try:
                report = fill(
                    target, names, options, progress, named,
                    found=(files, problems), companions=zone.companions,
                )  # fmt: skip
                zone.read(ready, report, monotonic())
            except (TargetError, SourceLostError) as exc:
                report = _failed(target.url, exc)
            yield report
        else:
            _LOG.debug("nothing new among %d files", len(found[0]))
        listing = None
        while listing is None:
            pause(every_s)
            try:
                listing = discover(names, target.url, options.budgets)
            except (SourceNotFoundError, SourceLostError) as exc:
                yield _failed(target.url, exc)
        found = listing


def _failed(url: str, error: Exception) -> Report:
    _LOG.warning("%s: trying again", error)
    return Report(archive=url, error=str(error))


@dataclass(slots=True)
class _Seen:
    """A file, since when it is as it is (by a clock that never goes back), and what came of it."""

    file: FileRef
    since: float
    tries: int = 0
    done: bool = False


class Zone:
    """What is known of the files of a landing zone.

    Parameters
    ----------
    quiet_s : float
        Seconds for which a file stands still before it is read.
    """

    def __init__(self, quiet_s: float) -> None:
        self._quiet_s = quiet_s
        self._files: dict[str, _Seen] = {}
        self._series: dict[str, set[str]] = defaultdict(set)
        self._problems: set[Problem] = set()

    def look(
        self, files: Iterable[FileRef], problems: Sequence[Problem], now: float
    ) -> list[FileRef | Problem]:
        """Take a listing of the zone; return what is to be read, and what was not told before."""
        known = self._files
        self._files = {file.uri: self._seen(known.get(file.uri), file, now) for file in files}
        waiting = [seen for seen in self._files.values() if not seen.done]
        latest: dict[str, float] = {}
        for seen in waiting:
            folder = _folder(seen.file)
            latest[folder] = max(latest.get(folder, 0.0), 0.0 if seen.tries else seen.since)
        quiet = [
            seen.file
            for seen in waiting
            if now > seen.since
            and now - seen.since >= self._quiet_s * 2 ** min(seen.tries, PATIENCE)
            and (now - latest[_folder(seen.file)] >= self._quiet_s
                 or now - seen.since >= self._quiet_s * PATIENCE)
        ]  # fmt: skip
        told = {problem for problem in problems if problem.code != ProblemCode.EMPTY_SOURCE}
        news, self._problems = told - self._problems, told
        return [*quiet, *sorted(news, key=lambda problem: problem.uri)]

    @staticmethod
    def _seen(seen: _Seen | None, file: FileRef, now: float) -> _Seen:
        return seen if seen and seen.file == file else _Seen(file, now)

    def companions(self, frames: Iterable[Frame]) -> list[FileRef]:
        """Return the files that were read before, are still there and of the series of frames."""
        here: dict[str, set[str]] = defaultdict(set)
        for frame in frames:
            here[frame.series_uid].add(frame.uri)
        new = set().union(*here.values())
        more: dict[str, FileRef] = {}
        for series, uris in here.items():
            for uri in self._series[series] - new:
                seen = self._files.get(uri)
                if seen and seen.done:
                    more[uri] = seen.file
            self._series[series] |= uris
        return [more[uri] for uri in sorted(more)]

    def read(self, ready: Iterable[FileRef | Problem], report: Report, now: float) -> None:
        """Note that files were read; what failed for a passing reason is tried again later."""
        again = {problem.uri for problem in report.problems if problem.code in _PASSING}
        for item in ready:
            seen = self._files[item.uri] if isinstance(item, FileRef) else None
            if seen and item.uri in again:
                seen.since, seen.tries = now, seen.tries + 1
            elif seen:
                seen.done = True


def _folder(file: FileRef) -> str:
    return file.uri.rpartition("/")[0]
