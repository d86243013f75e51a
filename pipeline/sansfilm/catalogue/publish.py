"""Make published volumes, patients, other objects and problems findable in the catalogue."""

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

from sansfilm.catalogue import table
from sansfilm.catalogue.records import (
    object_rows,
    patient_row,
    planned_row,
    problem_rows,
    volume_row,
)
from sansfilm.model import Identity, Report, VolumePlan
from sansfilm.objects import Objects

Relatives = Callable[[str], tuple[list[str], str | None]]


def publish(
    target: Objects, plans: Sequence[VolumePlan], report: Report, relatives: Relatives
) -> list[dict[str, Any]]:
    """Write the rows of volumes that are committed; return them as ``ls --json`` prints them.

    And those of objects without pixels, and of problems.

    Rows that are there already stay, so that a run which was killed before this is made whole by
    the next one.

    Parameters
    ----------
    relatives : callable
        Gives the volume_ids that a volume, named by its key, supersedes, and the one that
        supersedes it.
    """
    rows = []
    for plan in plans:
        group, array = (
            json.loads(target.get(f"{plan.key}/{path}")) for path in ("zarr.json", "0/zarr.json")
        )
        row = volume_row(plan.key, group, array, *relatives(plan.key))
        table.put_rows(target, table.VOLUMES, [row])
        for identity in {frame.identity for frame in plan.present}:
            table.put_rows(target, table.PATIENTS, [patient_row(plan.patient_key, identity)])
        rows.append(public(target, row))
    for patient_key, identity in {(found.patient_key, found.identity) for found in report.objects}:
        if patient_key is not None:
            table.put_rows(target, table.PATIENTS, [patient_row(patient_key, identity)])
    for _, series in groupby(object_rows(report.objects), itemgetter("series_uid")):
        table.put_rows(target, table.OBJECTS, list(series))
    table.put_rows(target, table.PROBLEMS, problem_rows(report.problems))
    return rows


def planned(target: Objects, plans: Sequence[VolumePlan]) -> list[dict[str, Any]]:
    """Return what `publish` would, for a dry run."""
    return [planned_row(plan, target.join(plan.key)) for plan in plans]


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


def history(target: Objects) -> list[dict[str, Any]]:
    """Return the rows of all volumes, each with the one that stands for it if there is one."""
    rows = []
    for row in table.read_rows(target, table.VOLUMES).to_pylist():
        with contextlib.suppress(FileNotFoundError):  # without its record it does not exist
            rows.append(public(target, row))
    return table.superseded(rows)


def objects(target: Objects) -> list[dict[str, Any]]:
    """Return the rows of instances without pixels, each once however often it was met."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for row in table.read_rows(target, table.OBJECTS).to_pylist():
        known = rows.setdefault((row["sop_instance_uid"], row["sha256"]), row)
        known["uri"] = min(known["uri"], row["uri"])
    return [rows[key] for key in sorted(rows)]


def public(target: Objects, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with its place and its time: those of the commit record, kept nowhere else."""
    written = target.modified(f"{row['key']}/_commit.json")
    time = datetime.fromtimestamp(written, UTC).isoformat(timespec="seconds")
    return {**row, "uri": target.join(row["key"]), "committed_at": time}
