"""DICOM's rules after the codec, in one place: sign, precision, high bit, overlays, single bits."""

import numpy as np

from sansfilm.decode import syntaxes
from sansfilm.decode.codestream import Codestream
from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import FrameSpec

_AMBIGUOUS = syntaxes.JPEG
"""Codestreams without a sign whose readers differ where they have fewer bits than Bits Stored."""


def container(spec: FrameSpec) -> np.dtype:
    """Return the dtype of stored values."""
    return np.dtype(spec.container)


def packed_bytes(spec: FrameSpec) -> int:
    """Return the bytes of a frame whose pixels are single bits."""
    return (spec.rows * spec.columns + 7) // 8


def unpack_bits(packed: np.ndarray, spec: FrameSpec) -> np.ndarray:
    """Turn a frame of single bits, the lowest of each byte first (PS3.5 section 8.1.1), to 0 and 1.

    Parameters
    ----------
    packed : ndarray, shape (at least `packed_bytes`,), uint8

    Returns
    -------
    ndarray, shape (rows, columns), uint8
    """
    bits = np.unpackbits(packed, count=spec.rows * spec.columns, bitorder="little")
    return bits.reshape(spec.shape)


def to_stored(raw: np.ndarray, spec: FrameSpec, found: Codestream | None) -> np.ndarray:
    """Turn what a codec gave into stored values (PS3.5 section 8.1.1).

    Parameters
    ----------
    raw : ndarray, shape ``spec.shape``, integer, or floating where the spec says so
    spec : FrameSpec
    found : Codestream or None
        What the codestream says of itself; None where the frame is made of whole words
        (uncompressed, RLE), whose unused high bits may hold overlays.

    Returns
    -------
    ndarray, shape ``spec.shape``, dtype `container(spec)`
        Values within Bits Stored; floats as they are. The unused bits of words are cut off.
        Values of a codestream are kept or refused, never cut; where it and the dataset differ in
        sign, the same bits are read with the dataset's sign, the highest bit that both have being
        the sign.

    Raises
    ------
    BadInstanceError
        CODESTREAM_MISMATCH for another shape, values beyond Bits Stored, or a sign that cannot be
        told.
    """
    target = container(spec)
    if raw.shape != spec.shape or raw.dtype.kind not in ("f" if spec.floating else "iu"):
        message = f"decoded {raw.dtype} {raw.shape}, expected {target} {spec.shape}"
        raise BadInstanceError(ProblemCode.CODESTREAM_MISMATCH, message)
    if spec.floating:
        return raw.astype(target, copy=False)
    if found is None:
        words = raw.astype(f"u{target.itemsize}", copy=False)
        return _cut(words, spec.bits_stored, spec.high_bit + 1 - spec.bits_stored, target)
    if found.signed == bool(spec.pixel_representation):
        _check_range(raw, target, spec.bits_stored)
        return raw.astype(target, copy=False)
    return _change_sign(raw, spec, found, target)


def _change_sign(
    raw: np.ndarray, spec: FrameSpec, found: Codestream, target: np.dtype
) -> np.ndarray:
    """Read the bits of a codestream with the sign of the dataset."""
    bits = min(found.precision, spec.bits_stored)
    if (
        spec.pixel_representation
        and bits < spec.bits_stored
        and spec.transfer_syntax in _AMBIGUOUS
        and int(raw.max()) >= 1 << bits - 1
    ):
        message = f"{found.precision} bits without a sign for {spec.bits_stored} signed bits stored"
        raise BadInstanceError(ProblemCode.CODESTREAM_MISMATCH, message)
    mask = (1 << found.precision) - 1
    words = raw.view(f"u{raw.itemsize}") & mask
    words = words.astype(f"u{target.itemsize}", copy=False)
    values = _cut(words, bits, 0, target)
    if found.precision > bits:  # what was cut off must have been the sign, or nothing
        whole = values.view(words.dtype) & mask
        if not bool(np.all((words == whole) | (words == whole & ((1 << bits) - 1)))):
            raise _beyond(spec.bits_stored)
    return values


def _check_range(raw: np.ndarray, target: np.dtype, bits: int) -> None:
    if bits == target.itemsize * 8 and raw.dtype.itemsize <= target.itemsize:
        return
    high = (1 << bits - 1 if target.kind == "i" else 1 << bits) - 1
    low = -high - 1 if target.kind == "i" else 0
    if int(raw.max()) > high or (raw.dtype.kind == "i" and int(raw.min()) < low):
        raise _beyond(bits)


def _beyond(bits: int) -> BadInstanceError:
    return BadInstanceError(
        ProblemCode.CODESTREAM_MISMATCH, f"values beyond the {bits} bits stored"
    )


def _cut(words: np.ndarray, bits: int, shift: int, target: np.dtype) -> np.ndarray:
    """Keep `bits` bits above `shift`, extending the sign if the target has one."""
    width = target.itemsize * 8
    native = words.astype(words.dtype.newbyteorder("="), copy=False)
    if bits == width:
        return native.view(target)
    if target.kind == "u":
        return np.asarray((native >> shift) & ((1 << bits) - 1))
    return np.asarray((native << (width - bits - shift)).view(target) >> (width - bits))
