"""Planes through a volume as radiologists hang them: cut, turned, in the patient's proportions."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sansfilm.errors import OptionError
from sansfilm.view.axis_values import label
from sansfilm.view.world import nearest_axes

if TYPE_CHECKING:
    from sansfilm.view.volume import Volume

_LETTERS = (("L", "R"), ("P", "A"), ("S", "I"))
"""Letters of the positive and negative direction of patient x, y and z (LPS)."""
_CLEAR = 0.25
"""A direction's smaller parts get a letter too from this cosine on."""
_REACH = 0.75
"""Uneven slices are drawn to the middle between them, at most this part of the usual distance."""
_ROWS = 1024
"""The most rows that uneven slices are drawn in."""

View = tuple[str, np.ndarray, float, tuple[str, str, str, str]]
"""Title, plane (rows, columns[, 3]), height of a pixel over its width, letters left right top
bottom. Where there is no slice the plane is masked."""

HANG = (  # title, patient axis of the rows and of the columns, whether rows run upwards
    ("axial", 1, 0, False),
    ("coronal", 2, 0, True),
    ("sagittal", 2, 1, True),
)
"""Axial and coronal seen with the patient's right on the left, sagittal with anterior on the left;
superior and anterior are up."""


def choose_places(volume: "Volume", at: Mapping[str, int]) -> dict[str, int]:
    """Return the index along each axis of which one picture shows one place; 0 unless given.

    Raises
    ------
    OptionError
        If there is no such axis or index.
    """
    sizes = dict(zip(volume.axes, volume.grids[0].shape, strict=True))
    placed = "czyx" if volume.affine_lps is not None else "cyx"
    further = {axis: size for axis, size in sizes.items() if axis not in placed}
    for axis, place in at.items():
        if axis not in further:
            there = ", ".join(further) or "none"
            raise OptionError(f"no axis {axis!r} to choose from; there are: {there}")
        if not 0 <= place < further[axis]:
            raise OptionError(f"{axis} must be 0 to {further[axis] - 1}, got {place}")
    return {axis: at.get(axis, 0) for axis in further}


def place_title(volume: "Volume", axis: str, place: int) -> str:
    """Return which place of an axis is shown, counted from 1, and what is there."""
    name = {"i": "image", "t": "time"}.get(axis, axis)
    size = volume.grids[0].shape[volume.axes.index(axis)]
    told = label(volume.attributes["axes_values"].get(axis), place)
    return f"{name} {place + 1} of {size}" + (f": {told}" if told else "")


def hang(
    volume: "Volume",
    level: int,
    affine: np.ndarray | None,
    at: Mapping[str, int] | None = None,
    cut: Mapping[str, int] | None = None,
) -> list[View]:
    """Return what one looks at: three planes through the patient, or images without a place."""
    if affine is None:
        return cut_images(volume, level, at or {})
    return cut_views(volume, level, affine, choose_places(volume, at or {}), cut or {})


def count_cuts(volume: "Volume", level: int, affine: np.ndarray) -> dict[str, int]:
    """Return through how many places of a level each plane can be cut, by its title."""
    axis_of, shape = nearest_axes(affine[:3, :3]), volume.grids[level].shape[-3:]
    return {title: shape[3 - axis_of[down] - axis_of[across]] for title, down, across, _ in HANG}


