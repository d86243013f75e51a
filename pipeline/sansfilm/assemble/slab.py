"""The frames of one slab -> its block of level 0, and the blocks of all other levels.

Memory bound: the block, and per thread one instance as it was read and one decoded frame.
Reducing adds at most about one block more.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sansfilm.errors import BadInstanceError, Problem, ProblemCode
from sansfilm.model import FrameResult, Header, Map, SlabPlan
from sansfilm_kernels import pyramid, rescale

Read = Callable[[Header], tuple[bytes, bytes]]
Decode = Callable[..., tuple[np.ndarray, str]]


@dataclass(frozen=True, slots=True)
class Slab:
    """What filling a slab gave: level 0 (z, y, x), each instance's header, each frame's result."""

    block: np.ndarray
    headers: tuple[bytes, ...]
    frames: tuple[FrameResult, ...]
    bytes_read: int
    bytes_decoded: int

    @property
    def whole(self) -> bool:
        """Whether every frame was decoded."""
        return all(frame.problem is None for frame in self.frames)


def fill_slab(plan: SlabPlan, read: Read, decode: Decode, run: Map = map) -> Slab:
    """Read and decode the frames of a slab straight into its block.

    Parameters
    ----------
    plan : SlabPlan
    read : callable
        ``read(header)`` gives (codestream, header bytes); BadInstanceError for a bad one.
    decode : callable
        ``decode(codestream, spec, prefer)`` gives (stored values, decoder name).
    run : callable, optional
        Maps over frames; the result does not depend on it.
    """
    rows, columns = plan.levels[0].shape[1:]
    block = np.empty((len(plan.frames), rows, columns), plan.dtype)

    def one(place: int) -> tuple[FrameResult, bytes, int, int]:
        header = plan.frames[place]
        try:
            codestream, outside = read(header)
            stored, decoder = decode(codestream, header.spec, plan.prefer)
        except BadInstanceError as exc:
            return FrameResult(header.sop_instance_uid, problem=_problem(header, exc)), b"", 0, 0
        _place(stored, header, plan, block[place])
        result = FrameResult(header.sop_instance_uid, stored_digest(stored), decoder)
        return result, outside, len(codestream) + len(outside), stored.nbytes

    done = list(run(one, range(len(plan.frames))))
    frames, headers, read_bytes, decoded_bytes = zip(*done, strict=True)
    return Slab(block, headers, frames, sum(read_bytes), sum(decoded_bytes))


def reduce_slab(plan: SlabPlan, block: np.ndarray) -> list[np.ndarray]:
    """Return the slab at every level: exact means of level 0, padding excluded.

    The slab's extent is divisible by the deepest factor, so no neighbour is needed.
    """
    factors = [level.factors for level in plan.levels[1:]]
    return [block, *pyramid(block, factors, padding=plan.padding)]


def stored_digest(stored: np.ndarray) -> str:
    """Return the SHA-256 of stored values: little endian, C order."""
    data = np.ascontiguousarray(stored, stored.dtype.newbyteorder("<"))
    return hashlib.sha256(data.data).hexdigest()


def _place(stored: np.ndarray, header: Header, plan: SlabPlan, out: np.ndarray) -> None:
    if plan.rescale.applied == "attributes":
        out[...] = stored
        return
    rescale(stored, slope=header.slope, intercept=header.intercept, dtype=plan.dtype, out=out)


def _problem(header: Header, exc: BadInstanceError) -> Problem:
    stage = "decode"
    if exc.code in (ProblemCode.SOURCE_CHANGED, ProblemCode.UNREADABLE):
        stage = "read"
    return Problem(header.uri, stage, exc.code, exc.message, header.series_uid, None, 1)
