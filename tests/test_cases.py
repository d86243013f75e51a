"""Every kind of series, from files to an archive and back: verdict, place, axes, voxels."""

import random
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from cases import CASES, Case, Volume
from highdicom import legacy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sansfilm
from sansfilm.options import Options, Storage

OPTIONS = Options(storage=Storage(chunk=8, slab=4, smallest=8))
"""Small, so that volumes have several slabs and levels."""


@dataclass(frozen=True, slots=True)
class Made:
    """A case that was built and ingested, and each volume beside what it has to be."""

    folder: Path
    case: Case
    report: sansfilm.Report
    pairs: tuple[tuple[Volume, sansfilm.Volume], ...]


@pytest.fixture(scope="module", params=CASES)
def made(request, tmp_path_factory) -> Made:
    """Build and ingest a case; volumes are known by their frames."""
    folder = tmp_path_factory.mktemp("case")
    case = CASES[request.param](folder / request.param)
    report = sansfilm.ingest(folder / request.param, folder / "a", options=OPTIONS, workers=1)
    found = {
        frozenset(zip(volume.frames.sop_instance_uid, volume.frames.frame_number, strict=True)):
            volume
        for volume in sansfilm.open(folder / "a")
    }  # fmt: skip
    wanted = {
        frozenset(f for f in volume.frames.ravel() if f is not None): volume
        for volume in case.volumes
    }
    assert set(found) == set(wanted)
    pairs = tuple((wanted[key], found[key]) for key in wanted)
    return Made(folder / request.param, case, report, pairs)


def test_everything_is_accounted_for(made):
    frames, case = made.report.frames, made.case
    kept = sum(np.sum(~np.equal(volume.frames, None)) for volume in case.volumes)
    told = sum(case.problems.values())
    assert frames == {"found": kept + told, "stored": kept, "in_problems": told}
    assert Counter(str(problem.code) for problem in made.report.problems) == case.problems
    assert kept + told + case.copies == sum(map(frames_in, made.folder.rglob("*.dcm")))


def frames_in(path):
    """Count the frames of a file; the slices of a mosaic are frames."""
    ds = pydicom.dcmread(path, stop_before_pixels=True)
    private = ds.get((0x0019, 0x100A))
    return private.value if private else int(ds.get("NumberOfFrames", 1))


def test_verdicts_and_axes(made):
    for wanted, volume in made.pairs:
        assert volume.verdict.code == wanted.verdict
        assert volume.verdict.text.endswith(".")
        assert volume.axes == wanted.axes
        assert volume.array.shape == wanted.values.shape
        for name, value in wanted.numbers.items():
            assert volume.verdict.numbers[name] == pytest.approx(value)
        if volume.affine_lps is not None:
            assert volume.verdict.numbers["tolerances"]["z_mm"] == 0.2


def test_missing_frames_are_listed(made):
    for wanted, volume in made.pairs:
        missing = wanted.missing
        if len(wanted.frames.shape) == 1:
            missing = [index for (index,) in missing]
        assert volume.attributes["missing"] == missing
        assert volume.verdict.numbers.get("missing", []) == missing


def test_places(made):
    for wanted, volume in made.pairs:
        if wanted.affine is None:
            assert volume.affine_lps is None
            continue
        np.testing.assert_allclose(volume.affine_lps, wanted.affine, atol=1e-9)
        steps = np.linalg.norm(wanted.affine[:3, 1:3], axis=0)
        normal = np.cross(wanted.affine[:3, 2], wanted.affine[:3, 1]) / steps.prod()
        spacing = [wanted.affine[:3, 0] @ normal, *steps]
        np.testing.assert_allclose(volume.spacing_mm[-3:], spacing, atol=1e-9)
        if wanted.verdict == "variable":
            continue
        for row in volume.frames.itertuples():
            z = row.index if np.isscalar(row.index) else row.index[-1]
            np.testing.assert_allclose(row.position, (wanted.affine @ [z, 0, 0, 1])[:3], atol=1e-9)


def test_values_along_axes(made):
    for wanted, volume in made.pairs:
        given = volume.attributes["axes_values"]
        assert set(given) == set(wanted.along)
        for axis, along in wanted.along.items():
            if isinstance(along[0], float | int):
                assert given[axis]["values"] == pytest.approx(along)
            else:
                assert given[axis]["values"] == along


