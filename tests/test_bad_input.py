"""Headers and frames that cannot be: each a Problem with its code, or told in the verdict."""

from collections import Counter

import numpy as np
import pydicom
import pytest
import synth
from multiframe import enhanced, values

import sansfilm
from sansfilm.options import Options, Tolerances

BAD = "BAD_VALUE"
GAPPED = [("gapped", 6)]


def ingested(folder, options=None):
    """Ingest; return codes of problems, and verdict and extent along the stack of volumes."""
    report = sansfilm.ingest(folder / "in", folder / "a", options=options, workers=1)
    frames = report.frames
    assert frames["found"] == frames["stored"] + frames["in_problems"]
    assert not any("ZZPHI" in problem.message for problem in report.problems)
    codes = Counter(str(problem.code) for problem in report.problems)
    assert frames["in_problems"] == sum(problem.frames for problem in report.problems)
    volumes = sorted((row["verdict"], row["shape"][-3]) for row in report.volumes)
    return dict(codes), volumes


# -------------------------------------------------------------------------- one slice of a series


def put(**changes):
    def edit(ds):
        for keyword, value in changes.items():
            setattr(ds, keyword, value)

    return edit


def drop(*keywords):
    def edit(ds):
        for keyword in keywords:
            delattr(ds, keyword)

    return edit


def text(keyword, value):
    """Put text where numbers belong: pydicom writes what it is given as long text."""

    def edit(ds):
        ds.add_new(keyword, "LO", value)

    return edit


IPP, IOP, SPACING = 0x00200032, 0x00200037, 0x00280030


