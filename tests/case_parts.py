"""What the cases are made of: files on disk, and what must become of them.

Independent of sansfilm, as `synth` is: what is expected follows from the arguments alone.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import synth
from pydicom.dataset import Dataset
from synth import Synth

SLICES = 6
SAGITTAL, CORONAL = (0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1)
OBLIQUE = (0.8, 0.6, 0.0, -0.36, 0.48, 0.8)
_ROOT = "1.2.826.0.1.3680043.8.498.78"
Edit = Callable[[Dataset, int], None]


@dataclass(frozen=True, slots=True)
class Volume:
    """One volume as it has to be.

    `frames` (all axes before y and x) has SOP Instance UID and frame number, None where one is
    missing; `values` are modality values, NaN there. `along` has the values of axes.
    """

    verdict: str
    axes: tuple[str, ...]
    frames: np.ndarray
    values: np.ndarray
    affine: np.ndarray | None
    along: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    numbers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def missing(self) -> list[list[int]]:
        """Indices of the frames that are missing."""
        return np.argwhere(np.equal(self.frames, None)).tolist()  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Case:
    """Volumes, problems by code, and how many frames are copies of others."""

    volumes: tuple[Volume, ...]
    problems: Mapping[str, int] = field(default_factory=dict)
    copies: int = 0


CASES: dict[str, Callable[[Path], Case]] = {}
"""Name -> a function that writes the files into a folder."""


def case(build: Callable[[Path], Case | Volume]) -> Callable[[Path], Case]:
    def built(folder: Path) -> Case:
        found = build(folder)
        return Case((found,)) if isinstance(found, Volume) else found

    CASES[build.__name__] = built
    return built


def write(folder: Path, edit: Edit | None = None, *, into: str = "", **arguments: Any) -> Synth:
    """Write one series; all of one case, named by its folder, have the same UIDs."""
    uid = f"{_ROOT}.{zlib.crc32(folder.name.encode())}"
    uids = {"series_uid": f"{uid}.1", "study_uid": f"{uid}.2"}
    return synth.series(folder / into, edit=edit, **{"slices": SLICES, **uids, **arguments})


def frames_of(*uids: str) -> np.ndarray:
    return np.array([None, *((uid, 1) for uid in uids)], object)[1:]


def slices(made: Synth, verdict: str = "regular", **changes: Any) -> Volume:
    """Expect a series as it was written."""
    frames = frames_of(*made.sop_uids)
    axes = ("z", "y", "x")
    return replace(Volume(verdict, axes, frames, made.values, made.affine_lps), **changes)


def times(
    many: Sequence[Synth], axis: str, along: Sequence[Any], verdict: str = "regular"
) -> Volume:
    """Expect series of one geometry along a further axis."""
    return Volume(
        verdict, (axis, "z", "y", "x"), np.stack([frames_of(*made.sop_uids) for made in many]),
        np.stack([made.values for made in many]), many[0].affine_lps, {axis: along},
    )  # fmt: skip


def without(volume: Volume, *cells: tuple[int, ...]) -> Volume:
    """Expect these frames to be missing."""
    frames, filled = volume.frames.copy(), volume.values.copy()
    for cell in cells:
        frames[cell], filled[cell] = None, np.nan
    return replace(volume, verdict="gapped", frames=frames, values=filled)


def part(volume: Volume, which: Sequence[int] | slice, **changes: Any) -> Volume:
    """Expect some slices only."""
    return replace(volume, frames=volume.frames[which], values=volume.values[which], **changes)


def moved(ds: Dataset, *by: float) -> None:
    position = zip(ds.ImagePositionPatient, by, strict=True)
    ds.ImagePositionPatient = [float(old) + by for old, by in position]


def again(path: Path, name: str, **changes: Any) -> Dataset:
    """Write an instance once more, under another UID."""
    ds = pydicom.dcmread(path)
    ds.SOPInstanceUID = f"{ds.SOPInstanceUID}.9"
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    synth.write(ds, path.with_name(name))
    return ds


def series4d(folder: Path, count: int, edit: Callable[[Dataset, int, int], None], **more: Any):
    """Write several series of one geometry as one; `edit(ds, number, slice)`."""
    return [
        write(folder, lambda ds, z, n=n: edit(ds, n, z), seed=n, **more) for n in range(count)
    ]  # fmt: skip
