"""What one dataset, or one functional group, says of place and values: strict where it matters.

Absent is no error; what is there and cannot be is BAD_VALUE.
"""

import math
import sys
from collections.abc import Sequence
from typing import Any

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import FrameFacts, FrameSpec, Vector
from sansfilm.planning import mappings
from sansfilm.planning.calibration import calibrate, read_calibration
from sansfilm.planning.details import read_extra, read_windows
from sansfilm.planning.items import Item
from sansfilm.planning.luts import read_voi_luts
from sansfilm.planning.modality import stored_range

FARTHEST_MM = 1e7
"""Positions, and pixels, larger than ten kilometres are slips of a pen."""
_LONGEST_UNIT = 64
_CROOKED = 0.5
"""What is further from two orthogonal unit vectors spans no plane; `Tolerances` judge the rest."""


def read_facts(top: Item) -> FrameFacts:
    """Return what the top level of a dataset says of its frames (PS3.3 C.7.6.2 and C.11.1)."""
    position, orientation = read_position(top), read_orientation(top)
    placed = position is not None and orientation is not None
    slope, intercept = read_rescale(top)
    function, windows = read_windows(top)
    spacing, kind = calibrate(top, read_spacing(top))
    return FrameFacts(
        position=position if placed else None,
        orientation=orientation if placed else None,
        pixel_spacing=spacing, spacing_kind=kind, slice_thickness=top.number("SliceThickness"),
        slope=slope, intercept=intercept, unit=_unit(top),
        windows=windows, voi_function=function,
        voi_luts=read_voi_luts(top, signed=has_sign(top) or intercept < 0),
        axes={}, extra=read_extra(top) | read_calibration(top) | _mappings(top),
    )  # fmt: skip


def has_sign(top: Item) -> bool:
    """Tell whether stored values have a sign."""
    return (top.raw("PixelRepresentation") or b"").strip(b"\0") == b"\1"


def _mappings(top: Item) -> dict[str, Any]:
    try:
        found = mappings.read_mappings(top.items(mappings.SEQUENCE), signed=has_sign(top))
    except BadInstanceError:  # the image is no worse for it
        found = ({"ignored": "its items cannot be followed"},)
    return {mappings.NAME: found} if found else {}


def read_position(item: Item, keyword: str = "ImagePositionPatient") -> Vector | None:
    """Return the centre of the first pixel, mm (PS3.3 C.7.6.2.1.1)."""
    position = item.need_floats(keyword, 3)
    if position is None:
        return None
    if max(map(abs, position)) > FARTHEST_MM:
        raise BadInstanceError(ProblemCode.BAD_VALUE, f"{keyword} is out of this world")
    return position[0], position[1], position[2]


def read_orientation(
    item: Item, keyword: str = "ImageOrientationPatient"
) -> tuple[float, ...] | None:
    """Return the direction cosines of a row, then of a column (PS3.3 C.7.6.2.1.1)."""
    orientation = item.need_floats(keyword, 6)
    if orientation is None:
        return None
    if crookedness(orientation) > _CROOKED:
        message = f"{keyword} is not two orthogonal unit vectors"
        raise BadInstanceError(ProblemCode.BAD_VALUE, message)
    return orientation


def crookedness(orientation: Sequence[float]) -> float:
    """Return how far two directions are from unit length, or from a right angle."""
    row, column = orientation[:3], orientation[3:]
    dot = sum(a * b for a, b in zip(row, column, strict=True))
    return max(abs(math.hypot(*row) - 1), abs(math.hypot(*column) - 1), abs(dot))


def read_spacing(item: Item) -> tuple[float, float] | None:
    """Return Pixel Spacing, mm between rows and between columns (PS3.3 10.7.1.1)."""
    spacing = item.need_floats("PixelSpacing", 2)
    if spacing is None:
        return None
    if not 1 / FARTHEST_MM < min(spacing) <= max(spacing) < FARTHEST_MM:
        raise BadInstanceError(ProblemCode.BAD_VALUE, "PixelSpacing must be two positive numbers")
    return spacing[0], spacing[1]


def read_rescale(item: Item) -> tuple[float, float]:
    """Return slope and intercept of the modality values (PS3.3 C.11.1.1.2)."""
    return need_scale(item, "RescaleSlope"), item.need_number("RescaleIntercept", 0.0)


def check_rescale(slope: float, intercept: float, spec: FrameSpec) -> None:
    """Make sure of finite modality values, another for each stored value.

    Raises
    ------
    BadInstanceError
        BAD_VALUE.
    """
    ends = stored_range(spec.bits_stored, signed=spec.pixel_representation == 1)
    largest = max(abs(end * slope + intercept) for end in ends)
    if not math.isfinite(largest) or abs(slope) / 2 <= largest * sys.float_info.epsilon:
        message = f"RescaleSlope {slope:g} and RescaleIntercept {intercept:g} lose pixel values"
        raise BadInstanceError(ProblemCode.BAD_VALUE, message)


def need_scale(item: Item, keyword: str) -> float:
    """Return a factor, 1 if it is absent; zero is an error."""
    scale = item.need_number(keyword, 1.0)
    if scale == 0:
        raise BadInstanceError(ProblemCode.BAD_VALUE, f"{keyword} is 0")
    return scale


def read_unit(item: Item) -> str:
    """Return Rescale Type, the unit of the modality values; "" if it is absent."""
    return item.text("RescaleType")[:_LONGEST_UNIT]


def _unit(top: Item) -> str:
    hounsfield = "HU" if top.code("Modality") == "CT" else ""
    return read_unit(top) or top.code("Units") or hounsfield
