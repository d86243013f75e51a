"""Every kind of pixel from file to volume: colour, palettes, LUTs, single bits, floats."""

import hashlib
import json

import numpy as np
import pixel_kinds
import pydicom
import pytest
import synth
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, convert_color_space, pixel_array

import sansfilm
from sansfilm.errors import ProblemCode
from sansfilm.options import Options, Storage

SMALL = Options(storage=Storage(smallest=8, chunk=8, slab=4))
PLANES = {
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
    "PixelSpacing": [0.5, 0.5],
    "FrameOfReferenceUID": "1.2.3.4",
}


@pytest.fixture
def volume_of(tmp_path):
    """Give a function that ingests a folder into one volume, and checks the books."""

    def ingest(folder):
        url = tmp_path / "archive"
        report = sansfilm.ingest(folder, url, options=SMALL)
        assert report.problems == []
        assert report.frames["stored"] == report.frames["found"] > 0
        (volume,) = sansfilm.open(url)
        return volume

    return ingest


def write_stack(folder, pixels, photometric, **more):
    """Write slices (z, y, x[, 3]) with a place in the patient, 2 mm apart, in one series."""
    for z, frame in enumerate(pixels):
        place = {**PLANES, "ImagePositionPatient": [0, 0, 2 * z], "InstanceNumber": z + 1}
        pixel_kinds.write(folder / "scan.dcm", frame[None], photometric, **place, **more)
        ds = pydicom.dcmread(folder / "scan.dcm")
        ds.SOPInstanceUID += f".{z}"
        synth.write(ds, folder / f"{z}.dcm")
    (folder / "scan.dcm").unlink()


