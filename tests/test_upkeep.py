"""Archives are kept sound: damage found, placed and repaired; garbage cleared; catalogue rebuilt.

SANSFILM_DAMAGES sets how many random damages are tried.
"""

import json
import os
import random
import re
import shutil
from datetime import timedelta

import numpy as np
import pytest
import synth

import sansfilm
from sansfilm.cli.main import main
from sansfilm.errors import OptionError
from sansfilm.options import Options, Storage

SMALL = Options(storage=Storage(chunk=8, slab=4, smallest=8))
DAMAGES = int(os.environ.get("SANSFILM_DAMAGES", "60"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("upkeep")
    ct = synth.series(folder / "in" / "a", slices=11, rows=20, columns=17, spacing=(1, 1, 1))
    synth.series(folder / "in" / "b", slices=3, rows=9, columns=9, seed=1, slope=0.5, modality="PT")
    sansfilm.ingest(folder / "in", folder / "a", options=SMALL)
    return folder, ct


@pytest.fixture
def archive(made, tmp_path):
    shutil.copytree(made[0] / "a", tmp_path / "a")
    return tmp_path / "a"


def damages(archive, **how):
    return [damage for _, found in sansfilm.verify(archive, **how) for damage in found]


def objects_of(archive, pattern="series/*/*/**/*"):
    found = sorted(path for path in archive.glob(pattern) if path.is_file())
    assert found
    return found


# ----------------------------------------------------------------------------------------- verify


def flip(data, chance):
    bit = chance.randrange(len(data) * 8)
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def test_random_damage_is_found_placed_and_never_read_as_voxels(made, archive):
    """Flips, cuts, losses and swaps of any object: all are found, and of nothing else."""
    chance = random.Random(20261125)
    paths = objects_of(archive)
    series = made[1].series_uid
    whole = {path: path.read_bytes() for path in paths}
    read = 0
    for _ in range(DAMAGES):
        kind = chance.choice(["flip", "cut", "lost", "swap"])
        path = chance.choice(paths)
        hit = {path}
        if kind == "flip":
            path.write_bytes(flip(whole[path], chance))
        elif kind == "cut":
            path.write_bytes(whole[path][: chance.randrange(len(whole[path]))])
        elif kind == "lost":
            path.unlink()
        else:
            other = chance.choice([each for each in paths if whole[each] != whole[path]])
            path.write_bytes(whole[other])
            other.write_bytes(whole[path])
            hit.add(other)
        found = {
            damage.key: damage
            for volume, damages in sansfilm.verify(archive)
            for damage in damages
            if volume != "catalogue" or damage.key.endswith("_commit.json")
        }
        # Without its record nothing is known of the other objects of a volume.
        records = {each.parent for each in hit if each.name == "_commit.json"}
        known = {each for each in hit if each in {place / "_commit.json" for place in records}
                 or not records.intersection(each.parents)}  # fmt: skip
        assert found.keys() == {each.relative_to(archive).as_posix() for each in known}, kind
        shard = re.fullmatch(rf"series/{series}/\w+/(\d+)/c/(.*)", str(path.relative_to(archive)))
        if shard and kind != "swap":
            level = sansfilm.open(archive)[series].levels[int(shard[1])]
            place = [int(part) for part in shard[2].split("/")]
            part = tuple(
                slice(p * n, (p + 1) * n) for p, n in zip(place, level.shards, strict=True)
            )
            with pytest.raises(Exception, match=r".") as caught:
                level[part]
            assert not isinstance(caught.value, AssertionError | IndexError)
            read += 1
        for each in hit:
            each.write_bytes(whole[each])
    assert read > DAMAGES // 20
    assert damages(archive) == []


def test_damage_names_level_shard_and_the_frames_that_it_hits(made, archive):
    _, ct = made
    volume = sansfilm.open(archive)[ct.series_uid]
    place = archive / volume.key
    (place / "0/c/1/0/0").unlink()
    (place / "1/c/2/0/0").write_bytes(b"x")
    (place / "dicom/headers/c/0").write_bytes(b"x")
    found = {damage.key[len(volume.key) + 1 :]: damage for damage in damages(archive)}
    assert found.keys() == {"0/c/1/0/0", "1/c/2/0/0", "dicom/headers/c/0"}
    one, two, headers = (found[key] for key in sorted(found))
    assert (one.level, one.shard) == ("0", (1, 0, 0))
    assert one.frames == tuple((uid, 1) for uid in ct.sop_uids[4:8])
    assert (two.level, two.shard) == ("1", (2, 0, 0))
    assert two.frames == tuple((uid, 1) for uid in ct.sop_uids[8:])
    assert (headers.level, headers.shard) == (None, None)
    assert {uid for uid, _ in headers.frames} == set(ct.sop_uids[:4])
    (place / "frames.parquet").unlink()
    assert all(damage.frames == () for damage in damages(archive))


def test_frames_of_several_dimensions_are_placed(tmp_path):
    for number in range(2):

        def at(dataset, index, number=number):
            dataset.TriggerTime = 40.0 * number

        synth.series(tmp_path / "in", slices=6, seed=number, modality="MR", edit=at,
                     series_uid="1.2.840.99.1", study_uid="1.2.840.99.2")  # fmt: skip
    sansfilm.ingest(tmp_path / "in", tmp_path / "a", options=SMALL)
    volume = sansfilm.open(tmp_path / "a")["1.2.840.99.1"]
    (tmp_path / "a" / volume.key / "0/c/1/1/0/0").unlink()
    (damage,) = damages(tmp_path / "a")
    index = volume.frames["index"].map(list)
    rows = volume.frames[[list(each) in ([1, 4], [1, 5]) for each in index]]
    assert [uid for uid, _ in damage.frames] == rows["sop_instance_uid"].tolist()
    assert len(damage.frames) == 2


def test_quick_finds_what_is_missing_or_cut_and_reads_no_voxel(archive, monkeypatch):
    from sansfilm.store.target import LocalTarget

    lost, cut, flipped = objects_of(archive, "series/*/*/0/c/*/0/0")[:3]
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:-1])
    flipped.write_bytes(flip(flipped.read_bytes(), random.Random(1)))
    real, read = LocalTarget.get, []
    monkeypatch.setattr(
        LocalTarget, "get", lambda self, key, *how: read.append(key) or real(self, key, *how)
    )
    keys = {archive / damage.key for damage in damages(archive, quick=True)}
    assert keys == {lost, cut}
    assert not [key for key in read if "/c/" in key]


