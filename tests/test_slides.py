"""Whole-slide images end to end: tiles in their place, the slide's own levels, nothing twice."""

import io
import random
import warnings

import imagecodecs
import numpy as np
import pydicom
import pytest
import synth
from hypothesis import given, settings
from hypothesis import strategies as st
from multiframe import write_encapsulated
from slides import ORIENTATION, ORIGIN, SPACING, slide

import sansfilm
from sansfilm.cli.main import main
from sansfilm.errors import ProblemCode


@pytest.fixture
def read(tmp_path_factory):
    """Ingest a folder; return its volumes, the largest first, and the report."""

    def ingest(folder):
        archive = tmp_path_factory.mktemp("slides") / "archive"
        report = sansfilm.ingest(folder, archive)
        return sorted(sansfilm.open(archive), key=lambda volume: -volume.array.size), report

    return ingest


def whole(pixels):
    """Return pixels (path, plane, y, x[, c]) as a level has them."""
    if pixels.ndim == 5:
        return np.moveaxis(pixels[0], -1, 0)
    return pixels if pixels.shape[0] > 1 else pixels[0]


def assert_levels(volume, made):
    for level, pixels in enumerate(made.pixels):
        np.testing.assert_array_equal(volume.levels[level][:], whole(pixels))


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"syntax": synth.RLE, "samples": 1},
        {"samples": 1, "optical_paths": 3},
        {"samples": 1, "optical_paths": 2, "planes": 3},
        {"planes": 2},
        {"tile": (700, 500), "sizes": [(700, 500)]},
        {"tile": (512, 512), "sizes": [(300, 200), (75, 50)]},
    ],
)
def test_levels_are_the_slides_own(tmp_path, arguments, sparse, read):
    made = slide(tmp_path, sparse=sparse, **arguments)
    (volume,), report = read(tmp_path)
    assert_levels(volume, made)
    assert report.frames["found"] == report.frames["stored"] == len(volume.frames)
    assert not report.problems
    assert volume.verdict.code == "tiled"
    numbers = volume.verdict.numbers
    assert [level["covered"] for level in numbers["levels"]] == [1] * len(made.pixels)
    assert volume.spacing_mm[-2:] == (SPACING, SPACING)
    for level, pixels in enumerate(made.pixels):
        expected = np.round(made.pixels[0].shape[2] / pixels.shape[2])
        np.testing.assert_allclose(volume.factors(level)[-2:], expected)


def test_info_tells_of_each_level(tmp_path, capsys):
    made = slide(tmp_path / "in")
    sansfilm.ingest(tmp_path / "in", tmp_path / "archive")
    assert main(["info", str(tmp_path / "archive"), made.series_uid]) == 0
    told = capsys.readouterr().out
    assert "rows 350, columns 250, tile 64, 48, factors 2, 2, tiles 36, covered 1\n" in told


def test_axes_and_their_values(tmp_path, read):
    slide(tmp_path, samples=1, optical_paths=3, planes=2)
    (volume,), _ = read(tmp_path)
    assert volume.axes == ("optical_path", "z", "y", "x")
    assert volume.attributes["axes_values"]["optical_path"]["values"] == ["1", "2", "3"]
    assert volume.spacing_mm[1] == pytest.approx(0.002)
    (picture,) = volume.show(optical_path=1, z=1).axes
    assert picture.images


def test_planes_at_unknown_distances_have_no_place(tmp_path, read):
    def edit(ds, _):
        del ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices

    slide(tmp_path, samples=1, planes=3, edit=edit)
    (volume,), _ = read(tmp_path)
    assert volume.spacing_mm[0] is None
    assert volume.attributes["slide"]["affine_slide"] is None
    z = volume.attributes["axes_values"]["z"]
    assert (z["values"], z["unit"]) == ([0, 1, 2], "")


def test_colour_paths_are_volumes(tmp_path, read):
    made = slide(tmp_path, optical_paths=2)
    found, _ = read(tmp_path)
    assert len(found) == 2
    for volume in found:
        path = int(volume.attributes["slide"]["optical_paths"][0]) - 1
        np.testing.assert_array_equal(volume.array[:], whole(made.pixels[0][path : path + 1]))


def test_every_frame_is_traced(tmp_path, read):
    made = slide(tmp_path, samples=1, sparse=True)
    (volume,), _ = read(tmp_path)
    sources = {pydicom.dcmread(path).SOPInstanceUID: pydicom.dcmread(path) for path in made.paths}
    for row in volume.frames.itertuples():
        ds = sources[row.sop_instance_uid]
        pixels = ds.pixel_array[row.frame_number - 1]
        z, y, x = row.index
        level = volume.levels[row.level]
        here = level[z, y : y + 64, x : x + 48]
        np.testing.assert_array_equal(here, pixels[: here.shape[0], : here.shape[1]])


