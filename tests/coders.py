"""Encoders of every lossless transfer syntax under one signature, and second readers of theirs.

An encoder takes stored values (rows, columns) or (rows, columns, samples), Bits Stored and Planar
Configuration, which codecs that have planes take as well. None of them is sansfilm's; where the
library that decodes is also the only one that others encode with, the tests have their own.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import imagecodecs
import jpeg2000_encoder
import jpeg_encoder
import jpeg_ls
import jpegls_encoder
import numpy as np
import openjpeg.utils
import rle.utils
import synth
from codestreams import rle_frame

CODED = range(2, 17)
"""Bits of JPEG and JPEG-LS."""
ALL = (*range(1, 17), 17, 20, 24, 31, 32)
OPENJPEG = (*range(1, 17), 20, 24)
"""OpenJPEG's encoder writes wrong bits from 25 or 26 on, whatever reads them."""
OPENJPH = (*range(1, 17), 20, 24, 27, 32)


def words(values: np.ndarray, bits: int) -> np.ndarray:
    """Return the low bits of stored values, as encoders without a sign take them."""
    unsigned = values.astype(values.dtype.newbyteorder("=")).view(f"u{values.itemsize}")
    return unsigned & unsigned.dtype.type(2**bits - 1)


def narrow(values: np.ndarray, bits: int) -> np.ndarray:
    """Return values in the smallest dtype that encoders take for so many bits."""
    size = 1 if bits <= 8 else 2 if bits <= 16 else 4
    return values.astype(f"{values.dtype.kind}{size}")


def bare(stored: np.ndarray, bits: int) -> np.ndarray:
    return narrow(words(stored, bits), bits)


def samples_last(values: np.ndarray) -> np.ndarray:
    return values.reshape(*values.shape[:2], -1)


def planes_first(values: np.ndarray, planar: int) -> np.ndarray:
    return np.moveaxis(values, -1, 0) if planar else values


def little(stored: np.ndarray, bits: int, planar: int) -> bytes:
    return planes_first(stored, planar).astype(stored.dtype.newbyteorder("<")).tobytes()


def big(stored: np.ndarray, bits: int, planar: int) -> bytes:
    return planes_first(stored, planar).astype(stored.dtype.newbyteorder(">")).tobytes()


def deflated(stored: np.ndarray, bits: int, planar: int) -> bytes:
    engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return engine.compress(little(stored, bits, planar)) + engine.flush()


def rle_by_pylibjpeg(stored: np.ndarray, bits: int, planar: int) -> bytes:
    return bytes(rle.utils.encode_pixel_data(
        stored.tobytes(), rows=stored.shape[0], columns=stored.shape[1], byteorder="<",
        bits_allocated=8 * stored.itemsize, samples_per_pixel=samples_last(stored).shape[2],
    ))  # fmt: skip


def rle_of_annex_g(stored: np.ndarray, bits: int, planar: int) -> bytes:
    """Put the segments of each sample, as `synth` packs them, behind one header."""
    segments = []
    for plane in np.moveaxis(samples_last(stored), -1, 0):
        frame = synth.encode_rle(plane)
        count, *offsets = np.frombuffer(frame[:64], "<u4").tolist()
        segments += [frame[a:b] for a, b in pairwise([*offsets[:count], len(frame)])]
    return rle_frame(segments)


def lossless_jpeg(predictor: int) -> Callable[[np.ndarray, int, int], bytes]:
    """Return the encoder of the tests, with one scan for each component if `planar`."""

    def encode(stored: np.ndarray, bits: int, planar: int) -> bytes:
        image = samples_last(bare(stored, bits))
        return jpeg_encoder.encode_lossless(image, bits, predictor, apart=bool(planar))

    return encode


def jpeg_by_liblj92(stored: np.ndarray, bits: int, planar: int) -> bytes:
    return bytes(imagecodecs.ljpeg_encode(bare(stored, bits), bitspersample=bits))


