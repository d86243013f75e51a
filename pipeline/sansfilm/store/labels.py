"""The attributes of a segmentation: OME-Zarr's ``image-label``, and all that DICOM says of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sansfilm.model import Labels

_SHOWN = 8
"""Numbers that a note names."""


def image_label(labels: Labels) -> dict[str, Any]:
    """Return ``image-label`` (OME-Zarr 0.5): voxels hold the numbers of segments.

    Colours where the segmentation recommends some; a background that it describes, or that is
    not 0, is transparent. The source is named where the grid is the source's.
    """
    found: dict[str, Any] = {
        "version": "0.5",
        "properties": [
            {"label-value": segment.number, "label": segment.label, "category": segment.category,
             "type": segment.type, "algorithm": segment.algorithm}
            for segment in labels.about.segments
        ],
    }  # fmt: skip
    about = labels.about
    colours = {each.number: [*each.rgb, 255] for each in about.segments if each.rgb}
    if about.background or len(about.drawn) < len(about.segments):
        colours[labels.fill] = [0, 0, 0, 0]
    if colours:
        found["colors"] = [{"label-value": n, "rgba": colours[n]} for n in sorted(colours)]
    if labels.source:
        found["source"] = {"image": _from_beside(labels.source)}
    return found


def segmentation(labels: Labels, strange: Sequence[int]) -> Mapping[str, Any]:
    """Return what DICOM says of a segmentation, and where the volume is that it was drawn on.

    `strange` are numbers that its voxels hold and no segment has.
    """
    about = labels.about
    return {
        "type": about.kind,
        "fractional_type": about.fractional_type or None,
        "maximum": about.maximum,
        "background": about.background,
        "undescribed": list(strange),
        "segments": [asdict(segment) for segment in about.segments],
        "source": {
            "series_uids": list(about.references),
            "volume": _from_beside(labels.source) if labels.source else None,
        },
    }


def strange_notes(strange: Sequence[int]) -> list[str]:
    """Return the note on numbers that voxels hold and no segment has."""
    if not strange:
        return []
    shown = ", ".join(map(str, strange[:_SHOWN])) + (", ..." if len(strange) > _SHOWN else "")
    return [f"Voxels hold numbers that no segment describes: {shown}."]


def _from_beside(key: str) -> str:
    """Return the path to a volume from the folder of another one: series/<uid>/<volume_id>."""
    return f"../../{key.partition('/')[2]}"
