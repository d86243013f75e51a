"""Volumes of an archive by what the catalogue says of them: by name, by date, in SQL."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from sansfilm.errors import MissingPackageError, OptionError
from sansfilm.view.axis_values import shortened

if TYPE_CHECKING:
    import pandas as pd

Names = str | Sequence[str] | None
Day = str | date | None

_TOLD = 12
"""The most choices that a message names."""


def matching(rows: pa.Table, named: Mapping[str, Names], days: tuple[Day, Day] | None) -> pa.Table:
    """Return the rows for which all holds that is asked for; see Archive.select.

    Parameters
    ----------
    named : mapping
        Column: the name, or one of the names, that it has to have; None for any.
    days : (from, to) or None
        First and last study date, both included. What has no date is in no period.

    Raises
    ------
    OptionError
        If no row has a name, or these are no days.
    """
    mask = pa.array([True] * rows.num_rows, pa.bool_())
    for column, names in named.items():
        if names is not None:
            mask = pc.and_(mask, _is_named(rows[column], column, names))
    if days is not None:
        mask = pc.and_(mask, _is_dated(rows["study_date"], days))
    return rows.filter(mask)


def _is_named(values: pa.ChunkedArray, column: str, names: str | Sequence[str]) -> Any:
    wanted = [names] if isinstance(names, str) else list(names)
    there = sorted(name for name in values.unique().to_pylist() if name is not None)
    for name in wanted:
        if name not in there:
            choices = shortened(there, _TOLD) or "none"
            raise OptionError(f"no volume has {column} {name!r}; there are: {choices}")
    return pc.is_in(values, pa.array(wanted, pa.string()))


def _is_dated(values: pa.ChunkedArray, days: Any) -> Any:
    if not isinstance(days, tuple | list) or len(days) != 2:
        raise OptionError(f"date is a pair (from, to), each a day or None, got {days!r}")
    first, last = (_digits(day) for day in days)
    if first and last and last < first:
        raise OptionError(f"date ends before it begins: {first} to {last}")
    inside = pc.not_equal(values, "")
    if first:
        inside = pc.and_(inside, pc.greater_equal(values, first))
    return pc.and_(inside, pc.less_equal(values, last)) if last else inside


def _digits(day: Day) -> str | None:
    """Return a day as DICOM writes it (DA, PS3.5 section 6.2): YYYYMMDD."""
    if day is None:
        return None
    try:
        found = day if isinstance(day, date) else date.fromisoformat(day)
    except (TypeError, ValueError) as exc:
        message = f"a day is a date, '2026-01-31', '20260131' or None, got {day!r}"
        raise OptionError(message) from exc
    return f"{found:%Y%m%d}"


def ask(question: str, tables: Mapping[str, Callable[[], pa.Table]]) -> "pd.DataFrame":
    """Answer a question in SQL; a table is read if its name is in the question.

    Raises
    ------
    MissingPackageError
        Without DuckDB.
    OptionError
        If it is not a question that DuckDB understands; the message has its words.
    """
    try:
        import duckdb
    except ImportError as exc:
        raise MissingPackageError("DuckDB is needed: pip install 'sansfilm[sql]'") from exc
    # Nothing but these tables can be read, written or loaded: a question may be of others.
    settings: dict[str, Any] = {
        "enable_external_access": False,
        "python_enable_replacements": False,
    }
    with duckdb.connect(config=settings) as session:
        for name, read in tables.items():
            if name in question.lower():
                session.register(name, read())
        try:
            answer = session.sql(question)
            if answer is None:
                raise OptionError("that is no question: begin with select")
            found: pd.DataFrame = answer.df()
        except duckdb.Error as exc:
            there = ", ".join(tables)
            raise OptionError(f"{exc}".strip(), f"the tables are {there}") from exc
    return found