def test_smallest_level_is_reduced_further(tmp_path, read):
    made = slide(tmp_path, sizes=[(700, 500), (350, 250)])
    (volume,), _ = read(tmp_path)
    base = whole(made.pixels[1]).astype(np.int64)
    for level in range(2, len(volume.levels)):
        step = 2 ** (level - 1)
        shape = volume.levels[level].shape
        found = volume.levels[level][:]
        for y in range(0, shape[-2], 7):
            for x in range(0, shape[-1], 5):
                cell = base[..., y * step : (y + 1) * step, x * step : (x + 1) * step]
                count = cell.shape[-2] * cell.shape[-1]
                mean = (2 * cell.sum(axis=(-2, -1)) + count) // (2 * count)
                np.testing.assert_array_equal(found[..., y, x], mean)
    assert max(volume.levels[-1].shape[-2:]) <= 64


@settings(max_examples=25, deadline=None)
@given(
    size=st.tuples(st.integers(1, 400), st.integers(1, 400)),
    tile=st.tuples(st.integers(20, 130), st.integers(20, 130)),
    slab=st.sampled_from([2**12, 2**15, 2**20]),
    sparse=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_size_of_slide_tile_and_slab(tmp_path_factory, size, tile, slab, sparse, seed):
    folder = tmp_path_factory.mktemp("slide")
    chance = random.Random(seed)

    def keep(row, column):
        return not sparse or row + column == 0 or chance.random() < 0.7

    made = slide(folder, sizes=[size], tile=tile, samples=1, sparse=sparse, seed=seed, keep=keep)
    options = sansfilm.Options(storage=sansfilm.Storage(slab_bytes=slab))
    (volume,) = sansfilm.read(folder, options=options)
    assert_levels(volume, made)
    frames = pydicom.dcmread(made.paths[0], stop_before_pixels=True).NumberOfFrames
    assert len(volume.frames) == frames
    (level,) = volume.verdict.numbers["levels"]
    covered = sum(
        (min(y + tile[0], size[0]) - y) * (min(x + tile[1], size[1]) - x)
        for _, y, x in volume.frames["index"]
    )
    assert level["covered"] == pytest.approx(covered / (size[0] * size[1]))


def test_tiles_that_are_missing_are_white_and_counted(tmp_path, read):
    made = slide(tmp_path, sparse=True, keep=lambda row, column: row != 64)
    (volume,), report = read(tmp_path)
    assert_levels(volume, made)
    assert volume.verdict.numbers["levels"][0]["covered"] < 1
    assert "filled" in volume.verdict.text
    assert not report.problems


def test_recommended_colour_of_absent_pixels(tmp_path, read):
    def edit(ds, _):
        ds.RecommendedAbsentPixelCIELabValue = [0, 32896, 32896]  # L* 0: black

    slide(tmp_path, sparse=True, keep=lambda row, column: row + column == 0, edit=edit)
    (volume,), _ = read(tmp_path)
    assert not volume.array[:, 0, 100:, 100:].any()


def test_tiles_off_the_raster(tmp_path):
    """Positions of TILED_SPARSE may be anywhere: shifted by 5 pixels, the edges stay empty."""

    def edit(ds, _):
        for group in ds.PerFrameFunctionalGroupsSequence:
            group.PlanePositionSlideSequence[0].RowPositionInTotalImagePixelMatrix += 5

    made = slide(tmp_path, sizes=[(700, 500)], samples=1, sparse=True, edit=edit)
    options = sansfilm.Options(storage=sansfilm.Storage(slab_bytes=2**14))
    (volume,) = sansfilm.read(tmp_path, options=options)
    assert not volume.array[0, :5].any()
    np.testing.assert_array_equal(volume.array[0, 5:], made.pixels[0][0, 0, :-5])


def test_overlapping_tiles_stay_pictures(tmp_path, read):
    def edit(ds, _):
        place = ds.PerFrameFunctionalGroupsSequence[3].PlanePositionSlideSequence[0]
        place.RowPositionInTotalImagePixelMatrix += 3

    slide(tmp_path, sizes=[(200, 200)], sparse=True, samples=1, edit=edit)
    (volume,), report = read(tmp_path)
    assert volume.verdict.code == "series2d"
    assert "overlap" in volume.verdict.text
    assert report.frames["found"] == report.frames["stored"] == volume.array.shape[0]


def test_instances_that_cover_the_same_stay_apart(tmp_path, read):
    first = slide(tmp_path / "a", sizes=[(200, 200)])

    def edit(ds, _):
        ds.SOPInstanceUID += ".7"

    second = slide(tmp_path / "b", sizes=[(200, 200)], edit=edit)
    found, _ = read(tmp_path)
    assert len(found) == 2
    for volume in found:
        assert_levels(volume, first)
    assert_levels(found[0], second)


def test_another_aspect_is_no_level(tmp_path, read):
    slide(tmp_path, sizes=[(700, 500), (350, 100)])
    found, _ = read(tmp_path)
    assert [volume.array.shape[-2:] for volume in found] == [(700, 500), (350, 100)]


def test_labels_and_overviews_are_volumes_of_their_own(tmp_path, read):
    slide(tmp_path)

    def edit(ds, _):
        ds.SOPInstanceUID += ".7"
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID

    slide(tmp_path / "label", sizes=[(350, 250)], flavor="LABEL", edit=edit)
    found, _ = read(tmp_path)
    assert [volume.attributes["slide"]["flavor"] for volume in found] == ["VOLUME", "LABEL"]
    assert found[1].verdict.text.startswith("The label of a slide")


def test_concatenation_is_one_level(tmp_path, read):
    """A level that was cut into several instances (PS3.3 C.7.6.16.1.1)."""
    whole_slide = slide(tmp_path / "whole", sizes=[(200, 150)])
    ds = pydicom.dcmread(whole_slide.paths[0])
    frames = ds.pixel_array
    (tmp_path / "parts").mkdir()
    for number, (start, stop) in enumerate([(0, 5), (5, len(frames))]):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number + 1}"
        ds.ConcatenationUID, ds.ConcatenationFrameOffsetNumber = "1.2.3", start
        ds.NumberOfFrames = stop - start
        ds.PixelData = frames[start:stop].tobytes()
        ds.save_as(tmp_path / "parts" / f"{number}.dcm")
    (volume,), _ = read(tmp_path / "parts")
    assert_levels(volume, whole_slide)


