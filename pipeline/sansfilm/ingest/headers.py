"""One file -> Header or Problem: identity, pixel format, place, and where the codestream lies."""

import math
from typing import Any

from sansfilm.errors import BadInstanceError, Problem, ProblemCode
from sansfilm.ingest import dataset
from sansfilm.ingest.identity import read_identity
from sansfilm.ingest.source import Source
from sansfilm.ingest.values import Values
from sansfilm.model import FileRef, FrameSpec, Header, PixelLocation, Window
from sansfilm.options import Budgets

WHOLE = 16 * 2**20
"""Files up to this size are read at once; of larger ones, a growing prefix."""
ENCAPSULATED = ("1.2.840.10008.1.2.4.", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.8.1")
NATIVE = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1"}
                   | {dataset.EXPLICIT_BE, dataset.DEFLATED_LE})  # fmt: skip
_DERIVED = {
    "1.2.840.10008.5.1.4.1.1.66": "a segmentation, registration or surface",
    "1.2.840.10008.5.1.4.1.1.481": "a radiotherapy object",
    "1.2.840.10008.5.1.4.1.1.30": "a parametric map",
    "1.2.840.10008.5.1.4.1.1.77.1.6": "a whole-slide image",
}


def read_header(file: FileRef, budgets: Budgets) -> Header | Problem:
    """Read one file up to its Pixel Data, and its digest.

    Returns
    -------
    Header
        A single-frame image.
    Problem
        Why the file cannot be used. Its `frames` is the number of frames of an image that is
        known to be one, 0 for everything else.
    """
    known: dict[str, Any] = {"frames": 0, "series": None}
    try:
        with Source(file.uri) as source:
            return _interpret(file, source, budgets, known)
    except BadInstanceError as exc:
        return Problem(
            file.uri, "headers", exc.code, exc.message, known["series"], None, known["frames"]
        )
    except OSError as exc:
        message = exc.strerror or type(exc).__name__
        return Problem(file.uri, "headers", ProblemCode.UNREADABLE, message)


def _walk(
    source: Source, buffer: bytes, budgets: Budgets
) -> tuple[bytes, dataset.Walked, str, bytes]:
    """Walk the dataset; return the bytes it stands in, the walk, the syntax and the prefix."""
    while True:
        try:
            syntax, start = dataset.read_meta(buffer)
            if syntax == dataset.DEFLATED_LE:
                rest = buffer[start:] + source.read(len(buffer), source.size - len(buffer))
                plain = dataset.inflate(rest, budgets.inflated_bytes)
                return plain, dataset.walk(plain, 0, syntax, len(plain), budgets), syntax, buffer
            return buffer, dataset.walk(buffer, start, syntax, source.size, budgets), syntax, buffer
        except dataset.NeedMoreError:
            if len(buffer) >= source.size:
                raise BadInstanceError(ProblemCode.TRUNCATED, "the file meta is cut") from None
            if len(buffer) >= budgets.header_bytes:
                message = f"no Pixel Data within {budgets.header_bytes} bytes"
                raise BadInstanceError(ProblemCode.BUDGET, message) from None
            buffer += source.read(len(buffer), len(buffer))


def _interpret(file: FileRef, source: Source, budgets: Budgets, known: dict[str, Any]) -> Header:
    prefix = source.read(0, min(source.size, WHOLE))
    buffer, walked, syntax, prefix = _walk(source, prefix, budgets)
    values = Values(buffer, walked, syntax)
    if walked.pixel is None:
        if "Rows" in values and "SOPInstanceUID" in values:
            known["frames"] = 1  # an image whose pixels are missing is a frame that is missing
        raise BadInstanceError(ProblemCode.NO_PIXEL_DATA, "the object carries no Pixel Data")
    known["frames"] = 1
    sop = values.uid("SOPInstanceUID")
    series = known["series"] = values.uid("SeriesInstanceUID")
    sop_class = values.uid("SOPClassUID", required=False)
    frames = _number_of_frames(values, budgets)
    known["frames"] = frames
    spec = _frame_spec(values, syntax, budgets)
    _refuse_unsupported(values, walked, sop_class, spec, frames)
    location = _locate(walked, syntax, spec, source, len(buffer))
    signed = spec.pixel_representation == 1
    slope = values.need_number("RescaleSlope", 1.0)
    intercept = values.need_number("RescaleIntercept", 0.0)
    if slope == 0:
        raise BadInstanceError(ProblemCode.BAD_VALUE, "RescaleSlope is 0")
    spacing = values.need_floats("PixelSpacing", 2) or values.floats("ImagerPixelSpacing")
    if spacing is not None and (len(spacing) != 2 or min(spacing) <= 0):
        raise BadInstanceError(ProblemCode.BAD_VALUE, "PixelSpacing must be two positive numbers")
    position, orientation = _place(values)
    ratios = values.floats("LossyImageCompressionRatio")
    return Header(
        uri=file.uri, size=source.size, modified_ns=source.modified_ns,
        sha256=source.sha256(prefix),
        sop_instance_uid=sop, sop_class_uid=sop_class, series_uid=series,
        study_uid=values.uid("StudyInstanceUID", required=False),
        frame_of_reference_uid=values.uid("FrameOfReferenceUID", required=False) or None,
        modality=values.text("Modality"), spec=spec, pixels=location,
        position=position, orientation=orientation,
        pixel_spacing=(spacing[0], spacing[1]) if spacing else None,
        slice_thickness=values.number("SliceThickness"),
        slope=slope, intercept=intercept,
        unit=values.text("RescaleType") or ("HU" if values.text("Modality") == "CT" else ""),
        windows=_windows(values), voi_function=values.text("VOILUTFunction") or "LINEAR",
        padding=_padding(values, signed=signed),
        instance_number=values.integer("InstanceNumber"),
        lossy=(values.text("LossyImageCompression") == "01",
               values.text("LossyImageCompressionMethod"), ratios[-1] if ratios else None),
        identity=read_identity(values), extra=_extra(values),
    )  # fmt: skip


