"""imagecodecs: fastest or tied for every syntax, and it releases the GIL while it decodes."""

from typing import Any

import numpy as np

from sansfilm.decode import syntaxes
from sansfilm.decode.contract import Reads
from sansfilm.decode.jpeg2000 import is_reversible, without_jp2
from sansfilm.decode.jpeg_colour import colourspace
from sansfilm.decode.stored import packed_bytes, unpack_bits
from sansfilm.errors import FrameDecodeError, SansfilmError
from sansfilm.model import FrameSpec


class ImagecodecsDecoder:
    """JPEG, JPEG-LS, JPEG 2000, HTJ2K, JPEG XL and RLE frames."""

    name = "imagecodecs"
    reads = (
        Reads(syntaxes.JPEG - syntaxes.JPEG_LOSSLESS, (8, 12)),
        Reads(syntaxes.JPEG_LOSSLESS | syntaxes.JPEG_LS, (2, 16)),
        # as far as the encoder of the tests shows that OpenJPEG is right; its own writes wrong bits
        # from 25 on
        Reads(syntaxes.JPEG_2000, (1, 29), signed=True),
        Reads(syntaxes.HTJ2K_LOSSLESS, (1, 32), signed=True),
        Reads(syntaxes.HTJ2K - syntaxes.HTJ2K_LOSSLESS, (1, 27), signed=True),
        Reads(syntaxes.JPEG_XL, (1, 16)),
        Reads(frozenset({syntaxes.RLE}), (1, 64)),
    )
    requires = "imagecodecs>=2026.10"

    def missing(self, transfer_syntax: str) -> str:
        """Return why a syntax cannot be decoded: the package or the codec in it is not there."""
        if transfer_syntax not in _CODEC:
            return "not read by imagecodecs"
        try:
            import imagecodecs
        except ImportError as exc:
            return f"imagecodecs is not installed ({exc})"
        codec = getattr(imagecodecs, _CODEC[transfer_syntax].upper(), None)
        if codec is None or not codec.available:
            return f"imagecodecs was built without {_CODEC[transfer_syntax]}"
        return ""

    def decode(
        self, frame: bytes | memoryview, spec: FrameSpec, out: np.ndarray | None = None
    ) -> np.ndarray:
        """See FrameDecoder."""
        import imagecodecs

        try:
            if spec.transfer_syntax == syntaxes.RLE:
                return _rle(frame, spec)
            if spec.transfer_syntax in syntaxes.WAVELETS:
                frame = without_jp2(frame)
            codec = _codec(frame, spec)
            how = _colour(codec, frame, spec) if spec.samples_per_pixel > 1 else {}
            return np.asarray(getattr(imagecodecs, codec + "_decode")(frame, **how, out=out))
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as exc:
            if isinstance(exc, SansfilmError):
                raise
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


def _codec(frame: bytes | memoryview, spec: FrameSpec) -> str:
    """Return the codec of a frame: OpenJPH for HTJ2K only where nothing can overshoot.

    Near the ends of the range lossy values overshoot; OpenJPEG clips them (T.800 G.1.2), OpenJPH
    as imagecodecs calls it wraps them around: white becomes black.
    """
    codec = _CODEC[spec.transfer_syntax]
    lossless = spec.transfer_syntax in syntaxes.HTJ2K_LOSSLESS and is_reversible(frame)
    return "jpeg2k" if codec == "htj2k" and not lossless else codec


def _colour(codec: str, frame: bytes | memoryview, spec: FrameSpec) -> dict[str, Any]:
    """Return what a codec must be told of samples, so that it guesses neither model nor order."""
    if codec == "jpeg8":
        return {"colorspace": colourspace(frame, spec), "outcolorspace": "RGB"}
    return {"planar": False} if codec in ("jpeg2k", "htj2k") else {}


def _rle(frame: bytes | memoryview, spec: FrameSpec) -> np.ndarray:
    """Unpack the segments of a frame: planes of samples, or of single bits (PS3.5 annex G)."""
    import imagecodecs

    bits = spec.bits_allocated == 1
    words = np.dtype(f"<u{max(spec.bits_allocated, 8) // 8}")
    shape = (packed_bytes(spec),) if bits else (spec.samples_per_pixel, spec.rows, spec.columns)
    planes = np.zeros(shape, words)
    # with a buffer given, a frame that unpacks to more is refused, not allocated
    data = imagecodecs.dicomrle_decode(frame, words, out=memoryview(planes).cast("B"))
    if len(data) != planes.nbytes:
        raise FrameDecodeError(f"imagecodecs: {len(data)} bytes unpacked, {planes.nbytes} needed")
    if bits:
        return unpack_bits(planes, spec)
    return planes[0] if spec.samples_per_pixel == 1 else np.moveaxis(planes, 0, -1)
