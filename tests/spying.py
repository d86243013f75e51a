"""What is read of the voxels of local volumes, by whichever way: zarr-python's or our own."""

from pathlib import Path

import zarr.storage._local
from zarr.abc.store import RangeByteRequest, SuffixByteRequest

from sansfilm.store.target import LocalTarget


def spy_on_reads(monkeypatch) -> list[tuple[str, object, int]]:
    """Return a list that fills with (key in the volume, byte range, size) of each read."""
    found = []
    by_zarr, by_us = zarr.storage._local._get, LocalTarget.get

    def add(path: Path, byte_range):
        inside = path.parts[path.parts.index("series") + 3 :]
        found.append(("/".join(inside), byte_range, path.stat().st_size))

    def get(path, prototype, byte_range):
        data = by_zarr(path, prototype, byte_range)
        add(path, byte_range)
        return data

    def get_ours(target, key, offset=0, length=None):
        data = by_us(target, key, offset, length)
        if "/c/" in key:
            part = RangeByteRequest(offset, offset + length) if length else None
            add(Path(target.join(key)), SuffixByteRequest(-offset) if offset < 0 else part)
        return data

    monkeypatch.setattr(zarr.storage._local, "_get", get)
    monkeypatch.setattr(LocalTarget, "get", get_ours)
    return found
