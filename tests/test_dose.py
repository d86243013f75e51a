"""Dose grids, from files to an archive and back, against pydicom and PS3.3 C.8.8.3."""

import numpy as np
import pydicom
import pytest
import synth

import sansfilm
from sansfilm.options import Options, Storage

pytestmark = pytest.mark.filterwarnings("ignore:(?s).*Invalid value for VR UI")
"""The sample has a UID with a leading zero."""

SYNTAXES = (synth.IMPLICIT_LE, synth.EXPLICIT_LE, synth.EXPLICIT_BE, synth.RLE)
OPTIONS = Options(storage=Storage(chunk=8, slab=4, smallest=4))


@pytest.fixture
def dose(data):
    return pydicom.dcmread(data / "rt" / "rtdose.dcm")


def in_syntax(ds, stored, syntax, path):
    """Write a dose once more, with these stored values in a transfer syntax."""
    ds.file_meta.TransferSyntaxUID = syntax
    if syntax == synth.RLE:
        ds.PixelData = pydicom.encaps.encapsulate([synth.encode_rle(frame) for frame in stored])
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    else:
        ds.add_new(0x7FE00010, "OW", stored.astype(
            stored.dtype.newbyteorder(">" if syntax == synth.EXPLICIT_BE else "<")
        ).tobytes())  # fmt: skip
    pydicom.dcmwrite(
        path, ds, implicit_vr=syntax == synth.IMPLICIT_LE, force_encoding=True,
        little_endian=syntax != synth.EXPLICIT_BE,
    )  # fmt: skip


def ingested(folder):
    report = sansfilm.ingest(folder / "in", folder / "a", options=OPTIONS, workers=1)
    assert report.problems == []
    return list(sansfilm.open(folder / "a"))


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_dose_of_each_syntax(tmp_path, dose, syntax):
    (tmp_path / "in").mkdir()
    stored = dose.pixel_array + np.uint32(2**31)  # beyond what a float32 or an int32 holds
    in_syntax(dose, stored, syntax, tmp_path / "in" / "dose.dcm")
    theirs = pydicom.dcmread(tmp_path / "in" / "dose.dcm")
    (volume,) = ingested(tmp_path)
    assert volume.array.dtype == np.uint32
    np.testing.assert_array_equal(volume.array[:], theirs.pixel_array)
    rescale = volume.attributes["rescale"]
    assert (rescale["slope"], rescale["unit"]) == (theirs.DoseGridScaling, theirs.DoseUnits)
    assert not rescale["applied"]
    values = theirs.pixel_array * float(theirs.DoseGridScaling)
    np.testing.assert_allclose(volume.to_xarray().values, values, rtol=1e-15)
    assert volume.verdict.code == "regular"
    assert set(volume.frames.DoseSummationType) == {"BEAM"}


def test_places_follow_the_offsets(tmp_path, dose):
    """Relative ones along the normal, absolute ones as z: PS3.3 C.8.8.3.2."""
    (tmp_path / "in").mkdir()
    dose.file_meta.TransferSyntaxUID = synth.EXPLICIT_LE
    x, y, z = map(float, dose.ImagePositionPatient)
    absolute = [z + float(offset) for offset in dose.GridFrameOffsetVector]
    for number, (orientation, offsets, normal) in enumerate((
        ([1, 0, 0, 0, 1, 0], dose.GridFrameOffsetVector, (0, 0, 1)),
        ([1, 0, 0, 0, 1, 0], absolute, (0, 0, 1)),
        ([0, 1, 0, 0, 0, -1], dose.GridFrameOffsetVector, (-1, 0, 0)),
        ([1, 0, 0, 0, 1, 0], [-float(o) for o in dose.GridFrameOffsetVector], (0, 0, -1)),
    )):  # fmt: skip
        dose.SeriesInstanceUID = dose.SOPInstanceUID = f"1.2.3.{number}"
        dose.ImageOrientationPatient, dose.GridFrameOffsetVector = orientation, offsets
        stored = dose.pixel_array
        dose.save_as(tmp_path / "in" / f"{number}.dcm")
        (volume,) = (v for v in ingested(tmp_path) if v.series_uid == f"1.2.3.{number}")
        for row in volume.frames.itertuples():
            expected = np.array([x, y, z]) + 5 * (row.frame_number - 1) * np.array(normal)
            np.testing.assert_allclose(row.position, expected, atol=1e-9)
            cell = row.index if np.isscalar(row.index) else row.index[0]
            place = volume.affine_lps @ [cell, 0, 0, 1]
            np.testing.assert_allclose(place[:3], expected, atol=1e-9)
            np.testing.assert_array_equal(volume.array[cell], stored[row.frame_number - 1])


def test_each_dose_of_a_series_is_a_volume(tmp_path, dose):
    (tmp_path / "in").mkdir()
    dose.file_meta.TransferSyntaxUID = synth.EXPLICIT_LE
    scalings = ("1e-6", "2e-6", "3e-6")
    for number, scaling in enumerate(scalings):
        dose.SOPInstanceUID, dose.DoseGridScaling = f"1.2.3.{number}", scaling
        dose.save_as(tmp_path / "in" / f"{number}.dcm")
    volumes = ingested(tmp_path)
    assert {volume.verdict.code for volume in volumes} == {"regular"}
    assert sorted(volume.attributes["rescale"]["slope"] for volume in volumes) == [
        float(scaling) for scaling in scalings
    ]


def test_contradictory_offsets_are_a_problem(tmp_path, dose):
    (tmp_path / "in").mkdir()
    dose.GridFrameOffsetVector = [5.0, *dose.GridFrameOffsetVector[1:]]
    dose.save_as(tmp_path / "in" / "dose.dcm")
    report = sansfilm.ingest(tmp_path / "in", tmp_path / "a", workers=1)
    assert [(p.code, p.frames) for p in report.problems] == [("BAD_VALUE", 15)]
    assert report.frames == {"found": 15, "stored": 0, "in_problems": 15}
