"""One file -> Header or Problem: identity, pixel format, place, and where the codestream lies."""

import math
import sys
from dataclasses import dataclass

from sansfilm.errors import BadInstanceError, Problem, ProblemCode
from sansfilm.model import FileRef, FrameSpec, Header, PixelLocation
from sansfilm.options import Budgets
from sansfilm.planning import dataset, locate
from sansfilm.planning.details import read_extra, read_lossy, read_padding, read_windows
from sansfilm.planning.identity import read_identity
from sansfilm.planning.modality import stored_range
from sansfilm.planning.source import Source
from sansfilm.planning.values import Values, is_uid

WHOLE = 16 * 2**20
"""Files up to this size are read at once; of larger ones, a growing prefix."""
FARTHEST_MM = 1e7
"""Positions, and pixels, larger than ten kilometres are slips of a pen."""
_DERIVED = {
    "1.2.840.10008.5.1.4.1.1.66": "a segmentation, registration or surface",
    "1.2.840.10008.5.1.4.1.1.481": "a radiotherapy object",
    "1.2.840.10008.5.1.4.1.1.30": "a parametric map",
    "1.2.840.10008.5.1.4.1.1.77.1.6": "a whole-slide image",
}
_PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2")


@dataclass(slots=True)
class _Known:
    """What a Problem can say of an instance, as far as it was read."""

    frames: int = 0
    series: str | None = None


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
    known = _Known()
    try:
        with Source(file.uri) as source:
            return _interpret(file, source, budgets, known)
    except BadInstanceError as exc:
        code, message = exc.code, exc.message
    except OSError as exc:
        code, message = ProblemCode.UNREADABLE, exc.strerror or type(exc).__name__
    return Problem(file.uri, "headers", code, message, known.series, None, known.frames)


def _interpret(file: FileRef, source: Source, budgets: Budgets, known: _Known) -> Header:
    buffer, walked, syntax, prefix = _walk(source, budgets)
    values = Values(buffer, walked, syntax)
    if walked.pixel is None:
        if "Rows" in values and "SOPInstanceUID" in values:
            known.frames = 1  # an image whose pixels are missing is a frame that is missing
        raise BadInstanceError(ProblemCode.NO_PIXEL_DATA, "the object carries no Pixel Data")
    known.frames = 1
    sop = values.uid("SOPInstanceUID")
    series = known.series = values.uid("SeriesInstanceUID")
    sop_class = values.uid("SOPClassUID", required=False)
    frames = known.frames = _number_of_frames(values, budgets)
    if syntax not in locate.NATIVE | locate.ENCAPSULATED:
        message = f"transfer syntax {syntax if is_uid(syntax) else 'that is no UID'}"
        raise BadInstanceError(ProblemCode.UNSUPPORTED_SYNTAX, message)
    spec = _frame_spec(values, syntax, budgets)
    _refuse_unsupported(values, walked, sop_class, spec, frames)
    position, orientation = _place(values)
    slope, intercept = _rescale(values, spec)
    function, windows = read_windows(values)
    modality = values.code("Modality")
    return Header(
        uri=file.uri, size=source.size, modified_ns=source.modified_ns,
        sha256=source.sha256(),
        sop_instance_uid=sop, sop_class_uid=sop_class, series_uid=series,
        study_uid=values.uid("StudyInstanceUID", required=False),
        frame_of_reference_uid=values.uid("FrameOfReferenceUID", required=False) or None,
        modality=modality, spec=spec,
        pixels=_locate(walked, spec, source, prefix, len(buffer), budgets),
        position=position, orientation=orientation, pixel_spacing=_spacing(values),
        slice_thickness=values.number("SliceThickness"),
        slope=slope, intercept=intercept, unit=_unit(values, modality),
        windows=windows, voi_function=function, padding=read_padding(values, spec),
        instance_number=values.integer("InstanceNumber"), lossy=read_lossy(values, syntax),
        identity=read_identity(values), extra=read_extra(values),
    )  # fmt: skip


def _walk(source: Source, budgets: Budgets) -> tuple[bytes, dataset.Walked, str, int]:
    """Walk the dataset.

    Returns
    -------
    buffer : bytes
        What the offsets of the walk count in: the start of the file, or the inflated dataset.
    walked : Walked
    syntax : str
    prefix : int
        Length of the file meta information if the dataset was deflated, else 0.
    """
    length = WHOLE
    while True:
        buffer = source.head(length)
        try:
            syntax, start = dataset.read_meta(buffer, source.size)
            if syntax == dataset.DEFLATED_LE:
                if source.size > budgets.inflated_bytes:
                    message = f"a deflated file of {source.size} bytes"
                    raise BadInstanceError(ProblemCode.BUDGET, message)
                deflated = source.head(source.size)[start:]
                buffer = dataset.inflate(deflated, budgets.inflated_bytes)
                return buffer, dataset.walk(buffer, 0, syntax, len(buffer), budgets), syntax, start
            return buffer, dataset.walk(buffer, start, syntax, source.size, budgets), syntax, 0
        except dataset.NeedMoreError:
            if length >= budgets.header_bytes:
                message = f"no Pixel Data within {budgets.header_bytes} bytes"
                raise BadInstanceError(ProblemCode.BUDGET, message) from None
            length *= 2


