"""Exact block means of all levels from shared sums, tile by tile."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from array_api_compat import is_numpy_namespace

from sansfilm_kernels._grid import reduced_region, tiles, uniform_regions
from sansfilm_kernels.namespace import Array

type Factors = tuple[int, ...]


def mean_levels(
    block: Array,
    levels: Sequence[Factors],
    outputs: Sequence[Array],
    padding: tuple[Any, Any] | None,
    tile_voxels: int,
    xp: Any,
) -> None:
    """Write the mean of each cell of each level into `outputs`."""
    write = _float_tile if xp.isdtype(block.dtype, "real floating") else _integer_tile
    # inf - inf is NaN and a sum beyond float64 is infinite: results, not accidents.
    with np.errstate(invalid="ignore", over="ignore"):
        for region in tiles(block.shape, levels[-1], tile_voxels):
            views = [
                output[reduced_region(region, factors)]
                for output, factors in zip(outputs, levels, strict=True)
            ]
            write(block[region], levels, views, padding, xp)


def outside(tile: Array, padding: tuple[Any, Any], xp: Any) -> Array:
    """Return where `tile` is not padding; NaN is none unless both ends are NaN."""
    low, high = padding
    if low != low:
        return tile == tile
    if low == high:
        return tile != low
    return xp.logical_not(xp.logical_and(tile >= low, tile <= high))


def _integer_tile(
    tile: Array,
    levels: Sequence[Factors],
    views: Sequence[Array],
    padding: tuple[Any, Any] | None,
    xp: Any,
) -> None:
    """Carry the sums from level to level and round each level on its own.

    Sums are int16, int32 or int64: the narrowest that holds those of the tile's largest magnitude,
    because narrow sums are what is fast on a CPU.
    """
    sums, counts, before = tile, None, (1,) * tile.ndim
    if padding is not None:
        exists = outside(tile, padding, xp)
        if not xp.all(exists):
            if is_numpy_namespace(xp):
                sums = tile * exists  # three times faster than `where`
            else:
                sums = xp.where(exists, tile, xp.zeros_like(tile))
            counts = xp.astype(exists, xp.uint8)
    largest = _largest_magnitude(sums, xp)
    for factors, view in zip(levels, views, strict=True):
        steps = [factor // done for factor, done in zip(factors, before, strict=True)]
        cell = math.prod(min(n, f) for n, f in zip(tile.shape, factors, strict=True))
        sums = _add_cells(sums, steps, _sum_dtype(largest, cell, xp), xp)
        if counts is not None and padding is not None:
            counts = _add_cells(counts, steps, _count_dtype(cell, xp), xp)
            view[...] = _rounded_by_counts(sums, counts, cell, padding[0], view.dtype, xp)
        else:
            for region, _, size in uniform_regions(tile.shape, factors):
                view[region] = _rounded(sums[region], math.prod(size), view.dtype, xp)
        before = factors


def _float_tile(
    tile: Array,
    levels: Sequence[Factors],
    views: Sequence[Array],
    padding: tuple[Any, Any] | None,
    xp: Any,
) -> None:
    """Sum each level from the tile itself: the order of a float sum decides its last bits."""
    exists = None
    if padding is not None:
        exists = outside(tile, padding, xp)
        tile = xp.where(exists, tile, xp.zeros_like(tile))
    for factors, view in zip(levels, views, strict=True):
        sums = _add_cells(tile, factors, xp.float64, xp)
        if exists is not None and padding is not None:
            number = _add_cells(xp.astype(exists, xp.float64), factors, xp.float64, xp)
            mean = xp.astype(sums / xp.maximum(number, xp.ones_like(number)), view.dtype)
            view[...] = xp.where(number > 0, mean, xp.full_like(mean, padding[0]))
        else:
            for region, _, size in uniform_regions(tile.shape, factors):
                view[region] = xp.astype(sums[region] / math.prod(size), view.dtype)


def _add_cells(array: Array, steps: Sequence[int], dtype: Any, xp: Any) -> Array:
    """Sum along each axis, the first one first, voxels in ascending order."""
    for axis, step in enumerate(steps):
        if step == 1:
            continue
        every = (slice(None),) * axis
        parts = [
            array[(*every, slice(offset, None, step), ...)]
            for offset in range(min(step, array.shape[axis]))
        ]
        pair = len(parts) > 1 and parts[1].shape == parts[0].shape
        if pair and is_numpy_namespace(xp):
            total = np.add(parts[0], parts[1], dtype=dtype, casting="unsafe")
        elif pair:
            total = xp.astype(parts[0], dtype) + xp.astype(parts[1], dtype)
        else:
            total = xp.astype(parts[0], dtype)
        for part in parts[2:] if pair else parts[1:]:
            total[(*every, slice(0, part.shape[axis]), ...)] += xp.astype(part, dtype, copy=False)
        array = total
    return array


def _rounded(sums: Array, count: int, dtype: Any, xp: Any) -> Array:
    """Return ``floor(sums / count + 1 / 2)``."""
    if count & (count - 1) == 0:
        half = sums + count // 2
        half >>= count.bit_length() - 1
        return xp.astype(half, dtype, copy=False)
    twice = xp.astype(sums, xp.int64) * 2
    twice += count
    twice //= 2 * count
    return xp.astype(twice, dtype)


def _rounded_by_counts(
    sums: Array, counts: Array, cell: int, empty: int, dtype: Any, xp: Any
) -> Array:
    """Return ``floor(sums / counts + 1 / 2)``, and `empty` where there is nothing to count."""
    if is_numpy_namespace(xp):
        # Nearly all cells are full or empty: one shift for all, a division for the others.
        mean = _rounded(sums, cell, dtype, xp)
        odd = counts != cell
        number = counts[odd].astype(np.int64)
        twice = sums[odd] * np.int64(2) + number
        mean[odd] = np.where(number > 0, twice // np.maximum(2 * number, 1), empty)
        return mean
    number = xp.astype(counts, xp.int64)
    twice = xp.astype(sums, xp.int64) * 2 + number
    mean = xp.astype(twice // xp.maximum(number * 2, xp.ones_like(number)), dtype)
    return xp.where(counts > 0, mean, xp.full_like(mean, empty))


def _largest_magnitude(tile: Array, xp: Any) -> int:
    """Return a bound of ``abs(tile)``; measured on NumPy, where it costs little and saves much."""
    if is_numpy_namespace(xp):
        return max(abs(int(tile.min())), abs(int(tile.max())))
    info = xp.iinfo(tile.dtype)
    return max(abs(int(info.min)), int(info.max))


def _sum_dtype(largest: int, cell: int, xp: Any) -> Any:
    """Return the narrowest integer that holds a cell's sum plus half its number of voxels."""
    total = largest * cell + cell // 2
    if total >= 2**62:
        raise ValueError(f"a cell of {cell} voxels is too large to sum")
    return xp.int16 if total < 2**15 else xp.int32 if total < 2**31 else xp.int64


def _count_dtype(cell: int, xp: Any) -> Any:
    return xp.uint8 if cell < 2**8 else xp.uint16 if cell < 2**16 else xp.int64
