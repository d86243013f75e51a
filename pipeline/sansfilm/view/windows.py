"""Named windows, the series' own, and the picture they make of a level."""

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

import sansfilm_kernels as kernels
from sansfilm.errors import OptionError
from sansfilm.view.values import modality_range

if TYPE_CHECKING:
    from sansfilm.view.volume import Volume

PRESETS = {
    "abdomen": (40.0, 400.0),
    "bone": (500.0, 2000.0),
    "brain": (40.0, 80.0),
    "liver": (60.0, 160.0),
    "lung": (-600.0, 1500.0),
    "mediastinum": (40.0, 400.0),
    "stroke": (40.0, 40.0),
    "subdural": (75.0, 215.0),
}
"""Centre and width in HU, as radiology textbooks give them; for CT."""

_FUNCTIONS = {
    "LINEAR": kernels.window_linear,
    "LINEAR_EXACT": kernels.window_linear_exact,
    "SIGMOID": kernels.window_sigmoid,
}


OWN_LUT = "voi lut"
"""Name of a series' own first VOI LUT; each has the name of its explanation, too."""


@dataclass(frozen=True, slots=True)
class Table:
    """A VOI LUT (PS3.3 C.11.2.1.1): entry n is for the modality value ``first + n``."""

    name: str
    first: int
    bits: int
    entries: np.ndarray


Chosen = tuple[float, float, str] | Table | None
"""A window and its VOI LUT Function, or a VOI LUT; None for the whole range."""


def choose_window(volume: "Volume", window: Any) -> Chosen:
    """Return a window or a VOI LUT, or None where nothing says which, and for colour.

    Raises
    ------
    OptionError
        If there is no such preset, it is not a window, or the images are in colour.
    """
    if "c" in volume.axes:
        if window is not None:
            raise OptionError("a window is for grey values, and these images are in colour")
        return None
    own = volume.attributes["windows"]
    tables = _tables(volume)
    if window is None:
        if not own:
            return tables.get(OWN_LUT)
        return own[0]["center"], own[0]["width"], own[0]["function"]
    if isinstance(window, str):
        if window in PRESETS:
            return *PRESETS[window], "LINEAR"
        if window in tables:
            return tables[window]
        there = ", ".join([*PRESETS, *tables])
        raise OptionError(f"no window named {window!r}; there are {there}")
    try:
        center, width = (float(value) for value in window)
    except (TypeError, ValueError) as exc:
        raise OptionError(f"a window is a name or (center, width), got {window!r}") from exc
    return center, width, "LINEAR"


def _tables(volume: "Volume") -> dict[str, Table]:
    """Return the series' own VOI LUTs by name; archives from before them have none."""
    tables: dict[str, Table] = {}
    for lut in volume.attributes.get("voi_luts", ()):
        name = lut["explanation"] or OWN_LUT
        table = Table(name, lut["first"], lut["bits"], np.array(lut["values"], np.uint16))
        tables.setdefault(OWN_LUT, table)
        tables.setdefault(name, table)
    return tables


def apply_window(volume: "Volume", window: Any, level: int) -> np.ndarray:
    """See Volume.window. Rounds half up to 8 bits; reads each chunk once, works plane by plane."""
    volume.factors(level)  # checks the level
    array = volume.levels[level]
    chosen = choose_window(volume, window)
    picture = np.empty(array.shape, np.uint8)
    steps = [
        range(0, size, chunk)
        for size, chunk in zip(array.shape[:-2], array.chunks[:-2], strict=True)
    ]
    for starts in product(*steps):
        block = tuple(
            slice(start, start + chunk) for start, chunk in zip(starts, array.chunks, strict=False)
        )
        planes, shown = np.asarray(array[block]), picture[block]
        for place in np.ndindex(planes.shape[:-2]):
            shown[place] = to_picture(volume, planes[place], chosen)
    return picture


def full_range(volume: "Volume") -> tuple[float, float, str]:
    """Return the window from the lowest to the highest modality value of level 0."""
    ends = modality_range(volume)
    return sum(ends) / 2, max(ends[1] - ends[0], 1e-6), "LINEAR_EXACT"


def to_picture(volume: "Volume", values: np.ndarray, window: Chosen) -> np.ndarray:
    """Return level values as uint8: rescaled if need be, windowed, MONOCHROME1 inverted.

    Without a window from the darkest to the brightest value of the volume; colour as it is.

    Raises
    ------
    OptionError
        If the window's width is too small (PS3.3 C.11.2.1.2: at least 1 for LINEAR).
    """
    if "c" in volume.axes:
        return _eight_bits(values, int(volume.attributes["bits_stored"]))
    rescale = volume.attributes["rescale"]
    with np.errstate(over="ignore"):  # missing frames may hold the lowest double
        modality = values.astype(np.float32)
        if not rescale["applied"]:
            modality = modality * np.float32(rescale["slope"]) + np.float32(rescale["intercept"])
        shown = grey_of(modality, window or full_range(volume))
    picture: np.ndarray = np.floor(np.nan_to_num(shown) + 0.5).astype(np.uint8)
    if volume.attributes["photometric"] == "MONOCHROME1":
        np.subtract(255, picture, out=picture)
    return picture


def grey_of(modality: np.ndarray, window: tuple[float, float, str] | Table) -> np.ndarray:
    """Return modality values as grey from 0 to 255; NaN stays NaN."""
    if isinstance(window, Table):
        ends = window.first - 1, window.first + len(window.entries)
        # means of a level, and fractions, lie between two entries
        whole = np.floor(np.nan_to_num(np.clip(modality, *ends)) + 0.5).astype(np.int32)
        grey = kernels.apply_lut(whole, first=window.first, entries=window.entries)
        scaled = grey.astype(np.float32) * np.float32(255 / (2**window.bits - 1))
        return np.where(np.isnan(modality), np.float32(np.nan), scaled)
    center, width, function = window
    try:
        apply = _FUNCTIONS.get(function, kernels.window_linear)
        return np.asarray(apply(modality, center=center, width=width))
    except ValueError as exc:
        raise OptionError(str(exc)) from exc


def _eight_bits(values: np.ndarray, bits: int) -> np.ndarray:
    """Return samples of colour as uint8; palettes of 8 bit pixels may have 16 bit colours."""
    if values.dtype.itemsize == 1:
        return values.astype(np.uint8)
    largest = 2**bits - 1 if bits > 8 else np.iinfo(values.dtype).max
    return np.asarray(np.floor(np.clip(values / largest, 0, 1) * 255 + 0.5).astype(np.uint8))
