"""Colour models of DICOM to RGB: YBR (PS3.3 C.7.6.3.1.2) and palettes (PS3.3 C.7.6.3.1.5)."""

import math
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
from array_api_compat import is_numpy_namespace

from sansfilm_kernels.lut import clamped_index
from sansfilm_kernels.namespace import Array, get_namespace

_PIECE = 1 << 16  # pixels whose temporaries stay in cache
_SHIFT = {8: 21, 16: 40}
"""Fraction bits of the coefficients: sums fit int32 up to 8 bits per sample, int64 up to 16."""


def ybr_to_rgb(ybr: Array, *, bits: int, partial: bool = False, out: Array | None = None) -> Array:
    """Turn luminance and chrominance to RGB (ITU-R BT.601; PS3.3 C.7.6.3.1.2).

    Parameters
    ----------
    ybr : array, shape (..., 3), uint8 or uint16
        YBR_FULL samples, or YBR_PARTIAL with `partial`. Not changed.
    bits : int
        Bits Stored: chrominance is 0 at ``2**(bits - 1)``, results end at ``2**bits - 1``.
    partial : bool, optional
        Luminance from 16 to 235 and chrominance from 16 to 240, scaled to `bits`.
    out : array, shape, library, device and dtype of `ybr`, optional
        Where to write, in any memory order.

    Returns
    -------
    array, same shape, device and dtype as `ybr`
        Rounded half up, then clipped: fixed-point integers, the same bits on CPU and GPU, equal
        to exact arithmetic but where that gives a half within 1/10000. Not reversible: many
        colours become one.

    Raises
    ------
    TypeError
        If `ybr` is neither uint8 nor uint16.
    ValueError
        If the last axis is not 3, `bits` does not fit the dtype, or `out` has another shape or
        dtype.
    """
    xp = get_namespace(ybr, out)
    if ybr.dtype not in (xp.uint8, xp.uint16):
        raise TypeError(f"ybr must be uint8 or uint16, got {ybr.dtype}")
    if ybr.ndim == 0 or ybr.shape[-1] != 3:
        raise ValueError(f"the last axis of ybr must be 3, got shape {ybr.shape}")
    if not 2 <= bits <= xp.iinfo(ybr.dtype).bits:
        raise ValueError(f"bits must be 2 to {xp.iinfo(ybr.dtype).bits}, got {bits}")
    if out is not None and (out.shape != ybr.shape or out.dtype != ybr.dtype):
        raise ValueError(f"out must be {ybr.shape} {ybr.dtype}, got {out.shape} {out.dtype}")
    if out is None:
        out = xp.empty_like(ybr)
    if not is_numpy_namespace(xp) or ybr.ndim == 1:
        _convert(ybr, out, bits, partial, xp)
        return out
    rows = max(1, _PIECE // max(1, math.prod(ybr.shape[1:-1])))
    for start in range(0, ybr.shape[0], rows):
        _convert(ybr[start : start + rows], out[start : start + rows], bits, partial, xp)
    return out


def palette_to_rgb(indices: Array, *, first: int, entries: Array) -> Array:
    """Look indices up in a palette, clamped at both ends (PS3.3 C.7.6.3.1.5).

    Parameters
    ----------
    indices : array, shape (...), integer
        Stored values. Not changed.
    first : int
        The value mapped to the first entry, signed as `indices` are.
    entries : array, shape (n, 3), same library and device as `indices`
        Red, green and blue of each entry; ``n >= 1``.

    Returns
    -------
    array, shape (..., 3), device of `indices`, dtype of `entries`

    Raises
    ------
    TypeError
        If `indices` is not integer, or `entries` belongs to another library.
    ValueError
        If `entries` is not (n, 3).
    """
    xp = get_namespace(indices, entries)
    if not xp.isdtype(indices.dtype, "integral"):
        raise TypeError(f"indices must be integers, got {indices.dtype}")
    if entries.ndim != 2 or entries.shape[0] == 0 or entries.shape[1] != 3:
        raise ValueError(f"entries must have shape (n, 3), got {entries.shape}")
    index = clamped_index(indices, first, entries.shape[0], xp)
    colours = xp.take(entries, xp.reshape(index, (-1,)), axis=0)
    return xp.reshape(colours, (*indices.shape, 3))


@cache
def _coefficients(bits: int, partial: bool) -> tuple[int, int, tuple[int, ...]]:
    """Return fraction bits, the smallest luminance, and the factors of luminance and chrominance.

    The factors are those of Y, of Cr in R, of Cb in B, and of Cb and Cr in G.
    """
    red, blue = Fraction("0.299"), Fraction("0.114")
    green = 1 - red - blue
    white = (1 << bits) - 1
    luma = chroma = Fraction(1)
    black = 0
    if partial:
        scale = Fraction(1 << bits, 256)
        luma, chroma = white / (219 * scale), white / (224 * scale)
        black = int(16 * scale)
    shift = _SHIFT[8 if bits <= 8 else 16]
    exact = (
        luma, 2 * (1 - red) * chroma, 2 * (1 - blue) * chroma,
        -2 * (1 - blue) * blue / green * chroma, -2 * (1 - red) * red / green * chroma,
    )  # fmt: skip
    return shift, black, tuple(math.floor(factor * 2**shift + Fraction(1, 2)) for factor in exact)


def _convert(ybr: Array, out: Array, bits: int, partial: bool, xp: Any) -> None:
    shift, black, (luma, red, blue, green_b, green_r) = _coefficients(bits, partial)
    wide = xp.int32 if bits <= 8 else xp.int64
    y, cb, cr = (xp.astype(ybr[..., sample], wide) for sample in range(3))
    if partial:
        y -= black
        y *= luma
    else:
        y <<= shift
    y += (1 << shift - 1) + (1 << bits - 2) + 1  # a half, and what R and B may be off by
    cb -= 1 << bits - 1
    cr -= 1 << bits - 1
    white = (1 << bits) - 1
    for sample, value in ((0, cr * red), (2, cb * blue)):
        value += y
        value >>= shift
        _deliver(value, white, out, sample, xp)
    cb *= green_b
    cr *= green_r
    cb += cr
    cb += y
    cb >>= shift
    _deliver(cb, white, out, 1, xp)


def _deliver(value: Array, white: int, out: Array, sample: int, xp: Any) -> None:
    """Clip values that are not needed any more, and write them as one sample of `out`."""
    if is_numpy_namespace(xp) and value.ndim:
        np.clip(value, 0, white, out=value)
        out[..., sample] = value
        return
    out[..., sample] = xp.astype(xp.clip(value, 0, white), out.dtype)
