"""Which attributes tell the frames at one place apart, and which of them make one axis."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from sansfilm.planning.candidates import (
    COMPONENT,
    INSTANCE,
    MEASURED,
    MOMENTS,
    QUALIFIERS,
    Source,
    Value,
    other_sources,
    read_column,
)
from sansfilm.planning.features import Feature, by_rank, by_value

Levels = tuple[int, ...]

PRESENT = 3 / 4
"""Part of a volume that must be there."""


@dataclass(frozen=True)
class Stack:
    """Frames of one grid: the index of the slice position of each, and what each says of itself."""

    places: tuple[int, ...]
    frames: tuple[Mapping[str, Value], ...]

    @cached_property
    def distinct(self) -> tuple[int, ...]:
        """Return the places that occur, ascending."""
        return tuple(sorted(set(self.places)))

    @cached_property
    def per_place(self) -> tuple[int, int]:
        """Return the smallest and the largest number of frames at one place."""
        counts = Counter(self.places).values()
        return min(counts, default=0), max(counts, default=0)

    @cached_property
    def keywords(self) -> set[str]:
        """Return the attributes that occur."""
        return {keyword for values in self.frames for keyword in values}

    def column(self, source: Source) -> list[Value | None]:
        """Return what an attribute is of each frame."""
        return read_column(self.frames, source.keyword)

    def feature(self, source: Source) -> Feature | None:
        """Return the levels of an attribute, None if it has more of them than a place has frames.

        Of what is stated, no place needs to have all.
        """
        most = self.per_place[1]
        limit = int(most / PRESENT) if source.kind == "stated" else most
        return by_value(source, self.column(source), limit)

    def levels(self, features: Sequence[Feature]) -> list[Levels]:
        """Return the levels of each frame."""
        columns = [feature.labels for feature in features]
        return list(zip(*columns, strict=True)) if columns else [()] * len(self.places)

    def cells(self, labels: Iterable[Hashable]) -> set[tuple[Hashable, int]]:
        """Return the pairs of label and place that occur."""
        return set(zip(labels, self.places, strict=True))


def arrange_frames(stack: Stack) -> tuple[tuple[Feature, ...], ...]:
    """Return the attributes of each further axis, time first; empty if they do not do.

    With them, no two frames share a cell. They are the first that do, in an order that goes from
    what says most to what says least.
    """
    told: list[Feature] = []
    for qualifiers, moments in _steps(stack.keywords):
        told = _refine(stack, told, qualifiers)
        for moment in _moments(stack, told, moments):
            axes = _axes(stack, told, moment)
            if axes and _is_filled(stack, told, moment):
                return axes
    return ()


def _steps(keywords: set[str]) -> Iterator[tuple[Sequence[Source], Sequence[Source]]]:
    """Yield what joins the attributes that tell frames apart, and what is then tried as time."""
    others = other_sources(keywords)
    moments = [*MOMENTS, *(source for source in others if source.name == "t")]
    yield QUALIFIERS, moments
    yield [source for source in others if source.name != "t"], moments
    yield (), MEASURED
    for moment in moments:
        yield (moment,), [*moments, *MEASURED]
    yield (), (INSTANCE,)


def _refine(stack: Stack, told: list[Feature], sources: Sequence[Source]) -> list[Feature]:
    """Add each attribute that tells frames apart that were alike, the same at every place."""
    for source in sources:
        if source.keyword in stack.keywords or source is COMPONENT:
            feature = stack.feature(source)
            if feature is None or len(feature.values) < 2:
                continue
            cells = stack.cells(stack.levels([*told, feature]))
            before = stack.cells(stack.levels(told))
            filled = Counter(levels for levels, _ in cells).values()
            if len(cells) > len(before) and _nearly_all(n / len(stack.distinct) for n in filled):
                told = [*told, feature]
    return told


def _nearly_all(parts: Iterable[float]) -> bool:
    """Whether nearly all of each volume is there, but for one that was interrupted."""
    least, *others = sorted(parts)
    enough = 0 if len(others) > 1 else 1 / 2
    return least >= enough and all(part >= PRESENT for part in others)


def _moments(
    stack: Stack, told: Sequence[Feature], sources: Sequence[Source]
) -> Iterator[Feature | None]:
    """Yield what may tell the rest apart: nothing, shared values, then orders at each place."""
    yield None
    sources = [source for source in sources if source.keyword in stack.keywords]
    for source in sources:
        if source is not INSTANCE and (feature := stack.feature(source)):
            yield feature
    levels = stack.levels(told)
    tracks = list(zip(stack.places, levels, strict=True))
    for source in sources:
        if source.kind == "stated":
            continue
        column = stack.column(source)
        if feature := by_rank(source, column, tracks):
            yield _as_time(stack, feature)
        if told and (feature := _rank_each(stack, source, column, levels)):
            yield _as_time(stack, feature)


def _rank_each(
    stack: Stack, source: Source, column: Sequence[Value | None], levels: Sequence[Levels]
) -> Feature | None:
    """Rank each kind of frame by itself: there need not be as many of each (b = 0)."""
    kinds: dict[Levels, list[int]] = defaultdict(list)
    for frame, kind in enumerate(levels):
        kinds[kind].append(frame)
    labels = [0] * len(column)
    for frames in kinds.values():
        feature = by_rank(source, [column[i] for i in frames], [stack.places[i] for i in frames])
        if feature is None:
            return None
        for frame, label in zip(frames, feature.labels, strict=True):
            labels[frame] = label
    return Feature(source, tuple(labels), tuple(range(max(labels) + 1)), "rank")


def _as_time(stack: Stack, feature: Feature) -> Feature:
    """Let instance order be time when so many temporal positions were prescribed."""
    if feature.source is not INSTANCE:
        return feature
    prescribed = read_column(stack.frames, "NumberOfTemporalPositions")
    if any(not isinstance(n, float) or n < len(feature.values) for n in prescribed):
        return feature
    return replace(feature, source=replace(INSTANCE, name="t"))


def _axes(
    stack: Stack, told: Sequence[Feature], moment: Feature | None
) -> tuple[tuple[Feature, ...], ...]:
    """Share the attributes out to one or two axes; empty if they leave frames alike."""
    features = (*told, moment) if moment else tuple(told)
    if not features or len(stack.cells(stack.levels(features))) < len(stack.places):
        return ()
    if not told or moment is None:
        return (features,)
    kinds: dict[int, set[Levels]] = defaultdict(set)
    ranks: dict[Levels, set[int]] = defaultdict(set)
    for kind, label in zip(stack.levels(told), moment.labels, strict=True):
        kinds[label].add(kind)
        ranks[kind].add(label)
    *before, last = (len(kinds[label]) == len(ranks) for label in sorted(kinds))
    if moment.source.name == "t" and all(before) and (last or len(before) >= 2):
        return (moment,), tuple(told)
    counted = all(found == set(range(len(found))) for found in ranks.values())
    return (features,) if moment.by == "value" or counted else ()


def _is_filled(stack: Stack, told: Sequence[Feature], moment: Feature | None) -> bool:
    """Whether each moment, or without one each kind of frame, is there at nearly every place."""
    kinds = stack.levels(told)
    labels = moment.labels if moment else kinds
    of_each: dict[Hashable, set[Levels]] = defaultdict(set)
    for label, kind in zip(labels, kinds, strict=True):
        of_each[label].add(kind)
    places = len(stack.distinct)
    return _nearly_all(n / (places * len(of_each[label])) for label, n in Counter(labels).items())