def test_each_frame_is_where_the_table_says(made):
    for wanted, volume in made.pairs:
        assert len(volume.frames) == np.sum(~np.equal(wanted.frames, None))
        for row in volume.frames.itertuples():
            index = (row.index,) if np.isscalar(row.index) else tuple(row.index)
            assert wanted.frames[index] == (row.sop_instance_uid, row.frame_number)


def modality_values(volume) -> np.ndarray:
    """Return level 0 as modality values, by the attributes alone."""
    values = volume.array[:].astype(np.float64)
    if volume.attributes["rescale"]["applied"]:
        return values
    rescale = volume.attributes["rescale"]
    return values * rescale["slope"] + rescale["intercept"]


def test_voxels(made):
    for wanted, volume in made.pairs:
        here = ~np.equal(wanted.frames, None)
        values = modality_values(volume)
        if np.isfinite(wanted.values[here]).all():
            np.testing.assert_array_equal(values[here], wanted.values[here])
        assert (volume.array[:][~here] == (volume.attributes["padding"] or [None])[0]).all()
        if not here.all():
            low, high = volume.attributes["padding"]
            stored = volume.array[:][here]
            if made.folder.name == "gap_beside_padding":
                assert ((stored >= low) & (stored <= high)).any()
            else:
                assert not ((stored >= low) & (stored <= high)).any()


def test_padding_stays_out_of_the_pyramid(made):
    """Each voxel of each level against the mean of level 0, written out here."""
    for _, volume in made.pairs:
        full, padding = volume.array[:], volume.attributes["padding"]
        out = np.zeros(full.shape, bool)
        if padding:
            out = (full >= padding[0]) & (full <= padding[1])
        assert len(volume.levels) > 1
        for level, array in enumerate(volume.levels[1:], start=1):
            factors = volume.factors(level).astype(int)
            expected = means(full, out, factors, padding)
            if full.dtype.kind == "f":
                np.testing.assert_allclose(array[:], expected, rtol=1e-6)
            else:
                np.testing.assert_array_equal(array[:], expected)


