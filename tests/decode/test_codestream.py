"""The codestream's own header: read without decoding, and compared before anything is decoded."""

import struct

import imagecodecs
import jpegls_encoder
import numpy as np
import pytest
import synth
from hypothesis import given
from hypothesis import strategies as st
from jpegls_encoder import Preset

from sansfilm.decode import jpeg2000, jpegxl, registry, syntaxes
from sansfilm.decode.codestream import Codestream, sniff
from sansfilm.decode.frames import decode_frame
from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.options import Options

PREFER = Options().prefer
CODECS = [
    synth.JPEG_LOSSLESS_ANY, synth.JPEG_LOSSLESS, synth.JPEG_EXTENDED, synth.JPEG_LS,
    synth.JPEG_LS_NEAR, synth.J2K, synth.J2K_LOSSY, synth.HTJ2K, synth.HTJ2K_LOSSY, synth.JPEG_XL,
    synth.JPEG_XL_LOSSY,
]  # fmt: skip


def image(rows=32, columns=40, bits=12, *, signed=False):
    allocated = 8 if bits <= 8 else 16
    return synth.phantom(
        np.random.default_rng(0), (1, rows, columns), allocated, bits, signed=signed
    )[0]


@pytest.mark.parametrize("syntax", CODECS, ids=syntaxes.NAMES.get)
@pytest.mark.parametrize(("rows", "columns"), [(32, 40), (40, 32), (7, 300)])
def test_what_it_says_of_itself(spec, syntax, rows, columns):
    stored = image(rows, columns)
    components = 0 if syntax in syntaxes.JPEG_XL else 1
    expected = Codestream(rows, columns, components, 12, signed=False)
    assert sniff(synth.encode(stored, syntax, 12), spec(stored, syntax, 12)) == expected


@pytest.mark.parametrize("syntax", [synth.J2K, synth.HTJ2K])
def test_signed_codestreams(spec, syntax):
    stored = image(signed=True)
    found = sniff(synth.encode(stored, syntax, 12), spec(stored, syntax, 12))
    assert found == Codestream(32, 40, 1, 12, signed=True)


def test_wrapped_in_jp2(spec):
    stored = image()
    frame = bytes(imagecodecs.jpeg2k_encode(stored, level=0, codecformat="jp2", bitspersample=12))
    assert frame[4:8] == b"jP  "
    assert sniff(frame, spec(stored, synth.J2K, 12)) == Codestream(32, 40, 1, 12, signed=False)
    decoded = decode_frame(frame, spec(stored, synth.J2K, 12), PREFER)[0]
    assert np.array_equal(decoded, stored)
    large = frame.replace(frame[frame.index(b"jp2c") - 4 :], b"")
    large += struct.pack(">I4sQ", 1, b"jp2c", 0) + frame[frame.index(b"jp2c") + 4 :]
    assert sniff(large, spec(stored, synth.J2K, 12)) == Codestream(32, 40, 1, 12, signed=False)


@pytest.mark.parametrize("comment", [b"\xff\x90" * 9, b"long" * 200, b"\xff\x90" * 300])
def test_main_headers_with_comments(spec, comment):
    """Bytes in them may look like the first tile, and they may be long."""
    stored = image()
    for syntax in (synth.J2K, synth.HTJ2K):
        frame = synth.encode(stored, syntax, 12)
        start = frame.index(b"\xff\x90")
        segment = b"\xff\x64" + struct.pack(">HH", len(comment) + 4, 0) + comment
        told = frame[:start] + segment + frame[start:]
        header = jpeg2000.main_header(told)
        assert header == jpeg2000.main_header(frame)._replace(length=start + len(segment))
        assert sniff(told, spec(stored, syntax, 12)) == sniff(frame, spec(stored, syntax, 12))
        cut = told[:start] + segment  # no tile, whatever the comment looks like
        assert not jpeg2000.has_all_tiles(cut, jpeg2000.main_header(cut))
        assert np.array_equal(decode_frame(told, spec(stored, syntax, 12), PREFER)[0], stored)


