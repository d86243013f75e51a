"""What a segmentation says of its segments (PS3.3 C.8.20): names, colours, what it was drawn on."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import FrameSpec, Lut, Segment, Segmentation
from sansfilm.planning.details import read_padding
from sansfilm.planning.items import Item
from sansfilm.planning.values import is_uid

SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""The classes of Segmentation and of Label Map Segmentation; the type says what an instance is."""
_TYPES = ("BINARY", "FRACTIONAL", "LABELMAP")
_D50 = np.array([0.9642, 1.0, 0.8249])
_TO_SRGB = np.array(
    [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540],
     [0.0719453, -0.2289914, 1.4052427]]
)  # fmt: skip
"""XYZ under D50, the white of PCS values (PS3.3 C.10.7.1.1), to linear sRGB."""


def read_segmentation(values: Item, spec: FrameSpec) -> Segmentation | None:
    """Return what an instance says of its segments; None if it is no segmentation.

    The colours of a label map may be in its palette, which is read as sRGB.

    Raises
    ------
    BadInstanceError
        BAD_VALUE without a type, or if segments have no numbers of their own.
    """
    if values.token("SOPClassUID") not in SEGMENTATIONS:
        return None
    kind = values.code("SegmentationType")
    if kind not in _TYPES:
        raise BadInstanceError(ProblemCode.BAD_VALUE, "SegmentationType is not one of the standard")
    maximum = 1
    if kind == "FRACTIONAL":
        maximum = _word(values, "MaximumFractionalValue", 255)
    first, palette = (0, spec.lut) if kind == "LABELMAP" else (1, None)
    segments = tuple(_segment(item, first, palette) for item in values.items("SegmentSequence"))
    if not segments or not maximum or len({s.number for s in segments}) < len(segments):
        message = "segments without numbers of their own, or a largest fraction of 0"
        raise BadInstanceError(ProblemCode.BAD_VALUE, message)
    series = [item.token("SeriesInstanceUID") for item in values.items("ReferencedSeriesSequence")]
    return Segmentation(
        kind=kind, fractional_type=values.code("SegmentationFractionalType"), maximum=maximum,
        segments=tuple(sorted(segments, key=lambda segment: segment.number)),
        references=tuple(sorted({uid for uid in series if is_uid(uid)})),
        background=_background(values, spec) if kind == "LABELMAP" else 0,
    )  # fmt: skip


def label_format(spec: FrameSpec) -> FrameSpec:
    """Return the format of a label map's pixels: numbers in whole words, whatever their colours.

    Bits Stored is Bits Allocated (PS3.3 C.8.20.2). Where it is not, what lies above counts too:
    cut off, one segment would become another.

    Raises
    ------
    BadInstanceError
        BAD_VALUE for pixels that are no whole numbers from 0, in the lowest bits.
    """
    whole = spec.samples_per_pixel == 1 and not spec.floating and not spec.pixel_representation
    if not whole or spec.high_bit != spec.bits_stored - 1:
        raise BadInstanceError(ProblemCode.BAD_VALUE, "a label map whose pixels are no numbers")
    bits = spec.bits_allocated
    return replace(spec, bits_stored=bits, high_bit=bits - 1, lut=None)


def _background(values: Item, spec: FrameSpec) -> int | None:
    """Return Pixel Padding Value, which stands for the background of a label map."""
    padding = read_padding(values, label_format(spec))
    return None if padding is None else padding[0]


def _segment(item: Item, first: int, palette: Lut | None) -> Segment:
    number = _word(item, "SegmentNumber", -1)
    if number < first:
        raise BadInstanceError(ProblemCode.BAD_VALUE, f"a segment without a number from {first}")
    colour = item.numbers("RecommendedDisplayCIELabValue")
    rgb = _of_palette(palette, number) if palette else None
    return Segment(
        number=number, label=item.text("SegmentLabel"),
        category=_meaning(item, "SegmentedPropertyCategoryCodeSequence"),
        type=_meaning(item, "SegmentedPropertyTypeCodeSequence"),
        algorithm=item.code("SegmentAlgorithmType"),
        rgb=to_srgb(colour) if len(colour) == 3 else rgb,
    )  # fmt: skip


def _word(item: Item, keyword: str, default: int) -> int:
    found = item.need_floats(keyword, 1)
    return default if found is None else int(found[0])


def _of_palette(palette: Lut, number: int) -> tuple[int, int, int] | None:
    """Return the colour of a number in a palette, of 8 bits; None where there is no entry."""
    place = number - palette.first
    if palette.channels != 3 or not 0 <= place < palette.count:
        return None
    entries = np.frombuffer(palette.entries, palette.dtype).reshape(-1, 3)
    red, green, blue = (int(part) >> (palette.bits - 8) for part in entries[place])
    return red, green, blue


def _meaning(item: Item, keyword: str) -> str:
    return next((code.text("CodeMeaning") for code in item.items(keyword)), "")


def to_srgb(lab: Sequence[float]) -> tuple[int, int, int]:
    """Return a colour that DICOM encodes as three PCS values of 16 bits as sRGB of 8 bits.

    L* of 0 to 100 and a*, b* of -128 to 127 are spread over 0 to 65535; what a screen cannot
    show is cut off.
    """
    lightness, a, b = lab[0] * 100 / 65535, *(part * 255 / 65535 - 128 for part in lab[1:])
    fy = (lightness + 16) / 116
    f = np.array([fy + a / 500, fy, fy - b / 200])
    linear = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * _D50
    linear = np.clip(_TO_SRGB @ linear, 0, 1)
    curve = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = (int(part) for part in np.rint(255 * curve))
    return red, green, blue
