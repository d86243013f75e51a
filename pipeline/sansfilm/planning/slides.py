"""Frames that are tiles -> plans of slides: which instances are levels of one pyramid.

The levels that a slide brings along become the levels of the volume, as they are: each is decoded
once, and none is made from another. What does not fit together stays apart.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from math import prod
from typing import Any

import numpy as np

from sansfilm.model import (
    Frame,
    Labels,
    Matrix,
    PixelMatrix,
    Segmentation,
    Slide,
    SlideLevel,
    Tile,
    Verdict,
    VolumePlan,
)
from sansfilm.options import Options
from sansfilm.planning.modality import plan_values
from sansfilm.planning.segmentation import (
    SEGMENT,
    Drawn,
    label_dtype,
    label_rescale,
    segments_overlap,
)
from sansfilm.planning.stacks import patient_of
from sansfilm.planning.volumes import plan_pictures, volume_id

_SLOPPY = 0.01
"""Widths of a slide in two of its levels may differ by this part, and by one pixel: vendors round
pixel spacing and cut off the last pixels."""
_SAME_MM = 1e-6
_FLAVORS = {"LABEL": "The label of a slide", "OVERVIEW": "The overview of a slide",
            "THUMBNAIL": "The thumbnail of a slide"}  # fmt: skip


def plan_slides(
    frames: Iterable[Frame], options: Options, drawn: Drawn | None = None
) -> list[VolumePlan]:
    """Plan frames that are tiles: one volume for each pyramid.

    A pyramid is the instances of one series and Pyramid UID that share pixel format, focal planes
    and optical paths, and whose widths agree. Instances that cover the same tiles, or do not agree
    with the largest one, are volumes of their own; labels, overviews and segmentations always are.

    Parameters
    ----------
    drawn : callable, optional
        As in `plan_segmentation`.
    """
    pyramids: dict[tuple[Hashable, ...], list[Frame]] = defaultdict(list)
    for frame in frames:
        pyramids[_pyramid(frame)].append(frame)
    return [
        _plan(levels, options, drawn)
        for key in sorted(pyramids, key=repr)
        for levels in _split_levels(pyramids[key])
    ]


def _tile(frame: Frame) -> Tile:
    assert frame.tile is not None
    return frame.tile


def _pyramid(frame: Frame) -> tuple[Hashable, ...]:
    spec, tile = frame.spec, _tile(frame)
    colour = spec.channels > 1
    alone = tile.matrix.flavor != "VOLUME" or frame.segmentation is not None
    return (
        frame.series_uid, frame.study_uid, patient_of(frame), frame.modality, frame.sop_class_uid,
        frame.unit, spec.pixel_kind, spec.bits_stored, "" if colour else spec.photometric,
        tile.path if colour else "",  # colour has an axis of its own already
        tile.matrix.pyramid_uid, tile.matrix.flavor, _instance(frame) if alone else "",
    )  # fmt: skip


def _instance(frame: Frame) -> str:
    return _tile(frame).matrix.concatenation_uid or frame.sop_instance_uid


def _split_levels(frames: Sequence[Frame]) -> list[list[list[Frame]]]:
    """Return pyramids, each as its levels, the largest first."""
    sizes: dict[tuple[int, int], list[Frame]] = defaultdict(list)
    for frame in frames:
        sizes[_tile(frame).matrix.rows, _tile(frame).matrix.columns].append(frame)
    levels = [sizes[size] for size in sorted(sizes, key=lambda size: (-prod(size), size))]
    if any(_overlap(level) for level in levels):
        instances: dict[str, list[Frame]] = defaultdict(list)
        for frame in frames:
            instances[_instance(frame)].append(frame)
        return [[instances[name]] for name in sorted(instances)]
    base, *others = levels
    fitting: list[list[Frame]] = []
    apart: list[list[list[Frame]]] = []
    for level in others:
        if _fits(base[0], level[0]) and _seen(level) == _seen(base):
            fitting.append(level)
        else:
            apart.append([level])
    return [[base, *fitting], *apart]


def _seen(level: Sequence[Frame]) -> set[tuple[str, float]]:
    return {(_tile(frame).path, _tile(frame).plane) for frame in level}


def _fits(base: Frame, level: Frame) -> bool:
    """Tell whether two levels show the same part of a slide."""
    factors, sizes = _factors(base, level), _size(level)
    return all(
        abs(size * factor - whole) <= factor + _SLOPPY * whole
        for size, factor, whole in zip(sizes, factors, _size(base), strict=True)
    )


def _factors(base: Frame, level: Frame) -> tuple[float, float]:
    """Return how many pixels of the base one pixel of a level spans down and across."""
    if base.pixel_spacing and level.pixel_spacing:
        pairs = zip(level.pixel_spacing, base.pixel_spacing, strict=True)
    else:
        pairs = zip(_size(base), _size(level), strict=True)
    down, across = (float(a / b) for a, b in pairs)
    return _whole(down), _whole(across)


def _whole(factor: float) -> float:
    """Return a factor without the last digits that a decimal spacing leaves."""
    nearest = round(factor)
    return float(nearest) if abs(factor - nearest) < 1e-6 * factor else factor


def _size(frame: Frame) -> tuple[int, int]:
    return _tile(frame).matrix.rows, _tile(frame).matrix.columns


def _overlap(level: Sequence[Frame]) -> bool:
    """Tell whether a pixel is in several tiles, or tiles are of several sizes."""
    rows, columns = level[0].spec.rows, level[0].spec.columns
    if any((frame.spec.rows, frame.spec.columns) != (rows, columns) for frame in level):
        return True
    tiles = [_tile(frame) for frame in level]
    return _meet([(tile.path, tile.plane, tile.row, tile.column) for tile in tiles], rows, columns)


def _meet(places: Iterable[tuple[str, float, int, int]], rows: int, columns: int) -> bool:
    """Tell whether two tiles of one size, path and plane have a pixel in common."""
    cells: dict[tuple[Hashable, ...], list[tuple[int, int]]] = defaultdict(list)
    for path, plane, row, column in places:
        # a tile of the same size that overlaps this one starts in its cell or in one beside it
        place = row // rows, column // columns
        for down in (-1, 0, 1):
            for across in (-1, 0, 1):
                near = cells.get((path, plane, place[0] + down, place[1] + across), ())
                if any(abs(y - row) < rows and abs(x - column) < columns for y, x in near):
                    return True
        cells[path, plane, *place].append((row, column))
    return False


def _plan(levels: Sequence[Sequence[Frame]], options: Options, drawn: Drawn | None) -> VolumePlan:
    if len(levels) == 1 and _overlap(levels[0]):
        return plan_pictures(levels[0], options, "Tiles of a slide overlap.")
    base = levels[0][0]
    about, matrix = base.segmentation, _tile(base).matrix
    paths = sorted({_tile(frame).path for frame in levels[0]})
    lead = "optical_path" if len(paths) > 1 else ""
    if about and about.kind != "LABELMAP":
        named, paths = paths, [str(segment.number) for segment in about.segments]
        if not set(named) <= set(paths):
            why = "Some frames name no segment, or one that is not there."
            return plan_pictures(levels[0], options, why)
        lead = "segment" if _several(levels[0], about, drawn) else ""
    frames: list[Frame] = []
    found: list[SlideLevel] = []
    for level in levels:
        first = len(frames)
        frames += sorted(level, key=_order)
        factors = _factors(base, level[0]) if level is not levels[0] else (1.0, 1.0)
        tile = level[0].spec.rows, level[0].spec.columns
        found.append(SlideLevel(_size(level[0]), tile, factors, first, len(frames)))
    labels = Labels(about, 1, (0, 0), None) if about else None
    dtype, rescale, padding = plan_values(frames)
    fill = (float(padding[0]),) if padding else matrix.fill
    if labels:
        dtype, rescale, padding = label_dtype(frames), label_rescale(labels.about), None
        fill = (float(labels.fill),)
    planes = sorted({_tile(frame).plane for frame in levels[0]})
    spacing_z = _plane_spacing(planes, matrix, base)
    slide = Slide(
        matrix.flavor, matrix.organization or "TILED_SPARSE", lead, tuple(paths), tuple(planes),
        tuple(found), fill, _affine(base, planes, spacing_z),
    )  # fmt: skip
    colour = base.spec.channels > 1 and not about
    axes = (*(lead,) * bool(lead), *("c",) * colour, "z", "y", "x")
    sizes = (*(len(paths),) * bool(lead), *(base.spec.channels,) * colour, len(planes))
    return VolumePlan(
        volume_id=volume_id(frames, options, [lead] if about else None),
        series_uid=base.series_uid, axes=axes, shape=(*sizes, *_size(base)), dtype=dtype,
        frames=tuple(frames), verdict=_verdict(slide, frames), affine_lps=None,
        spacing_mm=(*(None for _ in axes[:-3]), spacing_z, *(base.pixel_spacing or (None, None))),
        rescale=rescale, padding=padding, patient_key=patient_of(base),
        axes_values=_values(slide, spacing_z), labels=labels, slide=slide,
    )  # fmt: skip


def _several(level: Sequence[Frame], about: Segmentation, drawn: Drawn | None) -> bool:
    """Tell whether segments need an axis of their own: fractions, and what overlaps."""
    cells = [(tile.plane, tile.row, tile.column) for tile in map(_tile, level)]
    spec = level[0].spec
    # tiles of two segments that share some pixels only cannot be compared pixel by pixel
    askew = _meet([("", *cell) for cell in set(cells)], spec.rows, spec.columns)
    return about.kind == "FRACTIONAL" or askew or segments_overlap(level, cells, drawn)


def _values(slide: Slide, spacing_z: float | None) -> dict[str, Any]:
    """Return the values along the leading axis, and those of uneven focal planes."""
    values: dict[str, Any] = {}
    if slide.lead == "segment":
        numbers = [int(path) for path in slide.paths]
        values["segment"] = {"values": numbers, "unit": "", "keywords": [SEGMENT]}
    elif slide.lead:
        keywords = ["OpticalPathIdentifier"]
        values[slide.lead] = {"values": list(slide.paths), "unit": "", "keywords": keywords}
    if len(slide.planes) > 1 and spacing_z is None:
        unit = "" if slide.planes == tuple(range(len(slide.planes))) else "mm"  # only their order
        values["z"] = {"values": list(slide.planes), "unit": unit}
    return values


def _order(frame: Frame) -> tuple[str, float, int, int]:
    tile = _tile(frame)
    return tile.path, tile.plane, tile.row, tile.column


def _plane_spacing(planes: Sequence[float], matrix: PixelMatrix, first: Frame) -> float | None:
    """Return the distance of focal planes, the thickness of one; None if unknown or uneven."""
    if len(planes) == 1:
        return first.slice_thickness or None
    gaps = np.diff(planes)
    if matrix.organization == "TILED_FULL" and not matrix.plane_mm:
        return None
    return float(gaps.mean()) if np.ptp(gaps) <= _SAME_MM else None


def _affine(first: Frame, planes: Sequence[float], spacing_z: float | None) -> Matrix | None:
    """Map (z, y, x, 1) to millimetres in the slide coordinate system (PS3.3 C.8.12.2.1.1).

    None if origin, orientation or spacing are not told, or focal planes are not evenly spaced.
    """
    matrix, spacing = _tile(first).matrix, first.pixel_spacing
    if matrix.origin is None or matrix.orientation is None or spacing is None:
        return None
    if len(planes) > 1 and spacing_z is None:
        return None
    row, column = (np.array(matrix.orientation[at : at + 3]) for at in (0, 3))
    affine = np.eye(4)
    affine[:3, 0] = (0.0, 0.0, spacing_z or 1.0)
    affine[:3, 1], affine[:3, 2] = column * spacing[0], row * spacing[1]
    affine[:3, 3] = (*matrix.origin, planes[0])
    return tuple(tuple(map(float, line)) for line in affine + 0.0)


def _verdict(slide: Slide, frames: Sequence[Frame]) -> Verdict:
    first = frames[0]
    levels: list[dict[str, Any]] = []
    for level in slide.levels:
        tiles = [_tile(frame) for frame in frames[level.first : level.stop]]
        places = {(tile.path if slide.lead else "", tile.plane, tile.row, tile.column): tile
                  for tile in tiles}  # fmt: skip
        area = sum(prod(_inside(tile, level)) for tile in places.values())
        cells = (len(slide.paths) if slide.lead else 1) * len(slide.planes) * prod(level.shape)
        levels.append({
            "rows": level.shape[0], "columns": level.shape[1], "tile": list(level.tile),
            "factors": list(level.factors), "tiles": len(tiles), "covered": area / cells,
        })  # fmt: skip
    numbers: dict[str, Any] = {
        "organization": slide.organization, "flavor": slide.flavor, "levels": levels,
        "pixel_spacing_mm": first.pixel_spacing and list(first.pixel_spacing),
        "optical_paths": len(slide.paths), "focal_planes": len(slide.planes),
    }  # fmt: skip
    what = _FLAVORS.get(slide.flavor, "A slide")
    if about := first.segmentation:
        what = f"A slide's segmentation of {len(about.drawn)} segments"
        del numbers["optical_paths"]
        numbers |= {"grid": "own", "segments": len(about.drawn),
                    "overlap": slide.lead == "segment" and about.numbered}  # fmt: skip
    rows, columns = slide.levels[0].shape
    text = f"{what}: {rows} x {columns} pixels"
    if first.pixel_spacing:
        text += f" of {first.pixel_spacing[0] * 1000:.4g} µm"
    count = len(slide.levels)
    text += " in 1 level." if count == 1 else f" in {count} levels of its own."
    if slide.lead == "optical_path":
        text += f" {len(slide.paths)} optical paths."
    if len(slide.planes) > 1:
        text += f" {len(slide.planes)} focal planes."
    if levels[0]["covered"] < 1 and about is None:
        text += f" Tiles cover {100 * levels[0]['covered']:.4g} % of level 0; the rest is filled."
    return Verdict("tiled", numbers, text)


def _inside(tile: Tile, level: SlideLevel) -> tuple[int, int]:
    """Return how many rows and columns of a tile are inside of the matrix."""
    down, across = (
        min(at + edge, size) - max(at, 0)
        for at, edge, size in zip((tile.row, tile.column), level.tile, level.shape, strict=True)
    )
    return down, across
