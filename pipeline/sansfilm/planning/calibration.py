"""What the distance of pixels means: in the patient, on the detector, or on a film.

PS3.3 section 10.7.1 for projections and captured images, C.8.5.5 for regions of ultrasound.
"""

import math
from collections.abc import Mapping
from itertools import islice
from typing import Any

from sansfilm.errors import BadInstanceError
from sansfilm.planning.items import Item

Spacing = tuple[float, float]

_PROJECTIONS = tuple(
    "1.2.840.10008.5.1.4.1.1." + tail
    for tail in ("1", "1.1", "1.1.1", "1.2", "1.2.1", "1.3", "1.3.1", "12.1", "12.1.1", "12.2",
                 "12.2.1", "13.1.4", "13.1.5", "7", "7.1", "7.2", "7.3", "7.4")
)  # fmt: skip
"""Radiography, angiography, fluoroscopy, and what was captured or scanned."""
_SAME = 1e-3
"""Part by which equal distances may differ: some writers round them."""
_NOTES = ("ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelSpacingCalibrationType",
          "EstimatedRadiographicMagnificationFactor")  # fmt: skip
_REGION = (
    "RegionSpatialFormat", "RegionDataType", "RegionLocationMinX0", "RegionLocationMinY0",
    "RegionLocationMaxX1", "RegionLocationMaxY1", "PhysicalUnitsXDirection",
    "PhysicalUnitsYDirection", "PhysicalDeltaX", "PhysicalDeltaY",
)  # fmt: skip
_REGIONS = "SequenceOfUltrasoundRegions"
_MOST_REGIONS = 64
_2D, _CENTIMETRES = 1, 3


def calibrate(top: Item, spacing: Spacing | None) -> tuple[Spacing | None, str]:
    """Choose the distance of pixels, and say what it means.

    Parameters
    ----------
    top : Item
        The top level of a dataset.
    spacing : (between rows, between columns) or None
        Its Pixel Spacing, or that of a frame, mm.

    Returns
    -------
    spacing : (between rows, between columns) or None
        mm.
    kind : str
        "patient": in the patient, or in the tissue on a slide. "fiducial", "geometry",
        "calibrated": of a projection or a captured image, corrected by an object of known size,
        for known geometry, or in a way that is not told. "detector": on the detector, not
        corrected. "nominal": on the medium that was scanned. "region": of the one ultrasound
        region, which is the whole picture. "unknown": nothing says whether Pixel Spacing was
        corrected. "none": there is no spacing.
    """
    imager = _positive(top, "ImagerPixelSpacing")
    nominal = _positive(top, "NominalScannedPixelSpacing")
    if spacing is None:
        for found, kind in ((imager, "detector"), (nominal, "nominal"), (_region(top), "region")):
            if found:
                return found, kind
        return None, "none"
    for other, kind in ((imager, "detector"), (nominal, "nominal")):
        if other and all(map(_close, spacing, other)):
            return spacing, kind
    stated = top.code("PixelSpacingCalibrationType")
    if stated in ("FIDUCIAL", "GEOMETRY"):
        return spacing, stated.lower()
    if imager or nominal:
        return spacing, "calibrated"
    return spacing, "unknown" if top.token("SOPClassUID") in _PROJECTIONS else "patient"


def read_calibration(top: Item) -> dict[str, Any]:
    """Return what a header says of its distances, for the frame table, by DICOM keyword."""
    found: dict[str, Any] = {keyword: top.value(keyword) for keyword in _NOTES if keyword in top}
    if regions := _regions(top):
        found[_REGIONS] = regions
    return found


def _regions(top: Item) -> tuple[Mapping[str, Any], ...]:
    try:
        items = list(islice(top.items(_REGIONS), _MOST_REGIONS))
    except BadInstanceError:  # the image is no worse for it
        return ()
    return tuple(
        {name: value for name in _REGION if (value := item.value(name)) is not None}
        for item in items
    )  # fmt: skip


def _region(top: Item) -> Spacing | None:
    """Return the distances of the one ultrasound region in centimetres that is all of a picture."""
    regions = _regions(top)
    if len(regions) != 1 or set(_REGION) - regions[0].keys():
        return None
    (region,) = regions
    left, upper, right, lower = (region[name] for name in _REGION[2:6])
    whole = left == upper == 0 and right + 1 >= top.unsigned("Columns", 0)
    whole = whole and lower + 1 >= top.unsigned("Rows", 0)
    units = {region[name] for name in _REGION[6:8]}
    if region["RegionSpatialFormat"] != _2D or units != {_CENTIMETRES} or not whole:
        return None
    return _in_range(tuple(10 * abs(region[name]) for name in ("PhysicalDeltaY", "PhysicalDeltaX")))


def _positive(top: Item, keyword: str) -> Spacing | None:
    return _in_range(top.numbers(keyword))


def _in_range(numbers: tuple[float, ...]) -> Spacing | None:
    """Return two distances, None if they are not two or cannot be any."""
    if len(numbers) != 2 or not 1e-7 < min(numbers) <= max(numbers) < 1e7:
        return None
    return float(numbers[0]), float(numbers[1])


def _close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_SAME)
