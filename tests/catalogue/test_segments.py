"""Segments: the rows of many volumes in one file say what the volumes' own files say, faster."""

import json
import time
from itertools import batched

import pytest

from sansfilm.archive import open_archive
from sansfilm.catalogue import segments, table
from sansfilm.catalogue.check import check
from sansfilm.errors import IntegrityError
from sansfilm.store.memory import MemoryTarget
from sansfilm.store.root import create_archive
from sansfilm.store.target import LocalTarget


def row(number, **other):
    return {
        "series_uid": f"1.2.{number}", "study_uid": "1.1", "volume_id": f"v{number:05d}",
        "key": f"series/1.2.{number}/v{number:05d}", "patient_key": f"p{number % 50}",
        "modality": ("CT", "MR", "PT")[number % 3], "body_part": (None, "HEAD")[number % 2],
        "study_date": f"2026{1 + number % 12:02d}15", "verdict": "regular",
        "verdict_text": f"Slice {number}", "spacing_min_mm": 1.9, "spacing_max_mm": 2.1,
        "shear_deg": 0.0, "missing": 0, "duplicates": 0, "axes": ["z", "y", "x"],
        "shape": [number, 512, 512], "dtype": "int16", "spacing_mm": [2.0, 0.1, number / 7],
        "affine_lps": [[0.1, 0.0, 0.0, number / 3]] * 4, "levels": 1, "frames": number,
        "transfer_syntaxes": ["1.2.840.10008.1.2"], "is_lossy": False, "supersedes": [],
        "superseded_by": None, **other,
    }  # fmt: skip


class Counting(MemoryTarget):
    """Objects that remember which of them were read."""

    def __init__(self):
        super().__init__()
        self.read = []

    def get(self, key, offset=0, length=None):
        self.read.append(key)
        return super().get(key, offset, length)


@pytest.fixture
def target():
    return Counting()


def put(target, numbers):
    for number in numbers:
        table.put_rows(target, table.VOLUMES, [row(number)])


def test_few_volumes_make_no_segment(target):
    put(target, range(segments.ENOUGH - 1))
    before = dict(target.objects)
    segments.gather(target)
    assert target.objects == before
    assert segments.read_volumes(target).num_rows == segments.ENOUGH - 1


def test_the_rows_are_the_same_with_segments_and_without(target):
    put(target, range(150))
    alone = segments.read_volumes(target)
    assert alone.to_pylist() == [row(number) for number in range(150)]
    segments.gather(target)
    put(target, range(150, 230))
    segments.gather(target)
    put(target, range(230, 240))
    segments.gather(target)
    assert len(target.find(table.SEGMENTS)) == 2
    target.read.clear()
    assert segments.read_volumes(target).to_pylist() == [row(number) for number in range(240)]
    assert len(target.read) == 2 + 10  # two segments, and those in none


def test_rows_in_hand_are_not_read_and_make_the_same_segment(target):
    """They say more, and numbers may be whole that the catalogue keeps as any number."""
    put(target, range(100))
    told = [row(number, spacing_mm=[2, 0.1, 3], uri=f"/a/{number}") for number in range(100)]
    for number in range(100):
        own = row(number, spacing_mm=[2.0, 0.1, 3.0])
        table.put_rows(target, table.VOLUMES, [own], anew=True)
    segments.gather(target)
    read = target.objects.pop(*target.find(table.SEGMENTS))
    target.read.clear()
    keys = [f"{table.VOLUMES}/v{number:05d}.parquet" for number in range(100)]
    segments.gather(target, told[::-1], {key: 99 - n for n, key in enumerate(keys) if n != 7})
    assert target.read == [keys[7]]
    (segment,) = target.find(table.SEGMENTS)
    assert target.objects[segment] == read
    assert table.is_named_after(segment, table.read_file(target, segment))


