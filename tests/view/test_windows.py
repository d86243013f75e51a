"""Windowed pictures against pydicom and against the formulas of PS3.3 C.11.2.1.2 and C.11.2.1.3."""

import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_windowing

from sansfilm.errors import OptionError
from sansfilm.options import Options, Storage
from sansfilm.view.windows import PRESETS

FUNCTIONS = ["LINEAR", "LINEAR_EXACT", "SIGMOID"]


def by_the_standard(values, center, width, function):
    """Compute the formulas in double precision; scale to 0..255 and round half up."""
    x = np.asarray(values, np.float64)
    if function == "LINEAR":
        shown = np.piecewise(
            x,
            [x <= center - 0.5 - (width - 1) / 2, x > center - 0.5 + (width - 1) / 2],
            [0, 1, lambda v: (v - (center - 0.5)) / (width - 1) + 0.5],
        )
    elif function == "LINEAR_EXACT":
        shown = np.piecewise(
            x,
            [x <= center - width / 2, x > center + width / 2],
            [0, 1, lambda v: (v - center) / width + 0.5],
        )
    else:
        shown = 1 / (1 + np.exp(-4 * (x - center) / width))
    return np.floor(shown * 255 + 0.5)


def assert_same(picture, expected):
    """Allow the next grey level where a value lies on the edge between two."""
    difference = np.abs(picture.astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.001


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"slope": 0.5, "intercept": 3.25, "modality": "MR"},
        {"slope": [1.0, 0.5, 2.0, 1.5], "intercept": 0, "modality": "PT"},
        {"signed": True, "intercept": 0},
    ],
    ids=["integer", "attributes", "per-frame", "signed"],
)
def test_the_series_own_window_is_that_of_the_standard_and_of_pydicom(volume_of, function, values):
    def own(dataset, index):
        dataset.VOILUTFunction = function

    volume = volume_of(slices=4, window=(140, 350), edit=own, **values)
    made, picture = volume_of.made, volume.window()
    assert picture.dtype == np.uint8
    assert_same(picture, by_the_standard(made.values, 140, 350, function))
    for index, path in enumerate(made.paths):
        dataset = pydicom.dcmread(path)
        theirs = apply_windowing(made.values[index], dataset)
        slope, signed = abs(dataset.RescaleSlope), dataset.PixelRepresentation
        low = (-2048 if signed else 0) * slope + dataset.RescaleIntercept
        theirs = (theirs - low) / (4095 * slope)
        assert_same(picture[index], np.floor(theirs * 255 + 0.5))


def test_a_preset_and_its_two_numbers_are_the_same(volume_of):
    volume = volume_of(slices=3)
    for name, (center, width) in PRESETS.items():
        picture = volume.window(name)
        np.testing.assert_array_equal(picture, volume.window((center, width)))
        assert_same(picture, by_the_standard(volume_of.made.values, center, width, "LINEAR"))
    np.testing.assert_array_equal(volume.window([40, 80]), volume.window(np.array([40.0, 80.0])))


def test_a_window_that_is_named_is_linear_whatever_the_series_says(volume_of):
    def sigmoid(dataset, index):
        dataset.VOILUTFunction = "SIGMOID"

    volume = volume_of(slices=2, edit=sigmoid)
    assert_same(volume.window("bone"), by_the_standard(volume_of.made.values, 500, 2000, "LINEAR"))


def test_monochrome1_is_inverted(volume_of):
    def inverted(dataset, index):
        dataset.PhotometricInterpretation = "MONOCHROME1"

    volume = volume_of(slices=2, edit=inverted)
    expected = 255 - by_the_standard(volume_of.made.values, 40, 400, "LINEAR")
    assert_same(volume.window(), expected)


@pytest.mark.parametrize("slope", [1.0, 0.25, -2.0, -0.5])
def test_without_a_window_the_darkest_is_black_and_the_brightest_white(volume_of, slope):
    volume = volume_of(slices=3, window=None, slope=slope, intercept=-7)
    picture, values = volume.window(), volume_of.made.values
    assert (picture.min(), picture.max()) == (0, 255)
    assert picture[values == values.min()].max() == 0
    assert picture[values == values.max()].min() == 255
    middle = (values.min() + values.max()) / 2
    span = values.max() - values.min()
    assert_same(picture, by_the_standard(values, middle, span, "LINEAR_EXACT"))


def test_an_image_of_one_value_is_grey(volume_of):
    def flat(dataset, index):
        dataset.PixelData = bytes(len(dataset.PixelData))

    assert set(volume_of(slices=2, window=None, edit=flat).window().ravel()) == {128}


def test_the_first_of_several_windows_is_taken(volume_of):
    def several(dataset, index):
        dataset.WindowCenter, dataset.WindowWidth = [-600, 40], [1500, 80]

    volume = volume_of(slices=2, edit=several)
    np.testing.assert_array_equal(volume.window(), volume.window("lung"))


@pytest.mark.parametrize("width", [-5, 0, 0.5])
def test_a_window_that_a_header_breaks_is_not_used(volume_of, width):
    def broken(dataset, index):
        dataset.WindowWidth = str(width)

    volume = volume_of(slices=2, edit=broken)
    assert volume.window().max() == 255
    assert volume.show() is not None


def test_every_slab_and_every_level_is_windowed(volume_of):
    options = Options(storage=Storage(slab=4, chunk=4, smallest=8))
    volume = volume_of(slices=9, options=options)
    assert len(volume.levels) > 1
    for level, array in enumerate(volume.levels):
        picture = volume.window("bone", level=level)
        assert picture.shape == array.shape
        assert_same(picture, by_the_standard(array[:], 500, 2000, "LINEAR"))


@pytest.mark.parametrize(
    ("window", "why"),
    [
        ("lungs", "no window named 'lungs'; there are abdomen, bone"),
        ((1, 2, 3), "a window is a name or \\(center, width\\), got \\(1, 2, 3\\)"),
        ((1,), "a window is"),
        (5, "a window is"),
        ({"center": 1, "width": 2}, "a window is"),
        (("a", "b"), "a window is"),
        ((40, 0), "at least 1, got 0"),
        ((40, -3), "at least 1"),
        ((40, float("nan")), "finite"),
        ((float("inf"), 3), "finite"),
    ],
)
def test_a_wrong_window_is_a_wrong_call(volume_of, window, why):
    volume = volume_of(slices=1)
    for call in (volume.window, volume.show):
        with pytest.raises(OptionError, match=why):
            call(window)


@pytest.mark.parametrize("level", [-1, 1])
def test_a_level_that_is_not_there_is_a_wrong_call(volume_of, level):
    with pytest.raises(OptionError, match=f"level must be 0 to 0, got {level}"):
        volume_of(slices=1).window(level=level)
