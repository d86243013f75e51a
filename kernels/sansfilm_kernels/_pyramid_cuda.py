"""Launch the kernels of pyramid.cu: every level of a block of integers at once."""

import math
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise

import numpy as np
from array_api_compat import is_cupy_array

from sansfilm_kernels import _cuda
from sansfilm_kernels._grid import reduced_shape, tile_extents
from sansfilm_kernels.namespace import Array

AXES = 4
LEVEL = np.dtype(
    [
        ("out", "u8"), ("scratch", "i8"),
        ("shape", "i4", AXES), ("factors", "i4", AXES), ("steps", "i4", AXES),
    ]
)  # fmt: skip
BLOCK = np.dtype(
    [
        ("data", "u8"), ("scratch", "u8"), ("room", "i8"), ("tiles", "i8"),
        ("strides", "i8", AXES), ("low", "i8"), ("high", "i8"), ("empty", "i8"),
        ("shape", "i4", AXES), ("extents", "i4", AXES), ("levels", "i4"), ("unused", "i4"),
    ]
)  # fmt: skip
"""As in pyramid.cu."""

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32")
_MOST_SUM = 1 << 62
_THREADS, _MOST_BLOCKS = 256, 2048
_TILE = 1 << 14
"""Voxels of a tile: some hundred cells of the first level at least, for as many threads."""
_SCRATCH = 1 << 28
_BYTES_OF_A_SUM = 16

type Factors = tuple[int, ...]


def fits(block: Array, levels: Sequence[Factors]) -> bool:
    """Return whether the kernels do this block: integers on a GPU, four axes at most."""
    if not (is_cupy_array(block) and block.dtype.name in INTEGERS and 0 < block.ndim <= AXES):
        return False
    clipped = [min(size, factor) for size, factor in zip(block.shape, levels[-1], strict=True)]
    cell, bits = int(math.prod(clipped)), 8 * int(block.itemsize)
    return max(cell, *map(int, block.shape)) < 2**31 and (cell << (bits + 1)) < _MOST_SUM


def mean_levels(
    block: Array, levels: Sequence[Factors], padding: tuple[int, int] | None
) -> list[Array]:
    """Return the mean of each cell of each level; `fits` has said yes."""
    cupy = import_module("cupy")
    outputs = [cupy.empty(reduced_shape(block.shape, level), dtype=block.dtype) for level in levels]
    if block.size == 0:
        return outputs
    shape = _padded(block.shape, 1)
    # A cell that is larger than the block is the block.
    factors = [
        [min(factor, size) for factor, size in zip(_padded(level, 1), shape, strict=True)]
        for level in levels
    ]
    extents = tile_extents(shape, factors[-1], _TILE)
    room = [math.prod(reduced_shape(extents, level)) for level in factors[:-1]]
    tiles = math.prod(reduced_shape(shape, extents))
    blocks = min(tiles, _MOST_BLOCKS, max(1, _SCRATCH // (_BYTES_OF_A_SUM * max(1, sum(room)))))
    scratch = cupy.empty(blocks * sum(room) * _BYTES_OF_A_SUM, dtype=np.uint8)
    records = np.zeros(len(levels), LEVEL)
    records["out"] = [_address(output) for output in outputs]
    records["scratch"] = np.cumsum([0, *room])
    records["shape"] = [_padded(output.shape, 1) for output in outputs]
    records["factors"] = factors
    steps = [reduced_shape(after, before) for before, after in pairwise(factors)]
    records["steps"] = [factors[0], *steps]
    low, high = padding or (1, 0)
    strides = _padded([stride // block.itemsize for stride in block.strides], 0)
    head = (
        _address(block), _address(scratch), sum(room), tiles, strides, low, high, low,
        shape, extents, len(levels), 0,
    )  # fmt: skip
    arguments = [
        cupy.asarray(record.view(np.uint8)) for record in (np.array([head], BLOCK), records)
    ]
    kernel = _cuda.module("pyramid").get_function(f"pyramid_{block.dtype.name}")
    kernel((blocks,), (_THREADS,), tuple(arguments))
    return outputs


def _padded(numbers: Sequence[int], filler: int) -> tuple[int, ...]:
    return (*[filler] * (AXES - len(numbers)), *numbers)


def _address(array: Array) -> int:
    return int(array.__cuda_array_interface__["data"][0])
