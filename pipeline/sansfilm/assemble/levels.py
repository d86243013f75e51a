"""Level shapes, chunks and shards of a volume, and the slabs that its tasks write."""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from sansfilm.assemble.tiles import plan_tile_slabs
from sansfilm.model import HEADER_CHUNK, LevelPlan, SlabPlan, VolumePlan
from sansfilm.options import Options, Storage

_NEAR = 2**0.5


def plan_levels(
    shape: Sequence[int],
    spacing: Sequence[float | None],
    storage: Storage,
    plane_bytes: int = 1,
) -> tuple[LevelPlan, ...]:
    """Plan the resolution levels of a stack ``(z, y, x)``, or ``(i, y, x)`` without a place.

    Anisotropic volumes are reduced in plane first: an axis is halved when its spacing is at most
    sqrt(2) times the smallest one. An axis without spacing (an index), or of extent 1, is never
    reduced, and each chunk holds one image of it. Levels are added until rows and columns are at
    most ``storage.smallest``; shapes round up. Shards span the plane and one slab of at most
    ``storage.slab_bytes`` (or one plane); the slab is divisible by the deepest z factor, so that
    a task never needs a neighbour.

    Returns
    -------
    tuple of LevelPlan
        Level 0 first; `factors` are relative to level 0.
    """
    factors = [1, 1, 1]
    spacing_now = list(spacing)
    most = max(1, storage.slab_bytes // plane_bytes)
    slab = min(storage.slab, _power_of_two_from(shape[0]), 1 << most.bit_length() - 1)
    steps: list[tuple[int, ...]] = [(1, 1, 1)]
    while max(-(-shape[axis] // factors[axis]) for axis in (1, 2)) > storage.smallest:
        open_axes = [
            axis
            for axis in range(3)
            if -(-shape[axis] // factors[axis]) > 1
            and (axis > 0 or (spacing[0] and factors[0] < slab))
        ]
        smallest = min(spacing_now[axis] or 0.0 for axis in open_axes)
        for axis in open_axes:
            here = spacing_now[axis] or 0.0
            if here <= _NEAR * smallest:
                factors[axis] *= 2
                spacing_now[axis] = here * 2
        steps.append((factors[0], factors[1], factors[2]))
    levels = []
    for number, step in enumerate(steps):
        extents = tuple(-(-size // factor) for size, factor in zip(shape, step, strict=True))
        depth = slab // step[0]
        chunks = _chunk_shape(extents, depth if spacing[0] else 1, storage.chunk)
        shards = (
            depth,
            -(-extents[1] // chunks[1]) * chunks[1],
            -(-extents[2] // chunks[2]) * chunks[2],
        )
        levels.append(LevelPlan(str(number), extents, chunks, shards, step))
    return tuple(levels)


def plan_slabs(plan: VolumePlan, options: Options) -> Iterator[SlabPlan]:
    """Yield one task for each shard of level 0 along the stack axis, for each outer index.

    The headers that a slab keeps start on a chunk of ``dicom/headers`` of their own, so that its
    task writes whole chunks only.
    """
    if plan.slide is not None:
        yield from plan_tile_slabs(plan, plan.slide, options)
        return
    levels = _levels_of(plan, options.storage)
    depth, height = levels[0].shards[plan.stack], plan.shape[plan.stack]
    chunk, kept = 0, set[str]()
    each = plan.per_cell
    starts = product(range(0, len(plan.frames) // each, height), range(0, height, depth))
    for index, (outer, start) in enumerate(starts):
        frames = plan.frames[each * (outer + start) : each * (outer + min(start + depth, height))]
        owners = []
        for place, frame in enumerate(frames):
            if frame is not None and frame.sop_instance_uid not in kept:
                kept.add(frame.sop_instance_uid)
                owners.append(place)
        slab = SlabPlan(
            volume=plan.key, index=index, place=_shard_place(plan, outer, start // depth),
            axes=plan.axes, frames=frames, levels=levels, dtype=plan.dtype,
            rescale=plan.rescale, padding=plan.padding, owners=tuple(owners), header_chunk=chunk,
            compression_level=options.storage.compression_level, decoding=options.decoding,
            labels=plan.labels,
        )  # fmt: skip
        yield slab
        chunk += -(-sum(f.pixels.header_length for f in slab.owned) // HEADER_CHUNK)


def _levels_of(plan: VolumePlan, storage: Storage) -> tuple[LevelPlan, ...]:
    """Plan the levels of the stack, and give them the axes that are never reduced.

    Colour lies whole in each chunk; of the outer axes each index is a shard of its own.
    """
    inner = (plan.stack, len(plan.axes) - 2, len(plan.axes) - 1)
    shape = [plan.shape[n] for n in inner]
    spacing = [plan.spacing_mm[n] for n in inner]
    if "z" in plan.axes_values:  # uneven: means of slices would have no place of their own
        spacing[0] = None
    samples = plan.shape[plan.axes.index("c")] if "c" in plan.axes else 1
    plane_bytes = samples * shape[1] * shape[2] * np.dtype(plan.dtype).itemsize

    def widened(sizes: Sequence[int], outer: int | None) -> tuple[int, ...]:
        given = iter(sizes)
        return tuple(
            next(given) if n in inner else size if axis == "c" or outer is None else outer
            for n, (axis, size) in enumerate(zip(plan.axes, plan.shape, strict=True))
        )

    return tuple(
        LevelPlan(
            level.path, widened(level.shape, None), widened(level.chunks, 1),
            widened(level.shards, 1), tuple(1 if n not in inner else level.factors[inner.index(n)]
                                            for n in range(len(plan.axes))),
        )
        for level in plan_levels(shape, spacing, storage, plane_bytes)
    )  # fmt: skip


def _shard_place(plan: VolumePlan, outer: int, slab: int) -> tuple[int, ...]:
    index = iter(plan.index_of(outer)[:-1])
    return tuple(
        slab if n == plan.stack else 0 if axis in "cyx" else next(index)
        for n, axis in enumerate(plan.axes)
    )


def _chunk_shape(extents: Sequence[int], depth: int, edge: int) -> tuple[int, int, int]:
    """Return a chunk of about ``edge**3`` voxels: thin slabs get wide chunks."""
    thin = min(edge, depth)
    wide = edge << ((edge // thin).bit_length() - 1) // 2
    rows, columns = (min(wide, _power_of_two_from(extent)) for extent in extents[1:])
    return thin, rows, columns


def _power_of_two_from(extent: int) -> int:
    return 1 << max(extent - 1, 0).bit_length()
