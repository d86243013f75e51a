"""Segmentations from files to an archive and back, against highdicom and what was drawn."""

import json
from types import SimpleNamespace

import drawing
import highdicom
import numpy as np
import pydicom
import pytest
import yaozarrs
from drawing import canonical, draw, ingested, lab_of, masks, modes

import sansfilm
from sansfilm.planning.segments import to_srgb

pytestmark = pytest.mark.filterwarnings("ignore")
"""highdicom warns of its own database, and of attributes that synthetic images do not have."""


@pytest.fixture
def made(tmp_path):
    return drawing.images(tmp_path / "ct")


def test_segments_that_do_not_overlap_are_one_label_map(tmp_path, made):
    drawn = masks(made, 3)
    draw(made, tmp_path / "seg", drawn)
    volume = ingested(tmp_path / "a", made.folder, tmp_path / "seg")
    (image,) = (v for v in sansfilm.open(tmp_path / "a") if v.modality == "CT")
    assert volume.axes == ("z", "y", "x")
    assert volume.array.dtype == np.uint8
    np.testing.assert_array_equal(volume.array[:], drawn @ np.arange(1, 4))
    np.testing.assert_array_equal(volume.affine_lps, image.affine_lps)
    assert volume.array.shape == image.array.shape
    assert volume.verdict.code == "regular"
    numbers = volume.verdict.numbers
    assert (numbers["grid"], numbers["segments"], numbers["overlap"]) == ("referenced", 3, False)
    assert volume.attributes["missing"] == []
    assert volume.attributes["padding"] is None
    assert len(volume.levels) > 2
    for level, array in enumerate(volume.levels[1:], start=1):
        factors = volume.factors(level).astype(int)
        np.testing.assert_array_equal(array[:], modes(volume.array[:], factors))
    for row in volume.frames.itertuples():
        place = volume.affine_lps @ [np.ravel(row.index)[0], 0, 0, 1]
        np.testing.assert_allclose(place[:3], row.position, atol=1e-4)
    assert len(volume.headers()) == 1


def test_what_the_metadata_say(tmp_path, made):
    draw(made, tmp_path / "seg", masks(made, 2))
    volume = ingested(tmp_path / "a", made.folder, tmp_path / "seg")
    label = volume.ome["image-label"]
    assert [entry["label-value"] for entry in label["properties"]] == [1, 2]
    assert label["properties"][0] == {
        "label-value": 1, "label": "part 1", "category": "Organ", "type": "Liver",
        "algorithm": "MANUAL",
    }  # fmt: skip
    for entry in label["colors"]:
        np.testing.assert_allclose(entry["rgba"], [204, 102, 51, 255], atol=4)
    source = (tmp_path / "a" / volume.key / label["source"]["image"]).resolve()
    attributes = json.loads((source / "zarr.json").read_text())["attributes"]["sansfilm"]
    assert attributes["series_uid"] == made.series_uid
    assert volume.ome["multiscales"][0]["type"] == "mode"
    assert volume.attributes["segmentation"]["source"]["series_uids"] == [made.series_uid]
    yaozarrs.validate_zarr_store(volume.uri)


def test_segments_that_overlap_get_an_axis(tmp_path, made):
    drawn = masks(made, 3, overlap=True)
    draw(made, tmp_path / "seg", drawn)
    volume = ingested(tmp_path / "a", made.folder, tmp_path / "seg")
    assert volume.axes == ("segment", "z", "y", "x")
    expected = np.moveaxis(drawn, -1, 0) * np.arange(1, 4)[:, None, None, None]
    np.testing.assert_array_equal(volume.array[:], expected)
    assert volume.verdict.numbers["overlap"] is True
    assert volume.to_xarray()["segment"].values.tolist() == [1, 2, 3]
    for level, array in enumerate(volume.levels[1:], start=1):
        factors = volume.factors(level).astype(int)
        np.testing.assert_array_equal(array[:], modes(volume.array[:], factors))


def test_a_header_that_denies_the_overlap_is_not_believed(tmp_path, made):
    def edit(ds):
        ds.SegmentsOverlap = "NO"

    draw(made, tmp_path / "seg", masks(made, 2, overlap=True), edit=edit)
    assert ingested(tmp_path / "a", made.folder, tmp_path / "seg").axes[0] == "segment"


def in_bytes(ds):
    """Give each pixel a byte, as some writers do."""
    bits = np.unpackbits(np.frombuffer(ds.PixelData, "u1"), bitorder="little")
    ds.PixelData = bits[: ds.NumberOfFrames * ds.Rows * ds.Columns].tobytes()
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7


@pytest.mark.parametrize("edit", [None, in_bytes], ids=["bits", "bytes"])
@pytest.mark.parametrize("pixel", [(0, 0), (4, 6), None])
def test_one_shared_pixel_is_found_wherever_it_is(tmp_path, edit, pixel):
    """Frames of 35 pixels begin and end within bytes."""
    made = drawing.images(tmp_path / "ct", rows=5, columns=7)
    drawn = masks(made, 3)
    if pixel:
        drawn[6, pixel[0], pixel[1]] = 1
    draw(made, tmp_path / "seg", drawn, edit=edit)
    volume = ingested(tmp_path / "a", made.folder, tmp_path / "seg")
    assert volume.verdict.numbers["overlap"] == (pixel is not None)
    number = np.arange(1, 4)
    expected = drawn @ number if pixel is None else np.moveaxis(drawn * number, -1, 0)
    np.testing.assert_array_equal(volume.array[:], expected)