# ----------------------------------------------------------------------------------------- repair


def test_everything_but_the_record_is_repaired_byte_for_byte(made, archive, tree):
    whole = tree(archive)
    for number, path in enumerate(objects_of(archive)):
        if path.name != "_commit.json":
            path.unlink() if number % 2 else path.write_bytes(b"damaged")
    for path in objects_of(archive, "catalogue/volumes/*"):
        path.write_bytes(b"damaged")
    found = damages(archive, repair=True)
    assert len(found) > 20
    assert [damage for damage in found if not damage.repaired] == []
    repaired = tree(archive)
    assert {key: data for key, data in repaired.items() if "volumes" not in key} == {
        key: data for key, data in whole.items() if "volumes" not in key
    }
    assert damages(archive) == []
    assert main(["verify", str(archive)]) == 0


def test_volumes_of_all_kinds_are_repaired(tmp_path, data, tree):
    """All real files: several dimensions, colour, segmentations on stored grids, doses, cine.

    A segmentation needs the images that it was drawn on, so a second run may be needed.
    """
    sansfilm.ingest(data, tmp_path / "a")
    whole = tree(tmp_path / "a")
    for path in objects_of(tmp_path / "a"):
        if path.name != "_commit.json":
            path.unlink()
    damages(tmp_path / "a", repair=True)
    damages(tmp_path / "a", repair=True)
    assert tree(tmp_path / "a") == whole


def test_a_damaged_record_is_not_made_up(archive, capsys):
    record = objects_of(archive, "series/*/*/_commit.json")[0]
    record.write_bytes(flip(record.read_bytes(), random.Random(2)))
    before = record.read_bytes()
    assert main(["verify", str(archive), "--repair"]) == 5
    assert "not repaired: delete _commit.json and ingest" in capsys.readouterr().out
    assert record.read_bytes() == before


@pytest.mark.parametrize("change", ["lost", "other"])
def test_what_the_sources_no_longer_hold_stays_damaged(tmp_path, change, capsys):
    made = synth.series(tmp_path / "in", slices=5)
    sansfilm.ingest(tmp_path / "in", tmp_path / "a", options=SMALL)
    path = objects_of(tmp_path / "a", "series/*/*/0/c/*/0/0")[0]
    path.write_bytes(b"x")
    if change == "lost":
        made.paths[1].unlink()
    else:
        made.paths[1].write_bytes(flip(made.paths[1].read_bytes(), random.Random(5)))
    assert main(["verify", str(tmp_path / "a"), "--repair"]) == 5
    told = capsys.readouterr().out
    assert f"not repaired: the source {made.paths[1]} " in told
    assert path.read_bytes() == b"x"


