"""Index arithmetic of reductions: level shapes, cells, and tiles that hold whole cells."""

import itertools
import math
from collections.abc import Iterator, Sequence

type Region = tuple[slice, ...]


def reduced_shape(shape: Sequence[int], factors: Sequence[int]) -> tuple[int, ...]:
    """Return the shape after a reduction; it rounds up."""
    return tuple(-(-size // factor) for size, factor in zip(shape, factors, strict=True))


def tile_extents(shape: Sequence[int], factors: Sequence[int], voxels: int) -> list[int]:
    """Return the extents of the tiles that `tiles` cuts, before those at the edges end earlier."""
    extents = [min(size, factor) for size, factor in zip(shape, factors, strict=True)]
    for axis in reversed(range(len(shape))):
        times = max(1, voxels // max(1, math.prod(extents)))
        extents[axis] = min(shape[axis], factors[axis] * times)
    return extents


def tiles(shape: Sequence[int], factors: Sequence[int], voxels: int) -> Iterator[Region]:
    """Cut an array into tiles of about `voxels` elements that no cell of `factors` straddles.

    The tiles follow memory order: the last axis is filled first.
    """
    extents = tile_extents(shape, factors, voxels)
    steps = [
        range(0, size, extent) if size else range(0)
        for size, extent in zip(shape, [max(1, extent) for extent in extents], strict=True)
    ]
    for starts in itertools.product(*steps):
        yield tuple(
            slice(start, min(start + extent, size))
            for start, extent, size in zip(starts, extents, shape, strict=True)
        )


def reduced_region(region: Region, factors: Sequence[int]) -> Region:
    """Return where the cells of a tile lie in the reduced array."""
    return tuple(
        slice(part.start // factor, -(-part.stop // factor))
        for part, factor in zip(region, factors, strict=True)
    )


def uniform_regions(
    shape: Sequence[int], factors: Sequence[int]
) -> Iterator[tuple[Region, Region, tuple[int, ...]]]:
    """Split a reduction into regions whose cells all have one size: the core and the edges.

    Yields
    ------
    tuple of slices
        Of the reduced array.
    tuple of slices
        The voxels that they cover.
    tuple of int
        The size of each cell there.
    """
    axes = []
    for size, factor in zip(shape, factors, strict=True):
        whole, rest = divmod(size, factor)
        parts = [(slice(0, whole), slice(0, whole * factor), factor)] if whole else []
        if rest:
            parts.append((slice(whole, whole + 1), slice(whole * factor, size), rest))
        axes.append(parts)
    for chosen in itertools.product(*axes):
        yield (
            tuple(part[0] for part in chosen),
            tuple(part[1] for part in chosen),
            tuple(part[2] for part in chosen),
        )