def test_which_wavelet(spec):
    stored = image()
    for syntax in (synth.J2K, synth.HTJ2K, synth.HTJ2K_RPCL):
        assert jpeg2000.is_reversible(synth.encode(stored, syntax, 12))
    for syntax in (synth.J2K_LOSSY, synth.HTJ2K_LOSSY):
        assert not jpeg2000.is_reversible(synth.encode(stored, syntax, 12))
    frame = synth.encode(stored, synth.HTJ2K, 12)
    start = frame.index(b"\xff\x90")
    component = b"\xff\x53\x00\x09\x00\x00\x05\x04\x04\x40\x00"
    assert not jpeg2000.is_reversible(frame[:start] + component + frame[start:])
    for broken in (b"", frame[:50], b"\xff\x4f\xff\x51" * 9):
        assert not jpeg2000.is_reversible(broken)


def test_jpeg_behind_other_segments(spec):
    stored = image(bits=8)
    frame = synth.encode(stored, synth.JPEG_BASELINE, 8)
    thumbnail = b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x01\x00\x01\x01\x01\x11\x00\xff\xd9"
    app = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    comment = b"\xff\xff\xff\xfe\x00\x04hi"
    changed = frame[:2] + app + comment + frame[2:]
    assert sniff(changed, spec(stored, synth.JPEG_BASELINE)) == Codestream(
        32, 40, 1, 8, signed=False
    )


@given(st.integers(1, 70000), st.integers(1, 70000))
def test_sizes_in_jpeg_xl(rows, columns):
    """The size header alone, as the standard encodes it; checked with libjxl below."""
    fields = [*jpeg_xl_size(rows, columns), (1, 1)]  # all defaults: 8 bits
    assert jpegxl.size_and_depth(jpeg_xl(fields)) == (rows, columns, 8)


def test_extra_fields_of_jpeg_xl():
    start = [*jpeg_xl_size(30, 41), (0, 1), (1, 1), (2, 3)]  # not all defaults, orientation 3
    twelve_bits = [(0, 1), (2, 2)]
    intrinsic = [(1, 1), *jpeg_xl_size(99, 98)]
    assert jpegxl.size_and_depth(jpeg_xl([*start, *intrinsic, (0, 2), *twelve_bits])) == (
        30,
        41,
        12,
    )
    assert jpegxl.size_and_depth(jpeg_xl([*start, (0, 1), (0, 2), *twelve_bits])) == (30, 41, 12)
    for preview_or_animation in (1, 2):
        assert jpegxl.size_and_depth(jpeg_xl([*start, (0, 1), (preview_or_animation, 2)])) is None


def test_floating_jpeg_xl_is_none_of_ours():
    frame = bytes(imagecodecs.jpegxl_encode(np.zeros((9, 9), np.float32), lossless=True))
    assert jpegxl.size_and_depth(frame) is None


def jpeg_xl_size(rows: int, columns: int) -> list[tuple[int, int]]:
    """Return the fields (value, bits) of a size header without a ratio."""

    def one(value: int) -> list[tuple[int, int]]:
        selector, bits = next((s, n) for s, n in enumerate((9, 13, 18, 30)) if value - 1 < 1 << n)
        return [(selector, 2), (value - 1, bits)]

    return [(0, 1), *one(rows), (0, 3), *one(columns)]


def jpeg_xl(fields: list[tuple[int, int]]) -> bytes:
    number, count = 0, 0
    for value, bits in fields:
        number |= value << count
        count += bits
    return b"\xff\x0a" + number.to_bytes(40, "little")


