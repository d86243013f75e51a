"""Uncompressed frames: a view of the bytes where they can be one (PS3.5 section 8.1)."""

import zlib

import numpy as np

from sansfilm.decode import syntaxes
from sansfilm.decode.contract import Reads
from sansfilm.decode.stored import packed_bytes, unpack_bits
from sansfilm.errors import FrameDecodeError
from sansfilm.model import FrameSpec

_HALF_CHROMA = ("YBR_FULL_422", "YBR_PARTIAL_422")


class NativeDecoder:
    """Words of 8 to 64 bits or single bits, both byte orders, also deflated (PS3.5 A.4.13)."""

    name = "native"
    reads = (Reads(syntaxes.NATIVE | {syntaxes.DEFLATED_FRAME}, (1, 64)),)
    requires = "nothing"

    def missing(self, transfer_syntax: str) -> str:
        """Return "": always there."""
        return (
            ""
            if transfer_syntax in self.reads[0].transfer_syntaxes
            else "not an uncompressed syntax"
        )

    def decode(
        self, frame: bytes | memoryview, spec: FrameSpec, out: np.ndarray | None = None
    ) -> np.ndarray:
        """See FrameDecoder; integers come back unsigned."""
        order = ">" if spec.transfer_syntax == syntaxes.EXPLICIT_BE else "<"
        kind = "f" if spec.floating else "u"
        dtype = np.dtype(f"{order}{kind}{max(spec.bits_allocated, 8) // 8}")
        pixels = spec.rows * spec.columns
        halved = spec.photometric in _HALF_CHROMA and spec.samples_per_pixel == 3
        count = pixels * (2 if halved else spec.samples_per_pixel)
        size = packed_bytes(spec) if spec.bits_allocated == 1 else count * dtype.itemsize
        if spec.transfer_syntax == syntaxes.DEFLATED_FRAME:
            frame = _inflate(frame, size)
        if len(frame) not in (size, size + size % 2):
            raise FrameDecodeError(f"{len(frame)} bytes, the frame needs {size}")
        if spec.swapped:
            frame = np.frombuffer(frame, ">u2").astype("<u2").tobytes()
        if spec.bits_allocated == 1:
            return unpack_bits(np.frombuffer(frame, np.uint8), spec)
        words = np.frombuffer(frame, dtype, count)
        if halved:
            return _whole_chroma(words, spec)
        if spec.samples_per_pixel > 1 and spec.planar:
            planes = words.reshape(spec.samples_per_pixel, spec.rows, spec.columns)
            return np.moveaxis(planes, 0, -1)
        return words.reshape(spec.shape)


def _whole_chroma(words: np.ndarray, spec: FrameSpec) -> np.ndarray:
    """Give both pixels of a pair their chrominance: Y1 Y2 Cb Cr (PS3.3 C.7.6.3.1.2)."""
    whole = np.empty((words.size // 4, 2, 3), words.dtype)
    for pixel in range(2):
        for sample, place in enumerate((pixel, 2, 3)):
            whole[:, pixel, sample] = words[place::4]
    return whole.reshape(spec.shape)


def _inflate(frame: bytes | memoryview, size: int) -> bytes:
    """Inflate one frame, reading at most two bytes more than it may have."""
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = engine.decompress(frame, size + 2)
    except zlib.error as exc:
        raise FrameDecodeError(f"deflate: {exc}") from exc
    if not engine.eof and len(data) <= size:
        raise FrameDecodeError("deflate: the stream is cut")
    return data
