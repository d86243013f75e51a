"""A marked voxel lies at the same place in the patient, whatever library the volume goes out to.

Where it lies is computed from the DICOM attributes alone. The mark is in no corner and the three
directions differ in size and spacing, so that no turned or mirrored volume has it there as well.
"""

import importlib.util
import json
import pickle
import subprocess
import sys
import warnings

import nibabel
import numpy as np
import pytest
import SimpleITK
import synth

from sansfilm.archive import read
from sansfilm.errors import MissingPackageError, OptionError

MARK = (5, 21, 8)
VALUE = 3000
OBLIQUE = (0, 0.8, -0.6, 0.6, 0.48, 0.64)


def tilted(dataset, index):
    x, y, z = (float(value) for value in dataset.ImagePositionPatient)
    dataset.ImagePositionPatient = [x, y + 0.5 * index, z]


def marked(edit=None):
    def change(dataset, index):
        pixels = np.zeros((dataset.Rows, dataset.Columns), "<u2")
        if index == MARK[0]:
            pixels[MARK[1:]] = VALUE + 1024
        dataset.PixelData = pixels.tobytes()
        if edit:
            edit(dataset, index)

    return change


PLACES = {
    "axial": {},
    "sagittal": {"orientation": (0, 1, 0, 0, 0, -1)},
    "oblique": {"orientation": OBLIQUE},
    "sheared": {"edit": tilted},
}
COMPACT = list(PLACES)[:3]
"""Those that a library without shear can hold."""


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """Give volumes by name, and where the mark is: from position, orientation, spacing."""
    found = {}
    for name, place in PLACES.items():
        folder = tmp_path_factory.mktemp("world")
        place = place | {"edit": marked(place.get("edit"))}
        made = synth.series(folder, slices=9, spacing=(2.5, 0.7, 0.9), **place)
        (volume,) = read(folder)
        world = made.affine_lps @ [*MARK, 1]
        if name == "sheared":
            world[1] += 0.5 * MARK[0]
        found[name] = volume, world[:3]
    return found


@pytest.fixture(params=PLACES)
def case(request, volumes):
    return volumes[request.param]


@pytest.fixture(params=COMPACT)
def compact(request, volumes):
    return volumes[request.param]


def the_mark(values):
    """Return the one index where the mark is."""
    (index,) = np.argwhere(np.asarray(values) == VALUE)
    return index


def test_in_our_affine(case):
    volume, world = case
    index = the_mark(volume.array[:])
    assert tuple(index) == MARK
    np.testing.assert_allclose((volume.affine_lps @ [*index, 1])[:3], world, atol=1e-6)


def test_in_xarray(case):
    """The coordinates are millimetres along each axis from a common origin."""
    volume, world = case
    array = volume.to_xarray()
    affine = np.array(array.attrs["affine_lps"])
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    index = the_mark(array.values)
    moved = [float(array[name][i] - array[name][0]) for name, i in zip("zyx", index, strict=True)]
    np.testing.assert_allclose(affine[:3, 3] + directions @ moved, world, atol=1e-6)
    x, y, z = world
    assert volume.sel_mm(x=x, y=y, z=z).values.item() == VALUE


def test_in_pydicom(case):
    """Headers are in the order of z; each says where its pixels are (PS3.3 C.7.6.2.1.1)."""
    volume, world = case
    z, y, x = the_mark(volume.array[:])
    header = volume.headers()[z]
    row, column = np.split(np.array(header.ImageOrientationPatient, float), 2)
    down, across = map(float, header.PixelSpacing)
    place = np.array(header.ImagePositionPatient, float) + column * down * y + row * across * x
    np.testing.assert_allclose(place, world, atol=1e-6)


def test_in_nibabel(case, tmp_path):
    volume, world = case
    for image in (volume.to_nibabel(), nibabel.load(volume.export(tmp_path / "x.nii.gz"))):
        index = the_mark(image.dataobj)
        for affine in (image.affine, image.get_sform(), image.get_qform(coded=True)[0]):
            if affine is not None:  # RAS, and single precision in the file
                place = (affine @ [*index, 1])[:3] * [-1, -1, 1]
                np.testing.assert_allclose(place, world, atol=1e-3)