def cut_views(
    volume: "Volume",
    level: int,
    affine: np.ndarray,
    places: Mapping[str, int],
    cut: Mapping[str, int],
) -> list[View]:
    """Cut three planes of a level, at a place of the further axes.

    Each through the middle, or where `cut` says for its title: the number of the slice, counted
    to the left, the back or the head of the patient.
    """
    steps = affine[:3, :3]
    axis_of = nearest_axes(steps)
    array = volume.grids[level]
    shape = array.shape[-3:]
    absent = absent_slices(volume, level, places)
    views = []
    for title, down, across, upwards in HANG:
        rows, columns = axis_of[down], axis_of[across]
        through = 3 - rows - columns
        place: list[Any] = [places.get(axis, slice(None)) for axis in volume.axes]
        number = cut.get(title, shape[through] // 2)
        if title in cut and steps[3 - down - across, through] < 0:
            number = shape[through] - 1 - number
        place[through - 3] = number
        plane = _colour_last(volume, np.asarray(array[tuple(place)]))
        if through == 0 and absent[place[-3]]:
            plane, title = np.ma.array(plane, mask=True), f"{title}: slice missing"
        if through != 0:
            plane = np.ma.array(plane, mask=np.zeros(plane.shape, bool), copy=False)
            plane[absent] = np.ma.masked
        if rows > columns:
            plane = plane.swapaxes(0, 1)
        row_step, column_step = steps[:, rows], steps[:, columns]
        if through != 0 and "z" in volume.attributes["axes_values"]:
            along = 0 if rows == 0 else 1
            plane, step = _spread(plane, along, volume.attributes["axes_values"]["z"]["values"])
            row_step, column_step = (
                unit * (step / np.linalg.norm(unit)) if axis == 0 else unit
                for unit, axis in ((row_step, rows), (column_step, columns))
            )
        if (row_step[down] < 0) != upwards:
            plane, row_step = plane[::-1], -row_step
        if column_step[across] < 0:
            plane, column_step = plane[:, ::-1], -column_step
        letters = (
            _letters(-column_step), _letters(column_step),
            _letters(-row_step), _letters(row_step),
        )  # fmt: skip
        views.append((title, plane, _aspect(row_step, column_step), letters))
    return views


def cut_images(volume: "Volume", level: int, at: Mapping[str, int]) -> list[View]:
    """Return the first, the middle and the last image without a place in the patient.

    Only the chosen one where one is chosen.
    """
    array = volume.grids[level]
    places = choose_places(volume, at)
    stack = list(places)[-1]  # what runs through the images; the axes before it are chosen
    size = array.shape[volume.axes.index(stack)]
    spacing = volume.spacing_mm[-2:]
    aspect = float(spacing[0] / spacing[1]) if spacing[0] and spacing[1] else 1.0
    shown = [at[stack]] if stack in at else sorted({0, size // 2, size - 1})
    views = []
    for number in shown:
        chosen = {**places, stack: number}
        place = tuple(chosen.get(axis, slice(None)) for axis in volume.axes)
        plane = _colour_last(volume, np.asarray(array[place]))
        views.append((place_title(volume, stack, number), plane, aspect, ("",) * 4))
    return views


def absent_slices(volume: "Volume", level: int, places: Mapping[str, int]) -> np.ndarray:
    """Tell which slices of a level have no frame of level 0 below them; shape (z,)."""
    number = volume.axes.index("z")
    outer = tuple(places[axis] for axis in volume.axes[:number] if axis != "c")
    absent = np.zeros(volume.grids[0].shape[number], bool)
    for index in volume.attributes["missing"]:
        *before, slice_number = index if isinstance(index, list) else (index,)
        if not before or tuple(before) == outer:
            absent[slice_number] = True
    starts = np.arange(0, len(absent), int(volume.factors(level)[number]))
    return np.asarray(np.logical_and.reduceat(absent, starts))


def _colour_last(volume: "Volume", plane: np.ndarray) -> np.ndarray:
    return np.moveaxis(plane, 0, -1) if "c" in volume.axes else plane


def _aspect(row_step: np.ndarray, column_step: np.ndarray) -> float:
    """Return the height of a pixel over its width; the height of a leaning one is upright."""
    width = np.linalg.norm(column_step)
    along = column_step / width
    return float(np.linalg.norm(row_step - along * (row_step @ along)) / width)


def _spread(plane: np.ndarray, axis: int, places: list[float]) -> tuple[np.ndarray, float]:
    """Draw uneven slices where they are: rows of equal height, masked far from any slice.

    Returns
    -------
    plane : masked array
    step : float
        Height of a row, mm.
    """
    where = np.asarray(places)
    gaps = np.diff(where)
    reach = _REACH * float(np.median(gaps))
    edge = reach / (2 * _REACH)
    low, high = where[0] - edge, where[-1] + edge
    rows = min(_ROWS, int(np.ceil((high - low) / (gaps.min() / 2))))
    step = (high - low) / rows
    centers = low + (np.arange(rows) + 0.5) * step
    distance = np.abs(centers[:, None] - where)
    nearest = distance.argmin(axis=1)
    spread = np.ma.array(plane, copy=True).take(nearest, axis=axis)
    far = distance[np.arange(rows), nearest] > reach
    spread[(slice(None),) * axis + (far,)] = np.ma.masked
    return spread, float(step)


def _letters(direction: np.ndarray) -> str:
    """Return where a direction points: one letter, or more for an oblique one, clearest first."""
    parts = direction / np.linalg.norm(direction)
    order = np.argsort(-np.abs(parts))
    return "".join(
        _LETTERS[axis][int(parts[axis] < 0)] for axis in order if abs(parts[axis]) > _CLEAR
    )
