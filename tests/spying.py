"""What zarr-python reads of local files, by whichever of its ways."""

from pathlib import Path

import zarr.storage._local


def spy_on_reads(monkeypatch) -> list[tuple[str, object, int]]:
    """Return a list that fills with (key in the volume, byte range, size) of each read."""
    found = []
    real = zarr.storage._local._get

    def get(path: Path, prototype, byte_range):
        data = real(path, prototype, byte_range)
        inside = path.parts[path.parts.index("series") + 3 :]
        found.append(("/".join(inside), byte_range, path.stat().st_size))
        return data

    monkeypatch.setattr(zarr.storage._local, "_get", get)
    return found
