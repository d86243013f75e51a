"""Geometry against highdicom and SimpleITK: the same volumes, and nothing that they refuse."""

import warnings

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK
import synth

from sansfilm.model import Header, VolumePlan
from sansfilm.options import Options
from sansfilm.planning.grouping import plan_volumes

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
    headers = [read(path) for path in paths]
    return plan_volumes([header for header in headers if isinstance(header, Header)], Options())[0]


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
    "missing": remove_middle,
    "duplicate": same_position,
    "tilt": tilt,
    "turned": change(2, ImageOrientationPatient=[0.999, 0.0447, 0, -0.0447, 0.999, 0]),
    "along": change(2, ImagePositionPatient=[-120, -90.5, 38.25]),
    "sideways": change(2, ImagePositionPatient=[-118, -90.5, 37.25]),
    "spacing": change(2, PixelSpacing=[0.9, 0.8]),
}


@pytest.mark.parametrize("defect", DEFECTS.values(), ids=DEFECTS)
def test_what_highdicom_refuses_is_never_regular(tmp_path, read, defect):
    made = synth.series(tmp_path, slices=5)
    defect(made)
    paths = sorted(tmp_path.glob("*.dcm"))
    with pytest.raises((ValueError, AttributeError)):
        with_highdicom(paths)
    assert all(plan.verdict.code == "single" for plan in plans_of(paths, read))


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
