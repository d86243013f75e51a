"""Catalogue files: rows come back as they were put, names come from contents, damage is told."""

import io
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sansfilm.catalogue import table
from sansfilm.errors import IntegrityError, TargetError
from sansfilm.store.memory import MemoryTarget
from sansfilm.store.target import LocalTarget

VOLUME = {
    "series_uid": "1.2", "study_uid": "1.1", "volume_id": "v1", "key": "series/1.2/v1",
    "patient_key": "p", "modality": "CT", "body_part": None, "study_date": "20260102",
    "verdict": "regular", "verdict_text": "fine", "spacing_min_mm": 1.9, "spacing_max_mm": 2.1,
    "shear_deg": None, "missing": 0, "duplicates": 1, "axes": ["z", "y", "x"], "shape": [3, 4, 5],
    "dtype": "int16", "spacing_mm": [None, 0.1, 0.2],
    "affine_lps": [[0.1, 0.0, 0.0, -1e-9], [0.0, 1 / 3, 0.0, 2.0], [0.0, 0.0, 1.0, 3.0]],
    "levels": 1, "frames": 3, "transfer_syntaxes": ["1.2.840.10008.1.2"], "is_lossy": False,
    "supersedes": [], "superseded_by": None,
}  # fmt: skip
PATIENT = {
    "patient_key": "p", "patient_id": "7", "issuer": "", "name": "Müller^Ägnes",
    "birth_date": "", "sex": "F",
}  # fmt: skip
PROBLEM = {
    "uri": "a.dcm", "stage": "headers", "code": "NOT_DICOM", "message": "why", "series_uid": None,
    "frame": None, "frames": 0,
}  # fmt: skip
ROWS = {
    table.VOLUMES: [VOLUME],
    table.PATIENTS: [PATIENT],
    table.PROBLEMS: [PROBLEM, {**PROBLEM, "uri": "b.dcm", "frame": 4, "frames": 1}],
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_come_back_as_they_were_put(name):
    target = MemoryTarget()
    table.put_rows(target, name, ROWS[name])
    assert table.read_rows(target, name).to_pylist() == ROWS[name]
    (key,) = target.objects
    assert key.startswith(f"{name}/")
    assert table.is_named_after(key, table.read_file(target, key))


def test_no_rows_are_no_file_and_no_file_is_no_rows():
    target = MemoryTarget()
    table.put_rows(target, table.PROBLEMS, [])
    assert target.is_empty()
    for name, schema in table.SCHEMAS.items():
        assert table.read_rows(target, name).schema == schema
        assert table.read_rows(target, name).num_rows == 0


def test_the_same_rows_are_one_file_and_other_rows_another():
    target = MemoryTarget()
    for _ in range(2):
        table.put_rows(target, table.PATIENTS, [PATIENT])
        table.put_rows(target, table.PROBLEMS, [PROBLEM])
    assert len(target.objects) == 2
    table.put_rows(target, table.PATIENTS, [{**PATIENT, "name": "Mueller^Aegnes"}])
    table.put_rows(target, table.PROBLEMS, [{**PROBLEM, "message": "other"}])
    assert len(target.objects) == 4


def test_a_volume_has_one_row_that_stays():
    """So that an ingest which is run again leaves the archive as it is."""
    target = MemoryTarget()
    table.put_rows(target, table.VOLUMES, [VOLUME])
    before = dict(target.objects)
    table.put_rows(target, table.VOLUMES, [{**VOLUME, "superseded_by": "v2"}])
    assert target.objects == before
    assert list(before) == [f"{table.VOLUMES}/v1.parquet"]


def test_files_have_no_patient_in_their_name():
    target = MemoryTarget()
    table.put_rows(target, table.PATIENTS, [{**PATIENT, "patient_id": "ZZPHI"}])
    assert "ZZPHI" not in str(list(target.objects))


def test_any_reader_of_parquet_reads_them():
    target = MemoryTarget()
    table.put_rows(target, table.VOLUMES, [VOLUME])
    (data,) = target.objects.values()
    assert pq.read_table(io.BytesIO(data)).to_pylist() == [VOLUME]


def test_the_seal_is_of_every_byte_and_cannot_be_left_out():
    target = MemoryTarget()
    table.put_rows(target, table.VOLUMES, [VOLUME])
    ((key, data),) = target.objects.items()
    for place in range(len(data)):
        target.put(key, data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        with pytest.raises(
            IntegrityError, match=r"v1\.parquet: is damaged: run .sansfilm index., or remove it"
        ):
            table.read_file(target, key)
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([VOLUME], schema=table.SCHEMAS[table.VOLUMES]), sink)
    target.put(key, sink.getvalue())
    with pytest.raises(IntegrityError):
        table.read_file(target, key)


def test_a_storage_that_fails_is_not_called_damage():
    """The cure for damage is to remove the file: never on account of a network."""

    class Offline(MemoryTarget):
        def get(self, key, offset=0, length=None):
            raise TargetError("cannot read", "no route to host")

    target = Offline()
    table.put_rows(target, table.VOLUMES, [VOLUME])
    with pytest.raises(TargetError, match="no route to host"):
        table.read_rows(target, table.VOLUMES)


def test_a_process_that_has_read_a_table_ends_well(tmp_path):
    """Arrow's threads aborted one in three (apache/arrow #33975)."""
    target = LocalTarget(str(tmp_path))
    table.put_rows(target, table.VOLUMES, [VOLUME])
    script = (
        "import sys; from sansfilm.catalogue import table; "
        "from sansfilm.store.target import LocalTarget; "
        "assert table.read_rows(LocalTarget(sys.argv[1]), table.VOLUMES).num_rows == 1"
    )
    for _ in range(8):
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")


def row(name, supersedes=(), superseded_by=None):
    return {"volume_id": name, "supersedes": list(supersedes), "superseded_by": superseded_by}


@pytest.mark.parametrize(
    ("rows", "left"),
    [
        ([row("a"), row("b")], ["a", "b"]),
        ([row("a"), row("b", ["a"])], ["b"]),
        ([row("a", superseded_by="b"), row("b")], ["b"]),
        ([row("a", superseded_by="b"), row("b", ["a"])], ["b"]),
        ([row("a"), row("b", ["a"]), row("c", ["a", "b"])], ["c"]),
        ([row("a", superseded_by="gone")], ["a"]),
        ([], []),
    ],
)
def test_the_newest_are_those_for_which_no_other_stands(rows, left):
    for order, expected in ((rows, left), (rows[::-1], left[::-1])):
        found = table.superseded(order)
        assert [row["volume_id"] for row in found if row["superseded_by"] is None] == expected