def test_other_bytes_than_the_record_names_are_never_written(tmp_path, monkeypatch, capsys):
    """As another version of a codec might make them."""
    from sansfilm.store import writer

    synth.series(tmp_path / "in", slices=5)
    sansfilm.ingest(tmp_path / "in", tmp_path / "a", options=SMALL)
    path = objects_of(tmp_path / "a", "series/*/*/0/c/*/0/0")[0]
    path.unlink()
    real = writer.encode_shard
    monkeypatch.setattr(writer, "encode_shard", lambda *how: real(*how) + b"\0")
    assert main(["verify", str(tmp_path / "a"), "--repair"]) == 5
    assert "make other bytes" in capsys.readouterr().out
    assert not path.exists()


def test_one_of_two_volumes_of_one_file_is_repaired_alone(tmp_path):
    """The series has two stacks; the other one is left as it is."""
    synth.series(tmp_path / "in", slices=5, series_uid="1.2.840.7")
    synth.series(tmp_path / "in", slices=4, seed=3, rows=24, series_uid="1.2.840.7",
                 study_uid="1.2.840.8")  # fmt: skip
    sansfilm.ingest(tmp_path / "in", tmp_path / "a", options=SMALL)
    first, second = sansfilm.open(tmp_path / "a").rows()
    for row in (first, second):
        (tmp_path / "a" / row["key"] / "0/c/0/0/0").unlink()
    found = damages(tmp_path / "a", series=first["volume_id"], repair=True)
    assert [damage.repaired for damage in found] == [True]
    assert [damage.key.split("/")[2] for damage in damages(tmp_path / "a")] == [second["volume_id"]]


# --------------------------------------------------------------------------------------------- gc


def age(path, days):
    for each in [path, *path.rglob("*")]:
        if each.is_file():
            now = each.stat().st_mtime
            os.utime(each, (now, now - days * 86400))


def half_volume(archive):
    """Leave a volume as a killed ingest does."""
    record = objects_of(archive, "series/*/*/_commit.json")[0]
    record.unlink()
    return record.parent


def test_gc_deletes_half_volumes_strays_and_temporary_files_and_nothing_else(archive, tree):
    whole = tree(archive)
    half = half_volume(archive)
    kept = half.parent.parent / "README"
    kept.write_text("by somebody")
    (record,) = objects_of(archive, "series/*/*/_commit.json")
    (record.parent / "0/c/9/9").mkdir(parents=True)
    stray = record.parent / "0/c/9/9/9"
    temporaries = [
        archive / f".sansfilm.json.{'0a' * 16}",
        record.parent / f"0/c/0/0/.0.{'1b' * 16}",
        archive / f"catalogue/volumes/.x.parquet.{'2c' * 16}",
    ]
    for path in (stray, *temporaries):
        path.write_bytes(b"x")
    assert list(sansfilm.gc(archive)) == []  # young
    age(archive, 8)
    gone = {half, *half.rglob("*"), stray, *temporaries}
    names = {path.relative_to(archive).as_posix() for path in gone if path.is_file()}
    before = tree(archive)
    assert {key for key, _ in sansfilm.gc(archive, dry_run=True)} == names
    assert tree(archive) == before
    assert dict(sansfilm.gc(archive)) == {name: len(before[name]) for name in names}
    assert tree(archive) == {key: data for key, data in before.items() if key not in names}
    assert list(sansfilm.gc(archive, older_than=timedelta(0))) == []
    assert not half.exists()
    kept.unlink()
    prefix = half.relative_to(archive).as_posix()
    rest = {key: data for key, data in whole.items() if not key.startswith(prefix)}
    assert tree(archive) == rest
    assert not [path for path in archive.rglob("*") if path.is_dir() and not any(path.iterdir())]


def test_one_young_object_keeps_a_half_volume(archive):
    half = half_volume(archive)
    age(archive, 8)
    os.utime(half / "zarr.json")
    assert list(sansfilm.gc(archive)) == []
    assert (half / "zarr.json").exists()


def test_gc_touches_nothing_of_a_volume_with_a_damaged_record(archive, tree):
    record = objects_of(archive, "series/*/*/_commit.json")[0]
    record.write_bytes(b"{}")
    age(archive, 8)
    before = tree(archive)
    assert list(sansfilm.gc(archive)) == []
    assert tree(archive) == before


def test_an_ingest_that_goes_on_makes_its_half_volume_young(made, archive):
    half = half_volume(archive)
    age(archive, 30)
    sansfilm.ingest(made[0] / "in", archive, options=SMALL)
    record = json.loads((half / "_commit.json").read_text())
    stored = [half / each["key"] for each in record["objects"]]
    assert min(path.stat().st_mtime for path in stored) > half.parent.stat().st_mtime - 86400