def means(full, out, factors, padding) -> np.ndarray:
    shape = [-(-size // factor) for size, factor in zip(full.shape, factors, strict=True)]
    wide = [(0, size * factor - extent)
            for size, factor, extent in zip(shape, factors, full.shape, strict=True)]  # fmt: skip
    exact = object if full.dtype.kind in "iu" else np.float64
    sums, counts = np.pad(np.where(out, 0, full), wide).astype(exact), np.pad(~out, wide)
    for axis, (size, factor) in enumerate(zip(shape, factors, strict=True)):
        split = (*sums.shape[:axis], size, factor, *sums.shape[axis + 1 :])
        sums, counts = (part.reshape(split).sum(axis + 1) for part in (sums, counts))
    some = np.maximum(counts, 1)
    mean = (2 * sums + some) // (2 * some) if exact is object else sums / some
    return np.where(counts > 0, mean, padding[0] if padding else 0).astype(full.dtype)


# ------------------------------------------------------------------------- independent programs


NOT_FOR_HIGHDICOM = (
    "enhanced_time", "enhanced_in_two_objects", "mosaics", "oblique_mosaics_from_the_top",
    "mosaics_of_nobody_knows_how_many", "radiographs",
)  # fmt: skip
"""Big endian; a series of two objects; mosaics are pictures to it, and
radiographs with positions slices."""


@pytest.mark.filterwarnings("ignore")
def test_highdicom_takes_what_is_regular_and_nothing_else(made):
    """Its volume is ours; where it refuses a series, ours is not one regular volume."""
    if made.folder.name in NOT_FOR_HIGHDICOM:
        pytest.skip("highdicom does not read it")
    wanted, volume = made.pairs[0]
    regular = len(made.pairs) == 1 and wanted.verdict in ("regular", "single")
    regular = regular and wanted.axes == ("z", "y", "x") and not made.case.copies
    theirs = with_highdicom(made.folder)
    assert (theirs is not None) == regular
    if theirs is None:
        return
    their_affine = theirs.affine.copy()
    if wanted.verdict == "single":  # it takes 1 mm, we the slice thickness
        their_affine[:3, 0] *= volume.spacing_mm[0]
    ours, affine = canonical(modality_values(volume), volume.affine_lps)
    their_values, their_affine = canonical(theirs.array, their_affine)
    np.testing.assert_allclose(affine, their_affine, atol=1e-4)
    np.testing.assert_allclose(ours, their_values, rtol=1e-6)


def with_highdicom(folder):
    datasets = [pydicom.dcmread(path) for path in sorted(folder.rglob("*.dcm"))]
    if "NumberOfFrames" in datasets[0]:
        (one,) = datasets
        image = highdicom.Image.from_dataset(one)
        regular = image.get_volume_geometry() is not None
        try:
            found = image.get_volume() if regular else None
        except RuntimeError:  # several frames at one place
            found = None
        return found
    for ds in datasets:
        ds.FrameOfReferenceUID = ds.get("FrameOfReferenceUID", "1.2.3")
    try:
        return highdicom.get_volume_from_series(datasets)
    except (ValueError, AttributeError):
        return None


@pytest.mark.parametrize("name", ["shuffled", "reversed_files", "oblique", "feet_first", "padding"])
def test_simpleitk_where_it_is_right(tmp_path, name):
    CASES[name](tmp_path / name)
    (volume,) = sansfilm.read(tmp_path / name)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / name)))
    image = reader.Execute()
    theirs = np.eye(4)  # from (x, y, z) to LPS
    theirs[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    theirs[:3, 3] = image.GetOrigin()
    array = SimpleITK.GetArrayFromImage(image)
    expected, expected_affine = canonical(array, theirs[:, [2, 1, 0, 3]])
    ours, affine = canonical(volume.array[:], volume.affine_lps)
    np.testing.assert_allclose(affine, expected_affine, atol=1e-4)
    np.testing.assert_array_equal(ours, expected)


def canonical(array, affine_lps):
    """Turn (array, affine) so that index directions are patient directions: flips fall away."""
    image = nibabel.Nifti1Image(array.astype(np.float64), np.diag([-1, -1, 1, 1]) @ affine_lps)
    turned = nibabel.as_closest_canonical(image)
    return np.asarray(turned.dataobj), turned.affine


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("shuffled", 1), ("oblique", 1), ("temporal_position", 1), ("trigger_time", 1),
        ("acquisition_time_by_rank", 1), ("contrast_phases", 1), ("b_values", 1), ("echoes", 3),
        ("magnitude_and_phase", 2), ("mixed_orientations", 3), ("localizers", 3),
        ("components_of_ge", 4), ("mosaics", 1), ("oblique_mosaics_from_the_top", 1),
    ],
)  # fmt: skip
def test_dcm2niix_splits_and_orders_alike(tmp_path, name, files):
    """The same 3-D volumes, and those of a time series in the same order."""
    program = pytest.importorskip("dcm2niix").bin
    number_in_order(tmp_path / name, CASES[name](tmp_path / name))
    (tmp_path / "nii").mkdir()
    arguments = ["-z", "n", "-b", "n", "-f", "%s_%e_%u", "-o", tmp_path / "nii", tmp_path / name]
    subprocess.run([program, *arguments], check=True, capture_output=True)
    theirs = []
    for path in sorted((tmp_path / "nii").glob("*.nii")):
        nifti = nibabel.as_closest_canonical(nibabel.load(path))
        values = nifti.get_fdata()
        volumes = np.moveaxis(values, 3, 0) if values.ndim == 4 else [values]
        theirs.append([(one, nifti.affine) for one in volumes])
    assert len(theirs) == files
    found = sansfilm.read(tmp_path / name)
    ours = []
    for volume in found:
        volumes = modality_values(volume).reshape(-1, *volume.array.shape[-3:])
        ours.append([canonical(one, volume.affine_lps) for one in volumes])
    if found[0].axes[0] in ("echo", "component"):  # a file for each
        ours = [[one] for one in ours[0]]
    for volumes in ours:
        assert any(same(volumes, others, ordered=name != "b_values") for others in theirs)


def number_in_order(folder, case):
    """Give instances the numbers of a scanner: dcm2niix goes by them."""
    frames = [uid for volume in case.volumes for uid, _ in volume.frames.ravel()]
    frames = list(dict.fromkeys(frames))
    for path in folder.glob("*.dcm"):
        ds = pydicom.dcmread(path)
        ds.InstanceNumber = frames.index(ds.SOPInstanceUID) + 1
        ds.save_as(path)


def same(ours, theirs, *, ordered) -> bool:
    if len(ours) != len(theirs):
        return False
    if ordered:
        return all(alike(one, other) for one, other in zip(ours, theirs, strict=True))
    return all(any(alike(one, other) for other in theirs) for one in ours)


def alike(ours, theirs) -> bool:
    return ours[0].shape == theirs[0].shape and (
        np.array_equal(ours[0], theirs[0]) and np.allclose(ours[1], theirs[1], atol=1e-3)
    )