def test_place_on_the_slide(tmp_path, read):
    from highdicom.spatial import PixelToReferenceTransformer

    slide(tmp_path, sparse=True)
    (volume,), _ = read(tmp_path)
    affine = np.array(volume.attributes["slide"]["affine_slide"])
    oracle = PixelToReferenceTransformer((*ORIGIN, 0.0), ORIENTATION, (SPACING, SPACING))
    points = np.array([[0, 0], [7, 3], [499, 699]])  # column, row
    expected = oracle(points)
    ours = affine @ np.array([[0, row, column, 1] for column, row in points]).T
    np.testing.assert_allclose(ours[:3].T, expected, atol=1e-9)
    row = volume.frames[volume.frames["level"] == 0].iloc[1]
    _, y, x = row["index"]
    np.testing.assert_allclose(row["position"], oracle(np.array([[x, y]]))[0], atol=1e-9)


def _all(row, column):
    return True


def _not_all(row, column):
    return row != 64


def test_wsidicom_reads_the_same(tmp_path, read):
    wsidicom = pytest.importorskip("wsidicom")
    for folder, keep in ((tmp_path / "full", _all), (tmp_path / "sparse", _not_all)):
        made = slide(folder, sparse=keep is _not_all, keep=keep)
        (volume,), _ = read(folder)
        with wsidicom.WsiDicom.open(list(made.paths)) as oracle:
            assert len(oracle.levels) == len(made.pixels)
            for level, theirs in enumerate(oracle.levels):
                ours = np.moveaxis(volume.levels[level][:, 0], 0, -1)
                size = theirs.size.width, theirs.size.height
                assert ours.shape[1::-1] == size
                region = oracle.read_region((0, 0), theirs.level, size).convert("RGB")
                np.testing.assert_array_equal(ours, np.asarray(region))


def test_jpeg_tiles(tmp_path, read):
    made = slide(tmp_path, sizes=[(200, 150)])
    ds = pydicom.dcmread(made.paths[0])
    frames = [imagecodecs.jpeg8_encode(f, 90, colorspace="rgb", outcolorspace="ycbcr",
                                       subsampling="444") for f in ds.pixel_array]  # fmt: skip
    ds.PhotometricInterpretation = "YBR_FULL_422"
    ds.file_meta.TransferSyntaxUID = synth.JPEG_BASELINE
    del ds.PixelData
    write_encapsulated(ds, frames, made.paths[0])
    (volume,), report = read(tmp_path)
    assert not report.problems
    error = np.abs(volume.array[:].astype(int) - whole(made.pixels[0]))
    assert error.mean() < 8


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"TotalPixelMatrixRows": 0}, ProblemCode.BAD_VALUE),
        ({"TotalPixelMatrixRows": None}, ProblemCode.BAD_VALUE),
        ({"TotalPixelMatrixRows": 4000}, ProblemCode.BAD_VALUE),
        ({"TotalPixelMatrixFocalPlanes": 2}, ProblemCode.BAD_VALUE),
        ({"TotalPixelMatrixRows": 2**32 - 1, "TotalPixelMatrixColumns": 2**32 - 1},
         ProblemCode.BUDGET),
    ],
    ids=["empty", "absent", "too-few-frames", "too-few-planes", "gigantic"],
)  # fmt: skip
def test_bad_matrices(tmp_path, changes, code):
    def edit(ds, _):
        for keyword, value in changes.items():
            if value is None:
                delattr(ds, keyword)
            else:
                setattr(ds, keyword, value)

    slide(tmp_path, sizes=[(200, 150)], edit=edit)
    report = sansfilm.ingest(tmp_path, tmp_path / "archive")
    assert {problem.code for problem in report.problems} == {code}
    assert report.frames["found"] == report.frames["in_problems"] == 16


