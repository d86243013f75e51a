"""Frames without functional groups: cine, vectors of nuclear medicine, dose grids."""

import warnings

import numpy as np
import pydicom
import pytest
from multiframe import plain, values
from reading import facts_of, problem_of

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import FileRef
from sansfilm.options import Budgets
from sansfilm.planning.headers import read_frames
from sansfilm.planning.increments import plane_positions

TOP, FLAT = [10, 20, 30], [1, 0, 0, 0, 1, 0]
TURNED = [0, 1, 0, 0, 0, -1]
PLACED = {"ImagePositionPatient": TOP, "ImageOrientationPatient": FLAT}
SAME = ("position", "orientation", "pixel_spacing", "slice_thickness", "slope", "intercept",
        "unit", "windows", "voi_function", "extra")  # fmt: skip
AXES = ("ImageType", "EchoTime", "EchoNumbers", "FlipAngle", "InversionTime", "AcquisitionNumber",
        "InstanceNumber", "TemporalPositionIdentifier", "TriggerTime")  # fmt: skip


@pytest.fixture
def make(tmp_path):
    """Give a function that writes frames with these attributes."""

    def write(frames: int, **attributes) -> bytes:
        def edit(ds):
            for keyword, value in attributes.items():
                setattr(ds, keyword, value)

        return plain(tmp_path / "a.dcm", np.zeros((frames, 4, 4), "u2"), edit=edit).read_bytes()

    return write


# ---------------------------------------------------------------------------- single frames


def check_single_frames(folder) -> int:
    """Compare what the reader of groups, and pydicom, make of files with one frame."""
    seen = 0
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        frames = read_frames(FileRef(str(path), path.stat().st_size), Budgets())
        if not isinstance(frames, list) or len(frames) > 1:
            continue
        (facts,) = facts_of(path.read_bytes(), 1)
        for name in SAME:
            by_lut = frames[0].spec.lut is not None and name in ("slope", "intercept", "unit")
            assert by_lut or getattr(facts, name) == getattr(frames[0], name)
        assert facts.axes == frames[0].axes
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds = pydicom.dcmread(path, stop_before_pixels=True)
            for keyword in AXES:
                check_axis(facts.axes.get(keyword), ds.get(keyword))
        seen += 1
    return seen


def check_axis(found, element) -> None:
    if element is None or element == "" or str(element) == "[]":
        assert found is None
    elif isinstance(found, str):
        assert found == "\\".join([element] if isinstance(element, str) else map(str, element))
    elif found is not None:  # where pydicom keeps a number that is none
        assert found == float(element)


def test_single_frames_have_what_their_header_says(data):
    assert check_single_frames(data) > 80


def test_single_frames_of_all_files(shared_data):
    assert check_single_frames(shared_data) > 300


# -------------------------------------------------------------------------------------- time


@pytest.mark.parametrize(
    ("attributes", "times"),
    [
        ({"FrameTime": "40"}, [0, 40, 80]),
        ({"FrameTime": "33.333", "FrameIncrementPointer": 0x00181063}, [0, 33.333, 66.666]),
        ({"FrameTimeVector": ["0", "10", "25"]}, [0, 10, 35]),
        ({"FrameTimeVector": ["7", "10", "25"], "FrameTime": "1",
          "FrameIncrementPointer": 0x00181065}, [0, 10, 35]),
        ({"FrameTimeVector": ["0", "10", "25"], "FrameTime": "40",
          "FrameIncrementPointer": 0x00181063}, [0, 40, 80]),
        ({"FrameTimeVector": ["0", "10"]}, None),
        ({"FrameTimeVector": ["0", "10", "-5"]}, None),
        ({"FrameTime": "0"}, None),
        ({"FrameTime": "40", "FrameIncrementPointer": 0x00540080}, None),
        ({"CineRate": "25", "RecommendedDisplayFrameRate": "25"}, None),
    ],
)  # fmt: skip
def test_frame_times(make, attributes, times):
    found = facts_of(make(3, **attributes, **PLACED))
    if times is None:
        # Nothing says how the frames relate: one place for all of them would be made up.
        assert [(f.axes, f.position) for f in found] == [({}, None)] * 3
    else:
        assert [f.axes["FrameTime"] for f in found] == pytest.approx(times)
        assert {f.position for f in found} == {tuple(TOP)}


def test_cines_of_our_files(data):
    found = facts_of((data / "us-cine" / "examples_ybr_color.dcm").read_bytes())
    assert [f.axes["FrameTime"] for f in found] == [33.333 * n for n in range(30)]
    assert {f.position for f in found} == {None}


def test_other_vectors(make):
    pages = facts_of(make(2, PageNumberVector=[4, 7], FrameIncrementPointer=0x00182001))
    assert [f.axes for f in pages] == [{"PageNumberVector": 4}, {"PageNumberVector": 7}]


# ---------------------------------------------------------------------------- nuclear medicine


def detector(**place) -> pydicom.Dataset:
    return values(**place)


RECONSTRUCTED = {
    "SliceVector": [1, 2, 3], "FrameIncrementPointer": 0x00540080, "PixelSpacing": [4, 4],
    "SpacingBetweenSlices": "3",
}  # fmt: skip


@pytest.mark.parametrize("spacing", ["3", "-3"])
def test_reconstructed_slices(make, spacing):
    place = detector(ImagePositionPatient=TOP, ImageOrientationPatient=TURNED)
    nm = RECONSTRUCTED | {"SpacingBetweenSlices": spacing}
    found = facts_of(make(3, **nm, DetectorInformationSequence=[place], Modality="NM"))
    normal = np.cross(TURNED[:3], TURNED[3:])
    expected = [TOP + normal * float(spacing) * n for n in range(3)]
    np.testing.assert_allclose([f.position for f in found], expected)
    assert {f.orientation for f in found} == {tuple(TURNED)}
    assert [f.axes for f in found] == [{}, {}, {}]


