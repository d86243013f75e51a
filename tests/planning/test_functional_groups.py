"""Functional groups against the classic twin, pydicom and highdicom, and headers that are wrong."""

import math
import warnings
from datetime import UTC, datetime
from functools import partial

import highdicom
import multiframe
import numpy as np
import pydicom
import pytest
import synth
from multiframe import values
from pydicom.dataset import Dataset
from sansfilm.ingest import dataset
from sansfilm.ingest.headers import read_header

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import FileRef, FrameFacts, Header, Window
from sansfilm.options import Budgets
from sansfilm.planning.functional_groups import frame_facts

PHI = "ZZPHI"
SAME = ("position", "orientation", "pixel_spacing", "slice_thickness", "slope", "intercept",
        "unit", "windows", "voi_function")  # fmt: skip
"""What classic headers and functional groups both say."""


def facts_of(raw: bytes, number_of_frames: int | None = None) -> list[FrameFacts]:
    syntax, start = dataset.read_meta(raw, len(raw))
    if syntax == dataset.DEFLATED_LE:
        raw, start = dataset.inflate(raw[start:], 2**24), 0
    walked = dataset.walk(raw, start, syntax, len(raw), Budgets())
    if number_of_frames is None:
        _, offset, length = walked.elements.get(0x00280008, (b"", 0, 0))
        number_of_frames = int(raw[offset : offset + length].strip(b"\0 ") or 1)
    return frame_facts(raw, walked, syntax, number_of_frames)


def problem_of(raw: bytes, number_of_frames: int | None = None) -> ProblemCode:
    with pytest.raises(BadInstanceError) as caught:
        facts_of(raw, number_of_frames)
    assert caught.value.message.isprintable()
    assert PHI not in caught.value.message
    return caught.value.code


def header_of(path) -> Header:
    header = read_header(FileRef(str(path), path.stat().st_size), Budgets())
    assert isinstance(header, Header)
    return header


# ------------------------------------------------------------------------------ classic twins


@pytest.mark.parametrize("syntax", [*synth.NATIVE, synth.J2K])
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_the_same_as_the_classic_twin(tmp_path, syntax, modality):
    turned = (0.8, 0.6, 0, 0, 0, -1)
    made = synth.series(tmp_path, modality=modality, orientation=turned, slope=0.5, slices=7)
    twin = multiframe.enhanced(tmp_path / "twin.dcm", [made], transfer_syntax=syntax)
    found = facts_of(twin.path.read_bytes())
    assert len(found) == 7
    for facts, source in zip(found, twin.sources, strict=True):
        classic = header_of(source)
        assert [getattr(facts, name) for name in SAME] == [getattr(classic, n) for n in SAME]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("slope", [0.25, (1, 0.5, 0.25)], ids=["one slope", "slope per slice"])
def test_groups_wherever_and_however_they_stand(tmp_path, shared, undefined, slope):
    made = synth.series(tmp_path, modality="MR", slope=slope, slices=3)
    twin = multiframe.enhanced(
        tmp_path / "twin.dcm", [made], shared=shared, undefined=undefined, seed=2
    )
    for facts, source in zip(facts_of(twin.path.read_bytes()), twin.sources, strict=True):
        classic = header_of(source)
        assert [getattr(facts, name) for name in SAME] == [getattr(classic, n) for n in SAME]


def test_time_and_stack_dimensions(tmp_path):
    def echo(ds, _):
        ds.EchoTime = "2.5"

    made = [synth.series(tmp_path / str(t), seed=t, slices=4, modality="MR", series_uid="1.2.9",
                         study_uid="1.2.8", edit=echo) for t in range(3)]  # fmt: skip
    twin = multiframe.enhanced(tmp_path / "twin.dcm", made)
    start = datetime(2026, 1, 2, 3, 4, 10, 500_000, tzinfo=UTC).timestamp()
    for facts, (t, z) in zip(facts_of(twin.path.read_bytes()), twin.places, strict=True):
        assert facts.axes == {
            "TemporalPositionIndex": t + 1, "FrameAcquisitionDateTime": start + t, "StackID": "1",
            "EffectiveEchoTime": 2.5, "Dimension:Stack ID": 1,
            "Dimension:TemporalPositionIndex": t + 1,
        }  # fmt: skip
        assert facts.extra["InStackPositionNumber"] == z + 1
        assert facts.extra["DimensionIndexValues"] == (1, z + 1, t + 1)
        place = made[t].affine_lps @ [z, 0, 0, 1]
        np.testing.assert_allclose(facts.position, place[:3], atol=1e-9)


