"""Lookup tables of DICOM: Modality LUT (PS3.3 C.11.1.1.1) and VOI LUT (PS3.3 C.11.2.1.1)."""

from typing import Any

import numpy as np
from array_api_compat import is_numpy_namespace

from sansfilm_kernels.namespace import Array, get_namespace


def apply_lut(values: Array, *, first: int, entries: Array) -> Array:
    """Look integer values up in a table, clamped at both ends (PS3.3 C.11.1.1.1, C.11.2.1.1).

    Parameters
    ----------
    values : array, shape (...), integer
        Stored values for a Modality LUT, modality values for a VOI LUT. Not changed.
    first : int
        The value mapped to the first entry: second number of the LUT Descriptor, read as signed
        or unsigned as `values` are.
    entries : array, shape (n,), same library and device as `values`
        LUT Data; ``n >= 1``. (A first number of 0 in the LUT Descriptor means n = 65536.)

    Returns
    -------
    array, same shape and device as `values`, dtype of `entries`
        Values up to `first` give the first entry, values from ``first + n - 1`` the last.

    Raises
    ------
    TypeError
        If `values` is not integer, or `entries` belongs to another library.
    ValueError
        If `entries` is empty or not one-dimensional.
    """
    xp = get_namespace(values, entries)
    if not xp.isdtype(values.dtype, "integral"):
        raise TypeError(f"values must be integers, got {values.dtype}")
    if entries.ndim != 1 or entries.shape[0] == 0:
        raise ValueError(f"entries must be one row of at least one, got shape {entries.shape}")
    if is_numpy_namespace(xp) and xp.iinfo(values.dtype).bits <= 32:
        index = np.subtract(values, first, dtype=np.int64)
        return np.take(entries, index, mode="clip")  # six times faster than clip and index
    index = clamped_index(values, first, entries.shape[0], xp)
    return xp.reshape(xp.take(entries, xp.reshape(index, (-1,)), axis=0), values.shape)


def clamped_index(values: Array, first: int, count: int, xp: Any) -> Array:
    """Return ``values - first`` within ``0 .. count - 1``, int64, whatever `values` are."""
    # Clip first, in the values' own dtype: the subtraction then cannot overflow.
    info = xp.iinfo(values.dtype)
    edges = first, first + count - 1
    lowest, highest = (max(int(info.min), min(edge, int(info.max))) for edge in edges)
    index = xp.astype(xp.clip(values, lowest, highest), xp.int64)
    return xp.clip(index - first, 0, count - 1)
