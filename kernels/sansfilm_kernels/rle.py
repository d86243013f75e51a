"""RLE of DICOM on the GPU: all frames of many series in one launch (PS3.5 Annex G)."""

import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from sansfilm_kernels import _batch
from sansfilm_kernels._batch import FrameStatus, RefusedError, Target
from sansfilm_kernels.namespace import Array

SEGMENT = np.dtype(
    [
        ("data", "u8"), ("bytes", "u8"), ("out", "u8"), ("row_step", "i8"), ("column_step", "i8"),
        ("frame", "i4"), ("rows", "u4"), ("columns", "u4"), ("unused", "u4"),
    ]
)  # fmt: skip
"""As in rle.cu."""

_HEADER = struct.Struct("<16I")
"""The number of segments and where each begins; 0 where there is none (G.5)."""
_MOST_PIXELS = 2**32


def decode_rle(codestreams: Sequence[bytes], frames: Sequence[Array]) -> Array:
    """Unpack RLE frames of DICOM, one into each frame.

    One warp unpacks one segment: one byte of each sample of one component.

    Parameters
    ----------
    codestreams : sequence of bytes
        RLE frames with their header of 64 bytes. In host memory.
    frames : sequence of cupy.ndarray, shape (rows, columns) or (rows, columns, samples)
        Where the stored values go: uint8, uint16 or uint32, as many bits as are allocated, on the
        current GPU, and of any strides, so ``list(volume)`` does, and a transposed view gives
        planes. They may differ in shape and dtype. One-bit pixels stay packed, eight in a byte:
        (1, bytes) holds them. A frame that is not OK afterwards holds anything.

    Returns
    -------
    cupy.ndarray, shape (frames,), int32
        A `FrameStatus` for each. The work has been put on the current stream; reading the result
        waits for it.

    Raises
    ------
    TypeError
        If a frame is not a CuPy array of uint8, uint16 or uint32. There is no such kernel on the
        CPU: `imagecodecs.dicomrle_decode` is what to use there.
    ValueError
        If there are not as many frames as codestreams, or a frame has neither two nor three axes,
        lies on another GPU, or not at multiples of its item size.
    """
    cure = "imagecodecs.dicomrle_decode"
    targets = _batch.targets(codestreams, frames, ("uint8", "uint16", "uint32"), cure)
    statuses = np.zeros(len(targets), np.int32)
    segments: list[tuple[int, ...]] = []
    offset = 0
    for frame, (codestream, target) in enumerate(zip(codestreams, targets, strict=True)):
        try:
            bounds = _bounds(codestream, target)
        except RefusedError as refused:
            statuses[frame] = refused.status
        else:
            segments += _segments(bounds, target, frame, offset)
        offset += len(codestream)
    records = {"rle_planes": np.array(segments, SEGMENT)} if segments else {}
    return _batch.run("rle", codestreams, records, statuses)


def _bounds(codestream: bytes, target: Target) -> list[int]:
    """Return where each segment begins, and where the last one ends (G.5).

    Raises
    ------
    RefusedError
        If the segments are not those of the frame, or not in the codestream.
    """
    if len(codestream) < _HEADER.size:
        raise RefusedError(FrameStatus.NOT_A_CODESTREAM)
    count, *starts = _HEADER.unpack_from(codestream)
    rows, columns, samples = target.shape
    wanted = samples * target.itemsize
    if count > len(starts):
        raise RefusedError(FrameStatus.NOT_A_CODESTREAM)
    if count != wanted or rows * columns >= _MOST_PIXELS:
        raise RefusedError(FrameStatus.MISMATCH)
    bounds = [*starts[:count], len(codestream)]
    if bounds[:1] != [_HEADER.size] or any(end <= start for start, end in pairwise(bounds)):
        raise RefusedError(FrameStatus.CORRUPT)
    return bounds


def _segments(
    bounds: Sequence[int], target: Target, frame: int, offset: int
) -> Iterator[tuple[int, ...]]:
    """Yield what the kernel has to know of each segment: the highest byte comes first (G.2)."""
    rows, columns, _ = target.shape
    row_step, column_step, sample_step = target.strides
    for number, (start, end) in enumerate(pairwise(bounds)):
        sample, place = divmod(number, target.itemsize)
        out = target.address + sample * sample_step + target.itemsize - 1 - place
        yield (
            offset + start, end - start, out, row_step, column_step, frame, rows, columns, 0,
        )  # fmt: skip
