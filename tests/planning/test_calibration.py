"""What the distance of pixels means: PS3.3 section 10.7.1 as a table, and ultrasound regions."""

import pytest
import synth
from pydicom.dataset import Dataset

import sansfilm

ROOT = "1.2.840.10008.5.1.4.1.1."
DX, CR, XA, SC, CT, US = (ROOT + tail for tail in ("1.1.1", "1", "12.1", "7", "2", "6.1"))
A, B, C = (0.4, 0.3), (0.36, 0.27), (0.25, 0.25)


def frame_of(tmp_path, read, sop_class, *, pixel=None, place=False, **values):
    def edit(ds, _):
        ds.SOPClassUID = sop_class
        ds.PixelSpacing = pixel and list(pixel)
        if not place:
            del ds.ImagePositionPatient
        for keyword, value in values.items():
            setattr(ds, keyword, list(value) if isinstance(value, tuple) else value)

    made = synth.series(tmp_path, slices=1, rows=20, columns=30, modality="OT", edit=edit)
    return read(made.paths[0])


@pytest.mark.parametrize(
    ("sop_class", "pixel", "values", "spacing", "kind"),
    [
        (CT, A, {}, A, "patient"),
        (DX, A, {}, A, "unknown"),
        (SC, A, {}, A, "unknown"),
        (DX, None, {}, None, "none"),
        (CR, None, {"ImagerPixelSpacing": A}, A, "detector"),
        (DX, A, {"ImagerPixelSpacing": A}, A, "detector"),
        (DX, A, {"ImagerPixelSpacing": (0.40001, 0.3)}, A, "detector"),
        (XA, B, {"ImagerPixelSpacing": A}, B, "calibrated"),
        (XA, B, {"ImagerPixelSpacing": A, "PixelSpacingCalibrationType": "GEOMETRY"}, B,
         "geometry"),
        (DX, B, {"ImagerPixelSpacing": A, "PixelSpacingCalibrationType": "FIDUCIAL"}, B,
         "fiducial"),
        (SC, B, {"PixelSpacingCalibrationType": "FIDUCIAL"}, B, "fiducial"),
        (DX, A, {"ImagerPixelSpacing": A, "PixelSpacingCalibrationType": "GEOMETRY"}, A,
         "detector"),
        (DX, B, {"ImagerPixelSpacing": A, "PixelSpacingCalibrationType": "GUESS"}, B,
         "calibrated"),
        (SC, None, {"NominalScannedPixelSpacing": C}, C, "nominal"),
        (SC, C, {"NominalScannedPixelSpacing": C}, C, "nominal"),
        (SC, B, {"NominalScannedPixelSpacing": C}, B, "calibrated"),
        (CR, None, {"ImagerPixelSpacing": A, "NominalScannedPixelSpacing": C}, A, "detector"),
        (CR, None, {"ImagerPixelSpacing": (0.0, 0.3)}, None, "none"),
    ],
)  # fmt: skip
def test_projections(tmp_path, read, sop_class, pixel, values, spacing, kind):
    frame = frame_of(tmp_path, read, sop_class, pixel=pixel, **values)
    assert (frame.pixel_spacing, frame.spacing_kind) == (spacing, kind)


REGION = {
    "RegionSpatialFormat": 1, "RegionDataType": 1, "RegionLocationMinX0": 0,
    "RegionLocationMinY0": 0, "RegionLocationMaxX1": 29, "RegionLocationMaxY1": 19,
    "PhysicalUnitsXDirection": 3, "PhysicalUnitsYDirection": 3, "PhysicalDeltaX": 0.03,
    "PhysicalDeltaY": -0.04,
}  # fmt: skip


def regions(*many: dict) -> list[Dataset]:
    found = []
    for values in many:
        found.append(Dataset())
        found[-1].update({k: v for k, v in values.items() if v is not None})
    return found


@pytest.mark.parametrize(
    ("many", "spacing"),
    [
        ([REGION], (0.4, 0.3)),
        ([REGION | {"RegionLocationMaxX1": 30, "RegionLocationMaxY1": 20}], (0.4, 0.3)),
        ([REGION, REGION], None),
        ([REGION | {"RegionLocationMinX0": 1}], None),
        ([REGION | {"RegionLocationMaxY1": 18}], None),
        ([REGION | {"RegionSpatialFormat": 2}], None),
        ([REGION | {"PhysicalUnitsXDirection": 4}], None),
        ([REGION | {"PhysicalDeltaX": 0.0}], None),
        ([REGION | {"PhysicalDeltaX": None}], None),
    ],
)
def test_ultrasound(tmp_path, read, many, spacing):
    frame = frame_of(tmp_path, read, US, SequenceOfUltrasoundRegions=regions(*many))
    assert frame.pixel_spacing == (spacing and pytest.approx(spacing))
    assert frame.spacing_kind == ("region" if spacing else "none")
    found = frame.extra["SequenceOfUltrasoundRegions"]
    assert found == tuple({k: v for k, v in one.items() if v is not None} for one in many)


def test_an_image_is_no_worse_for_broken_regions(tmp_path, read):
    """The element of the next number has its place, with bytes that are no items."""
    made = synth.series(
        tmp_path, slices=1, edit=lambda ds, _: ds.add_new(0x00186010, "UN", b"abcd")
    )
    data = made.paths[0].read_bytes()
    assert data.count(b"\x18\x00\x10\x60UN") == 1
    frame = read(data.replace(b"\x18\x00\x10\x60UN", b"\x18\x00\x11\x60UN"))
    assert frame.spacing_kind == "patient"
    assert "SequenceOfUltrasoundRegions" not in frame.extra


def test_the_detector_is_no_place_in_the_patient(tmp_path):
    """Kind and note are in the archive; the position stays in the frame table."""

    def edit(ds, n):
        ds.SOPClassUID, ds.ImagerPixelSpacing = DX, [0.4, 0.3]
        ds.EstimatedRadiographicMagnificationFactor = "1.05"
        del ds.PixelSpacing

    synth.series(tmp_path / "in", slices=2, modality="DX", edit=edit)
    (volume,) = sansfilm.read(tmp_path / "in")
    assert (volume.axes, volume.affine_lps) == (("i", "y", "x"), None)
    assert volume.spacing_mm == (None, 0.4, 0.3)
    assert volume.attributes["spacing_kind"] == "detector"
    assert "on the detector" in volume.attributes["notes"][0]
    table = volume.frames
    assert list(table.EstimatedRadiographicMagnificationFactor) == [1.05, 1.05]
    assert all(position is not None for position in table.position)


def test_different_kinds_are_different_arrays(tmp_path):
    def edit(ds, n):
        ds.SOPClassUID = DX
        del ds.ImagePositionPatient
        if n:
            ds.ImagerPixelSpacing = ds.PixelSpacing

    synth.series(tmp_path / "in", slices=3, modality="DX", edit=edit)
    kinds = {v.attributes["spacing_kind"]: len(v.frames) for v in sansfilm.read(tmp_path / "in")}
    assert kinds == {"unknown": 1, "detector": 2}
