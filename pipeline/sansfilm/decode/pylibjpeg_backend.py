"""pylibjpeg with its OpenJPEG and RLE plug-ins: the second, independent decoder."""

from importlib.util import find_spec

import numpy as np

from sansfilm.decode import syntaxes
from sansfilm.errors import FrameDecodeError
from sansfilm.model import FrameSpec


class PylibjpegDecoder:
    """JPEG 2000, HTJ2K and RLE. The plug-in for other JPEGs is GPL and never used here."""

    name = "pylibjpeg"
    transfer_syntaxes = syntaxes.JPEG_2000 | syntaxes.HTJ2K | {syntaxes.RLE}
    requires = "pylibjpeg-openjpeg and pylibjpeg-rle"

    def missing(self, transfer_syntax: str) -> str:
        """Return why a syntax cannot be decoded."""
        if transfer_syntax not in self.transfer_syntaxes:
            return "not read by pylibjpeg's permissively licensed plug-ins"
        module = "rle" if transfer_syntax == syntaxes.RLE else "openjpeg"
        return "" if find_spec(module) else f"pylibjpeg-{module} is not installed"

    def decode(self, frame: bytes, spec: FrameSpec) -> np.ndarray:
        """See FrameDecoder."""
        try:
            if spec.transfer_syntax == syntaxes.RLE:
                from rle.utils import decode_frame

                pixels = spec.rows * spec.columns
                data = decode_frame(frame, pixels, spec.bits_allocated, "<")
                words = np.frombuffer(data, f"<u{spec.bits_allocated // 8}", pixels)
                return words.reshape(spec.rows, spec.columns)
            from openjpeg import decode_array
        except (RuntimeError, ValueError) as exc:
            raise FrameDecodeError(f"pylibjpeg: {exc}") from exc
        try:
            return np.asarray(decode_array(frame))
        except (RuntimeError, ValueError, TypeError) as exc:
            raise FrameDecodeError(f"pylibjpeg: {exc}") from exc
