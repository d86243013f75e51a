"""The attributes of a volume: OME-Zarr 0.5 (multiscales, omero) and our own ``sansfilm``.

OME-Zarr 0.5 knows scale and translation only, so the exact place in the patient is
``sansfilm.affine_lps``. Scale is the distance of voxels along each array axis; translation is
the coordinate of the first voxel along that same direction, so that the levels lie on each
other whatever the orientation; RFC-4 says where each axis points.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from sansfilm.model import Header, LevelPlan, SlabResult, VolumePlan

FORMAT = 1


def group_attributes(
    plan: VolumePlan, levels: Sequence[LevelPlan], results: Sequence[SlabResult]
) -> dict[str, Any]:
    """Return the attributes of the volume's root group."""
    directions = list(plan.orientation)
    axes: list[dict[str, Any]] = []
    for axis, spacing in zip(plan.axes, plan.spacing_mm, strict=True):
        entry: dict[str, Any] = {"name": axis}
        if axis in "zyx":
            entry["type"] = "space"
            if spacing is not None:
                entry["unit"] = "millimeter"
            if directions:
                entry["orientation"] = {"type": "anatomical", "value": directions.pop(0)}
        axes.append(entry)
    datasets = [
        {"path": level.path, "coordinateTransformations": _transformations(plan, level)}
        for level in levels
    ]
    multiscales = {
        "name": plan.series_uid,
        "axes": axes,
        "datasets": datasets,
        "type": "mean",
        "metadata": {
            "method": "sansfilm_kernels.pyramid",
            "description": "each voxel is the mean of the level-0 voxels it covers, padding "
            "excluded, rounded once, half up",
        },
    }
    return {
        "ome": {"version": "0.5", "multiscales": [multiscales], "omero": _omero(plan, results)},
        "sansfilm": _own(plan, results),
    }


def array_attributes(plan: VolumePlan) -> dict[str, Any]:
    """Return the attributes of each level: unit, and CF scaling where modality values need it."""
    attributes: dict[str, Any] = {}
    if plan.rescale.unit:
        attributes["units"] = plan.rescale.unit
    if plan.rescale.applied == "attributes":
        attributes["scale_factor"] = plan.rescale.slope
        attributes["add_offset"] = plan.rescale.intercept
    return attributes


def _transformations(plan: VolumePlan, level: LevelPlan) -> list[dict[str, Any]]:
    spacing = np.array([1.0 if size is None else size for size in plan.spacing_mm])
    first = np.zeros(len(spacing))
    if plan.affine_lps is not None:
        affine = np.asarray(plan.affine_lps)
        steps, origin = affine[:3, :3], affine[:3, 3]
        spacing = np.linalg.norm(steps, axis=0)
        first = origin @ (steps / spacing)
    factors = np.array(level.factors)
    shift = first + spacing * (factors - 1) / 2  # the centre of the first block of voxels
    return [
        {"type": "scale", "scale": (spacing * factors).tolist()},
        {"type": "translation", "translation": shift.tolist()},
    ]


def _omero(plan: VolumePlan, results: Sequence[SlabResult]) -> dict[str, Any]:
    low = min(result.value_range[0] for result in results)
    high = max(result.value_range[1] for result in results)
    start, end = low, high
    windows = _middle(plan).windows
    if windows and plan.rescale.applied != "attributes":
        start = windows[0].center - windows[0].width / 2
        end = windows[0].center + windows[0].width / 2
    elif windows:  # level 0 holds stored values: the window in these
        ends = [windows[0].center + sign * windows[0].width / 2 for sign in (-1, 1)]
        start, end = sorted((v - plan.rescale.intercept) / plan.rescale.slope for v in ends)
    channel = {
        "label": plan.frames[0].modality or "image",
        "color": "FFFFFF",
        "active": True,
        "inverted": plan.frames[0].spec.photometric == "MONOCHROME1",
        "window": {"min": low, "max": high, "start": start, "end": end},
    }
    middle = plan.shape[0] // 2 if plan.axes[0] == "z" else 0
    return {"channels": [channel], "rdefs": {"model": "greyscale", "defaultZ": middle}}


def _own(plan: VolumePlan, results: Sequence[SlabResult]) -> dict[str, Any]:
    first, middle = plan.frames[0], _middle(plan)
    lossy = [frame.lossy for frame in plan.frames if frame.lossy[0]]
    decoders: dict[str, set[str]] = defaultdict(set)
    used = {frame.sop_instance_uid: frame.decoder for result in results for frame in result.frames}
    for frame in plan.frames:
        decoders[frame.spec.transfer_syntax].add(used[frame.sop_instance_uid])
    rescale = plan.rescale
    return {
        "version": FORMAT,
        "volume_id": plan.volume_id,
        "patient_key": plan.patient_key,
        "study_uid": first.study_uid,
        "series_uid": plan.series_uid,
        "frame_of_reference_uid": first.frame_of_reference_uid,
        "modality": first.modality,
        "verdict": {
            "code": plan.verdict.code,
            "numbers": dict(plan.verdict.numbers),
            "text": plan.verdict.text,
        },
        "affine_lps": plan.affine_lps,
        "spacing_mm": plan.spacing_mm,
        "orientation": list(plan.orientation),
        "rescale": {
            "slope": rescale.slope,
            "intercept": rescale.intercept,
            "unit": rescale.unit,
            "applied": rescale.applied != "attributes",
            "per_frame": rescale.applied == "per_frame",
        },
        "windows": [
            {"center": w.center, "width": w.width, "explanation": w.explanation,
             "function": middle.voi_function}
            for w in middle.windows
        ],
        "photometric": first.spec.photometric,
        "bits_stored": first.spec.bits_stored,
        "padding": plan.padding,
        "lossy": {
            "is_lossy": bool(lossy),
            "method": next((method for _, method, _ in lossy if method), None),
            "ratio": next((ratio for _, _, ratio in lossy if ratio), None),
            "near": None,
        },
        "missing": plan.verdict.numbers.get("missing", []),
        "axes_values": {},
        "transfer_syntaxes": sorted(decoders),
        "decoders": {syntax: sorted(names) for syntax, names in sorted(decoders.items())},
        "frames": len(plan.frames),
        "study_date": first.extra.get("StudyDate"),
        "body_part": first.extra.get("BodyPartExamined"),
    }  # fmt: skip


def _middle(plan: VolumePlan) -> Header:
    """Return the frame whose windows stand for the volume: MR often has one per slice."""
    return plan.frames[len(plan.frames) // 2]
