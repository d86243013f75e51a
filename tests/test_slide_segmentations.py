"""Segmentations of slides: written by highdicom, read back by it as the oracle."""

import highdicom
import numpy as np
import pydicom
import pytest
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentationTypeValues, SegmentDescription
from pydicom.sr.codedict import codes
from slides import slide

import sansfilm

SIZE, TILE = (200, 150), (64, 48)


def masks(count, *, overlap=False):
    """Return blobs (y, x, segment)."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    owner = (y // 30 + x // 20) % (count + 1)
    found = np.stack([owner == number + 1 for number in range(count)], axis=-1)
    if overlap:
        found |= (y % 50 < 20)[..., None]
    return found.astype(np.uint8)


def draw(folder, pixels, kind, organization):
    """Write a slide and its segmentation; return the path of the latter."""
    made = slide(folder / "images", sizes=[SIZE], tile=TILE)
    count = int(pixels.max()) if pixels.ndim == 2 else pixels.shape[-1]
    segments = [
        SegmentDescription(
            segment_number=number + 1, segment_label=f"part {number + 1}",
            segmented_property_category=codes.SCT.Tissue,
            segmented_property_type=codes.SCT.Tissue,
            algorithm_type=SegmentAlgorithmTypeValues.MANUAL,
        )
        for number in range(count)
    ]  # fmt: skip
    seg = highdicom.seg.Segmentation(
        [pydicom.dcmread(made.paths[0])], pixels[None], kind, segments,
        series_instance_uid="1.2.3.4.5", series_number=2, sop_instance_uid="1.2.3.4.6",
        instance_number=1, manufacturer="m", manufacturer_model_name="m", software_versions="1",
        device_serial_number="1", tile_pixel_array=True, omit_empty_frames=False,
        dimension_organization_type=organization,
    )  # fmt: skip
    (folder / "seg").mkdir()
    seg.save_as(folder / "seg" / "seg.dcm")
    return folder / "seg" / "seg.dcm"


def matrix_of(path, **arguments):
    """Return the total pixel matrix as highdicom puts it together."""
    return highdicom.seg.segread(path).get_total_pixel_matrix(**arguments)


@pytest.mark.parametrize("organization", ["TILED_FULL", "TILED_SPARSE"])
@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_label_map(tmp_path, kind, organization):
    path = draw(tmp_path, masks(3), SegmentationTypeValues(kind), organization)
    (volume,) = sansfilm.read(path)
    assert volume.axes == ("z", "y", "x")
    np.testing.assert_array_equal(volume.array[0], matrix_of(path, combine_segments=True))
    assert volume.verdict.code == "tiled"
    assert volume.verdict.numbers["segments"] == 3
    labels = [each["label"] for each in volume.ome["image-label"]["properties"]]
    assert labels[-3:] == ["part 1", "part 2", "part 3"]
    assert volume.attributes["slide"]["affine_slide"] is not None
    reduced = volume.levels[1][0]
    blocks = volume.array[0, :200, :150].reshape(100, 2, 75, 2).swapaxes(1, 2).reshape(100, 75, 4)
    expected = [[np.bincount(cell).argmax() for cell in row] for row in blocks]
    np.testing.assert_array_equal(reduced, expected)


@pytest.mark.parametrize("organization", ["TILED_FULL", "TILED_SPARSE"])
def test_overlapping_segments_have_an_axis(tmp_path, organization):
    pixels = masks(3, overlap=True)
    path = draw(tmp_path, pixels, SegmentationTypeValues.BINARY, organization)
    (volume,) = sansfilm.read(path)
    assert volume.axes == ("segment", "z", "y", "x")
    assert volume.verdict.numbers["overlap"]
    expected = np.moveaxis(matrix_of(path), -1, 0) * np.array([1, 2, 3])[:, None, None]
    np.testing.assert_array_equal(volume.array[:, 0], expected)


def test_tiles_of_segments_that_meet_askew_have_an_axis(tmp_path):
    """One segment's tiles lie 5 rows lower: no tile is compared with its like, yet they overlap."""
    pixels = masks(2, overlap=True)
    path = draw(tmp_path, pixels, SegmentationTypeValues.BINARY, "TILED_SPARSE")
    ds = pydicom.dcmread(path)
    for group in ds.PerFrameFunctionalGroupsSequence:
        if group.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 2:
            group.PlanePositionSlideSequence[0].RowPositionInTotalImagePixelMatrix += 5
    ds.save_as(path)
    (volume,) = sansfilm.read(path)
    assert volume.axes == ("segment", "z", "y", "x")
    np.testing.assert_array_equal(volume.array[0, 0], pixels[..., 0])
    np.testing.assert_array_equal(volume.array[1, 0, 5:], 2 * pixels[:-5, :, 1])


def test_fractions(tmp_path):
    pixels = masks(2) * 0.5
    path = draw(tmp_path, pixels, SegmentationTypeValues.FRACTIONAL, "TILED_SPARSE")
    (volume,) = sansfilm.read(path)
    assert volume.axes == ("segment", "z", "y", "x")
    np.testing.assert_allclose(volume.to_xarray()[:, 0], np.moveaxis(pixels, -1, 0), atol=0.003)


def test_beside_the_slide(tmp_path):
    path = draw(tmp_path, masks(2), SegmentationTypeValues.BINARY, "TILED_FULL")
    report = sansfilm.ingest(tmp_path, tmp_path / "archive")
    assert not report.problems
    archive = sansfilm.open(tmp_path / "archive")
    image, label = sorted(archive, key=lambda volume: volume.modality, reverse=True)
    assert image.array.shape[-2:] == label.array.shape[-2:]
    np.testing.assert_allclose(
        image.attributes["slide"]["affine_slide"], label.attributes["slide"]["affine_slide"]
    )
    assert report.frames["stored"] == 16 + pydicom.dcmread(path).NumberOfFrames
