"""Single bits, 32-bit integers, floats, and bytes in big endian words: whole files."""

import numpy as np
import pixel_kinds
import pydicom
import pytest
import synth
from pydicom.pixels import pixel_array

from sansfilm.decode.frames import decode_frame
from sansfilm.errors import BadInstanceError, Problem, ProblemCode
from sansfilm.model import FileRef, FrameSpec
from sansfilm.options import Budgets, Options
from sansfilm.planning.headers import read_frames
from sansfilm.planning.pixels import read_frame

PREFER = Options().prefer
BITS = [*synth.NATIVE, synth.DEFLATED_FRAME, synth.RLE, synth.J2K]


def decoded(path) -> np.ndarray:
    frames = read_frames(FileRef(str(path), path.stat().st_size), Budgets())
    assert isinstance(frames, list), frames
    return np.stack([decode_frame(read_frame(frame)[0], frame.spec, PREFER)[0] for frame in frames])


def mask(shape, seed=0) -> np.ndarray:
    return (np.random.default_rng(seed).random(shape) < 0.3).astype(np.uint8)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 9), (5, 1, 1), (4, 16, 16), (2, 33, 5)])
@pytest.mark.parametrize("syntax", BITS)
def test_single_bits(tmp_path, syntax, shape):
    """Uncompressed frames follow each other bit by bit; compressed ones begin on a byte."""
    bits = mask(shape)
    path = tmp_path / "a.dcm"
    if syntax == synth.J2K:
        frames = [synth.encode(frame, syntax, 1) for frame in bits]
        pixel_kinds.write(path, bits, "MONOCHROME2", syntax, bits=1, allocated=1, frames=frames)
    else:
        pixel_kinds.write(path, bits, "MONOCHROME2", syntax, bits=1, allocated=1)
    ours = decoded(path)
    assert ours.dtype == np.uint8
    assert np.array_equal(ours, bits)
    if syntax in synth.NATIVE:
        ds = pydicom.dcmread(path)
        assert np.array_equal(pixel_array(ds).reshape(shape), bits)


def test_single_bits_of_real_files(shared_data):
    """One object in five syntaxes; frames of 510 x 510 begin within a byte (pydicom reads two)."""
    folder = shared_data / "seg" / "pydicom-liver"
    for name, size in (("liver", 512), ("liver_nonbyte_aligned", 510)):
        found = {}
        for path in sorted(folder.glob("liver*.dcm")):
            if path.name.startswith("liver_nonbyte") != ("nonbyte" in name):
                continue
            ds = pydicom.dcmread(path)
            syntax = str(ds.file_meta.TransferSyntaxUID)
            spec = FrameSpec(syntax, size, size, 1, 1, 1, 0, 0, "MONOCHROME2")
            if syntax in synth.NATIVE:
                found[syntax] = np.array(pixel_array(ds))
                continue
            frames = pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=3)
            found[syntax] = np.stack([decode_frame(frame, spec, PREFER)[0] for frame in frames])
        assert len(found) >= 4
        first, *others = found.values()
        assert first.sum() > 1000
        assert all(np.array_equal(other, first) for other in others)


def test_signed_single_bits_are_refused(tmp_path):
    path = tmp_path / "a.dcm"
    pixel_kinds.write(path, mask((1, 8, 8)), "MONOCHROME2", bits=1, allocated=1,
                      PixelRepresentation=1)  # fmt: skip
    problem = read_frames(FileRef(str(path), path.stat().st_size), Budgets())
    assert isinstance(problem, Problem)
    assert problem.code == ProblemCode.UNSUPPORTED_PIXELS


@pytest.mark.parametrize("length", [0, 7, 10, 64])
def test_single_bits_of_another_length(length):
    spec = FrameSpec(synth.EXPLICIT_LE, 8, 8, 1, 1, 1, 0, 0, "MONOCHROME2")
    with pytest.raises(BadInstanceError):
        decode_frame(bytes(length), spec, PREFER)