@pytest.mark.parametrize("place", [-64, 701])
def test_tiles_outside_of_the_matrix(tmp_path, place):
    def edit(ds, _):
        group = ds.PerFrameFunctionalGroupsSequence[0].PlanePositionSlideSequence[0]
        group.RowPositionInTotalImagePixelMatrix = place

    slide(tmp_path, sizes=[(700, 500)], sparse=True, edit=edit)
    report = sansfilm.ingest(tmp_path, tmp_path / "archive")
    assert {problem.code for problem in report.problems} == {ProblemCode.BAD_VALUE}


def test_order_of_files_changes_nothing(tmp_path):
    made = slide(tmp_path / "a", sparse=True)
    first = sansfilm.read([str(path) for path in made.paths])
    again = sansfilm.read([str(path) for path in reversed(made.paths)])
    assert first[0].volume_id == again[0].volume_id


def test_store_passes_the_validators(tmp_path):
    from yaozarrs import validate_zarr_store

    for number, arguments in enumerate([{}, {"samples": 1, "optical_paths": 3, "planes": 2}]):
        slide(tmp_path / f"{number}", seed=number, **arguments)
        sansfilm.ingest(tmp_path / f"{number}", tmp_path / "archive")
    for volume in sansfilm.open(tmp_path / "archive"):
        validate_zarr_store(volume.uri)


def test_real_slide(read, shared_data):
    """Each level is what Pillow decodes of its tiles, laid side by side."""
    from PIL import Image

    folder = shared_data / "wsi" / "cmu-1-small-region"
    (volume,), report = read(folder)
    assert report.frames == {"found": 52, "stored": 52, "in_problems": 0}
    files = [pydicom.dcmread(path) for path in folder.glob("*.dcm")]
    files.sort(key=lambda ds: -ds.TotalPixelMatrixRows)
    assert len(volume.levels) == len(files) == 12
    for ds, level in zip(files, volume.levels, strict=True):
        rows, columns = ds.TotalPixelMatrixRows, ds.TotalPixelMatrixColumns
        across = -(-columns // ds.Columns)
        canvas = np.zeros((rows, columns, 3), np.uint8)
        frames = pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=ds.NumberOfFrames)
        for number, frame in enumerate(frames):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tile = np.asarray(Image.open(io.BytesIO(frame)).convert("RGB"))
            top, left = number // across * ds.Rows, number % across * ds.Columns
            part = canvas[top : top + ds.Rows, left : left + ds.Columns]
            part[...] = tile[: part.shape[0], : part.shape[1]]
        difference = np.abs(np.moveaxis(level[:, 0], 0, -1).astype(int) - canvas)
        assert difference.max() <= 1


def test_a_broken_tile_is_counted_once(tmp_path):
    """A tile larger than a slab is in several of them; each frame is one Problem all the same."""

    def edit(ds, _):
        for group in ds.PerFrameFunctionalGroupsSequence:
            place = group.PlanePositionSlideSequence[0]
            place.RowPositionInTotalImagePixelMatrix += 5

    made = slide(tmp_path, sizes=[(700, 500)], samples=1, sparse=True, edit=edit, syntax=synth.RLE)
    raw = bytearray(made.paths[0].read_bytes())
    last = raw.rindex(b"\xfe\xff\x00\xe0")
    raw[last + 8 : last + 12] = b"\xff\xff\xff\xff"  # segments of the last frame
    made.paths[0].write_bytes(raw)
    options = sansfilm.Options(storage=sansfilm.Storage(slab_bytes=2**14))
    report = sansfilm.ingest(tmp_path, tmp_path / "archive", options=options)
    frames = pydicom.dcmread(made.paths[0], stop_before_pixels=True).NumberOfFrames
    assert report.frames == {"found": frames, "stored": 0, "in_problems": frames}