def test_fractions(tmp_path, made):
    rng = np.random.default_rng(5)
    drawn = rng.random((*made.stored.shape, 2)) * masks(made, 2, overlap=True)
    path = draw(made, tmp_path / "seg", drawn, "FRACTIONAL", max_fractional_value=200)
    volume = ingested(tmp_path / "a", made.folder, tmp_path / "seg")
    assert volume.axes == ("segment", "z", "y", "x")
    values = volume.to_xarray().values
    np.testing.assert_allclose(values, np.moveaxis(drawn, -1, 0), atol=0.5 / 200 + 1e-6)
    assert "image-label" not in volume.ome
    assert volume.attributes["segmentation"]["fractional_type"] == "PROBABILITY"
    full, factors = volume.array[:], volume.factors(1).astype(int)
    assert abs(volume.levels[1][:].mean() - full.mean()) < 1
    assert volume.levels[1].shape == tuple(-(-np.array(full.shape) // factors))
    assert pydicom.dcmread(path).MaximumFractionalValue == 200


def their_volume(path):
    """Return what highdicom makes of a segmentation: values (z, y, x), and the affine."""
    seg = highdicom.seg.segread(path)
    found = seg.get_volume(combine_segments=True)
    return found.array, found.affine


def test_alone_it_has_a_grid_of_its_own(tmp_path, made):
    """From the first slice with a segment to the last; the empty one between them is kept."""
    drawn = masks(made, 3)
    path = draw(made, tmp_path / "seg", drawn)
    volume = ingested(tmp_path / "a", tmp_path / "seg")
    assert volume.verdict.numbers["grid"] == "own"
    assert volume.verdict.code == "regular"
    assert "grid of its own" in volume.verdict.text
    assert volume.ome["image-label"].get("source") is None
    np.testing.assert_array_equal(volume.array[:], (drawn @ np.arange(1, 4))[1:-1])
    array, affine = canonical(*their_volume(path))
    np.testing.assert_allclose(volume.affine_lps, affine, atol=1e-4)
    np.testing.assert_array_equal(volume.array[:], array)


def test_the_grid_is_part_of_the_identity_and_the_later_volume_counts(tmp_path, made):
    draw(made, tmp_path / "seg", masks(made, 2))
    alone = ingested(tmp_path / "a", tmp_path / "seg")
    beside = ingested(tmp_path / "b", made.folder, tmp_path / "seg")
    assert alone.volume_id != beside.volume_id
    again = ingested(tmp_path / "c", tmp_path / "seg", made.folder)
    assert again.volume_id == beside.volume_id
    assert ingested(tmp_path / "a", made.folder, tmp_path / "seg").volume_id == beside.volume_id


def shifted(by):
    def edit(ds):
        planes = [f.PlanePositionSequence[0] for f in ds.PerFrameFunctionalGroupsSequence]
        for plane in {id(plane): plane for plane in planes}.values():  # segments share them
            plane.ImagePositionPatient = [
                float(old) + step for old, step in zip(plane.ImagePositionPatient, by, strict=True)
            ]

    return edit


@pytest.mark.parametrize(
    ("by", "grid"), [((0.01, 0.02, 0), "referenced"), ((0.3, 0, 0), "own"), ((500, 0, 0), "own")]
)
def test_only_what_lies_on_the_grid_is_laid_there(tmp_path, made, by, grid):
    drawn = masks(made, 2)
    draw(made, tmp_path / "seg", drawn, edit=shifted(by))
    volume = ingested(tmp_path / "a", made.folder, tmp_path / "seg")
    assert volume.verdict.numbers["grid"] == grid
    expected = drawn @ np.arange(1, 3)
    np.testing.assert_array_equal(
        volume.array[:], expected if grid == "referenced" else expected[1:-1]
    )


def test_a_part_of_the_plane_is_set_into_it(tmp_path, made):
    """Rows 5 to 20 and columns 3 to 12 of the images."""
    drawn = masks(made, 2)
    row, column = made.affine_lps[:3, 1] * 5, made.affine_lps[:3, 2] * 3
    part = drawn[:, 5:21, 3:13]
    small = SimpleNamespace(paths=[])  # the series as if its images were as large as the part
    (tmp_path / "small").mkdir()
    for number, path in enumerate(made.paths):
        ds = pydicom.dcmread(path)
        position = np.array(ds.ImagePositionPatient, float) + row + column
        ds.ImagePositionPatient = [f"{value:.8g}" for value in position]
        ds.Rows, ds.Columns = part.shape[1:3]
        ds.PixelData = np.zeros(part.shape[1:3], "u2").tobytes()
        small.paths.append(tmp_path / "small" / f"{number}.dcm")
        ds.save_as(small.paths[-1])
    draw(small, tmp_path / "seg", part)
    volume = ingested(tmp_path / "a", made.folder, tmp_path / "seg")
    assert volume.verdict.numbers["grid"] == "referenced"
    expected = np.zeros(made.stored.shape, int)
    expected[:, 5:21, 3:13] = part @ np.arange(1, 3)
    np.testing.assert_array_equal(volume.array[:], expected)


def test_frames_of_no_known_segment_are_kept_as_pictures(tmp_path, made):
    def edit(ds):
        frame = ds.PerFrameFunctionalGroupsSequence[0]
        frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 7

    draw(made, tmp_path / "seg", masks(made, 2), edit=edit)
    volume = ingested(tmp_path / "a", made.folder, tmp_path / "seg")
    assert volume.verdict.code == "series2d"
    assert "name no segment" in volume.verdict.text


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (lambda ds: delattr(ds, "SegmentSequence"), "BAD_VALUE"),
        (lambda ds: setattr(ds, "SegmentationType", "BLURRED"), "BAD_VALUE"),
        (lambda ds: setattr(ds.SegmentSequence[0], "SegmentNumber", 2), "BAD_VALUE"),
        (lambda ds: setattr(ds, "TotalPixelMatrixColumns", 100), "BAD_VALUE"),
    ],
    ids=["no segments", "no type", "a number twice", "a slide"],
)
def test_segmentations_that_cannot_be(tmp_path, made, edit, code):
    path = draw(made, tmp_path / "seg", masks(made, 2), edit=edit)
    report = sansfilm.ingest(tmp_path / "seg", tmp_path / "a", workers=1)
    assert [problem.code for problem in report.problems] == [code]
    assert report.frames["in_problems"] == pydicom.dcmread(path).NumberOfFrames


