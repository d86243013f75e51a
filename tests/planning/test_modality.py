"""Stored values to level 0: exact where it says so, and always a way back."""

from dataclasses import replace

import numpy as np
import pytest
import synth

from sansfilm.model import Frame
from sansfilm.planning.modality import plan_values, stored_range


@pytest.fixture
def header(tmp_path, read) -> Frame:
    """Give a header; its pixel format and rescale are then changed."""
    return read(synth.series(tmp_path, slices=1).paths[0])


def frame(header, *, bits=12, allocated=16, signed=0, slope=1.0, intercept=0.0, padding=None):
    spec = replace(header.spec, bits_allocated=allocated, bits_stored=bits,
                   pixel_representation=signed)  # fmt: skip
    return replace(header, spec=spec, slope=slope, intercept=intercept, padding=padding)


@pytest.mark.parametrize(
    ("format", "dtype", "applied"),
    [
        ({}, "uint16", "integer"),
        ({"signed": 1}, "int16", "integer"),
        ({"bits": 8, "allocated": 8}, "uint8", "integer"),
        ({"bits": 32, "allocated": 32}, "uint32", "integer"),
        ({"intercept": -1024.0}, "int16", "integer"),
        ({"bits": 16, "intercept": -1024.0}, "int32", "integer"),
        ({"bits": 16, "intercept": 1.0}, "int32", "integer"),
        ({"bits": 15, "intercept": 100.0}, "uint16", "integer"),
        ({"slope": -1.0, "intercept": 4095.0}, "int16", "integer"),
        ({"bits": 16, "signed": 1, "slope": 2.0}, "int32", "integer"),
        ({"slope": 0.5}, "uint16", "attributes"),
        ({"slope": 0.5, "signed": 1}, "int16", "attributes"),
        ({"intercept": 0.25}, "uint16", "attributes"),
        ({"bits": 32, "allocated": 32, "slope": 3.0}, "uint32", "attributes"),
        ({"slope": 1e300}, "uint16", "attributes"),
    ],
)
def test_choice(header, format, dtype, applied):
    chosen, rescale, _ = plan_values([frame(header, **format)])
    assert (chosen, rescale.applied) == (dtype, applied)
    one = frame(header, **format)
    assert (rescale.slope, rescale.intercept) == (one.slope, one.intercept)
    if applied == "integer":
        info = np.iinfo(dtype)
        ends = stored_range(one.spec.bits_stored, signed=one.spec.pixel_representation == 1)
        for end in ends:
            assert info.min <= end * one.slope + one.intercept <= info.max


@pytest.mark.parametrize(
    ("slopes", "dtype"),
    [((1.0, 0.5, 0.25, 2.0), "float32"), ((1e-3, 2e-3), "float32"), ((1e-42, 1.0), "float64"),
     ((1e36, 1.0), "float64")],
)  # fmt: skip
def test_slopes_that_differ_give_floats_that_can_be_turned_back(header, slopes, dtype):
    frames = [frame(header, slope=slope, padding=(0, 0)) for slope in slopes]
    chosen, rescale, padding = plan_values(frames)
    assert (chosen, rescale.applied, padding) == (dtype, "per_frame", None)
    stored = np.arange(4096)
    for one in frames:
        values = (stored * one.slope + one.intercept).astype(chosen)
        assert np.isfinite(values).all()
        back = np.rint((values.astype(np.float64) - one.intercept) / one.slope)
        assert (back == stored).all()


@pytest.mark.parametrize("intercept", [0.0, -1e9])
def test_a_large_intercept_needs_doubles(header, intercept):
    frames = [frame(header, slope=slope, intercept=intercept) for slope in (0.5, 0.25)]
    assert plan_values(frames)[0] == ("float32" if intercept == 0 else "float64")


@pytest.mark.parametrize(
    ("format", "padding"),
    [({"padding": (0, 0), "intercept": -1024.0}, (-1024, -1024)),
     ({"padding": (1, 5), "slope": -1.0}, (-5, -1)),
     ({"padding": (1, 5), "slope": 0.5}, (1, 5)),
     ({"padding": (1, 5)}, (1, 5)),
     ({}, None)],
)  # fmt: skip
def test_padding_is_in_values_of_level_0(header, format, padding):
    assert plan_values([frame(header, **format)])[2] == padding


def test_ranges():
    assert stored_range(12, signed=False) == (0, 4095)
    assert stored_range(12, signed=True) == (-2048, 2047)
    assert stored_range(1, signed=True) == (-1, 0)
