"""What a header says of its pixels: size, depth, colour model, lookup tables (PS3.3 C.7.6.3)."""

import math

import numpy as np

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import FrameSpec, Padding
from sansfilm.options import Budgets
from sansfilm.planning import dataset
from sansfilm.planning.details import read_padding
from sansfilm.planning.frames import NATIVE
from sansfilm.planning.items import Item
from sansfilm.planning.luts import read_modality_lut, read_palette

_FLOATS = {0x7FE00008: ("Float", 32), 0x7FE00009: ("DoubleFloat", 64)}
_FOUR = "1.2.840.10008.1.2.4."
_GIVE_RGB = frozenset(_FOUR + tail for tail in ("50", "51", "53", "55", "111", "112"))
"""Syntaxes whose codestreams say themselves what their samples are, and whose decoders undo it."""
_SPELT: dict[float, str] = {math.inf: "Infinity", -math.inf: "-Infinity"}
_J2K = frozenset(_FOUR + tail for tail in ("90", "91", "201", "202", "203"))
_XL = frozenset(_FOUR + tail for tail in ("110", "111", "112"))
_DEFLATED_FRAME = "1.2.840.10008.1.2.8.1"
_MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
_YBR = {"YBR_FULL": "full", "YBR_FULL_422": "full", "YBR_PARTIAL_422": "partial"}
_ONLY_IN = {"YBR_RCT": _J2K, "YBR_ICT": _J2K, "XYB": _XL}
"""Colour models that a codec makes and undoes; elsewhere they mean nothing."""
_RETIRED = ("HSV", "ARGB", "CMYK", "YBR_PARTIAL_420")


def read_format(values: Item, walked: dataset.Walked, syntax: str, budgets: Budgets) -> FrameSpec:
    """Return the pixel format of an image.

    Raises
    ------
    BadInstanceError
        BAD_VALUE for numbers that cannot be, BUDGET, UNSUPPORTED_PIXELS for formats that are
        not stored, BAD_LUT.
    """
    assert walked.pixel is not None
    tag, vr, *_ = walked.pixel
    rows, columns = values.unsigned("Rows"), values.unsigned("Columns")
    if not rows or not columns:
        raise BadInstanceError(ProblemCode.BAD_VALUE, f"an image of {rows} x {columns} pixels")
    samples = values.unsigned("SamplesPerPixel", 1)
    photometric = values.code("PhotometricInterpretation") or "MONOCHROME2"
    drawn = 3 if photometric == "PALETTE COLOR" else samples
    if rows * columns * drawn > budgets.frame_pixels:
        message = f"a frame of {rows} x {columns} pixels of {drawn} samples"
        raise BadInstanceError(ProblemCode.BUDGET, message)
    allocated = values.unsigned("BitsAllocated")
    if tag in _FLOATS:
        return _floats(tag, syntax, rows, columns, samples, allocated, photometric)
    stored = values.unsigned("BitsStored", allocated)
    high = values.unsigned("HighBit", stored - 1)
    representation = values.unsigned("PixelRepresentation", 0)
    if not 0 < stored <= allocated or not stored - 1 <= high < allocated or representation > 1:
        message = f"bits allocated {allocated}, stored {stored}, high {high}, sign {representation}"
        raise BadInstanceError(ProblemCode.BAD_VALUE, message)
    _check_samples(photometric, samples, allocated, stored, representation, syntax)
    planar = 0
    if samples > 1:
        planar = values.unsigned("PlanarConfiguration", 0)
        if planar > 1 and (syntax in NATIVE or syntax == _DEFLATED_FRAME):
            raise BadInstanceError(ProblemCode.BAD_VALUE, f"PlanarConfiguration is {planar}")
        if photometric.endswith("_422") and syntax in NATIVE and columns % 2:
            message = f"{photometric} with an odd number of columns, {columns}"
            raise BadInstanceError(ProblemCode.BAD_VALUE, message)
    signed = representation == 1
    lut = None
    if photometric == "PALETTE COLOR":
        lut = read_palette(values, syntax, signed=signed)
    elif samples == 1:
        lut = read_modality_lut(values, syntax, signed=signed)
    undone = syntax in _GIVE_RGB and photometric != "YBR_PARTIAL_422"
    return FrameSpec(
        syntax, rows, columns, samples, allocated, stored, high, representation, photometric,
        planar=planar,
        swapped=syntax == dataset.EXPLICIT_BE and allocated <= 8 and vr == b"OW",
        ybr="" if undone else _YBR.get(photometric, ""),
        lut=lut,
    )  # fmt: skip


