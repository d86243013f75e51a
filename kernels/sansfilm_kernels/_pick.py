"""Block reductions that pick one of the voxels: maximum, minimum, mode and nearest."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from array_api_compat import device

from sansfilm_kernels._grid import reduced_region, tiles, uniform_regions
from sansfilm_kernels._mean import Factors, outside
from sansfilm_kernels.namespace import Array


def _extreme_levels(
    fold: str,
    block: Array,
    levels: Sequence[Factors],
    outputs: Sequence[Array],
    padding: tuple[Any, Any] | None,
    tile_voxels: int,
    xp: Any,
) -> None:
    """Write the largest or the smallest voxel of each cell of each level into `outputs`."""
    choose = getattr(xp, fold)
    if xp.isdtype(block.dtype, "real floating"):
        least = -float("inf") if fold == "maximum" else float("inf")
    else:
        kind = xp.iinfo(block.dtype)
        least = int(kind.min if fold == "maximum" else kind.max)
    for region in tiles(block.shape, levels[-1], tile_voxels):
        chosen, exists, before = block[region], None, (1,) * block.ndim
        if padding is not None:
            exists = outside(chosen, padding, xp)
            chosen = xp.where(exists, chosen, xp.full_like(chosen, least))
        for factors, output in zip(levels, outputs, strict=True):
            steps = [factor // done for factor, done in zip(factors, before, strict=True)]
            chosen, before = _fold_cells(chosen, steps, choose, xp), factors
            result = chosen
            if exists is not None and padding is not None:
                exists = _fold_cells(exists, steps, xp.logical_or, xp)
                result = xp.where(exists, chosen, xp.full_like(chosen, padding[0]))
            output[reduced_region(region, factors)] = result


max_levels = partial(_extreme_levels, "maximum")
min_levels = partial(_extreme_levels, "minimum")


def mode_levels(
    block: Array,
    levels: Sequence[Factors],
    outputs: Sequence[Array],
    padding: tuple[Any, Any] | None,
    tile_voxels: int,
    xp: Any,
) -> None:
    """Write the most frequent voxel of each cell of each level into `outputs`."""
    for region in tiles(block.shape, levels[-1], tile_voxels):
        tile = block[region]
        if padding is not None:
            # One value for all padding: after sorting it is one run, which then does not count.
            tile = xp.where(outside(tile, padding, xp), tile, xp.full_like(tile, padding[0]))
        for factors, output in zip(levels, outputs, strict=True):
            view = output[reduced_region(region, factors)]
            for cells, voxels, cell in uniform_regions(tile.shape, factors):
                rows = _rows_of_cells(tile[voxels], cell, xp)
                view[cells] = xp.reshape(_modes(rows, padding, xp), view[cells].shape)


def nearest(block: Array, factors: Factors, xp: Any) -> Array:
    """Return the voxel at offset ``(f - 1) // 2`` of each cell, or the cell's last one."""
    for axis, factor in enumerate(factors):
        size, offset = block.shape[axis], (factor - 1) // 2
        if factor == 1 or size == 0:
            continue
        picked = [min(start + offset, size - 1) for start in range(0, size, factor)]
        if picked[-1] % factor == offset:
            index = [slice(None)] * block.ndim
            index[axis] = slice(offset, None, factor)
            block = block[tuple(index)]
        else:
            block = xp.take(block, xp.asarray(picked, device=device(block)), axis=axis)
    return xp.asarray(block, copy=True)


def _fold_cells(array: Array, steps: Sequence[int], fold: Any, xp: Any) -> Array:
    """Combine the voxels of each cell by `fold`, axis by axis."""
    for axis, step in enumerate(steps):
        if step == 1:
            continue
        index = [slice(None)] * array.ndim
        index[axis] = slice(0, None, step)
        total = xp.asarray(array[tuple(index)], copy=True)
        for offset in range(1, min(step, array.shape[axis])):
            index[axis] = slice(offset, None, step)
            part = array[tuple(index)]
            index[axis] = slice(0, part.shape[axis])
            total[tuple(index)] = fold(total[tuple(index)], part)
        array = total
    return array


def _rows_of_cells(voxels: Array, cell: Factors, xp: Any) -> Array:
    """Return ``(voxels of a cell, number of cells)``; every cell is whole."""
    split = [part for size, n in zip(voxels.shape, cell, strict=True) for part in (size // n, n)]
    order = [*range(1, 2 * voxels.ndim, 2), *range(0, 2 * voxels.ndim, 2)]
    rows = xp.permute_dims(xp.reshape(voxels, tuple(split)), tuple(order))
    return xp.reshape(rows, (math.prod(cell), -1))


def _modes(rows: Array, padding: tuple[Any, Any] | None, xp: Any) -> Array:
    """Return the most frequent value of each column, the smallest of several; padding is last."""
    first = rows[0, :]
    mixed = xp.any(rows != first, axis=0)
    (columns,) = xp.nonzero(mixed)
    if columns.shape[0] == 0:
        return first
    found = _longest_runs(xp.sort(xp.take(rows, columns, axis=1), axis=0), padding, xp)
    place = xp.cumulative_sum(xp.astype(mixed, xp.int64)) - 1
    place = xp.maximum(place, xp.zeros_like(place))
    return xp.where(mixed, xp.take(found, place), first)


def _longest_runs(ordered: Array, padding: tuple[Any, Any] | None, xp: Any) -> Array:
    """Return the value of the first longest run of each sorted column."""
    best = ordered[0, :]
    run = xp.ones_like(best, dtype=xp.int32)
    ignored = None if padding is None else padding[0]
    best_run = run if ignored is None else xp.astype(best != ignored, xp.int32)
    for row in range(1, ordered.shape[0]):
        value = ordered[row, :]
        run = xp.where(value == ordered[row - 1, :], run + 1, xp.ones_like(run))
        longer = run > best_run
        if ignored is not None:
            longer = xp.logical_and(longer, value != ignored)
        best = xp.where(longer, value, best)
        best_run = xp.where(longer, run, best_run)
    return best
