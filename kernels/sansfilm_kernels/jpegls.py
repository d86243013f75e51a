"""JPEG-LS on the GPU: all frames of many series in one launch (ITU-T T.87)."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from sansfilm_kernels import _batch
from sansfilm_kernels._batch import RefusedError, Target
from sansfilm_kernels._jpegls_header import Piece, read_pieces
from sansfilm_kernels.namespace import Array

SEGMENT = np.dtype(
    [
        ("data", "u8"), ("bytes", "u8"), ("out", "u8"),
        ("row_step", "i8"), ("column_step", "i8"), ("sample_step", "i8"),
        ("frame", "i4"), ("rows", "i4"), ("columns", "i4"), ("planes", "i4"),
        ("maxval", "i4"), ("near", "i4"), ("t1", "i4"), ("t2", "i4"), ("t3", "i4"), ("reset", "i4"),
    ]
)  # fmt: skip
"""As in jpegls.cu."""


def decode_jpegls(codestreams: Sequence[bytes], frames: Sequence[Array]) -> Array:
    """Decode JPEG-LS codestreams, one into each frame.

    One warp decodes one frame, or one plane or restart interval of it where these are coded apart,
    so a single frame takes long and thousands hardly longer.

    Parameters
    ----------
    codestreams : sequence of bytes
        Lossless or near-lossless, 2 to 16 bits, 1 to 4 components, interleaved in any way, with or
        without restart markers and preset parameters. In host memory.
    frames : sequence of cupy.ndarray, shape (rows, columns) or (rows, columns, samples)
        Where the stored values go: uint8 or uint16, on the current GPU, and of any strides, so
        ``list(volume)`` does, and a transposed view gives planes. They may differ in shape and
        dtype. A frame that is not OK afterwards holds anything.

    Returns
    -------
    cupy.ndarray, shape (frames,), int32
        A `FrameStatus` for each. The work has been put on the current stream; reading the result
        waits for it.

    Raises
    ------
    TypeError
        If a frame is not a CuPy array of uint8 or uint16. There is no such kernel on the CPU:
        `imagecodecs.jpegls_decode` is what to use there.
    ValueError
        If there are not as many frames as codestreams, or a frame has neither two nor three axes,
        lies on another GPU, or not at multiples of its item size.
    """
    cure = "imagecodecs.jpegls_decode"
    targets = _batch.targets(codestreams, frames, ("uint8", "uint16"), cure)
    statuses = np.zeros(len(targets), np.int32)
    segments = defaultdict(list)
    offset = 0
    for frame, (codestream, target) in enumerate(zip(codestreams, targets, strict=True)):
        try:
            pieces = read_pieces(codestream, target.shape, 8 * target.itemsize)
        except RefusedError as refused:
            statuses[frame] = refused.status
        else:
            for piece in pieces:
                kernel, segment = _segment(piece, target, frame, offset)
                segments[kernel].append(segment)
        offset += len(codestream)
    records = {kernel: np.array(rows, SEGMENT) for kernel, rows in segments.items()}
    return _batch.run("jpegls", codestreams, records, statuses)


def _segment(piece: Piece, target: Target, frame: int, offset: int) -> tuple[str, tuple[int, ...]]:
    """Return the name of the kernel for a piece, and what it has to know of it."""
    by_line = piece.components if piece.by_line else 1
    by_sample = 1 if piece.by_line else piece.components
    row_step, _, sample_step = target.strides
    coding = piece.coding
    kernel = f"jpegls_{8 * target.itemsize}_{by_sample}"
    return kernel, (
        offset + piece.start,
        piece.end - piece.start,
        target.address + piece.row * row_step + piece.component * sample_step,
        *(step // target.itemsize for step in target.strides),
        frame, piece.rows, target.shape[1], by_line,
        coding.maxval, coding.near, coding.t1, coding.t2, coding.t3, coding.reset,
    )  # fmt: skip
