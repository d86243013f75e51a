"""Volumes of more than three dimensions, uneven, leaning and with gaps: axes, pictures, exits."""

import nibabel
import numpy as np
import pytest
import synth
from multiframe import enhanced, plain
from spying import spy_on_reads

from sansfilm.archive import open_archive, read
from sansfilm.errors import OptionError
from sansfilm.intake import ingest
from sansfilm.options import Options, Storage
from sansfilm.view.axis_values import axis_coordinates, label, listing, time_step
from sansfilm.view.planes import hang

SMALL = Options(storage=Storage(chunk=8, slab=8, smallest=10))
UIDS = {"series_uid": "1.2.840.99.1", "study_uid": "1.2.840.99.2"}
PHASES_MS = (0.0, 40.0, 80.0)


def several(folder, count, tell, left_out=(), **series):
    """Write series of one geometry, (place, slice) of each in `tell`; read them as one volume."""

    def edit(number):
        def change(dataset, index):
            tell(dataset, number, index)

        return change

    made = [
        synth.series(
            folder, seed=number, edit=edit(number), **{"slices": 6, **UIDS, **series},
        )
        for number in range(count)
    ]  # fmt: skip
    for number, index in left_out:
        made[number].paths[index].unlink()
    (volume,) = read(folder, options=SMALL)
    return volume, made


def by_trigger(dataset, number, index):
    dataset.TriggerTime = PHASES_MS[number]


def by_echo(dataset, number, index):
    dataset.EchoTime = (4.6, 9.2, 13.8)[number]


def by_diffusion(dataset, number, index):
    dataset.DiffusionBValue = float(1000 * (number > 0))
    if number:
        dataset.DiffusionGradientOrientation = ([], [1.0, 0.0, 0.0], [0.0, 0.6, 0.8])[number]


@pytest.fixture
def beats(tmp_path):
    """Give a volume (t, z, y, x), and its series by time."""
    return several(tmp_path / "in", 3, by_trigger, modality="MR", intercept=0)


