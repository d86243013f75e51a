"""Volumes of synthetic series, in memory."""

import pytest
import synth

from sansfilm.archive import read


@pytest.fixture
def volume_of(tmp_path):
    """Give a function that reads a synthetic series; what was made of it is in `made`."""

    def make(options=None, **series):
        make.made = synth.series(tmp_path / "in", **series)
        (volume,) = read(make.made.folder, options=options)
        return volume

    return make


def unplaced(dataset, index):
    """Take the place in the patient away."""
    del dataset.ImagePositionPatient, dataset.ImageOrientationPatient
    dataset.InstanceNumber = index + 1


@pytest.fixture(name="unplaced")
def give_unplaced():
    return unplaced
