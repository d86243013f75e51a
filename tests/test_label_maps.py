"""Label map segmentations (PS3.3 C.8.20.2) to an archive and back, against highdicom's reading."""

import drawing
import highdicom
import numpy as np
import pydicom
import pytest
import synth
import yaozarrs
from drawing import canonical, draw, ingested, masks, modes

import sansfilm

pytestmark = pytest.mark.filterwarnings("ignore")
"""highdicom warns of its own database, and of attributes that synthetic images do not have."""

COLOURS = np.array([[0, 0, 0], [250, 10, 20], [30, 240, 40], [50, 60, 230]])


@pytest.fixture
def made(tmp_path):
    return drawing.images(tmp_path / "ct")


def label_map(made, folder, drawn, **more):
    return draw(made, folder, drawn, "LABELMAP", **more)


def palette(bits, first=0):
    """Return a palette in which number n has the colour n of COLOURS."""
    scale, dtype = (1, np.uint8) if bits == 8 else (257, np.uint16)
    tables = (COLOURS[first:] * scale).astype(dtype).T
    return highdicom.PaletteColorLUTTransformation(
        *(highdicom.PaletteColorLUT(first, table, name)
          for table, name in zip(tables, ("red", "green", "blue"), strict=True))
    )  # fmt: skip


def numbers_of(path):
    """Return the numbers of each frame as they were encoded, in the order of the file."""
    ds = pydicom.dcmread(path)
    dtype = f"u{ds.BitsAllocated // 8}"
    return np.frombuffer(ds.PixelData, dtype, ds.NumberOfFrames * ds.Rows * ds.Columns).reshape(
        -1, ds.Rows, ds.Columns
    )


def change(path, edit):
    """Write a file once more, with the numbers that `edit` leaves in an array (frame, y, x)."""
    ds, numbers = pydicom.dcmread(path), numbers_of(path).copy()
    edit(ds, numbers)
    ds.PixelData = numbers.tobytes()
    ds.save_as(path)


def test_it_becomes_what_the_same_segments_one_by_one_do(tmp_path, made):
    drawn = masks(made, 3)
    path = label_map(made, tmp_path / "seg", drawn)
    assert pydicom.dcmread(path).SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.7"
    draw(made, tmp_path / "bits", drawn)
    volume = ingested(tmp_path / "a", made.folder, tmp_path / "seg")
    other = ingested(tmp_path / "b", made.folder, tmp_path / "bits")
    assert volume.axes == other.axes == ("z", "y", "x")
    assert volume.array.dtype == np.uint8
    for array, expected in zip(volume.levels, other.levels, strict=True):
        np.testing.assert_array_equal(array[:], expected[:])
    np.testing.assert_array_equal(volume.array[:], drawn @ np.arange(1, 4))
    np.testing.assert_array_equal(volume.affine_lps, other.affine_lps)
    assert volume.verdict == other.verdict
    assert volume.verdict.numbers["grid"] == "referenced"
    assert volume.verdict.numbers["segments"] == 3
    assert volume.attributes["notes"] == []
    assert volume.ome["image-label"]["source"] == other.ome["image-label"]["source"]
    for level, array in enumerate(volume.levels[1:], start=1):
        factors = volume.factors(level).astype(int)
        np.testing.assert_array_equal(array[:], modes(volume.array[:], factors))
    assert len(volume.frames) == pydicom.dcmread(path).NumberOfFrames
    yaozarrs.validate_zarr_store(volume.uri)


def test_alone_it_lies_where_highdicom_puts_it(tmp_path, made):
    path = label_map(made, tmp_path / "seg", masks(made, 3))
    volume = ingested(tmp_path / "a", tmp_path / "seg")
    assert volume.verdict.numbers["grid"] == "own"
    found = highdicom.seg.segread(path).get_volume(combine_segments=True)
    array, affine = canonical(found.array, found.affine)
    np.testing.assert_array_equal(volume.array[:], array)
    np.testing.assert_allclose(volume.affine_lps, affine, atol=1e-4)


def test_names_and_a_transparent_background(tmp_path, made):
    label_map(made, tmp_path / "seg", masks(made, 2))
    volume = ingested(tmp_path / "a", made.folder, tmp_path / "seg")
    label = volume.ome["image-label"]
    named = {entry["label-value"]: entry["label"] for entry in label["properties"]}
    assert named == {0: "Background", 1: "part 1", 2: "part 2"}
    colours = {entry["label-value"]: entry["rgba"] for entry in label["colors"]}
    assert colours[0] == [0, 0, 0, 0]
    for number in (1, 2):
        np.testing.assert_allclose(colours[number], [204, 102, 51, 255], atol=4)
    assert volume.attributes["segmentation"]["type"] == "LABELMAP"
    assert volume.attributes["segmentation"]["background"] == 0
    assert volume.attributes["segmentation"]["undescribed"] == []


