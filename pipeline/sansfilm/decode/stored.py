"""DICOM's rules after the codec, in one place: sign, precision, high bit, overlays in high bits."""

import numpy as np

from sansfilm.decode.codestream import Codestream
from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import FrameSpec


def container(spec: FrameSpec) -> np.dtype:
    """Return the dtype of stored values: Bits Allocated and Pixel Representation."""
    sign = "i" if spec.pixel_representation else "u"
    return np.dtype(f"{sign}{spec.bits_allocated // 8}")


def to_stored(raw: np.ndarray, spec: FrameSpec, found: Codestream | None) -> np.ndarray:
    """Turn what a codec gave into stored values (PS3.5 section 8.1.1).

    Parameters
    ----------
    raw : ndarray, shape (rows, columns), integer
    spec : FrameSpec
    found : Codestream or None
        What the codestream says of itself; None where the frame is made of whole words
        (uncompressed, RLE), whose unused high bits may hold overlays.

    Returns
    -------
    ndarray, shape (rows, columns), dtype `container(spec)`
        Values within Bits Stored. Unused bits are cut off; a sign is taken from the highest
        stored bit, or from the highest bit of the codestream when that has fewer.

    Raises
    ------
    BadInstanceError
        CODESTREAM_MISMATCH for another shape, or values beyond Bits Stored.
    """
    if raw.shape != (spec.rows, spec.columns) or raw.dtype.kind not in "iu":
        message = f"decoded {raw.dtype} {raw.shape}, expected {spec.rows} x {spec.columns} integers"
        raise BadInstanceError(ProblemCode.CODESTREAM_MISMATCH, message)
    target = container(spec)
    width = target.itemsize * 8
    if found is None:
        words = raw.astype(f"u{target.itemsize}", copy=False)
        return _cut(words, spec.bits_stored, spec.high_bit + 1 - spec.bits_stored, width, target)
    bits = min(found.precision, spec.bits_stored)
    if spec.pixel_representation and not found.signed:
        words = raw.astype(f"u{target.itemsize}", copy=False)
        return _cut(words, bits, 0, width, target)
    if found.signed and not spec.pixel_representation and found.precision <= width:
        # The codec was told "signed" for values that DICOM calls unsigned: same bits.
        words = raw.astype(f"i{target.itemsize}", copy=False).view(f"u{target.itemsize}")
        return _cut(words, spec.bits_stored, 0, width, target)
    if found.precision > spec.bits_stored and raw.size:
        limit = 1 << spec.bits_stored - spec.pixel_representation
        low = -limit if spec.pixel_representation else 0
        if int(raw.max()) >= limit or int(raw.min()) < low:
            message = f"values beyond the {spec.bits_stored} bits stored"
            raise BadInstanceError(ProblemCode.CODESTREAM_MISMATCH, message)
    return raw.astype(target, copy=False)


def _cut(words: np.ndarray, bits: int, shift: int, width: int, target: np.dtype) -> np.ndarray:
    """Keep `bits` bits above `shift`, extending the sign if the target has one."""
    if bits == width:
        return words.astype(words.dtype.newbyteorder("="), copy=False).view(target)
    if target.kind == "u":
        return ((words >> shift) & words.dtype.type((1 << bits) - 1)).astype(target, copy=False)
    up = width - bits - shift
    return (words << up).astype(words.dtype.newbyteorder("=")).view(target) >> (width - bits)