def test_nifti_has_no_quaternion_of_a_sheared_volume(volumes):
    """It would be another place: readers that prefer it would be wrong without a word."""
    header = volumes["sheared"][0].to_nibabel().header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 0)
    header = volumes["oblique"][0].to_nibabel().header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)


def test_in_simpleitk(compact, tmp_path):
    volume, world = compact
    names = ("x.nii", "x.nii.gz", "x.nrrd", "x.mha")
    files = [SimpleITK.ReadImage(str(volume.export(tmp_path / name))) for name in names]
    for image in (volume.to_sitk(), *files):
        index = the_mark(SimpleITK.GetArrayFromImage(image))[::-1]
        place = image.TransformIndexToPhysicalPoint(index.tolist())
        np.testing.assert_allclose(place, world, atol=1e-3)


def test_simpleitk_and_itk_refuse_shear(volumes, tmp_path):
    volume, _ = volumes["sheared"]
    for call in (volume.to_sitk, lambda: volume.export(tmp_path / "x.nrrd")):
        with pytest.raises(OptionError, match="SimpleITK has no place for shear: use resample"):
            call()
    with pytest.raises(OptionError, match="ITK has no place for shear: use resample"):
        volume.to_itk_dict()
    assert list(tmp_path.iterdir()) == []


def test_in_the_dictionary_of_itk(compact):
    """What the interface of itk-wasm's Image says: origin + direction @ (spacing * index)."""
    volume, world = compact
    image = volume.to_itk_dict()
    kind = image["imageType"]
    assert kind == {"dimension": 3, "componentType": "int16", "pixelType": "Scalar",
                    "components": 1}  # fmt: skip
    assert image["data"].shape == tuple(image["size"])[::-1] == volume.array.shape
    index = the_mark(image["data"])[::-1]
    place = image["origin"] + image["direction"] @ (np.array(image["spacing"]) * index)
    np.testing.assert_allclose(place, world, atol=1e-6)
    for name in ("origin", "spacing", "size"):
        assert all(type(number) in (int, float) for number in image[name])