@pytest.mark.parametrize(
    ("rows", "columns"),
    [(8, 8), (32, 32), (256, 256), (256, 512), (30, 40), (40, 30), (48, 40), (36, 64), (33, 44),
     (264, 8), (600, 3), (1, 1), (100, 120), (9000, 2)],
)  # fmt: skip
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("container", [False, True])
def test_jpeg_xl_as_libjxl_writes_it(rows, columns, bits, container):
    stored = np.zeros((rows, columns), np.uint8 if bits == 8 else np.uint16)
    frame = bytes(imagecodecs.jpegxl_encode(stored, lossless=True, bitspersample=bits, effort=1,
                                            usecontainer=container))  # fmt: skip
    assert jpegxl.size_and_depth(frame) == (rows, columns, bits)


@pytest.mark.parametrize(
    "frame",
    [b"", b"\xff", b"\xff\x0a", b"\xff\x0b" + b"\0" * 9, b"\0\0\0\x0cJXL \r\n\x87\n",
     b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x00jxlc", b"\xff\xd8\xff\xe0" + b"\0" * 50],
)  # fmt: skip
def test_no_jpeg_xl(frame):
    assert jpegxl.size_and_depth(frame) is None


@pytest.mark.parametrize("syntax", CODECS, ids=syntaxes.NAMES.get)
@pytest.mark.parametrize(
    "change",
    [{"rows": 31}, {"columns": 41}, {"rows": 40, "columns": 32}, {"rows": 65535, "columns": 65535},
     {"samples_per_pixel": 3}, {"bits_allocated": 8, "bits_stored": 8, "high_bit": 7}],
    ids=str,
)  # fmt: skip
def test_another_image_is_found_before_it_is_decoded(spec, monkeypatch, syntax, change):
    if "samples_per_pixel" in change and syntax in syntaxes.JPEG_XL:
        change = {"rows": 33}  # JPEG XL tells the number of samples only inside

    def decode(*_):
        raise AssertionError("decoded")

    for name in ("imagecodecs", "pylibjpeg"):
        monkeypatch.setattr(type(registry.backend(name)), "decode", decode)
    stored = image()
    frame = synth.encode(stored, syntax, 12)
    with pytest.raises(BadInstanceError) as caught:
        decode_frame(frame, spec(stored, syntax, 12, **change), PREFER)
    assert caught.value.code == ProblemCode.CODESTREAM_MISMATCH


@pytest.mark.parametrize("syntax", CODECS, ids=syntaxes.NAMES.get)
@pytest.mark.parametrize("frame", [b"", b"\0", b"\xff\xd8", b"garbage" * 40, b"\xff\x4f\xff\x51\0"])
def test_no_codestream_of_that_family(spec, syntax, frame):
    with pytest.raises(BadInstanceError) as caught:
        sniff(frame, spec(image(), syntax, 12))
    assert caught.value.code == ProblemCode.CODESTREAM_MISMATCH


@pytest.mark.parametrize("syntax", [s for s in CODECS if s not in syntaxes.JPEG_XL],
                         ids=syntaxes.NAMES.get)  # fmt: skip
def test_a_cut_codestream_is_not_decoded(spec, syntax):
    stored = image()
    frame = synth.encode(stored, syntax, 12)
    for padding in (b"", b"\0", b"\xff", b"\0" * 1000):
        assert sniff(frame + padding, spec(stored, syntax, 12))
    for length in range(100, len(frame) - 1, 50):
        with pytest.raises(BadInstanceError) as caught:
            sniff(frame[:length], spec(stored, syntax, 12))
        assert caught.value.code in (ProblemCode.DECODE_FAILED, ProblemCode.CODESTREAM_MISMATCH)


# ---------------------------------------------------------------------------------- RLE (B15)


def rle_with(segments: int, *offsets: int) -> bytes:
    good = synth.encode_rle(image())
    head = struct.pack("<16I", segments, *offsets, *[0] * (15 - len(offsets)))
    return head + good[64:]


SECOND = struct.unpack_from("<I", synth.encode_rle(image()), 8)[0]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"", ProblemCode.DECODE_FAILED),
        (b"\2\0\0\0" * 15, ProblemCode.DECODE_FAILED),
        (rle_with(0), ProblemCode.CODESTREAM_MISMATCH),
        (rle_with(1, 64), ProblemCode.CODESTREAM_MISMATCH),
        (rle_with(16, 64, SECOND), ProblemCode.CODESTREAM_MISMATCH),
        (rle_with(2**32 - 1, 64), ProblemCode.CODESTREAM_MISMATCH),
        (rle_with(2, 64, 10**9), ProblemCode.DECODE_FAILED),
        (rle_with(2, 64, 2**32 - 16), ProblemCode.DECODE_FAILED),
        (rle_with(2, 2**31, 2**32 - 1), ProblemCode.DECODE_FAILED),
        (rle_with(2, 0, SECOND), ProblemCode.DECODE_FAILED),
        (rle_with(2, SECOND, 64), ProblemCode.DECODE_FAILED),
        (rle_with(2, 64, 64), ProblemCode.DECODE_FAILED),
        (rle_with(2, 64, SECOND)[:SECOND], ProblemCode.DECODE_FAILED),
        (rle_with(2, 64, SECOND - 3), ProblemCode.DECODE_FAILED),
        (rle_with(2, 64, SECOND + 1), ProblemCode.DECODE_FAILED),
        (rle_with(2, 64, SECOND)[:-30], ProblemCode.DECODE_FAILED),
        (synth.encode_rle(image(31, 40)), ProblemCode.DECODE_FAILED),
        (synth.encode_rle(image(33, 40)), ProblemCode.DECODE_FAILED),
        (struct.pack("<16I", 2, 64, 66, *[0] * 13) + b"\x81\0" * 10**6, ProblemCode.DECODE_FAILED),
    ],
    ids=range(19),
)
def test_broken_rle(spec, frame, code):
    with pytest.raises(BadInstanceError) as caught:
        decode_frame(frame, spec(image(), synth.RLE, 12), PREFER)
    assert caught.value.code == code


