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

from sansfilm.model import Frame, LevelPlan, SlabResult, Slide, VoiLut, VolumePlan
from sansfilm.store.labels import image_label, segmentation, strange_notes

FORMAT = 1
_TYPES = {
    "t": "time", "c": "channel", "optical_path": "channel", "z": "space", "y": "space",
    "x": "space",
}  # fmt: skip
_METHODS = {
    "mean": "each voxel is the mean of the level-0 voxels it covers, padding "
    "excluded, rounded once, half up",
    "mode": "each voxel is the most frequent of the level-0 voxels it covers, the smallest of "
    "several",
}
_COLOURS = (("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF"))


def group_attributes(
    plan: VolumePlan, levels: Sequence[LevelPlan], results: Sequence[SlabResult]
) -> dict[str, Any]:
    """Return the attributes of the volume's root group."""
    datasets = [
        {"path": level.path, "coordinateTransformations": _transformations(plan, level)}
        for level in levels
    ]
    method = plan.labels.method if plan.labels else "mean"
    description = _own_levels(plan.slide) if plan.slide else _METHODS[method]
    multiscales = {
        "name": plan.series_uid,
        "axes": _axes(plan),
        "datasets": datasets,
        "type": method,
        "metadata": {"method": "sansfilm_kernels.pyramid", "description": description},
    }
    ome = {"version": "0.5", "multiscales": [multiscales], "omero": _omero(plan, results)}
    if plan.labels and plan.labels.about.numbered:
        ome["image-label"] = image_label(plan.labels)
    own = _own(plan, results)
    if plan.labels:
        strange = sorted({number for result in results for number in result.strange})
        own["segmentation"] = segmentation(plan.labels, strange)
        own["notes"] += strange_notes(strange)
    if plan.slide:
        own["slide"] = {
            "flavor": plan.slide.flavor, "organization": plan.slide.organization,
            "levels": len(plan.slide.levels),
            "optical_paths": [] if plan.labels else list(plan.slide.paths),
            "fill": list(plan.slide.fill), "affine_slide": plan.slide.affine,
        }  # fmt: skip
    return {"ome": ome, "sansfilm": own}


def _own_levels(slide: Slide) -> str:
    last = len(slide.levels) - 1
    return (
        f"levels 0 to {last} are the slide's own; further ones: each voxel is the mean of the "
        f"level-{last} voxels it covers, rounded once, half up"
    )


def array_attributes(plan: VolumePlan) -> dict[str, Any]:
    """Return the attributes of each level: unit, and CF scaling where modality values need it."""
    attributes: dict[str, Any] = {}
    if plan.rescale.unit:
        attributes["units"] = plan.rescale.unit
    if plan.rescale.applied == "attributes":
        attributes["scale_factor"] = plan.rescale.slope
        attributes["add_offset"] = plan.rescale.intercept
    return attributes


def _axes(plan: VolumePlan) -> list[dict[str, Any]]:
    directions = iter(plan.orientation)
    axes = []
    for axis, spacing in zip(plan.axes, plan.spacing_mm, strict=True):
        entry: dict[str, Any] = {"name": axis, "type": _TYPES.get(axis, axis)}
        if axis in "zyx" and spacing is not None:
            entry["unit"] = "millimeter"
        if axis in "zyx" and plan.orientation:
            entry["orientation"] = {"type": "anatomical", "value": next(directions)}
        axes.append(entry)
    return axes


def _transformations(plan: VolumePlan, level: LevelPlan) -> list[dict[str, Any]]:
    spacing = np.array([1.0 if size is None else size for size in plan.spacing_mm])
    first = np.zeros(len(spacing))
    if plan.affine_lps is not None:
        affine = np.asarray(plan.affine_lps)
        steps, origin = affine[:3, :3], affine[:3, 3]
        spacing[-3:] = np.linalg.norm(steps, axis=0)
        first[-3:] = origin @ (steps / spacing[-3:])
    factors = np.array(level.factors)
    shift = first + spacing * (factors - 1) / 2  # the centre of the first block of voxels
    return [
        {"type": "scale", "scale": (spacing * factors).tolist()},
        {"type": "translation", "translation": shift.tolist()},
    ]


