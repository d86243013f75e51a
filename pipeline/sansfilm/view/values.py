"""Modality values of a level, part by part, and which of them stand for no data."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from sansfilm.model import padding_range

if TYPE_CHECKING:
    from sansfilm.view.stored import StoredVolume


class ModalityValues:
    """A level in modality values, on the device that was asked for.

    Of a part that is asked for, that part alone is read: what Dask computes after it has read a
    shard would make it read the whole shard.

    Parameters
    ----------
    put : callable, optional
        Takes what was read, and returns it where it is wanted: see `devices.placing`.
    """

    def __init__(
        self, volume: "StoredVolume", level: int, put: Callable[[Any], Any] = np.asarray
    ) -> None:
        volume.factors(level)  # checks the level
        rescale = volume.attributes["rescale"]
        self._array, self._put = volume.levels[level], put
        self._linear = None if rescale["applied"] else (rescale["slope"], rescale["intercept"])
        self.shape, self.ndim = self._array.shape, self._array.ndim
        self.dtype = self._rescaled(np.zeros(1, self._array.dtype)).dtype

    def __getitem__(self, part: Any) -> Any:
        return self._rescaled(self._put(np.asarray(self._array[part])))

    def _rescaled(self, values: Any) -> Any:
        if self._linear is None:
            return values
        slope, intercept = self._linear
        return values * slope + intercept


def modality_padding(volume: "StoredVolume") -> tuple[float, float] | None:
    """Return which modality values stand for no data, inclusive; None if all are data."""
    padding, rescale = padding_range(volume.attributes["padding"]), volume.attributes["rescale"]
    if padding is None or rescale["applied"]:
        return padding
    low, high = sorted(end * rescale["slope"] + rescale["intercept"] for end in padding)
    return low, high


def modality_range(volume: "StoredVolume") -> tuple[float, float]:
    """Return the lowest and the highest modality value of level 0."""
    limits, rescale = (
        volume.ome["omero"]["channels"][0]["window"],
        volume.attributes["rescale"],
    )
    ends = limits["min"], limits["max"]
    if rescale["applied"]:
        return ends
    low, high = sorted(end * rescale["slope"] + rescale["intercept"] for end in ends)
    return low, high
