"""What a segmentation says of its segments, and how its frames become an array of labels."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One segment of a segmentation: its number, names, how it was made, its colour in sRGB."""

    number: int
    label: str
    category: str
    type: str
    algorithm: str
    rgb: tuple[int, int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmentation:
    """What an instance says of its segments, in the order of their numbers.

    `kind` is BINARY, FRACTIONAL or LABELMAP; of fractions `maximum` stands for 1, and
    `fractional_type` is PROBABILITY or OCCUPANCY. `references` are the series that it was drawn
    on. `background` is the value outside of all segments, None for a label map that names none.
    """

    kind: str
    fractional_type: str
    maximum: int
    segments: tuple[Segment, ...]
    references: tuple[str, ...]
    background: int | None = 0

    @property
    def drawn(self) -> tuple[Segment, ...]:
        """The segments, without one that describes the background."""
        return tuple(each for each in self.segments if each.number != self.background)

    @property
    def numbered(self) -> bool:
        """Whether voxels hold the numbers of segments, not fractions."""
        return self.kind != "FRACTIONAL"


@dataclass(frozen=True, slots=True)
class Labels:
    """How the frames of a segmentation fill an array whose other voxels hold `fill`.

    Each cell has `per_cell` frames, painted over each other: all segments, or one. Their first
    pixel comes to `corner` (row, column). `source` is the key of the volume whose grid it is.
    """

    about: Segmentation
    per_cell: int
    corner: tuple[int, int]
    source: str | None

    @property
    def value_range(self) -> tuple[float, float]:
        """What voxels may hold: what they do hold is not known before all frames are drawn."""
        about = self.about
        largest = about.segments[-1].number if about.numbered else about.maximum
        return 0.0, float(max(largest, self.fill))

    @property
    def fill(self) -> int:
        """What voxels hold where no frame draws anything."""
        return self.about.background or 0

    @property
    def method(self) -> str:
        """How levels are reduced: numbers by mode, fractions by mean."""
        return "mode" if self.about.numbered else "mean"
