"""What functional groups hold, which of them counts, and headers that are wrong."""

import math
from datetime import UTC, datetime
from functools import partial

import multiframe
import numpy as np
import pydicom
import pytest
import synth
from multiframe import values
from pydicom.datadict import dictionary_VR, private_dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from reading import PHI, facts_of, problem_of

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import FileRef, Window
from sansfilm.options import Budgets
from sansfilm.planning import facts as facts_module
from sansfilm.planning.attributes import ATTRIBUTES
from sansfilm.planning.headers import read_frames

# ------------------------------------------------------------------------ what groups hold


def with_groups(path, *, shared: Dataset | None = None, frames=(), edit=None, **more):
    """Write an object of two frames with these groups."""

    def change(ds):
        ds.SharedFunctionalGroupsSequence = [shared or Dataset()]
        if frames:
            ds.PerFrameFunctionalGroupsSequence = list(frames)
        if edit:
            edit(ds)

    return multiframe.plain(path, np.zeros((2, 4, 4), "u2"), edit=change, **more).read_bytes()


def test_what_tells_frames_apart(tmp_path):
    direction = values(DiffusionGradientOrientation=[0.6, -0.8, -0.0])
    frame = values(
        FrameContentSequence=[values(
            FrameReferenceDateTime="20260102030405.5+0100", FrameAcquisitionDuration=12.5,
            FrameAcquisitionDateTime="20260102", StackID="1", InStackPositionNumber=3,
        )],
        TemporalPositionSequence=[values(TemporalPositionTimeOffset=3.25)],
        CardiacSynchronizationSequence=[values(
            NominalCardiacTriggerDelayTime=40.0, NominalPercentageOfCardiacPhase=25.0,
            RRIntervalTimeNominal=800.0,
        )],
        ContrastBolusUsageSequence=[
            values(ContrastBolusAgentPhase="PRE", ContrastBolusAgentAdministered="NO"),
            values(ContrastBolusAgentPhase="DYNAMIC", ContrastBolusAgentAdministered="YES"),
        ],
        MREchoSequence=[values(EffectiveEchoTime=4.75)],
        MRDiffusionSequence=[values(
            DiffusionBValue=1000.0, DiffusionDirectionality="DIRECTIONAL",
            DiffusionGradientDirectionSequence=[direction],
        )],
        MRTimingAndRelatedParametersSequence=[values(RepetitionTime="2000", FlipAngle="15")],
        MRModifierSequence=[values(InversionTimes=[100.0, 2500.5])],
        MRArterialSpinLabelingSequence=[values(ASLContext="CONTROL")],
        MRVelocityEncodingSequence=[values(
            VelocityEncodingDirection=[0.0, 0.0, 1.0], VelocityEncodingMaximumValue=150.0,
        )],
        MRImageFrameTypeSequence=[values(
            FrameType=["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE"],
            ComplexImageComponent="PHASE", AcquisitionContrast="DIFFUSION",
        )],
        CTXRayDetailsSequence=[values(KVP="140")],
        CTExposureSequence=[values(ExposureInmAs=80.5, XRayTubeCurrentInmA=200.0)],
        ImageDataTypeSequence=[values(DataType="TISSUE_INTENSITY")],
        SegmentIdentificationSequence=[values(ReferencedSegmentNumber=3)],
        UnassignedPerFrameConvertedAttributesSequence=[values(
            TriggerTime="120.5", AcquisitionTime="010203.25", TemporalPositionIdentifier=4,
        )],
        RealWorldValueMappingSequence=[values(
            RealWorldValueSlope=2.5, RealWorldValueIntercept=-1.0, LUTLabel="T1",
            MeasurementUnitsCodeSequence=[values(CodeValue="ms", CodingSchemeDesignator="UCUM")],
        )],
    )  # fmt: skip
    other = values(
        MRDiffusionSequence=[values(DiffusionBValue=0.0, DiffusionDirectionality="NONE")]
    )
    first, second = facts_of(with_groups(tmp_path / "a.dcm", frames=[frame, other]))
    day = datetime(2026, 1, 2, tzinfo=UTC).timestamp()
    assert first.axes == {
        "FrameAcquisitionDateTime": day,
        "FrameReferenceDateTime": day + 2 * 3600 + 4 * 60 + 5.5,
        "StackID": "1",
        "TemporalPositionTimeOffset": 3.25,
        "NominalCardiacTriggerDelayTime": 40.0,
        "NominalPercentageOfCardiacPhase": 25.0,
        "ContrastBolusAgentPhase": "PRE\\DYNAMIC",
        "ContrastBolusAgentAdministered": "NO\\YES",
        "EffectiveEchoTime": 4.75,
        "DiffusionBValue": 1000.0,
        "DiffusionDirectionality": "DIRECTIONAL",
        "DiffusionGradientOrientation": "0.6\\-0.8\\0",
        "RepetitionTime": 2000.0,
        "FlipAngle": 15.0,
        "InversionTimes": "100\\2500.5",
        "ASLContext": "CONTROL",
        "VelocityEncodingDirection": "0\\0\\1",
        "VelocityEncodingMaximumValue": 150.0,
        "FrameType": "ORIGINAL\\PRIMARY\\DIFFUSION\\NONE",
        "ComplexImageComponent": "PHASE",
        "AcquisitionContrast": "DIFFUSION",
        "KVP": 140.0,
        "DataType": "TISSUE_INTENSITY",
        "ReferencedSegmentNumber": 3,
        "TriggerTime": 120.5,
        "AcquisitionTime": 3723.25,
        "TemporalPositionIdentifier": 4,
    }
    mapping = {"slope": 2.5, "intercept": -1.0, "label": "T1", "unit": "ms",
               "unit_scheme": "UCUM"}  # fmt: skip
    assert first.extra == {
        "FrameAcquisitionDuration": 12.5, "InStackPositionNumber": 3,
        "RRIntervalTimeNominal": 800.0, "RealWorldValueMapping": (mapping,),
        "ExposureInmAs": 80.5, "XRayTubeCurrentInmA": 200.0,
    }  # fmt: skip
    assert (first.slope, first.intercept) == (1, 0)  # a mapping is never applied
    assert second.axes == {
        "DiffusionBValue": 0.0,
        "DiffusionDirectionality": "NONE",
        "DiffusionGradientOrientation": "",
    }


