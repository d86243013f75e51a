"""Every transfer syntax x bits x sign x samples x planes, from encoders that are not the decoder's.

Lossless frames come back bit for bit and as another library sees them; near-lossless ones within
NEAR; JPEG by DCT as its coefficients say; lossy JPEG 2000 the same from both decoders.
"""

import warnings
from itertools import product

import coders
import imagecodecs
import jpeg2000_encoder
import jpeg_encoder
import jpegls_encoder
import numpy as np
import pydicom
import pytest
import SimpleITK
import synth
from coders import CODERS, KINDS, picture, samples_last, words

from sansfilm.decode import syntaxes
from sansfilm.decode.frames import decode_frame
from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.options import Options

PREFER = Options().prefer
SECOND = ("pylibjpeg",)
SECOND_MOST = 29
"""Bits of JPEG 2000 that OpenJPEG reads right; more is refused."""
SECOND_MOST_HT = 27
EXACT = [*synth.NATIVE, *synth.LOSSLESS]
CELLS = [
    pytest.param(coder, bits, *kind, id=f"{name}-{bits}-{label}")
    for name, coder in CODERS.items()
    for bits in coder.bits
    for label, kind in KINDS.items()
    if not (coder.grey_only and kind[1] == 3)
]


@pytest.fixture
def described(spec):
    """Give a function that describes a frame, also of colour."""

    def describe(stored, syntax, bits, planar=0, **changes):
        colour = {"samples_per_pixel": 3, "photometric": "RGB", "planar": planar}
        return spec(stored, syntax, bits, **((colour if stored.ndim == 3 else {}) | changes))

    return describe


def decode(frame, about, prefer=PREFER) -> np.ndarray:
    return decode_frame(frame, about, prefer)[0]


def check_exact(decoded: np.ndarray, stored: np.ndarray) -> None:
    assert decoded.dtype == stored.dtype
    assert decoded.dtype.isnative
    assert np.array_equal(decoded, stored)


def refusal(frame, about, prefer=PREFER) -> ProblemCode:
    with pytest.raises(BadInstanceError) as caught:
        decode_frame(frame, about, prefer)
    return caught.value.code


# ---------------------------------------------------------------------------------- lossless


@pytest.mark.parametrize(("coder", "bits", "signed", "samples", "planar"), CELLS)
def test_lossless(described, coder, bits, signed, samples, planar):
    """In every container that holds so many bits, by every decoder there is."""
    syntax, frame = coder.syntax, b""
    how = {"signed": signed, "samples": samples, "shape": coder.shape}
    for allocated in (8, 16, 32):
        if bits > allocated:
            continue
        stored = picture(allocated, bits, **how)
        about = described(stored, syntax, bits, planar)
        first = not frame
        if first or coder.words:
            frame = coder.encode(stored, bits, planar)
        decoded, decoder = decode_frame(frame, about, PREFER)
        check_exact(decoded, stored)
        native = syntax in syntaxes.NATIVE | {syntaxes.DEFLATED_FRAME}
        assert decoder == ("native" if native else "imagecodecs")
        most = {**dict.fromkeys(syntaxes.JPEG_2000, SECOND_MOST),
                **dict.fromkeys(syntaxes.HTJ2K, SECOND_MOST_HT)}.get(syntax, 0)  # fmt: skip
        if bits <= most:
            check_exact(decode(frame, about, SECOND), stored)
        if coder.read and (coder.read_planar or not planar) and (first or coder.words):
            assert np.array_equal(words(coder.read(frame, stored), bits), words(stored, bits))


@pytest.mark.parametrize("bits", range(28, 33))
@pytest.mark.parametrize("name", ["j2k-own", "htj2k", "htj2k-lossy-syntax"])
@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("prefer", [("imagecodecs",), SECOND])
def test_more_bits_than_openjpeg_reads_are_refused_or_right(
    described, name, bits, planar, signed, prefer
):
    coder = CODERS[name]
    stored = picture(32, bits, signed=signed, samples=3, shape=(9, 11))
    frame = coder.encode(stored, bits, planar)
    about = described(stored, coder.syntax, bits, planar)
    try:
        decoded = decode(frame, about, prefer)
    except BadInstanceError:
        assert name != "htj2k" or prefer == SECOND  # OpenJPH reads all
        assert refusal(frame, about, prefer) == ProblemCode.MISSING_CODEC
        return
    check_exact(decoded, stored)