def _number_of_frames(values: Values, budgets: Budgets) -> int:
    text = values.text("NumberOfFrames")
    if not text:
        return 1
    if not text.isdigit() or int(text) < 1:
        raise BadInstanceError(ProblemCode.BAD_VALUE, "NumberOfFrames is not a positive integer")
    if int(text) > budgets.frames:
        raise BadInstanceError(ProblemCode.BUDGET, f"NumberOfFrames is {text[:20]}")
    return int(text)


def _frame_spec(values: Values, syntax: str, budgets: Budgets) -> FrameSpec:
    rows, columns = values.unsigned("Rows"), values.unsigned("Columns")
    if not rows or not columns:
        raise BadInstanceError(ProblemCode.BAD_VALUE, f"an image of {rows} x {columns} pixels")
    if rows * columns > budgets.frame_pixels:
        raise BadInstanceError(ProblemCode.BUDGET, f"a frame of {rows} x {columns} pixels")
    allocated = values.unsigned("BitsAllocated")
    stored = values.unsigned("BitsStored", allocated)
    high = values.unsigned("HighBit", stored - 1)
    representation = values.unsigned("PixelRepresentation", 0)
    if not 0 < stored <= allocated or not stored - 1 <= high < allocated or representation > 1:
        message = f"bits allocated {allocated}, stored {stored}, high {high}, sign {representation}"
        raise BadInstanceError(ProblemCode.BAD_VALUE, message)
    return FrameSpec(
        syntax, rows, columns, values.unsigned("SamplesPerPixel", 1), allocated, stored, high,
        representation, values.text("PhotometricInterpretation") or "MONOCHROME2",
    )  # fmt: skip


def _refuse_unsupported(
    values: Values, walked: dataset.Walked, sop_class: str, spec: FrameSpec, frames: int
) -> None:
    """Name what this release does not place, rather than place it wrongly."""
    for prefix, what in _DERIVED.items():
        if sop_class == prefix or sop_class.startswith(prefix + "."):
            raise BadInstanceError(ProblemCode.UNSUPPORTED_OBJECT, f"{what} is not placed yet")
    grouped = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
    if frames > 1 or any(name in values for name in grouped):
        message = f"a multi-frame object of {frames} frames is not placed yet"
        raise BadInstanceError(ProblemCode.UNSUPPORTED_MULTIFRAME, message)
    if "MOSAIC" in values.texts("ImageType"):
        raise BadInstanceError(ProblemCode.UNSUPPORTED_MULTIFRAME, "a mosaic is not unpacked yet")
    unsupported = ""
    if walked.pixel is not None and walked.pixel[0] != dataset.PIXEL_DATA:
        unsupported = "float pixel data"
    elif spec.samples_per_pixel != 1 or spec.photometric not in ("MONOCHROME1", "MONOCHROME2"):
        unsupported = f"{spec.photometric} with {spec.samples_per_pixel} samples per pixel"
    elif spec.bits_allocated not in (8, 16, 32):
        unsupported = f"{spec.bits_allocated} bits allocated"
    elif spec.transfer_syntax == dataset.EXPLICIT_BE and spec.bits_allocated == 8:
        unsupported = "8-bit pixels in big endian words"
    elif "ModalityLUTSequence" in values:
        unsupported = "a modality LUT"
    if unsupported:
        message = f"{unsupported} cannot be stored yet"
        raise BadInstanceError(ProblemCode.UNSUPPORTED_PIXELS, message)


