"""The frames of one slab -> its block of level 0, and the blocks of all other levels.

Memory bound: the block, and per thread one batch of pictures as they were read and decoded (of
`batch_bytes`, or one picture), for palettes also the colours of one; in each process the deflated
dataset and the member of a zip file that were inflated last. Reducing adds at most about one block
more.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import batched, chain
from typing import Any

import numpy as np

from sansfilm.assemble.canvas import Canvas, inner_axes
from sansfilm.errors import BadInstanceError, Problem, ProblemCode
from sansfilm.model import (
    Decoded,
    Decoding,
    Frame,
    FrameResult,
    FrameSpec,
    Map,
    PixelLocation,
    SlabPlan,
    padding_range,
)
from sansfilm_kernels import pyramid

Codestream = bytes | memoryview
Read = Callable[[Frame, bool], tuple[Codestream, bytes]]
Decode = Callable[[Sequence[tuple[Codestream, FrameSpec]], Decoding], Iterable[Decoded]]


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


@dataclass(frozen=True, slots=True)
class _Picture:
    """A codestream, and the frames in it with their places: one, or the tiles of a mosaic."""

    frames: tuple[tuple[int, Frame], ...]
    owners: frozenset[int]

    @property
    def first(self) -> Frame:
        """The frame that says where the codestream lies and what is in it."""
        return self.frames[0][1]

    @property
    def owner(self) -> int | None:
        """The place of the frame whose header is kept, None if it is not kept here."""
        return next((place for place, _ in self.frames if place in self.owners), None)


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


def fill_slab(
    plan: SlabPlan, read: Read, decode: Decode, run: Map = map, batch_bytes: int = 2**22
) -> Slab:
    """Read and decode the frames of a slab straight into its block.

    Parameters
    ----------
    plan : SlabPlan
    read : callable
        ``read(frame, outside)`` gives (codestream, header bytes, b"" unless `outside`);
        BadInstanceError for a bad one.
    decode : callable
        ``decode([(codestream, spec), ...], plan.decoding)`` gives a Decoded for each, whose
        values are used before the next is asked for. A codestream of several frames is decoded
        once.
    run : callable, optional
        Maps over batches of frames; the result does not depend on it.
    batch_bytes : int, optional
        Stored values of a batch.
    """
    canvas = Canvas(plan)

    def some(batch: Sequence[_Picture]) -> list[_Done]:
        found = [_read(read, picture) for picture in batch]
        there = [(codestream, picture.first.picture) for picture, (codestream, _, error)
                 in zip(batch, found, strict=True) if error is None]  # fmt: skip
        decoded = iter(decode(there, plan.decoding))
        done: list[_Done] = []
        for picture, (codestream, outside, error) in zip(batch, found, strict=True):
            one = next(decoded) if error is None else Decoded(error=error)
            done += _paint(canvas, picture, one)
            done[-1].read = len(codestream) + len(outside)
            done[-1].decoded = 0 if one.error else one.stored.nbytes
            for each in done[-len(picture.frames) :]:
                each.header = outside if each.place == picture.owner else b""
        return done

    batches = run(some, _batches(plan, batch_bytes))
    done = sorted(chain.from_iterable(batches), key=lambda each: each.place)
    owners = set(plan.owners)
    limits = [each.values for each in done if each.values]
    empty = canvas.fill if math.isfinite(canvas.fill) else 0
    return Slab(
        canvas.block,
        tuple(each.header for each in done if each.place in owners),
        tuple(each.result for each in done),
        (min((low for low, _ in limits), default=empty),
         max((high for _, high in limits), default=empty)),
        sum(each.read for each in done),
        sum(each.decoded for each in done),
        tuple(sorted(frozenset[int]().union(*(each.strange for each in done)))),
    )  # fmt: skip


def reduce_slab(plan: SlabPlan, block: np.ndarray) -> list[np.ndarray]:
    """Return the slab at every level: exact means of level 0, padding excluded.

    The slab's extent is divisible by the deepest factor, so no neighbour is needed.
    """
    outer = len(plan.axes) - len(inner_axes(plan))  # axes of extent 1, the first ones
    whole = plan.levels[0].factors
    factors = [
        [round(a / b) for a, b in zip(level.factors, whole, strict=True)][outer:]
        for level in plan.levels[1:]
    ]
    method: Any = plan.labels.method if plan.labels else "mean"
    inner = block.reshape(block.shape[outer:])
    smaller = pyramid(inner, factors, padding=padding_range(plan.padding), method=method)
    return [block, *(part.reshape(block.shape[:outer] + part.shape) for part in smaller)]


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


def _batches(plan: SlabPlan, batch_bytes: int) -> Iterator[Sequence[_Picture]]:
    """Split the codestreams of a slab into what is decoded in one go."""
    held: dict[tuple[str, PixelLocation], list[tuple[int, Frame]]] = defaultdict(list)
    for place, frame in enumerate(plan.frames):
        if frame is not None:
            held[frame.uri, frame.pixels].append((place, frame))
    owners = frozenset(plan.owners)
    pictures = [_Picture(tuple(frames), owners) for frames in held.values()]
    if pictures:
        spec = pictures[0].first.picture
        pixel = spec.samples_per_pixel * np.dtype(spec.container).itemsize
        yield from batched(pictures, max(1, batch_bytes // (spec.rows * spec.columns * pixel)))


def _read(read: Read, picture: _Picture) -> tuple[Codestream, bytes, BadInstanceError | None]:
    try:
        return *read(picture.first, picture.owner is not None), None
    except BadInstanceError as exc:
        return b"", b"", exc


def _paint(canvas: Canvas, picture: _Picture, decoded: Decoded) -> list[_Done]:
    """Paint each frame of a decoded picture, or say for each why it is not there."""
    done = []
    for place, frame in picture.frames:
        if decoded.error is not None:
            done.append(_Done(place, _failed(frame, decoded.error, decoded.notes)))
            continue
        stored = cut_out(decoded.stored, frame)
        values, strange = canvas.paint(place, frame, stored)
        result = FrameResult(
            frame.sop_instance_uid, frame.number, stored_digest(stored), decoded.decoder,
            notes=decoded.notes,
        )  # fmt: skip
        done.append(_Done(place, result, values=values, strange=strange))
    return done


def _failed(frame: Frame, exc: BadInstanceError, notes: tuple[str, ...]) -> FrameResult:
    stage = "decode"
    if exc.code in (ProblemCode.SOURCE_CHANGED, ProblemCode.UNREADABLE):
        stage = "read"
    problem = Problem(frame.uri, stage, exc.code, exc.message, frame.series_uid, frame.number, 1)
    return FrameResult(frame.sop_instance_uid, frame.number, problem=problem, notes=notes)
