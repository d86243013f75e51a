"""Rows -> Parquet files below ``catalogue/``, and back.

One file per volume and per patient, one per series of objects without pixels, one per ingest that
met problems; segments hold the rows of many volumes. File names come from the contents, so that
the same ingest writes the same files and two ingests never write one file.

Every file carries a seal: the SHA-256 of itself with a blank in its place. Parquet's own page
checksums leave out the footer, a third of so small a file.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sansfilm import columns
from sansfilm.errors import IntegrityError
from sansfilm.objects import Objects, each

VOLUMES, PATIENTS, PROBLEMS = "catalogue/volumes", "catalogue/patients", "catalogue/problems"
OBJECTS, SEGMENTS = "catalogue/objects", "catalogue/segments"

_SEAL, _BLANK = b"sansfilm.sha256", b"sansfilm" * 8

_TEXT, _TEXTS, _COUNT = pa.string(), pa.list_(pa.string()), pa.int64()
_NUMBER, _NUMBERS = pa.float64(), pa.list_(pa.float64())
_VOLUME = pa.schema(
    {
        "series_uid": _TEXT, "study_uid": _TEXT, "volume_id": _TEXT, "key": _TEXT,
        "patient_key": _TEXT, "modality": _TEXT, "body_part": _TEXT, "study_date": _TEXT,
        "verdict": _TEXT, "verdict_text": _TEXT, "spacing_min_mm": _NUMBER,
        "spacing_max_mm": _NUMBER, "shear_deg": _NUMBER, "missing": _COUNT,
        "duplicates": _COUNT, "axes": _TEXTS, "shape": pa.list_(_COUNT),
        "dtype": _TEXT, "spacing_mm": _NUMBERS, "affine_lps": pa.list_(_NUMBERS),
        "levels": _COUNT, "frames": _COUNT, "transfer_syntaxes": _TEXTS,
        "is_lossy": pa.bool_(), "supersedes": _TEXTS, "superseded_by": _TEXT,
    }
)  # fmt: skip
SCHEMAS = {
    VOLUMES: _VOLUME,
    SEGMENTS: _VOLUME,
    PATIENTS: pa.schema(
        {"patient_key": _TEXT, "patient_id": _TEXT, "issuer": _TEXT, "name": _TEXT,
         "birth_date": _TEXT, "sex": _TEXT}
    ),
    OBJECTS: pa.schema(
        {"uri": _TEXT, "sop_instance_uid": _TEXT, "sop_class_uid": _TEXT, "series_uid": _TEXT,
         "study_uid": _TEXT, "patient_key": _TEXT, "modality": _TEXT,
         "referenced_series_uids": _TEXTS, "referenced_sop_instance_uids": _TEXTS,
         "sha256": _TEXT}
    ),
    PROBLEMS: pa.schema(
        {"uri": _TEXT, "stage": _TEXT, "code": _TEXT, "message": _TEXT, "series_uid": _TEXT,
         "frame": _COUNT, "frames": _COUNT}
    ),
}  # fmt: skip


def put_rows(
    target: Objects, table: str, rows: Sequence[Mapping[str, Any]], *, anew: bool = False
) -> str:
    """Write the row of a volume or a patient, or rows that go together, into a file.

    Another spelling of a patient's name is another file; no rows are no file. What is there
    already stays, unless it is to be written `anew`.

    Returns
    -------
    str
        Key of the file, "" if none was written.
    """
    if not rows:
        return ""
    data = columns.table(rows, SCHEMAS[table])
    key = f"{table}/{_name(table, data)}.parquet"
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, data.schema, **columns.encoding(data.num_rows)) as writer:
        writer.write_table(data)
        writer.add_key_value_metadata({_SEAL: _BLANK})
    if anew:
        target.put(key, _sealed(sink.getvalue()))
        return key
    return key if target.create(key, _sealed(sink.getvalue())) else ""


def is_named_after(key: str, rows: pa.Table) -> bool:
    """Tell whether a file's rows are the ones that its name was made from."""
    table, _, name = key.rpartition("/")
    return rows.num_rows > 0 and name == f"{_name(table, rows)}.parquet"


def _name(table: str, rows: pa.Table) -> str:
    if table == VOLUMES:
        return str(rows["volume_id"][0])
    # of what a reader gets: numbers may have been whole that are kept as any number
    digest = hashlib.sha256(json.dumps(rows.to_pylist(), sort_keys=True).encode()).hexdigest()
    return f"{rows['patient_key'][0]}-{digest[:8]}" if table == PATIENTS else digest[:32]


def superseded(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Say of each volume which of the others stands for it; of a newer or fuller one, either says.

    A row was written when its volume was, and cannot know of later ones.
    """
    here = {row["volume_id"] for row in rows}
    later = {volume_id: row["volume_id"] for row in rows for volume_id in row["supersedes"]}
    return [
        row | {"superseded_by": row["superseded_by"] if row["superseded_by"] in here
               else later.get(row["volume_id"])}
        for row in rows
    ]  # fmt: skip


def read_rows(target: Objects, table: str) -> pa.Table:
    """Read all rows of a table, in the order of their file names.

    Raises
    ------
    IntegrityError
        If a file is damaged; the message says which.
    """
    keys = [key for key in target.find(table) if key.endswith(".parquet")]
    tables = each(target, partial(read_file, target), keys)
    return pa.concat_tables([columns.table([], SCHEMAS[table]), *tables])


def read_file(target: Objects, key: str) -> pa.Table:
    """Read one file of a table.

    Raises
    ------
    IntegrityError
        If it is damaged.
    """
    data = target.get(key)
    if _sealed(data) != data:
        raise IntegrityError(key, "is damaged: run `sansfilm index`, or remove it and ingest again")
    # With threads, Arrow aborts one in three processes that end soon after (apache/arrow #33975).
    # A ParquetFile is open in a tenth of the time that read_table takes for its dataset.
    rows = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
    schema = SCHEMAS[key.rpartition("/")[0]]
    return rows if rows.schema.equals(schema) else rows.cast(schema)


def _sealed(data: bytes) -> bytes:
    """Return a file with the seal that it should have; an intact one stays as it is."""
    place = data.rfind(_SEAL) + len(_SEAL) + 2  # 2 bytes say: a string, of 64 bytes
    before, after = data[:place], data[place + len(_BLANK) :]
    return before + hashlib.sha256(before + _BLANK + after).hexdigest().encode() + after