def _omero(plan: VolumePlan, results: Sequence[SlabResult]) -> dict[str, Any]:
    seen = [result.value_range for result in results if result.frames]
    low, high = min(low for low, _ in seen), max(high for _, high in seen)
    if "c" in plan.axes:  # all that the samples can be: what stretches each colour alone tints
        low, high = _colour_range(plan)
    start, end = low, high
    first = plan.present[0]
    windows = () if "c" in plan.axes else _middle(plan).windows
    if windows and plan.rescale.applied != "attributes":
        start = windows[0].center - windows[0].width / 2
        end = windows[0].center + windows[0].width / 2
    elif windows:  # level 0 holds stored values: the window in these
        ends = [windows[0].center + sign * windows[0].width / 2 for sign in (-1, 1)]
        start, end = sorted((v - plan.rescale.intercept) / plan.rescale.slope for v in ends)
    channels = [
        {
            "label": label,
            "color": color,
            "active": True,
            "inverted": first.spec.photometric == "MONOCHROME1",
            "window": {"min": low, "max": high, "start": start, "end": end},
        }
        for label, color in (
            _COLOURS if "c" in plan.axes else ((first.modality or "image", "FFFFFF"),)
        )
    ]
    middle = plan.shape[plan.stack] // 2 if "z" in plan.axes else 0
    model = "color" if "c" in plan.axes else "greyscale"
    return {"channels": channels, "rdefs": {"model": model, "defaultZ": middle}}


def _colour_range(plan: VolumePlan) -> tuple[float, float]:
    spec = plan.present[0].spec
    bits = spec.bits_stored if spec.lut is None else spec.lut.bits
    return 0.0, float((1 << bits) - 1)


def _own(plan: VolumePlan, results: Sequence[SlabResult]) -> dict[str, Any]:
    frames = plan.present
    first, middle = frames[0], _middle(plan)
    lossy = [frame.lossy for frame in frames if frame.lossy[0]]
    decoders: dict[str, set[str]] = defaultdict(set)
    used = {frame.sop_instance_uid: frame.decoder for result in results for frame in result.frames}
    for frame in frames:
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
        "spacing_kind": first.spacing_kind if any(plan.spacing_mm) else "none",
        "orientation": list(plan.orientation),
        "rescale": {
            "slope": rescale.slope,
            "intercept": rescale.intercept,
            "unit": rescale.unit,
            "applied": rescale.applied != "attributes",
            "per_frame": rescale.applied == "per_frame",
        },
        "modality_lut": None if rescale.lut is None else dict(rescale.lut),
        "windows": [
            {"center": w.center, "width": w.width, "explanation": w.explanation,
             "function": middle.voi_function}
            for w in middle.windows
        ],
        "voi_luts": [_voi_lut(lut) for lut in middle.voi_luts],
        "real_world_values": _real_world_values(frames),
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
        "axes_values": dict(plan.axes_values),
        "notes": list(plan.notes),
        "transfer_syntaxes": sorted(decoders),
        "decoders": {syntax: sorted(names) for syntax, names in sorted(decoders.items())},
        "frames": len(frames),
        "study_date": first.extra.get("StudyDate"),
        "body_part": first.extra.get("BodyPartExamined"),
    }  # fmt: skip


def _voi_lut(lut: VoiLut) -> dict[str, Any]:
    """Describe a table: the first of its values is for the modality value `first` and all below."""
    table = lut.table
    values = np.frombuffer(table.entries, table.dtype).tolist()
    return {
        "explanation": lut.explanation, "first": table.first, "bits": table.bits,
        "entries": table.count, "values": values,
    }  # fmt: skip


def _real_world_values(frames: Sequence[Frame]) -> list[dict[str, Any]] | None:
    """Return the mappings that all frames share; None where they differ: see the frame table."""
    first, *others = (frame.extra.get("RealWorldValueMapping", ()) for frame in frames)
    if any(other != first for other in others):
        return None
    return [dict(mapping) for mapping in first if "ignored" not in mapping]


def _middle(plan: VolumePlan) -> Frame:
    """Return the frame whose windows stand for the volume: MR often has one per slice."""
    return plan.present[len(plan.present) // 2]