def test_gated_slices(make):
    nm = {"SliceVector": [1, 2, 1, 2], "TimeSlotVector": [1, 1, 2, 2], "SpacingBetweenSlices": "3",
          "RRIntervalVector": [1, 1, 1, 1]}  # fmt: skip
    found = facts_of(make(4, **nm, DetectorInformationSequence=[detector(**PLACED)]))
    assert [f.position[2] for f in found] == [30, 33, 30, 33]
    assert [f.axes["TimeSlotVector"] for f in found] == [1, 1, 2, 2]


def test_each_detector_has_its_place(make):
    there = PLACED | {"ImagePositionPatient": [0, 0, 500]}
    two = [detector(**PLACED), detector(**there)]
    found = facts_of(make(3, **RECONSTRUCTED, DetectorVector=[1, 2, 2],
                          DetectorInformationSequence=two))  # fmt: skip
    assert [f.position[2] for f in found] == [30, 503, 506]
    assert [f.axes for f in found] == [{"DetectorVector": n} for n in (1, 2, 2)]


@pytest.mark.parametrize(
    "changes",
    [
        {"DetectorInformationSequence": [detector()]},
        {"DetectorInformationSequence": [detector(ImagePositionPatient=TOP)]},
        {"DetectorInformationSequence": [detector(**PLACED), detector()]},
        {"DetectorVector": [1, 2, 3], "DetectorInformationSequence": [detector(**PLACED)]},
        {"DetectorVector": [0, 1, 1], "DetectorInformationSequence": [detector(**PLACED)]},
        {"SpacingBetweenSlices": None},
        {"RotationVector": [1, 1, 1]},
        {"AngularViewVector": [1, 2, 3]},
    ],
)
def test_slices_whose_place_is_not_known(make, changes):
    nm = RECONSTRUCTED | {"DetectorInformationSequence": [detector(**PLACED)]} | changes
    found = facts_of(make(3, **nm))
    assert [f.position for f in found] == [None] * 3
    assert [f.axes["SliceVector"] for f in found] == [1, 2, 3]


def test_projections(make):
    nm = {"EnergyWindowVector": [1, 1, 2, 2], "DetectorVector": [1, 2, 1, 2],
          "RotationVector": [1, 1, 1, 1], "AngularViewVector": [1, 2, 1, 2]}  # fmt: skip
    found = facts_of(make(4, **nm))
    assert found[2].axes == {"EnergyWindowVector": 2, "DetectorVector": 1, "RotationVector": 1,
                             "AngularViewVector": 1}  # fmt: skip


def test_a_slice_vector_of_another_length(make):
    assert problem_of(make(4, **RECONSTRUCTED)) == ProblemCode.BAD_VALUE


# --------------------------------------------------------------------------------------- dose


def test_dose_of_our_files(data):
    path = data / "rt" / "rtdose.dcm"
    ds = pydicom.dcmread(path)
    found = facts_of(path.read_bytes())
    x, y, z = ds.ImagePositionPatient
    assert [f.position for f in found] == [
        (x, y, z + offset) for offset in ds.GridFrameOffsetVector
    ]
    assert {(f.slope, f.intercept, f.unit) for f in found} == {
        (ds.DoseGridScaling, 0, ds.DoseUnits)
    }


def test_planes_of_a_dose_grid():
    position, turned = (10.0, 20.0, 30.0), (0, 1, 0, 0, 0, -1)
    assert plane_positions([0, 2, 4], position, turned) == [
        (10, 20, 30), (8, 20, 30), (6, 20, 30),
    ]  # fmt: skip
    assert plane_positions([0, -4], position, turned) == [(10, 20, 30), (14, 20, 30)]
    assert plane_positions([30, 32.5], position, FLAT) == [(10, 20, 30), (10, 20, 32.5)]
    assert plane_positions([0, 5], (10, 20, 0), FLAT) == [(10, 20, 0), (10, 20, 5)]
    for offsets, orientation in (
        ([30, 32], turned),
        ([1, 2], FLAT),
        ([30, 32], [-1, 0, 0, 0, -1, 0]),
    ):
        with pytest.raises(BadInstanceError, match="starts neither") as caught:
            plane_positions(offsets, position, orientation)
        assert caught.value.code == ProblemCode.BAD_VALUE


@pytest.mark.parametrize(
    "changes",
    [
        {"DoseGridScaling": "0"},
        {"DoseGridScaling": None, "SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.2"},
        *({"GridFrameOffsetVector": v} for v in ([0, 1], [5, 6, 7], [0, 2, 1], [0, 1, 1])),
    ],
)
def test_doses_that_cannot_be(make, changes):
    dose = PLACED | {"GridFrameOffsetVector": [0, 1, 2], "DoseGridScaling": "0.5"}
    assert len(facts_of(make(3, **dose))) == 3
    assert problem_of(make(3, **dose | changes)) == ProblemCode.BAD_VALUE


def test_a_single_plane_needs_no_vector(make):
    dose = PLACED | {"GridFrameOffsetVector": [0, 1, 2], "DoseGridScaling": "0.5"}
    (facts,) = facts_of(make(1, **dose))
    assert (facts.position, facts.slope) == (tuple(TOP), 0.5)


def test_dose_without_a_place(make):
    found = facts_of(make(2, GridFrameOffsetVector=[0, 1], DoseGridScaling="2"))
    assert [(f.position, f.slope) for f in found] == [(None, 2)] * 2
