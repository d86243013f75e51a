"""Level shapes, chunks and shards of a volume, and the slabs that its tasks write."""

from collections.abc import Iterator, Sequence

from sansfilm.model import HEADER_CHUNK, LevelPlan, SlabPlan, VolumePlan
from sansfilm.options import Options, Storage

_NEAR = 2**0.5


def plan_levels(
    shape: Sequence[int], spacing: Sequence[float | None], storage: Storage
) -> tuple[LevelPlan, ...]:
    """Plan the resolution levels of an array ``(z, y, x)`` or ``(i, y, x)``.

    Anisotropic volumes are reduced in plane first: an axis is halved when its spacing is at most
    sqrt(2) times the smallest one. An axis without spacing (an index), or of extent 1, is never
    reduced. Levels are added until rows and columns are at most ``storage.smallest``; shapes
    round up. Shards span the plane and one slab; the slab is divisible by the deepest z factor,
    so that a task never needs a neighbour.

    Returns
    -------
    tuple of LevelPlan
        Level 0 first; `factors` are relative to level 0.
    """
    factors = [1, 1, 1]
    spacing_now = list(spacing)
    slab = min(storage.slab, _power_of_two_from(shape[0])) if spacing[0] else 1
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
        chunks = _chunk_shape(extents, depth, storage.chunk)
        shards = (
            depth,
            -(-extents[1] // chunks[1]) * chunks[1],
            -(-extents[2] // chunks[2]) * chunks[2],
        )
        levels.append(LevelPlan(str(number), extents, chunks, shards, step))
    return tuple(levels)


def plan_slabs(plan: VolumePlan, options: Options) -> Iterator[SlabPlan]:
    """Yield one task for each shard of level 0 along the first axis.

    The headers of a slab start on a chunk of ``dicom/headers`` of their own, so that its task
    writes whole chunks only.
    """
    levels = plan_levels(plan.shape, plan.spacing_mm, options.storage)
    depth, chunk = levels[0].shards[0], 0
    for index, start in enumerate(range(0, plan.shape[0], depth)):
        frames = plan.frames[start : start + depth]
        yield SlabPlan(
            volume=plan.key, index=index, frames=frames, levels=levels, dtype=plan.dtype,
            rescale=plan.rescale, padding=plan.padding, header_chunk=chunk,
            compression_level=options.storage.compression_level, prefer=options.prefer,
        )  # fmt: skip
        chunk += -(-sum(frame.pixels.header_length for frame in frames) // HEADER_CHUNK)


def _chunk_shape(extents: Sequence[int], depth: int, edge: int) -> tuple[int, int, int]:
    """Return a chunk of about ``edge**3`` voxels: thin slabs get wide chunks."""
    thin = min(edge, depth)
    wide = edge << ((edge // thin).bit_length() - 1) // 2
    rows, columns = (min(wide, _power_of_two_from(extent)) for extent in extents[1:])
    return thin, rows, columns


def _power_of_two_from(extent: int) -> int:
    return 1 << max(extent - 1, 0).bit_length()
