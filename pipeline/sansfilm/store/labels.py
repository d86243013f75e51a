"""The attributes of a segmentation: OME-Zarr's ``image-label``, and all that DICOM says of it."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sansfilm.model import Labels


def image_label(labels: Labels) -> dict[str, Any]:
    """Return ``image-label`` (OME-Zarr 0.5): voxels hold the numbers of segments.

    Colours where the segmentation recommends some. The source is named where the grid is its own.
    """
    found: dict[str, Any] = {
        "version": "0.5",
        "properties": [
            {"label-value": segment.number, "label": segment.label, "category": segment.category,
             "type": segment.type, "algorithm": segment.algorithm}
            for segment in labels.about.segments
        ],
    }  # fmt: skip
    colours = [
        {"label-value": segment.number, "rgba": [*segment.rgb, 255]}
        for segment in labels.about.segments
        if segment.rgb
    ]
    if colours:
        found["colors"] = colours
    if labels.source:
        found["source"] = {"image": _from_beside(labels.source)}
    return found


def segmentation(labels: Labels) -> Mapping[str, Any]:
    """Return what DICOM says of a segmentation, and where the volume is that it was drawn on."""
    about = labels.about
    return {
        "type": about.kind,
        "fractional_type": about.fractional_type or None,
        "maximum": about.maximum,
        "segments": [asdict(segment) for segment in about.segments],
        "source": {
            "series_uids": list(about.references),
            "volume": _from_beside(labels.source) if labels.source else None,
        },
    }


def _from_beside(key: str) -> str:
    """Return the path to a volume from the folder of another one: series/<uid>/<volume_id>."""
    return f"../../{key.partition('/')[2]}"
