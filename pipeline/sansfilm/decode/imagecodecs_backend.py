"""imagecodecs: fastest or tied for every syntax, and it releases the GIL while it decodes."""

import zlib

import numpy as np

from sansfilm.decode import syntaxes
from sansfilm.errors import FrameDecodeError
from sansfilm.model import FrameSpec


class ImagecodecsDecoder:
    """JPEG, JPEG-LS, JPEG 2000, HTJ2K, JPEG XL, RLE and deflated frames."""

    name = "imagecodecs"
    transfer_syntaxes = (
        syntaxes.JPEG | syntaxes.JPEG_LS | syntaxes.JPEG_2000 | syntaxes.HTJ2K
    ) | syntaxes.JPEG_XL | {syntaxes.RLE, syntaxes.DEFLATED_FRAME}  # fmt: skip
    requires = "imagecodecs>=2026.10"

    def missing(self, transfer_syntax: str) -> str:
        """Return why a syntax cannot be decoded: the package or the codec in it is not there."""
        if transfer_syntax not in self.transfer_syntaxes:
            return "not read by imagecodecs"
        if transfer_syntax == syntaxes.DEFLATED_FRAME:
            return ""
        try:
            import imagecodecs
        except ImportError as exc:
            return f"imagecodecs is not installed ({exc})"
        codec = getattr(imagecodecs, _CODEC[transfer_syntax].upper(), None)
        if codec is None or not codec.available:
            return f"imagecodecs was built without {_CODEC[transfer_syntax]}"
        return ""

    def decode(self, frame: bytes, spec: FrameSpec) -> np.ndarray:
        """See FrameDecoder."""
        words = np.dtype(f"<u{spec.bits_allocated // 8}")
        size = spec.rows * spec.columns * words.itemsize
        if spec.transfer_syntax == syntaxes.DEFLATED_FRAME:
            return _words(_inflate(frame, size), words, spec)
        import imagecodecs

        try:
            if spec.transfer_syntax == syntaxes.RLE:
                return _words(imagecodecs.dicomrle_decode(frame, words), words, spec)
            decode = getattr(imagecodecs, _CODEC[spec.transfer_syntax] + "_decode")
            return np.asarray(decode(frame))
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as exc:
            # imagecodecs' own errors are RuntimeErrors; it leaks the others from argument checks
            raise FrameDecodeError(f"imagecodecs: {exc}") from exc


_CODEC = {
    **dict.fromkeys(syntaxes.JPEG, "jpeg8"),
    **dict.fromkeys(syntaxes.JPEG_LS, "jpegls"),
    **dict.fromkeys(syntaxes.JPEG_2000, "jpeg2k"),
    **dict.fromkeys(syntaxes.HTJ2K, "htj2k"),
    **dict.fromkeys(syntaxes.JPEG_XL, "jpegxl"),
    syntaxes.RLE: "dicomrle",
}


def _words(data: bytes, dtype: np.dtype, spec: FrameSpec) -> np.ndarray:
    pixels = spec.rows * spec.columns
    if len(data) < pixels * dtype.itemsize:
        raise FrameDecodeError(f"{len(data)} bytes decoded, {pixels * dtype.itemsize} needed")
    return np.frombuffer(data, dtype, pixels).reshape(spec.rows, spec.columns)


def _inflate(frame: bytes, size: int) -> bytes:
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        return engine.decompress(frame, size + 1)
    except zlib.error as exc:
        raise FrameDecodeError(f"deflate: {exc}") from exc
