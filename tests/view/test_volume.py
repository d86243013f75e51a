"""A volume says what it is, and that it is damaged rather than something else."""

import random

import numpy as np
import pytest
import synth
from zarr.errors import ChunkNotFoundError

from sansfilm.archive import open_archive
from sansfilm.errors import IntegrityError, OptionError, VolumeNotFoundError
from sansfilm.intake import ingest
from sansfilm.options import Options, Storage
from sansfilm.store.target import LocalTarget
from sansfilm.view.volume import Volume


@pytest.fixture
def stored(tmp_path):
    """Give a volume on disk, its folder and its series."""
    made = synth.series(tmp_path / "in", slices=5, padding=0)
    options = Options(storage=Storage(slab=4, chunk=8, smallest=16))
    (row,) = ingest(made.folder, tmp_path / "a", options=options).volumes
    return open_archive(tmp_path / "a")[made.series_uid], tmp_path / "a" / row["key"], made


def again(volume):
    return Volume(volume._target, volume.key)


def test_it_says_what_it_is(stored):
    volume, folder, made = stored
    assert (volume.series_uid, volume.modality, volume.unit) == (made.series_uid, "CT", "HU")
    assert volume.uri == str(folder)
    assert volume.axes == ("z", "y", "x")
    assert volume.spacing_mm == (2.0, 0.7, 0.8)
    assert volume.verdict.code == "regular"
    assert "5 slices" in volume.verdict.text
    np.testing.assert_allclose(volume.affine_lps, made.affine_lps, atol=1e-9)
    np.testing.assert_array_equal(volume.array[:], made.values)
    assert [level.shape for level in volume.levels] == [(5, 32, 40), (5, 16, 20), (5, 8, 10)]
    assert [tuple(volume.factors(n)) for n in range(3)] == [(1, 1, 1), (1, 2, 2), (1, 4, 4)]
    assert len(volume.frames) == 5


def test_an_affine_is_a_copy(stored):
    volume, _, made = stored
    volume.affine_lps[:] = 0
    volume.affine(0)[:] = 0
    np.testing.assert_allclose(volume.affine_lps, made.affine_lps, atol=1e-9)


def test_levels_cannot_be_written(stored):
    with pytest.raises(ValueError, match="read-only"):
        stored[0].array[0, 0, 0] = 1


def test_a_volume_that_is_not_committed_does_not_exist(stored):
    volume, folder, _ = stored
    (folder / "_commit.json").unlink()
    with pytest.raises(VolumeNotFoundError, match="no committed volume at"):
        again(volume)
    with pytest.raises(VolumeNotFoundError):
        Volume(LocalTarget("/nowhere"), "series/1/2")


METADATA = {
    "zarr.json": again,
    "0/zarr.json": lambda volume: again(volume).array,
    "2/zarr.json": lambda volume: again(volume).levels,
    "dicom/headers/zarr.json": lambda volume: again(volume).headers(),
    "frames.parquet": lambda volume: again(volume).frames,
}
"""What has no checksum of its own, and who reads it."""


@pytest.mark.parametrize("name", METADATA)
def test_metadata_that_is_not_what_was_committed_is_named(stored, name):
    """A flipped digit of an affine would be a wrong place in the patient, and no error."""
    volume, folder, _ = stored
    path = folder / name
    whole, chance = path.read_bytes(), random.Random(5)
    METADATA[name](volume)
    for number in range(40):
        bit = chance.randrange(len(whole) * 8)
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(b"" if number == 0 else damaged)
        with pytest.raises(IntegrityError, match=f"{name}: is damaged: see `sansfilm verify`"):
            METADATA[name](volume)
    path.unlink()
    with pytest.raises(IntegrityError, match=name):
        METADATA[name](volume)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"objects": [1]}', b"\xff", b"null"])
def test_a_damaged_record_is_named(stored, content):
    volume, folder, _ = stored
    (folder / "_commit.json").write_bytes(content)
    with pytest.raises(IntegrityError, match=r"_commit\.json: is damaged"):
        again(volume)


def test_a_lost_or_damaged_shard_raises_and_is_never_air(stored):
    volume, folder, made = stored
    path = folder / "0/c/1/0/0"
    whole = path.read_bytes()
    path.unlink()
    with pytest.raises(ChunkNotFoundError):
        again(volume).array[4]
    np.testing.assert_array_equal(again(volume).array[:4], made.values[:4])
    path.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    with pytest.raises(ValueError, match="checksum"):
        again(volume).array[:]


@pytest.mark.parametrize("level", [-1, 3, 99])
def test_a_level_that_is_not_there_is_a_wrong_call(stored, level):
    for call in (stored[0].factors, stored[0].affine):
        with pytest.raises(OptionError, match=f"level must be 0 to 2, got {level}"):
            call(level)


def test_padding_is_told_in_level_0_values(stored):
    volume, _, _ = stored
    assert volume.attributes["padding"] == [-1024, -1024]
    assert volume.array[0, 0, 0] == -1024
