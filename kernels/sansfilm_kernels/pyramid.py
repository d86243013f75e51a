"""Reduce a block by whole factors: one level, or all levels of a pyramid at once."""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, Literal

from array_api_compat import device, is_numpy_namespace

from sansfilm_kernels import _pyramid_cuda
from sansfilm_kernels._grid import reduced_shape
from sansfilm_kernels._mean import Factors, mean_levels
from sansfilm_kernels._pick import max_levels, min_levels, mode_levels, nearest
from sansfilm_kernels.namespace import Array, get_namespace

type Method = Literal["mean", "max", "min", "mode", "nearest"]

_WRITERS: dict[str, Callable[..., None]] = {
    "mean": mean_levels,
    "max": max_levels,
    "min": min_levels,
    "mode": mode_levels,
}
_HOST_TILE = 1 << 18  # voxels: the temporaries of a tile stay in the cache of one core
_DEVICE_TILE = 1 << 24


def downsample(
    block: Array,
    factors: Sequence[int],
    *,
    method: Method = "mean",
    padding: tuple[float, float] | None = None,
) -> Array:
    """Reduce a block by one whole factor per axis.

    Voxel i of the result covers the voxels ``[i * f, min((i + 1) * f, n))`` of `block` along each
    axis, called its cell: shapes round up, and a cell at the edge has only the voxels that exist.

    Parameters
    ----------
    block : array, shape (z, y, x) or any other, integer of 8, 16 or 32 bits or real floating
        Not changed.
    factors : sequence of int
        One for each axis, at least 1.
    method : {"mean", "max", "min", "mode", "nearest"}, optional
        mean: the exact mean of the voxels that are not padding, rounded once. Integers round half
        up, ``floor(x + 1/2)``, also below zero; their sums are int32 or int64 and cannot
        overflow. Floats are summed in float64 in a fixed order (first axis first, ascending) and
        rounded once to the dtype, so that CPU and GPU give the same bits; they are within 1 ulp
        of the exact mean, plus ``n * 2**-53`` of the mean magnitude of the cell's n voxels where
        these cancel. NaN propagates; a sum beyond float64 is infinite.
        max, min: the largest or smallest voxel that is not padding; NaN propagates.
        mode: the most frequent value that is not padding, the smallest of several; for label maps.
        nearest: the voxel at offset ``(f - 1) // 2`` of the cell along each axis, or the last that
        exists; taken as it is, also if it is padding.
    padding : (low, high), optional
        Inclusive range of values of `block` that stand for no data (PS3.3 C.7.5.1.1.2). A cell
        with nothing else gives `low`, or the nearest value to it that the dtype has. For floats
        ``(nan, nan)``: NaN stands for no data (PS3.3 C.7.6.24.1.1) and does not propagate.

    Returns
    -------
    array, dtype and device of `block`
        New memory. Temporaries take a few MB on the CPU and at most about 300 MB on a GPU, however
        large `block` is (more only if one cell alone is larger).

    Raises
    ------
    TypeError
        If the dtype of `block` is another one, or `method` is "mode" and it is floating.
    ValueError
        If `factors`, `method` or `padding` is wrong, or `block` has no axis.
    """
    return pyramid(block, [tuple(factors)], method=method, padding=padding)[0]


def pyramid(
    block: Array,
    factors: Sequence[Sequence[int]],
    *,
    method: Method = "mean",
    padding: tuple[float, float] | None = None,
) -> list[Array]:
    """Reduce a block to several levels at once.

    Parameters
    ----------
    block : array, shape (z, y, x) or any other, integer of 8, 16 or 32 bits or real floating
        Not changed.
    factors : sequence of sequence of int
        For each level one factor per axis, relative to `block` itself and a multiple of the level
        before, e.g. ``[(1, 2, 2), (2, 4, 4), (4, 8, 8)]``.
    method : {"mean", "max", "min", "mode", "nearest"}, optional
        As in `downsample`.
    padding : (low, high), optional
        As in `downsample`.

    Returns
    -------
    list of array
        Each equal to ``downsample(block, factors[i], ...)`` in every bit: levels share sums, never
        rounded values. Memory as in `downsample`.

    Raises
    ------
    TypeError, ValueError
        As `downsample`, and if a level's factors are not multiples of those before.

    Notes
    -----
    A block that is cut at multiples of the deepest factor gives the same voxels as the whole, so
    that slabs can be reduced one by one.
    """
    xp = get_namespace(block)
    levels = _checked_levels(factors, block.ndim)
    if method != "nearest" and method not in _WRITERS:
        raise ValueError(f"method must be one of max, mean, min, mode, nearest, got {method!r}")
    _check_dtype(block, method, xp)
    bounds = _checked_padding(padding, block, xp)
    if method == "nearest":
        return [nearest(block, level, xp) for level in levels]
    if levels and method == "mean" and _pyramid_cuda.fits(block, levels):
        return _pyramid_cuda.mean_levels(block, levels, bounds)
    outputs = [
        xp.empty(reduced_shape(block.shape, level), dtype=block.dtype, device=device(block))
        for level in levels
    ]
    if levels:
        voxels = _HOST_TILE if is_numpy_namespace(xp) else _DEVICE_TILE
        _WRITERS[method](block, levels, outputs, bounds, voxels, xp)
    return outputs


def _checked_levels(factors: Sequence[Sequence[int]], ndim: int) -> list[Factors]:
    if ndim == 0:
        raise ValueError("block must have at least one axis")
    levels = [tuple(operator.index(factor) for factor in level) for level in factors]
    before = (1,) * ndim
    for level in levels:
        if len(level) != ndim or any(factor < 1 for factor in level):
            raise ValueError(f"factors must be {ndim} integers of at least 1, got {level}")
        if any(factor % done for factor, done in zip(level, before, strict=True)):
            raise ValueError(f"factors {level} must be multiples of those before, {before}")
        before = level
    return levels


def _check_dtype(block: Array, method: str, xp: Any) -> None:
    if xp.isdtype(block.dtype, "integral") and xp.iinfo(block.dtype).bits <= 32:
        return
    if not xp.isdtype(block.dtype, "real floating"):
        raise TypeError(f"block must be integers of at most 32 bits or floats, got {block.dtype}")
    if method == "mode":
        raise TypeError(f"mode needs integers, got {block.dtype}: convert label maps to integers")


def _checked_padding(
    padding: tuple[float, float] | None, block: Array, xp: Any
) -> tuple[Any, Any] | None:
    """Return the part of the padding range that the dtype can hold, None if there is none."""
    if padding is None:
        return None
    low, high = padding
    both = math.isnan(low) and math.isnan(high) and xp.isdtype(block.dtype, "real floating")
    if not low <= high and not both:
        raise ValueError(f"padding must be a range (low, high), got {padding}")
    if xp.isdtype(block.dtype, "real floating"):
        return float(low), float(high)
    if not (float(low).is_integer() and float(high).is_integer()):
        raise ValueError(f"padding of {block.dtype} must be integers, got {padding}")
    info = xp.iinfo(block.dtype)
    low, high = max(int(low), int(info.min)), min(int(high), int(info.max))
    return (low, high) if low <= high else None
