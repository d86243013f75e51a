"""Colour in every transfer syntax, whole files, against what was written and against pydicom."""

import warnings
from itertools import product
from pathlib import Path

import imagecodecs
import numpy as np
import pixel_kinds
import pydicom
import pytest
import synth
from pydicom.pixels import convert_color_space, pixel_array

from sansfilm.assemble.painting import to_rgb
from sansfilm.decode import syntaxes
from sansfilm.decode.frames import decode_frame
from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import FileRef, Frame, FrameSpec
from sansfilm.options import Budgets, Options
from sansfilm.planning.headers import read_frames
from sansfilm.planning.pixels import read_frame

PREFER = Options().prefer
JPEGS = (synth.JPEG_BASELINE, synth.JPEG_EXTENDED)


def frames_of(path: Path) -> list[Frame]:
    found = read_frames(FileRef(str(path), path.stat().st_size), Budgets())
    assert isinstance(found, list), found
    return found


def colours(stored: np.ndarray, spec: FrameSpec) -> np.ndarray:
    dtype = stored.dtype if spec.lut is None else np.dtype(spec.lut.dtype)
    return to_rgb(stored, spec, np.empty((spec.rows, spec.columns, 3), dtype.newbyteorder("=")))


def decoded(path: Path, prefer=PREFER) -> tuple[np.ndarray, np.ndarray]:
    """Return all frames as they are stored, and as RGB."""
    stored, rgb = [], []
    for frame in frames_of(path):
        stored.append(decode_frame(read_frame(frame)[0], frame.spec, prefer)[0])
        assert stored[-1].shape == frame.spec.shape
        assert stored[-1].dtype == np.dtype(frame.spec.container)
        rgb.append(colours(stored[-1], frame.spec))
    return np.stack(stored), np.stack(rgb)


