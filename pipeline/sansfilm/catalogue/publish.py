"""Make published volumes, patients, other objects and problems findable in the catalogue."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import batched, groupby
from operator import itemgetter
from typing import Any

import pyarrow as pa

from sansfilm import columns
from sansfilm.catalogue import table
from sansfilm.catalogue.records import (
    object_rows,
    patient_row,
    problem_rows,
    volume_row,
)
from sansfilm.catalogue.segments import gather, read_volumes
from sansfilm.model import Identity, Report, VolumePlan
from sansfilm.objects import AT_ONCE, Objects, each
from sansfilm.spool import Spool

Relatives = Callable[[str], tuple[list[str], str | None]]
ROWS = 128
"""Rows of a run that stay in memory."""
_Entry = tuple[str, str, set[Identity], Mapping[str, bytes]]


def publish(
    target: Objects,
    published: Iterable[tuple[VolumePlan, Mapping[str, bytes]]],
    relatives: Relatives,
) -> tuple[Spool[dict[str, Any]], dict[str, int]]:
    """Write the rows of volumes as they are committed.

    Rows that are there already stay, so that a run which was killed before this is made whole by
    the next one.

    Parameters
    ----------
    published : iterable
        The plan of each volume, and those of its documents that were written a moment ago, by
        key: they are not read. Volumes are taken a few at a time.
    relatives : callable
        Gives the volume_ids that a volume, named by its key, supersedes, and the one that
        supersedes it.

    Returns
    -------
    rows : Spool
        As ``ls --json`` prints them.
    fresh : dict
        Which of them this has written, by the key of its file.
    """

    def put(entry: _Entry) -> tuple[str, dict[str, Any]]:
        volume, patient_key, identities, documents = entry
        keys = (f"{volume}/{name}" for name in ("zarr.json", "0/zarr.json"))
        group, array = (json.loads(documents.get(key) or target.get(key)) for key in keys)
        row = volume_row(volume, group, array, *relatives(volume))
        written = table.put_rows(target, table.VOLUMES, [row])
        for identity in identities:
            table.put_rows(target, table.PATIENTS, [patient_row(patient_key, identity)])
        return written, public(target, row)

    entries = (  # their frames are let go
        (plan.key, plan.patient_key, {frame.identity for frame in plan.present}, documents)
        for plan, documents in published
    )
    rows, fresh = Spool[dict[str, Any]](ROWS), dict[str, int]()
    for some in batched(entries, AT_ONCE):
        for written, row in each(target, put, some):
            if written:
                fresh[written] = len(rows)
            rows.append(row)
    return rows, fresh


def publish_rest(
    target: Objects, report: Report, rows: Sequence[Mapping[str, Any]], fresh: Mapping[str, int]
) -> None:
    """Write the rows of objects without pixels and of problems, and put those of volumes together.

    As in `publish`, which has given `rows` and `fresh`, rows that are there already stay.
    """
    for patient_key, identity in {(found.patient_key, found.identity) for found in report.objects}:
        if patient_key is not None:
            table.put_rows(target, table.PATIENTS, [patient_row(patient_key, identity)])
    for _, series in groupby(object_rows(report.objects), itemgetter("series_uid")):
        table.put_rows(target, table.OBJECTS, list(series))
    table.put_rows(target, table.PROBLEMS, problem_rows(report.problems))
    gather(target, rows, fresh)


def index_volume(
    target: Objects,
    volume: str,
    documents: tuple[Mapping[str, Any], Mapping[str, Any]],
    relatives: tuple[list[str], str | None],
    identities: Iterable[Identity],
) -> set[str]:
    """Write the rows of a stored volume anew, from what it says itself; return their keys.

    Parameters
    ----------
    documents
        Contents of its ``zarr.json`` and of that of its level 0.
    relatives
        The volume_ids that it supersedes, and the one that supersedes it.
    identities
        Who its headers name.
    """
    row = volume_row(volume, *documents, *relatives)
    patients = [patient_row(row["patient_key"], identity) for identity in set(identities)]
    rows = [(table.VOLUMES, row), *((table.PATIENTS, patient) for patient in patients)]
    return {table.put_rows(target, name, [found], anew=True) for name, found in rows}


def history(target: Objects) -> pa.Table:
    """Return the rows of all volumes, with their place and time.

    ``superseded_by`` names the volume that stands for it now, if there is one.
    """
    rows = read_volumes(target)
    written = [_written(target, key) for key in rows["key"].to_pylist()]
    uris = [target.join(key) for key in rows["key"].to_pylist()]
    for name, values in (("uri", uris), ("committed_at", written)):
        rows = rows.append_column(name, columns.column(values, pa.string()))
    if None in written:  # without its record a volume does not exist; loads pyarrow.compute
        rows = rows.filter(columns.column([time is not None for time in written], pa.bool_()))
    known = rows.select(["volume_id", "supersedes", "superseded_by"]).to_pylist()
    later = [row["superseded_by"] for row in table.superseded(known)]
    at = rows.schema.get_field_index("superseded_by")
    return rows.set_column(at, "superseded_by", columns.column(later, pa.string()))


def objects(target: Objects) -> pa.Table:
    """Return the rows of instances without pixels, each once however often it was met."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for row in table.read_rows(target, table.OBJECTS).to_pylist():
        known = rows.setdefault((row["sop_instance_uid"], row["sha256"]), row)
        known["uri"] = min(known["uri"], row["uri"])
    found = [rows[key] for key in sorted(rows)]
    return columns.table(found, table.SCHEMAS[table.OBJECTS])


def public(target: Objects, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with its place and its time: those of the commit record, kept nowhere else."""
    key = row["key"]
    return {**row, "uri": target.join(key), "committed_at": _written(target, key)}


def _written(target: Objects, key: str) -> str | None:
    """Return when a volume was committed; None if it was not, or is gone."""
    try:
        written = target.modified(f"{key}/_commit.json")
    except FileNotFoundError:
        return None
    return datetime.fromtimestamp(written, UTC).isoformat(timespec="seconds")