@pytest.mark.parametrize(
    ("edit", "codes", "volumes"),
    [
        (drop("ImagePositionPatient"), {}, [*GAPPED, ("single", 1)]),
        (drop("ImageOrientationPatient"), {}, [*GAPPED, ("single", 1)]),
        (drop("PixelSpacing"), {}, [*GAPPED, ("single", 1)]),
        (put(ImagePositionPatient=None), {}, [*GAPPED, ("single", 1)]),
        (text(IPP, "a\\b\\c"), {BAD: 1}, GAPPED),
        (text(IPP, "nan\\0\\0"), {BAD: 1}, GAPPED),
        (text(IPP, "1e400\\0\\0"), {BAD: 1}, GAPPED),
        (text(IPP, "1,5\\0\\0"), {BAD: 1}, GAPPED),
        (put(ImagePositionPatient=[1, 2]), {BAD: 1}, GAPPED),
        (put(ImagePositionPatient=[1, 2, 3, 4]), {BAD: 1}, GAPPED),
        (put(ImagePositionPatient=["1e9", "0", "0"]), {BAD: 1}, GAPPED),
        (text(IOP, "1\\0\\0\\0\\x\\0"), {BAD: 1}, GAPPED),
        (put(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), {BAD: 1}, GAPPED),
        (put(ImageOrientationPatient=[0, 0, 0, 0, 0, 0]), {BAD: 1}, GAPPED),
        (put(ImageOrientationPatient=[2, 0, 0, 0, 2, 0]), {BAD: 1}, GAPPED),
        (put(ImageOrientationPatient=[1, 0, 0, "0.02", 1, 0]), {BAD: 1}, GAPPED),
        (put(ImageOrientationPatient=["1.02", 0, 0, 0, 1, 0]), {BAD: 1}, GAPPED),
        (put(ImageOrientationPatient=[1, 0, 0]), {BAD: 1}, GAPPED),
        (put(PixelSpacing=[0, 0]), {BAD: 1}, GAPPED),
        (put(PixelSpacing=["0.7", 0]), {BAD: 1}, GAPPED),
        (put(PixelSpacing=["-0.7", "0.8"]), {BAD: 1}, GAPPED),
        (put(PixelSpacing=["0.7"]), {BAD: 1}, GAPPED),
        (text(SPACING, "0.7\\wide"), {BAD: 1}, GAPPED),
        (put(RescaleSlope="0"), {BAD: 1}, GAPPED),
        (put(RescaleSlope="1e-320"), {BAD: 1}, GAPPED),
        (put(SliceThickness="-3"), {}, [("regular", 6)]),
        (put(SliceThickness="0"), {}, [("regular", 6)]),
        (put(NumberOfFrames=2), {"PIXEL_LENGTH": 1}, GAPPED),
        (put(NumberOfFrames=0), {BAD: 1}, GAPPED),
        (put(Rows=31), {"PIXEL_LENGTH": 1}, GAPPED),
        (drop("SeriesInstanceUID"), {"BAD_UID": 1}, GAPPED),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_one_slice_that_cannot_be(tmp_path, edit, codes, volumes):
    """The others keep their lattice, and the lost slice is a gap."""
    synth.series(tmp_path / "in", slices=6, edit=lambda ds, z: edit(ds) if z == 2 else None)
    assert ingested(tmp_path) == (codes, volumes)


def test_a_slice_that_is_not_quite_straight_is_a_matter_of_tolerance(tmp_path):
    crooked = put(ImageOrientationPatient=[1, 0, 0, "0.02", 1, 0])
    synth.series(tmp_path / "in", slices=6, edit=lambda ds, _: crooked(ds))
    assert ingested(tmp_path) == ({BAD: 6}, [])
    options = Options(tolerances=Tolerances(direction=0.05))
    assert ingested(tmp_path, options) == ({}, [("regular", 6)])
    (volume,) = sansfilm.open(tmp_path / "a")
    assert volume.verdict.numbers["tolerances"]["direction"] == 0.05


# ------------------------------------------------------------------------------ enhanced objects


@pytest.fixture
def make(tmp_path):
    """Give a function that writes an enhanced object of six slices and so many times."""

    def write(edit=None, times=1, shared=False, syntax=synth.EXPLICIT_LE, **more):
        made = [
            synth.series(tmp_path / str(t), slices=6, modality="MR", seed=t, series_uid="1.2.9",
                         study_uid="1.2.8")
            for t in range(times)
        ]  # fmt: skip
        (tmp_path / "in").mkdir()
        enhanced(tmp_path / "in" / "a.dcm", made, edit=edit, shared=shared,
                 transfer_syntax=syntax, **more)  # fmt: skip
        return made

    return write


def test_frames_without_functional_groups_are_pictures(tmp_path, make):
    (made,) = make(drop("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"))
    assert ingested(tmp_path) == ({}, [("series2d", 6)])
    (volume,) = sansfilm.open(tmp_path / "a")
    kept = {frame.tobytes() for frame in volume.array[:]}
    assert kept == {frame.astype("u2").tobytes() for frame in made.stored}


def test_some_frames_without_a_place(tmp_path, make):
    def edit(ds):
        for groups in ds.PerFrameFunctionalGroupsSequence:
            if groups.FrameContentSequence[0].InStackPositionNumber in (1, 4):
                del groups.PlanePositionSequence

    make(edit)
    assert ingested(tmp_path) == ({}, [("gapped", 5), ("series2d", 2)])


@pytest.mark.parametrize("number", [0, 1, 5, 7, 600, 10**9])
@pytest.mark.parametrize("syntax", [synth.EXPLICIT_LE, synth.J2K])
@pytest.mark.parametrize("groups", [True, False])
def test_wrong_number_of_frames(tmp_path, make, number, syntax, groups):
    def edit(ds):
        ds.NumberOfFrames = number
        if not groups:
            del ds.PerFrameFunctionalGroupsSequence

    make(edit, syntax=syntax)
    report = sansfilm.ingest(tmp_path / "in", tmp_path / "a", workers=1)
    assert (
        report.frames["found"]
        == report.frames["in_problems"]
        == (number if 0 < number <= 10**6 else 1)
    )
    expected = {BAD, "PIXEL_LENGTH", "BAD_FRAGMENTS"} if number < 10**6 else {"BUDGET"}
    (problem,) = report.problems
    assert str(problem.code) in expected
    if groups and 0 < number < 10**6:
        assert str(problem.code) == BAD


def first_position(ds):
    return ds.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]


@pytest.mark.parametrize(
    "edit",
    [
        lambda ds: setattr(first_position(ds), "ImagePositionPatient", [1, 2]),
        lambda ds: first_position(ds).add_new(IPP, "LO", "a\\b\\c"),
        lambda ds: setattr(
            ds.PerFrameFunctionalGroupsSequence[0].PlaneOrientationSequence[0],
            "ImageOrientationPatient", [1, 0, 0, 1, 0, 0]),
        lambda ds: setattr(
            ds.PerFrameFunctionalGroupsSequence[0].PixelMeasuresSequence[0],
            "PixelSpacing", [0, 0]),
        lambda ds: setattr(
            ds.PerFrameFunctionalGroupsSequence[0].PixelValueTransformationSequence[0],
            "RescaleSlope", "0"),
        lambda ds: setattr(
            ds.PerFrameFunctionalGroupsSequence[0].FrameContentSequence[0],
            "DimensionIndexValues", [1]),
        lambda ds: setattr(ds, "DimensionIndexSequence", ds.DimensionIndexSequence[:1]),
        lambda ds: ds.PerFrameFunctionalGroupsSequence.pop(),
        lambda ds: ds.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence.append(
            values(ImagePositionPatient=[0, 0, 0])),
    ],
    ids=["two numbers", "text", "parallel", "spacing", "slope", "one index", "one dimension",
         "one group less", "two positions"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_groups_that_cannot_be(tmp_path, make, edit):
    """A header that contradicts itself says nothing of any frame: the object is a Problem."""
    make(edit)
    report = sansfilm.ingest(tmp_path / "in", tmp_path / "a", workers=1)
    (problem,) = report.problems
    assert (str(problem.code), problem.frames) == (BAD, 6)
    assert report.frames == {"found": 6, "stored": 0, "in_problems": 6}


def test_a_crooked_frame_of_an_object_costs_itself(tmp_path, make):
    def edit(ds):
        for groups in ds.PerFrameFunctionalGroupsSequence:
            if groups.FrameContentSequence[0].InStackPositionNumber == 3:
                place = groups.PlaneOrientationSequence[0]
                place.ImageOrientationPatient = [1, 0, 0, "0.02", 1, 0]

    make(edit)
    assert ingested(tmp_path) == ({BAD: 1}, GAPPED)


def test_indices_that_contradict_positions_do_not_count(tmp_path, make):
    """Where a slice is, its position says."""

    def edit(ds):
        for groups in ds.PerFrameFunctionalGroupsSequence:
            content = groups.FrameContentSequence[0]
            content.InStackPositionNumber = 7 - content.InStackPositionNumber
            content.DimensionIndexValues = [1, 1]

    (made,) = make(edit)
    assert ingested(tmp_path) == ({}, [("regular", 6)])
    (volume,) = sansfilm.open(tmp_path / "a")
    np.testing.assert_array_equal(volume.array[:], made.values)
    np.testing.assert_allclose(volume.affine_lps, made.affine_lps, atol=1e-9)


def test_two_frames_with_one_set_of_indices(tmp_path, make):
    """Time is what the object says; where it says one time twice, nothing is guessed."""

    def edit(ds):
        for groups in ds.PerFrameFunctionalGroupsSequence:
            content = groups.FrameContentSequence[0]
            content.TemporalPositionIndex, content.DimensionIndexValues[2] = 1, 1
            del content.FrameAcquisitionDateTime

    make(edit, times=2)
    assert ingested(tmp_path) == ({}, [("series2d", 12)])
    (volume,) = sansfilm.open(tmp_path / "a")
    assert "nothing says which" in volume.verdict.text
    assert volume.frames.position.notna().all()


def test_times_that_contradict_the_index_keep_its_order(tmp_path, make):
    def edit(ds):
        for groups in ds.PerFrameFunctionalGroupsSequence:
            content = groups.FrameContentSequence[0]
            second = 19 - content.TemporalPositionIndex
            content.FrameAcquisitionDateTime = f"202601020304{second:02d}"

    made = make(edit, times=3)
    assert ingested(tmp_path) == ({}, [("regular", 6)])
    (volume,) = sansfilm.open(tmp_path / "a")
    assert volume.axes == ("t", "z", "y", "x")
    np.testing.assert_array_equal(volume.array[:], np.stack([each.values for each in made]))


def test_the_second_object_of_one_uid(tmp_path, make):
    """Other pixels under one UID: neither object is used."""
    make()
    ds = pydicom.dcmread(tmp_path / "in" / "a.dcm")
    ds.PixelData = ds.PixelData[::-1]
    synth.write(ds, tmp_path / "in" / "b.dcm")
    assert ingested(tmp_path) == ({"CONFLICT": 12}, [])