def _locate(
    walked: dataset.Walked, syntax: str, spec: FrameSpec, source: Source, total: int
) -> PixelLocation:
    assert walked.pixel is not None
    _, _, element, start, length = walked.pixel
    if syntax in NATIVE:
        deflated = syntax == dataset.DEFLATED_LE
        end = total if deflated else source.size
        need = spec.rows * spec.columns * (spec.bits_allocated // 8)
        if length == dataset.UNDEFINED:
            raise BadInstanceError(
                ProblemCode.BAD_FRAGMENTS, "encapsulated Pixel Data in an uncompressed syntax"
            )
        if start + length > end:
            message = f"Pixel Data of {length} bytes, {max(end - start, 0)} are left"
            raise BadInstanceError(ProblemCode.TRUNCATED, message)
        if length not in (need, need + need % 2):
            message = f"Pixel Data of {length} bytes, one frame needs {need}"
            raise BadInstanceError(ProblemCode.PIXEL_LENGTH, message)
        return PixelLocation(element, start + length, ((start, need),), deflated)
    if not syntax.startswith(ENCAPSULATED):
        raise BadInstanceError(ProblemCode.UNSUPPORTED_SYNTAX, f"transfer syntax {syntax[:64]}")
    if length != dataset.UNDEFINED:
        message = "Pixel Data of a compressed syntax has a defined length"
        raise BadInstanceError(ProblemCode.BAD_FRAGMENTS, message)
    fragments, end = dataset.follow_fragments(source.read, start, source.size)
    parts = tuple(fragment for fragment in fragments if fragment[1])
    if not parts:
        raise BadInstanceError(ProblemCode.BAD_FRAGMENTS, "Pixel Data holds no fragment")
    return PixelLocation(element, end, parts)


def _place(values: Values) -> tuple[tuple[float, float, float] | None, tuple[float, ...] | None]:
    """Image Position and Orientation (Patient), both or neither (PS3.3 C.7.6.2.1.1)."""
    position = values.need_floats("ImagePositionPatient", 3)
    orientation = values.need_floats("ImageOrientationPatient", 6)
    if position is None or orientation is None:
        return None, None
    row, column = orientation[:3], orientation[3:]
    lengths = math.hypot(*row), math.hypot(*column)
    dot = sum(a * b for a, b in zip(row, column, strict=True))
    if any(abs(length - 1) > 0.01 for length in lengths) or abs(dot) > 0.01:
        message = "ImageOrientationPatient is not two orthogonal unit vectors"
        raise BadInstanceError(ProblemCode.BAD_VALUE, message)
    return (position[0], position[1], position[2]), orientation


def _windows(values: Values) -> tuple[Window, ...]:
    """Windows that are usable; a broken one is display advice lost, not an image lost."""
    centers, widths = values.floats("WindowCenter") or [], values.floats("WindowWidth") or []
    names = values.texts("WindowCenterWidthExplanation")
    pairs = list(zip(centers, widths, strict=False))
    names += [""] * len(pairs)
    return tuple(
        Window(center, width, name)
        for (center, width), name in zip(pairs, names, strict=False)
        if width > 0
    )


def _padding(values: Values, *, signed: bool) -> tuple[int, int] | None:
    """Pixel Padding Value and Range Limit (PS3.3 C.7.5.1.1.2), in stored values, inclusive."""
    if "PixelPaddingValue" not in values:
        return None
    try:
        value = values.unsigned("PixelPaddingValue", signed=signed)
        limit = values.unsigned("PixelPaddingRangeLimit", value, signed=signed)
    except BadInstanceError:
        return None
    return min(value, limit), max(value, limit)


def _extra(values: Values) -> dict[str, Any]:
    """Return what else helps a researcher, for the frame table."""
    numbers = ("SliceThickness", "SpacingBetweenSlices", "KVP", "RepetitionTime", "EchoTime")
    numbers += ("InversionTime", "FlipAngle", "ExposureTime", "XRayTubeCurrent", "Exposure")
    integers = ("SeriesNumber", "AcquisitionNumber", "InstanceNumber", "TemporalPositionIdentifier")
    texts = ("AcquisitionDate", "AcquisitionTime", "BodyPartExamined", "ConvolutionKernel")
    found: dict[str, Any] = {name: values.number(name) for name in numbers}
    found |= {name: values.integer(name) for name in integers}
    found |= {name: values.text(name) or None for name in texts}
    found |= {"DiffusionBValue": values.double("DiffusionBValue")}
    found |= {"StudyDate": values.text("StudyDate") or None}
    return {name: value for name, value in found.items() if value is not None}
