"""One row per volume, patient, object and problem: of what is stored, of what was found."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sansfilm.errors import Problem
from sansfilm.model import Document, Identity, VolumePlan


def volume_row(
    key: str,
    group: Mapping[str, Any],
    array: Mapping[str, Any],
    supersedes: Sequence[str] = (),
    superseded_by: str | None = None,
) -> dict[str, Any]:
    """Return the row of a stored volume; no patient identity in it.

    Parameters
    ----------
    key : str
        Where the volume lies below the archive.
    group, array : mapping
        Contents of the volume's ``zarr.json`` and of that of its level 0.
    supersedes, superseded_by
        volume_ids of older and fuller volumes of the same instances.
    """
    own = group["attributes"]["sansfilm"]
    verdict = own["verdict"]
    return {
        "series_uid": own["series_uid"],
        "study_uid": own["study_uid"],
        "volume_id": own["volume_id"],
        "key": key,
        "patient_key": own["patient_key"],
        "modality": own["modality"],
        "body_part": own["body_part"],
        "study_date": own["study_date"],
        "verdict": verdict["code"],
        "verdict_text": verdict["text"],
        **_found(verdict["numbers"]),
        "axes": list(array["dimension_names"]),
        "shape": list(array["shape"]),
        "dtype": array["data_type"],
        "spacing_mm": list(own["spacing_mm"]),
        "affine_lps": own["affine_lps"],
        "levels": len(group["attributes"]["ome"]["multiscales"][0]["datasets"]),
        "frames": own["frames"],
        "transfer_syntaxes": own["transfer_syntaxes"],
        "is_lossy": own["lossy"]["is_lossy"],
        "supersedes": list(supersedes),
        "superseded_by": superseded_by,
    }


def planned_row(plan: VolumePlan, uri: str) -> dict[str, Any]:
    """Return what the row of a planned volume would tell people, for a dry run."""
    first = plan.present[0]
    return {
        "series_uid": plan.series_uid,
        "study_uid": first.study_uid,
        "volume_id": plan.volume_id,
        "uri": uri,
        "modality": first.modality,
        "verdict": plan.verdict.code,
        "verdict_text": plan.verdict.text,
        **_found(plan.verdict.numbers),
        "axes": list(plan.axes),
        "shape": list(plan.shape),
        "dtype": plan.dtype,
        "spacing_mm": list(plan.spacing_mm),
        "affine_lps": plan.affine_lps,
        "frames": len(plan.present),
        "transfer_syntaxes": sorted({frame.spec.transfer_syntax for frame in plan.present}),
        "committed_at": None,
    }


def _found(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of a verdict that people search by; lengths are None without a place."""
    return {
        **{name: numbers.get(name) for name in ("spacing_min_mm", "spacing_max_mm", "shear_deg")},
        "missing": len(numbers.get("missing", ())),
        "duplicates": numbers.get("duplicates", 0),
    }


def patient_row(patient_key: str, identity: Identity) -> dict[str, Any]:
    """Return who a patient key stands for."""
    return {"patient_key": patient_key, **asdict(identity)}


def object_rows(documents: Sequence[Document]) -> list[dict[str, Any]]:
    """Return one row per instance without pixels, copies once, sorted; no identity in it."""
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for found in sorted(documents, key=lambda document: document.uri):
        row = {
            "uri": found.uri,
            "sop_instance_uid": found.sop_instance_uid,
            "sop_class_uid": found.sop_class_uid,
            "series_uid": found.series_uid or None,
            "study_uid": found.study_uid or None,
            "patient_key": found.patient_key,
            "modality": found.modality or None,
            "referenced_series_uids": list(found.referenced_series_uids),
            "referenced_sop_instance_uids": list(found.referenced_sop_instance_uids),
            "sha256": found.sha256,
        }
        rows.setdefault((found.series_uid, found.sop_instance_uid, found.sha256), row)
    return [rows[key] for key in sorted(rows)]


def problem_rows(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """Return one row per Problem, sorted, so that the same ones make the same table."""
    rows = [asdict(problem) | {"code": str(problem.code)} for problem in problems]
    return sorted(rows, key=lambda row: (row["uri"], row["stage"], row["code"], row["message"]))