def test_rle_of_unequal_segments(spec):
    """Both segments have their own length; a short one is not filled up with zeros."""
    stored = image()
    high, low = (synth.encode_rle((stored >> shift).astype(np.uint8))[64:] for shift in (8, 0))
    short = synth.encode_rle((stored[:-1] >> 8).astype(np.uint8))[64:]
    for first in (short, high):
        frame = struct.pack("<16I", 2, 64, 64 + len(first), *[0] * 13) + first + low
        if first is high:
            decoded = decode_frame(frame, spec(stored, synth.RLE, 12), PREFER)[0]
            assert np.array_equal(decoded, stored)
            continue
        with pytest.raises(BadInstanceError):
            decode_frame(frame, spec(stored, synth.RLE, 12), PREFER)


def test_padded_rle(spec):
    stored = image()
    frame = synth.encode_rle(stored)
    decoded = decode_frame(frame + b"\0", spec(stored, synth.RLE, 12), PREFER)[0]
    assert np.array_equal(decoded, stored)


@pytest.mark.parametrize("near", [0, 2])
@pytest.mark.parametrize("bits", [8, 12])
def test_a_jpegls_maxval_of_its_own_is_refused(spec, bits, near):
    """CharLS reads it as if it were not there: often other values, no error (docs/kernels.md)."""
    stored = image(bits=bits) // 2
    pixels = stored[..., None]
    syntax = synth.JPEG_LS_NEAR if near else synth.JPEG_LS
    about = spec(stored, syntax, bits)
    small = Preset(maxval=2**bits - 11)
    frame = jpegls_encoder.encode(pixels, bits, near=near, preset=small)
    with pytest.raises(BadInstanceError, match="largest value of its own") as caught:
        decode_frame(frame, about, PREFER)
    assert caught.value.code == ProblemCode.MISSING_CODEC
    for same in (Preset(), Preset(maxval=2**bits - 1)):
        frame = jpegls_encoder.encode(pixels, bits, near=near, preset=same)
        decoded, _ = decode_frame(frame, about, PREFER)
        assert np.abs(decoded.astype(int) - stored).max() <= near
