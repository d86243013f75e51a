"""Stored objects against their commit record: what is damaged, and which frames it hits."""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sansfilm.errors import IntegrityError, TargetError
from sansfilm.model import HEADER_CHUNK
from sansfilm.objects import Objects, each
from sansfilm.store.commit import RECORD, read_commit
from sansfilm.store.writer import HEADERS


@dataclass(frozen=True, slots=True)
class Damage:
    """One object that is not what was committed.

    `key` is below the archive. `level` and `shard` (the place along each axis) say which voxels
    are hit, `frames` whose they are, or whose headers, as (SOP Instance UID, number). `repaired`
    says that the object is whole again.
    """

    key: str
    what: str
    level: str | None = None
    shard: tuple[int, ...] | None = None
    frames: tuple[tuple[str, int], ...] = ()
    repaired: bool = False


def verify_volume(target: Objects, volume: str, *, quick: bool = False) -> Iterator[Damage]:
    """Read back every object of a volume and compare it with the record.

    Parameters
    ----------
    quick : bool, optional
        Compare the sizes of a listing only, and read nothing but the record.

    Raises
    ------
    TargetError
        If the archive cannot be read at all.
    """
    try:
        record = read_commit(target, volume)
    except FileNotFoundError:
        yield Damage(f"{volume}/{RECORD}", "missing")
        return
    except IntegrityError as exc:
        yield Damage(f"{volume}/{RECORD}", str(exc.args[-1]))
        return
    sizes = target.find(volume) if quick else {}

    def compare(stored: Mapping[str, Any]) -> str | None:
        key = f"{volume}/{stored['key']}"
        return _compare_size(sizes.get(key), stored) if quick else _compare(target, key, stored)

    wrong = each(target, compare, record["objects"])
    if any(wrong):
        locate = _Locator(target, volume, record)
        for stored, what in zip(record["objects"], wrong, strict=True):
            if what:
                yield replace(locate(stored["key"]), what=what)


def _compare(target: Objects, key: str, stored: Mapping[str, Any]) -> str | None:
    try:
        data = target.get(key)
    except FileNotFoundError:
        return "missing"
    except TargetError as exc:
        return f"cannot be read: {exc.args[-1]}"
    wrong = _compare_size(len(data), stored)
    if wrong is None and hashlib.sha256(data).hexdigest() != stored["sha256"]:
        return "other bytes than were committed"
    return wrong


def _compare_size(size: int | None, stored: Mapping[str, Any]) -> str | None:
    if size is None:
        return "missing"
    if size != stored["size"]:
        return f"{size} bytes, {stored['size']} were committed"
    return None


class _Locator:
    """Tells which frames are in an object, as far as the volume's metadata is sound."""

    def __init__(self, target: Objects, volume: str, record: Mapping[str, Any]) -> None:
        self._target, self._volume = target, volume
        self._digests = {stored["key"]: stored["sha256"] for stored in record["objects"]}
        table = self._read("frames.parquet")
        # With threads, Arrow aborts one in three processes that end soon (apache/arrow #33975).
        self._frames = pq.read_table(io.BytesIO(table), use_threads=False) if table else None

    def __call__(self, key: str) -> Damage:
        path, _, place = key.partition("/c/")
        if not place:
            return Damage(f"{self._volume}/{key}", "")
        shard = tuple(int(part) for part in place.split("/"))
        if path == HEADERS:
            rows = self._with_headers_in(shard[0])
            return Damage(f"{self._volume}/{key}", "", frames=rows)
        rows = self._with_voxels_in(path, shard)
        return Damage(f"{self._volume}/{key}", "", path, shard, rows)

    def _read(self, key: str) -> bytes | None:
        try:
            data = self._target.get(f"{self._volume}/{key}")
        except (FileNotFoundError, TargetError):
            return None
        return data if hashlib.sha256(data).hexdigest() == self._digests.get(key) else None

    def _with_headers_in(self, chunk: int) -> tuple[tuple[str, int], ...]:
        if self._frames is None:
            return ()
        starts = self._frames["header_offset"].to_pylist()
        lengths = self._frames["header_length"].to_pylist()
        low, high = chunk * HEADER_CHUNK, (chunk + 1) * HEADER_CHUNK
        hit = [at < high and at + size > low for at, size in zip(starts, lengths, strict=True)]
        return _names(self._frames, hit)

    def _with_voxels_in(self, level: str, shard: tuple[int, ...]) -> tuple[tuple[str, int], ...]:
        """One task writes its frames at the same place of all its levels, so level 0 tells.

        Tiles have levels of their own; the last of them tells for those that are derived from it.
        A tile counts where its first pixel is.
        """
        if self._frames is None:
            return ()
        levels = self._frames["level"].to_pylist() if "level" in self._frames.column_names else None
        own = min(int(level), max(levels)) if levels else 0
        data = self._read(f"{own}/zarr.json")
        if data is None:
            return ()
        array = json.loads(data)
        axes = array["dimension_names"]
        counted = [n for n, axis in enumerate(axes) if axis not in ("c" if levels else "cyx")]
        shape = array["chunk_grid"]["configuration"]["chunk_shape"]
        place = [shard[n] for n in counted]
        hit = [
            [at // shape[n] for at, n in zip(index, counted, strict=True)] == place
            for index in self._frames["index"].to_pylist()
        ]
        if levels:
            hit = [here and each == own for here, each in zip(hit, levels, strict=True)]
        return _names(self._frames, hit)


def _names(frames: pa.Table, hit: list[bool]) -> tuple[tuple[str, int], ...]:
    uids, numbers = frames["sop_instance_uid"].to_pylist(), frames["frame_number"].to_pylist()
    return tuple(name for name, here in zip(zip(uids, numbers, strict=True), hit, strict=True)
                 if here)  # fmt: skip
