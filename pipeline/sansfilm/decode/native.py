"""Uncompressed frames: a view of the bytes (PS3.5 section 8.1)."""

import zlib

import numpy as np

from sansfilm.decode import syntaxes
from sansfilm.errors import FrameDecodeError
from sansfilm.model import FrameSpec


class NativeDecoder:
    """Little and big endian words of 8, 16 or 32 bits, also deflated by frame (PS3.5 A.4.13)."""

    name = "native"
    transfer_syntaxes = syntaxes.NATIVE | {syntaxes.DEFLATED_FRAME}
    requires = "nothing"

    def missing(self, transfer_syntax: str) -> str:
        """Return "": always there."""
        return "" if transfer_syntax in self.transfer_syntaxes else "not an uncompressed syntax"

    def decode(self, frame: bytes, spec: FrameSpec) -> np.ndarray:
        """See FrameDecoder; the words come back unsigned."""
        order = ">" if spec.transfer_syntax == syntaxes.EXPLICIT_BE else "<"
        dtype = np.dtype(f"{order}u{spec.bits_allocated // 8}")
        size = spec.rows * spec.columns * dtype.itemsize
        if spec.transfer_syntax == syntaxes.DEFLATED_FRAME:
            frame = _inflate(frame, size)
        if len(frame) not in (size, size + size % 2):
            raise FrameDecodeError(f"{len(frame)} bytes, the frame needs {size}")
        return np.frombuffer(frame, dtype, spec.rows * spec.columns).reshape(
            spec.rows, spec.columns
        )


def _inflate(frame: bytes, size: int) -> bytes:
    """Inflate one frame, reading at most two bytes more than it may have."""
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = engine.decompress(frame, size + 2)
    except zlib.error as exc:
        raise FrameDecodeError(f"deflate: {exc}") from exc
    if not engine.eof and len(data) <= size:
        raise FrameDecodeError("deflate: the stream is cut")
    return data
