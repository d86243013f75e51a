"""The events of a run as flat records: for a report file, for logs. No patient data in them."""

import json
import logging
import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from fcntl import LOCK_EX, LOCK_UN, flock
from typing import Any, Self

from sansfilm.errors import OptionError, Problem
from sansfilm.model import Report, SlabResult
from sansfilm.progress import Progress

Emit = Callable[[str, dict[str, Any]], None]
_LOG = logging.getLogger(__name__)
_WORDS = {
    "started": "ingest into %(archive)s",
    "found": "%(files)s files to read",
    "planned": "%(volumes)s volumes, %(unchanged)s already there, %(slabs)s slabs to write",
    "before": "%(slabs)s slabs were stored by an earlier run",
    "cluster": "Dask dashboard: %(dashboard)s",
    "slab": "slab %(slab)s: %(frames)s frames",
    "volume": "stored %(key)s",
    "problem": "%(code)s: %(uri)s: %(message)s",
    "finished": "%(seconds)s s",
    "failed": "%(error)s: %(message)s",
}


class Events(Progress):
    """Turns what happens into records.

    Parameters
    ----------
    emit : callable
        Gets the name of an event and its fields.
    """

    def __init__(self, emit: Emit) -> None:
        self._emit = emit

    def run_started(self, archive: str, about: Mapping[str, Any]) -> None:
        """See Progress."""
        self._emit("started", {"archive": archive, **about})

    def files_found(self, count: int) -> None:
        """See Progress."""
        self._emit("found", {"files": count})

    def planned(self, volumes: int, slabs: int, unchanged: int) -> None:
        """See Progress."""
        self._emit("planned", {"volumes": volumes, "slabs": slabs, "unchanged": unchanged})

    def slabs_found(self, slabs: int) -> None:
        """See Progress."""
        self._emit("before", {"slabs": slabs})

    def cluster_started(self, dashboard: str) -> None:
        """See Progress."""
        self._emit("cluster", {"dashboard": dashboard})

    def slab_written(self, result: SlabResult) -> None:
        """See Progress."""
        sizes = {"bytes_read": result.bytes_read, "bytes_decoded": result.bytes_decoded}
        self._emit("slab", {"slab": result.index, "frames": len(result.frames), **sizes})

    def volume_committed(self, key: str, frames: int, written: int) -> None:
        """See Progress."""
        _, series_uid, volume_id = key.split("/")
        fields = {"key": key, "series_uid": series_uid, "volume_id": volume_id,
                  "frames": frames, "bytes": written}  # fmt: skip
        self._emit("volume", fields)

    def problem_found(self, problem: Problem) -> None:
        """See Progress."""
        self._emit("problem", asdict(problem))

    def run_finished(self, report: Report) -> None:
        """See Progress."""
        codes = Counter(str(problem.code) for problem in report.problems)
        fields = {
            "volumes": len(report.volumes), "unchanged": len(report.unchanged),
            "objects": len(report.objects), "files": report.files, "frames": report.frames,
            "bytes": report.bytes, "problems": dict(sorted(codes.items())),
            "seconds": round(report.seconds, 3),
        }  # fmt: skip
        self._emit("finished", fields)

    def run_failed(self, error: BaseException) -> None:
        """See Progress."""
        self._emit("failed", {"error": type(error).__name__, "message": str(error)})


def log_event(event: str, fields: dict[str, Any]) -> None:
    """Log an event; a handler finds its fields in ``record.event``."""
    level = logging.DEBUG if event == "slab" else logging.INFO
    _LOG.log(level, _WORDS[event], fields, extra={"event": {"event": event, **fields}})


class ReportFile:
    """A file that gets one JSON line for each event; a context manager.

    Lines are appended with one write each, so that several runs may share a file and a run that
    is killed leaves whole lines. The names of files and UIDs are in it, nothing else of a patient.

    Parameters
    ----------
    path : str
        A file of this machine.

    Raises
    ------
    OptionError
        If it cannot be written.
    """

    def __init__(self, path: str) -> None:
        self._run, self._well = "", True
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        except OSError as exc:
            raise OptionError(f"cannot write the report {path}", exc.strerror or "") from exc
        with self._alone():  # half of what another run writes now would look like a torn line
            size = os.fstat(self._fd).st_size
            torn = size > 0 and os.pread(self._fd, 1, size - 1) != b"\n"  # a full disk cut a line
        self._before = b"\n" if torn else b""

    def emit(self, event: str, fields: dict[str, Any]) -> None:
        """Append a line; a disk that is full does not end the run, but it is logged."""
        if event == "started":
            self._run = uuid.uuid4().hex[:12]
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "run": self._run, "event": event, **fields})
        try:
            with self._alone():
                os.write(self._fd, self._before + line.encode() + b"\n")
            self._before = b""
            if event in ("finished", "failed"):
                os.fsync(self._fd)
        except OSError as exc:
            if self._well:
                _LOG.error("the report file cannot be written: %s", exc.strerror)
            self._well, self._before = False, b"\n"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other runs from the file, where its file system knows locks."""
        with suppress(OSError):
            flock(self._fd, LOCK_EX)
        try:
            yield
        finally:
            with suppress(OSError):
                flock(self._fd, LOCK_UN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._fd)
