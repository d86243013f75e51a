"""The rows of many volumes in one file: a large archive opens in a moment.

A volume's own file is what counts; segments repeat what these say, so that a reader opens a few
files in place of thousands. Each holds the rows that no segment had when it was written, so none
is ever rewritten or in the way of another.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import batched
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from sansfilm.catalogue import table
from sansfilm.columns import column
from sansfilm.objects import Objects, each

ENOUGH = 64
"""Rows that make a segment; up to one fewer are read from their own files."""
MOST = 256
"""Rows of a segment: what is in memory while it is made, some 8 kB each."""


def read_volumes(target: Objects) -> pa.Table:
    """Read the rows of all volumes, sorted by volume_id.

    Raises
    ------
    IntegrityError
        If a file is damaged; the message says which.
    """
    gathered, alone = _parts(target)
    rows = [gathered, *each(target, partial(table.read_file, target), alone)]
    found = pa.concat_tables(rows).combine_chunks()
    ids = found["volume_id"].to_pylist()
    return found if ids == sorted(ids) else found.sort_by("volume_id")  # loads pyarrow.compute


def gather(
    target: Objects,
    rows: Sequence[Mapping[str, Any]] = (),
    fresh: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Write the rows that are in no segment yet into new ones, if they are many.

    Parameters
    ----------
    rows : sequence, optional
        Rows that were written a moment ago. They may say more than the catalogue keeps.
    fresh : mapping, optional
        Which of them is the row of a file, by its key: that file is not read again.
    """

    def row(key: str) -> Mapping[str, Any]:
        if key in fresh:
            return rows[fresh[key]]
        (own,) = table.read_file(target, key).to_pylist()
        return dict(own)

    if len(_files(target)) < ENOUGH:  # one request where nothing can be to gather
        return
    _, alone = _parts(target)
    if len(alone) >= ENOUGH:
        for some in batched(alone, MOST):
            table.put_rows(target, table.SEGMENTS, [row(key) for key in some])


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