def in_colour(folder, bits=8, edit=None, **series):
    """Read a series in red, green and blue: a grey one, half of it, its negative."""

    def colour(dataset, index):
        stored = np.frombuffer(dataset.PixelData, f"<u{-(-bits // 8)}").reshape(32, 40)
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
        dataset.PlanarConfiguration = 0
        samples = np.stack([stored, stored // 2, 2**bits - 1 - stored], axis=-1)
        dataset.PixelData = samples.astype(stored.dtype).tobytes()
        if edit:
            edit(dataset, index)

    made = synth.series(
        folder, bits_allocated=8 * -(-bits // 8), bits_stored=bits, intercept=0, modality="OT",
        edit=colour, **series,
    )  # fmt: skip
    (volume,) = read(folder)
    return volume, made


# -------------------------------------------------------------------------------------- arrays


def test_time_is_in_seconds_and_keeps_what_it_was_made_of(beats):
    volume, made = beats
    array = volume.to_xarray()
    assert array.dims == volume.axes == ("t", "z", "y", "x")
    np.testing.assert_allclose(array["t"], [0, 0.04, 0.08])
    assert array["t"].attrs == {"units": "s"}
    assert array["TriggerTime"].dims == ("t",)
    assert array["TriggerTime"].attrs == {"units": "ms"}
    np.testing.assert_array_equal(array["TriggerTime"], PHASES_MS)
    for number, one in enumerate(made):
        np.testing.assert_array_equal(array.isel(t=number), one.values)
    later = array.sel(t=0.05, method="nearest")
    np.testing.assert_array_equal(later, made[1].values)


def test_every_time_is_read_alone(beats):
    volume, _ = beats
    assert volume.to_xarray().chunks[0] == (1, 1, 1)


def test_of_many_times_only_those_that_are_asked_for_are_read(tmp_path, monkeypatch):
    several(tmp_path / "in", 3, by_trigger, modality="MR", intercept=0)
    ingest(tmp_path / "in", tmp_path / "a", options=SMALL)
    volume = open_archive(tmp_path / "a")[UIDS["series_uid"]]
    read = spy_on_reads(monkeypatch)
    array = volume.to_xarray()
    assert not [key for key, _, _ in read if "/c/" in key]
    array.isel(t=1).compute()
    assert {key for key, _, _ in read if "/c/" in key} == {"0/c/1/0/0/0"}
    read.clear()
    volume.show(t=2, level=1)
    assert {key for key, _, _ in read if "/c/" in key} == {"1/c/2/0/0/0"}


def test_values_with_a_unit_are_the_coordinate(tmp_path):
    volume, made = several(tmp_path / "in", 3, by_echo, modality="MR", intercept=0)
    array = volume.to_xarray()
    assert array.dims == ("echo", "z", "y", "x")
    assert array["echo"].attrs == {"units": "ms", "keyword": "EchoTime"}
    np.testing.assert_allclose(array["echo"], [4.6, 9.2, 13.8])
    np.testing.assert_array_equal(array.sel(echo=9.2), made[1].values)


def test_several_keywords_of_an_axis_are_a_coordinate_each(tmp_path):
    volume, made = several(tmp_path / "in", 3, by_diffusion, modality="MR", intercept=0)
    array = volume.to_xarray()
    assert array.dims == ("b", "z", "y", "x")
    assert array["b"].values.tolist() == [0, 1, 2]
    assert array["DiffusionBValue"].values.tolist() == [0, 1000, 1000]
    directions = array["DiffusionGradientOrientation"].values.tolist()
    assert directions == ["", "0\\0.6\\0.8", "1\\0\\0"]
    (weighted,) = np.flatnonzero(array["DiffusionGradientOrientation"] == "1\\0\\0")
    np.testing.assert_array_equal(array[int(weighted)], made[1].values)


def test_affines_of_levels_are_of_z_y_x_alone(beats):
    volume, made = beats
    assert len(volume.levels) > 1
    for level in range(len(volume.levels)):
        factors = volume.factors(level)
        assert factors[0] == 1
        first = volume.affine(level) @ [0, 0, 0, 1]
        covered = [*((factors[1:] - 1) / 2), 1]
        np.testing.assert_allclose(first, made[0].affine_lps @ covered, atol=1e-6)
        steps = made[0].affine_lps[:3, :3] * factors[1:]
        np.testing.assert_allclose(volume.affine(level)[:3, :3], steps, atol=1e-6)
        array = volume.to_xarray(level)
        np.testing.assert_allclose(array["t"], [0, 0.04, 0.08])
        assert array["z"][0] == pytest.approx(first[2])


def uneven(dataset, index):
    """Move the slices from the third on by 1.5 mm, from the fifth on by 3.2 mm more."""
    x, y, z = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [x, y, float(z) + 1.5 * (index > 1) + 3.2 * (index > 3)]


TRUE_Z = 33.25 + np.array([0, 2, 5.5, 7.5, 12.7, 14.7])


def test_z_of_uneven_slices_is_the_true_one_on_every_level(volume_of):
    volume = volume_of(slices=6, edit=uneven, options=SMALL)
    assert volume.verdict.code == "variable"
    assert len(volume.levels) > 1
    for level in range(len(volume.levels)):
        array = volume.to_xarray(level)
        np.testing.assert_allclose(array["z"], TRUE_Z, atol=1e-6)
        assert array["z"].attrs == {"units": "mm"}
        assert array["y"].attrs == {"units": "mm"}
    made = volume_of.made
    np.testing.assert_array_equal(volume.to_xarray().sel(z=12.7 + 33.25), made.values[4])


@pytest.mark.parametrize("slope", [1.0, 0.5])
def test_what_missing_slices_hold_is_told_in_the_values_of_the_array(tmp_path, slope):
    volume, _ = several(tmp_path / "in", 1, by_echo, [(0, 2)], slope=slope)
    array = volume.to_xarray()
    assert array.attrs["missing"] == [2]
    fill = np.unique(array.isel(z=2))
    assert len(fill) == 1
    assert array.attrs["padding"][0] <= fill[0] <= array.attrs["padding"][1]
    assert "missing" not in several(tmp_path / "whole", 1, by_echo)[0].to_xarray().attrs


def test_colour_is_named(tmp_path):
    volume, made = in_colour(tmp_path / "in", slices=3)
    array = volume.to_xarray()
    assert array.dims == ("c", "z", "y", "x")
    assert array["c"].values.tolist() == ["red", "green", "blue"]
    np.testing.assert_array_equal(array.sel(c="blue"), 255 - made.stored)
    np.testing.assert_allclose(volume.affine(0), made.affine_lps, atol=1e-9)


def cine(dataset):
    dataset.CineRate, dataset.FrameTime = 25, "40"
    dataset.FrameIncrementPointer = 0x00181063


def test_frames_of_a_cine_are_in_time(tmp_path):
    frames = np.arange(4 * 6 * 8, dtype="u1").reshape(4, 6, 8)
    plain(tmp_path / "in" / "cine.dcm", frames, edit=_folder(tmp_path / "in", cine))
    (volume,) = read(tmp_path / "in")
    array = volume.to_xarray()
    assert array.dims == ("t", "y", "x")
    np.testing.assert_allclose(array["t"], [0, 40, 80, 120])
    assert array["t"].attrs["units"] == "ms"
    np.testing.assert_array_equal(array, frames)
    titles = [axis.get_title() for axis in volume.show().axes]
    assert titles == ["time 1 of 4: 0 ms", "time 3 of 4: 80 ms", "time 4 of 4: 120 ms"]
    figure = volume.show(t=1)
    assert [axis.get_title() for axis in figure.axes] == ["time 2 of 4: 40 ms"]
    assert figure.axes[0].images[0].get_array().shape == (6, 8)


def _folder(folder, edit):
    folder.mkdir()
    return edit


# ------------------------------------------------------------------------------------- pictures


def test_one_time_is_shown_and_the_title_says_which(beats):
    volume, made = beats
    assert "time 1 of 3: 0 s" in volume.show().get_suptitle()
    figure = volume.show((2000, 4096), level=0, t=2)
    assert "time 3 of 3: 0.08 s" in figure.get_suptitle()
    axial = figure.axes[0].images[0].get_array()
    expected = np.clip((made[2].values[3] - 1999.5) / 4095 + 0.5, 0, 1) * 255
    np.testing.assert_allclose(axial, expected, atol=0.51)


@pytest.mark.parametrize(
    ("at", "why"),
    [
        ({"t": 3}, "t must be 0 to 2, got 3"),
        ({"t": -1}, "t must be 0 to 2, got -1"),
        ({"b": 0}, "no axis 'b' to choose from; there are: t"),
        ({"z": 0}, "no axis 'z' to choose from"),
    ],
)
def test_a_place_that_is_not_there_is_a_wrong_call(beats, at, why):
    with pytest.raises(OptionError, match=why):
        beats[0].show(**at)


def test_colour_is_shown_in_colour_and_has_no_window(tmp_path):
    volume, made = in_colour(tmp_path / "in", slices=3)
    figure = volume.show()
    assert "colour" in figure.get_suptitle()
    axial, coronal, sagittal = (axis.images[0].get_array() for axis in figure.axes)
    red = made.stored[1]
    np.testing.assert_array_equal(axial, np.stack([red, red // 2, 255 - red], axis=-1))
    assert coronal.shape == (3, 40, 3)
    np.testing.assert_array_equal(coronal[0, :, 0], made.stored[2, 16])  # superior is up
    assert sagittal.shape == (3, 32, 3)
    picture = volume.window()
    np.testing.assert_array_equal(picture, volume.array[:])
    for call in (volume.window, volume.show):
        with pytest.raises(OptionError, match="images are in colour"):
            call("bone")


def test_colour_without_a_place_is_shown_in_colour(tmp_path, unplaced):
    volume, made = in_colour(tmp_path / "in", slices=4, edit=unplaced)
    assert volume.axes == ("i", "c", "y", "x")
    figure = volume.show()
    assert [axis.images[0].get_array().shape for axis in figure.axes] == [(32, 40, 3)] * 3
    last = figure.axes[2].images[0].get_array()
    np.testing.assert_array_equal(last[..., 0], made.stored[3])


def test_wide_samples_of_colour_fill_eight_bits(tmp_path):
    volume, _ = in_colour(tmp_path / "in", bits=12, slices=2)
    red = volume.window()[0]
    assert (red.min(), red.max()) == (0, 255)
    expected = volume.array[0] / 4095 * 255
    np.testing.assert_allclose(red, expected, atol=0.51)


def test_missing_slices_are_black_where_they_would_be(tmp_path):
    volume, _ = several(tmp_path / "in", 1, by_echo, [(0, 2)], window=(0, 8000))
    figure = volume.show(level=0)
    assert "gapped, 1 missing" in figure.get_suptitle()
    coronal = figure.axes[1].images[0].get_array()
    assert coronal.shape == (6, 40)
    assert [row.max() > 0 for row in coronal[::-1]] == [True, True, False, True, True, True]
    assert figure.axes[1].get_aspect() == pytest.approx(2 / 0.8)


def test_a_missing_slice_in_the_middle_is_told(tmp_path):
    volume, _ = several(tmp_path / "in", 1, by_echo, [(0, 3)])
    axial = volume.show().axes[0]
    assert axial.get_title() == "axial: slice missing"
    assert axial.images[0].get_array().max() == 0


def test_a_slice_may_be_missing_at_one_time_alone(tmp_path):
    volume, _ = several(tmp_path / "in", 3, by_trigger, [(1, 3)], modality="MR", intercept=0)
    assert volume.attributes["missing"] == [[1, 3]]
    titles = [volume.show(t=number).axes[0].get_title() for number in range(3)]
    assert titles == ["axial", "axial: slice missing", "axial"]


@pytest.mark.parametrize("intercept", [0, 1e6])
def test_missing_slices_of_floating_values_are_black(tmp_path, intercept):
    slopes = [1e-3, 2e-3, 3e-3, 1e-3, 2e-3, 3e-3]
    volume, _ = several(
        tmp_path / "in", 1, by_echo, [(0, 2)], slope=slopes, intercept=intercept, modality="PT",
        window=None,
    )  # fmt: skip
    assert volume.array.dtype == ("float64" if intercept else "float32")
    assert volume.window()[2].max() == 0
    assert volume.show().axes[1].images[0].get_array()[::-1][2].max() == 0


def tilted(dataset, index):
    x, y, z = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [x, float(y) + 0.5 * index, z]


def test_leaning_slices_are_drawn_upright_and_the_title_says_so(volume_of):
    volume = volume_of(slices=6, edit=tilted)
    figure = volume.show()
    assert "sheared, leans by 14.0°, drawn upright" in figure.get_suptitle()
    axial, coronal, sagittal = (axis.get_aspect() for axis in figure.axes)
    assert axial == pytest.approx(0.7 / 0.8)
    assert coronal == pytest.approx(np.hypot(2, 0.5) / 0.8)  # that plane leans itself
    assert sagittal == pytest.approx(2 / 0.7)


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), (0, 1, 0, 1, 0, 0)])
def test_uneven_slices_are_drawn_where_they_are(tmp_path, volume_of, orientation):
    def one_value(dataset, index):
        uneven(dataset, index)
        dataset.PixelData = np.full((32, 40), 100 + index, "<u2").tobytes()

    turned = orientation[0] == 0

    def mirrored(dataset, index):
        one_value(dataset, 5 - index if turned else index)
        x, y, _ = dataset.ImagePositionPatient
        number = 5 - index if turned else index
        dataset.ImagePositionPatient = [x, y, TRUE_Z[number]]

    volume = volume_of(slices=6, edit=mirrored, orientation=orientation, intercept=0)
    assert volume.verdict.code == "variable"
    affine = volume.affine_lps
    _, (_, coronal, aspect, letters), (_, sagittal, _, _) = hang(volume, 0, affine)
    assert letters[2:] == ("S", "I")
    height = aspect * (0.7 if turned else 0.8)  # mm of a row
    assert coronal.shape[0] * height == pytest.approx(14.7 + 2, abs=0.3)  # half a slice beyond
    up = coronal[::-1, 0]
    for number, z in enumerate(TRUE_Z):
        assert up[round((z - TRUE_Z[0] + 1) / height - 0.5)] == 100 + number
    assert up.mask.any()  # nothing is drawn in the middle of the widest gap
    assert not up.mask[: round(5 / height)].any()
    assert coronal.shape[0] == sagittal.shape[0]


def test_windows_reach_every_time_and_slice(beats):
    volume, made = beats
    picture = volume.window((2000, 4096))
    assert picture.shape == (3, 6, 32, 40)
    expected = np.stack([np.clip((m.values - 1999.5) / 4095 + 0.5, 0, 1) * 255 for m in made])
    np.testing.assert_allclose(picture, expected, atol=0.51)


# --------------------------------------------------------------------------------------- exits


def test_nifti_has_time_as_its_fourth_dimension(beats, tmp_path):
    volume, made = beats
    nibabel.save(volume.to_nibabel(), tmp_path / "x.nii")
    image = nibabel.load(tmp_path / "x.nii")
    assert image.shape == (40, 32, 6, 3)
    assert image.header.get_zooms() == pytest.approx((0.8, 0.7, 2.0, 0.04))
    assert image.header.get_xyzt_units() == ("mm", "sec")
    data = np.asarray(image.dataobj)
    for number, one in enumerate(made):
        np.testing.assert_array_equal(data[..., number].T, one.values)
    found = image.affine @ [3, 2, 1, 1] * [-1, -1, 1, 1]
    np.testing.assert_allclose(found, made[0].affine_lps @ [1, 2, 3, 1], atol=1e-4)


def test_a_further_axis_that_is_no_time_has_no_step(tmp_path):
    volume, _ = several(tmp_path / "in", 3, by_echo, modality="MR", slope=0.5, intercept=1)
    image = volume.to_nibabel()
    assert image.shape == (40, 32, 6, 3)
    assert image.header.get_zooms()[3] == 0
    assert image.header.get_xyzt_units() == ("mm", "unknown")
    np.testing.assert_array_equal(image.dataobj[..., 1].T, volume.to_xarray()[1])


def test_simpleitk_takes_three_dimensions_and_says_how_to_get_there(beats):
    with pytest.raises(OptionError, match=r"this is \(t, z, y, x\).*isel\(t=0\)"):
        beats[0].to_sitk()


def test_uneven_slices_are_refused_with_a_way_out(volume_of):
    volume = volume_of(slices=6, edit=uneven)
    for call, name in ((volume.to_nibabel, "NIfTI"), (volume.to_sitk, "SimpleITK")):
        with pytest.raises(OptionError, match=f"{name} has no place for slices at uneven"):
            call()


def test_colour_does_not_become_grey_on_its_way_out(tmp_path):
    volume, _ = in_colour(tmp_path / "in", slices=2)
    with pytest.raises(OptionError, match="no place for colour"):
        volume.to_nibabel()
    with pytest.raises(OptionError, match=r"isel\(c=0\)"):
        volume.to_sitk()


def test_a_multi_frame_instance_has_one_header(tmp_path):
    made = [
        synth.series(tmp_path / "classic" / str(number), slices=4, seed=number, modality="MR")
        for number in range(2)
    ]
    (tmp_path / "in").mkdir()
    enhanced(tmp_path / "in" / "e.dcm", made)
    (volume,) = read(tmp_path / "in")
    assert len(volume.frames) == 8
    (header,) = volume.headers()
    assert header.NumberOfFrames == 8
    assert "PixelData" not in header
    assert volume.header_bytes(0) == volume.header_bytes(7)


def test_headers_come_in_the_order_of_the_first_frame(beats):
    volume, made = beats
    uids = [str(dataset.SOPInstanceUID) for dataset in volume.headers()]
    assert uids == [uid for one in made for uid in one.sop_uids]
    assert uids == list(volume.frames["sop_instance_uid"])


# ------------------------------------------------------------------------------ values of an axis

ECHOES = {"values": [4.6, 9.2], "unit": "ms", "keywords": ["EchoTime"]}
PARTS = {"values": ["MAGNITUDE", None], "unit": "", "keywords": ["ComplexImageComponent"]}
RANKS = {"values": list(range(9)), "unit": "", "keywords": ["InstanceNumber"]}
CLOCK = {"values": [9e4, 90002.5, 90005.0], "unit": "s", "keywords": ["AcquisitionTime"],
         "seconds": [0, 2.5, 5]}  # fmt: skip
FOLDED = {
    "values": [{"EchoTime": 5.0, "repeat": 0}, {"EchoTime": 5.0, "repeat": 1}],
    "unit": "", "keywords": ["EchoTime", "InstanceNumber"],
}  # fmt: skip


def test_what_a_frame_does_not_say_is_no_number_and_no_text():
    values, _ = axis_coordinates("component", 2, PARTS)["component"]
    assert values.tolist() == ["MAGNITUDE", ""]
    values, _ = axis_coordinates("b", 2, {"values": [None, 5.0], "unit": "s/mm2"})["b"]
    np.testing.assert_array_equal(values, [np.nan, 5])


def test_repeats_are_named_after_their_axis():
    found = axis_coordinates("echo", 2, FOLDED)
    assert list(found) == ["echo", "EchoTime", "echo_repeat"]
    assert found["echo_repeat"][0].tolist() == [0, 1]


def test_an_axis_of_which_nothing_is_known_is_numbered():
    assert axis_coordinates("i", 3, None)["i"][0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("entry", "step"),
    [
        (None, None),
        (CLOCK, 2.5),
        ({**CLOCK, "seconds": [0, 2.5, 6]}, None),
        ({"values": [0.0, 40.0, 80.1], "unit": "ms"}, 0.04005),
        (ECHOES, 0.0046),
        (RANKS, None),
        ({"values": [1.0], "unit": "s"}, None),
        ({"values": [None, 2.0], "unit": "s"}, None),
    ],
)
def test_a_step_in_time_is_one_only_if_it_is_always_the_same(entry, step):
    assert time_step(entry) == (None if step is None else pytest.approx(step))


@pytest.mark.parametrize(
    ("entry", "told", "listed"),
    [
        (ECHOES, "9.2 ms", "2 values: 4.6, 9.2 ms (EchoTime)"),
        (PARTS, "none", "2 values: MAGNITUDE, none (ComplexImageComponent)"),
        (RANKS, "", "9 values: 0, 1, 2, ..., 8 (InstanceNumber)"),
        (CLOCK, "2.5 s", "3 values: 90000, 90002.5, 90005 s (AcquisitionTime); "
                         "begun at 0, 2.5, 5 s"),
        (FOLDED, "EchoTime 5 repeat 1", "2 values: EchoTime 5 repeat 0, EchoTime 5 repeat 1 "
                                        "(EchoTime, InstanceNumber)"),
    ],
)  # fmt: skip
def test_values_are_told_in_words(entry, told, listed):
    assert label(entry, 1) == told
    assert listing(entry) == listed