def means_of_blocks(block, factors):
    """Return the mean of each cell, rounded half up, over (z, y, x) with edges as they are."""
    padded = [(0, -size % factor) for size, factor in zip(block.shape, factors, strict=True)]
    values = np.pad(block.astype(float), padded, constant_values=np.nan)
    shape = [n for size, f in zip(values.shape, factors, strict=True) for n in (size // f, f)]
    cells = values.reshape(shape)
    return np.floor(np.nanmean(cells, axis=(1, 3, 5)) + 0.5)


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize("syntax", [synth.EXPLICIT_LE, synth.RLE, synth.DEFLATED_LE])
def test_rgb_single_frame_and_cine(tmp_path, volume_of, planar, dtype, syntax):
    if (syntax, dtype) == (synth.RLE, np.uint32):
        syntax = synth.EXPLICIT_BE
    rgb = pixel_kinds.picture((5, 20, 24, 3), 8 * np.dtype(dtype).itemsize)
    pixel_kinds.write(tmp_path / "in/a.dcm", rgb, "RGB", syntax, planar=planar, FrameTime=40)
    volume = volume_of(tmp_path / "in")
    assert volume.axes[-3:] == ("c", "y", "x")
    assert volume.array.shape == (5, 3, 20, 24)
    assert volume.array.dtype == dtype
    assert np.array_equal(np.moveaxis(volume.array[:], 1, -1), rgb)
    digests = [hashlib.sha256(frame.tobytes()).hexdigest() for frame in rgb]
    assert volume.frames.pixel_digest.tolist() == digests


def test_attributes_of_colour(tmp_path, volume_of):
    ybr = pixel_kinds.picture((2, 20, 24, 3))
    pixel_kinds.write(tmp_path / "in/a.dcm", ybr, "YBR_FULL")
    volume = volume_of(tmp_path / "in")
    assert volume.attributes["photometric"] == "YBR_FULL"
    assert volume.attributes["rescale"] == {
        "slope": 1.0, "intercept": 0.0, "unit": "", "applied": True, "per_frame": False
    }  # fmt: skip
    assert volume.attributes["modality_lut"] is None
    assert volume.attributes["padding"] is None
    omero = volume.ome["omero"]
    assert [channel["label"] for channel in omero["channels"]] == ["red", "green", "blue"]
    assert [c["color"] for c in omero["channels"]] == ["FF0000", "00FF00", "0000FF"]
    assert omero["rdefs"]["model"] == "color"
    assert {tuple(c["window"].values()) for c in omero["channels"]} == {(0, 255, 0, 255)}
    axes = {axis["name"]: axis["type"] for axis in volume.ome["multiscales"][0]["axes"]}
    assert axes["c"] == "channel"


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_colour_slices_with_a_place_and_their_pyramid(tmp_path, volume_of, photometric):
    stored = pixel_kinds.picture((6, 20, 24, 3))
    write_stack(tmp_path / "in", stored, photometric)
    volume = volume_of(tmp_path / "in")
    assert volume.axes == ("c", "z", "y", "x")
    assert volume.verdict.code == "regular"
    assert volume.affine_lps is not None
    rgb = stored if photometric == "RGB" else convert_color_space(stored, "YBR_FULL", "RGB")
    assert np.array_equal(np.moveaxis(volume.array[:], 0, -1), rgb)
    for level, array in enumerate(volume.levels[1:], 1):
        factors = volume.factors(level)
        assert factors[0] == 1
        for sample in range(3):
            expected = means_of_blocks(rgb[..., sample], [int(f) for f in factors[1:]])
            assert np.array_equal(array[sample], expected)


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_colour_slices_of_which_one_is_missing(tmp_path, volume_of, photometric):
    """All values are colours, so the missing slice needs a wider dtype, and no colour changes."""
    stored = pixel_kinds.picture((6, 20, 24, 3))
    write_stack(tmp_path / "in", stored, photometric)
    (tmp_path / "in" / "3.dcm").unlink()
    volume = volume_of(tmp_path / "in")
    assert volume.verdict.code == "gapped"
    assert volume.array.dtype == np.int16
    rgb = stored if photometric == "RGB" else convert_color_space(stored, "YBR_FULL", "RGB")
    shown = np.moveaxis(volume.array[:], 0, -1)
    assert np.array_equal(np.delete(shown, 3, axis=0), np.delete(rgb, 3, axis=0))
    assert (shown[3] == volume.attributes["padding"][0]).all()
    assert volume.attributes["padding"][0] < 0


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (16, np.uint16)])
@pytest.mark.parametrize("index", [np.uint8, np.uint16, np.int16])
def test_palette(tmp_path, volume_of, bits, dtype, index):
    rng = np.random.default_rng(bits)
    entries = rng.integers(0, 2**bits, (200, 3))
    first = -20 if index == np.int16 else 10
    pixels = rng.integers(-100 if index == np.int16 else 0, 256, (3, 20, 24)).astype(index)
    path = tmp_path / "in/a.dcm"
    tags = pixel_kinds.palette(entries, first=first, bits=bits)
    ds = pixel_kinds.write(path, pixels, "PALETTE COLOR", **tags)
    volume = volume_of(tmp_path / "in")
    assert volume.array.dtype == dtype
    shown = np.moveaxis(volume.array[:], 1, -1)
    assert np.array_equal(shown, entries[(pixels.astype(int) - first).clip(0, 199)])
    if index != np.int16:
        assert np.array_equal(shown, apply_color_lut(pixels, ds))
    assert volume.attributes["photometric"] == "PALETTE COLOR"
    digests = [hashlib.sha256(frame.tobytes()).hexdigest() for frame in pixels]
    assert volume.frames.pixel_digest.tolist() == digests
    assert volume.ome["omero"]["channels"][0]["window"]["max"] == 2**bits - 1


def test_each_image_has_its_own_palette(tmp_path, volume_of):
    pixels = np.arange(16 * 16, dtype=np.uint8).reshape(1, 16, 16)
    rng = np.random.default_rng(0)
    expected = []
    for number in range(3):
        entries = rng.integers(0, 256, (256, 3))
        path = tmp_path / f"in/{number}.dcm"
        ds = pixel_kinds.write(path, pixels, "PALETTE COLOR", InstanceNumber=number,
                               **pixel_kinds.palette(entries, bits=8))  # fmt: skip
        ds.SeriesInstanceUID, ds.StudyInstanceUID = "1.2.3.1", "1.2.3.2"
        ds.InstanceNumber = number
        synth.write(ds, path)
        expected.append(entries[pixels[0]])
    volume = volume_of(tmp_path / "in")
    assert np.array_equal(np.moveaxis(volume.array[:], 1, -1), expected)


