"""Frames -> families: what has to be planned together, so that the rest need not be in memory.

Frames of one series do; so do series that share a SOP Instance UID, which only one of them can
have, and a segmentation with the series that it was drawn on.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import batched, chain, groupby
from typing import Self

import numpy as np

from sansfilm.model import Frame
from sansfilm.spool import ROOM, Spool

_FILES = 64
"""Files of a series that are put aside together: they share much of what they say."""


class Families:
    """All frames of a run. Iterating gives the families, sorted by their first series.

    Parameters
    ----------
    room : int, optional
        Frames that are kept in memory.
    """

    def __init__(self, room: int = ROOM) -> None:
        self._frames = Spool[Sequence[Frame]](room)
        self._room = room
        self._series: dict[str, int] = {}
        self._series_of = array("Q")
        """By part of the spool."""
        self._instances = array("q")
        self._instances_of = array("Q")
        """Which series each instance is of."""
        self._references: list[tuple[str, str]] = []

    def add(self, files: Iterable[Sequence[Frame]]) -> None:
        """Add the frames of each of these files, which are of one series each."""
        for series_uid, same in groupby(files, key=lambda frames: frames[0].series_uid):
            number = self._series.setdefault(series_uid, len(self._series))
            for some in batched(same, _FILES):
                for file in some:
                    first = file[0]
                    self._instances.append(hash(first.sop_instance_uid))
                    self._instances_of.append(number)
                    if first.segmentation:
                        wanted = first.segmentation.references
                        self._references += [(series_uid, uid) for uid in wanted]
                frames = list(chain.from_iterable(some))
                self._frames.append(frames, len(frames))
                self._series_of.append(number)

    @property
    def room(self) -> int:
        """How many frames of plans may stay in memory: none once frames had to be put aside."""
        return self._room if self._frames.all_here else 0

    def frames(self) -> Iterator[Frame]:
        """Yield all frames, in the order in which they were added."""
        return chain.from_iterable(self._frames)

    def __iter__(self) -> Iterator[list[Frame]]:
        parts: dict[int, list[int]] = defaultdict(list)
        for part, series in enumerate(self._series_of):
            parts[series].append(part)
        for family in self._related():
            numbers = sorted(number for series in family for number in parts[series])
            yield [frame for number in numbers for frame in self._frames[number]]

    def _related(self) -> list[list[int]]:
        """Return the series of each family."""
        parent = list(range(len(self._series)))

        def oldest(series: int) -> int:
            while parent[series] != series:
                parent[series] = series = parent[parent[series]]
            return series

        for one, other in self._links():
            parent[oldest(one)] = oldest(other)
        families: dict[int, list[int]] = defaultdict(list)
        for uid in sorted(self._series):
            families[oldest(self._series[uid])].append(self._series[uid])
        return list(families.values())

    def _links(self) -> Iterator[tuple[int, int]]:
        """Yield pairs of related series. Two UIDs of one hash only make a larger family."""
        instances = np.frombuffer(self._instances, np.int64)
        series = np.frombuffer(self._instances_of, np.uint64)
        order = np.argsort(instances)
        instances, series = instances[order], series[order]
        shared = (instances[1:] == instances[:-1]) & (series[1:] != series[:-1])
        yield from zip(series[:-1][shared].tolist(), series[1:][shared].tolist(), strict=True)
        for series_uid, wanted in self._references:
            if wanted in self._series:
                yield self._series[series_uid], self._series[wanted]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._frames.__exit__(*exc)
