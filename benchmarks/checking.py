"""Whether an output is what it should be: before that, its time does not count.

Checked with tensorstore, which none of the contenders writes with, against the truth that is known
from the sample: voxels of level 0 in Hounsfield units, scale and translation of every level, and
that every voxel of a level is the mean of the voxels of level 0 that it covers.
"""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts

from benchmarks.inputs import Truth

NEAR_MM = 1e-4


@dataclass
class Finding:
    """What is wrong with an output, and what is worth a remark; levels, objects and bytes of it."""

    faults: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    levels: int = 0
    objects: int = 0
    bytes: int = 0


class Judge:
    """Checks outputs of one input against its truth.

    What is byte for byte what was checked before need not be checked again.
    """

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._voxels = np.array(truth.voxels)
        self._known: dict[tuple[int, bytes], Finding] = {}
        self._means = cache(self._make_means)

    def look(self, volume: Path, rounding: int) -> Finding:
        """Check one volume; `rounding` as in Contender."""
        key = rounding, _digest(volume)
        if key not in self._known:
            self._known[key] = self._look(volume, rounding)
        return self._known[key]

    def _look(self, volume: Path, rounding: int) -> Finding:
        files = [file for file in volume.rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files)
        found = Finding(objects=len(files), bytes=size)
        try:
            attributes = json.loads((volume / "zarr.json").read_text())["attributes"]
            (image,) = attributes.get("ome", attributes)["multiscales"]
            self._levels(volume, image, rounding, found)
        except (OSError, ValueError, KeyError, IndexError) as exc:
            found.faults.append(f"cannot be read: {type(exc).__name__}: {exc}"[:300])
        return found

    def _levels(self, volume: Path, image: dict[str, Any], rounding: int, found: Finding) -> None:
        names = [axis["name"] for axis in image["axes"]]
        if names != ["z", "y", "x"]:
            found.faults.append(f"axes are {names}")
            return
        if any(axis.get("unit") != "millimeter" for axis in image["axes"]):
            found.remarks.append("no unit")
        found.levels = len(image["datasets"])
        for number, level in enumerate(image["datasets"]):
            dtype, values = _read(volume / level["path"])
            if number == 0:
                self._voxels_of(dtype, values, found)
            scale, start = _place(level["coordinateTransformations"])
            factors = [round(a / b) for a, b in zip(scale, self._truth.spacing_mm, strict=True)]
            self._place_of(number, scale, start, factors, found)
            if number:
                self._means_of(number, values, tuple(factors), rounding, found)

    def _voxels_of(self, dtype: np.dtype, values: np.ndarray, found: Finding) -> None:
        if dtype != np.int16:
            found.remarks.append(f"{dtype} on disk")
        if values.shape != self._voxels.shape:
            found.faults.append(f"level 0 is {values.shape}, not {self._voxels.shape}")
        elif wrong := int((values != self._voxels).sum()):
            flipped = next((axis for n, axis in enumerate("zyx")
                            if np.array_equal(np.flip(values, n), self._voxels)), "")  # fmt: skip
            how = f"flipped along {flipped}" if flipped else f"{wrong} voxels differ"
            found.faults.append(f"level 0: {how}")

    def _place_of(
        self,
        number: int,
        scale: list[float],
        start: list[float],
        factors: list[int],
        found: Finding,
    ) -> None:
        truth = self._truth
        right_scale = [size * by for size, by in zip(truth.spacing_mm, factors, strict=True)]
        right_start = [
            first + size * (by - 1) / 2
            for first, size, by in zip(truth.origin_mm, truth.spacing_mm, factors, strict=True)
        ]
        for what, values, right in (("scale", scale, right_scale),
                                    ("translation", start, right_start)):  # fmt: skip
            if not np.allclose(values, right, rtol=0, atol=NEAR_MM):
                got, wanted = ([round(value, 3) for value in each] for each in (values, right))
                found.faults.append(f"level {number}: {what} {got}, not {wanted}")

    def _means_of(
        self, number: int, values: np.ndarray, factors: tuple[int, ...], rounding: int,
        found: Finding,
    ) -> None:  # fmt: skip
        if found.faults and found.faults[0].startswith("level 0"):
            return
        means = self._means(factors)
        shared = tuple(slice(0, min(a, b)) for a, b in zip(values.shape, means.shape, strict=True))
        if any(abs(a - b) > 1 for a, b in zip(values.shape, means.shape, strict=True)):
            found.faults.append(f"level {number} is {values.shape}, not {means.shape}")
            return
        if values.shape != means.shape:
            found.remarks.append(f"level {number} drops an edge")
        worst = np.abs(np.asarray(values[shared], float) - means[shared]).max()
        if worst > rounding:
            found.faults.append(f"level {number}: means are wrong by up to {worst:g}")

    def _make_means(self, factors: tuple[int, ...]) -> np.ndarray:
        """Return exact means, rounded half up; a block at an end has the voxels that there are."""
        total = self._voxels.astype(np.int64)
        count = np.ones((1, 1, 1), np.int64)
        for axis, by in enumerate(factors):
            starts = np.arange(0, total.shape[axis], by)
            ends = np.minimum(starts + by, total.shape[axis])
            total = np.add.reduceat(total, starts, axis)
            shape = [1, 1, 1]
            shape[axis] = len(starts)
            count = count * (ends - starts).reshape(shape)
        return (2 * total + count) // (2 * count)


def _place(transformations: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    found = {each["type"]: each[each["type"]] for each in transformations}
    return found["scale"], found.get("translation", [0.0] * len(found["scale"]))


def _read(folder: Path) -> tuple[np.dtype, np.ndarray]:
    """Return the type of an array, and its values by CF's scale and offset where it has them."""
    store = {"driver": "file", "path": f"{folder}/"}
    array = ts.open({"driver": "zarr3", "kvstore": store}, read=True).result()
    values = array.read().result()
    attributes = json.loads((folder / "zarr.json").read_text()).get("attributes", {})
    if "scale_factor" in attributes:
        values = values * attributes["scale_factor"] + attributes["add_offset"]
    return array.dtype.numpy_dtype, values


def _digest(volume: Path) -> bytes:
    """Return a digest of all files of a volume."""
    digest = hashlib.sha256()
    for file in sorted(volume.rglob("*")):
        if file.is_file():
            digest.update(file.relative_to(volume).as_posix().encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.digest()
