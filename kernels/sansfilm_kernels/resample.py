"""Sample a block at the points of another lattice: linear or nearest, padding left out."""

import math
from collections.abc import Sequence
from itertools import product
from typing import Any, Literal, NamedTuple

import numpy as np
from array_api_compat import device, is_numpy_namespace

from sansfilm_kernels._mean import outside
from sansfilm_kernels.namespace import Array, get_namespace

type Interpolation = Literal["linear", "nearest"]

_HOST_TILE = 1 << 18  # voxels of the result: the temporaries of a tile stay in the cache
_DEVICE_TILE = 1 << 24


class _Cells(NamedTuple):
    """Between which two voxels of an axis points lie, the part of the second, whether inside."""

    low: Array
    high: Array
    part: Array
    inside: Array


def resample(
    block: Array,
    matrix: Any,
    shape: Sequence[int],
    *,
    method: Interpolation = "linear",
    padding: tuple[float, float] | None = None,
    fill: float = 0,
    ends: Sequence[float] | None = None,
    places: Sequence[float] | None = None,
) -> Array:
    """Return the values of a block at the points of a lattice.

    A voxel is a box around its centre: indices from -1/2 to ``n - 1/2`` are in the block, and
    beyond the outermost centres the outermost voxel counts alone, as in ITK.

    Parameters
    ----------
    block : array, shape (..., z, y, x), integer of 8, 16 or 32 bits or real floating
        Not changed.
    matrix : array_like, shape (3, 4) or (4, 4)
        Maps an index of the result (z, y, x, 1) to an index of `block` (z, y, x).
    shape : sequence of 3 int
        Of the result along z, y, x.
    method : {"linear", "nearest"}, optional
        linear: the mean of the 8 voxels around a point, weighted, those left out that are padding
        or not finite. Where these have more than half of the weight the result is `fill`.
        Computed in float64 and rounded once; integers half up, ``floor(x + 1/2)``.
        nearest: the voxel in whose box the point lies, as it is; half an index belongs to the
        upper one.
    padding : (low, high), optional
        Inclusive range of values of `block` that stand for no data; (nan, nan) for NaN.
    fill : float, optional
        What the result holds where there is no data.
    ends : sequence of 3 float, optional
        Where the data ends along z, y, x, if not at ``n - 1/2``: the last voxels of a reduced
        block may cover fewer than the others.
    places : sequence of float, optional
        Where the slices along z lie, rising, if they are uneven: in what `matrix` gives for z.

    Returns
    -------
    array, shape (..., *shape), dtype and device of `block`
        New memory. Temporaries take a few MB on the CPU and about 2 GB on a GPU, and a copy of
        `block` if it is not contiguous and the lattice is turned.

    Raises
    ------
    TypeError
        If the dtype of `block` is another one.
    ValueError
        If `method` is another one, or something has not the shape that is said.
    """
    xp = get_namespace(block)
    rows = np.asarray(matrix, np.float64)[:3]
    _check(block, rows, shape, method, places, xp)
    sizes = block.shape[-3:]
    ends = [size - 0.5 for size in sizes] if ends is None else list(ends)
    result = xp.empty((*block.shape[:-3], *shape), dtype=block.dtype, device=device(block))
    # Each axis of the block follows one axis of the lattice: then so do the sums.
    straight = bool(np.all(np.count_nonzero(rows[:, :3], axis=0) == 1)) and bool(
        np.all(np.count_nonzero(rows[:, :3], axis=1) == 1)
    )
    sample = _sample_straight if straight else _sample_turned
    tile = _HOST_TILE if is_numpy_namespace(xp) else _DEVICE_TILE
    planes = max(1, tile // max(1, math.prod(shape[1:])))
    for lead in np.ndindex(block.shape[:-3]):
        source = block[(*lead, ...)]
        if not straight:
            source = xp.reshape(source, (-1,))
        for start in range(0, shape[0], planes):
            spans = [range(start, min(start + planes, shape[0])), *map(range, shape[1:])]
            cells = [
                _cells(
                    _coordinates(row, spans, block, xp), size, end, method,
                    places if axis == 0 else None, xp,
                )
                for axis, (row, size, end) in enumerate(zip(rows, sizes, ends, strict=True))
            ]  # fmt: skip
            values = sample(source, sizes, cells, rows, method, padding, fill, xp)
            result[(*lead, slice(start, spans[0].stop), ...)] = values
    return result


def _check(
    block: Array, rows: np.ndarray, shape: Sequence[int], method: str, places: Any, xp: Any
) -> None:
    if not xp.isdtype(block.dtype, "real floating") and not (
        xp.isdtype(block.dtype, "integral") and xp.iinfo(block.dtype).bits <= 32
    ):
        raise TypeError(f"block must be integers of at most 32 bits or floats, got {block.dtype}")
    if method not in ("linear", "nearest"):
        raise ValueError(f"method must be linear or nearest, got {method!r}")
    if rows.shape != (3, 4) or not np.isfinite(rows).all():
        raise ValueError(f"matrix must be finite numbers of shape (3, 4) or (4, 4), got {rows}")
    if len(shape) != 3 or block.ndim < 3 or 0 in block.shape[-3:]:
        raise ValueError(f"block and shape must have z, y and x, got {block.shape} and {shape}")
    if places is not None and (
        len(places) != block.shape[-3] or len(places) < 2 or bool(np.any(np.diff(places) <= 0))
    ):
        raise ValueError(f"places must be {block.shape[-3]} rising numbers, two or more")


def _coordinates(row: np.ndarray, spans: Sequence[range], block: Array, xp: Any) -> Array:
    """Return an index of the block at points; of size 1 along axes that it does not follow."""
    found = xp.full((1, 1, 1), float(row[3]), dtype=xp.float64, device=device(block))
    for axis, (factor, span) in enumerate(zip(row[:3], spans, strict=True)):
        if factor:
            shape = [1, 1, 1]
            shape[axis] = len(span)
            steps = xp.arange(span.start, span.stop, dtype=xp.float64, device=device(block))
            found = found + float(factor) * xp.reshape(steps, tuple(shape))
    return found


def _cells(
    where: Array, size: int, end: float, method: str, places: Sequence[float] | None, xp: Any
) -> _Cells:
    if places is not None:
        known = xp.asarray(list(places), dtype=xp.float64, device=device(where))
        flat = xp.reshape(where, (-1,))
        before = xp.clip(xp.searchsorted(known, flat, side="right") - 1, 0, size - 2)
        first, second = xp.take(known, before), xp.take(known, before + 1)
        index = xp.astype(before, xp.float64) + (flat - first) / (second - first)
        where = xp.reshape(index, where.shape)
    inside = xp.logical_and(where >= -0.5, where < end)
    if method == "nearest":
        low = xp.astype(xp.clip(xp.floor(where + 0.5), 0.0, float(size - 1)), xp.int64)
        return _Cells(low, low, xp.zeros_like(where), inside)
    held = xp.clip(where, 0.0, float(size - 1))
    below = xp.clip(xp.floor(held), 0.0, float(max(size - 2, 0)))
    low = xp.astype(below, xp.int64)
    return _Cells(low, xp.clip(low + 1, 0, size - 1), held - below, inside)


def _sample_straight(
    source: Array, sizes: Sequence[int], cells: Sequence[_Cells], rows: np.ndarray, method: str,
    padding: Any, fill: float, xp: Any,
) -> Array:  # fmt: skip
    """Sample axis by axis, only the part of the block that the points lie in."""
    order = [int(np.flatnonzero(row)[0]) for row in rows[:, :3]]
    flat = [_Cells(*(xp.reshape(part, (-1,)) for part in each)) for each in cells]
    firsts = [int(xp.min(each.low)) for each in flat]
    part = source[
        tuple(
            slice(first, int(xp.max(each.high)) + 1)
            for first, each in zip(firsts, flat, strict=True)
        )
    ]
    moved = [
        each._replace(low=each.low - first, high=each.high - first)
        for first, each in zip(firsts, flat, strict=True)
    ]
    turn = tuple(order.index(axis) for axis in range(3))
    inside = xp.logical_and(xp.logical_and(cells[0].inside, cells[1].inside), cells[2].inside)
    if method == "nearest":
        for axis, each in enumerate(moved):
            part = xp.take(part, each.low, axis=axis)
        part = xp.permute_dims(part, turn)
        return xp.where(inside, part, xp.full_like(part, fill))
    exists = _exists(part, padding, xp)
    values = xp.astype(part, xp.float64)
    if exists is not None:
        values = xp.where(exists, values, xp.zeros_like(values))
    weights = None if exists is None else xp.astype(exists, xp.float64)
    # What shrinks first leaves least to do for the others; in the same order for every tile.
    for axis in sorted(range(3), key=lambda n: -abs(float(rows[n, order[n]]))):
        values = _blend(values, moved[axis], axis, xp)
        weights = None if weights is None else _blend(weights, moved[axis], axis, xp)
    values = xp.permute_dims(values, turn)
    weights = None if weights is None else xp.permute_dims(weights, turn)
    return _finish(values, weights, inside, fill, source.dtype, xp)


def _blend(values: Array, cells: _Cells, axis: int, xp: Any) -> Array:
    """Interpolate along one axis."""
    shape = [1] * values.ndim
    shape[axis] = -1
    part = xp.reshape(cells.part, tuple(shape))
    low = xp.take(values, cells.low, axis=axis)
    if not bool(xp.any(cells.part != 0)):
        return low
    return low * (1 - part) + xp.take(values, cells.high, axis=axis) * part


def _sample_turned(
    source: Array, sizes: Sequence[int], cells: Sequence[_Cells], rows: np.ndarray, method: str,
    padding: Any, fill: float, xp: Any,
) -> Array:  # fmt: skip
    """Sample point by point from a flat block."""
    inside = xp.logical_and(xp.logical_and(cells[0].inside, cells[1].inside), cells[2].inside)
    strides = (sizes[1] * sizes[2], sizes[2], 1)

    def look_up(upper: Sequence[bool]) -> Array:
        place = sum(
            (each.high if up else each.low) * stride
            for each, up, stride in zip(cells, upper, strides, strict=True)
        )
        return xp.reshape(xp.take(source, xp.reshape(place, (-1,))), inside.shape)

    if method == "nearest":
        picked = look_up((False, False, False))
        return xp.where(inside, picked, xp.full_like(picked, fill))
    values = xp.zeros_like(inside, dtype=xp.float64)
    weights = xp.zeros_like(values)
    checked = padding is not None or xp.isdtype(source.dtype, "real floating")
    for upper in product((False, True), repeat=3):
        weight = math.prod(
            each.part if up else 1 - each.part for each, up in zip(cells, upper, strict=True)
        )
        found = look_up(upper)
        exists = _exists(found, padding, xp)
        found = xp.astype(found, xp.float64)
        if exists is not None:
            found = xp.where(exists, found, xp.zeros_like(found))
            weights = weights + xp.where(exists, weight, xp.zeros_like(values))
        values = values + found * weight
    return _finish(values, weights if checked else None, inside, fill, source.dtype, xp)


def _exists(values: Array, padding: Any, xp: Any) -> Array | None:
    """Tell which values are data; None if all are."""
    exists = None if padding is None else outside(values, padding, xp)
    if not xp.isdtype(values.dtype, "real floating"):
        return exists
    finite = xp.isfinite(values)
    return finite if exists is None else xp.logical_and(exists, finite)


def _finish(
    values: Array, weights: Array | None, inside: Array, fill: float, dtype: Any, xp: Any
) -> Array:
    """Divide by the weights, round once, and fill what has no data."""
    if weights is not None:
        enough = weights >= 0.5
        inside = xp.logical_and(inside, enough)
        values = values / xp.where(enough, weights, xp.ones_like(weights))
    if not xp.isdtype(dtype, "real floating"):
        values = xp.floor(values + 0.5)
    found = xp.astype(values, dtype)
    return xp.where(inside, found, xp.full_like(found, fill))
