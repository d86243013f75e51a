"""How stored values become level-0 values (PS3.3 C.11.1): integers where that is exact."""

from collections.abc import Sequence

import numpy as np

from sansfilm.model import Header, Rescale

_INTEGERS = ("int16", "uint16", "int32")


def plan_values(
    frames: Sequence[Header],
) -> tuple[str, Rescale, tuple[float, float] | None]:
    """Choose the dtype of level 0 and how stored values get there.

    One integer slope and intercept whose result fits int16, uint16 or int32: level 0 holds
    modality values. Another single slope: level 0 holds stored values, attributes say the rest.
    Slopes that differ by frame: level 0 holds float modality values, float32 where the stored
    integer can be got back from it.

    Returns
    -------
    dtype : str
    rescale : Rescale
    padding : (low, high) or None
        Inclusive range of padding, in level-0 values; None where frames differ, since then no
        value means padding in all of them.
    """
    first = frames[0]
    stored_padding = first.padding if len({header.padding for header in frames}) == 1 else None
    spec = first.spec
    slopes = {(header.slope, header.intercept) for header in frames}
    low, high = stored_range(spec.bits_stored, signed=spec.pixel_representation == 1)
    container = f"{'int' if spec.pixel_representation else 'uint'}{spec.bits_allocated}"
    slope, intercept = first.slope, first.intercept
    if len(slopes) > 1:
        dtype = "float32" if all(_reversible(h, low, high) for h in frames) else "float64"
        # With slopes that differ no single level-0 value means padding.
        return dtype, Rescale(1.0, 0.0, first.unit, "per_frame"), None
    if (slope, intercept) == (1.0, 0.0):
        return container, Rescale(slope, intercept, first.unit, "integer"), stored_padding
    if slope.is_integer() and intercept.is_integer():
        ends = sorted((int(low * slope + intercept), int(high * slope + intercept)))
        for dtype in _INTEGERS:
            info = np.iinfo(dtype)
            if info.min <= ends[0] and ends[1] <= info.max:
                padding = stored_padding
                if padding is not None:
                    mapped = sorted(value * slope + intercept for value in padding)
                    padding = int(mapped[0]), int(mapped[1])
                return dtype, Rescale(slope, intercept, first.unit, "integer"), padding
    return container, Rescale(slope, intercept, first.unit, "attributes"), stored_padding


def stored_range(bits_stored: int, *, signed: bool) -> tuple[int, int]:
    """Return the smallest and largest stored value."""
    if signed:
        return -(1 << bits_stored - 1), (1 << bits_stored - 1) - 1
    return 0, (1 << bits_stored) - 1


def _reversible(header: Header, low: int, high: int) -> bool:
    """Tell whether float32 modality values are close enough to give stored values back."""
    single = np.finfo(np.float32)
    largest = max(abs(value * header.slope + header.intercept) for value in (low, high))
    fits = largest < float(single.max) and abs(header.slope) > float(single.tiny)
    return fits and largest * float(single.eps) < abs(header.slope) / 2
