"""The rows of many volumes in one file: a large archive opens in a moment.

A volume's own file is what counts; segments repeat what these say, so that a reader opens a few
files in place of thousands. Each holds the rows that no segment had when it was written, so none
is ever rewritten or in the way of another.
"""

from itertools import batched

import pyarrow as pa

from sansfilm.catalogue import table
from sansfilm.columns import column
from sansfilm.objects import Objects

ENOUGH = 64
"""Rows that make a segment; up to one fewer are read from their own files."""
MOST = 1024
"""Rows of a segment: what is in memory while it is made."""


def read_volumes(target: Objects) -> pa.Table:
    """Read the rows of all volumes, sorted by volume_id.

    Raises
    ------
    IntegrityError
        If a file is damaged; the message says which.
    """
    gathered, alone = _parts(target)
    rows = [gathered, *(table.read_file(target, key) for key in alone)]
    found = pa.concat_tables(rows).combine_chunks()
    ids = found["volume_id"].to_pylist()
    return found if ids == sorted(ids) else found.sort_by("volume_id")  # loads pyarrow.compute


def gather(target: Objects) -> None:
    """Write the rows that are in no segment yet into a new one, if they are many."""
    if len(_files(target)) < ENOUGH:  # one request where nothing can be to gather
        return
    _, alone = _parts(target)
    if len(alone) >= ENOUGH:
        for some in batched(alone, MOST):
            rows = [row for key in some for row in table.read_file(target, key).to_pylist()]
            table.put_rows(target, table.SEGMENTS, rows)


def gather_anew(target: Objects) -> None:
    """Remove all segments and make them again: volumes' own files count, and have changed."""
    for key in target.find(table.SEGMENTS):
        target.delete(key)
    gather(target)


def _parts(target: Objects) -> tuple[pa.Table, list[str]]:
    """Return the rows that segments hold, each once, and the files of the other volumes.

    What has no file of its own any more is left out.
    """
    alone = _files(target)
    rows = table.read_rows(target, table.SEGMENTS)
    left, mask = set(alone), []
    for volume_id in rows["volume_id"].to_pylist():
        key = f"{table.VOLUMES}/{volume_id}.parquet"
        mask.append(key in left)
        left.discard(key)
    if not all(mask):  # which loads pyarrow.compute
        rows = rows.filter(column(mask, pa.bool_()))
    return rows, [key for key in alone if key in left]


def _files(target: Objects) -> list[str]:
    return [key for key in target.find(table.VOLUMES) if key.endswith(".parquet")]