def _number_of_frames(values: Values, budgets: Budgets) -> int:
    if values.blank("NumberOfFrames"):
        return 1
    text = values.token("NumberOfFrames").removeprefix("+")
    if text.isascii() and text.isdigit() and len(text) > 12:
        raise BadInstanceError(ProblemCode.BUDGET, f"NumberOfFrames has {len(text)} digits")
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise BadInstanceError(ProblemCode.BAD_VALUE, "NumberOfFrames is not a positive integer")
    if int(text) > budgets.frames:
        raise BadInstanceError(ProblemCode.BUDGET, f"NumberOfFrames is {text}")
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
        representation, values.code("PhotometricInterpretation") or "MONOCHROME2",
    )  # fmt: skip


def _refuse_unsupported(
    values: Values, walked: dataset.Walked, sop_class: str, spec: FrameSpec, frames: int
) -> None:
    """Name what this release does not place, rather than place it wrongly."""
    assert walked.pixel is not None
    for prefix, what in _DERIVED.items():
        if sop_class == prefix or sop_class.startswith(prefix + "."):
            raise BadInstanceError(ProblemCode.UNSUPPORTED_OBJECT, f"{what} is not placed yet")
    grouped = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
    if frames > 1 or any(name in values for name in grouped):
        message = f"a multi-frame object ({frames} frames) is not placed yet"
        raise BadInstanceError(ProblemCode.UNSUPPORTED_MULTIFRAME, message)
    if "MOSAIC" in values.tokens("ImageType"):
        raise BadInstanceError(ProblemCode.UNSUPPORTED_MULTIFRAME, "a mosaic is not unpacked yet")
    tag, vr, *_ = walked.pixel
    unsupported = ""
    if tag != dataset.PIXEL_DATA:
        unsupported = "float pixel data"
    elif spec.samples_per_pixel != 1 or spec.photometric not in _PHOTOMETRIC:
        unsupported = f"{spec.photometric} with {spec.samples_per_pixel} samples per pixel"
    elif spec.bits_allocated not in (8, 16, 32):
        unsupported = f"{spec.bits_allocated} bits allocated"
    elif spec.transfer_syntax == dataset.EXPLICIT_BE and spec.bits_allocated == 8 and vr == b"OW":
        unsupported = "8-bit pixels in big endian words"
    elif "ModalityLUTSequence" in values:
        unsupported = "a modality LUT"
    if unsupported:
        message = f"{unsupported} cannot be stored yet"
        raise BadInstanceError(ProblemCode.UNSUPPORTED_PIXELS, message)


def _locate(
    walked: dataset.Walked,
    spec: FrameSpec,
    source: Source,
    prefix: int,
    inflated: int,
    budgets: Budgets,
) -> PixelLocation:
    if spec.transfer_syntax in locate.NATIVE:
        total = inflated if prefix else source.size
        location = locate.locate_native(walked, spec, total, prefix)
    else:
        location = locate.locate_fragments(walked, spec.transfer_syntax, source, budgets)
    if location.header_length > budgets.header_bytes:
        message = f"a header of {location.header_length} bytes"
        raise BadInstanceError(ProblemCode.BUDGET, message)
    return location


def _place(values: Values) -> tuple[tuple[float, float, float] | None, tuple[float, ...] | None]:
    """Image Position and Orientation (Patient), both or neither (PS3.3 C.7.6.2.1.1)."""
    position = values.need_floats("ImagePositionPatient", 3)
    orientation = values.need_floats("ImageOrientationPatient", 6)
    if position is None or orientation is None:
        return None, None
    if max(map(abs, position)) > FARTHEST_MM:
        raise BadInstanceError(ProblemCode.BAD_VALUE, "ImagePositionPatient is out of this world")
    row, column = orientation[:3], orientation[3:]
    lengths = math.hypot(*row), math.hypot(*column)
    dot = sum(a * b for a, b in zip(row, column, strict=True))
    if any(abs(length - 1) > 0.01 for length in lengths) or abs(dot) > 0.01:
        message = "ImageOrientationPatient is not two orthogonal unit vectors"
        raise BadInstanceError(ProblemCode.BAD_VALUE, message)
    return (position[0], position[1], position[2]), orientation


def _spacing(values: Values) -> tuple[float, float] | None:
    """Pixel Spacing only: Imager Pixel Spacing is that of the detector, not of the patient."""
    spacing = values.need_floats("PixelSpacing", 2)
    if spacing is None:
        return None
    if not 1 / FARTHEST_MM < min(spacing) <= max(spacing) < FARTHEST_MM:
        raise BadInstanceError(ProblemCode.BAD_VALUE, "PixelSpacing must be two positive numbers")
    return spacing[0], spacing[1]


def _rescale(values: Values, spec: FrameSpec) -> tuple[float, float]:
    """Return slope and intercept: finite modality values, another for each stored value."""
    slope = values.need_number("RescaleSlope", 1.0)
    intercept = values.need_number("RescaleIntercept", 0.0)
    ends = stored_range(spec.bits_stored, signed=spec.pixel_representation == 1)
    largest = max(abs(end * slope + intercept) for end in ends)
    if not math.isfinite(largest) or abs(slope) / 2 <= largest * sys.float_info.epsilon:
        message = f"RescaleSlope {slope:g} and RescaleIntercept {intercept:g} lose pixel values"
        raise BadInstanceError(ProblemCode.BAD_VALUE, message)
    return slope, intercept


def _unit(values: Values, modality: str) -> str:
    """Return the unit of modality values: Rescale Type, a PET image's Units, a CT image's HU."""
    unit = values.text("RescaleType")[:64] or values.code("Units")
    return unit or ("HU" if modality == "CT" else "")
