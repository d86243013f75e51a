"""What a header says beside place and pixel format: padding, display, compression, acquisition."""

from typing import Any

from sansfilm.errors import BadInstanceError
from sansfilm.model import FrameSpec, Window
from sansfilm.planning.modality import stored_range
from sansfilm.planning.values import Values

_LOSSY = frozenset("1.2.840.10008.1.2.4." + tail for tail in ("50", "51", "53", "55", "81", "111"))
"""Syntaxes that are lossy by definition; of the others the header tells."""
_SMALLEST_WIDTH = {"LINEAR": 1.0, "LINEAR_EXACT": 0.0, "SIGMOID": 0.0}

_NUMBERS = (
    "SliceThickness", "SpacingBetweenSlices", "KVP", "RepetitionTime", "EchoTime",
    "InversionTime", "FlipAngle", "ExposureTime", "XRayTubeCurrent", "Exposure",
)  # fmt: skip
_INTEGERS = ("SeriesNumber", "AcquisitionNumber", "InstanceNumber", "TemporalPositionIdentifier")
_TEXTS = ("StudyDate", "AcquisitionDate", "AcquisitionTime", "BodyPartExamined",
          "ConvolutionKernel")  # fmt: skip


def read_windows(values: Values) -> tuple[str, tuple[Window, ...]]:
    """Return VOI LUT Function and the windows that it can use (PS3.3 C.11.2.1.2).

    A broken window is display advice lost, not an image lost: a width of less than 1 (LINEAR) or
    of 0, a centre without a width, a function that the standard does not know.
    """
    function = values.code("VOILUTFunction") or "LINEAR"
    if "VOILUTFunction" in values and function not in _SMALLEST_WIDTH:
        return "LINEAR", ()
    centers, widths = values.floats("WindowCenter") or [], values.floats("WindowWidth") or []
    names = [name.strip() for name in values.text("WindowCenterWidthExplanation").split("\\")]
    names += [""] * len(centers)
    smallest = _SMALLEST_WIDTH.get(function, 1.0)
    return function, tuple(
        Window(center, width, name)
        for center, width, name in zip(centers, widths, names, strict=False)
        if width > 0 and width >= smallest
    )


def read_padding(values: Values, spec: FrameSpec) -> tuple[int, int] | None:
    """Return Pixel Padding Value to Range Limit (PS3.3 C.7.5.1.1.2), in stored values, inclusive.

    The sign is that of the pixels, whatever VR the element has. Values that cannot be stored
    cannot be padding: what lies beyond Bits Stored is cut off, None if nothing is left.
    """
    read = values.signed if spec.pixel_representation else values.unsigned
    if "PixelPaddingValue" not in values:
        return None
    try:
        value = read("PixelPaddingValue")
        limit = read("PixelPaddingRangeLimit", value)
    except BadInstanceError:
        return None
    low, high = stored_range(spec.bits_stored, signed=spec.pixel_representation == 1)
    low, high = max(min(value, limit), low), min(max(value, limit), high)
    return (low, high) if low <= high else None


def read_lossy(values: Values, transfer_syntax: str) -> tuple[bool, str, float | None]:
    """Return whether the pixels have been lossy compressed, how, and the last ratio."""
    ratios = values.floats("LossyImageCompressionRatio")
    return (
        values.code("LossyImageCompression") == "01" or transfer_syntax in _LOSSY,
        values.code("LossyImageCompressionMethod"),
        ratios[-1] if ratios else None,
    )


def read_extra(values: Values) -> dict[str, Any]:
    """Return what else helps a researcher, for the frame table: DICOM keyword -> value."""
    found: dict[str, Any] = {name: values.number(name) for name in _NUMBERS}
    found |= {name: values.integer(name) for name in _INTEGERS}
    found |= {name: values.text(name) or None for name in _TEXTS}
    found["DiffusionBValue"] = values.double("DiffusionBValue")
    return {name: value for name, value in found.items() if value is not None}
