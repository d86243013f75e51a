"""Python values -> Arrow arrays and small Parquet files, without what takes longest in that.

``pyarrow.array`` imports pandas, where it is installed, to find out whether it was given a Series:
that takes longer than a small ingest does. Here the buffers of an array are filled directly.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

_KINDS: Mapping[frozenset[type], pa.DataType] = {
    frozenset({bool}): pa.bool_(),
    frozenset({int}): pa.int64(),
    frozenset({float}): pa.float64(),
    frozenset({int, float}): pa.float64(),
    frozenset({str}): pa.string(),
}
FEW = 1000
"""Rows up to which a file is better off without dictionaries and zstd: see `encoding`."""
_NUMBERS = {pa.int64(): "<i8", pa.float64(): "<f8"}


def column(values: Sequence[Any], kind: pa.DataType | None = None) -> pa.Array:
    """Return values as an array, as ``pyarrow.array(values, kind)`` does.

    Parameters
    ----------
    values : sequence
        Truth values, whole numbers, numbers, texts, or lists of such, and None where there is
        nothing. Other values go by way of pandas.
    kind : pyarrow.DataType, optional
        Told from the values if it is not given.
    """
    found = kind or _kind_of(values)
    return pa.array(values, kind) if found is None else _filled(list(values), found)


def table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Return rows as a table; what a row does not have is nothing."""
    columns = [column([row.get(field.name) for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def encoding(rows: int) -> dict[str, Any]:
    """Return how ``pyarrow.parquet`` is to write so many rows of some thirty columns.

    For a few rows, a dictionary and a zstd context of each column cost 1.5 ms and save nothing.
    """
    few = rows <= FEW
    return {"compression": "snappy" if few else "zstd", "use_dictionary": not few}


def _kind_of(values: Iterable[Any]) -> pa.DataType | None:
    """Return what the values are; None if they are something else."""
    there = [value for value in values if value is not None]
    kinds = {type(value) for value in there}
    if kinds and kinds <= {list, tuple}:
        inside = _kind_of(chain.from_iterable(there))
        return None if inside is None else pa.list_(inside)
    return _KINDS.get(frozenset(kinds))


def _filled(values: list[Any], kind: pa.DataType) -> pa.Array:
    there = np.array([value is not None for value in values], bool)
    holes = None if there.all() else _bits(there)
    if pa.types.is_list(kind):
        lists = [value or () for value in values]
        inside = _filled(list(chain.from_iterable(lists)), kind.value_type)
        ends = _ends(lists)
        return pa.Array.from_buffers(kind, len(values), [holes, ends], children=[inside])
    if pa.types.is_string(kind):
        texts = [(value or "").encode() for value in values]
        buffers = [holes, _ends(texts), pa.py_buffer(b"".join(texts))]
    elif pa.types.is_boolean(kind):
        buffers = [holes, _bits(np.array([value or False for value in values], bool))]
    else:
        numbers = np.array([0 if value is None else value for value in values], _NUMBERS[kind])
        buffers = [holes, pa.py_buffer(numbers)]
    return pa.Array.from_buffers(kind, len(values), buffers)


def _ends(parts: Sequence[Sequence[Any]]) -> pa.Buffer:
    """Return where each part begins when all lie one after the other, and where the last ends."""
    return pa.py_buffer(np.cumsum([0, *map(len, parts)], dtype="<i4"))


def _bits(flags: np.ndarray) -> pa.Buffer:
    return pa.py_buffer(np.packbits(flags, bitorder="little"))
