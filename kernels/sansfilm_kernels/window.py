"""Window functions of DICOM: modality values -> display values (PS3.3 C.11.2.1.2, C.11.2.1.3)."""

import math
from typing import Any

import numpy as np
from array_api_compat import is_cupy_array

from sansfilm_kernels import _window_cuda
from sansfilm_kernels._curve import Curve, Function, Kind, curve_of
from sansfilm_kernels.namespace import Array, get_namespace


def window_linear(
    values: Array, *, center: float, width: float, low: float = 0.0, high: float = 255.0
) -> Array:
    """Apply the LINEAR window function (PS3.3 C.11.2.1.2.1).

    ``x <= c - 0.5 - (w - 1) / 2`` gives `low`, ``x > c - 0.5 + (w - 1) / 2`` gives `high`, and in
    between ``y = ((x - (c - 0.5)) / (w - 1) + 0.5) * (high - low) + low``.

    Parameters
    ----------
    values : array, shape (...), real floating
        Modality values, e.g. Hounsfield units. Not changed.
    center, width : float
        In the units of `values`; ``width >= 1``. A width of 1 is a threshold.
    low, high : float, optional
        Display values at the two ends of the window.

    Returns
    -------
    array, same shape, dtype and device as `values`
        Between `low` and `high`, not rounded to integers; NaN stays NaN. Computed in the dtype of
        `values`: within a few ulps of the definition, and exactly `low` and `high` outside.

    Raises
    ------
    TypeError
        If `values` is not real floating.
    ValueError
        If ``width < 1``, or an argument is not finite.
    """
    return _window(values, "LINEAR", center, width, low, high)


def window_linear_exact(
    values: Array, *, center: float, width: float, low: float = 0.0, high: float = 255.0
) -> Array:
    """Apply the LINEAR_EXACT window function (PS3.3 C.11.2.1.3.2).

    ``x <= c - w / 2`` gives `low`, ``x > c + w / 2`` gives `high`, and in between
    ``y = ((x - c) / w + 0.5) * (high - low) + low``.

    Parameters
    ----------
    values : array, shape (...), real floating
        Modality values, e.g. Hounsfield units. Not changed.
    center, width : float
        In the units of `values`; ``width > 0``.
    low, high : float, optional
        Display values at the two ends of the window.

    Returns
    -------
    array, same shape, dtype and device as `values`
        As from `window_linear`.

    Raises
    ------
    TypeError
        If `values` is not real floating.
    ValueError
        If `width` is not positive in the dtype of `values`, or an argument is not finite.
    """
    return _window(values, "LINEAR_EXACT", center, width, low, high)


def window_sigmoid(
    values: Array, *, center: float, width: float, low: float = 0.0, high: float = 255.0
) -> Array:
    """Apply the SIGMOID window function (PS3.3 C.11.2.1.3.1).

    ``y = (high - low) / (1 + exp(-4 (x - c) / w)) + low``, computed as the equal
    ``(tanh(2 (x - c) / w) + 1) / 2 * (high - low) + low``, which cannot overflow.

    Parameters
    ----------
    values : array, shape (...), real floating
        Modality values, e.g. Hounsfield units. Not changed.
    center, width : float
        In the units of `values`; ``width > 0``.
    low, high : float, optional
        Display values that the curve approaches.

    Returns
    -------
    array, same shape, dtype and device as `values`
        Between `low` and `high`, not rounded to integers; NaN stays NaN. Within a few ulps of
        `high` of the definition.

    Raises
    ------
    TypeError
        If `values` is not real floating.
    ValueError
        If `width` is not positive in the dtype of `values`, or an argument is not finite.
    """
    return _window(values, "SIGMOID", center, width, low, high)


def apply_curve(values: Array, curve: Curve, low: float, high: float, xp: Any) -> Array:
    """Map floating `values` to `low` .. `high`; NaN stays NaN."""
    if curve.kind == Kind.STEP:
        step = xp.full_like(values, low)
        step = xp.where(values > curve.offset, xp.full_like(values, high), step)
        return xp.where(xp.isnan(values), values, step)
    with np.errstate(over="ignore"):
        unit = values - curve.offset
        unit /= curve.scale
    if curve.kind == Kind.SIGMOID:
        unit = xp.tanh(unit)
        unit += 1.0
        unit *= 0.5
    else:
        unit += 0.5
        unit = xp.clip(unit, 0.0, 1.0)
    if low == 0:
        unit *= high
        return unit
    return (1.0 - unit) * low + unit * high


def _window(
    values: Array, function: Function, center: float, width: float, low: float, high: float
) -> Array:
    xp = get_namespace(values)
    if not xp.isdtype(values.dtype, "real floating"):
        raise TypeError(f"values must be real floating, got {values.dtype}")
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"low and high must be finite, got {low} and {high}")
    curve = curve_of(function, center, width, float(xp.finfo(values.dtype).smallest_normal))
    if is_cupy_array(values) and values.dtype.name in _window_cuda.FLOATS:
        return _window_cuda.shown(values, curve, low, high)
    return apply_curve(values, curve, low, high, xp)