@pytest.mark.parametrize("bits", [8, 16])
def test_colours_of_the_palette(tmp_path, made, bits):
    """The voxels are numbers, not what the palette makes of them."""
    drawn = masks(made, 3)
    path = label_map(
        made, tmp_path / "seg", drawn, colours=False,
        palette_color_lut_transformation=palette(bits),
    )  # fmt: skip
    assert pydicom.dcmread(path).PhotometricInterpretation == "PALETTE COLOR"
    volume = ingested(tmp_path / "a", made.folder, tmp_path / "seg")
    np.testing.assert_array_equal(volume.array[:], drawn @ np.arange(1, 4))
    colours = {entry["label-value"]: entry["rgba"] for entry in volume.ome["image-label"]["colors"]}
    assert colours == {0: [0, 0, 0, 0]} | {n: [*COLOURS[n].tolist(), 255] for n in (1, 2, 3)}


def test_a_number_beyond_the_palette_has_no_colour(tmp_path, made):
    def edit(ds, _):
        ds.SegmentSequence[-1].SegmentNumber = 9

    path = label_map(made, tmp_path / "seg", masks(made, 3), colours=False,
                     palette_color_lut_transformation=palette(8))  # fmt: skip
    change(path, edit)
    volume = ingested(tmp_path / "a", made.folder, tmp_path / "seg")
    colours = {entry["label-value"] for entry in volume.ome["image-label"]["colors"]}
    assert colours == {0, 1, 2}


@pytest.mark.parametrize("syntax", [synth.RLE, "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"])
@pytest.mark.parametrize("coloured", [False, True])
def test_compressed(tmp_path, made, syntax, coloured):
    drawn = masks(made, 3)
    more = {"palette_color_lut_transformation": palette(8)} if coloured else {}
    label_map(made, tmp_path / "seg", drawn, transfer_syntax_uid=syntax, colours=False, **more)
    volume = ingested(tmp_path / "a", made.folder, tmp_path / "seg")
    np.testing.assert_array_equal(volume.array[:], drawn @ np.arange(1, 4))


def test_numbers_beyond_a_byte(tmp_path, made):
    def edit(ds):
        for segment in ds.SegmentSequence:
            segment.SegmentNumber = {0: 0, 1: 1, 2: 60000}[segment.SegmentNumber]
        wide = np.array([0, 1, 60000], "<u2")[np.frombuffer(ds.PixelData, "u1")]
        ds.BitsAllocated = ds.BitsStored = 16
        ds.HighBit, ds.PixelData = 15, wide[: ds.NumberOfFrames * ds.Rows * ds.Columns].tobytes()

    drawn = masks(made, 2)
    label_map(made, tmp_path / "seg", drawn, edit=edit)
    volume = ingested(tmp_path / "a", made.folder, tmp_path / "seg")
    assert volume.array.dtype == np.uint16
    np.testing.assert_array_equal(volume.array[:], drawn @ [1, 60000])


def test_the_class_of_the_others_is_no_hindrance(tmp_path, made):
    """LABELMAP belongs to a class of its own; the type says the same without it."""

    def edit(ds):
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"

    drawn = masks(made, 2)
    label_map(made, tmp_path / "seg", drawn, edit=edit)
    volume = ingested(tmp_path / "a", made.folder, tmp_path / "seg")
    np.testing.assert_array_equal(volume.array[:], drawn @ [1, 2])


# ------------------------------------------------------------------------------------ background


def test_what_no_frame_covers_is_background(tmp_path, made):
    """Pixel Padding Value is that of the background, which no segment has to describe."""

    def edit(ds, numbers):
        numbers[numbers == 0] = 200
        ds.PixelPaddingValue = 200
        del ds.SegmentSequence[0]

    drawn = masks(made, 2)
    change(label_map(made, tmp_path / "seg", drawn), edit)
    volume = ingested(tmp_path / "a", made.folder, tmp_path / "seg")
    expected = drawn @ [1, 2]
    expected[expected == 0] = 200
    assert (expected[0] == 200).all()
    np.testing.assert_array_equal(volume.array[:], expected)
    assert volume.attributes["notes"] == []
    assert volume.attributes["segmentation"]["background"] == 200
    assert volume.ome["image-label"]["colors"][-1] == {"label-value": 200, "rgba": [0, 0, 0, 0]}
    assert volume.ome["omero"]["channels"][0]["window"]["max"] == 200


@pytest.mark.parametrize("told", [True, False], ids=["padding", "no padding"])
def test_where_0_may_be_a_segment_it_is_said(tmp_path, made, told):
    def edit(ds, _):
        if not told:
            del ds.PixelPaddingValue

    change(label_map(made, tmp_path / "seg", masks(made, 2)), edit)
    volume = ingested(tmp_path / "a", made.folder, tmp_path / "seg")
    assert len(volume.attributes["notes"]) == (not told)
    assert volume.verdict.numbers["segments"] == (2 if told else 3)


def test_without_padding_and_a_segment_of_number_0_that_is_background(tmp_path, made):
    def edit(ds, _):
        del ds.PixelPaddingValue, ds.SegmentSequence[0]

    change(label_map(made, tmp_path / "seg", masks(made, 2)), edit)
    volume = ingested(tmp_path / "a", made.folder, tmp_path / "seg")
    assert volume.attributes["notes"] == []
    assert volume.attributes["segmentation"]["background"] is None


