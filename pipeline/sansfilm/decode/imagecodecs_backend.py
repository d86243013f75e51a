"""imagecodecs: fastest or tied for every syntax, and it releases the GIL while it decodes."""

import numpy as np

from sansfilm.decode import syntaxes
from sansfilm.decode.codestream import is_reversible
from sansfilm.errors import FrameDecodeError
from sansfilm.model import FrameSpec


class ImagecodecsDecoder:
    """JPEG, JPEG-LS, JPEG 2000, HTJ2K, JPEG XL and RLE frames."""

    name = "imagecodecs"
    transfer_syntaxes = (
        syntaxes.JPEG | syntaxes.JPEG_LS | syntaxes.JPEG_2000 | syntaxes.HTJ2K
    ) | syntaxes.JPEG_XL | {syntaxes.RLE}  # fmt: skip
    requires = "imagecodecs>=2026.10"

    def missing(self, transfer_syntax: str) -> str:
        """Return why a syntax cannot be decoded: the package or the codec in it is not there."""
        if transfer_syntax not in self.transfer_syntaxes:
            return "not read by imagecodecs"
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
        import imagecodecs

        try:
            if spec.transfer_syntax == syntaxes.RLE:
                words = np.dtype(f"<u{spec.bits_allocated // 8}")
                image = np.zeros((spec.rows, spec.columns), words)
                # with a buffer given, a frame that unpacks to more is refused, not allocated
                data = imagecodecs.dicomrle_decode(frame, words, out=memoryview(image).cast("B"))
                if len(data) != image.nbytes:
                    message = f"{len(data)} bytes unpacked, {image.nbytes} needed"
                    raise FrameDecodeError(f"imagecodecs: {message}")
                return image
            decode = getattr(imagecodecs, _codec(frame, spec.transfer_syntax) + "_decode")
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


def _codec(frame: bytes, transfer_syntax: str) -> str:
    """Return the codec of a frame: OpenJPH for HTJ2K only where nothing can overshoot.

    Near the ends of the range lossy values overshoot; OpenJPEG clips them (T.800 G.1.2), OpenJPH
    as imagecodecs calls it wraps them around: white becomes black.
    """
    codec = _CODEC[transfer_syntax]
    lossless = transfer_syntax in syntaxes.HTJ2K_LOSSLESS and is_reversible(frame)
    return "jpeg2k" if codec == "htj2k" and not lossless else codec
