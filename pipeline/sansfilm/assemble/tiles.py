"""Chunks and shards of the levels that a slide brings along, and the slabs that write them.

A shard is a whole number of tiles, so that each tile is decoded for one slab only. The smallest
level of the slide is reduced further like any other volume.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import product
from math import isqrt

import numpy as np

from sansfilm.model import (
    HEADER_CHUNK,
    Frame,
    LevelPlan,
    Placed,
    SlabPlan,
    Slide,
    SlideLevel,
    VolumePlan,
)
from sansfilm.options import Options, Storage

_WIDE, _WIDEST = 256, 1024
"""Edges of chunks: tiles of less are joined, larger ones cut."""
_Cells = dict[tuple[int, ...], list[tuple[Frame, tuple[int, int]]]]


def plan_tile_slabs(plan: VolumePlan, slide: Slide, options: Options) -> Iterator[SlabPlan]:
    """Yield one task for each shard of each level that the slide brings along."""
    kept = set[str]()
    index = chunk = 0
    for number, level in enumerate(slide.levels):
        levels = [_level(plan, level, number, options.storage)]
        if number == len(slide.levels) - 1:
            levels += _reduced(levels[0], number, options.storage)
        cells = _by_shard(plan, slide, level, levels[0].shards[-2:])
        counts = [-(-a // b) for a, b in zip(levels[0].shape, levels[0].shards, strict=True)]
        for place in product(*map(range, counts)):
            found = cells.get(tuple(n for n, axis in zip(place, plan.axes, strict=True)
                                    if axis != "c"), [])  # fmt: skip
            frames = tuple(frame for frame, _ in found)
            owners = []
            for n, frame in enumerate(frames):
                if frame.sop_instance_uid not in kept:
                    kept.add(frame.sop_instance_uid)
                    owners.append(n)
            slab = SlabPlan(
                volume=plan.key, index=index, place=place, axes=plan.axes, frames=frames,
                levels=tuple(levels), dtype=plan.dtype, rescale=plan.rescale, padding=plan.padding,
                owners=tuple(owners), header_chunk=chunk,
                compression_level=options.storage.compression_level, decoding=options.decoding,
                labels=plan.labels,
                placed=Placed(tuple(corner for _, corner in found), slide.fill),
            )  # fmt: skip
            yield slab
            index += 1
            chunk += -(-sum(f.pixels.header_length for f in slab.owned) // HEADER_CHUNK)


def _by_shard(plan: VolumePlan, slide: Slide, level: SlideLevel, shard: Sequence[int]) -> _Cells:
    """Return the frames in each shard, and where their first pixel is in it."""
    cells: _Cells = defaultdict(list)
    for frame in plan.frames[level.first : level.stop]:
        assert frame is not None
        assert frame.tile is not None
        *lead, row, column = slide.index_of(frame.tile)
        spans = [
            range(max(at, 0) // edge, (min(at + size, whole) - 1) // edge + 1)
            for at, size, whole, edge in zip((row, column), level.tile, level.shape, shard,
                                             strict=True)
        ]  # fmt: skip
        for down, across in product(*spans):
            corner = row - down * shard[0], column - across * shard[1]
            cells[*lead, down, across].append((frame, corner))
    return cells


def _level(plan: VolumePlan, level: SlideLevel, number: int, storage: Storage) -> LevelPlan:
    samples = plan.shape[plan.axes.index("c")] if "c" in plan.axes else 1
    most = max(1, isqrt(storage.slab_bytes // (samples * np.dtype(plan.dtype).itemsize)))
    chunks, shards = [], []
    for size, tile in zip(level.shape, level.tile, strict=True):
        edge = _chunk_edge(tile, size)
        shard = max(edge, tile)
        while shard < size and 2 * shard <= most:
            shard *= 2
        chunks.append(edge)
        shards.append(min(shard, -(-size // edge) * edge))
    return LevelPlan(
        str(number), _widened(plan, level.shape, whole=True), _widened(plan, chunks),
        _widened(plan, shards), (*(1.0 for _ in plan.axes[:-2]), *level.factors),
    )  # fmt: skip


def _widened(plan: VolumePlan, plane: Sequence[int], *, whole: bool = False) -> tuple[int, ...]:
    """Give rows and columns the axes before them: colour lies whole in each chunk."""
    return (
        *(size if whole or axis == "c" else 1
          for axis, size in zip(plan.axes[:-2], plan.shape[:-2], strict=True)),
        *plane,
    )  # fmt: skip


def _chunk_edge(tile: int, size: int) -> int:
    """Return a chunk's edge of about a tile: several small ones, an even part of a large one."""
    edge = tile
    while edge < min(_WIDE, size):
        edge *= 2
    if edge > _WIDEST:
        parts = range(-(-edge // _WIDEST), edge // _WIDE + 1)
        edge //= next((n for n in parts if edge % n == 0), 1)
    return min(edge, size)


def _reduced(base: LevelPlan, number: int, storage: Storage) -> Iterator[LevelPlan]:
    """Yield the levels below the last one that the slide brings along, each of half the size.

    They end before a shard would no longer be a whole number of pixels.
    """
    step, level = 1, base
    while max(level.shape[-2:]) > storage.smallest:
        step *= 2
        shape = [-(-size // step) for size in base.shape[-2:]]
        chunks, shards = [], []
        for axis, size in zip((-2, -1), shape, strict=True):
            edge, shard = base.chunks[axis], base.shards[axis]
            if shard >= base.shape[axis]:  # one shard: its end may be anywhere
                edge = min(edge, size)
                shard = -(-size // edge) * edge
            elif shard % step:
                return
            else:
                shard //= step
                edge = edge if shard % edge == 0 else shard
            chunks.append(edge)
            shards.append(shard)
        level = LevelPlan(
            str(number + step.bit_length() - 1), (*base.shape[:-2], *shape),
            (*base.chunks[:-2], *chunks), (*base.shards[:-2], *shards),
            (*base.factors[:-2], *(step * factor for factor in base.factors[-2:])),
        )  # fmt: skip
        yield level
