"""What grey a modality value has on the screen: two ends and a curve that any viewer can draw."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sansfilm.view.windows import Table, choose_window, full_range, grey_of

if TYPE_CHECKING:
    from sansfilm.view.volume import Volume

_STEPS = 256
"""Entries of a curve: as many as there are greys."""
_SIGMOID_WIDTHS = 2.0
"""A sigmoid is within one grey of black and white so many widths from its centre."""


@dataclass(frozen=True, slots=True)
class Grey:
    """Black below `low`, white above `high`, and in between as the curve says.

    Attributes
    ----------
    low, high : float
        In modality values; ``low < high``.
    curve : tuple of 256 int, or None
        The grey, 0 to 255, at each of as many even steps from `low` to `high`; None where it is
        a straight line from black to white. MONOCHROME1 is in it: such a curve falls.
    """

    low: float
    high: float
    curve: tuple[int, ...] | None

    @property
    def greys(self) -> np.ndarray:
        """The curve, also of a straight line; uint8, shape (256,)."""
        return np.array(range(_STEPS) if self.curve is None else self.curve, np.uint8)


def choose_grey(volume: "Volume", window: Any) -> Grey:
    """Return the grey of a window, as `Volume.window` takes and draws it (PS3.3 C.11.2.1).

    Raises
    ------
    OptionError
        If there is no such window, or the images are in colour.
    """
    chosen = choose_window(volume, window) or full_range(volume)
    if isinstance(chosen, Table):
        low, high = float(chosen.first), float(chosen.first + max(len(chosen.entries) - 1, 1))
    else:
        center, width, function = chosen
        if function == "SIGMOID":
            low, high = center - _SIGMOID_WIDTHS * width, center + _SIGMOID_WIDTHS * width
        elif function == "LINEAR_EXACT":
            low, high = center - width / 2, center + width / 2
        else:
            low, high = center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2
            high = max(high, low + 1e-3)  # of width 1 it is a step
    steps = np.linspace(low, high, _STEPS, dtype=np.float32)
    shown = np.floor(grey_of(steps, chosen) + 0.5).astype(np.uint8)
    straight = not isinstance(chosen, Table) and chosen[2] != "SIGMOID"
    if volume.attributes["photometric"] == "MONOCHROME1":
        return Grey(low, high, tuple((255 - (np.arange(_STEPS) if straight else shown)).tolist()))
    return Grey(low, high, None if straight else tuple(shown.tolist()))
