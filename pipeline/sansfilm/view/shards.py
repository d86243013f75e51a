"""Selections of a stored array -> NumPy, from the shards that `store.shard` writes.

What is at hand, on a disk or in memory, is read here: in half the time of zarr-python, and without
its 0.2 s of imports. Of each shard its index is read, then the chunks that are touched; both have
a CRC32C. Of a chunk only those blocks of Blosc are decoded that hold asked-for cells: a slice of a
chunk of 64 needs one of four.
"""

import functools
import json
import os
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, Self

import google_crc32c
import numpy as np

from sansfilm.errors import IntegrityError
from sansfilm.machine import cores
from sansfilm.objects import Readable

_TASKS = 2
"""For each thread; fewer would make the last one wait longer, more read an index more often."""
_ENTRY, _CRC = 16, 4
"""Bytes of a chunk's offset and length in an index, and of a checksum."""
_INTACT = 0x48674BC7
"""CRC32C of any bytes that end with their own CRC32C."""
_HEAD = struct.Struct("<4B3I")
"""Blosc 1: versions of format and codec, flags, type size; sizes of all, a block, compressed."""
_STORED = 2
"""Flag of Blosc: the bytes as they are, without blocks."""
_NONE = 2**64 - 1
"""Offset in an index of a chunk that was never written."""

Spans = tuple[tuple[int, int], ...]
"""First and last + 1 along each axis."""


