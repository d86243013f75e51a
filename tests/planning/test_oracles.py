"""Geometry against highdicom and SimpleITK: the same volumes, and nothing that they refuse."""

import warnings
from functools import partial

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK
import synth

from sansfilm.model import Frame, VolumePlan
from sansfilm.options import Options
from sansfilm.planning.grouping import plan_volumes
from sansfilm.tasks import pixel_digest

OPTIONS = Options()
ORIENTATIONS = {
    "axial": (1, 0, 0, 0, 1, 0),
    "feet first": (-1, 0, 0, 0, 1, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "coronal": (1, 0, 0, 0, 0, -1),
    "oblique": (0.8, 0.6, 0, -0.36, 0.48, 0.8),
}

_WORDS = {"L": "left", "R": "right", "A": "anterior", "P": "posterior", "H": "superior",
          "F": "inferior"}  # fmt: skip


def plans_of(paths, read) -> list[VolumePlan]:
    """Plan files that are all single frames; everything has a place in a volume."""
    headers = [read(path) for path in paths]
    frames = [header for header in headers if isinstance(header, Frame)]
    plans, problems, copies = plan_volumes(frames, OPTIONS, partial(pixel_digest, OPTIONS))
    assert problems == []
    assert sum(len(plan.present) for plan in plans) + copies == len(frames)
    return plans


def with_highdicom(paths, **same):
    """Read with highdicom, which takes a last digit of an orientation for another orientation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        datasets = [pydicom.dcmread(path) for path in paths]
        for ds in datasets:
            ds.update(same)
        return highdicom.get_volume_from_series(datasets)


def check_same_world(affine, array, other_affine, other_array) -> None:
    """Every voxel of one volume is a voxel of the other, with the same value."""
    across = np.linalg.inv(other_affine) @ np.asarray(affine)
    whole = np.rint(across)
    assert np.abs(across - whole).max() < 1e-3
    assert np.allclose(np.abs(whole[:3, :3]), np.eye(3))
    indices = np.indices(array.shape).reshape(3, -1)
    mapped = (whole[:3, :3] @ indices + whole[:3, 3:]).astype(int)
    assert np.array_equal(other_array[tuple(mapped)], array.ravel())


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_same_volume_as_highdicom(tmp_path, read, orientation):
    made = synth.series(tmp_path, slices=5, orientation=orientation)
    [plan] = plans_of(made.paths, read)
    volume = with_highdicom(made.paths)
    check_same_world(plan.affine_lps, made.values, volume.affine, volume.array)
    theirs = [_WORDS[direction.value] for direction in volume.get_closest_patient_orientation()]
    ours = [word.rpartition("-to-")[2] for word in plan.orientation]
    assert ours[1:] == theirs[1:]  # slices may run the other way


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_same_volume_as_simpleitk(tmp_path, read, orientation):
    made = synth.series(tmp_path, slices=5, orientation=orientation)
    [plan] = plans_of(made.paths, read)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    image = reader.Execute()
    affine = np.eye(4)  # from (x, y, z) to LPS
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    affine = affine[:, [2, 1, 0, 3]]
    array = SimpleITK.GetArrayFromImage(image)
    check_same_world(plan.affine_lps, made.values, affine, array)


def remove_middle(made):
    made.paths[2].unlink()


def same_position(made):
    ds = pydicom.dcmread(made.paths[2])
    ds.SOPInstanceUID += ".9"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.save_as(made.folder / "again.dcm")


def other_pixels(made):
    same_position(made)
    ds = pydicom.dcmread(made.folder / "again.dcm")
    ds.PixelData = ds.PixelData[::-1]
    ds.save_as(made.folder / "again.dcm")


def change(index: int, **values):
    def edit(made):
        ds = pydicom.dcmread(made.paths[index])
        for keyword, value in values.items():
            setattr(ds, keyword, value)
        ds.save_as(made.paths[index])

    return edit


def tilt(made):
    for index, path in enumerate(made.paths):
        ds = pydicom.dcmread(path)
        x, y, z = ds.ImagePositionPatient
        ds.ImagePositionPatient = [x, float(y) + 0.7 * index, z]
        ds.save_as(path)


DEFECTS = {
    "missing": (remove_middle, [("gapped", 5)]),
    "duplicate": (same_position, [("regular", 5)]),
    "other pixels": (other_pixels, [("gapped", 5), ("series2d", 2)]),
    "tilt": (tilt, [("sheared", 5)]),
    "turned": (change(2, ImageOrientationPatient=[0.999, 0.0447, 0, -0.0447, 0.999, 0]),
               [("gapped", 5), ("single", 1)]),
    "along": (change(2, ImagePositionPatient=[-120, -90.5, 38.25]), [("variable", 5)]),
    "sideways": (change(2, ImagePositionPatient=[-118, -90.5, 37.25]), [("variable", 5)]),
    "spacing": (change(2, PixelSpacing=[0.9, 0.8]), [("gapped", 5), ("single", 1)]),
}  # fmt: skip


@pytest.mark.parametrize(("defect", "expected"), DEFECTS.values(), ids=DEFECTS)
def test_what_highdicom_refuses_is_never_simply_regular(tmp_path, read, defect, expected):
    made = synth.series(tmp_path, slices=5)
    [good] = plans_of(made.paths, read)
    defect(made)
    paths = sorted(tmp_path.glob("*.dcm"))
    with pytest.raises((ValueError, AttributeError)):
        with_highdicom(paths)
    plans = plans_of(paths, read)
    assert sorted((plan.verdict.code, plan.shape[0]) for plan in plans) == expected
    assert all(plan.verdict != good.verdict for plan in plans)


@pytest.mark.parametrize(
    "name",
    ["ct-series/philips-head-5mm", "mr-series/hitachi-anat-4", "mr-series/ge-adc-20",
     "mr-series/siemens-t1-HFDL-35", "irregular/too-few-slices"],
)  # fmt: skip
def test_real_series_lie_where_highdicom_puts_them(shared_data, read, name):
    paths = [path for path in sorted((shared_data / name).iterdir()) if path.suffix != ".gz"]
    [plan] = plans_of(paths, read)
    first = plan.frames[0]
    volume = with_highdicom(
        [header.uri for header in plan.frames],
        ImageOrientationPatient=list(first.orientation), FrameOfReferenceUID="1.2.3",
    )  # fmt: skip
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in plan.shape])).reshape(3, -1)
    ours = (np.array(plan.affine_lps) @ np.vstack([corners, np.ones(8)]))[:3].T
    theirs = (volume.affine @ np.vstack([corners, np.ones(8)]))[:3].T
    for point in ours:
        assert np.abs(theirs - point).max(axis=1).min() < 5e-3