# ------------------------------------------------------------------------------------- bad input


def test_numbers_that_no_segment_describes_are_kept_and_told(tmp_path, made):
    def edit(_, numbers):
        numbers[0, 3, 4], numbers[-1, 0, 0], numbers[1, 1, 1] = 77, 9, 77

    path = label_map(made, tmp_path / "seg", masks(made, 2))
    change(path, edit)
    volume = ingested(tmp_path / "a", made.folder, tmp_path / "seg")
    assert np.unique(volume.array[:]).tolist() == [0, 1, 2, 9, 77]
    assert volume.attributes["segmentation"]["undescribed"] == [9, 77]
    assert volume.attributes["notes"] == ["Voxels hold numbers that no segment describes: 9, 77."]
    assert volume.ome["omero"]["channels"][0]["window"]["max"] == 77
    frames = {row.frame_number: np.ravel(row.index)[0] for row in volume.frames.itertuples()}
    for number, stored in enumerate(numbers_of(path), start=1):
        np.testing.assert_array_equal(volume.array[int(frames[number])], stored)


def test_a_number_above_the_bits_stored_is_kept_and_told(tmp_path, made):
    """Cut off, 18 would become 2: another segment."""

    def edit(ds, numbers):
        ds.BitsStored, ds.HighBit, numbers[0, 3, 4] = 4, 3, 18

    change(label_map(made, tmp_path / "seg", masks(made, 2)), edit)
    volume = ingested(tmp_path / "a", made.folder, tmp_path / "seg")
    assert np.unique(volume.array[:]).tolist() == [0, 1, 2, 18]
    assert volume.attributes["segmentation"]["undescribed"] == [18]


def signed(ds):
    ds.PixelRepresentation = 1


def shifted(ds):
    ds.BitsStored, ds.HighBit = 4, 7


def without_numbers(ds):
    del ds.SegmentSequence[1].SegmentNumber


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (lambda ds: delattr(ds, "SegmentSequence"), "BAD_VALUE"),
        (lambda ds: setattr(ds, "SegmentSequence", []), "BAD_VALUE"),
        (lambda ds: setattr(ds.SegmentSequence[1], "SegmentNumber", 2), "BAD_VALUE"),
        (without_numbers, "BAD_VALUE"),
        (signed, "BAD_VALUE"),
        (shifted, "BAD_VALUE"),
        (lambda ds: setattr(ds, "TotalPixelMatrixColumns", 100), "BAD_VALUE"),
        (lambda ds: setattr(ds, "PhotometricInterpretation", "PALETTE COLOR"), "BAD_LUT"),
    ],
    ids=["no segments", "none at all", "a number twice", "a segment without a number", "signed",
         "high bits", "a slide", "no palette"],
)  # fmt: skip
def test_label_maps_that_cannot_be(tmp_path, made, edit, code):
    path = label_map(made, tmp_path / "seg", masks(made, 2), edit=edit)
    report = sansfilm.ingest(tmp_path / "seg", tmp_path / "a", workers=1)
    assert [problem.code for problem in report.problems] == [code]
    assert report.frames["in_problems"] == pydicom.dcmread(path).NumberOfFrames


def of_an_unknown_series(ds):
    ds.ReferencedSeriesSequence[0].SeriesInstanceUID = "1.2.9.77"


def of_no_series(ds):
    del ds.ReferencedSeriesSequence


@pytest.mark.parametrize("edit", [of_an_unknown_series, of_no_series])
def test_without_a_known_reference_the_grid_is_its_own(tmp_path, made, edit):
    drawn = masks(made, 2)
    label_map(made, tmp_path / "seg", drawn, edit=edit)
    volume = ingested(tmp_path / "a", made.folder, tmp_path / "seg")
    assert volume.verdict.numbers["grid"] == "own"
    np.testing.assert_array_equal(volume.array[:], (drawn @ [1, 2])[1:-1])


def without_positions(ds):
    for frame in ds.PerFrameFunctionalGroupsSequence:
        del frame.PlanePositionSequence


def all_at_one_place(ds):
    first = ds.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence
    for frame in ds.PerFrameFunctionalGroupsSequence:
        frame.PlanePositionSequence = first


@pytest.mark.parametrize("edit", [without_positions, all_at_one_place])
def test_frames_without_cells_are_pictures_of_numbers(tmp_path, made, edit):
    path = label_map(made, tmp_path / "seg", masks(made, 2), edit=edit)
    volume = ingested(tmp_path / "a", made.folder, tmp_path / "seg")
    assert volume.verdict.code == "series2d"
    assert volume.axes == ("i", "y", "x")
    assert ("share a place" in volume.verdict.text) == (edit is all_at_one_place)
    np.testing.assert_array_equal(volume.array[:], numbers_of(path))
    assert volume.ome["multiscales"][0]["type"] == "mode"
    for level, array in enumerate(volume.levels[1:], start=1):
        factors = volume.factors(level).astype(int)
        np.testing.assert_array_equal(array[:], modes(volume.array[:], factors))
    assert len(volume.ome["image-label"]["properties"]) == 3