def jpegls_by_charls(stored: np.ndarray, bits: int, planar: int, near: int = 0) -> bytes:
    image = bare(stored, bits)
    how = {"interleave_mode": 0 if planar else 2} if image.ndim == 3 else {}
    return bytes(jpeg_ls.encode_buffer(
        planes_first(image, planar).tobytes(), *image.shape[:2], samples_last(image).shape[2],
        bits, lossy_error=near, **how,
    ))  # fmt: skip


def jpegls_of_t87(stored: np.ndarray, bits: int, planar: int) -> bytes:
    image = samples_last(bare(stored, bits))
    interleave = jpegls_encoder.NONE if planar or image.shape[2] == 1 else jpegls_encoder.LINE
    return jpegls_encoder.encode(image, bits, interleave=interleave)


def jpeg2000_of_t800(stored: np.ndarray, bits: int, planar: int) -> bytes:
    signed, colour = stored.dtype.kind == "i", stored.ndim == 3
    how = {"signed": signed, "transform": colour and not planar}
    return jpeg2000_encoder.encode(samples_last(stored), bits, **how)


def jpeg2000_by_pylibjpeg(stored: np.ndarray, bits: int, planar: int) -> bytes:
    photometric = 1 if stored.ndim == 3 else 2
    return bytes(openjpeg.utils.encode_array(
        narrow(stored, bits), bits_stored=bits, photometric_interpretation=photometric,
    ))  # fmt: skip


def jpeg2000_by_imagecodecs(stored: np.ndarray, bits: int, planar: int) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(
        narrow(stored, bits), level=0, codecformat="j2k", reversible=True, bitspersample=bits,
        mct=not planar,
    ))  # fmt: skip


def htj2k_by_openjph(stored: np.ndarray, bits: int, planar: int, **how: str) -> bytes:
    return bytes(imagecodecs.htj2k_encode(
        narrow(stored, bits), reversible=True, bitspersample=bits, rgb=not planar, **how,
    ))  # fmt: skip


def rpcl_by_openjph(stored: np.ndarray, bits: int, planar: int) -> bytes:
    return htj2k_by_openjph(stored, bits, planar, prog_order="RPCL")


def jpegxl_by_libjxl(stored: np.ndarray, bits: int, planar: int) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(
        bare(stored, bits), lossless=True, usecontainer=bool(planar), bitspersample=bits, effort=1,
    ))  # fmt: skip


# -------------------------------------------------------------------------- second readers


def rle_with_pylibjpeg(frame: bytes, like: np.ndarray) -> np.ndarray:
    data = rle.utils.decode_frame(frame, like.shape[0] * like.shape[1], 8 * like.itemsize, "<")
    planes = np.frombuffer(bytes(data), f"<u{like.itemsize}")
    return np.moveaxis(planes.reshape(-1, *like.shape[:2]), 0, -1).reshape(like.shape)


def jpeg_with_liblj92(frame: bytes, like: np.ndarray) -> np.ndarray:
    return np.asarray(imagecodecs.ljpeg_decode(frame)).reshape(like.shape)


def jpeg_with_sof3(frame: bytes, like: np.ndarray) -> np.ndarray:
    return np.asarray(imagecodecs.jpegsof3_decode(frame)).reshape(like.shape)


def jpegls_with_pyjpegls(frame: bytes, like: np.ndarray) -> np.ndarray:
    data, about = jpeg_ls.decode_buffer(frame)
    values = np.frombuffer(bytes(data), "u1" if about["bits_per_sample"] <= 8 else "u2")
    if like.ndim == 3 and about["interleave_mode"] == 0:
        return np.moveaxis(values.reshape(-1, *like.shape[:2]), 0, -1)
    return values.reshape(like.shape)


# -------------------------------------------------------------------------------- the table


@dataclass(frozen=True)
class Coder:
    """One way to make frames of a syntax, and who else reads them."""

    syntax: str
    encode: Callable[[np.ndarray, int, int], bytes]
    bits: Sequence[int]
    shape: tuple[int, int] = (17, 19)
    read: Callable[[bytes, np.ndarray], np.ndarray] | None = None
    read_planar: bool = True
    """Whether the other reader knows components in scans of their own."""
    grey_only: bool = False

    @property
    def words(self) -> bool:
        """Whether frames are made of whole words, so that Bits Allocated is seen in them."""
        return self.syntax in (*synth.NATIVE, synth.DEFLATED_FRAME, synth.RLE)