@pytest.mark.parametrize(
    "syntax", [*synth.NATIVE, synth.DEFLATED_FRAME, synth.RLE]
)  # fmt: skip
def test_single_bits(tmp_path, volume_of, syntax):
    bits = (np.random.default_rng(0).random((5, 19, 21)) < 0.4).astype(np.uint8)
    pixel_kinds.write(tmp_path / "in/a.dcm", bits, "MONOCHROME2", syntax, bits=1, allocated=1)
    volume = volume_of(tmp_path / "in")
    assert volume.array.dtype == np.uint8
    assert np.array_equal(volume.array[:], bits)
    assert volume.attributes["bits_stored"] == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_and_their_padding(tmp_path, volume_of, dtype):
    values = np.random.default_rng(0).normal(0, 10, (4, 16, 16)).astype(dtype)
    values[:, :, :8] = -1e30
    keyword = "FloatPixelPaddingValue" if dtype == np.float32 else "DoubleFloatPixelPaddingValue"
    write_stack(tmp_path / "in", values, "MONOCHROME2", **{keyword: -1e30})
    volume = volume_of(tmp_path / "in")
    assert volume.array.dtype == dtype
    assert np.array_equal(volume.array[:], values)
    padding = float(dtype(-1e30))
    assert volume.attributes["padding"] == [padding, padding]
    for array in volume.levels[1:]:  # the half that is padding stays apart from the other
        half = array.shape[-1] // 2
        assert (array[..., :half] == dtype(-1e30)).all()
        assert np.abs(array[..., half:]).max() < 100


