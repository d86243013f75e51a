"""Lazy DataArrays: nothing read before it is needed, values, coordinates, attributes."""

import numpy as np
import pytest
import synth
from spying import spy_on_reads
from zarr.errors import ChunkNotFoundError

from sansfilm.archive import open_archive
from sansfilm.errors import OptionError
from sansfilm.intake import ingest
from sansfilm.options import Options, Storage
from sansfilm.store.memory import MemoryTarget
from sansfilm.view.volume import Volume

SMALL = Options(storage=Storage(chunk=4, slab=4, smallest=8))


class Counting(MemoryTarget):
    """Objects that remember which of them were read."""

    def __init__(self, objects):
        super().__init__()
        self.objects, self.read = dict(objects), []

    def get(self, key, offset=0, length=None):
        self.read.append(key)
        return super().get(key, offset, length)


def test_nothing_of_the_voxels_is_read_before_they_are_asked_for(tmp_path, monkeypatch):
    made = synth.series(tmp_path / "in", slices=9)
    ingest(made.folder, tmp_path / "a", options=SMALL)
    read = spy_on_reads(monkeypatch)
    volume = open_archive(tmp_path / "a")[made.series_uid]
    array = volume.to_xarray()
    part = array.isel(z=slice(0, 2)).mean() + array.sel(z=array.z[1], method="nearest")
    repr(array)
    assert array.nbytes == 9 * 32 * 40 * 2
    assert {key.rsplit("/", 1)[-1] for key, _, _ in read} <= {"zarr.json"}
    read.clear()
    part.compute()
    assert {key for key, _, _ in read} == {"0/c/0/0/0"}  # the first slab alone


def test_opening_reads_the_metadata_alone(volume_of):
    volume = volume_of(slices=5)
    target = Counting(volume._target.objects)
    opened = Volume(target, volume.key)
    assert (opened.modality, opened.verdict.code, opened.unit) == ("CT", "regular", "HU")
    assert target.read == [f"{volume.key}/_commit.json", f"{volume.key}/zarr.json"]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ({}, "int16"),
        ({"slope": 0.5, "intercept": 3.25}, "float64"),
        ({"slope": [1.0, 0.5, 2.0], "intercept": 0, "modality": "PT"}, "float32"),
    ],
    ids=["integer", "attributes", "per-frame"],
)
def test_values_are_modality_values(volume_of, values, dtype):
    array = volume_of(slices=3, **values).to_xarray()
    assert array.dtype == dtype
    np.testing.assert_array_equal(array.values, volume_of.made.values.astype(dtype))


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), (0, 0.8, -0.6, 0.6, 0.48, 0.64)])
def test_coordinates_are_millimetres_along_the_axes_on_every_level(volume_of, orientation):
    volume = volume_of(slices=9, orientation=orientation, options=SMALL)
    affine = volume_of.made.affine_lps
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    assert len(volume.levels) > 1
    for level in range(len(volume.levels)):
        array = volume.to_xarray(level)
        assert array.dims == ("z", "y", "x")
        for axis, name in enumerate(array.dims):
            assert array[name].attrs["units"] == "mm"
            factor = int(volume.factors(level)[axis])
            centers = np.arange(array.sizes[name]) * factor + (factor - 1) / 2
            step = affine[:3, :3][:, axis]
            along = (affine[:3, 3] + centers[:, None] * step) @ directions[:, axis]
            np.testing.assert_allclose(array[name], along, atol=1e-6)


def test_levels_lie_on_each_other(volume_of):
    """What xarray selects at a place on one level is what lies there on another."""
    volume = volume_of(slices=9, options=SMALL, spacing=(1, 1, 1))
    fine, coarse = volume.to_xarray(0), volume.to_xarray(1)
    voxel = coarse.isel(z=2, y=3, x=4)
    box = {name: slice(float(voxel[name]) - 0.9, float(voxel[name]) + 0.9) for name in "zyx"}
    inside = fine.sel(box)
    assert inside.shape == (2, 2, 2)
    assert voxel.values == np.floor(inside.values.mean() + 0.5)


def test_images_without_a_place_are_numbered(volume_of, unplaced):
    array = volume_of(slices=4, edit=unplaced, modality="OT").to_xarray()
    assert array.dims == ("i", "y", "x")
    assert array["i"].values.tolist() == [0, 1, 2, 3]
    assert "units" not in array["i"].attrs
    assert array["y"].attrs["units"] == "mm"
    assert array.attrs["affine_lps"] is None
    assert array.attrs["orientation"] == []


def test_attributes_say_what_it_is_and_not_of_whom(volume_of):
    volume = volume_of(slices=3)
    array = volume.to_xarray()
    assert array.name == "CT"
    assert array.attrs == {
        "units": "HU", "modality": "CT", "verdict": "regular",
        "affine_lps": volume.affine_lps.tolist(),
        "orientation": ["inferior-to-superior", "anterior-to-posterior", "right-to-left"],
        "series_uid": volume.series_uid, "volume_id": volume.volume_id,
    }  # fmt: skip
    assert "ZZPHI" not in repr(array) + str(list(array.data.dask))


def test_chunks_are_whole_shards(volume_of):
    array = volume_of(slices=9, options=SMALL).to_xarray()
    assert array.chunks[0] == (4, 4, 1)


def test_a_copy_of_a_volume_is_another_array(tmp_path):
    """Of one name, Dask would compute one and call the difference zero."""
    made = synth.series(tmp_path / "in", slices=3)
    arrays = []
    for name in "ab":
        ingest(made.folder, tmp_path / name)
        arrays.append(open_archive(tmp_path / name)[made.series_uid].to_xarray())
    assert arrays[0].data.name != arrays[1].data.name
    again = open_archive(tmp_path / "a")[made.series_uid].to_xarray()
    assert again.data.name == arrays[0].data.name
    for shard in (tmp_path / "b").glob("series/*/*/0/c/0/0/0"):
        shard.unlink()
    with pytest.raises(ChunkNotFoundError):
        (arrays[0] - arrays[1]).compute()


@pytest.mark.parametrize("level", [-1, 1])
def test_a_level_that_is_not_there_is_a_wrong_call(volume_of, level):
    with pytest.raises(OptionError, match=f"level must be 0 to 0, got {level}"):
        volume_of(slices=1).to_xarray(level)