def read_level0_padding(values: Item, spec: FrameSpec) -> Padding | None:
    """Return the range of padding in stored values, inclusive; None for colour.

    Float Pixel Padding Value (PS3.3 C.7.6.24.1.1) counts for floats, NaN and infinity too, and
    Pixel Padding Value for integers.
    """
    if spec.channels > 1:
        return None
    if not spec.floating:
        return read_padding(values, spec)
    name = "FloatPixelPadding" if spec.bits_allocated == 32 else "DoubleFloatPixelPadding"
    first = _any_float(values, f"{name}Value", spec)
    last = _any_float(values, f"{name}RangeLimit", spec)
    if first is None:
        return None
    last = first if last is None else last
    if math.isnan(first) != math.isnan(last):
        return None
    if math.isnan(first):
        return "NaN", "NaN"
    low, high = (_SPELT.get(end, end) for end in sorted((first, last)))
    return low, high


def _any_float(values: Item, keyword: str, spec: FrameSpec) -> float | None:
    """Return a float of the size of the pixels, None if it is absent or none."""
    raw = values.raw(keyword) or b""
    dtype = np.dtype(spec.container).newbyteorder(values.byteorder)
    return float(np.frombuffer(raw, dtype)[0]) if len(raw) == dtype.itemsize else None


def _floats(
    tag: int, syntax: str, rows: int, columns: int, samples: int, allocated: int, photometric: str
) -> FrameSpec:
    name, bits = _FLOATS[tag]
    if allocated != bits:
        message = f"{name} Pixel Data with {allocated} bits allocated"
        raise BadInstanceError(ProblemCode.BAD_VALUE, message)
    if samples != 1 or photometric not in _MONOCHROME or syntax not in NATIVE:
        message = f"floating pixels of {_named(photometric)} with {samples} samples in {syntax}"
        raise BadInstanceError(ProblemCode.UNSUPPORTED_PIXELS, message)
    return FrameSpec(
        syntax, rows, columns, 1, bits, bits, bits - 1, 0, photometric, floating=True
    )  # fmt: skip


def _check_samples(
    photometric: str, samples: int, allocated: int, stored: int, representation: int, syntax: str
) -> None:
    """Name what is not stored, rather than store it wrongly."""
    gray = photometric in _MONOCHROME or photometric == "PALETTE COLOR"
    colour = photometric == "RGB" or photometric in _YBR
    colour = colour or syntax in _ONLY_IN.get(photometric, ())
    unsupported = ""
    if not (gray and samples == 1) and not (colour and samples == 3):
        unsupported = f"{_named(photometric)} with {samples} samples per pixel"
    elif allocated not in (1, 8, 16, 32):
        unsupported = f"{allocated} bits allocated"
    elif representation and (samples > 1 or allocated == 1):
        unsupported = f"signed {photometric} of {allocated} bits"
    elif (samples > 1 or photometric == "PALETTE COLOR") and allocated == 1:
        unsupported = f"{photometric} of 1 bit"
    elif photometric in _YBR and not 2 <= stored <= 16:
        unsupported = f"{photometric} of {stored} bits"
    if unsupported:
        message = f"{unsupported} cannot be stored"
        raise BadInstanceError(ProblemCode.UNSUPPORTED_PIXELS, message)


def _named(photometric: str) -> str:
    """Return what a message may say: a header that is broken may have anything in this place."""
    known = (*_MONOCHROME, "PALETTE COLOR", "RGB", *_YBR, *_ONLY_IN, *_RETIRED)
    return photometric if photometric in known else "an unknown colour model"
