"""The verdict: what the geometry of a stack turned out to be, and what each of its codes means."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MEANINGS = {
    "regular": "Slices at even distances along their normal.",
    "sheared": "Even distances, but each slice is offset sideways against the one before: gantry "
    "tilt. The slices are kept as they are, and the affine leans.",
    "gapped": "Slices or frames are missing on a regular lattice. The lattice is kept; what is "
    "missing holds padding and is listed.",
    "variable": "Uneven distances. The slices are kept as they are, and their true positions with "
    "them: the affine holds on the whole only.",
    "single": "One slice, or one image without a place in the patient.",
    "series2d": "Images without a common geometry, along an index or along time.",
    "tiled": "Tiles of a whole-slide image.",
    "resampled": "Made of another volume: on an even lattice, along planes, or projected.",
}
"""Every code, in words."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the geometry of a stack turned out to be: code, the numbers behind it, a sentence."""

    code: str
    numbers: Mapping[str, Any]
    text: str