@pytest.mark.parametrize("bits", [2, 8, 9, 12, 16])
@pytest.mark.parametrize("predictor", [1, 2, 7])
@pytest.mark.parametrize("how", [{"restart": 1}, {"restart": 5}, {"shift": 1}, {"shift": 2}],
                         ids=str)  # fmt: skip
def test_restarts_and_point_transform_of_lossless_jpeg(described, bits, predictor, how):
    shift = how.get("shift", 0)
    if shift >= bits:
        return
    for samples, apart in ((1, False), (3, False), (3, True)):
        stored = picture(16, bits, signed=False, samples=samples)
        frame = jpeg_encoder.encode_lossless(samples_last(stored), bits, predictor, apart=apart,
                                             **how)  # fmt: skip
        about = described(stored, synth.JPEG_LOSSLESS_ANY, bits)
        check_exact(decode(frame, about), stored >> shift << shift)


@pytest.mark.parametrize("shape", [(1, 1), (1, 77), (77, 1), (2, 3), (65, 129)])
@pytest.mark.parametrize("syntax", EXACT, ids=syntaxes.NAMES.get)
def test_any_shape(spec, syntax, shape):
    stored = np.random.default_rng(3).integers(0, 4096, shape).astype(np.uint16)
    order = ">u2" if syntax == synth.EXPLICIT_BE else "<u2"
    native = syntax in synth.NATIVE
    frame = stored.astype(order).tobytes() if native else synth.encode(stored, syntax, 12)
    before = bytes(bytearray(frame))
    check_exact(decode(frame, spec(stored, syntax, 12)), stored)
    assert frame == before


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


# ---------------------------------------------------------------------- near-lossless, lossy


@pytest.mark.parametrize("near", range(1, 8))
@pytest.mark.parametrize("bits", coders.CODED)
def test_near_lossless(described, bits, near):
    """NEAR counts in the words of the codestream, as the sign is not known there."""
    near = min(near, 2 ** (bits - 1) - 1)
    allocated = 8 if bits <= 8 else 16
    for signed, samples, planar in KINDS.values():
        stored = picture(allocated, bits, signed=signed, samples=samples)
        frame = coders.jpegls_by_charls(stored, bits, planar, near)
        decoded = decode(frame, described(stored, synth.JPEG_LS_NEAR, bits, planar))
        seen = words(decoded, bits)
        assert np.abs(seen.astype(int) - words(stored, bits)).max() <= near
        assert np.array_equal(seen, coders.jpegls_with_pyjpegls(frame, stored))
    stored = picture(allocated, bits, signed=False, samples=3, shape=(7, 9))
    interleave = near % 3
    frame, seen = jpegls_encoder.encode_and_see(stored, bits, near=near, interleave=interleave)
    assert 0 < np.abs(seen.astype(int) - stored).max() <= near
    check_exact(decode(frame, described(stored, synth.JPEG_LS_NEAR, bits)), seen)


PROCESSES = [
    (synth.JPEG_BASELINE, jpeg_encoder.BASELINE, 8),
    (synth.JPEG_EXTENDED, jpeg_encoder.BASELINE, 8),
    (synth.JPEG_EXTENDED, jpeg_encoder.EXTENDED, 8),
    (synth.JPEG_EXTENDED, jpeg_encoder.EXTENDED, 12),
    *product(("1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55"), (jpeg_encoder.PROGRESSIVE,),
             (8, 12)),
]  # fmt: skip


@pytest.mark.parametrize(("syntax", "process", "bits"), PROCESSES)
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("restart", [0, 1, 5])
def test_jpeg_by_dct(described, syntax, process, bits, samples, restart):
    """Within one of what the coefficients say: decoders round where they like (T.81 A.3.3)."""
    rng = np.random.default_rng(bits)
    grid, scale = (3, 4, samples), 2 ** (bits - 8)
    levels = rng.normal(0, 3 * scale, (*grid, 8, 8)) * (rng.random((*grid, 8, 8)) < 0.3)
    levels[..., 0, 0] = rng.integers(-80 * scale, 80 * scale, grid)
    levels = np.rint(levels).astype(int)
    levels[0, 0] = 0
    frame = jpeg_encoder.encode_dct(levels, bits, 6, process=process, restart=restart)
    expected = jpeg_encoder.seen(levels, bits, 6).clip(0, 2**bits - 1)
    assert expected.std() > 25 * scale
    for allocated in (8, 16) if bits == 8 else (16,):
        stored = np.squeeze(expected).astype(f"u{allocated // 8}")
        decoded = decode(frame, described(stored, syntax, bits))
        assert decoded.dtype == stored.dtype
        assert np.abs(decoded - np.squeeze(expected)).max() <= 1


