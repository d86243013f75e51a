"""Check that the catalogue says what the volumes are."""

import json
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

from sansfilm.catalogue import table
from sansfilm.catalogue.records import volume_row
from sansfilm.errors import IntegrityError, TargetError
from sansfilm.objects import Objects

_DERIVED_ELSEWHERE = ("supersedes", "superseded_by")  # from the other volumes of the series


def check(
    target: Objects, volumes: Sequence[str], damaged: Container[str] = (), *, quick: bool = False
) -> Iterator[tuple[str, str]]:
    """Yield (key, what is wrong) for each file of the catalogue that is damaged or missing.

    Parameters
    ----------
    volumes : sequence of str
        Keys of all published volumes.
    damaged : container of str, optional
        Keys of those that are not what was committed: they accuse no row.
    quick : bool, optional
        Look only whether each volume has its row.
    """
    sound = {volume: volume not in damaged for volume in volumes}
    for name in table.SCHEMAS:
        try:
            keys = target.find(name)
        except TargetError as exc:  # patients may be closed to who verifies
            yield name, f"cannot be read: {exc.args[-1]}"
            continue
        for key in keys if not quick else ():
            yield from _file(target, name, key, sound)
        if name == table.VOLUMES:
            rows = {f"{name}/{volume.rpartition('/')[2]}.parquet" for volume in volumes}
            for key in sorted(rows.difference(keys)):
                yield key, "missing: see `sansfilm index`"


def _file(
    target: Objects, name: str, key: str, sound: Mapping[str, bool]
) -> Iterator[tuple[str, str]]:
    try:
        found = table.read_file(target, key)
        rows = found.to_pylist()
    except IntegrityError:
        yield key, "damaged"
    except TargetError as exc:
        yield key, f"cannot be read: {exc.args[-1]}"
    else:
        if not table.is_named_after(key, found):
            yield key, "other content than its name says"
        elif name == table.VOLUMES:
            yield from _compare(target, key, rows[0], sound)
        elif name == table.SEGMENTS:  # of volumes that are gone it may still know
            for row in rows:
                if row["key"] in sound:
                    yield from _compare(target, key, row, sound)


def _compare(
    target: Objects, key: str, row: dict[str, Any], sound: Mapping[str, bool]
) -> Iterator[tuple[str, str]]:
    volume = row["key"]
    if volume not in sound:
        yield f"{volume}/_commit.json", "missing"
        return
    if not sound[volume]:
        return
    group, array = (
        json.loads(target.get(f"{volume}/{path}")) for path in ("zarr.json", "0/zarr.json")
    )
    expected = volume_row(volume, group, array)
    if any(
        row[name] != value for name, value in expected.items() if name not in _DERIVED_ELSEWHERE
    ):
        yield key, "does not say what the volume is"