def check_philips(classic_folder, enhanced_file):
    """The pixels tell which classic slice is which frame; all else must then be the same."""
    slices = {}
    for path in classic_folder.iterdir():
        if path.suffix == ".dcm":
            slices[pydicom.dcmread(path).PixelData] = header_of(path)
    ds = pydicom.dcmread(enhanced_file)
    size = ds.Rows * ds.Columns * 2
    found = facts_of(enhanced_file.read_bytes())
    assert len(slices) == len(found) == 40
    for index, facts in enumerate(found):
        classic = slices.pop(ds.PixelData[index * size : (index + 1) * size])
        np.testing.assert_allclose(facts.position, classic.position, atol=1e-9)
        np.testing.assert_allclose(facts.orientation, classic.orientation, atol=1e-9)
        for name in ("pixel_spacing", "slice_thickness", "slope", "intercept", "windows"):
            assert getattr(facts, name) == getattr(classic, name)
        assert facts.axes["EffectiveEchoTime"] == classic.extra["EchoTime"]
        assert facts.axes["RepetitionTime"] == classic.extra["RepetitionTime"]


def test_philips_twins(data):
    check_philips(data / "mr-asl", next((data / "mr-asl-enhanced").iterdir()))


def test_legacy_converted_twins(shared_data):
    folder = shared_data / "enhanced" / "dcmqi-legacy-converted-ct"
    found = facts_of((folder / "mf.dcm").read_bytes())
    for facts in found:
        source = facts.extra["ReferencedSOPInstanceUID"]
        classic = next(
            h for h in map(header_of, folder.glob("IMG*")) if h.sop_instance_uid == source
        )
        assert facts.position == classic.position
        assert facts.orientation == classic.orientation
        assert facts.pixel_spacing == classic.pixel_spacing
        assert facts.extra["InstanceNumber"] == classic.instance_number


# ------------------------------------------------------------------ pydicom and highdicom


def files_with_groups(*folders):
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.read_bytes()[128:132] == b"DICM":
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    ds = pydicom.dcmread(path, stop_before_pixels=True)
                if "PerFrameFunctionalGroupsSequence" in ds and "Rows" in ds:
                    yield path, ds


def check_against_pydicom(path, ds) -> None:
    def first(frame: Dataset, group: str) -> Dataset:
        own = frame.get(group) or ds.SharedFunctionalGroupsSequence[0].get(group)
        return own[0] if own else Dataset()

    def floats(item: Dataset, keyword: str) -> tuple[float, ...] | None:
        value = item.get(keyword)
        if value in (None, ""):
            return None
        return (
            tuple(map(float, value))
            if isinstance(value, pydicom.multival.MultiValue)
            else (float(value),)
        )

    if "SharedFunctionalGroupsSequence" not in ds or not ds.SharedFunctionalGroupsSequence:
        ds.SharedFunctionalGroupsSequence = [Dataset()]
    found = facts_of(path.read_bytes())
    for facts, frame in zip(found, ds.PerFrameFunctionalGroupsSequence, strict=True):
        position = floats(first(frame, "PlanePositionSequence"), "ImagePositionPatient")
        orientation = floats(first(frame, "PlaneOrientationSequence"), "ImageOrientationPatient")
        if position and orientation:
            assert (facts.position, facts.orientation) == (position, orientation)
        measures = first(frame, "PixelMeasuresSequence")
        assert facts.pixel_spacing == floats(measures, "PixelSpacing")
        assert (facts.slice_thickness,) == (floats(measures, "SliceThickness") or (None,))
        rescale = first(frame, "PixelValueTransformationSequence")
        assert (facts.slope,) == (floats(rescale, "RescaleSlope") or (1,))
        assert (facts.intercept,) == (floats(rescale, "RescaleIntercept") or (0,))
        window = first(frame, "FrameVOILUTSequence")
        centers, widths = floats(window, "WindowCenter") or (), floats(window, "WindowWidth") or ()
        assert [(w.center, w.width) for w in facts.windows] == list(
            zip(centers, widths, strict=True)
        )
        content = first(frame, "FrameContentSequence")
        indices = content.get("DimensionIndexValues", ())
        assert facts.extra.get("DimensionIndexValues", ()) == tuple(np.atleast_1d(indices))
        for keyword in ("StackID", "TemporalPositionIndex", "FrameAcquisitionNumber"):
            assert facts.axes.get(keyword) == content.get(keyword)
        diffusion = first(frame, "MRDiffusionSequence")
        assert facts.axes.get("DiffusionBValue") == diffusion.get("DiffusionBValue")
        assert facts.axes.get("EffectiveEchoTime") == first(frame, "MREchoSequence").get(
            "EffectiveEchoTime"
        )