@pytest.mark.parametrize("syntax", [synth.J2K_LOSSY, synth.HTJ2K_LOSSY])
@pytest.mark.parametrize("bits", range(2, 17))
def test_lossy_jpeg_2000_is_the_same_from_both_decoders(described, syntax, bits):
    allocated = 8 if bits <= 8 else 16
    for signed, samples, planar in KINDS.values():
        stored = picture(allocated, bits, signed=signed, samples=samples, shape=(40, 36))
        if syntax == synth.HTJ2K_LOSSY:
            frame = imagecodecs.htj2k_encode(stored, 0.02, reversible=False, bitspersample=bits,
                                             rgb=not planar)  # fmt: skip
        else:
            frame = imagecodecs.jpeg2k_encode(stored, 35, codecformat="j2k", reversible=False,
                                              bitspersample=bits, mct=not planar)  # fmt: skip
        about = described(stored, syntax, bits, planar)
        decoded = decode(bytes(frame), about)
        other = decode(bytes(frame), about, SECOND)
        apart = np.abs(decoded.astype(int) - other)
        if bits == 16 and samples == 3 and not planar:  # the transform of colours is one of floats
            assert apart.max() <= 1
            assert np.mean(apart) < 1e-3
        else:
            check_exact(other, decoded)
        error = np.abs(decoded.astype(int) - stored)
        assert bits < 6 or 0 < error.max() <= 2 ** (bits - 2)


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
    rng = np.random.default_rng(0)
    stored = synth.phantom(rng, (1, 33, 47), allocated, bits)[0]
    decoded = decode(synth.encode(stored, syntax, bits), spec(stored, syntax, bits))
    assert decoded.dtype == stored.dtype
    error = np.abs(decoded.astype(int) - stored)
    assert np.median(error) < most / 10
    assert error.max() <= most


@pytest.mark.parametrize("syntax", [synth.J2K_LOSSY, synth.HTJ2K_LOSSY, synth.HTJ2K, synth.J2K])
@pytest.mark.parametrize("reversible", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12, 15, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_lossy_values_are_clipped_not_wrapped(spec, syntax, reversible, bits, signed):
    """Hard edges between the ends of the range overshoot; white must not become black."""
    low = -(2 ** (bits - 1)) if signed else 0
    high = low + 2**bits - 1
    stored = np.where(np.random.default_rng(0).random((64, 64)) < 0.5, low, high)
    stored[:16], stored[48:] = low, high
    stored = stored.astype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}")
    if syntax in (synth.HTJ2K, synth.HTJ2K_LOSSY):
        level = None if reversible else 0.01
        frame = imagecodecs.htj2k_encode(stored, level, reversible=reversible, bitspersample=bits)
    else:
        frame = imagecodecs.jpeg2k_encode(stored, 0 if reversible else 45, codecformat="j2k",
                                          reversible=reversible, bitspersample=bits)  # fmt: skip
    decoded = decode(bytes(frame), spec(stored, syntax, bits))
    error = np.abs(decoded.astype(int) - stored)
    assert error.max() <= (0 if reversible else 0.2 * (high - low))
    check_exact(decode(bytes(frame), spec(stored, syntax, bits), SECOND), decoded)


def test_recompressed_jpeg(spec):
    stored = synth.phantom(np.random.default_rng(0), (1, 33, 47), 8, 8)[0]
    jpeg = synth.encode(stored, synth.JPEG_BASELINE, 8)
    frame = bytes(imagecodecs.jpegxl_encode_jpeg(jpeg, usecontainer=False))
    decoded = decode(frame, spec(stored, "1.2.840.10008.1.2.4.111"))
    expected = decode(jpeg, spec(stored, synth.JPEG_BASELINE))
    assert np.abs(decoded.astype(int) - expected).max() <= 2


