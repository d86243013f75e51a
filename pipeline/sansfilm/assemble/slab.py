"""The frames of one slab -> its block of level 0, and the blocks of all other levels.

Memory bound: the block, and per thread one instance as it was read and one decoded picture (of
which the tiles of a mosaic are views), for palettes also its colours; in each process the deflated
dataset that was inflated last.
Reducing adds at most about one block more.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from sansfilm.errors import BadInstanceError, Problem, ProblemCode
from sansfilm.model import (
    Frame,
    FrameResult,
    FrameSpec,
    Labels,
    Lut,
    Map,
    PixelLocation,
    SlabPlan,
    padding_range,
)
from sansfilm_kernels import apply_lut, palette_to_rgb, pyramid, rescale, ybr_to_rgb

Read = Callable[[Frame, bool], tuple[bytes, bytes]]
Decode = Callable[..., tuple[np.ndarray, str]]


@dataclass(frozen=True, slots=True)
class Slab:
    """What filling a slab gave: its block of level 0, kept headers, each frame's result.

    `block` has all axes of the volume; `value_range` is over the frames that are there; `strange`
    are numbers that no segment has.
    """

    block: np.ndarray
    headers: tuple[bytes, ...]
    frames: tuple[FrameResult, ...]
    value_range: tuple[float, float]
    bytes_read: int
    bytes_decoded: int
    strange: tuple[int, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether every frame was decoded."""
        return all(frame.problem is None for frame in self.frames)


@dataclass(slots=True)
class _Done:
    """What came of the frame at a place."""

    place: int
    result: FrameResult
    header: bytes = b""
    values: tuple[float, float] | None = None
    read: int = 0
    decoded: int = 0
    strange: frozenset[int] = frozenset()


def fill_slab(plan: SlabPlan, read: Read, decode: Decode, run: Map = map) -> Slab:
    """Read and decode the frames of a slab straight into its block.

    Parameters
    ----------
    plan : SlabPlan
    read : callable
        ``read(frame, outside)`` gives (codestream, header bytes, b"" unless `outside`);
        BadInstanceError for a bad one.
    decode : callable
        ``decode(codestream, spec, prefer)`` gives (stored values, decoder name).
    run : callable, optional
        Maps over frames; the result does not depend on it.
    """
    block = np.empty(_block_shape(plan), plan.dtype)
    planes = _planes(plan, block)
    padding = padding_range(plan.padding)
    fill = padding[0] if padding else 0
    if plan.labels:
        planes[...] = plan.labels.fill
    elif plan.placed:
        planes[...] = np.reshape(plan.placed.fill, (-1, 1, 1))
    pictures: dict[tuple[str, PixelLocation], list[tuple[int, Frame]]] = defaultdict(list)
    for place, frame in enumerate(plan.frames):
        if frame is None and plan.labels:
            continue
        if frame is None:
            planes[place] = fill
        else:
            pictures[frame.uri, frame.pixels].append((place, frame))
    owners = set(plan.owners)

    def one(picture: list[tuple[int, Frame]]) -> list[_Done]:
        """Decode a codestream once, whatever number of frames it holds."""
        _, first = picture[0]
        owned = [place in owners for place, _ in picture]
        try:
            codestream, outside = read(first, any(owned))
            whole, decoder = decode(codestream, first.picture, plan.prefer)
        except BadInstanceError as exc:
            return [_Done(place, _failed(frame, exc)) for place, frame in picture]
        done = [place_one(place, frame, cut_out(whole, frame), decoder) for place, frame in picture]
        done[0].read, done[0].decoded = len(codestream) + len(outside), whole.nbytes
        done[owned.index(True) if any(owned) else 0].header = outside
        return done

    def place_one(place: int, frame: Frame, stored: np.ndarray, decoder: str) -> _Done:
        out, inside = _lay(stored, plan, planes, place)
        strange = frozenset[int]()
        if plan.labels:
            strange = _draw(inside, frame, plan.labels, out)
            low, high = plan.labels.value_range
            limits: tuple[float, float] | None = (low, float(max((high, *strange))))
        else:
            _put(inside, frame, plan, out)
            limits = _limits(out, padding)
        result = FrameResult(frame.sop_instance_uid, frame.number, stored_digest(stored), decoder)
        return _Done(place, result, values=limits, strange=strange)

    empty = fill if math.isfinite(fill) else 0
    done = sorted(chain.from_iterable(run(one, pictures.values())), key=lambda each: each.place)
    return Slab(
        block,
        tuple(each.header for each in done if each.place in owners),
        tuple(each.result for each in done),
        (min((each.values[0] for each in done if each.values), default=empty),
         max((each.values[1] for each in done if each.values), default=empty)),
        sum(each.read for each in done),
        sum(each.decoded for each in done),
        tuple(sorted(frozenset[int]().union(*(each.strange for each in done)))),
    )  # fmt: skip


def reduce_slab(plan: SlabPlan, block: np.ndarray) -> list[np.ndarray]:
    """Return the slab at every level: exact means of level 0, padding excluded.

    The slab's extent is divisible by the deepest factor, so no neighbour is needed.
    """
    outer = len(plan.axes) - len(_inner(plan))  # axes of extent 1, the first ones
    whole = plan.levels[0].factors
    factors = [
        [round(a / b) for a, b in zip(level.factors, whole, strict=True)][outer:]
        for level in plan.levels[1:]
    ]
    method: Any = plan.labels.method if plan.labels else "mean"
    inner = block.reshape(block.shape[outer:])
    smaller = pyramid(inner, factors, padding=padding_range(plan.padding), method=method)
    return [block, *(part.reshape(block.shape[:outer] + part.shape) for part in smaller)]