def test_groups_of_our_files(data):
    seen = [check_against_pydicom(*file) for file in files_with_groups(data / "mr-asl-enhanced",
                                                                       data / "seg")]  # fmt: skip
    assert len(seen) == 2


def test_groups_of_all_files(shared_data):
    seen = 0
    for path, ds in files_with_groups(shared_data):
        if len(ds.PerFrameFunctionalGroupsSequence) == (ds.get("NumberOfFrames") or 1):
            check_against_pydicom(path, ds)
            seen += 1
        else:
            assert problem_of(path.read_bytes()) == ProblemCode.BAD_VALUE
    assert seen > 30


def check_against_highdicom(path) -> int:
    """Every frame lies where highdicom has it; return for how many it knows that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        geometry = highdicom.imread(path).get_volume_geometry(allow_duplicate_positions=True)
    if geometry is None:
        return 0
    found = facts_of(path.read_bytes())
    spacing = found[0].pixel_spacing
    np.testing.assert_allclose(geometry.pixel_spacing, spacing, rtol=1e-6)
    corners = geometry.affine @ [
        [*range(geometry.spatial_shape[0])], *[[0] * geometry.spatial_shape[0]] * 2,
        [1] * geometry.spatial_shape[0],
    ]  # fmt: skip
    apart = np.linalg.norm(corners[:3].T[:, None] - [f.position for f in found], axis=2)
    assert apart.min(axis=0).max() < 1e-2
    return len(found)


def test_places_of_highdicom(tmp_path, data):
    made = [synth.series(tmp_path / str(t), orientation=(0, 1, 0, 0, 0, -1), seed=t, modality="MR",
                         series_uid="1.2.9", study_uid="1.2.8") for t in range(2)]  # fmt: skip
    twin = multiframe.enhanced(tmp_path / "twin.dcm", made, shared=False)
    assert check_against_highdicom(twin.path) == 24
    assert check_against_highdicom(next((data / "mr-asl-enhanced").iterdir())) == 40


def test_places_of_highdicom_in_all_files(shared_data):
    known = [path for path, _ in files_with_groups(shared_data / "enhanced", shared_data / "seg")]
    counts = []
    for path in known:
        try:
            counts.append(check_against_highdicom(path))
        except (ValueError, RuntimeError, AttributeError) as exc:  # of highdicom
            assert not isinstance(exc, BadInstanceError)
    assert sum(map(bool, counts)) > 5


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
    mapping = {"RealWorldValueSlope": 2.5, "RealWorldValueIntercept": -1.0, "LUTLabel": "T1",
               "MeasurementUnits": "ms"}  # fmt: skip
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
    assert make((0x00189087, ""), (0x00186060, ""), indices=[[1, 2], [3, 1]]) == [
        {"Dimension:DiffusionBValue": 1, "Dimension:RadioFrequency?": 2}, {},
    ][:0] or make((0x00189087, ""), (0x20051011, ""), indices=[[1, 2], [3, 1]]) == [
        {"Dimension:DiffusionBValue": 1, "Dimension:(2005,1011)": 2},
        {"Dimension:DiffusionBValue": 3, "Dimension:(2005,1011)": 1},
    ]  # fmt: skip
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
        rescaled("1", "1e400"[:5] + "00"[:0] + "9"),
        values(PlanePositionSequence=[values(), values()]),
        values(PixelValueTransformationSequence=[values(RescaleSlope="1"), values()]),
    ],
)
def test_values_that_cannot_be(tmp_path, shared):
    assert problem_of(with_groups(tmp_path / "a.dcm", shared=shared)) == ProblemCode.BAD_VALUE
