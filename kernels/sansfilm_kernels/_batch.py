"""What the decoders on the GPU share: many codestreams in, a status for each frame out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from importlib import import_module

import array_api_compat
import numpy as np

from sansfilm_kernels import _cuda
from sansfilm_kernels._ring import ring
from sansfilm_kernels.namespace import Array

_LANES, _SEGMENTS_PER_BLOCK = 32, 4
"""Threads of a block: a warp for each of a few segments; the second as in the kernels."""
_SHORT = 200
"""Bytes of a codestream, headers included, that may well say nothing but one value."""


class FrameStatus(IntEnum):
    """What became of one frame. A frame that is not OK holds no image, whatever is in it."""

    OK = 0
    NOT_A_CODESTREAM = 1
    """The header of the codestream is not one."""
    MISMATCH = 2
    """The codestream holds another image: rows, columns, samples or bits differ."""
    UNSUPPORTED = 3
    """A valid codestream may say this, but the kernel does not do it."""
    TRUNCATED = 4
    """The codestream ends before the image does."""
    CORRUPT = 5
    """The codestream says what no encoder writes."""
    LEFT_OVER = 6
    """The image is complete before the codestream ends."""
    FAILED = 7
    """A library reports an error of its own, or gives nothing."""
    SUSPECT = 8
    """All samples are equal, which so long a codestream hardly says."""


class RefusedError(Exception):
    """A codestream that no kernel needs to see."""

    def __init__(self, status: FrameStatus) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True)
class Target:
    """Where a frame goes: an address on the GPU and, for rows, columns and samples, size and step.

    Steps are in bytes. A frame without an axis for samples has one sample.
    """

    address: int
    shape: tuple[int, int, int]
    strides: tuple[int, int, int]
    itemsize: int


def targets(
    codestreams: Sequence[bytes], frames: Sequence[Array], dtypes: Sequence[str], cure: str
) -> list[Target]:
    """Return where the frames lie; `cure` is what decodes on the CPU.

    Raises
    ------
    TypeError
        If they are no CuPy arrays, or of other dtypes than `dtypes`.
    ValueError
        If there are not as many as codestreams, or a frame does not lie as a frame should.
    """
    if len(codestreams) != len(frames):
        raise ValueError(f"{len(codestreams)} codestreams for {len(frames)} frames")
    found = [_target(frame, dtypes, cure) for frame in frames]
    if found:
        here = import_module("cupy").cuda.Device()
        if any(frame.device != here for frame in frames):
            raise ValueError(f"a frame lies on another GPU than the current one, {here}")
    return found


def run(
    source: str,
    codestreams: Sequence[bytes],
    segments: Mapping[str, np.ndarray],
    statuses: np.ndarray,
) -> Array:
    """Start the kernels of ``cuda/<source>.cu`` on the current stream, a warp for each segment.

    Parameters
    ----------
    source : str
        Name of the file, without its ending.
    codestreams : sequence of bytes
        The kernels get them one after the other; a segment's `data` counts from the first.
    segments : mapping of str to ndarray
        By the name of the kernel: records as it reads them.
    statuses : ndarray, shape (frames,), int32
        What is known already.

    Returns
    -------
    cupy.ndarray, shape (frames,), int32
        The status of each frame: the largest that a kernel gives it, or the one that was known.
    """
    cupy = import_module("cupy")
    status = cupy.asarray(statuses)
    if not segments:
        return status
    with ring(cupy.cuda.Device().id).upload(codestreams) as data:
        for kernel, records in segments.items():
            there = cupy.asarray(records.view(np.uint8))
            blocks = -(-len(records) // _SEGMENTS_PER_BLOCK)
            function = _cuda.module(source).get_function(kernel)
            arguments = (data, there, np.int32(len(records)), status)
            function((blocks,), (_LANES, _SEGMENTS_PER_BLOCK), arguments)
    return status


def suspect(codestreams: Sequence[bytes], frames: Sequence[Array], statuses: np.ndarray) -> None:
    """Mark frames of one value whose codestream is too long for that; libraries have done so."""
    long = [
        number
        for number, codestream in enumerate(codestreams)
        if statuses[number] == FrameStatus.OK and len(codestream) > _SHORT
    ]
    if not long:
        return
    cupy = import_module("cupy")
    flat = cupy.stack([frames[number].max() == frames[number].min() for number in long])
    statuses[np.array(long)[flat.get()]] = FrameStatus.SUSPECT


def _target(frame: Array, dtypes: Sequence[str], cure: str) -> Target:
    if not array_api_compat.is_cupy_array(frame):
        kind = f"{type(frame).__module__}.{type(frame).__name__}"
        raise TypeError(f"frames must be CuPy arrays, got {kind}; on the CPU use {cure}")
    if frame.dtype.name not in dtypes:
        raise TypeError(f"frames must be {' or '.join(dtypes)}, got {frame.dtype}")
    if frame.ndim not in (2, 3):
        shape = tuple(frame.shape)
        raise ValueError(f"a frame is (rows, columns) or (rows, columns, samples), not {shape}")
    shape, strides = (*frame.shape, 1)[:3], (*frame.strides, frame.itemsize)[:3]
    address = int(frame.__cuda_array_interface__["data"][0])
    if any(number % frame.itemsize for number in (address, *strides)):
        raise ValueError(f"a frame of {frame.dtype} must lie at multiples of its size; copy it")
    return Target(address, shape, strides, frame.itemsize)
