"""Every transfer syntax x bits x sign: bit for bit if it is lossless, bounded if it is not."""

import warnings

import imagecodecs
import numpy as np
import openjpeg.utils
import pydicom
import pytest
import rle.utils
import SimpleITK
import synth

from sansfilm.decode import syntaxes
from sansfilm.decode.frames import decode_frame
from sansfilm.decode.registry import backend
from sansfilm.options import Options

PREFER = Options().prefer
FORMATS = [(8, 8, False), (8, 8, True), (16, 8, False), (16, 10, False), (16, 12, False),
           (16, 12, True), (16, 15, True), (16, 16, False), (16, 16, True)]  # fmt: skip
EXACT = [*synth.NATIVE, *synth.LOSSLESS]


def image(allocated: int, bits: int, *, signed: bool, shape=(33, 47), seed=0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return synth.phantom(rng, (1, *shape), allocated, bits, signed=signed)[0]


def frame_of(stored: np.ndarray, syntax: str, bits: int) -> bytes:
    if syntax in synth.NATIVE:
        order = ">" if syntax == synth.EXPLICIT_BE else "<"
        return stored.astype(stored.dtype.newbyteorder(order)).tobytes()
    return synth.encode(stored, syntax, bits)


def check_exact(decoded: np.ndarray, stored: np.ndarray) -> None:
    assert decoded.dtype == stored.dtype
    assert decoded.dtype.isnative
    assert np.array_equal(decoded, stored)


@pytest.mark.parametrize(("allocated", "bits", "signed"), FORMATS)
@pytest.mark.parametrize("syntax", EXACT, ids=syntaxes.NAMES.get)
def test_lossless(spec, syntax, allocated, bits, signed):
    stored = image(allocated, bits, signed=signed)
    frame = frame_of(stored, syntax, bits)
    decoded, decoder = decode_frame(frame, spec(stored, syntax, bits), PREFER)
    check_exact(decoded, stored)
    assert decoder == ("native" if syntax in (*synth.NATIVE, synth.DEFLATED_FRAME)
                       else "imagecodecs")  # fmt: skip


@pytest.mark.parametrize("syntax", [*synth.NATIVE, synth.RLE, synth.DEFLATED_FRAME])
@pytest.mark.parametrize(("bits", "signed"), [(20, False), (32, False), (32, True)])
def test_words_of_32_bits(spec, syntax, bits, signed):
    stored = image(32, bits, signed=signed)
    frame = frame_of(stored, syntax, bits)
    check_exact(decode_frame(frame, spec(stored, syntax, bits), PREFER)[0], stored)


@pytest.mark.parametrize(("allocated", "bits", "signed"), FORMATS)
@pytest.mark.parametrize("syntax", [synth.J2K, synth.J2K_LOSSY, synth.HTJ2K, synth.HTJ2K_RPCL])
def test_the_second_decoder_agrees(spec, syntax, allocated, bits, signed):
    stored = image(allocated, bits, signed=signed)
    frame, about = synth.encode(stored, syntax, bits), spec(stored, syntax, bits)
    first, name = decode_frame(frame, about, ("imagecodecs",))
    second, other = decode_frame(frame, about, ("pylibjpeg",))
    assert (name, other) == ("imagecodecs", "pylibjpeg")
    check_exact(second, first)


@pytest.mark.parametrize(("allocated", "bits", "signed"), FORMATS)
def test_rle_against_pylibjpeg(spec, allocated, bits, signed):
    stored = image(allocated, bits, signed=signed)
    frame = synth.encode_rle(stored)
    other = rle.utils.decode_frame(frame, stored.size, allocated, "<")
    decoded = decode_frame(frame, spec(stored, synth.RLE, bits), PREFER)[0]
    assert decoded.tobytes() == bytes(other)


@pytest.mark.parametrize("near", [1, 2, 3, 7])
@pytest.mark.parametrize(("allocated", "bits"), [(8, 8), (16, 10), (16, 12), (16, 16)])
def test_near_lossless(spec, near, allocated, bits):
    stored = image(allocated, bits, signed=False)
    frame = bytes(imagecodecs.jpegls_encode(stored, level=near, bitspersample=bits))
    decoded = decode_frame(frame, spec(stored, synth.JPEG_LS_NEAR, bits), PREFER)[0]
    assert 0 < np.abs(decoded.astype(int) - stored).max() <= near


@pytest.mark.parametrize(
    ("syntax", "allocated", "bits", "most"),
    [
        (synth.JPEG_BASELINE, 8, 8, 20),
        (synth.JPEG_EXTENDED, 8, 8, 20),
        (synth.JPEG_EXTENDED, 16, 12, 300),
        (synth.J2K_LOSSY, 16, 12, 60),
        (synth.J2K_LOSSY, 16, 16, 500),
        (synth.HTJ2K_LOSSY, 16, 12, 30),
        (synth.JPEG_XL_LOSSY, 16, 12, 400),
        (synth.JPEG_XL_LOSSY, 8, 8, 40),
    ],
)
def test_lossy(spec, syntax, allocated, bits, most):
    stored = image(allocated, bits, signed=False)
    frame = synth.encode(stored, syntax, bits)
    decoded = decode_frame(frame, spec(stored, syntax, bits), PREFER)[0]
    assert decoded.dtype == stored.dtype
    error = np.abs(decoded.astype(int) - stored)
    assert np.median(error) < most / 10
    assert error.max() <= most


@pytest.mark.parametrize("syntax", [synth.J2K_LOSSY, synth.HTJ2K_LOSSY, synth.HTJ2K, synth.J2K])
@pytest.mark.parametrize("reversible", [False, True])
@pytest.mark.parametrize(("allocated", "bits", "signed"), FORMATS)
def test_lossy_values_are_clipped_not_wrapped(spec, syntax, reversible, allocated, bits, signed):
    """Hard edges between the ends of the range overshoot; white must not become black."""
    ends = image(allocated, bits, signed=signed, shape=(64, 64))
    low, high = int(ends.min()), int(ends.max())
    stored = np.where(np.random.default_rng(0).random((64, 64)) < 0.5, low, high)
    stored[:16], stored[48:] = low, high
    stored = stored.astype(ends.dtype)
    narrow = stored.astype(f"{stored.dtype.kind}1") if bits <= 8 else stored
    if syntax in (synth.HTJ2K, synth.HTJ2K_LOSSY):
        level = None if reversible else 0.01
        frame = imagecodecs.htj2k_encode(narrow, level, reversible=reversible, bitspersample=bits)
    else:
        frame = imagecodecs.jpeg2k_encode(narrow, 0 if reversible else 45, codecformat="j2k",
                                          reversible=reversible, bitspersample=bits)  # fmt: skip
    decoded = decode_frame(bytes(frame), spec(stored, syntax, bits), PREFER)[0]
    error = np.abs(decoded.astype(int) - stored)
    assert error.max() <= (0 if reversible else 0.2 * (high - low))
    second = decode_frame(bytes(frame), spec(stored, syntax, bits), ("pylibjpeg",))[0]
    check_exact(decoded, second)


def test_recompressed_jpeg(spec):
    stored = image(8, 8, signed=False)
    jpeg = synth.encode(stored, synth.JPEG_BASELINE, 8)
    frame = bytes(imagecodecs.jpegxl_encode_jpeg(jpeg, usecontainer=False))
    decoded = decode_frame(frame, spec(stored, "1.2.840.10008.1.2.4.111"), PREFER)[0]
    expected = decode_frame(jpeg, spec(stored, synth.JPEG_BASELINE), PREFER)[0]
    assert np.abs(decoded.astype(int) - expected).max() <= 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 77), (77, 1), (2, 3), (65, 129)])