def asked(script, volume, folder):
    """Give the dictionary to a script in a process of its own; return what it prints.

    ITK and SimpleITK bring the same symbols along and do not get on in one process, and ngff-zarr
    loads ITK where it is installed.
    """
    (folder / "image").write_bytes(pickle.dumps(volume.to_itk_dict()))
    start = "import json, pickle, sys; image = pickle.load(open(sys.argv[1], 'rb'))\n"
    done = subprocess.run(
        [sys.executable, "-c", start + script, folder / "image"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_itkwasm_and_ngff_zarr_take_the_dictionary(compact, tmp_path):
    for package in ("itkwasm", "ngff_zarr"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    volume, _ = compact
    found = asked(
        """
import itkwasm, ngff_zarr
found = ngff_zarr.itk_image_to_ngff_image(itkwasm.Image(**image))
print(json.dumps({
    "dims": found.dims, "scale": found.scale, "translation": found.translation,
    "directions": {a: o.value.value for a, o in found.axes_orientations.items()},
    "sum": int(found.data.sum().compute()),
}))
""",
        volume,
        tmp_path,
    )
    assert found["dims"] == ["z", "y", "x"]
    assert [found["scale"][axis] for axis in "zyx"] == pytest.approx(list(volume.spacing_mm))
    assert [found["directions"][axis] for axis in "zyx"] == volume.attributes["orientation"]
    origin = [found["translation"][axis] for axis in "xyz"]
    assert origin == pytest.approx(volume.affine_lps[:3, 3].tolist())
    assert found["sum"] == int(volume.array[:].sum())


def test_itk_takes_the_dictionary(compact, tmp_path):
    if importlib.util.find_spec("itk") is None:
        pytest.skip("ITK is too large for the tests")
    volume, world = compact
    found = asked(
        f"""
import itk, numpy
taken = itk.image_from_dict(image)
(index,) = numpy.argwhere(itk.array_from_image(taken) == {VALUE})[:, ::-1].tolist()
again = itk.dict_from_image(taken)
print(json.dumps({{
    "world": list(taken.TransformIndexToPhysicalPoint(index)), "keys": list(again),
    "type": {{name: str(part) for name, part in again["imageType"].items()}},
}}))
""",
        volume,
        tmp_path,
    )
    np.testing.assert_allclose(found["world"], world, atol=1e-6)
    ours = volume.to_itk_dict()
    assert found["type"] == {name: str(part) for name, part in ours["imageType"].items()}
    assert set(found["keys"]) >= ours.keys() - {"metadata"}  # it spreads what is in that


@pytest.fixture(scope="module")
def monai():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI's own, of the packages that it brings along
        return pytest.importorskip("monai", reason="MONAI is too large for the default install")


def test_in_monai(case, monai, tmp_path):
    volume, world = case
    tensor = volume.to_monai()
    assert tuple(tensor.shape) == (1, *volume.array.shape[::-1])
    index = the_mark(tensor[0])
    place = (tensor.affine.numpy() @ [*index, 1])[:3] * [-1, -1, 1]
    np.testing.assert_allclose(place, world, atol=1e-6)


@pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader")  # which is not used
def test_in_monai_it_is_what_monai_loads(case, monai, tmp_path):
    from monai.transforms import LoadImage

    volume, _ = case
    path = volume.export(tmp_path / "x.nii.gz")
    loaded = LoadImage(image_only=True, ensure_channel_first=True)(path)
    tensor = volume.to_monai()
    assert (tensor.dtype, tensor.shape) == (loaded.dtype, loaded.shape)
    np.testing.assert_array_equal(tensor.numpy(), loaded.numpy())
    np.testing.assert_allclose(tensor.affine.numpy(), loaded.affine.numpy(), atol=1e-4)
    assert tensor.meta["space"] == loaded.meta["space"]
    assert tensor.pixdim.tolist() == pytest.approx(loaded.pixdim.tolist())


def test_in_monai_turned_axes_leave_it_in_its_place(volumes, monai):
    from monai.transforms import Orientation

    for volume, world in volumes.values():
        turned = Orientation(axcodes="LPS", labels=None)(volume.to_monai())
        index = the_mark(turned[0])
        place = (turned.affine.numpy() @ [*index, 1])[:3] * [-1, -1, 1]
        np.testing.assert_allclose(place, world, atol=1e-4)


def test_in_torch(case):
    torch = pytest.importorskip("torch", reason="PyTorch is too large for the default install")
    volume, _ = case
    tensor = volume.to_torch()
    assert tuple(the_mark(tensor)) == MARK
    assert tensor.dtype == torch.int16
    np.testing.assert_array_equal(tensor.numpy(), volume.to_xarray().values)
    assert tensor.is_contiguous()


def test_in_torch_unsigned_values_can_be_counted_with(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is too large for the default install")
    synth.series(tmp_path, slices=2, intercept=0, bits_stored=16)
    (volume,) = read(tmp_path)
    assert volume.array.dtype == "uint16"
    tensor = volume.to_torch()
    assert tensor.dtype == torch.int32
    np.testing.assert_array_equal(tensor.numpy(), volume.array[:])


# ------------------------------------------------------------------------------ wrong calls


def test_a_package_that_is_missing_is_told_with_the_cure(volumes, monkeypatch):
    volume, _ = volumes["axial"]
    for name, call in (("torch", volume.to_torch), ("monai", volume.to_monai)):
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setitem(sys.modules, f"{name}.data", None)
        with pytest.raises(MissingPackageError, match=f"is needed: pip install {name}"):
            call()


@pytest.mark.parametrize("name", ["x.dcm", "x.gz", "nii", "x"])
def test_another_ending_is_told_with_the_choices(volumes, name, tmp_path):
    with pytest.raises(OptionError, match=r"must end in \.nii, \.nii\.gz .*\.nrrd or \.mha"):
        volumes["axial"][0].export(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_files_say_nothing_of_whom_they_are(volumes, tmp_path):
    import gzip

    volume, _ = volumes["axial"]
    files = [volume.export(tmp_path / name).read_bytes() for name in ("x.nii", "x.nrrd", "x.mha")]
    files.append(gzip.decompress(volume.export(tmp_path / "x.nii.gz").read_bytes()))
    assert not any(b"ZZPHI" in data for data in files)
