"""What is done with archives apart from filling them: open, verify, and do without one."""

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from sansfilm.catalogue import publish, table
from sansfilm.catalogue.check import check
from sansfilm.convert import convert, listed
from sansfilm.errors import ProblemWarning, VolumeNotFoundError
from sansfilm.options import Options
from sansfilm.progress import Progress
from sansfilm.report import Ledger
from sansfilm.store.commit import Damage, find_volumes, verify_volume
from sansfilm.store.memory import MemoryTarget
from sansfilm.store.root import check_archive
from sansfilm.store.target import open_target
from sansfilm.view.archive import Archive
from sansfilm.view.volume import Volume


def open_archive(url: str | Path) -> Archive:
    """Open an archive, local or on object storage; nothing but its mark is read.

    Raises
    ------
    ArchiveNotFoundError
        If there is none.
    TargetError
        If it cannot be read.
    """
    target = open_target(str(url))
    check_archive(target)
    return Archive(
        target,
        lambda: publish.current(target),
        lambda: table.read_rows(target, table.PROBLEMS),
        lambda: publish.objects(target),
    )


def read(
    sources: str | Path | Iterable[str | Path], *, options: Options | None = None
) -> list[Volume]:
    """Return the volumes of DICOM sources, held compressed in memory, without an archive.

    What cannot be used is told in one ProblemWarning; `ingest` gives the whole list.

    Raises
    ------
    SourceNotFoundError
        If a source does not exist.
    """
    target = MemoryTarget()
    ledger = Ledger(target.url, Progress())
    plans = convert(listed(sources), target, options or Options(), ledger, {})
    report = ledger.close([])
    if report.problems:
        codes = Counter(str(problem.code) for problem in report.problems)
        told = ", ".join(f"{count} {code}" for code, count in sorted(codes.items()))
        message = f"{len(report.problems)} files or frames were not usable: {told}"
        warnings.warn(message, ProblemWarning, stacklevel=2)
    return [Volume(target, plan.key) for plan in plans]


def verify(url: str | Path, series: str | None = None) -> Iterator[tuple[str, list[Damage]]]:
    """Read back every object of an archive, or of one series, against the commit records.

    Yields
    ------
    volume : str
        Key of a volume, or of the catalogue.
    damages : list of Damage
        Objects that are missing or are not what was committed; [] if all is well.

    Raises
    ------
    ArchiveNotFoundError
        If there is no archive.
    VolumeNotFoundError
        If there is no such series or volume.
    """
    target = open_target(str(url))
    check_archive(target)
    volumes = find_volumes(target)
    if series is not None:
        volumes = [key for key in volumes if series in key.split("/")]
        if not volumes:
            raise VolumeNotFoundError(f"no series or volume {series} in {url}: see `sansfilm ls`")
    damaged = set()
    for volume in volumes:
        damages = list(verify_volume(target, volume))
        if damages:
            damaged.add(volume)
        yield volume, damages
    if series is None:
        yield "catalogue", [Damage(*found) for found in check(target, volumes, damaged)]