def test_floats_that_are_not_finite(tmp_path, volume_of):
    values = np.full((2, 16, 16), 2.5, np.float32)
    values[0, 0, :3] = np.nan, np.inf, -np.inf
    values[1] = np.nan
    pixel_kinds.write(tmp_path / "in/a.dcm", values, "MONOCHROME2")
    volume = volume_of(tmp_path / "in")
    assert np.array_equal(volume.array[:], values, equal_nan=True)
    assert volume.attributes["padding"] is None
    window = volume.ome["omero"]["channels"][0]["window"]
    assert (window["min"], window["max"]) == (2.5, 2.5)
    json.dumps(volume.attributes, allow_nan=False)
    assert np.isnan(volume.levels[1][0, 0, 0])  # nobody said that NaN is no data


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spelt", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("gap", [False, True])
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), part=st.sampled_from([0.0, 0.3, 0.9, 1.0]))
def test_padding_that_is_no_finite_number(tmp_path_factory, dtype, spelt, gap, seed, part):
    """Means are those of numpy.nanmean; all of JSON stays JSON."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 10, (4, 21, 18)).astype(dtype)
    values[rng.random(values.shape) < part] = spelt
    keyword = "FloatPixelPaddingValue" if dtype == np.float32 else "DoubleFloatPixelPaddingValue"
    folder = tmp_path_factory.mktemp("floats")
    write_stack(folder / "in", values, "MONOCHROME2", **{keyword: float(spelt)})
    if gap:
        sorted((folder / "in").iterdir())[1].unlink()
        values[1] = spelt
    sansfilm.ingest(folder / "in", folder / "a", options=SMALL, workers=1)
    (volume,) = sansfilm.open(folder / "a")
    assert volume.attributes["padding"] == [spelt, spelt]
    json.dumps(volume.attributes, allow_nan=False)
    assert np.array_equal(volume.array[:], values, equal_nan=True)
    assert np.array_equal(volume.array.fill_value, dtype(spelt), equal_nan=True)
    known = np.where(values == dtype(spelt), np.nan, values)
    window = volume.ome["omero"]["channels"][0]["window"]
    low, high = (0.0, 0.0) if np.isnan(known).all() else (np.nanmin(known), np.nanmax(known))
    assert (window["min"], window["max"]) == (low, high)
    for number, array in enumerate(volume.levels[1:], 1):
        factors = list(map(round, volume.factors(number)))
        array = array[:]
        for index in np.ndindex(array.shape):
            cell = tuple(slice(i * f, (i + 1) * f) for i, f in zip(index, factors, strict=True))
            there = known[cell].astype(np.float64)
            if np.isnan(there).all():
                np.testing.assert_array_equal(array[index], dtype(spelt))
            else:
                np.testing.assert_allclose(array[index], np.nanmean(there), rtol=1e-6, atol=1e-6)
    if gap:
        padding = volume.to_xarray().attrs["padding"]
        np.testing.assert_array_equal(padding, [float(spelt)] * 2)


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (np.nan, None, ["NaN", "NaN"]),
        (np.nan, np.nan, ["NaN", "NaN"]),
        (np.nan, 3.0, None),
        (3.0, np.nan, None),
        (-np.inf, -5.0, ["-Infinity", -5.0]),
        (7.0, np.inf, [7.0, "Infinity"]),
        (9.0, 7.0, [7.0, 9.0]),
    ],
)
def test_ranges_of_float_padding(tmp_path, volume_of, first, last, expected):
    values = np.linspace(-10, 10, 4 * 16 * 16, dtype=np.float32).reshape(4, 16, 16)
    limit = {} if last is None else {"FloatPixelPaddingRangeLimit": last}
    write_stack(tmp_path / "in", values, "MONOCHROME2", FloatPixelPaddingValue=first, **limit)
    assert volume_of(tmp_path / "in").attributes["padding"] == expected


@pytest.mark.parametrize("slopes", [(1, 1), (0.5, 0.5), (2, 3)])
def test_floats_with_a_rescale(tmp_path, volume_of, slopes):
    values = np.random.default_rng(0).normal(0, 10, (2, 16, 16)).astype(np.float32)
    for number, (frame, slope) in enumerate(zip(values, slopes, strict=True)):
        path = tmp_path / f"in/{number}.dcm"
        ds = pixel_kinds.write(path, frame[None], "MONOCHROME2", RescaleSlope=slope,
                               RescaleIntercept=1, InstanceNumber=number)  # fmt: skip
        ds.SeriesInstanceUID, ds.StudyInstanceUID = "1.2.3.1", "1.2.3.2"
        ds.InstanceNumber = number
        synth.write(ds, path)
    volume = volume_of(tmp_path / "in")
    if slopes[0] == slopes[1]:
        assert np.array_equal(volume.array[:], values)
        assert not volume.attributes["rescale"]["applied"]
        return
    assert volume.array.dtype == np.float64
    expected = values.astype(float) * np.reshape(slopes, (2, 1, 1)) + 1
    assert np.array_equal(volume.array[:], expected)


@pytest.mark.parametrize("dtype", [np.uint32, np.int32])
def test_integers_of_32_bits(tmp_path, volume_of, dtype):
    info = np.iinfo(dtype)
    pixels = np.random.default_rng(0).integers(info.min, info.max, (4, 17, 16), dtype)
    write_stack(tmp_path / "in", pixels, "MONOCHROME2")
    volume = volume_of(tmp_path / "in")
    assert volume.array.dtype == dtype
    assert np.array_equal(volume.array[:], pixels)


def lut_item(entries, first=0):
    item = Dataset()
    item.add_new(0x00283002, "US", [len(entries) % 65536, first, 16])
    item.ModalityLUTType = "OD"
    item.add_new(0x00283006, "US", [int(entry) for entry in entries])
    return item


@pytest.mark.parametrize(
    ("entries", "injective"),
    [(np.arange(4096)[::-1] * 3, True), (np.arange(4096) // 2, False), (np.arange(100), False)],
)
def test_modality_lut(tmp_path, volume_of, entries, injective):
    pixels = pixel_kinds.picture((3, 16, 20), 12)
    path = tmp_path / "in/a.dcm"
    pixel_kinds.write(path, pixels, "MONOCHROME2", bits=12, RescaleType="XX",
                      ModalityLUTSequence=[lut_item(entries)])  # fmt: skip
    volume = volume_of(tmp_path / "in")
    assert volume.array.dtype == np.uint16
    assert np.array_equal(volume.array[:], apply_modality_lut(pixels, pydicom.dcmread(path)))
    assert volume.attributes["modality_lut"] == {
        "tables": 1, "first": 0, "entries": len(entries), "type": "OD", "injective": injective
    }  # fmt: skip
    rescale = volume.attributes["rescale"]
    assert (rescale["applied"], rescale["unit"], rescale["slope"]) == (True, "OD", 1)
    digests = [hashlib.sha256(frame.tobytes()).hexdigest() for frame in pixels]
    assert volume.frames.pixel_digest.tolist() == digests
    kept = volume.headers()[0].ModalityLUTSequence[0].LUTData
    assert list(kept) == entries.tolist()
    if injective:
        back = np.argsort(entries)[np.searchsorted(np.sort(entries), volume.array[:])]
        assert np.array_equal(back, pixels)


@pytest.mark.parametrize(("padding", "unique"), [(0, True), (7, False)])
def test_padding_through_a_modality_lut(tmp_path, volume_of, padding, unique):
    entries = np.arange(4096) * 2 + 5
    entries[7] = entries[8]
    pixels = pixel_kinds.picture((1, 16, 20), 12)
    pixel_kinds.write(tmp_path / "in/a.dcm", pixels, "MONOCHROME2", bits=12,
                      ModalityLUTSequence=[lut_item(entries)], PixelPaddingValue=padding,
                      )  # fmt: skip
    volume = volume_of(tmp_path / "in")
    assert volume.attributes["padding"] == ([5, 5] if unique else None)


def test_monochrome1_is_kept_as_it_is(tmp_path, volume_of):
    pixels = pixel_kinds.picture((1, 16, 20), 12)
    pixel_kinds.write(tmp_path / "in/a.dcm", pixels, "MONOCHROME1", bits=12)
    volume = volume_of(tmp_path / "in")
    assert np.array_equal(volume.array[:], pixels)
    assert volume.attributes["photometric"] == "MONOCHROME1"
    assert volume.ome["omero"]["channels"][0]["inverted"]


def test_kinds_that_differ_are_volumes_of_their_own(tmp_path):
    """One series: palettes of 8 and of 16 bits, RGB, grey with and without a LUT."""
    grey = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    entries = np.random.default_rng(0).integers(0, 256, (256, 3))
    kinds = {
        "eight": (grey, "PALETTE COLOR", pixel_kinds.palette(entries, bits=8)),
        "sixteen": (grey, "PALETTE COLOR", pixel_kinds.palette(entries, bits=16)),
        "rgb": (pixel_kinds.picture((1, 16, 16, 3)), "RGB", {}),
        "grey": (grey, "MONOCHROME2", {}),
        "mapped": (grey, "MONOCHROME2", {"ModalityLUTSequence": [lut_item(range(256))]}),
    }
    for name, (pixels, photometric, tags) in kinds.items():
        path = tmp_path / f"in/{name}.dcm"
        ds = pixel_kinds.write(path, pixels, photometric, **tags)
        ds.SeriesInstanceUID, ds.StudyInstanceUID = "1.2.3.1", "1.2.3.2"
        synth.write(ds, path)
    report = sansfilm.ingest(tmp_path / "in", tmp_path / "archive", options=SMALL)
    assert report.problems == []
    assert len(report.volumes) == len(kinds)
    assert sorted(volume["dtype"] for volume in report.volumes) == [
        "uint16", "uint16", "uint8", "uint8", "uint8"
    ]  # fmt: skip


def test_bad_palettes_and_frames_are_problems_with_their_frames(tmp_path):
    pixels = np.zeros((4, 16, 16), np.uint8)
    tags = pixel_kinds.palette(np.zeros((256, 3), int))
    short = {**tags, "RedPaletteColorLookupTableData": b"\0" * 100}
    pixel_kinds.write(tmp_path / "in/short.dcm", pixels, "PALETTE COLOR", **short)
    rgb = pixel_kinds.picture((2, 16, 16, 3))
    ds = pixel_kinds.write(tmp_path / "in/cut.dcm", rgb, "RGB", synth.JPEG_LS)
    frames = [pixel_kinds.encode(ds, frame) for frame in rgb]
    pixel_kinds.write(tmp_path / "in/cut.dcm", rgb, "RGB", synth.JPEG_LS,
                      frames=[frames[0], frames[1][:60]])  # fmt: skip
    report = sansfilm.ingest(tmp_path / "in", tmp_path / "archive", options=SMALL)
    assert report.volumes == []
    codes = {(problem.code, problem.frames) for problem in report.problems}
    assert (ProblemCode.BAD_LUT, 4) in codes
    assert (ProblemCode.DECODE_FAILED, 1) in codes
    assert report.frames["found"] == report.frames["in_problems"] == 6


def test_a_real_cine_in_colour(shared_data, volume_of, tmp_path):
    folder = shared_data / "us-cine" / "us-30frames-ybr422"
    volume = volume_of(folder)
    (path,) = folder.iterdir()
    reference = pixel_array(pydicom.dcmread(path))
    assert volume.axes == ("t", "c", "y", "x")
    ours = np.moveaxis(volume.array[:], 1, -1)
    error = np.abs(ours.astype(int) - reference)
    assert error.max() <= 5
    assert np.mean(error <= 3) >= 0.9999
    assert volume.attributes["photometric"] == "YBR_FULL_422"
    assert volume.attributes["lossy"]["is_lossy"]
    group = zarr.open_group(volume.uri, mode="r")
    assert group["0"].shape == (30, 3, 240, 320)
