"""Stored values -> grey of 8 bits for a screen, on a GPU in one pass (PS3.3 C.11.1, C.11.2.1)."""

import math

import numpy as np
from array_api_compat import is_cupy_array

from sansfilm_kernels import _window_cuda
from sansfilm_kernels._curve import Function, curve_of
from sansfilm_kernels.namespace import Array, get_namespace
from sansfilm_kernels.window import apply_curve


def window_to_grey(
    stored: Array,
    *,
    center: float,
    width: float,
    function: Function = "LINEAR",
    slope: float = 1.0,
    intercept: float = 0.0,
) -> Array:
    """Apply Rescale Slope and Intercept and a window, and round to 8 bits.

    Parameters
    ----------
    stored : array, shape (...), integer of 8, 16 or 32 bits or real floating
        Stored or, with the slope and intercept left out, modality values. Not changed.
    center, width : float
        In modality units, as for `window_linear` and the others.
    function : {"LINEAR", "LINEAR_EXACT", "SIGMOID"}, optional
        VOI LUT Function.
    slope, intercept : float, optional
        Rescale Slope and Rescale Intercept.

    Returns
    -------
    array, same shape and device as `stored`, uint8
        ``floor(grey + 1/2)`` of the window from 0 to 255; 0 where a value is NaN. Modality values
        are computed in float64 and rounded once, to float32 or the floating dtype of `stored`;
        the window is computed in that. LINEAR and LINEAR_EXACT are the same on CPU and GPU;
        SIGMOID may differ by 1, where their tangens hyperbolicus differs in its last bit.

    Raises
    ------
    TypeError
        If `stored` has another dtype.
    ValueError
        If an argument is not finite, the window is too narrow, or there is no such function.
    """
    xp = get_namespace(stored)
    whole = xp.isdtype(stored.dtype, "integral") and xp.iinfo(stored.dtype).bits <= 32
    if not (whole or xp.isdtype(stored.dtype, "real floating")):
        kinds = "integers of at most 32 bits or real floating"
        raise TypeError(f"stored must be {kinds}, got {stored.dtype}")
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise ValueError(f"slope and intercept must be finite, got {slope} and {intercept}")
    dtype = xp.float32 if whole else stored.dtype
    curve = curve_of(function, center, width, float(xp.finfo(dtype).smallest_normal))
    if is_cupy_array(stored) and stored.dtype.name in _window_cuda.STORED:
        return _window_cuda.grey(stored, slope, intercept, curve)
    with np.errstate(over="ignore", invalid="ignore"):
        wide = xp.astype(stored, xp.float64) * slope + intercept
        grey = apply_curve(xp.astype(wide, dtype), curve, 0.0, 255.0, xp)
    grey = xp.where(xp.isnan(grey), xp.zeros_like(grey), grey)
    return xp.astype(xp.floor(grey + 0.5), xp.uint8)
