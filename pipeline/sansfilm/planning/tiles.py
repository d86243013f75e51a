"""Where the frames of a tiled image lie in their total pixel matrix (PS3.3 C.7.6.17.3)."""

from collections.abc import Sequence

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import FrameFacts, FrameSpec, PixelMatrix, Segmentation, Tile
from sansfilm.options import Budgets
from sansfilm.planning.facts import read_orientation
from sansfilm.planning.items import Item
from sansfilm.planning.segments import to_srgb

_ROW, _COLUMN = "RowPositionInTotalImagePixelMatrix", "ColumnPositionInTotalImagePixelMatrix"
_WHITE = 255


def read_tiles(
    top: Item,
    facts: Sequence[FrameFacts],
    spec: FrameSpec,
    about: Segmentation | None,
    budgets: Budgets,
) -> Sequence[Tile | None]:
    """Return the tile that each frame is; None for each frame of an image that is not tiled.

    Parameters
    ----------
    about : Segmentation, optional
        Of a segmentation: its segments take the place of optical paths.

    Raises
    ------
    BadInstanceError
        BAD_VALUE for a matrix that cannot be, for tiles outside of it, and if the number of
        frames is not that of the tiles of a TILED_FULL one; BUDGET.
    """
    if "TotalPixelMatrixColumns" not in top and "TotalPixelMatrixRows" not in top:
        return [None] * len(facts)
    matrix = _read_matrix(top, facts, spec, budgets)
    name = "OpticalPathIdentifier"
    if about is not None:
        name = "" if about.kind == "LABELMAP" else "ReferencedSegmentNumber"
    sparse = [_ROW in each.extra or _COLUMN in each.extra for each in facts]
    if matrix.organization == "TILED_FULL" or not any(sparse):
        return _fill(matrix, spec, len(facts), _paths(top, about), _planes(top))
    if not all(sparse):
        raise BadInstanceError(ProblemCode.BAD_VALUE, "some frames are tiles and some are not")
    return [_read_tile(matrix, each, spec, str(each.axes.get(name) or "")) for each in facts]


def _read_matrix(
    top: Item, facts: Sequence[FrameFacts], spec: FrameSpec, budgets: Budgets
) -> PixelMatrix:
    rows, columns = (_count(top, f"TotalPixelMatrix{name}") for name in ("Rows", "Columns"))
    if rows * columns > budgets.matrix_pixels:
        message = f"a total pixel matrix of {rows} x {columns} pixels"
        raise BadInstanceError(ProblemCode.BUDGET, message)
    origin = None
    for item in top.items("TotalPixelMatrixOriginSequence"):
        at = [item.number(f"{axis}OffsetInSlideCoordinateSystem") for axis in "XY"]
        if at[0] is not None and at[1] is not None:
            origin = at[0], at[1]
    frames_before = int(next(iter(top.numbers("ConcatenationFrameOffsetNumber")), 0))
    between = facts[0].extra.get("SpacingBetweenSlices")
    types = top.tokens("ImageType")
    return PixelMatrix(
        rows, columns, types[2] if len(types) > 2 else "VOLUME",
        top.code("DimensionOrganizationType"), top.token("PyramidUID"),
        top.token("ConcatenationUID"), frames_before, origin,
        read_orientation(top, "ImageOrientationSlide"), between or None, _fill_value(top, spec),
    )  # fmt: skip


def _fill_value(top: Item, spec: FrameSpec) -> tuple[float, ...]:
    """Return Recommended Absent Pixel CIELab Value; else white, or 0 of gray."""
    if spec.channels == 1:
        return (0.0,)
    colour = top.numbers("RecommendedAbsentPixelCIELabValue")
    rgb = to_srgb(colour) if len(colour) == 3 else (_WHITE,) * 3
    bits = spec.bits_stored if spec.lut is None else spec.lut.bits
    return tuple(float(round(value * ((1 << bits) - 1) / _WHITE)) for value in rgb)


def _paths(top: Item, about: Segmentation | None) -> list[str]:
    if about is None:
        paths = [item.text("OpticalPathIdentifier") for item in top.items("OpticalPathSequence")]
        return paths or [""] * _count(top, "NumberOfOpticalPaths", 1)
    return [""] if about.kind == "LABELMAP" else [str(each.number) for each in about.segments]


def _planes(top: Item) -> int:
    return _count(top, "TotalPixelMatrixFocalPlanes", 1)


def _fill(
    matrix: PixelMatrix, spec: FrameSpec, count: int, paths: Sequence[str], planes: int
) -> list[Tile]:
    """Lay tiles side by side: along a row, row by row, plane by plane, path by path."""
    down, across = -(-matrix.rows // spec.rows), -(-matrix.columns // spec.columns)
    first = matrix.frames_before
    whole = down * across * planes * len(paths)
    if first < 0 or first + count > whole or (not matrix.concatenation_uid and count != whole):
        message = f"{count} frames where {whole} tiles fill the total pixel matrix"
        raise BadInstanceError(ProblemCode.BAD_VALUE, message)
    tiles = []
    for number in range(first, first + count):
        rest, column = divmod(number, across)
        rest, row = divmod(rest, down)
        path, plane = divmod(rest, planes)
        height = plane * (matrix.plane_mm or 0.0)
        if planes > 1 and not matrix.plane_mm:
            height = float(plane)  # their order is all that is known
        at = row * spec.rows, column * spec.columns
        tiles.append(Tile(matrix, *at, height, paths[path]))
    return tiles


def _read_tile(matrix: PixelMatrix, facts: FrameFacts, spec: FrameSpec, path: str) -> Tile:
    row, column = facts.extra.get(_ROW), facts.extra.get(_COLUMN)
    if not isinstance(row, int | float) or not isinstance(column, int | float):
        raise BadInstanceError(ProblemCode.BAD_VALUE, "a tile without a row or a column")
    row, column = int(row) - 1, int(column) - 1
    inside = -spec.rows < row < matrix.rows and -spec.columns < column < matrix.columns
    if not inside:
        raise BadInstanceError(ProblemCode.BAD_VALUE, "a tile outside of the total pixel matrix")
    height = facts.axes.get("ZOffsetInSlideCoordinateSystem") or 0.0
    plane = round(float(height) / 1000, 9)  # micrometres
    return Tile(matrix, row, column, plane, path)


def _count(top: Item, keyword: str, default: int = 0) -> int:
    found = top.need_floats(keyword, 1)
    count = default if found is None else int(found[0])
    if count < 1:
        raise BadInstanceError(ProblemCode.BAD_VALUE, f"{keyword} is not a positive number")
    return count
