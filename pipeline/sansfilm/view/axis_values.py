"""What the values along an axis are: coordinates, seconds, and words for people.

Works on one entry of ``axes_values``: ``values``, one per index, with their ``unit`` and the DICOM
``keywords`` that they come from; ``seconds`` too where a time was measured.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Entry = Mapping[str, Any]
Coordinate = tuple[np.ndarray, dict[str, str]]
"""Values, one per index, and attributes: "units", and "keyword" where that is not the name."""

_SECONDS = {"s": 1.0, "ms": 1e-3}
_RANKS = ("InstanceNumber",)
"""Keywords of which only the order counts: their values say no more than the index."""


def axis_coordinates(axis: str, size: int, entry: Entry | None) -> dict[str, Coordinate]:
    """Return the coordinates along an axis by name; the one of the axis itself comes first.

    Seconds where there are such, else the values. Where several keywords share an axis it is
    numbered, and each keyword is a coordinate of its own.
    """
    numbered = {axis: (np.arange(size), dict[str, str]())}
    if entry is None:
        return numbered
    values, unit = entry["values"], entry.get("unit", "")
    keywords = entry.get("keywords", [])
    if any(isinstance(value, Mapping) for value in values):
        names = dict.fromkeys(name for value in values for name in value or {})
        return numbered | {
            name if name in keywords else f"{axis}_{name}": (
                _column([(value or {}).get(name) for value in values]), {},
            )
            for name in names
        }  # fmt: skip
    column, attributes = _column(values), {"units": unit} if unit else {}
    if entry.get("seconds"):
        seconds = {axis: (np.array(entry["seconds"]), {"units": "s"})}
        return seconds | dict.fromkeys(keywords[:1], (column, attributes))
    if keywords:
        attributes["keyword"] = keywords[0]
    return {axis: (column, attributes)}


def time_step(entry: Entry | None) -> float | None:
    """Return the seconds from one index to the next; None if unknown or not the same each time."""
    if entry is None:
        return None
    scale = 1.0 if entry.get("seconds") else _SECONDS.get(entry.get("unit", ""))
    times = entry.get("seconds") or entry["values"]
    if scale is None or len(times) < 2 or any(isinstance(t, str | None) for t in times):
        return None
    steps = np.diff(times) * scale
    mean = float(steps.mean())
    return mean if float(np.ptp(steps)) <= 0.01 * mean else None


def label(entry: Entry | None, index: int) -> str:
    """Return what is at an index, in words for people; "" if there is no more than the index."""
    if entry is None or list(entry.get("keywords", [])) in ([name] for name in _RANKS):
        return ""
    if entry.get("seconds"):
        return f"{entry['seconds'][index]:.4g} s"
    return _word(entry["values"][index], entry.get("unit", ""))


def listing(entry: Entry, most: int = 4) -> str:
    """Return the values of an axis in one line for people, the middle left out if they are many."""
    values, unit = entry["values"], entry.get("unit", "")
    words = [_word(value) for value in values]
    told = f"{len(words)} values: {shortened(words, most)} {unit}".rstrip()
    if entry.get("keywords"):
        told += f" ({', '.join(entry['keywords'])})"
    if entry.get("seconds"):
        seconds = [f"{value:.4g}" for value in entry["seconds"]]
        told += f"; begun at {shortened(seconds, most)} s"
    return told


def shortened(words: Sequence[str], most: int) -> str:
    """Join words; of more than `most` the last of them is the last one, after dots."""
    if len(words) > most:
        words = [*words[: most - 1], "...", words[-1]]
    return ", ".join(words)


def _word(value: Any, unit: str = "") -> str:
    """Return one value as text, vectors with three digits."""
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return " ".join(f"{name} {_word(part)}" for name, part in value.items())
    if isinstance(value, str):
        return "\\".join(_rounded(part) for part in value.split("\\"))
    return f"{value:.6g} {unit}".rstrip()


def _rounded(text: str) -> str:
    try:
        return f"{float(text):.3g}"
    except ValueError:
        return text


def _column(values: Sequence[Any]) -> np.ndarray:
    """Return values as numbers, NaN where there is none, or as texts, "" where there is none."""
    if all(isinstance(value, int | float | None) for value in values):
        return np.array([np.nan if value is None else value for value in values])
    return np.array(["" if value is None else str(value) for value in values])
