"""Real files and codestreams against other decoders and against references that came with them."""

import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
import synth
from pydicom.encaps import generate_frames
from pydicom.pixels import apply_color_lut, pixel_array

from sansfilm.assemble.painting import to_rgb
from sansfilm.decode.codestream import sniff
from sansfilm.decode.frames import decode_frame
from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import FileRef, Frame, FrameSpec
from sansfilm.options import Budgets, Options
from sansfilm.planning.headers import read_frames
from sansfilm.planning.pixels import read_frame

PREFER = Options().prefer


LOSSY_COLOUR = frozenset({synth.JPEG_BASELINE, synth.JPEG_EXTENDED})


def frames_of(path: Path) -> list[Frame]:
    found = read_frames(FileRef(str(path), path.stat().st_size), Budgets())
    return found if isinstance(found, list) else []


def colours(stored: np.ndarray, spec: FrameSpec) -> np.ndarray:
    dtype = stored.dtype if spec.lut is None else np.dtype(spec.lut.dtype)
    return to_rgb(stored, spec, np.empty((spec.rows, spec.columns, 3), dtype.newbyteorder("=")))


def shown(frame: Frame) -> np.ndarray:
    """Decode a frame; colour as RGB."""
    stored = decode_frame(read_frame(frame)[0], frame.spec, PREFER)[0]
    return colours(stored, frame.spec) if frame.spec.channels > 1 else stored


def decode(path: Path) -> np.ndarray:
    frames = frames_of(path)
    assert frames, path
    return shown(frames[0])


def others(path: Path) -> np.ndarray | None:
    """Decode all frames with pydicom, colour as RGB, else with SimpleITK; None if neither can."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(path)
        try:
            array = pixel_array(ds)
            return apply_color_lut(array, ds) if ds.PhotometricInterpretation[0] == "P" else array
        except Exception:  # pydicom raises many kinds where it has no decoder
            scaled = ds.get("RescaleSlope", 1) != 1 or ds.get("RescaleIntercept", 0) != 0
            if scaled or "SharedFunctionalGroupsSequence" in ds:  # SimpleITK applies what is there
                return None
    try:
        return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    except RuntimeError:
        return None


def check(paths) -> tuple[int, int]:
    """Compare all frames of all images; return how many files were decoded and compared."""
    decoded = compared = 0
    for path in sorted(paths):
        frames = frames_of(path) if path.is_file() else []
        if not frames:
            continue
        if path.name == "JPEG2000-embedded-sequence-delimiter.dcm":
            with pytest.raises(BadInstanceError) as caught:
                decode(path)
            assert caught.value.code == ProblemCode.CODESTREAM_MISMATCH
            continue
        reference = others(path)
        decoded += 1
        if reference is None:
            shown(frames[0])
            continue
        spec = frames[0].spec
        colour = (3,) if spec.channels > 1 else ()
        compared += 1
        for frame, theirs in zip(
            frames, reference.reshape(-1, spec.rows, spec.columns, *colour), strict=True
        ):
            ours = shown(frame)
            assert ours.dtype == reference.dtype.newbyteorder("="), path
            if spec.channels > 1 and spec.transfer_syntax in LOSSY_COLOUR:
                error = np.abs(ours.astype(int) - theirs)
                assert error.max() <= 5, path
                assert np.mean(error <= 3) >= 0.9999, path
            else:
                assert np.array_equal(ours, theirs), path
    return decoded, compared


def test_the_files_of_pydicom():
    decoded, compared = check((Path(pydicom.__file__).parent / "data").rglob("*.dcm"))
    assert decoded > 25
    assert compared >= decoded - 3


def test_the_files_of_the_repository(data):
    decoded, compared = check(data.rglob("*"))
    assert decoded > 85
    assert compared >= decoded - 2


@pytest.mark.parametrize(
    "folder",
    ["charset", "color", "compressed", "ct-series", "dicomdir", "endian-deflated", "htj2k",
     "irregular", "lut-overlay", "malformed", "mammo-dx", "mr-series", "seg", "us-cine"],
)  # fmt: skip
def test_the_collection(shared_data, folder):
    decoded, compared = check((shared_data / folder).rglob("*"))
    assert decoded > 0
    assert compared > decoded / 2


def test_colour_files_that_are_no_images(shared_data):
    """Without a UID or a preamble they are no instances, but pydicom decodes their frames."""
    bundled = Path(pydicom.__file__).parent / "data" / "test_files"
    paths = [*(shared_data / "compressed/pydicom-data").glob("JLS?_RGB_*.dcm"),
             *(shared_data / "htj2k/pydicom-data").glob("*_RGB.dcm"),
             *bundled.glob("SC_rgb_jls_*.dcm")]  # fmt: skip
    assert len(paths) == 8
    for path in paths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds = pydicom.dcmread(path, force=True)
            reference = pixel_array(ds)
        syntax = str(ds.file_meta.TransferSyntaxUID)
        spec = FrameSpec(syntax, ds.Rows, ds.Columns, 3, 8, 8, 7, 0, ds.PhotometricInterpretation)
        (frame,) = generate_frames(ds.PixelData, number_of_frames=1)
        assert np.array_equal(decode_frame(frame, spec, PREFER)[0], reference), path


def test_one_slice_in_all_syntaxes(shared_data):
    folder = shared_data / "compressed" / "one-ct-all-syntaxes"
    images = {path.name.rpartition("_")[2][:-4]: decode(path) for path in folder.iterdir()}
    assert len(images) == 14
    expected = images[synth.EXPLICIT_LE]
    for uid, image in images.items():
        if uid in (*synth.NATIVE, *synth.LOSSLESS):
            assert np.array_equal(image, expected), uid
        elif image.dtype == expected.dtype:  # the 8-bit one was windowed
            assert np.abs(image.astype(int) - expected).mean() < 40, uid


def test_one_slice_of_the_repository(data):
    images = [decode(path) for path in sorted((data / "ct-syntaxes").glob("*.dcm"))]
    assert len(images) == 4
    assert all(np.array_equal(image, images[0]) for image in images)


def test_one_volume_in_two_syntaxes(shared_data):
    folder = shared_data / "compressed"
    first = sorted((folder / "series-compressed_rle").iterdir())
    second = sorted((folder / "series-compressed_jpegls").iterdir())
    assert len(first) == 4
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(decode(one), decode(other))


# ------------------------------------------------------------------------ bare codestreams


def test_broken_jpeg_ls(shared_data):
    for path in sorted((shared_data / "conformance-jls" / "broken").iterdir()):
        frame = path.read_bytes()
        spec = FrameSpec(synth.JPEG_LS, 1, 1, 1, 16, 16, 15, 0, "MONOCHROME2")
        with pytest.raises(BadInstanceError):
            decode_frame(frame, spec, PREFER)
        try:
            found = sniff(frame, spec)
        except BadInstanceError:
            continue
        about = FrameSpec(synth.JPEG_LS, found.rows, found.columns, found.components, 16, 16, 15, 0,
                          "MONOCHROME2")  # fmt: skip
        with pytest.raises(BadInstanceError):
            decode_frame(frame, about, PREFER)
