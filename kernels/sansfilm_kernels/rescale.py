"""Stored values -> modality values by Rescale Slope and Intercept (PS3.3 C.11.1, Table C.11-1)."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
from array_api_compat import is_numpy_namespace

from sansfilm_kernels.namespace import Array, get_namespace

_INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
_FLOATS = ("float32", "float64")
_PIECE = 1 << 16  # elements of a float64 temporary that stays in cache


def rescale(
    stored: Array, *, slope: float, intercept: float, dtype: Any, out: Array | None = None
) -> Array:
    """Return ``stored * slope + intercept`` (PS3.3 C.11.1, Table C.11-1).

    Parameters
    ----------
    stored : array, shape (...), integer of 8, 16 or 32 bits
        Stored values. Not changed.
    slope, intercept : float
        Rescale Slope and Rescale Intercept; finite. Integers, in whatever type, if `dtype` is an
        integer type.
    dtype : str or dtype
        "int8" to "uint64", "float32" or "float64".
    out : array, same shape, library and device as `stored`, dtype `dtype`, optional
        Where to write, e.g. a view into a slab.

    Returns
    -------
    array, same shape and device as `stored`, dtype `dtype`
        `out` if it was given. Integers are exact and never wrap. Floats are computed in float64
        (one product, one sum) and rounded once to `dtype`. NumPy needs no temporary of the size
        of `stored`.

    Raises
    ------
    TypeError
        If `stored` is not integer of at most 32 bits, or `dtype` is not one of the above.
    ValueError
        If a result does not fit `dtype`, if `dtype` is integer and slope or intercept is not, if
        one is not finite, or if `out` has another shape or dtype.
    """
    xp = get_namespace(stored, out)
    name = np.dtype(dtype).name
    if name not in _INTEGERS + _FLOATS:
        raise TypeError(f"dtype must be one of {', '.join(_INTEGERS + _FLOATS)}, got {name}")
    if not xp.isdtype(stored.dtype, "integral") or xp.iinfo(stored.dtype).bits > 32:
        raise TypeError(f"stored must be integers of at most 32 bits, got {stored.dtype}")
    target = getattr(xp, name)
    if out is not None and (out.shape != stored.shape or out.dtype != target):
        wanted = f"{stored.shape} {name}"
        raise ValueError(f"out must be {wanted}, got {out.shape} {out.dtype}")
    try:
        exact = Fraction(slope), Fraction(intercept)
    except (ValueError, OverflowError) as error:
        message = f"slope and intercept must be finite, got {slope} and {intercept}"
        raise ValueError(message) from error
    if name in _INTEGERS and any(number.denominator != 1 for number in exact):
        message = f"slope {slope} and intercept {intercept} must be integers for {name}"
        raise ValueError(message)
    _check_fits(stored, *exact, name, xp)
    if name in _FLOATS:
        return _floating(stored, float(slope), float(intercept), target, out, xp)
    return _integral(stored, int(slope), int(intercept), target, out, xp)


def _check_fits(stored: Array, slope: Fraction, intercept: Fraction, name: str, xp: Any) -> None:
    """Raise ValueError unless every result is within the range of the dtype called `name`."""
    if name in _INTEGERS:
        lowest, highest = Fraction(np.iinfo(name).min), Fraction(np.iinfo(name).max)
    else:
        highest = Fraction(float(np.finfo(name).max))
        lowest = -highest

    def fits(*ends: int) -> bool:
        return all(lowest <= end * slope + intercept <= highest for end in ends)

    kind = xp.iinfo(stored.dtype)
    if fits(int(kind.min), int(kind.max)) or 0 in stored.shape:
        return
    ends = int(xp.min(stored)), int(xp.max(stored))
    if not fits(*ends):
        results = " .. ".join(f"{float(end * slope + intercept):.10g}" for end in ends)
        raise ValueError(f"stored values {ends[0]} .. {ends[1]} become {results}: not {name}")


def _integral(
    stored: Array, slope: int, intercept: int, target: Any, out: Array | None, xp: Any
) -> Array:
    """Compute with integers; the results are known to fit.

    Sums and products modulo 2**bits are exact when the result fits, whatever lies between: NumPy
    computes in the target dtype right away. Elsewhere an intermediate is used that is wide enough.
    """
    if is_numpy_namespace(xp):
        out = np.empty(stored.shape, target) if out is None else out
        bits = 8 * out.dtype.itemsize
        offset = np.asarray(intercept % 2**bits).astype(target)
        if stored.dtype.isnative and stored.dtype.itemsize == out.dtype.itemsize:
            stored = stored.view(target)  # the bits will do; a cast would take twice as long
        if slope == 1:
            np.add(stored, offset, out=out, dtype=target, casting="unsafe")
            return out
        factor = np.asarray(slope % 2**bits).astype(target)
        np.multiply(stored, factor, out=out, dtype=target, casting="unsafe")
        out += offset
        return out
    kind = xp.iinfo(stored.dtype)
    largest = max(abs(int(kind.min)), int(kind.max)) * abs(slope) + abs(intercept)
    values = xp.astype(stored, xp.int32 if largest < 2**31 else xp.int64)
    values *= _signed(slope)
    values += _signed(intercept)
    return _deliver(xp.astype(values, target), out)


def _floating(
    stored: Array, slope: float, intercept: float, target: Any, out: Array | None, xp: Any
) -> Array:
    """Compute in float64 and round once to the target, on NumPy in pieces that stay in cache."""
    if not is_numpy_namespace(xp) or stored.ndim == 0:
        values = xp.astype(stored, xp.float64)
        values *= slope
        values += intercept
        return _deliver(xp.astype(values, target), out)
    out = np.empty(stored.shape, target) if out is None else out
    rows = max(1, _PIECE // max(1, math.prod(stored.shape[1:])))
    for start in range(0, stored.shape[0], rows):
        values = stored[start : start + rows] * np.float64(slope)
        values += intercept
        out[start : start + rows] = values
    return out


def _signed(number: int) -> int:
    """Wrap a number into the range of int64."""
    return (number + 2**63) % 2**64 - 2**63


def _deliver(result: Array, out: Array | None) -> Array:
    if out is None:
        return result
    out[...] = result
    return out
