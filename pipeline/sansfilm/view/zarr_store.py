"""Zarr arrays of a volume, on the well-kept stores of zarr-python."""

from collections.abc import Sequence
from typing import Any

import zarr
from zarr.core.buffer import Buffer, cpu
from zarr.storage import FsspecStore, LocalStore, MemoryStore

from sansfilm.objects import Objects


def open_levels(target: Objects, volume: str, paths: Sequence[str]) -> "list[zarr.Array[Any]]":
    """Open the levels of a volume read-only.

    A chunk that is not there raises ChunkNotFoundError: it is damage, never air.
    """
    store = _store(target, volume)
    return [
        zarr.open_array(
            store, path=path, mode="r", zarr_format=3, config={"read_missing_chunks": False}
        )
        for path in paths
    ]


def _store(target: Objects, volume: str) -> Any:
    where = target.join(volume)
    if where.startswith("memory:") and "://" not in where:
        objects: dict[str, Buffer] = {
            key[len(volume) + 1 :]: cpu.Buffer.from_bytes(target.get(key))
            for key in target.find(volume)
        }
        return MemoryStore(objects, read_only=True)
    if "://" not in where:
        return LocalStore(where, read_only=True)
    return FsspecStore.from_url(where, read_only=True)
