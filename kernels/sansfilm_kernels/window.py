"""Window functions of DICOM: modality values -> display values (PS3.3 C.11.2.1.2, C.11.2.1.3)."""

import math
from typing import Any

import numpy as np

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
    xp = _namespace(values, center, width, low, high)
    if width < 1:
        raise ValueError(f"width of a LINEAR window must be at least 1, got {width}")
    if width == 1:
        step = xp.full_like(values, low)
        step = xp.where(values > center - 0.5, xp.full_like(values, high), step)
        return xp.where(xp.isnan(values), values, step)
    return _ramp(values, center - 0.5, width - 1, low, high, xp)


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
    xp = _namespace(values, center, width, low, high)
    _check_positive(width, values, xp)
    return _ramp(values, center, width, low, high, xp)


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
    xp = _namespace(values, center, width, low, high)
    _check_positive(width, values, xp)
    with np.errstate(over="ignore"):
        unit = values - center
        unit /= width / 2
    unit = xp.tanh(unit)
    unit += 1.0
    unit *= 0.5
    return _between(unit, low, high)


def _ramp(values: Array, center: float, width: float, low: float, high: float, xp: Any) -> Array:
    """Map ``center - width / 2 .. center + width / 2`` to `low` .. `high` and clip."""
    with np.errstate(over="ignore"):
        unit = values - center
        unit /= width
    unit += 0.5
    return _between(xp.clip(unit, 0.0, 1.0), low, high)


def _between(unit: Array, low: float, high: float) -> Array:
    """Map 0 to exactly `low` and 1 to exactly `high`; changes `unit` unless `low` is not 0."""
    if low == 0:
        unit *= high
        return unit
    return (1.0 - unit) * low + unit * high


def _namespace(values: Array, *arguments: float) -> Any:
    xp = get_namespace(values)
    if not xp.isdtype(values.dtype, "real floating"):
        raise TypeError(f"values must be real floating, got {values.dtype}")
    if not all(math.isfinite(argument) for argument in arguments):
        raise ValueError(f"center, width, low and high must be finite, got {arguments}")
    return xp


def _check_positive(width: float, values: Array, xp: Any) -> None:
    smallest = float(xp.finfo(values.dtype).smallest_normal)
    if width < smallest:
        raise ValueError(f"width must be positive (at least {smallest:.2g}), got {width}")
