"""Functional groups against the classic twin, pydicom and highdicom."""

import contextlib
import warnings
from datetime import UTC, datetime
from io import BytesIO

import highdicom
import multiframe
import numpy as np
import pydicom
import pytest
import synth
from pydicom.dataset import Dataset
from reading import facts_of, header_of, problem_of

from sansfilm.errors import ProblemCode

SAME = ("position", "orientation", "pixel_spacing", "slice_thickness", "slope", "intercept",
        "unit", "windows", "voi_function")  # fmt: skip
"""What classic headers and functional groups both say."""


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
    """Tell by the pixels which classic slice is which frame; all else must then be the same."""
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
            raw = path.read_bytes() if path.is_file() else b""
            if b"\x00\x52\x30\x92" in raw or b"\x52\x00\x92\x30" in raw:
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
    geometry = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(AttributeError, RuntimeError, ValueError):  # what it cannot read
            image = highdicom.imread(BytesIO(path.read_bytes()))
            geometry = image.get_volume_geometry(allow_duplicate_positions=True)
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
    files = files_with_groups(shared_data / "enhanced", shared_data / "seg")
    assert sum(check_against_highdicom(path) > 0 for path, _ in files) > 5
