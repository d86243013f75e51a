"""Verify finds every damage of every object and names it, and nothing where all is well."""

import contextlib
import random
import shutil
import tempfile
from pathlib import Path

import pytest
import synth

from sansfilm.archive import open_archive
from sansfilm.cli.main import main
from sansfilm.errors import SansfilmError, VolumeNotFoundError
from sansfilm.intake import ingest
from sansfilm.options import Options, Storage
from sansfilm.upkeep import verify

SMALL = Options(storage=Storage(chunk=4, slab=2, smallest=4))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Two volumes of several slabs and levels, with rows of every kind in the catalogue."""
    folder = tmp_path_factory.mktemp("verify")
    synth.series(folder / "in" / "a", slices=5, rows=12, columns=10, spacing=(1, 1, 1))
    synth.series(folder / "in" / "b", slices=3, rows=9, columns=9, seed=1, slope=0.5)
    (folder / "in" / "notes.txt").write_text("not DICOM")
    report = ingest(folder / "in", folder / "a", options=SMALL, workers=1)
    assert len(report.volumes) == 2
    assert len(report.problems) == 1
    return folder / "a"


@pytest.fixture(scope="module")
def keys(archive):
    found = sorted(
        path.relative_to(archive).as_posix() for path in archive.rglob("*") if path.is_file()
    )
    assert len(found) > 25
    return [key for key in found if key != "sansfilm.json"]


def damages(archive, series=None):
    return [(damage.key, damage.what) for _, found in verify(archive, series) for damage in found]


@contextlib.contextmanager
def changed(path, data):
    """Replace an object, or take it away; put it back at the end."""
    whole = path.read_bytes()
    try:
        path.unlink() if data is None else path.write_bytes(data)
        yield
    finally:
        path.write_bytes(whole)


def named(archive, key):
    """Verify; make sure that nothing but this key is accused and tell of what.

    A volume whose metadata is damaged may be accused of not being what its row says.
    """
    found = dict(damages(archive))
    assert key in found
    row = f"catalogue/volumes/{key.split('/')[2]}.parquet"
    assert found.keys() - {key} <= {row}
    return found[key]


def flip(data, chance):
    bit = chance.randrange(len(data) * 8)
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


CHANGES = {
    "one bit": flip,
    "cut": lambda data, chance: data[: chance.randrange(1, len(data))],
    "longer": lambda data, _: data + b"\0",
    "empty": lambda *_: b"",
    "zeros": lambda data, _: bytes(len(data)),
    "other JSON": lambda *_: b'["this is", {"something": "else"}]',
    "JSON with blanks": lambda data, _: data.replace(b"{", b"{ ", 1) if data[:1] == b"{" else b"{}",
}


def test_an_archive_as_it_was_written_is_clean(archive):
    assert damages(archive) == []


@pytest.mark.parametrize("change", CHANGES)
def test_every_damaged_object_is_named(archive, keys, change):
    chance = random.Random(20261124)
    for key in keys:
        path = archive / key
        with changed(path, CHANGES[change](path.read_bytes(), chance)):
            assert not named(archive, key).startswith("missing")
    assert damages(archive) == []


def test_a_flip_of_any_bit_of_the_catalogue_is_found(archive, keys):
    """Also where Parquet has no checksum: in its footer, a third of such a small file."""
    chance = random.Random(7)
    for key in keys:
        if key.startswith("catalogue/"):
            path = archive / key
            whole = path.read_bytes()
            for _ in range(60):
                with changed(path, flip(whole, chance)):
                    assert named(archive, key) == "damaged"


def test_every_lost_object_is_named(archive, keys):
    """But for rows of patients and problems: nothing says how many there should be."""
    for key in keys:
        with changed(archive / key, None):
            if key.startswith(("catalogue/patients", "catalogue/problems")):
                assert damages(archive) == []
            else:
                assert named(archive, key).startswith("missing")
    assert damages(archive) == []


def test_objects_that_were_swapped_are_both_named(archive, keys):
    """Each is sound in itself, and of the same kind as the other."""
    pairs = [
        [key for key in keys if key.endswith(end)]
        for end in ("/0/c/0/0/0", "/0/zarr.json", "frames.parquet", "headers/c/0", "_commit.json")
    ]
    pairs += [[key for key in keys if key.startswith("catalogue/volumes")]]
    pairs += [
        [key for key in keys if "/0/c/" in key and key.split("/")[1] == keys[-1].split("/")[1]]
    ]
    for one, two, *_ in pairs:
        a, b = archive / one, archive / two
        bytes_a, bytes_b = a.read_bytes(), b.read_bytes()
        assert bytes_a != bytes_b
        with changed(a, bytes_b), changed(b, bytes_a):
            assert {one, two} <= {key for key, _ in damages(archive)}
    assert damages(archive) == []


@pytest.mark.parametrize("change", [*CHANGES, "lost"])
def test_a_damaged_mark_is_told_by_whoever_opens(archive, tmp_path, change, capsys):
    chance = random.Random(3)
    copy = tmp_path / "a"
    shutil.copytree(archive, copy)
    path = copy / "sansfilm.json"
    whole = path.read_bytes()
    for _ in range(20):
        if change == "lost":
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(CHANGES[change](whole, chance))
        for call in (
            lambda: open_archive(copy),
            lambda: damages(copy),
            lambda: ingest(copy.parent / "none", copy),
        ):
            with pytest.raises(SansfilmError):
                call()
    assert main(["verify", str(copy)]) in ((2,) if change == "lost" else (4, 5))
    assert str(copy) in capsys.readouterr().err


def test_damage_of_one_series_is_not_that_of_another(archive, keys):
    series = sorted({key.split("/")[1] for key in keys if key.startswith("series/")})
    key = next(key for key in keys if key.startswith(f"series/{series[0]}"))
    path = archive / key
    with changed(path, path.read_bytes() + b"x"):
        assert [name for name, _ in damages(archive, series[0])] == [key]
        assert damages(archive, series[1]) == []
        assert damages(archive, key.split("/")[2])[0][0] == key
        with pytest.raises(VolumeNotFoundError):
            damages(archive, "1.2.3")


def test_damage_of_the_catalogue_is_told_by_whoever_reads_it(archive, tmp_path):
    copy = tmp_path / "a"
    shutil.copytree(archive, copy)
    (row, *_) = sorted((copy / "catalogue" / "volumes").iterdir())
    row.write_bytes(flip(row.read_bytes(), random.Random(1)))
    with pytest.raises(
        SansfilmError, match=f"{row.name}: is damaged: run .sansfilm index., or remove it"
    ):
        open_archive(copy).rows()
    row.unlink()
    assert len(open_archive(copy).rows()) == 1
    ingest(archive.parent / "in", copy, options=SMALL, workers=1)  # the cure that was named
    assert damages(copy) == []
    assert len(open_archive(copy).rows()) == 2


def test_what_cannot_be_read_is_named_and_no_catalogue_is_called_damaged(
    archive, tmp_path, without_root
):
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "a"
        shutil.copytree(archive, copy)
        for path in [Path(name), copy, *copy.rglob("*")]:
            path.chmod(0o755)
        closed = next(copy.glob("series/*/*/frames.parquet"))
        row = next((copy / "catalogue" / "volumes").iterdir())
        patients = copy / "catalogue" / "patients"
        for path in (closed, row, patients):
            path.chmod(0)
        with without_root():
            found = dict(damages(copy))
            with pytest.raises(SansfilmError, match="permission denied"):
                open_archive(copy).rows()
        patients.chmod(0o755)
    for path in (closed, row, patients):
        assert found.pop(path.relative_to(copy).as_posix()).startswith("cannot be read: permission")
    assert all(key.startswith("catalogue/volumes") for key in found)


def test_nothing_is_damaged_by_ingesting_again(archive, tmp_path):
    """The same sources, fewer of them, more of them, other options."""
    copy = tmp_path / "a"
    shutil.copytree(archive, copy)
    sources = archive.parent / "in"
    synth.series(tmp_path / "more", slices=2, seed=5)
    for source, options in (
        (sources, SMALL),
        (sources / "b", SMALL),
        (sources, Options()),
        (tmp_path / "more", None),
        (sources, SMALL),
    ):
        ingest(source, copy, options=options, workers=1)
        assert damages(copy) == []
    assert len(open_archive(copy)) == 3
