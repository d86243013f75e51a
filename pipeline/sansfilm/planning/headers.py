"""One file -> frames or a Problem: identity, pixel format, place, and where the codestream lies."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

from sansfilm.errors import BadInstanceError, Problem, ProblemCode
from sansfilm.model import Document, FileRef, Frame, FrameFacts, FrameSpec, PixelLocation
from sansfilm.options import Budgets
from sansfilm.planning import dataset
from sansfilm.planning.details import read_lossy
from sansfilm.planning.documents import is_image, read_document
from sansfilm.planning.facts import check_rescale
from sansfilm.planning.frames import ENCAPSULATED, NATIVE, FrameBytes, FrameTable, locate_frames
from sansfilm.planning.functional_groups import frame_facts
from sansfilm.planning.identity import read_identity
from sansfilm.planning.items import Item
from sansfilm.planning.mosaics import read_mosaic
from sansfilm.planning.pixel_format import read_format, read_level0_padding
from sansfilm.planning.recent import RECENT
from sansfilm.planning.segments import SEGMENTATIONS, label_format, read_segmentation
from sansfilm.planning.source import AT_ONCE, WHOLE, Source, local_path
from sansfilm.planning.tiles import read_tiles
from sansfilm.planning.values import is_uid

_DERIVED = {
    "1.2.840.10008.5.1.4.1.1.66": "a height map, a registration or a surface",
}
_FACTS = tuple(field.name for field in fields(FrameFacts))


@dataclass(slots=True)
class _Known:
    """What a Problem can say of an instance, as far as it was read."""

    frames: int = 0
    series: str | None = None


Found = list[Frame] | Document | Problem


def read_files(budgets: Budgets, files: Sequence[FileRef]) -> list[Found]:
    """Read files up to their Pixel Data, remote ones several at a time; see `read_frames`."""
    read = partial(read_frames, budgets=budgets)
    if all(local_path(file.uri) for file in files):
        return [read(file) for file in files]
    with ThreadPoolExecutor(AT_ONCE, "sansfilm-read") as pool:
        return list(pool.map(read, files))


def read_frames(file: FileRef, budgets: Budgets) -> Found:
    """Read one file up to its Pixel Data, and its digest.

    Returns
    -------
    list of Frame
        The frames of an image, by their number.
    Document
        What is no image.
    Problem
        Why the file cannot be used. Its `frames` is the number of frames of an image that is
        known to be one, 0 for everything else.
    """
    known = _Known()
    try:
        with Source(file.uri, file.size, file.version) as source:
            return _interpret(file, source, budgets, known)
    except BadInstanceError as exc:
        code, message = exc.code, exc.message
    except OSError as exc:
        code, message = ProblemCode.UNREADABLE, exc.strerror or type(exc).__name__
    return Problem(file.uri, "headers", code, message, known.series, None, known.frames)


def _interpret(
    file: FileRef, source: Source, budgets: Budgets, known: _Known
) -> list[Frame] | Document:
    buffer, walked, syntax, prefix = found = _walk(source, budgets)
    values = Item(buffer, walked, syntax)
    if walked.pixel is None:
        if not is_image(values, walked):
            return read_document(source, file.uri, found, budgets)
        if "SOPInstanceUID" in values:
            known.frames = 1  # an image whose pixels are missing is a frame that is missing
        raise BadInstanceError(ProblemCode.NO_PIXEL_DATA, "an image without Pixel Data")
    known.frames = 1
    sop = values.uid("SOPInstanceUID")
    series = known.series = values.uid("SeriesInstanceUID")
    sop_class = values.uid("SOPClassUID", required=False)
    count = known.frames = _number_of_frames(values, budgets)
    if syntax not in NATIVE and syntax not in ENCAPSULATED:
        message = f"transfer syntax {syntax if is_uid(syntax) else 'that is no UID'}"
        raise BadInstanceError(ProblemCode.UNSUPPORTED_SYNTAX, message)
    _refuse_unsupported(values, sop_class)
    mosaic = read_mosaic(values)
    if mosaic:
        if count > 1:
            message = f"{count} frames that are mosaics"
            raise BadInstanceError(ProblemCode.UNSUPPORTED_MULTIFRAME, message)
        known.frames = mosaic.count
    spec = read_format(values, walked, syntax, budgets)
    segmentation = read_segmentation(values, spec)
    if segmentation and segmentation.kind == "LABELMAP":
        spec = label_format(spec)
    facts = [_modality_values(each, spec) for each in frame_facts(buffer, walked, syntax, count)]
    tiles = read_tiles(values, facts, spec, segmentation, budgets)
    total = len(buffer) if prefix else source.size
    table = locate_frames(walked, spec, source, count, prefix, total, budgets)
    if table.header_length > budgets.header_bytes:
        message = f"a header of {table.header_length} bytes"
        raise BadInstanceError(ProblemCode.BUDGET, message)
    base = Frame(
        uri=file.uri, size=source.size, modified_ns=source.modified_ns,
        sha256=source.sha256(),
        sop_instance_uid=sop, sop_class_uid=sop_class, series_uid=series,
        study_uid=values.uid("StudyInstanceUID", required=False),
        frame_of_reference_uid=values.uid("FrameOfReferenceUID", required=False) or None,
        modality=values.code("Modality"), spec=spec, number=1, of=count,
        padding=read_level0_padding(values, spec), instance_number=values.integer("InstanceNumber"),
        lossy=read_lossy(values, syntax), identity=read_identity(values),
        segmentation=segmentation, tile=tiles[0], version=file.version,
        **_of_frame(table, 0, facts[0], spec),
    )  # fmt: skip
    if source.data:
        RECENT.keep(base.uri, base.sha256, source.data)
    if mosaic:
        return mosaic.unpack(base)
    rest = (
        replace(base, number=number + 1, tile=tiles[number],
                **_of_frame(table, number, facts[number], spec))
        for number in range(1, count)
    )  # fmt: skip
    return [base, *rest]


def _of_frame(table: FrameTable, number: int, facts: FrameFacts, spec: FrameSpec) -> dict[str, Any]:
    """Return the fields of a Frame that differ from frame to frame."""
    where = _whole_words(table[number], spec, len(table))
    location = PixelLocation(
        table.element_offset, table.element_end, table.total, table.prefix,
        where.offset, where.length, where.bits, where.shift,
    )  # fmt: skip
    return {"pixels": location} | {name: getattr(facts, name) for name in _FACTS}


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


def _number_of_frames(values: Item, budgets: Budgets) -> int:
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


def _refuse_unsupported(values: Item, sop_class: str) -> None:
    """Name what this release does not place, rather than place it wrongly."""
    for prefix, what in _DERIVED.items():
        if sop_class in SEGMENTATIONS:
            continue
        if sop_class == prefix or sop_class.startswith(prefix + "."):
            raise BadInstanceError(ProblemCode.UNSUPPORTED_OBJECT, f"{what} is not placed yet")


def _modality_values(facts: FrameFacts, spec: FrameSpec) -> FrameFacts:
    """Check slope and intercept, or set them aside where they do not apply (PS3.3 C.11.1).

    A Modality LUT takes their place, and its type that of the unit; colour has no modality values.
    """
    if spec.channels > 1:
        return replace(facts, slope=1.0, intercept=0.0)
    if spec.lut is not None:
        return replace(facts, slope=1.0, intercept=0.0, unit=spec.lut.kind or facts.unit)
    if not spec.floating:
        check_rescale(facts.slope, facts.intercept, spec)
    return facts


def _whole_words(where: FrameBytes, spec: FrameSpec, count: int) -> FrameBytes:
    """Widen the bytes of a frame to the words that they lie in, where words are swapped.

    Raises
    ------
    BadInstanceError
        UNSUPPORTED_PIXELS if several frames share a word.
    """
    if not spec.swapped or where.bits % 16 == 0:
        return where
    if count > 1:
        message = "frames of an odd number of bytes in big endian words cannot be stored"
        raise BadInstanceError(ProblemCode.UNSUPPORTED_PIXELS, message)
    words = (where.bits + 15) // 16
    return FrameBytes(where.offset, 2 * words, 16 * words)
