"""Sign, precision, high bit and overlays, against a definition in plain Python."""

import numpy as np
import pytest
import synth
from hypothesis import given
from hypothesis import strategies as st

from sansfilm.decode.codestream import Codestream
from sansfilm.decode.frames import decode_frame
from sansfilm.decode.stored import container, to_stored
from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import FrameSpec
from sansfilm.options import Options

PREFER = Options().prefer


def frame_spec(allocated, stored, high, representation, syntax=synth.EXPLICIT_LE, columns=1):
    return FrameSpec(syntax, 1, columns, 1, allocated, stored, high, representation, "MONOCHROME2")


def pixel_cell(word: int, stored: int, high: int, representation: int) -> int:
    """Read one pixel cell out of a word (PS3.5 8.1.1)."""
    value = word >> (high - stored + 1) & (1 << stored) - 1
    if representation and value >> (stored - 1):
        value -= 1 << stored
    return value


@st.composite
def cells(draw):
    allocated = draw(st.sampled_from([8, 16, 32]))
    stored = draw(st.integers(1, allocated))
    high = draw(st.integers(stored - 1, allocated - 1))
    words = draw(st.lists(st.integers(0, 2**allocated - 1), min_size=1, max_size=8))
    return allocated, stored, high, draw(st.integers(0, 1)), words


@given(
    cells(),
    st.sampled_from([synth.EXPLICIT_LE, synth.EXPLICIT_BE, synth.DEFLATED_FRAME, synth.RLE]),
)
def test_pixel_cells_of_words(cell, syntax):
    """Whatever is in the unused bits (overlays, signs) is left out."""
    allocated, stored, high, representation, words = cell
    spec = frame_spec(allocated, stored, high, representation, syntax, len(words))
    array = np.array([words], f"u{allocated // 8}")
    if syntax == synth.RLE:
        frame = synth.encode_rle(array)
    elif syntax == synth.DEFLATED_FRAME:
        frame = synth.encode(array, syntax, stored)
    else:
        frame = array.astype(
            f"{'>' if syntax == synth.EXPLICIT_BE else '<'}u{allocated // 8}"
        ).tobytes()
    decoded = decode_frame(frame, spec, PREFER)[0]
    assert decoded.dtype == container(spec)
    expected = [pixel_cell(word, stored, high, representation) for word in words]
    assert decoded[0].tolist() == expected


def stored_of(raw, spec, precision, *, signed):
    array = np.atleast_2d(np.array(raw))
    found = Codestream(*array.shape, 1, precision, signed)
    return to_stored(array, spec, found)[0].tolist()


@pytest.mark.parametrize("syntax", [synth.J2K, synth.JPEG_LS, synth.HTJ2K, synth.JPEG_XL])
@pytest.mark.parametrize(
    ("bits", "precision", "raw", "expected"),
    [
        # same bits: the sign is the highest of them (J2K_pixelrep_mismatch.dcm)
        (13, 13, [0, 4095, 4096, 6192, 8191], [0, 4095, -4096, -2000, -1]),
        (16, 16, [0x7FFF, 0x8000, 0xF830], [32767, -32768, -2000]),
        (8, 8, [127, 128, 255], [127, -128, -1]),
        # the codestream has fewer bits than the dataset: its highest bit is the sign
        (16, 12, [2047, 2048, 4095], [2047, -2048, -1]),
        # the codestream has more: signs may be cut off, values may not
        (12, 16, [2047, 0xF800, 0xFFFF], [2047, -2048, -1]),
        (12, 16, [2047, 0x0800, 0x0FFF], [2047, -2048, -1]),
        (12, 16, [0x1000], None),
        (12, 16, [0x7FFF], None),
        (12, 16, [0xF000], None),
    ],
)
def test_signed_dataset_unsigned_codestream(syntax, bits, precision, raw, expected):
    spec = frame_spec(16, bits, bits - 1, 1, syntax, len(raw))
    raw = np.array(raw, np.uint8 if precision <= 8 else np.uint16)
    if expected is None:
        with pytest.raises(BadInstanceError) as caught:
            stored_of(raw, spec, precision, signed=False)
        assert caught.value.code == ProblemCode.CODESTREAM_MISMATCH
    else:
        assert stored_of(raw, spec, precision, signed=False) == expected


def test_a_sign_that_nobody_can_tell_is_refused():
    """JPEG of 12 bits for 16 signed bits: readers differ, so large values are a mismatch."""
    spec = frame_spec(16, 16, 15, 1, synth.JPEG_LOSSLESS, 2)
    assert stored_of(np.array([0, 2047], np.uint16), spec, 12, signed=False) == [0, 2047]
    with pytest.raises(BadInstanceError, match="without a sign"):
        stored_of(np.array([0, 2048], np.uint16), spec, 12, signed=False)


@pytest.mark.parametrize(
    ("bits", "precision", "raw", "expected"),
    [
        (13, 13, [0, -1, -2000, 4095], [0, 8191, 6192, 4095]),
        (16, 16, [-2000], [63536]),
        (16, 12, [-5, 2047], [4091, 2047]),
        (8, 8, [-1], [255]),
        (12, 16, [5], [5]),
        (12, 16, [-5], None),
        (12, 16, [4096], None),
    ],
)
def test_unsigned_dataset_signed_codestream(bits, precision, raw, expected):
    spec = frame_spec(16, bits, bits - 1, 0, synth.J2K, len(raw))
    raw = np.array(raw, np.int8 if precision <= 8 else np.int16)
    if expected is None:
        with pytest.raises(BadInstanceError, match="beyond"):
            stored_of(raw, spec, precision, signed=True)
    else:
        assert stored_of(raw, spec, precision, signed=True) == expected


@pytest.mark.parametrize("signed", [False, True])
def test_same_sign_keeps_values_or_refuses_them(signed):
    spec = frame_spec(16, 12, 11, int(signed), synth.J2K, 2)
    low, high = (-2048, 2047) if signed else (0, 4095)
    dtype = np.int16 if signed else np.uint16
    assert stored_of(np.array([low, high], dtype), spec, 12, signed=signed) == [low, high]
    assert stored_of(np.array([low, high], dtype), spec, 16, signed=signed) == [low, high]
    with pytest.raises(BadInstanceError, match="beyond"):
        stored_of(np.array([low, high + 1], dtype), spec, 16, signed=signed)


@pytest.mark.parametrize(
    "raw",
    [np.zeros((2, 3)), np.zeros((3, 2), int), np.zeros((2, 3, 1), int), np.zeros((2, 3), bool)],
)
def test_other_shapes_and_kinds(raw):
    spec = FrameSpec(synth.J2K, 2, 3, 1, 16, 12, 11, 0, "MONOCHROME2")
    with pytest.raises(BadInstanceError) as caught:
        to_stored(raw, spec, Codestream(2, 3, 1, 12, signed=False))
    assert caught.value.code == ProblemCode.CODESTREAM_MISMATCH
