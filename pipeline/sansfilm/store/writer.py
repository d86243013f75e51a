"""Blocks -> objects of one volume, and the metadata that makes them an OME-Zarr image.

One task writes whole objects only: one shard of every level, and its chunks of
``dicom/headers``. Misaligned or partial shard writes corrupt silently, so there are none.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sansfilm.model import (
    HEADER_CHUNK,
    Map,
    Padding,
    SlabPlan,
    SlabResult,
    StoredObject,
    VolumePlan,
    padding_range,
)
from sansfilm.objects import Objects, each
from sansfilm.store.frames import frames_table
from sansfilm.store.ome import array_attributes, group_attributes
from sansfilm.store.shard import array_metadata, encode_chunk, encode_shard

HEADERS = "dicom/headers"


def put_slab(
    target: Objects,
    plan: SlabPlan,
    blocks: Sequence[np.ndarray],
    headers: Sequence[bytes],
    run: Map = map,
) -> tuple[StoredObject, ...]:
    """Write one slab at every level and the headers of its instances.

    Parameters
    ----------
    blocks : sequence of ndarray
        The slab at each level of the plan, with all axes of the volume.
    headers : sequence of bytes
        Of the instances that this slab keeps, in the order of the plan's frames.

    Raises
    ------
    TargetError
    ValueError
        If a block is not the whole part of its level that the slab covers.
    """
    fill, _ = padding_range(plan.padding) or (0, 0)
    effort = plan.compression_level
    objects, place = dict[str, bytes](), "/".join(map(str, plan.place))
    for level, block in zip(plan.levels, blocks, strict=True):
        extents = zip(level.shards, level.shape, plan.place, strict=True)
        whole = tuple(min(shard, size - at * shard) for shard, size, at in extents)
        if block.shape != whole:
            raise ValueError(
                f"slab {plan.index} of level {level.path} is {whole}, not {block.shape}"
            )
        objects[f"{level.path}/c/{place}"] = encode_shard(
            block, level.shards, level.chunks, fill, effort, run
        )
    joined = np.frombuffer(b"".join(headers), np.uint8)
    for number, start in enumerate(range(0, joined.size, HEADER_CHUNK), plan.header_chunk):
        chunk = np.zeros(HEADER_CHUNK, np.uint8)
        part = joined[start : start + HEADER_CHUNK]
        chunk[: part.size] = part
        objects[f"{HEADERS}/c/{number}"] = encode_chunk(chunk, effort)
    return _put(target, plan.volume, objects)


def put_metadata(
    target: Objects,
    plan: VolumePlan,
    slabs: Sequence[SlabPlan],
    results: Sequence[SlabResult],
    fresh: dict[str, bytes],
) -> tuple[StoredObject, ...]:
    """Write every zarr.json of a volume and its frame table, once all slabs are stored.

    Into `fresh` go those that the catalogue wants to know, by key: nobody has to read them back.

    Raises
    ------
    TargetError
    """
    table = frames_table(plan, slabs, results)
    documents = dict(_documents(plan, slabs, results))
    fresh.update((f"{plan.key}/{name}", documents[name]) for name in ("zarr.json", "0/zarr.json"))
    return _put(target, plan.key, {**documents, "frames.parquet": table})


def fill_value(padding: Padding | None) -> float | str:
    """Return the value of cells beyond the image: padding where the image knows one."""
    return padding[0] if padding else 0


def _documents(
    plan: VolumePlan, slabs: Sequence[SlabPlan], results: Sequence[SlabResult]
) -> Iterator[tuple[str, bytes]]:
    levels = list({level.path: level for slab in slabs for level in slab.levels}.values())
    effort = slabs[0].compression_level
    yield "zarr.json", _group(group_attributes(plan, levels, results))
    for level in levels:
        metadata = array_metadata(
            level.shape, plan.dtype, level.chunks, level.shards, effort,
            fill=fill_value(plan.padding), dimension_names=plan.axes,
            attributes=array_attributes(plan),
        )  # fmt: skip
        yield f"{level.path}/zarr.json", _json(metadata)
    yield "dicom/zarr.json", _group({})
    length = max(end for slab in slabs for end in slab.header_ends)
    metadata = array_metadata((length,), "uint8", (HEADER_CHUNK,), None, effort,
                              dimension_names=("byte",))  # fmt: skip
    yield f"{HEADERS}/zarr.json", _json(metadata)


def _group(attributes: Mapping[str, Any]) -> bytes:
    return _json({"zarr_format": 3, "node_type": "group", "attributes": attributes})


def _json(document: object) -> bytes:
    return json.dumps(document, indent=1, allow_nan=False).encode()


def _put(target: Objects, volume: str, objects: Mapping[str, bytes]) -> tuple[StoredObject, ...]:
    def put(item: tuple[str, bytes]) -> StoredObject:
        key, data = item
        target.put(f"{volume}/{key}", data)
        return StoredObject(key, len(data), hashlib.sha256(data).hexdigest())

    return tuple(each(target, put, objects.items()))