def test_the_same_ingest_again_writes_no_other_segment(target):
    put(target, range(100))
    segments.gather(target)
    before = dict(target.objects)
    segments.gather(target)
    (segment,) = target.find(table.SEGMENTS)
    del target.objects[segment]  # as if the first one had been killed
    segments.gather(target)
    assert target.objects == before


def test_two_that_gather_at_once_do_no_harm(target):
    put(target, range(100))
    segments.gather(target)
    (first,) = target.find(table.SEGMENTS)
    kept = target.objects.pop(first)
    put(target, range(100, 110))
    segments.gather(target)
    target.objects[first] = kept
    assert len(target.find(table.SEGMENTS)) == 2
    assert segments.read_volumes(target).num_rows == 110


def test_a_volume_without_a_file_of_its_own_is_gone(target):
    put(target, range(100))
    segments.gather(target)
    del target.objects[f"{table.VOLUMES}/v00007.parquet"]
    assert "v00007" not in segments.read_volumes(target)["volume_id"].to_pylist()


def test_a_damaged_segment_is_told(target):
    put(target, range(100))
    segments.gather(target)
    (segment,) = target.find(table.SEGMENTS)
    data = bytearray(target.objects[segment])
    data[len(data) // 2] ^= 1
    target.put(segment, bytes(data))
    with pytest.raises(IntegrityError, match=r"segments/.*is damaged: run `sansfilm index`"):
        segments.read_volumes(target)
    assert (segment, "damaged") in list(check(target, []))
    segments.gather_anew(target)
    assert segments.read_volumes(target).num_rows == 100


def test_a_segment_that_says_other_than_the_volumes_is_told(target):
    """The seal is right, and so is the name: only what the volume is gives it away."""
    rows = [row(number) for number in range(3)]
    table.put_rows(target, table.SEGMENTS, rows)
    (segment,) = target.find(table.SEGMENTS)
    said = list(check(target, []))
    assert said == []  # of volumes that are gone
    other = {"series_uid": "1.2.1", "verdict": {"code": "single", "text": "", "numbers": {}}}
    own = dict.fromkeys(("study_uid", "volume_id", "patient_key", "modality", "body_part",
                         "study_date", "affine_lps", "frames", "transfer_syntaxes"))  # fmt: skip
    own |= other | {"spacing_mm": [], "lossy": {"is_lossy": False}}
    group = {"attributes": {"sansfilm": own, "ome": {"multiscales": [{"datasets": []}]}}}
    array = {"dimension_names": [], "shape": [], "data_type": "int16"}
    target.put(f"{rows[1]['key']}/zarr.json", json.dumps(group).encode())
    target.put(f"{rows[1]['key']}/0/zarr.json", json.dumps(array).encode())
    assert (segment, "does not say what the volume is") in list(check(target, [rows[1]["key"]]))


def test_ten_thousand_series_open_and_are_filtered_in_a_moment(tmp_path):
    """Under 1 s of this process; the limit is in CPU time, for the machine may be busy."""
    target = LocalTarget(str(tmp_path / "a"))
    create_archive(target)
    rows = [row(number) for number in range(10_000)]
    (tmp_path / "a" / table.VOLUMES).mkdir(parents=True)
    for each in rows:  # their own files are not opened: one is as good as the other
        (tmp_path / "a" / f"{table.VOLUMES}/{each['volume_id']}.parquet").touch()
        folder = tmp_path / "a" / each["key"]
        folder.mkdir(parents=True)
        (folder / "_commit.json").touch()
    for some in batched(rows, segments.MOST):
        table.put_rows(target, table.SEGMENTS, some)
    begun = time.process_time()
    found = open_archive(tmp_path / "a").select(modality="PT", date=("2026-03-01", "2026-03-31"))
    taken = time.process_time() - begun
    assert found.rows()[0]["modality"] == "PT"
    assert len(found) == sum(
        each["modality"] == "PT" and each["study_date"] == "20260315" for each in rows
    )
    assert len(found) > 0
    assert taken < 1