def test_segment_numbers_beyond_a_byte(tmp_path, made):
    def edit(ds):
        ds.SegmentSequence[1].SegmentNumber = 300
        for frame in ds.PerFrameFunctionalGroupsSequence:
            item = frame.SegmentIdentificationSequence[0]
            if item.ReferencedSegmentNumber == 2:
                item.ReferencedSegmentNumber = 300

    drawn = masks(made, 2)
    draw(made, tmp_path / "seg", drawn, edit=edit)
    volume = ingested(tmp_path / "a", made.folder, tmp_path / "seg")
    assert volume.array.dtype == np.uint16
    np.testing.assert_array_equal(volume.array[:], drawn @ [1, 300])


@pytest.mark.parametrize("rgb", [(0, 0, 0), (255, 255, 255), (255, 0, 0), (30, 144, 255)])
def test_colours_come_back(rgb):
    """Little CMS gives Lab of 8 bits."""
    lab = lab_of(rgb)
    coded = [lab[0] * 65535 / 100, *((part + 128) * 65535 / 255 for part in lab[1:])]
    np.testing.assert_allclose(to_srgb(coded), rgb, atol=6)


# ---------------------------------------------------------------------------------- real objects


@pytest.mark.parametrize("name", ["liver", "partial_overlaps"])
def test_objects_of_dcmqi(tmp_path, shared_data, name):
    """On the three images that they were drawn on, against highdicom's reading."""
    folder = shared_data / "seg" / "dcmqi-liver"
    images = [folder / f"0{number}.dcm" for number in (1, 2, 3)]
    volume = ingested(tmp_path / "a", *images, folder / f"{name}.dcm")
    assert volume.verdict.numbers["grid"] == "referenced"
    seg = highdicom.seg.segread(folder / f"{name}.dcm")
    uids = [str(pydicom.dcmread(path).SOPInstanceUID) for path in images]
    theirs = seg.get_pixels_by_source_instance(uids, ignore_spatial_locations=True,
                                              assert_missing_frames_are_empty=True)  # fmt: skip
    order = np.argsort([float(pydicom.dcmread(path).ImagePositionPatient[2]) for path in images])
    theirs = theirs[order]
    numbers = np.arange(1, theirs.shape[-1] + 1)
    if name == "liver":
        np.testing.assert_array_equal(volume.array[:], theirs @ numbers)
    else:
        np.testing.assert_array_equal(volume.array[:], np.moveaxis(theirs * numbers, -1, 0))


def test_every_codec_gives_the_same_labels(tmp_path, shared_data):
    found = {}
    for path in sorted((shared_data / "seg" / "pydicom-liver").iterdir()):
        volume = ingested(tmp_path / path.stem, path)
        found.setdefault(volume.array.shape, []).append(volume.array[:])
    assert sorted(map(len, found.values())) == [4, 4]
    for same in found.values():
        assert same[0].any()
        for other in same[1:]:
            np.testing.assert_array_equal(other, same[0])


def test_a_segmentation_of_our_own(tmp_path, data):
    volume = ingested(tmp_path / "a", data / "seg")
    array, affine = canonical(*their_volume(data / "seg" / "seg_image_ct_binary.dcm"))
    np.testing.assert_array_equal(volume.array[:], array)
    np.testing.assert_allclose(volume.affine_lps, affine, atol=1e-4)
