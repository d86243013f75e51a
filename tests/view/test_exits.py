"""Ways out: each voxel has the value and the place in the patient that it has with us."""

import sys
from itertools import product

import nibabel
import numpy as np
import pytest

from sansfilm.errors import MissingPackageError, OptionError
from sansfilm.options import Options, Storage

OBLIQUE = (0, 0.8, -0.6, 0.6, 0.48, 0.64)
SMALL = Options(storage=Storage(chunk=4, slab=8, smallest=6))

places = pytest.mark.parametrize(
    "place",
    [
        {},
        {"orientation": OBLIQUE, "spacing": (1.25, 0.5, 0.75)},
        {"orientation": (0, -1, 0, 0, 0, 1), "spacing": (3, 0.5, 0.6)},
        {"slices": 1},
    ],
    ids=["axial", "oblique", "sagittal, turned", "single"],
)


def worlds(volume, affine, level):
    """Yield corners of a level as index (z, y, x), value, and mean world of what they cover."""
    factors = volume.factors(level).astype(int)
    values = volume.to_xarray(level).values
    whole = np.array(volume.array.shape) // factors
    for index in product(*({0, int(count) - 1} for count in whole)):
        covered = product(*(range(i * f, (i + 1) * f) for i, f in zip(index, factors, strict=True)))
        yield index, values[index], np.mean([affine @ [*v, 1] for v in covered], axis=0)[:3]


@places
@pytest.mark.parametrize("level", [0, 1, 2])
def test_affines_of_levels_are_means_of_world_positions(volume_of, place, level):
    volume = volume_of(**{"slices": 9, "options": SMALL, **place})
    for index, _, world in worlds(volume, volume_of.made.affine_lps, level):
        np.testing.assert_allclose((volume.affine(level) @ [*index, 1])[:3], world, atol=1e-6)


@places
@pytest.mark.parametrize("level", [0, 1, 2])
def test_nifti_has_each_voxel_in_its_place(volume_of, place, level, tmp_path):
    volume = volume_of(**{"slices": 9, "options": SMALL, **place})
    image = volume.to_nibabel(level)
    nibabel.save(image, tmp_path / "x.nii.gz")
    image = nibabel.load(tmp_path / "x.nii.gz")
    assert image.header.get_xyzt_units()[0] == "mm"
    data = np.asarray(image.dataobj)
    for (z, y, x), value, world in worlds(volume, volume_of.made.affine_lps, level):
        found = image.affine @ [x, y, z, 1]
        np.testing.assert_allclose(found[:3] * [-1, -1, 1], world, atol=1e-4)  # RAS, float32
        assert data[x, y, z] == value


@places
@pytest.mark.parametrize("level", [0, 1, 2])
def test_simpleitk_has_each_voxel_in_its_place(volume_of, place, level):
    volume = volume_of(**{"slices": 9, "options": SMALL, **place})
    image = volume.to_sitk(level)
    for (z, y, x), value, world in worlds(volume, volume_of.made.affine_lps, level):
        found = image.TransformIndexToPhysicalPoint((x, y, z))
        np.testing.assert_allclose(found, world, atol=1e-6)
        assert image.GetPixel(x, y, z) == value


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ({}, "int16"),
        ({"slope": 0.5, "intercept": 3.25}, "float64"),
        ({"slope": [1.0, 0.5, 2.0], "intercept": 0, "modality": "PT"}, "float32"),
        ({"intercept": 0, "bits_allocated": 8, "bits_stored": 8}, "uint8"),
    ],
    ids=["integer", "attributes", "per-frame", "bytes"],
)
def test_values_are_modality_values_in_a_type_that_holds_them(volume_of, values, dtype):
    volume = volume_of(slices=3, **values)
    expected = volume_of.made.values.astype(dtype)
    image = volume.to_nibabel()
    assert image.get_data_dtype() == dtype
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, expected)
    import SimpleITK

    array = SimpleITK.GetArrayFromImage(volume.to_sitk())
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, expected)


def test_shear_goes_out_through_nibabel_only(volume_of):
    volume = volume_of(slices=3)
    sheared = volume.affine_lps
    sheared[1, 0] = 0.4  # each slice a little to the back, as of a tilted gantry
    volume.attributes["affine_lps"] = sheared.tolist()
    with pytest.raises(
        OptionError, match=r"no place for shear: use resample.*to_nibabel, or affine_lps"
    ):
        volume.to_sitk()
    affine = volume.to_nibabel().affine
    np.testing.assert_allclose(affine @ [3, 2, 1, 1], (sheared @ [1, 2, 3, 1]) * [-1, -1, 1, 1])


def test_colour_is_the_last_axis_of_the_dictionary(volume_of):
    def colour(dataset, index):
        stored = np.frombuffer(dataset.PixelData, "u1").reshape(32, 40)
        dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "RGB", 3
        dataset.PlanarConfiguration = 0
        dataset.PixelData = np.stack([stored, stored // 2, 255 - stored], axis=-1).tobytes()

    volume = volume_of(
        slices=3, edit=colour, bits_allocated=8, bits_stored=8, intercept=0, modality="OT"
    )
    image = volume.to_itk_dict()
    assert image["imageType"] == {
        "dimension": 3, "componentType": "uint8", "pixelType": "RGB", "components": 3,
    }  # fmt: skip
    assert image["size"] == [40, 32, 3]
    np.testing.assert_array_equal(image["data"][..., 1], volume.array[1])
    with pytest.raises(OptionError, match="becomes a SimpleITK image, this is \\(c, z, y, x\\)"):
        volume.to_sitk()


@places
@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_dictionary_has_each_voxel_in_its_place(volume_of, place, level):
    volume = volume_of(**{"slices": 9, "options": SMALL, **place})
    image = volume.to_itk_dict(level)
    for index, value, world in worlds(volume, volume_of.made.affine_lps, level):
        step = np.array(image["spacing"]) * index[::-1]
        np.testing.assert_allclose(image["origin"] + image["direction"] @ step, world, atol=1e-6)
        assert image["data"][index] == value


def test_images_without_a_place_do_not_go_out(volume_of, unplaced):
    volume = volume_of(slices=3, edit=unplaced, modality="OT")
    for call in (volume.to_nibabel, volume.to_sitk, volume.to_itk_dict):
        with pytest.raises(OptionError, match="no place in the patient: use to_xarray"):
            call()


@pytest.mark.parametrize(("package", "extra"), [("nibabel", "nibabel"), ("SimpleITK", "sitk")])
def test_a_package_that_is_missing_is_named_with_its_extra(volume_of, monkeypatch, package, extra):
    volume = volume_of(slices=2)
    monkeypatch.setitem(sys.modules, package, None)
    call = volume.to_nibabel if package == "nibabel" else volume.to_sitk
    with pytest.raises(MissingPackageError, match=rf"{package} is needed.*sansfilm\[{extra}\]"):
        call()


def test_a_level_that_is_not_there_is_a_wrong_call(volume_of):
    volume = volume_of(slices=2)
    for call in (volume.to_nibabel, volume.to_sitk, volume.to_itk_dict, volume.affine):
        with pytest.raises(OptionError, match="level must be 0 to 0, got 1"):
            call(1)
