"""The block of a slab, and where in it each frame goes."""

import numpy as np

from sansfilm.assemble.painting import draw_labels, put_values
from sansfilm.model import Frame, SlabPlan, padding_range


def inner_axes(plan: SlabPlan) -> list[str]:
    """Return the axes of which a slab has more than one index: the stack axis, c, y and x."""
    return [axis for n, axis in enumerate(plan.axes) if n == plan.stack or axis in "cyx"]


class Canvas:
    """The block of a slab, into which frames are painted, each at its place, in any order.

    `block` has all axes of the volume; where no frame is painted it holds `fill`, the padding, or
    what the plan of a segmentation or of tiles says.
    """

    def __init__(self, plan: SlabPlan) -> None:
        self._plan = plan
        self._padding = padding_range(plan.padding)
        self.fill = self._padding[0] if self._padding else 0
        level = plan.levels[0]
        extents = zip(level.shards, level.shape, plan.place, strict=True)
        shape = tuple(min(shard, size - at * shard) for shard, size, at in extents)
        self.block = np.empty(shape, plan.dtype)
        inner = inner_axes(plan)
        index = tuple(slice(None) if axis in inner else 0 for axis in plan.axes)
        # frame by frame: (frame, y, x), or (frame, c, y, x)
        self._planes = np.moveaxis(self.block[index], inner.index(plan.axes[plan.stack]), 0)
        if plan.labels:
            self._planes[...] = plan.labels.fill
        elif plan.placed:
            self._planes[...] = np.reshape(plan.placed.fill, (-1, 1, 1))
        else:
            for place, frame in enumerate(plan.frames):
                if frame is None:
                    self._planes[place] = self.fill

    def paint(
        self, place: int, frame: Frame, stored: np.ndarray
    ) -> tuple[tuple[float, float] | None, frozenset[int]]:
        """Paint the stored values of the frame at a place of the plan.

        Returns
        -------
        limits : (low, high) or None
            Smallest and largest value that is finite and no padding; of labels, what they may be.
        strange : frozenset of int
            The numbers in a label map that are neither a segment's nor the background's.
        """
        out, inside = self._lay(place, stored)
        labels = self._plan.labels
        if labels is None:
            put_values(inside, frame, self._plan.rescale.applied, out)
            return _limits(out, self._padding), frozenset()
        strange = draw_labels(inside, frame, labels, out)
        low, high = labels.value_range
        return (low, float(max((high, *strange)))), strange

    def _lay(self, place: int, stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the part of a plane ([c,] y, x) that a frame covers, and the part of it inside."""
        plan = self._plan
        if plan.placed:
            plane, corner = self._planes[0], plan.placed.corners[place]
        else:
            plane = self._planes[place // plan.per_cell]
            corner = plan.labels.corner if plan.labels else (0, 0)
        at: list[slice] = []
        inside: list[slice] = []
        for first, size, whole in zip(corner, stored.shape, plane.shape[-2:], strict=False):
            start, stop = max(first, 0), min(first + size, whole)
            at.append(slice(start, stop))
            inside.append(slice(start - first, stop - first))
        return plane[..., at[0], at[1]], stored[inside[0], inside[1]]


def _limits(values: np.ndarray, padding: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return the smallest and largest value that is finite and no padding; None without one."""
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
        if padding is not None:
            values = values[~((values >= padding[0]) & (values <= padding[1]))]
    if not values.size:
        return None
    low, high = values.min(), values.max()
    if padding is not None and values.dtype.kind != "f":  # a mask would take five times as long
        first, last = padding
        if first <= low and high <= last:
            return None
        if first <= low <= last:  # what is no padding lies above it
            low = last + 1 + _smallest(values - values.dtype.type(last + 1))
        if first <= high <= last:
            high = first - 1 - _smallest(values.dtype.type(first - 1) - values)
    return float(low), float(high)


def _smallest(differences: np.ndarray) -> int:
    """Return the smallest difference that is not negative; the others have wrapped around."""
    return int(differences.view(f"u{differences.itemsize}").min())