CODERS = {
    "implicit": Coder(synth.IMPLICIT_LE, little, ALL),
    "explicit": Coder(synth.EXPLICIT_LE, little, ALL),
    "big-endian": Coder(synth.EXPLICIT_BE, big, ALL),
    "deflated": Coder(synth.DEFLATED_LE, little, ALL),
    "deflated-frame": Coder(synth.DEFLATED_FRAME, deflated, ALL),
    "rle-pylibjpeg": Coder(synth.RLE, rle_by_pylibjpeg, ALL, read=rle_with_pylibjpeg),
    "rle-own": Coder(synth.RLE, rle_of_annex_g, ALL, read=rle_with_pylibjpeg),
    "jpeg-liblj92": Coder(synth.JPEG_LOSSLESS, jpeg_by_liblj92, CODED, read=jpeg_with_sof3,
                          grey_only=True),
    "jpeg-sv1": Coder(synth.JPEG_LOSSLESS, lossless_jpeg(1), CODED, read=jpeg_with_liblj92,
                      read_planar=False),
    **{f"jpeg-predictor{number}": Coder(synth.JPEG_LOSSLESS_ANY, lossless_jpeg(number), CODED,
                                        read=jpeg_with_sof3, read_planar=False)
       for number in range(1, 8)},
    "jpegls-charls": Coder(synth.JPEG_LS, jpegls_by_charls, CODED, read=jpegls_with_pyjpegls),
    "jpegls-own": Coder(synth.JPEG_LS, jpegls_of_t87, CODED, read=jpegls_with_pyjpegls),
    "jpegls-near-syntax": Coder(synth.JPEG_LS_NEAR, jpegls_by_charls, CODED,
                                read=jpegls_with_pyjpegls),
    "j2k-own": Coder(synth.J2K, jpeg2000_of_t800, (*range(1, 17), 20, 24, 27, 29), shape=(9, 11)),
    "j2k-pylibjpeg": Coder(synth.J2K, jpeg2000_by_pylibjpeg, OPENJPEG[:-1], shape=(33, 35)),
    "j2k-imagecodecs": Coder(synth.J2K, jpeg2000_by_imagecodecs, OPENJPEG),
    "j2k-lossy-syntax": Coder(synth.J2K_LOSSY, jpeg2000_by_imagecodecs, OPENJPEG),
    "htj2k": Coder(synth.HTJ2K, htj2k_by_openjph, OPENJPH),
    "htj2k-rpcl": Coder(synth.HTJ2K_RPCL, rpcl_by_openjph, OPENJPH),
    "htj2k-lossy-syntax": Coder(synth.HTJ2K_LOSSY, htj2k_by_openjph, OPENJPEG),
    "jpegxl": Coder(synth.JPEG_XL, jpegxl_by_libjxl, range(1, 17)),
    "jpegxl-lossy-syntax": Coder(synth.JPEG_XL_LOSSY, jpegxl_by_libjxl, range(1, 17)),
}  # fmt: skip
KINDS = {
    f"{sign}-{layout}": (sign == "signed", samples, planar)
    for sign, (layout, samples, planar) in product(
        ("unsigned", "signed"), (("grey", 1, 0), ("pixels", 3, 0), ("planes", 3, 1))
    )
}


def picture(allocated, bits, *, signed, samples=1, shape=(17, 19)) -> np.ndarray:
    """Return ripples with noise, and both ends of the range side by side."""
    rng = np.random.default_rng(bits)
    low = -(2 ** (bits - 1)) if signed else 0
    size = (*shape, samples) if samples > 1 else shape
    y, x = np.mgrid[: shape[0], : shape[1]]
    field = 0.5 + 0.3 * np.sin(y / 3 + x / 5)
    field = field[..., None] + rng.normal(0, 0.1, (*shape, samples))
    values = low + np.rint(field.clip(0, 1) * (2**bits - 1)).astype(np.int64)
    values[shape[0] // 2, :2, 0] = low, low + 2**bits - 1
    return values.reshape(size).astype(f"{'i' if signed else 'u'}{allocated // 8}")
