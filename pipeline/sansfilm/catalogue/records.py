"""One row per volume, patient and problem, made from what is stored or what an ingest found."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sansfilm.errors import Problem
from sansfilm.model import Identity, VolumePlan


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
    first = plan.frames[0]
    return {
        "series_uid": plan.series_uid,
        "study_uid": first.study_uid,
        "volume_id": plan.volume_id,
        "uri": uri,
        "modality": first.modality,
        "verdict": plan.verdict.code,
        "verdict_text": plan.verdict.text,
        "axes": list(plan.axes),
        "shape": list(plan.shape),
        "dtype": plan.dtype,
        "spacing_mm": list(plan.spacing_mm),
        "affine_lps": plan.affine_lps,
        "frames": len(plan.frames),
        "transfer_syntaxes": sorted({frame.spec.transfer_syntax for frame in plan.frames}),
        "committed_at": None,
    }


def patient_row(patient_key: str, identity: Identity) -> dict[str, Any]:
    """Return who a patient key stands for."""
    return {"patient_key": patient_key, **asdict(identity)}


def problem_rows(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """Return one row per Problem, sorted, so that the same ones make the same table."""
    rows = [asdict(problem) | {"code": str(problem.code)} for problem in problems]
    return sorted(rows, key=lambda row: (row["uri"], row["stage"], row["code"], row["message"]))