def with_pydicom(path: Path, *, raw: bool = False) -> np.ndarray | None:
    """Return all frames; None if pydicom has no decoder for them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(path)
        try:
            array = pixel_array(ds, raw=raw)
        except (RuntimeError, NotImplementedError):
            return None
    return array.reshape(-1, ds.Rows, ds.Columns, 3)


# --------------------------------------------------------------------------- lossless


@pytest.mark.parametrize(("allocated", "bits"), [(8, 8), (16, 8), (16, 12), (16, 16)])
@pytest.mark.parametrize("syntax", [*synth.NATIVE, *synth.LOSSLESS], ids=syntaxes.NAMES.get)
def test_rgb_comes_back(tmp_path, syntax, allocated, bits):
    rgb = pixel_kinds.picture((2, 17, 22, 3), bits).astype(f"u{allocated // 8}")
    narrow = rgb.astype(np.uint8) if bits == 8 and syntax not in (
        *synth.NATIVE, synth.RLE, synth.DEFLATED_FRAME
    ) else rgb  # fmt: skip
    path = tmp_path / "a.dcm"
    pixel_kinds.write(path, narrow, "RGB", syntax, bits=bits, allocated=allocated)
    stored, shown = decoded(path)
    assert np.array_equal(stored, rgb)
    assert shown.dtype == rgb.dtype
    assert np.array_equal(shown, rgb)
    reference = with_pydicom(path)
    if reference is not None:
        assert np.array_equal(shown, reference)


@pytest.mark.parametrize("shape", [(3, 3), (3, 1), (1, 3), (1, 1), (2, 3)])
@pytest.mark.parametrize(
    ("coded", "syntax"),
    [*product(["RGB"], [*synth.NATIVE, *synth.LOSSLESS]),
     *product(["YBR_RCT"], [synth.J2K, synth.HTJ2K, synth.HTJ2K_RPCL])],
)  # fmt: skip
def test_samples_are_the_last_axis_whatever_the_shape(tmp_path, syntax, coded, shape):
    rgb = pixel_kinds.picture((1, *shape, 3))
    path = tmp_path / "a.dcm"
    pixel_kinds.write(path, rgb, coded, syntax)
    assert np.array_equal(decoded(path)[1], rgb)


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("syntax", [*synth.NATIVE, synth.DEFLATED_FRAME, synth.RLE, synth.JPEG_LS,
                                    synth.J2K, synth.JPEG_LOSSLESS])  # fmt: skip
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_planar_configuration_counts_where_it_is_not_compressed(
    tmp_path, planar, syntax, photometric, dtype
):
    """It says how uncompressed samples lie; codecs know themselves (PS3.3 C.7.6.3.1.3)."""
    stored = pixel_kinds.picture((3, 9, 11, 3), 8).astype(dtype)
    path = tmp_path / "a.dcm"
    pixel_kinds.write(path, stored, photometric, syntax, planar=planar)
    ours, shown = decoded(path)
    assert np.array_equal(ours, stored)
    if photometric == "RGB":
        assert np.array_equal(shown, stored)
    reference = with_pydicom(path, raw=True)
    if reference is not None and syntax not in (synth.J2K, synth.JPEG_LS):
        # pydicom 3.0 takes the samples of some codecs for planes where the header says so
        assert np.array_equal(ours, reference)


@pytest.mark.parametrize("syntax", [*synth.NATIVE, *synth.LOSSLESS], ids=syntaxes.NAMES.get)
def test_ybr_full(tmp_path, syntax):
    stored = pixel_kinds.picture((1, 40, 33, 3))
    path = tmp_path / "a.dcm"
    pixel_kinds.write(path, stored, "YBR_FULL", syntax)
    ours, shown = decoded(path)
    assert np.array_equal(ours, stored)
    expected = convert_color_space(stored, "YBR_FULL", "RGB")
    assert np.array_equal(shown, expected)
    reference = with_pydicom(path)
    if reference is not None:
        assert np.array_equal(shown, reference)


@pytest.mark.parametrize("syntax", [*synth.NATIVE, synth.DEFLATED_FRAME])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "YBR_PARTIAL_422"])
def test_pairs_share_their_chrominance(tmp_path, syntax, photometric, dtype):
    stored = pixel_kinds.picture((2, 7, 12, 3), 8).astype(dtype)
    stored[:, :, 1::2, 1:] = stored[:, :, ::2, 1:]
    path = tmp_path / "a.dcm"
    pixel_kinds.write(path, stored, photometric, syntax)
    ours, _ = decoded(path)
    assert np.array_equal(ours, stored)
    reference = with_pydicom(path, raw=True) if photometric == "YBR_FULL_422" else None
    if reference is not None:
        assert np.array_equal(ours, reference)


def test_partial_range_is_that_of_bt601(tmp_path):
    """Black, white, grey, and the primaries at 75 %, by the numbers of the recommendation."""
    ybr = {(16, 128, 128): (0, 0, 0), (235, 128, 128): (255, 255, 255),
           (126, 128, 128): (128, 128, 128), (65, 100, 212): (191, 0, 0),
           (112, 72, 58): (0, 191, 0), (35, 212, 114): (0, 0, 191)}  # fmt: skip
    stored = np.array(list(ybr), np.uint8).repeat(2, axis=0)[None, None]
    path = tmp_path / "a.dcm"
    pixel_kinds.write(path, stored, "YBR_PARTIAL_422")
    shown = decoded(path)[1][0, 0, ::2].astype(int)
    assert np.abs(shown - list(ybr.values())).max() <= 1


@pytest.mark.parametrize("syntax", [synth.JPEG_LS, synth.JPEG_LS_NEAR])
@pytest.mark.parametrize("interleave", [0, 1, 2])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_interleave_modes_of_jpeg_ls(tmp_path, syntax, interleave, bits):
    rgb = pixel_kinds.picture((1, 19, 23, 3), bits)
    path = tmp_path / "a.dcm"
    pixel_kinds.write(path, rgb, "RGB", syntax, bits=bits, coding={"interleave": interleave})
    stored, _ = decoded(path)
    near = synth.NEAR if syntax == synth.JPEG_LS_NEAR else 0
    assert np.abs(stored.astype(int) - rgb).max() <= near
    reference = with_pydicom(path)
    if reference is not None:
        assert np.array_equal(stored, reference)


@pytest.mark.parametrize("transformation", ["HP1", "HP2", "HP3"])
def test_colour_transforms_of_charls_are_undone(transformation):
    rgb = pixel_kinds.picture((19, 23, 3))
    frame = bytes(imagecodecs.jpegls_encode(rgb, transformation=transformation))
    spec = FrameSpec(synth.JPEG_LS, 19, 23, 3, 8, 8, 7, 0, "RGB")
    assert np.array_equal(decode_frame(frame, spec, PREFER)[0], rgb)


# ------------------------------------------------------------------- colour that a codec makes


@pytest.mark.parametrize("prefer", [("imagecodecs",), ("pylibjpeg",)])
@pytest.mark.parametrize("syntax", [synth.J2K, synth.HTJ2K, synth.HTJ2K_RPCL])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_ybr_rct_is_exact(tmp_path, syntax, bits, prefer):
    rgb = pixel_kinds.picture((2, 45, 52, 3), bits)
    path = tmp_path / "a.dcm"
    pixel_kinds.write(path, rgb, "YBR_RCT", syntax, bits=bits)
    stored, shown = decoded(path, prefer)
    assert np.array_equal(shown, rgb)
    assert np.array_equal(stored, rgb)


@pytest.mark.parametrize("syntax", [synth.J2K_LOSSY, synth.HTJ2K_LOSSY])
@pytest.mark.parametrize("bits", [8, 12])
def test_ybr_ict_is_that_of_other_decoders(tmp_path, syntax, bits):
    rgb = pixel_kinds.picture((1, 64, 80, 3), bits)
    path = tmp_path / "a.dcm"
    pixel_kinds.write(path, rgb, "YBR_ICT", syntax, bits=bits)
    shown = decoded(path)[1].astype(int)
    other = decoded(path, ("pylibjpeg",))[1]
    assert np.abs(shown - other).max() <= 1
    assert np.abs(shown - rgb).mean() < 2**bits / 50
    reference = with_pydicom(path)
    if reference is not None:
        assert np.abs(shown - reference).max() <= 1


def close(ours: np.ndarray, reference: np.ndarray) -> None:
    error = np.abs(ours.astype(int) - reference)
    assert error.max() <= 5
    assert np.mean(error <= 3) >= 0.9999


@pytest.mark.parametrize("syntax", JPEGS)
@pytest.mark.parametrize("subsampling", ["444", "422", "420"])
@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422"])
def test_jpeg_comes_out_as_rgb(tmp_path, syntax, subsampling, photometric):
    rgb = pixel_kinds.picture((2, 64, 80, 3))
    path = tmp_path / "a.dcm"
    coding = {"outcolorspace": "YCbCr", "subsampling": subsampling}
    pixel_kinds.write(path, rgb, photometric, syntax, coding=coding)
    shown = decoded(path)[1]
    assert np.abs(shown.astype(int) - rgb).mean() < 12
    close(shown, with_pydicom(path))


@pytest.mark.parametrize("syntax", JPEGS)
def test_jpeg_that_was_not_transformed(tmp_path, syntax):
    rgb = pixel_kinds.picture((1, 64, 80, 3))
    path = tmp_path / "a.dcm"
    pixel_kinds.write(path, rgb, "RGB", syntax)
    shown = decoded(path)[1]
    assert np.abs(shown.astype(int) - rgb).mean() < 3
    close(shown, with_pydicom(path))


def test_jpeg_of_12_bits(tmp_path):
    rgb = pixel_kinds.picture((1, 64, 80, 3), 12)
    for photometric, space in (("RGB", "RGB"), ("YBR_FULL", "YCbCr")):
        path = tmp_path / f"{photometric}.dcm"
        pixel_kinds.write(path, rgb, photometric, synth.JPEG_EXTENDED, bits=12,
                          coding={"outcolorspace": space, "subsampling": "444"})  # fmt: skip
        assert np.abs(decoded(path)[1].astype(int) - rgb).mean() < 40


def without_markers(frame: bytes, *markers: int) -> bytes:
    out, pos = frame[:2], 2
    while frame[pos + 1] != 0xDA:
        end = pos + 2 + int.from_bytes(frame[pos + 2 : pos + 4], "big")
        if frame[pos + 1] not in markers:
            out += frame[pos:end]
        pos = end
    return out + frame[pos:]


def app(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


JFIF = app(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
ADOBE = [app(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform])) for transform in range(3)]
SHORT_ADOBE = app(0xEE, b"Adobe\0\0\0\0\0")
IDS = [bytes([1, 2, 3]), b"RGB", b"rgb", bytes([0, 1, 2])]


@pytest.mark.parametrize(
    ("marker", "ids", "photometric", "ybr"),
    [
        (b"", 0, "RGB", False),  # libjpeg would guess YCbCr
        (b"", 0, "YBR_FULL_422", True),
        (b"", 3, "RGB", False),
        (b"", 3, "YBR_FULL", True),
        (b"", 1, "YBR_FULL", False),
        (b"", 2, "YBR_FULL", False),
        (JFIF, 0, "RGB", True),
        (JFIF, 0, "YBR_FULL_422", True),
        (ADOBE[0], 0, "RGB", False),
        (ADOBE[0], 0, "YBR_FULL", False),
        (ADOBE[1], 0, "RGB", True),
        (ADOBE[1], 0, "YBR_FULL", True),
        (SHORT_ADOBE, 0, "RGB", False),
        (SHORT_ADOBE, 0, "YBR_FULL", True),
        (b"\xff\xff" + JFIF[1:], 0, "RGB", True),  # fill bytes before a marker
    ],
)
def test_what_a_jpeg_says_of_its_colours_comes_before_what_the_dataset_says(
    marker, ids, photometric, ybr
):
    samples = pixel_kinds.picture((32, 40, 3))
    frame = bytes(imagecodecs.jpeg8_encode(samples, level=95, colorspace="RGB",
                                           outcolorspace="RGB"))  # fmt: skip
    frame = without_markers(frame, 0xE0, 0xEE)
    frame = frame[:2] + marker + frame[2:]
    for old in IDS:  # in the frame header and in the scan header
        start = frame.find(b"\xff\xc0") + 10
        if frame[start : start + 9 : 3] == old:
            for place, new in zip((0, 3, 6), IDS[ids], strict=True):
                frame = frame[: start + place] + bytes([new]) + frame[start + place + 1 :]
            scan = frame.find(b"\xff\xda") + 5
            for place, new in zip((0, 2, 4), IDS[ids], strict=True):
                frame = frame[: scan + place] + bytes([new]) + frame[scan + place + 1 :]
            break
    spec = FrameSpec(synth.JPEG_BASELINE, 32, 40, 3, 8, 8, 7, 0, photometric)
    shown = decode_frame(frame, spec, PREFER)[0]
    expected = convert_color_space(samples, "YBR_FULL", "RGB") if ybr else samples
    assert np.abs(shown.astype(int) - expected).mean() < 3


@pytest.mark.parametrize(
    ("syntax", "lossless"), [(synth.JPEG_LOSSLESS, False), (synth.JPEG_BASELINE, True)]
)
def test_another_process_than_the_syntax_names(syntax, lossless):
    rgb = pixel_kinds.picture((16, 16, 3))
    frame = bytes(imagecodecs.jpeg8_encode(rgb, lossless=lossless, colorspace="RGB",
                                           outcolorspace="RGB"))  # fmt: skip
    spec = FrameSpec(syntax, 16, 16, 3, 8, 8, 7, 0, "RGB")
    with pytest.raises(BadInstanceError) as caught:
        decode_frame(frame, spec, PREFER)
    assert caught.value.code == ProblemCode.CODESTREAM_MISMATCH


def test_recompressed_jpeg_in_colour(tmp_path):
    rgb = pixel_kinds.picture((1, 64, 80, 3))
    jpeg = bytes(imagecodecs.jpeg8_encode(rgb[0], level=95, subsampling="420"))
    paths = [tmp_path / "jpeg.dcm", tmp_path / "jxl.dcm"]
    pixel_kinds.write(paths[0], rgb, "YBR_FULL_422", synth.JPEG_BASELINE, frames=[jpeg])
    again = bytes(imagecodecs.jpegxl_encode_jpeg(jpeg, usecontainer=False))
    pixel_kinds.write(paths[1], rgb, "YBR_FULL_422", "1.2.840.10008.1.2.4.111", frames=[again])
    one, other = (decoded(path)[1].astype(int) for path in paths)
    assert np.abs(one - other).max() <= 3


# ------------------------------------------------------------------------------- bad frames


def samples_of(frame: bytes, spec: FrameSpec) -> tuple[int, ...] | ProblemCode:
    try:
        return decode_frame(frame, spec, PREFER)[0].shape
    except BadInstanceError as exc:
        return exc.code


@pytest.mark.parametrize(("inside", "outside"), [*product((1, 3), (1, 3))])
@pytest.mark.parametrize("syntax", [*synth.LOSSLESS, synth.JPEG_BASELINE, synth.J2K_LOSSY,
                                    synth.EXPLICIT_LE])  # fmt: skip
def test_other_samples_than_the_header_says(tmp_path, syntax, inside, outside):
    pixels = pixel_kinds.picture((1, 16, 18, 3))[..., : inside if inside > 1 else None]
    pixels = pixels if inside == 3 else pixels[..., 0]
    path = tmp_path / "a.dcm"
    ds = pixel_kinds.write(path, pixels, "RGB" if inside == 3 else "MONOCHROME2", syntax)
    frame = pixel_kinds.encode(ds, pixels[0])
    spec = FrameSpec(syntax, 16, 18, outside, 8, 8, 7, 0, "RGB" if outside == 3 else "MONOCHROME2")
    found = samples_of(frame, spec)
    if inside == outside:
        assert found == spec.shape
    else:
        assert found in (ProblemCode.CODESTREAM_MISMATCH, ProblemCode.DECODE_FAILED)


@pytest.mark.parametrize("syntax", [synth.JPEG_BASELINE, synth.JPEG_LOSSLESS, synth.RLE,
                                    synth.JPEG_LS, synth.J2K, synth.HTJ2K])  # fmt: skip
def test_mutated_codestreams(tmp_path, syntax):
    rgb = pixel_kinds.picture((1, 16, 18, 3))
    ds = pixel_kinds.write(tmp_path / "a.dcm", rgb, "RGB", syntax)
    frame = pixel_kinds.encode(ds, rgb[0])
    rng = np.random.default_rng(0)
    spec = FrameSpec(syntax, 16, 18, 3, 8, 8, 7, 0, "RGB")
    found = set()
    for _ in range(150):
        bad = bytearray(frame)
        for place in rng.integers(0, min(len(bad), 200), rng.integers(1, 4)):
            bad[place] = rng.integers(256)
        found.add(samples_of(bytes(bad), spec))
        found.add(samples_of(bytes(bad[: rng.integers(len(bad))]), spec))
    assert found <= {spec.shape, ProblemCode.CODESTREAM_MISMATCH, ProblemCode.DECODE_FAILED}


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", "YBR_FULL_422", "PALETTE COLOR"])
@pytest.mark.parametrize("syntax", [synth.EXPLICIT_LE, synth.EXPLICIT_BE, synth.RLE,
                                    synth.JPEG_LS])  # fmt: skip
def test_mutated_pixel_modules(tmp_path, photometric, syntax):
    """Samples, planes, bits, models: whatever they say, frames or a Problem, and nothing else."""
    grey = photometric == "PALETTE COLOR"
    stored = pixel_kinds.picture((2, 8, 10) if grey else (2, 8, 10, 3))
    tags = pixel_kinds.palette(np.zeros((256, 3), int), bits=8) if grey else {}
    path = tmp_path / "a.dcm"
    pixel_kinds.write(path, stored, photometric, syntax, **tags)
    raw = path.read_bytes()
    order = "big" if syntax == synth.EXPLICIT_BE else "little"
    start = raw.index((0x28).to_bytes(2, order) + (2).to_bytes(2, order) + b"US")
    end = raw.index((0x28).to_bytes(2, order) + (0x103).to_bytes(2, order) + b"US") + 10
    values = np.array([0, 1, 2, 3, 8, 16, 32, 64, 255])
    rng = np.random.default_rng(0)
    models = [b"RGB", b"YBR_FULL", b"YBR_FULL_422", b"PALETTE COLOR", b"MONOCHROME1", b"YBR_RCT",
              b"YBR_PARTIAL_422", b"HSV", b"ARGB"]  # fmt: skip
    name = photometric.encode()
    done = 0
    for _ in range(200):
        bad = bytearray(raw)
        for place in rng.integers(start, end, rng.integers(0, 4)):
            bad[place] = rng.choice(values)
        model = models[rng.integers(len(models))][: len(name)]
        bad = bad.replace(name, model.ljust(len(name)))
        path.write_bytes(bad)
        found = read_frames(FileRef(str(path), path.stat().st_size), Budgets())
        for frame in found if isinstance(found, list) else []:
            try:
                image = decode_frame(read_frame(frame)[0], frame.spec, PREFER)[0]
            except BadInstanceError:
                continue
            done += 1
            assert image.shape == frame.spec.shape
            if frame.spec.channels > 1:
                colours(image, frame.spec)
    assert done > 5