def test_gc_on_the_command_line(archive, capsys):
    half_volume(archive)
    assert main(["gc", str(archive)]) == 0
    assert capsys.readouterr().out == "0 objects, 0 bytes deleted\n"
    assert main(["gc", str(archive), "--older-than", "0s", "--dry-run", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(line.keys() == {"key", "bytes"} for line in lines)
    assert main(["gc", str(archive), "--older-than", "0s"]) == 0
    assert f"{len(lines)} objects" in capsys.readouterr().out
    for wrong in ("7", "d", "-1d", "7w", "", "1.5d", "٣d"):
        assert main(["gc", str(archive), f"--older-than={wrong}"]) == 2
    with pytest.raises(OptionError):
        list(sansfilm.gc(archive, older_than=timedelta(days=-1)))


# ------------------------------------------------------------------------------------------ index


def test_the_catalogue_is_made_again_from_the_volumes_alone(archive, tree):
    whole, rows = tree(archive), sansfilm.open(archive).rows()
    shutil.rmtree(archive / "catalogue" / "volumes")
    shutil.rmtree(archive / "catalogue" / "patients")
    assert sansfilm.open(archive).rows() == []
    assert [found for _, found in sansfilm.index(archive)] == [[], [], []]
    assert sansfilm.open(archive).rows() == rows
    assert tree(archive) == whole


@pytest.mark.parametrize("syntax", [synth.IMPLICIT_LE, synth.EXPLICIT_BE, synth.DEFLATED_LE])
def test_patients_come_from_the_headers_whatever_their_syntax(tmp_path, tree, syntax):
    def name(dataset, index):
        dataset.SpecificCharacterSet = "ISO_IR 100"
        dataset.PatientName = "Çelik^Øyvind" if index else "CELIK^OYVIND"

    synth.series(tmp_path / "in", slices=4, edit=name, transfer_syntax=syntax)
    sansfilm.ingest(tmp_path / "in", tmp_path / "a", options=SMALL)
    whole = tree(tmp_path / "a" / "catalogue" / "patients")
    assert len(whole) == 2
    shutil.rmtree(tmp_path / "a" / "catalogue" / "patients")
    list(sansfilm.index(tmp_path / "a"))
    assert tree(tmp_path / "a" / "catalogue" / "patients") == whole


def test_index_mends_damaged_rows_removes_those_of_nothing_and_keeps_the_rest(
    archive, capsys, tmp_path
):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("not DICOM")
    sansfilm.ingest(tmp_path / "in", archive)
    rows = objects_of(archive, "catalogue/volumes/*.parquet")
    rows[0].write_bytes(b"x")
    (archive / "catalogue/volumes" / f"{'0' * 32}.parquet").write_bytes(rows[1].read_bytes())
    assert main(["verify", str(archive)]) == 5
    assert main(["index", str(archive)]) == 0
    assert main(["verify", str(archive)]) == 0
    assert len(sansfilm.open(archive).rows()) == 2
    assert len(sansfilm.open(archive).problems) == 1
    assert "ZZPHI" not in capsys.readouterr().out


def test_index_says_which_volume_is_damaged_and_keeps_its_row(archive, capsys):
    path = objects_of(archive, "series/*/*/zarr.json")[0]
    path.write_bytes(b"{}")
    assert main(["index", str(archive)]) == 5
    told = capsys.readouterr().out
    assert told.count("damaged  series/") == 1
    assert told.count("indexed  series/") == 1
    assert len(objects_of(archive, "catalogue/volumes/*.parquet")) == 2


# ---------------------------------------------------------------------------------------- history


def test_ls_all_shows_history(tmp_path, capsys):
    made = synth.series(tmp_path / "in", slices=6)
    last = made.paths[-1].rename(tmp_path / "late.dcm")
    sansfilm.ingest(tmp_path / "in", tmp_path / "a", options=SMALL)
    last.rename(made.paths[-1])
    sansfilm.ingest(tmp_path / "in", tmp_path / "a", options=SMALL)
    archive = sansfilm.open(tmp_path / "a")
    (now,) = archive.rows()
    assert now["frames"] == 6
    old = next(row for row in archive.rows(history=True) if row["volume_id"] != now["volume_id"])
    assert (old["frames"], old["superseded_by"]) == (5, now["volume_id"])
    capsys.readouterr()
    assert main(["ls", str(tmp_path / "a")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert main(["ls", "--all", str(tmp_path / "a")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    (line,) = [line for line in lines if "superseded by" in line]
    assert line.endswith(f"superseded by {now['volume_id'][:8]}")
    assert archive[old["volume_id"]].array.shape[0] == 5  # what was, can still be opened
    assert archive[made.series_uid].volume_id == now["volume_id"]
    np.testing.assert_array_equal(archive[made.series_uid].array[:], made.values)
    shutil.rmtree(tmp_path / "a" / "catalogue" / "volumes")
    list(sansfilm.index(tmp_path / "a"))
    assert {row["superseded_by"] for row in archive.rows(history=True)} == {None, now["volume_id"]}
