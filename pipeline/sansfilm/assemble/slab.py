"""The frames of one slab -> its block of level 0, and the blocks of all other levels.

Memory bound: the block, and per thread one batch of frames as they were read and decoded (of
BATCH_BYTES, or one frame), for palettes also the colours of one.
Reducing adds at most about one block more.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import Any

import numpy as np

from sansfilm.errors import BadInstanceError, Problem, ProblemCode
from sansfilm.model import (
    Decoded,
    Decoding,
    Frame,
    FrameResult,
    FrameSpec,
    Labels,
    Lut,
    Map,
    SlabPlan,
)
from sansfilm_kernels import apply_lut, palette_to_rgb, pyramid, rescale, ybr_to_rgb

Read = Callable[[Frame, bool], tuple[bytes, bytes]]
Decode = Callable[[Sequence[tuple[bytes, FrameSpec]], Decoding], Iterable[Decoded]]

BATCH_BYTES = 2**22
"""Stored values of a batch: enough frames that sending them costs little, few for many threads."""


@dataclass(frozen=True, slots=True)
class Slab:
    """What filling a slab gave: its block of level 0, kept headers, each frame's result.

    `block` has all axes of the volume; `value_range` is over the frames that are there.
    """

    block: np.ndarray
    headers: tuple[bytes, ...]
    frames: tuple[FrameResult, ...]
    value_range: tuple[float, float]
    bytes_read: int
    bytes_decoded: int

    @property
    def whole(self) -> bool:
        """Whether every frame was decoded."""
        return all(frame.problem is None for frame in self.frames)


@dataclass(slots=True)
class _Done:
    """What came of one frame."""

    result: FrameResult
    header: bytes = b""
    values: tuple[float, float] | None = None
    read: int = 0
    decoded: int = 0


def fill_slab(plan: SlabPlan, read: Read, decode: Decode, run: Map = map) -> Slab:
    """Read and decode the frames of a slab straight into its block.

    Parameters
    ----------
    plan : SlabPlan
    read : callable
        ``read(frame, outside)`` gives (codestream, header bytes, b"" unless `outside`);
        BadInstanceError for a bad one.
    decode : callable
        ``decode([(codestream, spec), ...], plan.decoding)`` gives a Decoded for each, whose
        values are used before the next is asked for.
    run : callable, optional
        Maps over batches of frames; the result does not depend on it.
    """
    block = np.empty(_block_shape(plan), plan.dtype)
    planes = _planes(plan, block)
    fill = plan.padding[0] if plan.padding else 0
    if plan.labels:
        planes[...] = 0
    present = []
    for place, frame in enumerate(plan.frames):
        if frame is None and plan.labels:
            continue
        if frame is None:
            planes[place] = fill
        else:
            present.append((place, frame))
    owners = set(plan.owners)

    def some(batch: Sequence[tuple[int, Frame]]) -> list[_Done]:
        found = [_read(read, frame, place in owners) for place, frame in batch]
        there = [(one[0], frame.spec) for one, (_, frame) in zip(found, batch, strict=True)
                 if not isinstance(one, BadInstanceError)]  # fmt: skip
        decoded = iter(decode(there, plan.decoding))
        return [
            failed(frame, one) if isinstance(one, BadInstanceError)
            else put(place, frame, *one, next(decoded))
            for one, (place, frame) in zip(found, batch, strict=True)
        ]  # fmt: skip

    def failed(frame: Frame, error: BadInstanceError, notes: tuple[str, ...] = ()) -> _Done:
        problem = _problem(frame, error)
        return _Done(FrameResult(frame.sop_instance_uid, frame.number, "", "", problem, notes))

    def put(place: int, frame: Frame, codestream: bytes, outside: bytes, decoded: Decoded) -> _Done:
        if decoded.error is not None:
            return failed(frame, decoded.error, decoded.notes)
        stored = decoded.stored
        out = planes[place // plan.per_cell]
        if plan.labels:
            _draw(stored, frame, plan.labels, out)
            limits: tuple[float, float] | None = plan.labels.value_range
        else:
            _put(stored, frame, plan, out)
            limits = _limits(out, plan.padding)
        result = FrameResult(
            frame.sop_instance_uid, frame.number, stored_digest(stored), decoded.decoder,
            notes=decoded.notes,
        )  # fmt: skip
        return _Done(result, outside, limits, len(codestream) + len(outside), stored.nbytes)

    done = [one for batch in run(some, _batches(present)) for one in batch]
    return Slab(
        block,
        tuple(each.header for (place, _), each in zip(present, done, strict=True)
              if place in owners),
        tuple(each.result for each in done),
        (min((each.values[0] for each in done if each.values), default=fill),
         max((each.values[1] for each in done if each.values), default=fill)),
        sum(each.read for each in done),
        sum(each.decoded for each in done),
    )  # fmt: skip


def reduce_slab(plan: SlabPlan, block: np.ndarray) -> list[np.ndarray]:
    """Return the slab at every level: exact means of level 0, padding excluded.

    The slab's extent is divisible by the deepest factor, so no neighbour is needed.
    """
    outer = len(plan.axes) - len(_inner(plan))  # axes of extent 1, the first ones
    factors = [level.factors[outer:] for level in plan.levels[1:]]
    method: Any = plan.labels.method if plan.labels else "mean"
    whole = block.reshape(block.shape[outer:])
    smaller = pyramid(whole, factors, padding=plan.padding, method=method)
    return [block, *(part.reshape(block.shape[:outer] + part.shape) for part in smaller)]


def _inner(plan: SlabPlan) -> list[str]:
    return [axis for n, axis in enumerate(plan.axes) if n == plan.stack or axis in "cyx"]


def _block_shape(plan: SlabPlan) -> tuple[int, ...]:
    level = plan.levels[0]
    return tuple(
        len(plan.frames) // plan.per_cell if n == plan.stack else min(shard, size)
        for n, (shard, size) in enumerate(zip(level.shards, level.shape, strict=True))
    )


def _planes(plan: SlabPlan, block: np.ndarray) -> np.ndarray:
    """View a block frame by frame: (frame, y, x), or (frame, c, y, x)."""
    inner = _inner(plan)
    index = tuple(slice(None) if axis in inner else 0 for axis in plan.axes)
    return np.moveaxis(block[index], inner.index(plan.axes[plan.stack]), 0)


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


def _draw(stored: np.ndarray, frame: Frame, labels: Labels, out: np.ndarray) -> None:
    """Draw a frame of a segmentation: its segment's number where it is, or its fractions."""
    top, left = labels.corner
    part = out[top : top + stored.shape[0], left : left + stored.shape[1]]
    if labels.about.kind == "FRACTIONAL":
        part[...] = stored
    else:
        part[stored != 0] = int(frame.axes["ReferencedSegmentNumber"])


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
        values = values[(values < padding[0]) | (values > padding[1])]
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else None


def _read(read: Read, frame: Frame, outside: bool) -> tuple[bytes, bytes] | BadInstanceError:
    try:
        return read(frame, outside)
    except BadInstanceError as exc:
        return exc


def _batches(present: Sequence[tuple[int, Frame]]) -> Iterator[Sequence[tuple[int, Frame]]]:
    """Split the frames of a slab into what is decoded in one go."""
    if present:
        spec = present[0][1].spec
        pixel = spec.samples_per_pixel * np.dtype(spec.container).itemsize
        yield from batched(present, max(1, BATCH_BYTES // (spec.rows * spec.columns * pixel)))


def _problem(frame: Frame, exc: BadInstanceError) -> Problem:
    stage = "decode"
    if exc.code in (ProblemCode.SOURCE_CHANGED, ProblemCode.UNREADABLE):
        stage = "read"
    return Problem(frame.uri, stage, exc.code, exc.message, frame.series_uid, frame.number, 1)
