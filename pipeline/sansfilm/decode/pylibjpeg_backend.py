"""pylibjpeg's OpenJPEG: the second, independent decoder of JPEG 2000."""

from importlib.util import find_spec

import numpy as np

from sansfilm.decode import syntaxes
from sansfilm.decode.contract import Reads
from sansfilm.decode.jpeg2000 import without_jp2
from sansfilm.errors import FrameDecodeError
from sansfilm.model import FrameSpec


class PylibjpegDecoder:
    """JPEG 2000 and HTJ2K.

    Not RLE: pylibjpeg-rle panics, or crops in silence, where segments unpack to more than the
    image. The plug-in for other JPEGs is GPL and never used here.
    """

    name = "pylibjpeg"
    reads = (
        Reads(syntaxes.JPEG_2000, (1, 29), signed=True),
        Reads(syntaxes.HTJ2K, (1, 27), signed=True),
    )
    requires = "pylibjpeg-openjpeg"

    def missing(self, transfer_syntax: str) -> str:
        """Return why a syntax cannot be decoded."""
        if transfer_syntax not in syntaxes.JPEG_2000 | syntaxes.HTJ2K:
            return "not read by pylibjpeg-openjpeg"
        return "" if find_spec("openjpeg") else "pylibjpeg-openjpeg is not installed"

    def decode(
        self, frame: bytes | memoryview, spec: FrameSpec, out: np.ndarray | None = None
    ) -> np.ndarray:
        """See FrameDecoder."""
        from openjpeg.utils import decode

        try:
            return np.asarray(decode(bytes(without_jp2(frame))))
        except (RuntimeError, ValueError, TypeError) as exc:
            raise FrameDecodeError(f"pylibjpeg: {exc}") from exc