# ------------------------------------------------------------------------------------- twins


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", ["shuffled", "oblique", "tilt", "gap", "variable", "slopes_of_pet"]
)
def test_what_highdicom_converts_is_the_same(tmp_path, name):
    """Its legacy converted enhanced objects against the classic files that they are made of."""
    folder = tmp_path / name
    CASES[name](folder)
    datasets = [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]
    kind = {
        "CT": legacy.LegacyConvertedEnhancedCTImage,
        "PT": legacy.LegacyConvertedEnhancedPETImage,
    }
    for ds in datasets:
        ds.AccessionNumber = ds.ReferringPhysicianName = ds.StudyID = ds.Manufacturer = ""
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    converted = kind[datasets[0].Modality](
        datasets, series_instance_uid="1.2.3", series_number=2, sop_instance_uid="1.2.4",
        instance_number=1,
    )  # fmt: skip
    (tmp_path / "converted").mkdir()
    converted.save_as(tmp_path / "converted" / "one.dcm")
    (classic,), (one,) = sansfilm.read(folder), sansfilm.read(tmp_path / "converted")
    assert one.verdict.code == classic.verdict.code
    np.testing.assert_array_equal(one.array[:], classic.array[:])
    np.testing.assert_allclose(one.affine_lps, classic.affine_lps, atol=1e-6)
    assert one.attributes["missing"] == classic.attributes["missing"]


def test_classic_and_enhanced_twins_are_the_same(data):
    """One scan, stored both ways by its scanner."""
    (classic,) = sansfilm.read(data / "mr-asl")
    (one,) = sansfilm.read(data / "mr-asl-enhanced")
    np.testing.assert_array_equal(one.array[:], classic.array[:])
    np.testing.assert_allclose(one.affine_lps, classic.affine_lps, atol=1e-6)
    assert (one.verdict.code, classic.verdict.code) == ("regular", "regular")
    assert list(one.frames.pixel_digest) == list(classic.frames.pixel_digest)


def test_legacy_converted_twins_are_the_same(shared_data):
    volumes = sansfilm.read(shared_data / "enhanced" / "dcmqi-legacy-converted-ct")
    one, other = volumes
    np.testing.assert_array_equal(one.array[:], other.array[:])
    np.testing.assert_allclose(one.affine_lps, other.affine_lps, atol=1e-6)


# ------------------------------------------------------------------------- whatever the order


@pytest.fixture(scope="module")
def everything(tmp_path_factory, data) -> list[Path]:
    """Give the files of all cases, and broken ones."""
    folder = tmp_path_factory.mktemp("everything")
    for name, build in CASES.items():
        build(folder / name)
    return sorted(path for root in (folder, data / "malformed") for path in root.rglob("*.dcm"))


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32), part=st.floats(0.05, 1))
def test_some_files_in_any_order(tmp_path_factory, everything, seed, part):
    """Nothing lost, and the same volumes whatever the order."""
    chance = random.Random(seed)
    files = chance.sample(everything, max(1, round(part * len(everything))))
    url = tmp_path_factory.mktemp("plan") / "a"
    one = sansfilm.ingest(files, url, dry_run=True, workers=1)
    chance.shuffle(files)
    other = sansfilm.ingest(files, url, dry_run=True, workers=1)
    assert one.frames == other.frames
    assert one.frames["found"] == one.frames["stored"] + one.frames["in_problems"]
    assert ids(one) == ids(other)
    told = [[(p.uri, p.code, p.message, p.frame) for p in each.problems] for each in (one, other)]
    assert sorted(told[0], key=repr) == sorted(told[1], key=repr)


@pytest.mark.parametrize("seed", range(2))
def test_some_files_are_stored_in_any_order(tmp_path, everything, seed):
    chance = random.Random(seed)
    files = chance.sample(everything, len(everything) // 3)
    planned = sansfilm.ingest(files, tmp_path / "a", dry_run=True, workers=1)
    report = sansfilm.ingest(files, tmp_path / "a", options=OPTIONS)
    chance.shuffle(files)
    again = sansfilm.ingest(files, tmp_path / "a", options=OPTIONS)
    for each in (report, again):
        assert each.frames["found"] == each.frames["stored"] + each.frames["in_problems"]
        assert each.frames["found"] == planned.frames["found"]
    assert ids(again) == ids(report)
    assert len(again.unchanged) == len(report.volumes)
    stored = sum(len(volume.frames) for volume in sansfilm.open(tmp_path / "a"))
    assert stored == report.frames["stored"]


def ids(report) -> set[str]:
    return {row["volume_id"] for row in report.volumes}
