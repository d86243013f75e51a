"""Mappings to real-world values: all that they say is recorded, and nothing is applied."""

import numpy as np
import pytest
import synth
from pydicom.dataset import Dataset

import sansfilm


def mapping(slope=0.5, intercept=-3.0, *, first=0, last=4095, vr="US", **more) -> Dataset:
    unit, item = Dataset(), Dataset()
    unit.CodeValue, unit.CodingSchemeDesignator = "mm2/s", "UCUM"
    unit.CodeMeaning = "square millimetres per second"
    item.MeasurementUnitsCodeSequence = [unit]
    item.LUTLabel, item.LUTExplanation = "ADC", "apparent diffusion"
    item.add_new(0x00409216, vr, first)
    item.add_new(0x00409211, vr, last)
    if slope is not None:
        item.RealWorldValueSlope, item.RealWorldValueIntercept = slope, intercept
    for keyword, value in more.items():
        setattr(item, keyword, value)
    return item


EXPECTED = {
    "label": "ADC", "explanation": "apparent diffusion", "unit": "mm2/s", "unit_scheme": "UCUM",
    "unit_meaning": "square millimetres per second", "first": 0, "last": 4095, "slope": 0.5,
    "intercept": -3.0,
}  # fmt: skip


def volume_with(folder, *items, edit=None, **more):
    def put(ds, n):
        ds.RealWorldValueMappingSequence = list(items)
        if edit:
            edit(ds, n)

    synth.series(folder / "in", edit=put, **{"slices": 3, "intercept": 0.0} | more)
    (volume,) = sansfilm.read(folder / "in")
    return volume


@pytest.mark.parametrize("syntax", [synth.IMPLICIT_LE, synth.EXPLICIT_LE, synth.EXPLICIT_BE])
@pytest.mark.parametrize("signed", [False, True])
def test_what_all_frames_share_is_of_the_volume(tmp_path, syntax, signed):
    ends = {"first": -2048, "last": 2047, "vr": "SS"} if signed else {}
    volume = volume_with(tmp_path, mapping(**ends), transfer_syntax=syntax, signed=signed)
    ends.pop("vr", None)
    assert volume.attributes["real_world_values"] == [EXPECTED | ends]
    assert volume.attributes["rescale"]["slope"] == 1
    assert volume.attributes["notes"] == []


def test_a_table_is_counted(tmp_path):
    item = mapping(None, first=0, last=3, RealWorldValueLUTData=[0.5, 1.0, 4.0, 9.0])
    (found,) = volume_with(tmp_path, item).attributes["real_world_values"]
    assert found["lut_entries"] == 4
    assert "slope" not in found


def test_ends_of_floats(tmp_path):
    item = mapping()
    del item[0x00409216], item[0x00409211]
    item.DoubleFloatRealWorldValueFirstValueMapped = -0.5
    item.DoubleFloatRealWorldValueLastValueMapped = 1e6
    (found,) = volume_with(tmp_path, item).attributes["real_world_values"]
    assert (found["first"], found["last"]) == (-0.5, 1e6)


def test_what_differs_is_in_the_frame_table(tmp_path):
    def other(ds, n):
        ds.RealWorldValueMappingSequence = [mapping(slope=n + 1.0)]

    volume = volume_with(tmp_path, edit=other)
    assert volume.attributes["real_world_values"] is None
    found = [row[0]["slope"] for row in volume.frames.RealWorldValueMapping]
    assert found == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"slope": 0.0}, "the slope is 0"),
        ({"slope": np.nan}, "not two finite numbers"),
        ({"intercept": np.inf}, "not two finite numbers"),
        ({"slope": None}, "not two finite numbers"),
    ],
)
def test_a_mapping_that_maps_nothing_is_told(tmp_path, values, reason):
    volume = volume_with(tmp_path, mapping(**values), mapping())
    assert volume.attributes["real_world_values"] == [EXPECTED]
    assert [reason in note for note in volume.attributes["notes"]] == [True]
    assert reason in volume.frames.RealWorldValueMapping[0][0]["ignored"]


def test_an_image_is_no_worse_for_a_broken_sequence(tmp_path):
    made = synth.series(
        tmp_path / "in", slices=1, edit=lambda ds, _: ds.add_new(0x00409095, "UN", b"abcd")
    )
    (path,) = made.paths
    data = path.read_bytes().replace(b"\x40\x00\x95\x90UN", b"\x40\x00\x96\x90UN")
    path.write_bytes(data)
    (volume,) = sansfilm.read(tmp_path / "in")
    assert volume.attributes["real_world_values"] == []
    assert "cannot be followed" in volume.attributes["notes"][0]


def test_without_any(tmp_path):
    synth.series(tmp_path / "in", slices=1)
    (volume,) = sansfilm.read(tmp_path / "in")
    assert volume.attributes["real_world_values"] == []
