"""The way into an archive: sources are converted, and what came of them goes into its catalogue."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from sansfilm.catalogue.publish import ROWS, publish, publish_rest
from sansfilm.catalogue.records import planned_row
from sansfilm.convert import Companions, Found, convert
from sansfilm.errors import OptionError
from sansfilm.events import Events, log_event
from sansfilm.metrics import Counted
from sansfilm.model import Report
from sansfilm.objects import Objects
from sansfilm.options import Options
from sansfilm.progress import Progress, Several
from sansfilm.report import Ledger
from sansfilm.run.choose import Workers
from sansfilm.run.interrupt import check
from sansfilm.spool import Spool
from sansfilm.store.commit import relatives
from sansfilm.store.target import open_target


def ingest(
    sources: str | Path | Iterable[str | Path],
    archive: str | Path,
    *,
    client: Any = None,
    workers: Workers = None,
    scheduler: str | None = None,
    tls: str | Path | None = None,
    options: Options | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
    storage_options: Mapping[str, Any] | None = None,
    allow_unsafe_commit: bool = False,
) -> Report:
    """Turn DICOM sources into volumes of an archive; what is there already is not done again.

    Parameters
    ----------
    sources : str, path, or several
        Folders, files, or URLs that fsspec opens.
    archive : str or path
        Root of the archive: a folder, or a URL that fsspec opens. Made if it is not there.
    client : distributed.Client, optional
    workers : int or "auto", optional
        Number of local processes; 1 is this process; with "auto" the size of the job decides.
    scheduler : str, optional
        Address of a Dask scheduler. Without any of the three: threads of this process.
    tls : str or path, optional
        Folder with ca.pem, cert.pem and key.pem: connections to a scheduler ``tls://``, or of the
        local processes among each other, are encrypted, and only who has a certificate of the
        same authority is let in. A client has its own.
    options : Options, optional
    dry_run : bool, optional
        Plan only: read headers, write nothing.
    progress : Progress, optional
        Is told what happens.
    storage_options : mapping, optional
        For the file system behind the archive's URL. They travel to workers as they are: name
        secrets in the environment instead. Sources are opened as the environment says.
    allow_unsafe_commit : bool, optional
        Go on where storage ignores conditional writes; then one ingest at a time only.

    Returns
    -------
    Report
        Volumes, problems and counts: frames found = frames stored + frames in problems.

    Raises
    ------
    SourceNotFoundError, OptionError, DeviceError
        A wrong call.
    TargetError, SourceLostError
        The archive cannot be written, or the storage of the sources is away; what was committed
        stays, the same call goes on.
    """
    target = open_target(str(archive), storage_options, checks_first=allow_unsafe_commit)
    named = {"client": client, "workers": workers, "scheduler": scheduler, "tls": tls}
    return fill(target, listed(sources), options or Options(), progress, named, dry_run=dry_run)


def fill(
    target: Objects,
    sources: Sequence[str],
    options: Options,
    progress: Progress | None,
    named: dict[str, Any],
    *,
    found: Found | None = None,
    companions: Companions = lambda frames: (),
    dry_run: bool = False,
) -> Report:
    """Do one ingest into an open archive, with all who are told of it; see `convert`."""
    _check_target(target, named)
    told = Several(progress or Progress(), Events(log_event), Counted())
    ledger = Ledger(target.url, told, dry_run=dry_run)
    run = convert(
        sources, target, options, ledger, named,
        found=found, companions=companions, dry_run=dry_run,
    )  # fmt: skip
    with ledger.told(sources, options), closing(run) as published:
        if dry_run:
            planned = (planned_row(plan, target.join(plan.key)) for plan, _ in published)
            return ledger.close(Spool(ROWS, planned))
        rows, fresh = publish(target, published, partial(relatives, target))
        check()
        publish_rest(target, ledger.report, rows, fresh)
        return ledger.close(rows)


def listed(sources: str | Path | Iterable[str | Path]) -> list[str]:
    """Return one or several sources as a list."""
    if isinstance(sources, str | Path):
        return [str(sources)]
    return [str(source) for source in sources]


def _check_target(target: Objects, named: dict[str, Any]) -> None:
    """Refuse to send work to other processes that would fill a copy of this one's memory."""
    if target.url.startswith("memory:"):
        if named.get("workers") == "auto":
            named["workers"] = None
        if any(choice not in (None, 1) for choice in named.values()):
            message = "what is in memory belongs to this process: name no workers for it"
            raise OptionError(message)