def rescaled(slope: str, intercept: str = "0") -> Dataset:
    item = values(RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="HU")
    return values(PixelValueTransformationSequence=[item])


def test_what_counts_first(tmp_path):
    """A frame's own group, then the shared one, then the top level."""

    def top(ds):
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = "9", "8", "OD"

    make = partial(with_groups, tmp_path / "a.dcm", edit=top)
    own, none = rescaled("2", "1"), Dataset()
    found = facts_of(make(shared=rescaled("3"), frames=[own, none]))
    assert [(f.slope, f.intercept, f.unit) for f in found] == [(2, 1, "HU"), (3, 0, "HU")]
    empty = values(PixelValueTransformationSequence=[])
    assert [f.slope for f in facts_of(make(shared=rescaled("3"), frames=[own, empty]))] == [2, 3]
    assert [f.slope for f in facts_of(make(frames=[own, none]))] == [2, 9]
    assert [f.slope for f in facts_of(make(shared=rescaled("3")))] == [3, 3]
    assert [(f.slope, f.unit) for f in facts_of(make())] == [(9, "OD")] * 2


def test_several_windows(tmp_path):
    item = values(WindowCenter=[40, 300], WindowWidth=[400, 1500], VOILUTFunction="LINEAR_EXACT",
                  WindowCenterWidthExplanation=["SOFT", "BONE"])  # fmt: skip
    found = facts_of(with_groups(tmp_path / "a.dcm", shared=values(FrameVOILUTSequence=[item])))
    assert found[0].windows == (Window(40, 400, "SOFT"), Window(300, 1500, "BONE"))
    assert found[0].voi_function == "LINEAR_EXACT"


def test_groups_without_a_place(tmp_path):
    for facts in facts_of(with_groups(tmp_path / "a.dcm", frames=[Dataset(), Dataset()])):
        assert facts.position is facts.orientation is facts.pixel_spacing is None
        assert (facts.slope, facts.intercept, facts.axes, facts.extra) == (1, 0, {}, {})


