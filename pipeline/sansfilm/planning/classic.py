"""What a single-frame header says that may tell frames at one place apart: time, echo, b-value."""

from sansfilm.planning.items import Item, joined

_KEYWORDS = (
    "ImageType", "ComplexImageComponent", "DiffusionBValue", "DiffusionDirectionality",
    "DiffusionGradientOrientation", "EchoTime", "EchoNumbers", "InversionTime", "FlipAngle",
    "ContrastBolusAgentPhase", "StackID", "NumberOfTemporalPositions",
    "TemporalPositionIdentifier", "TemporalPositionIndex", "NominalPercentageOfCardiacPhase",
    "NominalCardiacTriggerDelayTime", "TriggerTime", "FrameReferenceTime", "AcquisitionDateTime",
    "AcquisitionTime", "AcquisitionNumber", "ContentTime", "InstanceNumber",
)  # fmt: skip
_GE_FLAG = 10**9
"""GE adds this to b-values of some series."""
_GE_COMPONENTS = ("MAGNITUDE", "PHASE", "REAL", "IMAGINARY")
"""What GE's image type counts, from 0; its Image Type (0008,0008) does not tell them apart."""


def read_axes(top: Item) -> dict[str, float | str]:
    """Return the values of the attributes that are there, by keyword; units as in DICOM.

    Times of day in seconds, dates with time in seconds since 1970. Where the standard's b-value
    and direction are missing, those of Siemens, GE and Philips stand in under its names, and for
    the component of the complex signal GE's. The others say that in Image Type.
    """
    found = {keyword: top.value(keyword) for keyword in _KEYWORDS if keyword in top}
    if found.get("DiffusionBValue") is None:
        found["DiffusionBValue"] = _vendor_b_value(top)
    if found.get("DiffusionGradientOrientation") is None and found["DiffusionBValue"]:
        found["DiffusionGradientOrientation"] = _vendor_direction(top)
    if found.get("ComplexImageComponent") is None:
        found["ComplexImageComponent"] = _vendor_component(top)
    return {keyword: value for keyword, value in found.items() if value is not None}


def _vendor_component(top: Item) -> str | None:
    if top.text("GEParameterCreator") != "GEMS_PARM_01":
        return None
    number = next(iter(top.numbers("GEImageType")), -1)
    return _GE_COMPONENTS[int(number)] if 0 <= number < len(_GE_COMPONENTS) else None


def _vendor_b_value(top: Item) -> float | None:
    if top.text("SiemensCreator") == "SIEMENS MR HEADER":
        return next(iter(top.numbers("SiemensBValue")), None)
    if top.text("GEParameterCreator") == "GEMS_PARM_01":
        value = next(iter(top.numbers("GEBValue")), None)
        return None if value is None else value % _GE_FLAG
    if top.text("PhilipsCreator") == "Philips Imaging DD 001":
        return next(iter(top.numbers("PhilipsBValue")), None)
    return None


def _vendor_direction(top: Item) -> str | None:
    if top.text("SiemensCreator") == "SIEMENS MR HEADER":
        return joined(top.numbers("SiemensDirection")) or None
    parts: tuple[float, ...] = ()
    if top.text("GEAcquisitionCreator") == "GEMS_ACQU_01":
        for axis in "XYZ":
            parts += top.numbers(f"GEDirection{axis}")[:1]
    return joined(parts) if len(parts) == 3 else None
