"""Zarr arrays of a volume, on the well-kept stores of zarr-python."""

from collections.abc import Mapping, Sequence
from typing import Any

import zarr
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype, cpu
from zarr.registry import register_pipeline
from zarr.storage import FsspecStore, LocalStore, MemoryStore, WrapperStore

from sansfilm.objects import Readable
from sansfilm.remote import harden, options_for
from sansfilm.view.pipeline import ShardPipeline

register_pipeline(ShardPipeline)
_PIPELINE = f"{ShardPipeline.__module__}.{ShardPipeline.__qualname__}"


def open_levels(
    target: Readable, volume: str, paths: Sequence[str], documents: Mapping[str, bytes]
) -> "list[zarr.Array[Any]]":
    """Open the levels of a volume read-only.

    A chunk that is not there raises ChunkNotFoundError: it is damage, never air.

    Parameters
    ----------
    documents : mapping
        The ``zarr.json`` of each path, which need not be fetched again.
    """
    store = _Known(_store(target, volume), documents)
    with zarr.config.set({"codec_pipeline.path": _PIPELINE}):  # arrays keep what they open with
        return [
            zarr.open_array(
                store, path=path, mode="r", zarr_format=3, config={"read_missing_chunks": False}
            )
            for path in paths
        ]


class _Known(WrapperStore[Store]):
    """A store of which some objects are at hand."""

    def __init__(self, store: Store, documents: Mapping[str, bytes] | None = None) -> None:
        super().__init__(store)
        self._documents = documents or {}

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return an object, or a part of it."""
        if key in self._documents and byte_range is None:
            return prototype.buffer.from_bytes(self._documents[key])
        return await super().get(key, prototype, byte_range)


def _store(target: Readable, volume: str) -> Store:
    where = target.join(volume)
    if where.startswith("memory:") and "://" not in where:
        objects: dict[str, Buffer] = {
            key[len(volume) + 1 :]: cpu.Buffer.from_bytes(target.get(key))
            for key in target.find(volume)
        }
        return MemoryStore(objects, read_only=True)
    if "://" not in where:
        return LocalStore(where, read_only=True)
    options = options_for(where, getattr(target, "storage_options", None))
    store = FsspecStore.from_url(where, storage_options=options, read_only=True)
    harden(store.fs)
    return store
