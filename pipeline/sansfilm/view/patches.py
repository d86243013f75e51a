"""Patches of many volumes for training: read where they are, level by level, in any process."""

import copy
import math
import operator
import os
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from sansfilm.errors import MissingPackageError, OptionError
from sansfilm.view.axis_values import shortened
from sansfilm.view.values import ModalityValues, modality_padding, modality_range
from sansfilm.view.volume import Volume

if TYPE_CHECKING:
    from sansfilm.objects import Readable

Transform = Callable[[dict[str, Any]], Any]

_OPEN = 64
"""How many volumes a process keeps open: metadata only, no voxels."""
_TOLD = 3


class PatchDataset:
    """A map-style dataset for ``torch.utils.data.DataLoader``; see `Archive.patches`.

    It holds no file, no socket and no voxel: it pickles, and each process opens volumes for
    itself. What an index gives depends on the seed, the epoch and the index alone, so that the
    number of workers changes nothing.
    """

    def __init__(
        self,
        target: "Readable",
        rows: Sequence[Mapping[str, Any]],
        patch_size: int | Sequence[int],
        *,
        level: int = 0,
        samples_per_volume: int | None = None,
        patch_overlap: int | Sequence[int] = 0,
        seed: int = 0,
        transform: Transform | None = None,
    ) -> None:
        self.patch_size = _sizes("patch_size", patch_size, 1)
        self.patch_overlap = _sizes("patch_overlap", patch_overlap, 0)
        if any(
            part >= size for part, size in zip(self.patch_overlap, self.patch_size, strict=True)
        ):
            raise OptionError(f"patch_overlap must be below patch_size, {self.patch_size}")
        if samples_per_volume is not None and samples_per_volume < 1:
            raise OptionError(f"samples_per_volume must be 1 or more, got {samples_per_volume}")
        if seed < 0:
            raise OptionError(f"seed must be 0 or more, got {seed}")
        self.level, self.seed, self.epoch, self.transform = level, seed, 0, transform
        self.samples_per_volume = samples_per_volume
        self._target, self._process = target, -1
        chosen = sorted(rows, key=lambda row: str(row["volume_id"]))
        _check_rows(chosen, level)
        self._keys = [str(row["key"]) for row in chosen]
        counts = [samples_per_volume or len(self._grid(row)) for row in chosen]
        self._ends = list(accumulate(counts))

    def set_epoch(self, epoch: int) -> None:
        """Choose other random patches: call it before each epoch, as of a DistributedSampler.

        Workers that live longer than an epoch (``persistent_workers=True``) do not hear of it.
        """
        if epoch < 0:
            raise OptionError(f"epoch must be 0 or more, got {epoch}")
        self.epoch = epoch

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(f"patch must be 0 to {len(self) - 1}, got {index}")
        number = bisect_right(self._ends, index)
        volume = self._volume(self._keys[number])
        shape = volume.levels[self.level].shape[-3:]
        if self.samples_per_volume is None:
            within = index - (self._ends[number - 1] if number else 0)
            start = _grid(shape, self.patch_size, self.patch_overlap)[within]
        else:
            random = np.random.default_rng((self.seed, self.epoch, index))
            room = [max(n - size, 0) for n, size in zip(shape, self.patch_size, strict=True)]
            start = tuple(int(n) for n in random.integers(0, room, endpoint=True))
        item = _item(volume, self.level, start, self.patch_size)
        return item if self.transform is None else self.transform(item)

    def __getstate__(self) -> dict[str, Any]:
        """Leave open volumes behind: another process opens its own."""
        state = self.__dict__ | {"_process": -1}
        state.pop("_open", None)
        return state

    def _volume(self, key: str) -> Volume:
        if self._process != os.getpid():
            # After a fork too: two processes on one connection would read each other's answers.
            self._target = copy.copy(self._target)
            self._open = lru_cache(_OPEN)(partial(Volume, self._target))
            self._process = os.getpid()
        return self._open(key)

    def _grid(self, row: Mapping[str, Any]) -> list[tuple[int, ...]]:
        shape = row["shape"][-3:]
        if self.level:
            shape = self._volume(row["key"]).levels[self.level].shape[-3:]
        return _grid(shape, self.patch_size, self.patch_overlap)

    def __repr__(self) -> str:
        how = f"{self.samples_per_volume} a volume" if self.samples_per_volume else "in a grid"
        size = " x ".join(map(str, self.patch_size))
        return f"<sansfilm.PatchDataset {len(self)} patches of {size}, level {self.level}, {how}>"


def _sizes(name: str, given: int | Sequence[int], least: int) -> tuple[int, ...]:
    """Return voxels along z, y and x, checked."""
    try:
        found = tuple(map(operator.index, given if isinstance(given, Sequence) else (given,) * 3))
    except TypeError:
        found = ()
    if len(found) != 3 or min(found) < least:
        raise OptionError(f"{name} is a number or three (z, y, x), {least} or more, got {given!r}")
    return found


def _check_rows(rows: Sequence[Mapping[str, Any]], level: int) -> None:
    """Refuse volumes without a place, and those that have not the level, by their names."""
    flat = [row["volume_id"] for row in rows if row["affine_lps"] is None]
    if flat:
        raise OptionError(
            f"{len(flat)} of {len(rows)} volumes have no place in the patient: "
            f"{shortened(flat, _TOLD)}; "
            "leave them out with select, by verdict or modality"
        )
    short = [row["volume_id"] for row in rows if not 0 <= level < row["levels"]]
    if short:
        fewest = min(row["levels"] for row in rows)
        raise OptionError(
            f"{len(short)} of {len(rows)} volumes have no level {level}: "
            f"{shortened(short, _TOLD)}; all have 0 to {fewest - 1}"
        )


def _grid(
    shape: Sequence[int], patch: Sequence[int], overlap: Sequence[int]
) -> list[tuple[int, ...]]:
    """Return the first voxels of patches that cover a volume; the last ones end where it does."""
    axes = []
    for size, width, shared in zip(shape, patch, overlap, strict=True):
        many = max(1, math.ceil((size - shared) / (width - shared)))
        axes.append([max(0, min(n * (width - shared), size - width)) for n in range(many)])
    return [(z, y, x) for z in axes[0] for y in axes[1] for x in axes[2]]


def _item(
    volume: Volume, level: int, start: tuple[int, ...], size: tuple[int, ...]
) -> dict[str, Any]:
    try:
        import torch
    except ImportError as exc:
        raise MissingPackageError("PyTorch is needed: pip install torch") from exc
    part = tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))
    values = np.asarray(ModalityValues(volume, level)[(..., *part)], np.float32)
    values = values.reshape(-1, *values.shape[-3:])
    there = values.shape[1:]
    if there != size:
        padding = modality_padding(volume)
        fill = modality_range(volume)[0] if padding is None else padding[0]
        whole = np.full((len(values), *size), fill, np.float32)
        whole[(slice(None), *map(slice, there))] = values
        values = whole
    affine = volume.affine(level)
    assert affine is not None  # see _check_rows
    affine[:3, 3] += affine[:3, :3] @ start
    return {
        "image": torch.from_numpy(np.ascontiguousarray(values)),
        "affine": torch.from_numpy(affine),
        "start": torch.from_numpy(np.array(start)),
        "valid": torch.from_numpy(np.array(there)),
        "volume_id": volume.volume_id,
        "series_uid": volume.series_uid,
        "modality": volume.modality,
        "level": level,
    }
