"""Uncompressed frames: a view of the bytes (PS3.5 section 8.1)."""

import numpy as np

from sansfilm.decode import syntaxes
from sansfilm.errors import FrameDecodeError
from sansfilm.model import FrameSpec


class NativeDecoder:
    """Little and big endian words of 8, 16 or 32 bits."""

    name = "native"
    transfer_syntaxes = syntaxes.NATIVE
    requires = "nothing"

    def missing(self, transfer_syntax: str) -> str:
        """Return "": always there."""
        return "" if transfer_syntax in self.transfer_syntaxes else "not an uncompressed syntax"

    def decode(self, frame: bytes, spec: FrameSpec) -> np.ndarray:
        """See FrameDecoder; the words come back unsigned."""
        order = ">" if spec.transfer_syntax == syntaxes.EXPLICIT_BE else "<"
        dtype = np.dtype(f"{order}u{spec.bits_allocated // 8}")
        pixels = spec.rows * spec.columns
        if len(frame) < pixels * dtype.itemsize:
            raise FrameDecodeError(f"{len(frame)} bytes for {pixels} pixels")
        return np.frombuffer(frame, dtype, pixels).reshape(spec.rows, spec.columns)
