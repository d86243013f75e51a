"""Transfer syntaxes by family (PS3.5 annex A, PS3.6 annex A)."""

IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
DEFLATED_LE = "1.2.840.10008.1.2.1.99"
EXPLICIT_BE = "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"
DEFLATED_FRAME = "1.2.840.10008.1.2.8.1"
_FOUR = "1.2.840.10008.1.2.4."

NATIVE = frozenset({IMPLICIT_LE, EXPLICIT_LE, DEFLATED_LE, EXPLICIT_BE})
JPEG = frozenset(_FOUR + tail for tail in ("50", "51", "53", "55", "57", "70"))
JPEG_LOSSLESS = frozenset(_FOUR + tail for tail in ("57", "70"))
JPEG_LS = frozenset(_FOUR + tail for tail in ("80", "81"))
MARKED = JPEG | JPEG_LS
"""Syntaxes whose codestreams have the form of JPEG (ITU-T T.81 annex B)."""
JPEG_2000 = frozenset(_FOUR + tail for tail in ("90", "91"))
HTJ2K_LOSSLESS = frozenset(_FOUR + tail for tail in ("201", "202"))
HTJ2K = HTJ2K_LOSSLESS | {_FOUR + "203"}
WAVELETS = JPEG_2000 | HTJ2K
"""Syntaxes whose codestreams have the form of JPEG 2000 (ITU-T T.800 annex A)."""
JPEG_XL = frozenset(_FOUR + tail for tail in ("110", "111", "112"))

LOSSLESS = JPEG_LOSSLESS | HTJ2K_LOSSLESS | {RLE, _FOUR + "80", _FOUR + "90", _FOUR + "110"}
"""Compressed syntaxes whose frames every decoder must give bit for bit."""

NAMES = {
    IMPLICIT_LE: "Implicit VR Little Endian",
    EXPLICIT_LE: "Explicit VR Little Endian",
    DEFLATED_LE: "Deflated Explicit VR Little Endian",
    EXPLICIT_BE: "Explicit VR Big Endian (retired)",
    RLE: "RLE Lossless",
    DEFLATED_FRAME: "Deflated Image Frame",
    _FOUR + "50": "JPEG Baseline, 8 bit",
    _FOUR + "51": "JPEG Extended, 8 and 12 bit",
    _FOUR + "53": "JPEG Spectral Selection (retired)",
    _FOUR + "55": "JPEG Full Progression (retired)",
    _FOUR + "57": "JPEG Lossless",
    _FOUR + "70": "JPEG Lossless, first-order prediction",
    _FOUR + "80": "JPEG-LS Lossless",
    _FOUR + "81": "JPEG-LS Near-lossless",
    _FOUR + "90": "JPEG 2000 Lossless",
    _FOUR + "91": "JPEG 2000",
    _FOUR + "110": "JPEG XL Lossless",
    _FOUR + "111": "JPEG XL, recompressed JPEG",
    _FOUR + "112": "JPEG XL",
    _FOUR + "201": "HTJ2K Lossless",
    _FOUR + "202": "HTJ2K Lossless RPCL",
    _FOUR + "203": "HTJ2K",
}