# ------------------------------------------- where the codestream and the dataset do not agree

WITHOUT = ("j2k-pylibjpeg", "jpeg-liblj92")
"""Encoders that do not write the bits they are told: they take what is enough, or 8."""
CODECS = [name for name, coder in CODERS.items() if not coder.words and name not in WITHOUT]


@pytest.mark.parametrize("name", ["j2k-own", "j2k-imagecodecs", "htj2k", "htj2k-rpcl"])
@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("signed", [False, True])
def test_the_sign_is_that_of_the_dataset(described, name, bits, signed):
    """The codestream has the other sign and the same bits."""
    coder = CODERS[name]
    for samples in (1, 3):
        stored = picture(16, bits, signed=signed, samples=samples, shape=coder.shape)
        other = words(stored, bits)
        if not signed:
            other = (other << 16 - bits).view(np.int16) >> 16 - bits
        frame = coder.encode(other, bits, 0)
        for prefer in (PREFER, SECOND):
            check_exact(decode(frame, described(stored, coder.syntax, bits), prefer), stored)


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("bits", [1, 2, 6, 8, 10, 12, 13])
@pytest.mark.parametrize("extra", [1, 3])
def test_a_codestream_of_more_bits(described, name, bits, extra):
    """Values within Bits Stored stay; those beyond (overlays, say) are refused, not cut."""
    coder = CODERS[name]
    for signed in (False, True):
        stored = picture(16, bits, signed=signed, shape=coder.shape)
        about = described(stored, coder.syntax, bits)
        check_exact(decode(coder.encode(stored, bits + extra, 0), about), stored)
        beyond = stored.copy()
        beyond[0, 0] = 1 << bits
        if not signed or extra > 1:  # one bit more holds no value beyond, but a sign
            code = refusal(coder.encode(beyond, bits + extra, 0), about)
            assert code == ProblemCode.CODESTREAM_MISMATCH


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("bits", [3, 8, 10, 12])
def test_a_codestream_of_fewer_bits(described, name, bits):
    """Negative values keep their sign, but in JPEG, where readers differ, they are refused."""
    coder = CODERS[name]
    for signed in (False, True):
        stored = picture(16, bits, signed=signed, shape=coder.shape)
        about = described(stored, coder.syntax, 16)
        frame = coder.encode(stored, bits, 0)
        if signed and coder.syntax in syntaxes.JPEG:
            assert refusal(frame, about) == ProblemCode.CODESTREAM_MISMATCH
        else:
            check_exact(decode(frame, about), stored)


@pytest.mark.parametrize("prefer", [("imagecodecs",), SECOND])
@pytest.mark.parametrize("colourspace", ["SYCC", "SRGB", "GRAY"])
def test_what_a_jp2_file_says_of_colour_does_not_count(described, prefer, colourspace):
    """Photometric Interpretation does: sYCC would be turned to RGB, and then once again."""
    stored = picture(8, 8, signed=False, samples=3)
    frame = bytes(imagecodecs.jpeg2k_encode(stored, level=0, codecformat="jp2", mct=False,
                                            colorspace=colourspace, reversible=True))  # fmt: skip
    assert frame[4:8] == b"jP  "
    about = described(stored, synth.J2K, 8, photometric="YBR_FULL", ybr="full")
    check_exact(decode(frame, about, prefer), stored)


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("prefer", [("imagecodecs",), SECOND, PREFER])
def test_sub_sampled_jpeg_2000_is_refused(described, across, prefer):
    """One decoder refuses it, the other one repeats pixels: neither is the image."""
    stored = picture(8, 8, signed=False, shape=(10, 12))
    frame = bytearray(jpeg2000_encoder.encode(stored[..., None], 8))
    size = frame.index(b"\xff\x51") + 6
    for field in (0, 16):  # image and tile, the reference grid of which is twice as fine
        at = size + field + (0 if across else 4)
        frame[at : at + 4] = (2 * stored.shape[1 if across else 0]).to_bytes(4)
    frame[size + 36 - (1 if across else 0)] = 2
    for shape in ((10, 12), (10, 24) if across else (20, 12)):
        about = described(stored, synth.J2K, 8, rows=shape[0], columns=shape[1])
        assert refusal(bytes(frame), about, prefer) == ProblemCode.CODESTREAM_MISMATCH