def _inner(plan: SlabPlan) -> list[str]:
    return [axis for n, axis in enumerate(plan.axes) if n == plan.stack or axis in "cyx"]


def _block_shape(plan: SlabPlan) -> tuple[int, ...]:
    level = plan.levels[0]
    extents = zip(level.shards, level.shape, plan.place, strict=True)
    return tuple(min(shard, size - at * shard) for shard, size, at in extents)


def _planes(plan: SlabPlan, block: np.ndarray) -> np.ndarray:
    """View a block frame by frame: (frame, y, x), or (frame, c, y, x)."""
    inner = _inner(plan)
    index = tuple(slice(None) if axis in inner else 0 for axis in plan.axes)
    return np.moveaxis(block[index], inner.index(plan.axes[plan.stack]), 0)


def cut_out(picture: np.ndarray, frame: Frame) -> np.ndarray:
    """Return the stored values of a frame: all of what its codestream holds, or its part of it."""
    if frame.cut is None:
        return picture
    top, left = frame.cut.top, frame.cut.left
    return picture[top : top + frame.spec.rows, left : left + frame.spec.columns]


def stored_digest(stored: np.ndarray) -> str:
    """Return the SHA-256 of stored values: little endian, C order."""
    data = np.ascontiguousarray(stored, stored.dtype.newbyteorder("<"))
    return hashlib.sha256(data.data).hexdigest()


def _put(stored: np.ndarray, frame: Frame, plan: SlabPlan, out: np.ndarray) -> None:
    """Write the values of level 0 that stored values stand for: (y, x), or (c, y, x) of colour."""
    spec, lut = frame.spec, frame.spec.lut
    if spec.channels > 1:
        to_rgb(stored, spec, np.moveaxis(out, 0, -1))
    elif lut is not None:
        out[...] = apply_lut(stored, first=lut.first, entries=_entries(lut))
    elif plan.rescale.applied == "attributes" or spec.floating:
        out[...] = stored
        if plan.rescale.applied == "per_frame":
            with np.errstate(over="ignore", invalid="ignore"):  # infinite is a result
                out *= frame.slope
                out += frame.intercept
    else:
        rescale(stored, slope=frame.slope, intercept=frame.intercept, dtype=plan.dtype, out=out)


def _lay(
    stored: np.ndarray, plan: SlabPlan, planes: np.ndarray, place: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the part of a plane ([c,] y, x) that a frame covers, and the part of it inside."""
    if plan.placed:
        plane, corner = planes[0], plan.placed.corners[place]
    else:
        plane, corner = planes[place // plan.per_cell], (0, 0)
        if plan.labels:
            corner = plan.labels.corner
    at: list[slice] = []
    inside: list[slice] = []
    for first, size, whole in zip(corner, stored.shape, plane.shape[-2:], strict=False):
        start, stop = max(first, 0), min(first + size, whole)
        at.append(slice(start, stop))
        inside.append(slice(start - first, stop - first))
    return plane[..., at[0], at[1]], stored[inside[0], inside[1]]


def _draw(stored: np.ndarray, frame: Frame, labels: Labels, out: np.ndarray) -> frozenset[int]:
    """Draw a frame of a segmentation: its segment's number where it is, or all that it holds.

    Returns
    -------
    frozenset of int
        The numbers in a label map that are neither a segment's nor the background's.
    """
    if labels.about.kind == "BINARY":
        number = frame.tile.path if frame.tile else frame.axes["ReferencedSegmentNumber"]
        out[stored != 0] = int(number)
        return frozenset()
    out[...] = stored
    if labels.about.kind == "FRACTIONAL":
        return frozenset()
    known = [labels.fill, *(segment.number for segment in labels.about.segments)]
    return frozenset(np.unique(stored[~np.isin(stored, known)]).tolist())


def to_rgb(stored: np.ndarray, spec: FrameSpec, out: np.ndarray) -> np.ndarray:
    """Turn stored samples to RGB.

    Parameters
    ----------
    stored : ndarray, shape ``spec.shape``
    out : ndarray, shape (y, x, 3)
        In any memory order; of the samples' dtype, or a wider one.

    Returns
    -------
    ndarray
        `out`.
    """
    if spec.lut is not None:
        entries = _entries(spec.lut).reshape(-1, spec.channels)
        out[...] = palette_to_rgb(stored, first=spec.lut.first, entries=entries)
    elif spec.ybr:
        narrow = stored if stored.itemsize <= 2 else stored.astype(np.uint16)  # 16 bits at most
        direct = out if out.dtype == narrow.dtype else None
        partial = spec.ybr == "partial"
        rgb = ybr_to_rgb(narrow, bits=spec.bits_stored, partial=partial, out=direct)
        if direct is None:
            out[...] = rgb
    else:
        out[...] = stored
    return out


def _entries(lut: Lut) -> np.ndarray:
    return np.frombuffer(lut.entries, lut.dtype).astype(np.dtype(lut.dtype).newbyteorder("="))


def _limits(values: np.ndarray, padding: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return the smallest and largest finite value that is no padding, None if there is none."""
    if padding is not None:
        values = values[~((values >= padding[0]) & (values <= padding[1]))]
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else None


def _failed(frame: Frame, exc: BadInstanceError) -> FrameResult:
    stage = "decode"
    if exc.code in (ProblemCode.SOURCE_CHANGED, ProblemCode.UNREADABLE):
        stage = "read"
    problem = Problem(frame.uri, stage, exc.code, exc.message, frame.series_uid, frame.number, 1)
    return FrameResult(frame.sop_instance_uid, frame.number, problem=problem)
