"""Window functions in the form that NumPy and the CUDA kernel compute (PS3.3 C.11.2.1)."""

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

type Function = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]


class Kind(IntEnum):
    """The shape of a window, where ``u = (x - offset) / scale``; as in window.cu."""

    RAMP = 0
    """``u + 1/2``, between 0 and 1."""
    STEP = 1
    """1 where ``x > offset``, otherwise 0."""
    SIGMOID = 2
    """``(tanh(u) + 1) / 2``."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A window that maps modality values to 0 .. 1."""

    kind: Kind
    offset: float
    scale: float


def curve_of(function: str, center: float, width: float, smallest: float) -> Curve:
    """Return the curve of a window function; `smallest` is the narrowest that is not 0.

    Raises
    ------
    ValueError
        If there is no such function, the window is not finite, or it is too narrow.
    """
    if not (math.isfinite(center) and math.isfinite(width)):
        raise ValueError(f"center and width must be finite, got {center} and {width}")
    if function == "LINEAR":
        if width < 1:
            raise ValueError(f"width of a LINEAR window must be at least 1, got {width}")
        return Curve(Kind.STEP if width == 1 else Kind.RAMP, center - 0.5, width - 1)
    if width < smallest:
        raise ValueError(f"width must be positive (at least {smallest:.2g}), got {width}")
    if function == "LINEAR_EXACT":
        return Curve(Kind.RAMP, center, width)
    if function == "SIGMOID":
        return Curve(Kind.SIGMOID, center, width / 2)
    raise ValueError(f"function must be LINEAR, LINEAR_EXACT or SIGMOID, got {function!r}")