def test_a_position_needs_an_orientation(tmp_path):
    frames = [
        values(PlanePositionSequence=[values(ImagePositionPatient=[0, 0, z])]) for z in (0, 1)
    ]
    assert facts_of(with_groups(tmp_path / "a.dcm", frames=frames))[0].position is None


def test_place_at_the_top_level(tmp_path):
    def top(ds):
        ds.ImagePositionPatient, ds.ImageOrientationPatient = [1, 2, 3], [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing = [0.5, 0.25]

    found = facts_of(with_groups(tmp_path / "a.dcm", edit=top))
    assert found[0].position == found[1].position == (1, 2, 3)
    assert found[0].pixel_spacing == (0.5, 0.25)


def test_ultrasound_volume(tmp_path):
    def top(ds):
        ds.VolumeFrameOfReferenceUID = "1.2.3"

    frames = [
        values(PlanePositionVolumeSequence=[values(ImagePositionVolume=[0.0, 0.0, 2.5 * z])])
        for z in (0, 1)
    ]
    flat = values(ImageOrientationVolume=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    shared = values(PlaneOrientationVolumeSequence=[flat])
    first, second = facts_of(
        with_groups(tmp_path / "a.dcm", shared=shared, frames=frames, edit=top)
    )
    assert first.position == (0, 0, 0)  # zeros are a place, whatever their bytes look like
    assert second.position == (0, 0, 2.5)
    assert second.orientation == (1, 0, 0, 0, 1, 0)
    assert second.extra["VolumeFrameOfReferenceUID"] == "1.2.3"


def test_half_a_place_in_a_volume_is_none_in_the_patient(tmp_path):
    def top(ds):
        ds.ImagePositionPatient, ds.ImageOrientationPatient = [1, 2, 3], [0, 1, 0, 0, 0, 1]

    shared = values(PlanePositionVolumeSequence=[values(ImagePositionVolume=[0.0, 0.0, 2.5])])
    facts, _ = facts_of(with_groups(tmp_path / "a.dcm", shared=shared, edit=top))
    assert (facts.position, facts.orientation) == ((1, 2, 3), (0, 1, 0, 0, 0, 1))


def test_private_groups_decide_nothing(data):
    """Philips repeats Image Position (Patient) in (2005,140F), elsewhere."""
    path = next((data / "mr-asl-enhanced").iterdir())
    frame = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence[0]
    private = frame[0x2005140F].value[0].ImagePositionPatient
    ours = facts_of(path.read_bytes())[0].position
    assert math.dist(ours, private) > 1
    assert list(ours) == frame.PlanePositionSequence[0].ImagePositionPatient


def test_dimension_names(tmp_path):
    def make(*dimensions, indices):
        def top(ds):
            ds.DimensionIndexSequence = [multiframe.dimension(*entry) for entry in dimensions]

        frames = [values(FrameContentSequence=[values(DimensionIndexValues=i)]) for i in indices]
        found = facts_of(with_groups(tmp_path / "a.dcm", frames=frames, edit=top))
        return [facts.axes for facts in found]

    places = (0x00200032, "Position"), (0x00209057, ""), (0x0048021E, ""), (0x00209301, "")
    assert make(*places, indices=[[1, 2, 3, 4], [2, 3, 4, 5]]) == [{}, {}]
    assert make((0x00189087, ""), (0x20051011, ""), indices=[[1, 2], [3, 1]]) == [
        {"Dimension:DiffusionBValue": 1, "Dimension:(2005,1011)": 2},
        {"Dimension:DiffusionBValue": 3, "Dimension:(2005,1011)": 1},
    ]
    assert make((0x00189087, "b"), (0x00189089, "b"), indices=[[1, 1], [2, 1]])[1] == {
        "Dimension:b 1": 2, "Dimension:b 2": 1,
    }  # fmt: skip
    assert make(indices=[[1, 1], [2, 1]]) == [{}, {}]


def test_text_in_the_character_set_of_the_dataset(tmp_path):
    def top(ds):
        ds.SpecificCharacterSet = "ISO_IR 192"

    stacks = ["Größe", "大きさ"]
    frames = [values(FrameContentSequence=[values(StackID=stack)]) for stack in stacks]
    found = facts_of(with_groups(tmp_path / "a.dcm", frames=frames, edit=top))
    assert [facts.axes["StackID"] for facts in found] == stacks


def test_groups_of_unknown_vr(tmp_path):
    """A sequence that was written as UN has items in implicit VR (PS3.5 section 6.2.2)."""
    raw = with_groups(tmp_path / "a.dcm", shared=rescaled("0.5"), transfer_syntax=synth.IMPLICIT_LE)
    start = raw.index(b"\x00\x52\x29\x92") + 8
    length = int.from_bytes(raw[start - 4 : start], "little")
    value = raw[start : start + length]
    explicit = with_groups(tmp_path / "b.dcm")
    place = explicit.index(b"\x00\x52\x29\x92SQ")
    end = place + 12 + int.from_bytes(explicit[place + 8 : place + 12], "little")
    head = b"\x00\x52\x29\x92UN\0\0"
    for size, tail in ((length, b""), (0xFFFFFFFF, b"\xfe\xff\xdd\xe0\0\0\0\0")):
        changed = head + size.to_bytes(4, "little") + value + tail
        found = facts_of(explicit[:place] + changed + explicit[end:])
        assert [facts.slope for facts in found] == [0.5, 0.5]


# ------------------------------------------------------------------------------- what is wrong


def plane(position=(0, 0, 0), orientation=(1, 0, 0, 0, 1, 0), spacing=(1, 1)) -> Dataset:
    return values(
        PlanePositionSequence=[values(ImagePositionPatient=list(position))],
        PlaneOrientationSequence=[values(ImageOrientationPatient=list(orientation))],
        PixelMeasuresSequence=[values(PixelSpacing=list(spacing))],
    )


@pytest.mark.parametrize(
    "shared",
    [
        plane(position=(0, 0)),
        plane(position=(0, 0, 1e9)),
        plane(orientation=(1, 0, 0, 1, 0, 0)),
        plane(orientation=(2, 0, 0, 0, 1, 0)),
        plane(orientation=(0, 0, 0, 0, 0, 0)),
        plane(orientation=(1, 0, 0)),
        plane(spacing=(0, 1)),
        plane(spacing=(1, -1)),
        plane(spacing=(1,)),
        rescaled("0"),
        values(PlanePositionSequence=[values(), values()]),
        values(PixelValueTransformationSequence=[values(RescaleSlope="1"), values()]),
    ],
)
def test_values_that_cannot_be(tmp_path, shared):
    assert problem_of(with_groups(tmp_path / "a.dcm", shared=shared)) == ProblemCode.BAD_VALUE


@pytest.mark.parametrize("text", [b"1E400   ", b"NaN     ", b"-inf    ", b"one     ", b"1\\2     "])
@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept", "ImagePositionPatient"])
def test_numbers_that_are_none(tmp_path, text, keyword):
    shared = plane()
    if keyword == "ImagePositionPatient":
        shared.PlanePositionSequence[0].ImagePositionPatient = [0, 0, "87654321"]
    else:
        shared.PixelValueTransformationSequence = [values(**{keyword: "87654321"})]
    raw = with_groups(tmp_path / "a.dcm", shared=shared)
    assert raw.count(b"87654321") == 1
    assert problem_of(raw.replace(b"87654321", text)) == ProblemCode.BAD_VALUE


def test_slopes_beyond_all_numbers(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(with_groups(path, shared=rescaled("1e305", "1e305")))
    problem = read_frames(FileRef(str(path), path.stat().st_size), Budgets())
    assert problem.code == ProblemCode.BAD_VALUE


@pytest.mark.parametrize("frames", [1, 3, 4])
def test_more_or_fewer_groups_than_frames(tmp_path, frames):
    raw = with_groups(tmp_path / "a.dcm", frames=[rescaled("1")] * frames)
    assert problem_of(raw) == ProblemCode.BAD_VALUE


@pytest.mark.parametrize(
    "indices", [[[1], [1, 2]], [[1, 2, 3], [1, 2, 3]], [[1, 2], []], [[1], [1]], [[], [1, 2]]]
)
def test_dimensions_that_contradict_each_other(tmp_path, indices):
    def top(ds):
        ds.DimensionIndexSequence = [multiframe.dimension(0x00209056, ""),
                                     multiframe.dimension(0x00209057, "")]  # fmt: skip

    frames = [
        values(FrameContentSequence=[values(DimensionIndexValues=i or None)]) for i in indices
    ]
    raw = with_groups(tmp_path / "a.dcm", frames=frames, edit=top)
    assert problem_of(raw) == ProblemCode.BAD_VALUE


def test_two_shared_items(tmp_path):
    def top(ds):
        ds.SharedFunctionalGroupsSequence = [rescaled("1"), rescaled("2")]

    assert problem_of(with_groups(tmp_path / "a.dcm", edit=top)) == ProblemCode.BAD_VALUE


def test_a_group_that_is_no_sequence(tmp_path):
    raw = with_groups(tmp_path / "a.dcm", shared=rescaled("1"))
    assert problem_of(raw.replace(b"\x28\x00\x45\x91SQ", b"\x28\x00\x45\x91OB")) == "BAD_VALUE"


def test_mutated_headers_give_facts_or_problems(tmp_path, data):
    """Damage raises one kind of exception, whatever it hits."""
    rng = np.random.default_rng(5)
    made = [synth.series(tmp_path / str(t), slices=2, rows=4, columns=4, modality="MR", seed=t,
                         series_uid="1.2.9", study_uid="1.2.8") for t in range(2)]  # fmt: skip
    originals = []
    for index, syntax in enumerate(synth.NATIVE):
        path = tmp_path / f"{index}.dcm"
        twin = multiframe.enhanced(path, made, transfer_syntax=syntax, undefined=index % 2 == 1)
        originals.append(twin.path.read_bytes())
    heads = [b"\xff\xff\xff\xff", b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0", b"\xfe\xff\x0d\xe0",
             b"UN\0\0", b"SQ\0\0", b"\0\0\0\0"]  # fmt: skip
    outcomes, messages = {"facts": 0}, set()
    for turn in range(1500):
        raw = bytearray(originals[turn % len(originals)])
        start = max(raw.find(b"\x00\x52\x29\x92"), 400)
        for _ in range(rng.integers(1, 4)):
            place = int(rng.integers(start, len(raw)))
            if rng.random() < 0.5:
                raw[place] = int(rng.choice([0, 0xFF, 0x20, 0x5C, 0x30, int(rng.integers(256))]))
            else:
                raw[place : place + 4] = heads[rng.integers(len(heads))]
        try:
            outcomes["facts"] += len(facts_of(bytes(raw), 4)) == 4
        except BadInstanceError as exc:
            messages.add(exc.message)
            outcomes[exc.code] = outcomes.get(exc.code, 0) + 1
    assert sum(outcomes.values()) == 1500
    assert min(outcomes["facts"], outcomes["BAD_LENGTH"], outcomes["BAD_VALUE"]) > 20
    assert all(map(str.isprintable, messages))
    assert not any(PHI in message for message in messages)


# ----------------------------------------------------------------------------------- the table


PRIVATE = {
    "SiemensBValue": "SIEMENS MR HEADER",
    "SiemensDirection": "SIEMENS MR HEADER",
    "GEDirectionX": "GEMS_ACQU_01",
    "GEDirectionY": "GEMS_ACQU_01",
    "GEDirectionZ": "GEMS_ACQU_01",
    "GEImageType": "GEMS_PARM_01",
    "GEBValue": "GEMS_PARM_01",
    "PhilipsBValue": "Philips Imaging DD 001",
}


def test_attributes_are_those_of_the_dictionary():
    for keyword, (tag, vr) in ATTRIBUTES.items():
        if keyword in PRIVATE:
            assert vr == private_dictionary_VR(tag, PRIVATE[keyword])
        elif keyword.endswith("Creator"):
            assert (tag & 0xFFFF, vr) == (0x10, "LO")
        else:
            assert (tag, vr) == (tag_for_keyword(keyword), dictionary_VR(tag))


def test_repeating_groups_are_read_once(tmp_path, monkeypatch):
    made = synth.series(tmp_path, slices=12)
    twin = multiframe.enhanced(tmp_path / "twin.dcm", [made], shared=False)
    calls = []
    monkeypatch.setattr(facts_module, "read_unit", lambda item: calls.append(item) or "")
    facts_of(twin.path.read_bytes())
    assert len(calls) == 2  # the top level and one group for all