@pytest.mark.parametrize("syntax", synth.NATIVE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("frames", [1, 3])
def test_floats_keep_every_bit(tmp_path, syntax, dtype, frames):
    values = np.random.default_rng(0).normal(0, 1e9, (frames, 6, 7)).astype(dtype)
    values[0, 0, :5] = 0, -0.0, np.inf, -np.inf, np.finfo(dtype).tiny / 2
    values[0, 1, 0] = np.nan
    path = tmp_path / "a.dcm"
    pixel_kinds.write(path, values, "MONOCHROME2", syntax)
    ours = decoded(path)
    assert ours.dtype == dtype
    assert ours.tobytes() == values.tobytes()
    reference = pixel_array(pydicom.dcmread(path)).reshape(values.shape)
    assert np.array_equal(ours, reference, equal_nan=True)


def test_real_parametric_maps(shared_data):
    for kind, dtype in (("float", "<f4"), ("double_float", "<f8")):
        path = shared_data / f"lut-overlay/pydicom-data/parametric_map_{kind}.dcm"
        ds = pydicom.dcmread(path)
        reference = pixel_array(ds)
        bits = 8 * np.dtype(dtype).itemsize
        spec = FrameSpec(synth.EXPLICIT_LE, *reference.shape, 1, bits, bits, bits - 1, 0,
                         "MONOCHROME2", floating=True)  # fmt: skip
        ours, _ = decode_frame(reference.astype(dtype).tobytes(), spec, PREFER)
        assert np.array_equal(ours, reference)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"BitsAllocated": 16}, ProblemCode.BAD_VALUE),
        ({"SamplesPerPixel": 3}, ProblemCode.UNSUPPORTED_PIXELS),
        ({"PhotometricInterpretation": "RGB"}, ProblemCode.UNSUPPORTED_PIXELS),
        ({"NumberOfFrames": 3}, ProblemCode.PIXEL_LENGTH),
    ],
)
def test_floats_that_cannot_be(tmp_path, changes, code):
    path = tmp_path / "a.dcm"
    pixel_kinds.write(path, np.zeros((1, 4, 4), np.float32), "MONOCHROME2", frames=[bytes(64)],
                      **changes)  # fmt: skip
    problem = read_frames(FileRef(str(path), path.stat().st_size), Budgets())
    assert isinstance(problem, Problem)
    assert problem.code == code


@pytest.mark.parametrize("shape", [(1, 3, 3), (1, 4, 4), (3, 4, 4), (2, 5, 8, 3), (1, 3, 3, 3)])
def test_bytes_in_big_endian_words(tmp_path, shape):
    pixels = pixel_kinds.picture(shape)
    path = tmp_path / "a.dcm"
    data = pixels.tobytes()
    swapped = np.frombuffer(data + b"\0" * (len(data) % 2), "<u2").astype(">u2").tobytes()
    photometric = "RGB" if len(shape) == 4 else "MONOCHROME2"
    ds = pixel_kinds.write(path, pixels, photometric, synth.EXPLICIT_BE, frames=[swapped])
    ds["PixelData"].VR = "OW"
    synth.write(ds, path)
    assert np.array_equal(decoded(path), pixels)
    assert np.array_equal(pixel_array(pydicom.dcmread(path)).reshape(shape), pixels)


def test_frames_that_share_a_big_endian_word_are_refused(tmp_path):
    pixels = pixel_kinds.picture((2, 3, 3))
    path = tmp_path / "a.dcm"
    ds = pixel_kinds.write(path, pixels, "MONOCHROME2", synth.EXPLICIT_BE)
    ds["PixelData"].VR = "OW"
    synth.write(ds, path)
    problem = read_frames(FileRef(str(path), path.stat().st_size), Budgets())
    assert isinstance(problem, Problem)
    assert problem.code == ProblemCode.UNSUPPORTED_PIXELS


@pytest.mark.parametrize("syntax", [*synth.NATIVE, synth.RLE, synth.DEFLATED_FRAME])
@pytest.mark.parametrize("dtype", [np.uint32, np.int32])
def test_words_of_32_bits(tmp_path, syntax, dtype):
    info = np.iinfo(dtype)
    pixels = np.random.default_rng(0).integers(info.min, info.max, (2, 9, 7), dtype)
    pixels[0, 0, :2] = info.min, info.max
    path = tmp_path / "a.dcm"
    pixel_kinds.write(path, pixels, "MONOCHROME2", syntax)
    assert np.array_equal(decoded(path), pixels)
    if syntax != synth.DEFLATED_FRAME:
        assert np.array_equal(pixel_array(pydicom.dcmread(path)), pixels)


def test_budget_counts_samples(tmp_path):
    grey, colour = tmp_path / "grey.dcm", tmp_path / "colour.dcm"
    pixel_kinds.write(grey, pixel_kinds.picture((1, 8, 8)), "MONOCHROME2")
    pixel_kinds.write(colour, pixel_kinds.picture((1, 8, 8, 3)))
    for path, code in ((grey, None), (colour, ProblemCode.BUDGET)):
        found = read_frames(FileRef(str(path), path.stat().st_size), Budgets(frame_pixels=64))
        assert getattr(found, "code", None) == code
