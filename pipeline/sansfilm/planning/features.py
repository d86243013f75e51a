"""What one attribute says of each frame of a stack: levels of equal value, or an order."""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sansfilm.planning.candidates import Source, Value

RELATIVE = 1e-4
"""Two stated numbers are one when they differ by less than this part; whole numbers never."""
ABSOLUTE = 1e-3
"""Two times are one when they differ by less, in their unit (s or ms)."""
EVEN = 4
"""Heartbeats, and phases of one, are at most this much longer than others of the same slice."""

Point = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Feature:
    """What a source says: the level of each frame (from 0, ascending), the value of each level."""

    source: Source
    labels: tuple[int, ...]
    values: tuple[Value | None, ...]
    by: Literal["value", "rank"]


def by_value(source: Source, column: Sequence[Value | None], limit: int) -> Feature | None:
    """Sort the frames into levels of equal value; None if there are more than `limit` of them.

    Numbers, and vectors in text, are equal within a tolerance of the smallest of their level, so
    that small differences cannot add up. Frames without a value are on a level of their own, the
    first.
    """
    known = sorted({value for value in column if value is not None}, key=_sort_key)
    levels = _levels(known, source.kind, limit)
    if levels is None:
        return None
    shift = int(None in column)
    names: dict[int, Value | None] = {0: None} if shift else {}
    for value in known:
        names.setdefault(levels[value] + shift, value)
    if len(names) > limit:
        return None
    if source.kind == "paced" and not _is_even(np.array([sorted(_numbers(names.values()))])):
        return None
    labels = tuple(0 if value is None else levels[value] + shift for value in column)
    return Feature(source, labels, tuple(names[level] for level in sorted(names)), "value")


def _levels(known: Sequence[Value], kind: str, limit: int) -> dict[Value, int] | None:
    points = [point for point in map(_point, known) if point is not None]
    if len(points) < len(known) or len({len(point) for point in points}) > 1:
        return {value: level for level, value in enumerate(known)}
    grouped = _group(points, kind, limit)
    if grouped is None:
        return None
    return {value: grouped[point] for value, point in zip(known, points, strict=True)}


def _point(value: Value) -> Point | None:
    """Return the number, or the numbers joined by backslashes, that a value is; None for text."""
    try:
        numbers = [float(part) for part in str(value).split("\\")]
    except ValueError:
        return None
    return tuple(number + 0.0 for number in numbers) if all(map(math.isfinite, numbers)) else None


def _numbers(values: Iterable[Value | None]) -> list[float]:
    return [value for value in values if isinstance(value, float)]


def _sort_key(value: Value) -> tuple[Point, str]:
    return _point(value) or (), str(value)


def _group(points: Sequence[Point], kind: str, limit: int) -> dict[Point, int] | None:
    """Return the level of each point; a level is what lies near the smallest point that is left."""
    left = np.array(sorted(set(points)), dtype=np.float64)
    whole = bool((left == np.rint(left)).all())
    levels: dict[Point, int] = {}
    for level in range(limit):
        if not len(left):
            break
        tolerance = ABSOLUTE
        if kind == "stated":
            tolerance = 0.0 if whole else RELATIVE * float(np.abs(left[0]).max())
        apart = (np.abs(left - left[0]) > tolerance).any(axis=1)
        levels |= dict.fromkeys(map(tuple, left[~apart].tolist()), level)
        left = left[apart]
    return None if len(left) else levels


def by_rank(
    source: Source, column: Sequence[Value | None], tracks: Sequence[Hashable]
) -> Feature | None:
    """Give each frame its number in the order of its track: the frames that are alike otherwise.

    Tracks of one length are numbered from 0. If some are shorter, frames are missing, and the
    track that begins first says where: see `_by_windows`. The value of a rank is the smallest of
    its frames, or the rank itself where the numbers have no unit.

    Returns
    -------
    Feature or None
        None if a frame has no number, if two of one track have the same, or if it remains
        unclear which frames belong together.
    """
    numbers = _numbers(column)
    if len(numbers) < len(column):
        return None
    members: dict[Hashable, list[int]] = defaultdict(list)
    for frame in sorted(range(len(column)), key=numbers.__getitem__):
        members[tracks[frame]].append(frame)
    runs = [np.array([numbers[frame] for frame in run]) for run in members.values()]
    if any((np.diff(run) <= ABSOLUTE).any() for run in runs):
        return None
    alike = len({len(run) for run in runs}) == 1
    ranks = (_by_order if alike else _by_windows)(runs, source.kind)
    if ranks is None:
        return None
    labels = [0] * len(column)
    first: dict[int, float] = {}
    for run, rank in zip(members.values(), ranks, strict=True):
        for frame, label in zip(run, rank.tolist(), strict=True):
            labels[frame] = label
            first[label] = min(first.get(label, math.inf), numbers[frame])
    values = tuple(first[label] if source.unit else label for label in sorted(first))
    return Feature(source, tuple(labels), values, "rank")


def _by_order(runs: Sequence[np.ndarray], kind: str) -> list[np.ndarray] | None:
    """Rank tracks of one length, if their times are such that they can be trusted to be in order.

    Where a pace is measured at each place, its steps must be even: the time since a heartbeat
    that had nothing to do with the scan is not. What runs on through the scan must go from volume
    to volume: where tracks overlap, no rank begins before the last has ended.
    """
    table = np.array(sorted(run.tolist() for run in runs))
    if kind == "paced":
        in_order = _is_even(table)
    else:
        reached = np.maximum.accumulate(table[:, -1])
        groups = np.split(table, np.flatnonzero(table[1:, 0] > reached[:-1]) + 1)
        in_order = all((g[:, :-1].max(axis=0) <= g[:, 1:].min(axis=0)).all() for g in groups)
    return [np.arange(len(run)) for run in runs] if in_order else None


def _is_even(table: np.ndarray) -> bool:
    steps = np.diff(table)
    return not steps.size or bool((steps.max(axis=1) <= EVEN * steps.min(axis=1)).all())


def _by_windows(runs: Sequence[np.ndarray], _: str) -> list[np.ndarray] | None:
    """Rank tracks of several lengths by the one that begins first: its times start the volumes.

    Each track must have one frame at most in each volume, always about as far into it, so that a
    frame that is missing in the middle does not move the later ones.
    """
    clock = min(runs, key=lambda run: (run[0], -len(run), run.tolist()))
    if len(clock) < 2:
        return None
    shortest = np.diff(clock).min()
    ranks = [np.searchsorted(clock, run, side="right") - 1 for run in runs]
    for run, rank in zip(runs, ranks, strict=True):
        if np.ptp(run - clock[rank]) >= shortest / 2 or (np.diff(rank) == 0).any():
            return None
    return ranks
