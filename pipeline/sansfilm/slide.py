"""Whole-slide images: tiles of a total pixel matrix, and the levels that a slide brings along."""

from dataclasses import dataclass

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class PixelMatrix:
    """The total pixel matrix that an instance has tiles of (PS3.3 C.8.12.4.1).

    `flavor` is the third value of Image Type: VOLUME, or LABEL, OVERVIEW, THUMBNAIL. `origin` is
    the centre of its first pixel and `orientation` the directions of a row and of a column, mm in
    the slide coordinate system. `plane_mm` is the distance of focal planes, and `frames_before`
    how many frames of a concatenation are in the instances before this one. `fill` is what pixels
    without a tile look like, one value for each sample.
    """

    rows: int
    columns: int
    flavor: str
    organization: str
    pyramid_uid: str
    concatenation_uid: str
    frames_before: int
    origin: tuple[float, float] | None
    orientation: tuple[float, ...] | None
    plane_mm: float | None
    fill: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Tile:
    """Where a frame lies in its matrix: its first pixel from 0, and what it is a picture of.

    `plane` is the height of the focal plane, mm; `path` names the optical path, or the segment
    of a segmentation by its number.
    """

    matrix: PixelMatrix
    row: int
    column: int
    plane: float
    path: str


@dataclass(frozen=True, slots=True)
class SlideLevel:
    """One resolution that the slide brings along: frames ``first:stop`` of the volume.

    `shape` and `tile` in pixels (rows, columns); `factors` is how many pixels of level 0 one
    pixel spans, not always a whole number.
    """

    shape: tuple[int, int]
    tile: tuple[int, int]
    factors: tuple[float, float]
    first: int
    stop: int


@dataclass(frozen=True, slots=True)
class Slide:
    """How tiles fill the levels of a volume.

    `lead` names the axis before all others, along `paths`; "" if there is none. `affine` maps
    (z, y, x, 1) of level 0 to millimetres in the slide coordinate system.
    """

    flavor: str
    organization: str
    lead: str
    paths: tuple[str, ...]
    planes: tuple[float, ...]
    levels: tuple[SlideLevel, ...]
    fill: tuple[float, ...]
    affine: Matrix | None

    def index_of(self, tile: Tile) -> tuple[int, ...]:
        """Return the index of a tile: along the leading axis if there is one, z, y and x."""
        lead = (self.paths.index(tile.path),) if self.lead else ()
        return *lead, self.planes.index(tile.plane), tile.row, tile.column

    def level_of(self, frame: int) -> int:
        """Return the number of the level that a frame of the volume belongs to."""
        return next(n for n, level in enumerate(self.levels) if frame < level.stop)

    def position_of(self, frame: int, tile: Tile) -> tuple[float, ...] | None:
        """Return the centre of a tile's first pixel in the slide coordinate system, mm."""
        if self.affine is None:
            return None
        factors = self.levels[self.level_of(frame)].factors
        corner = zip((tile.row, tile.column), factors, strict=True)
        y, x = (at * factor + (factor - 1) / 2 for at, factor in corner)
        index = self.planes.index(tile.plane), y, x, 1.0
        return tuple(sum(a * b for a, b in zip(row, index, strict=True)) for row in self.affine[:3])


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the frames of a slab of tiles go: their first (row, column) in its block.

    Tiles may reach over its edges. `fill` is what pixels without a tile hold.
    """

    corners: tuple[tuple[int, int], ...]
    fill: tuple[float, ...]
