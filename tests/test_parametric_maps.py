"""Parametric maps end to end: floating-point values on the grid of their images."""

import warnings

import numpy as np
import pydicom
import pytest
import synth
from highdicom.pm import ParametricMap, RealWorldValueMapping
from pydicom.sr.codedict import codes

import sansfilm


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16"])
def test_a_map_is_a_volume_of_its_values(tmp_path, dtype):
    made = synth.series(tmp_path / "ct", slices=5, rows=20, columns=24)
    images = [pydicom.dcmread(path) for path in made.paths]
    for image in images:  # highdicom insists on them
        image.AccessionNumber = image.StudyID = image.ReferringPhysicianName = ""
    values = (made.values - made.values.min()).astype(dtype)
    if dtype != "uint16":
        values = values / np.array(7, dtype)
    mapping = RealWorldValueMapping(
        lut_label="1", lut_explanation="test", unit=codes.UCUM.NoUnits,
        value_range=(float(values.min()), float(values.max())), slope=1, intercept=0,
    ) if dtype != "uint16" else RealWorldValueMapping(
        lut_label="1", lut_explanation="test", unit=codes.UCUM.NoUnits,
        value_range=(int(values.min()), int(values.max())), slope=0.5, intercept=3,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parametric = ParametricMap(
            images, values, series_instance_uid="1.2.3.4", series_number=2,
            sop_instance_uid="1.2.3.4.5", instance_number=1, manufacturer="test",
            manufacturer_model_name="test", software_versions="1", device_serial_number="1",
            contains_recognizable_visual_features=False, real_world_value_mappings=[mapping],
            window_center=100, window_width=200,
        )  # fmt: skip
    path = tmp_path / "map.dcm"
    parametric.save_as(path)
    report = sansfilm.ingest(path, tmp_path / "a")
    assert not report.problems
    (volume,) = sansfilm.open(tmp_path / "a")
    assert volume.verdict.code == "regular"
    assert volume.array.dtype == dtype
    np.testing.assert_array_equal(volume.array[:], values)
    np.testing.assert_allclose(volume.affine_lps, made.affine_lps, atol=1e-9)
    recorded = volume.frames.iloc[0]["RealWorldValueMapping"]
    assert recorded is not None
