"""OME-Zarr metadata and levels, as the scripts that write through zarr-python share them."""

import sys
from collections.abc import Callable
from pathlib import Path

SMALLEST = 64
SLAB = 64


def factors(spacing: tuple[float, ...], shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return what each level halves of the one before: the finest axes first."""
    steps: list[tuple[int, ...]] = []
    now, rows = list(spacing), max(shape[1:])
    while rows > SMALLEST:
        step = tuple(2 if size <= 2**0.5 * min(now) else 1 for size in now)
        now = [size * by for size, by in zip(now, step, strict=True)]
        rows = -(-rows // 2)
        steps.append(step)
    return steps


def attributes(
    spacing: tuple[float, ...], origin: tuple[float, ...], steps: list[tuple[int, ...]]
) -> dict[str, object]:
    """Return the group attributes of OME-Zarr 0.5."""
    total, datasets = (1, 1, 1), []
    for level, step in enumerate([(1, 1, 1), *steps]):
        total = tuple(a * b for a, b in zip(total, step, strict=True))
        scale = [size * by for size, by in zip(spacing, total, strict=True)]
        start = [
            first + size * (by - 1) / 2
            for first, size, by in zip(origin, spacing, total, strict=True)
        ]
        transformations = [
            {"type": "scale", "scale": scale},
            {"type": "translation", "translation": start},
        ]
        datasets.append({"path": str(level), "coordinateTransformations": transformations})
    axes = [{"name": name, "type": "space", "unit": "millimeter"} for name in "zyx"]
    return {"ome": {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}}


def main(convert: Callable[[Path, Path], None]) -> None:
    """Convert every series below the first argument into a volume below the second."""
    folder, out = map(Path, sys.argv[1:])
    for series in sorted(folder.iterdir()):
        convert(series, out / f"{series.name}.ome.zarr")