@dataclass(frozen=True)
class Shards:
    """An array as its metadata says, and its values.

    Attributes
    ----------
    target
        Where it is.
    key : str
        Of the array, in the target.
    shape, shards, chunks : tuple of int
        As of a `zarr.Array`.
    """

    target: Readable
    key: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    shards: tuple[int, ...]
    chunks: tuple[int, ...]

    @classmethod
    def of(cls, target: Readable, key: str, document: bytes) -> Self | None:
        """Return the array of a ``zarr.json``; None if it is of a kind that is not read here."""
        about = json.loads(document)
        (outer, *more), grid = about["codecs"], about["chunk_grid"]["configuration"]
        if more or outer["name"] != "sharding_indexed" or "://" in target.url:
            return None
        inner = outer["configuration"]
        chains = (inner["codecs"], inner["index_codecs"])
        if [[codec["name"] for codec in chain] for chain in chains] != [
            ["bytes", "blosc", "crc32c"], ["bytes", "crc32c"]
        ] or inner["index_location"] != "end":  # fmt: skip
            return None
        shape, shards, chunks = (
            tuple(sizes) for sizes in (about["shape"], grid["chunk_shape"], inner["chunk_shape"])
        )
        return cls(
            target, key, np.dtype(about["data_type"]).newbyteorder("<"), shape, shards, chunks
        )

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all values in memory."""
        return prod(self.shape) * self.dtype.itemsize

    def __getitem__(self, selection: Any) -> np.ndarray:
        """Return values as NumPy would, of whole numbers, slices without steps and an Ellipsis.

        Raises
        ------
        IndexError
            For any other selection.
        IntegrityError
            If a shard is lost or damaged.
        """
        found = self.spans(selection)
        if found is None:
            raise IndexError(selection)
        return self.read(*found)

    def spans(self, selection: Any) -> tuple[Spans, tuple[int, ...]] | None:
        """Return what a selection spans, and the shape of its values; None if it is another one."""
        items = list(selection) if isinstance(selection, tuple) else [selection]
        dots = [n for n, item in enumerate(items) if item is Ellipsis]
        free = [slice(None)] * (self.ndim - len(items) + len(dots))
        if len(dots) == 1:
            items[dots[0] : dots[0] + 1] = free
        elif not dots:
            items += free
        if len(items) != self.ndim:
            return None
        spans, shape = [], []
        for item, size in zip(items, self.shape, strict=True):
            if isinstance(item, slice):
                start, stop, step = item.indices(size)
                if step != 1:
                    return None
                spans.append((start, max(start, stop)))
                shape.append(max(start, stop) - start)
            elif isinstance(item, int | np.integer) and not isinstance(item, bool):
                if not -size <= item < size:
                    return None
                spans.append((int(item) % size, int(item) % size + 1))
            else:
                return None
        return tuple(spans), tuple(shape)

    def read(self, spans: Spans, shape: tuple[int, ...]) -> np.ndarray:
        """Return the values of what `spans` has found, in a new array.

        Raises
        ------
        IntegrityError
            If a shard is lost or damaged.
        """
        out = np.empty([stop - start for start, stop in spans], self.dtype)
        parts = self._parts(spans, cores() * _TASKS) if out.size else ()
        _shared(functools.partial(self._fill, out, spans), list(parts))
        return out.reshape(shape)

    def _parts(self, spans: Spans, many: int) -> Iterator["_Part"]:
        """Divide what is touched: never across shards, and in about so many parts."""
        touched = [
            range(start // edge, -(-stop // edge))
            for (start, stop), edge in zip(spans, self.chunks, strict=True)
        ]
        size = max(1, prod(map(len, touched)) // many)
        per_shard = self._per_shard
        shards = (
            range(cells[0] // n, cells[-1] // n + 1)
            for cells, n in zip(touched, per_shard, strict=True)
        )
        for shard in product(*shards):
            inside = (
                range(max(cells.start, at * n), min(cells.stop, (at + 1) * n))
                for cells, at, n in zip(touched, shard, per_shard, strict=True)
            )
            places = list(product(*inside))
            for first in range(0, len(places), size):
                yield shard, places[first : first + size]

    @property
    def _per_shard(self) -> tuple[int, ...]:
        return tuple(extent // edge for extent, edge in zip(self.shards, self.chunks, strict=True))

    def _fill(self, out: np.ndarray, spans: Spans, part: "_Part") -> None:
        """Read some chunks of one shard into the result."""
        shard, places = part
        key = "/".join((self.key, "c", *map(str, shard)))
        per_shard = self._per_shard
        try:
            index = self._index(key, prod(per_shard))
            for place in places:
                number = np.ravel_multi_index(np.remainder(place, per_shard).tolist(), per_shard)
                self._place(self._chunk(key, *index[number].tolist()), place, out, spans)
        except (FileNotFoundError, _DamagedError) as exc:
            where = self.target.join(key)
            raise IntegrityError(where, "is damaged: see `sansfilm verify`") from exc

    def _index(self, key: str, many: int) -> np.ndarray:
        """Return offset and length of each chunk, uint64, shape (chunks, 2)."""
        size = many * _ENTRY + _CRC
        data = _intact(self.target.get(key, -size))
        if len(data) != size:
            raise _DamagedError
        return np.frombuffer(data, "<u8", 2 * many).reshape(many, 2)

    def _chunk(self, key: str, offset: int, length: int) -> bytes:
        if offset == _NONE:
            raise _DamagedError
        return _intact(self.target.get(key, offset, length))

    def _place(self, data: bytes, place: Sequence[int], out: np.ndarray, spans: Spans) -> None:
        """Decode what is asked for of a chunk, and put it where it belongs."""
        inside, outside = [], []
        for at, edge, (start, stop) in zip(place, self.chunks, spans, strict=True):
            low, high = max(start, at * edge), min(stop, (at + 1) * edge)
            inside.append(slice(low - at * edge, high - at * edge))
            outside.append(slice(low - start, high - start))
        first = np.ravel_multi_index([part.start for part in inside], self.chunks)
        last = np.ravel_multi_index([part.stop - 1 for part in inside], self.chunks)
        cell = self.dtype.itemsize
        cells = _decode(data, int(first) * cell, int(last + 1) * cell, prod(self.chunks) * cell)
        out[tuple(outside)] = cells.view(self.dtype).reshape(self.chunks)[tuple(inside)]


_Part = tuple[tuple[int, ...], list[tuple[int, ...]]]
"""Place of a shard in the array, and of some of its chunks."""


class _DamagedError(Exception):
    """Bytes are not what was written."""


def _intact(data: bytes) -> bytes:
    if google_crc32c.value(data) != _INTACT:
        raise _DamagedError
    return data


def _decode(data: bytes, first: int, last: int, size: int) -> np.ndarray:
    """Decode a chunk into this thread's buffer, at least its bytes from `first` to `last`.

    Parameters
    ----------
    data : bytes
        Blosc, with a checksum at its end.
    size : int
        Bytes of the whole chunk.

    Returns
    -------
    cells : ndarray of uint8, shape (size,)
        To be used before the next call. What was not asked for is undefined.
    """
    import imagecodecs

    cells: np.ndarray | None = getattr(_buffer, "cells", None)
    if cells is None or len(cells) < size:
        cells = _buffer.cells = np.empty(size, np.uint8)
    if _HEAD.unpack_from(data)[4] != size:  # as in the shard of another level
        raise _DamagedError
    packed, begin, end = _blocks(data, first, last)
    try:
        imagecodecs.blosc_decode(packed, out=cells[begin:end].data, numthreads=1)
    except imagecodecs.BloscError as exc:
        raise _DamagedError from exc
    return cells[:size]


def _blocks(data: bytes, first: int, last: int) -> tuple[bytes | memoryview, int, int]:
    """Return Blosc of the blocks alone that hold the bytes from `first` to `last`.

    A block is compressed without the others; after the header is where each begins.

    Returns
    -------
    packed : bytes-like
    begin, end : int
        Which bytes of the chunk it holds.
    """
    *kind, size, block, packed_size = _HEAD.unpack_from(data)
    whole = memoryview(data)[:-_CRC], 0, size
    if kind[2] & _STORED or not block:
        return whole
    ends = (*struct.unpack_from(f"<{-(-size // block)}I", data, _HEAD.size), packed_size)
    low, high = first // block, -(-last // block)
    begin, end = low * block, min(high * block, size)
    if end - begin in (0, size) or end - begin < block or list(ends) != sorted(ends):
        return whole
    length = _HEAD.size + 4 * (high - low)
    starts = (start - ends[low] + length for start in ends[low:high])
    head = _HEAD.pack(*kind, end - begin, block, length + ends[high] - ends[low])
    head += struct.pack(f"<{high - low}I", *starts)
    return head + data[ends[low] : ends[high]], begin, end


_buffer = threading.local()


def _shared(work: Callable[[Any], None], parts: Sequence[Any]) -> None:
    """Do all parts in this thread, and in others as soon as they are awake."""
    left = iter(parts)

    def take() -> None:
        for part in left:
            work(part)

    others = [_pool().submit(take) for _ in range(min(cores(), len(parts)) - 1)]
    try:
        take()
    finally:
        list(left)  # after an error nobody goes on
        for other in others:
            if not other.cancel():
                other.result()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    """Return the threads of this process; none are waited for by another one after a fork."""
    return ThreadPoolExecutor(max(1, cores() - 1), "sansfilm-read")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