@pytest.mark.parametrize("syntax", EXACT, ids=syntaxes.NAMES.get)
def test_any_shape(spec, syntax, shape):
    rng = np.random.default_rng(3)
    stored = rng.integers(0, 4096, shape).astype(np.uint16)
    frame = frame_of(stored, syntax, 12)
    check_exact(decode_frame(frame, spec(stored, syntax, 12), PREFER)[0], stored)


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("signed", [False, True])
def test_predictors_of_jpeg_lossless(spec, predictor, signed):
    stored = image(16, 12, signed=signed)
    words = stored.view(np.uint16) & 0xFFF
    frame = bytes(imagecodecs.jpeg8_encode(words, lossless=True, predictor=predictor,
                                           bitspersample=12))  # fmt: skip
    check_exact(decode_frame(frame, spec(stored, synth.JPEG_LOSSLESS_ANY, 12), PREFER)[0], stored)
    other = bytes(imagecodecs.ljpeg_encode(words, bitspersample=12))
    check_exact(decode_frame(other, spec(stored, synth.JPEG_LOSSLESS, 12), PREFER)[0], stored)


@pytest.mark.parametrize("syntax", [synth.JPEG_LOSSLESS, synth.JPEG_LS, synth.RLE, synth.J2K])
@pytest.mark.parametrize("signed", [False, True])
def test_whole_files_against_other_readers(tmp_path, syntax, signed):
    """SimpleITK reads JPEG Lossless, pydicom the others: what both see is what was stored."""
    made = synth.series(tmp_path, slices=1, transfer_syntax=syntax, signed=signed, intercept=0)
    if syntax == synth.JPEG_LOSSLESS:
        other = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(made.paths[0])))[0]
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            other = pydicom.dcmread(made.paths[0]).pixel_array
    assert np.array_equal(other, made.stored[0])


def test_decoders_do_not_change_their_input(spec):
    stored = image(16, 12, signed=True)
    for syntax in EXACT:
        frame = frame_of(stored, syntax, 12)
        before = bytes(bytearray(frame))
        decode_frame(frame, spec(stored, syntax, 12), PREFER)
        assert frame == before


def test_openjpeg_is_the_library_behind_the_second_decoder():
    assert backend("pylibjpeg").missing(synth.J2K) == ""
    assert openjpeg.utils.decode
