"""What is done with archives apart from filling them: open one, and do without one.

Keeping one sound is in `upkeep`.
"""

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sansfilm.catalogue import publish, table
from sansfilm.errors import ProblemWarning
from sansfilm.options import Options
from sansfilm.store.root import check_archive
from sansfilm.store.target import open_target
from sansfilm.view.archive import Archive
from sansfilm.view.volume import Volume


def open_archive(url: str | Path, *, storage_options: Mapping[str, Any] | None = None) -> Archive:
    """Open an archive, local or on object storage; nothing but its mark is read.

    Parameters
    ----------
    storage_options : mapping, optional
        For the file system behind a URL; what is not given comes from the environment.

    Raises
    ------
    ArchiveNotFoundError
        If there is none.
    TargetError
        If it cannot be read.
    """
    target = open_target(str(url), storage_options)
    check_archive(target)
    return Archive(
        target,
        lambda: publish.history(target),
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
    # Whoever opens an archive needs none of these: they take 0.15 s to load.
    from sansfilm.convert import convert
    from sansfilm.intake import listed
    from sansfilm.progress import Progress
    from sansfilm.report import Ledger
    from sansfilm.store.memory import MemoryTarget

    target = MemoryTarget()
    ledger = Ledger(target.url, Progress())
    published = convert(listed(sources), target, options or Options(), ledger, {})
    volumes = [Volume(target, plan.key) for plan, _ in published]
    report = ledger.close([])
    if report.problems:
        codes = Counter(str(problem.code) for problem in report.problems)
        told = ", ".join(f"{count} {code}" for code, count in sorted(codes.items()))
        message = f"{len(report.problems)} files or frames were not usable: {told}"
        warnings.warn(message, ProblemWarning, stacklevel=2)
    return volumes
