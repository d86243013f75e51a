"""Ends and a curve draw what `Volume.window` draws, whatever the window is."""

import numpy as np
import pytest

from sansfilm.errors import OptionError
from sansfilm.view.grey import choose_grey


def draw(volume, grey):
    """Draw a level as a viewer does that knows the ends and the curve alone."""
    values = volume.to_xarray().values.astype(float)
    place = np.clip((values - grey.low) / (grey.high - grey.low), 0, 1) * 255
    return np.interp(place, np.arange(256), grey.greys)


def function(name, inverted=False):
    def edit(dataset, index):
        dataset.VOILUTFunction = name
        if inverted:
            dataset.PhotometricInterpretation = "MONOCHROME1"

    return edit


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("name", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("window", [None, "lung", (40.5, 33.3)])
def test_windows(volume_of, name, inverted, window):
    volume = volume_of(slices=3, edit=function(name, inverted), window=(100, 900))
    found = draw(volume, choose_grey(volume, window))
    # a curve of 256 straight pieces is within a grey of a sigmoid, and each is rounded by half
    assert np.abs(found - volume.window(window)).max() <= (1.6 if name == "SIGMOID" else 0.51)


def test_straight_windows_need_no_curve(volume_of):
    assert choose_grey(volume_of(slices=2), None).curve is None


def test_monochrome1_has_a_falling_curve(volume_of):
    grey = choose_grey(volume_of(slices=2, edit=function("LINEAR", True)), None)
    assert list(grey.curve) == list(range(255, -1, -1))


def test_without_a_window_it_is_the_own_range(volume_of):
    volume = volume_of(slices=3, window=None)
    np.testing.assert_allclose(draw(volume, choose_grey(volume, None)), volume.window(), atol=0.51)


def test_a_voi_lut_is_a_curve(volume_of):
    volume = volume_of(slices=3, window=None)
    entries = (np.linspace(0, 1, 3000) ** 0.4 * 65535).astype(int).tolist()
    lut = {"first": -1000, "bits": 16, "explanation": "DARK", "values": entries}
    volume.attributes["voi_luts"] = [lut]
    grey = choose_grey(volume, "DARK")
    assert (grey.low, grey.high) == (-1000, 1999)
    far = np.abs(draw(volume, grey) - volume.window("DARK"))
    assert np.quantile(far, 0.99) < 2  # a curve of 256 pieces, where this one is steep


def test_a_width_of_one_is_a_step(volume_of):
    volume = volume_of(slices=2)
    np.testing.assert_array_equal(
        np.round(draw(volume, choose_grey(volume, (40, 1)))), volume.window((40, 1))
    )


def test_wrong_windows_are_told(volume_of):
    volume = volume_of(slices=2)
    for window in ("no such", (1, 0.5)):
        with pytest.raises(OptionError):
            choose_grey(volume, window)
