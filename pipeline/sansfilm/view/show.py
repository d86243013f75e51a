"""Axial, coronal and sagittal pictures with orientation letters and the patient's proportions."""

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from sansfilm.view.windows import choose_window, full_range, to_picture

if TYPE_CHECKING:
    from sansfilm.view.volume import Volume

_LETTERS = (("L", "R"), ("P", "A"), ("S", "I"))
"""Letters of the positive and negative direction of patient x, y and z (LPS)."""
_CLEAR = 0.25
"""A direction's smaller parts get a letter too from this cosine on."""
_FINE = 512
"""Pictures are drawn from the first level whose planes are at most this wide."""


class Picture(Figure):
    """A figure that notebooks draw, though nobody has imported pyplot."""

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.savefig(stream, format="png")
        return stream.getvalue()


def show(volume: "Volume", window: Any, level: int | None) -> Picture:
    """See Volume.show."""
    if level is None:
        level = next(
            (n for n, array in enumerate(volume.levels) if max(array.shape[1:]) <= _FINE),
            len(volume.levels) - 1,
        )
    volume.factors(level)  # checks the level
    chosen = choose_window(volume, window)
    affine = volume.affine(level)
    views = _unplaced(volume, level) if affine is None else _views(volume, level, affine)
    figure = Picture(figsize=(4.2 * len(views), 4.8), facecolor="black", layout="constrained")
    axes = figure.subplots(1, len(views), squeeze=False, gridspec_kw={"wspace": 0.08})[0]
    for axis, (title, plane, aspect, letters) in zip(axes, views, strict=True):
        picture = to_picture(volume, plane, chosen or full_range(volume))
        axis.imshow(picture, cmap="gray", vmin=0, vmax=255, aspect=aspect)
        axis.set_title(title, color="white", fontsize=10)
        axis.set_axis_off()
        places = ((0.03, 0.5), (0.97, 0.5), (0.5, 0.97), (0.5, 0.03))
        for letter, (x, y) in zip(letters, places, strict=True):
            axis.text(
                x, y, letter, color="yellow", fontsize=11, transform=axis.transAxes,
                ha="center", va="center",
                bbox={"facecolor": "black", "alpha": 0.5, "linewidth": 0, "pad": 1},
            )  # fmt: skip
    words = "own range" if chosen is None else f"C {chosen[0]:g} W {chosen[1]:g} {volume.unit}"
    figure.suptitle(
        f"{volume.modality}  {volume.verdict.code}  {words.rstrip()}   not for clinical use",
        color="0.7",
        fontsize=9,
    )
    return figure


View = tuple[str, np.ndarray, float, tuple[str, str, str, str]]
"""Title, plane (rows, columns), height of a pixel over its width, letters left right top bottom."""


def _views(volume: "Volume", level: int, affine: np.ndarray) -> list[View]:
    """Cut the three planes through the middle, as radiologists hang them.

    Axial and coronal seen with the patient's right on the left, sagittal with anterior on the
    left; superior and anterior are up.
    """
    steps = affine[:3, :3]
    axis_of = _nearest_axes(steps)
    array = volume.levels[level]
    hang = (  # title, patient axis of the rows and of the columns, whether rows run upwards
        ("axial", 1, 0, False),
        ("coronal", 2, 0, True),
        ("sagittal", 2, 1, True),
    )
    views = []
    for title, down, across, upwards in hang:
        rows, columns = axis_of[down], axis_of[across]
        through = 3 - rows - columns
        place: list[Any] = [slice(None)] * 3
        place[through] = array.shape[through] // 2
        plane = np.asarray(array[tuple(place)])
        if rows > columns:
            plane = plane.T
        row_step, column_step = steps[:, rows], steps[:, columns]
        if (row_step[down] < 0) != upwards:
            plane, row_step = plane[::-1], -row_step
        if column_step[across] < 0:
            plane, column_step = plane[:, ::-1], -column_step
        aspect = float(np.linalg.norm(row_step) / np.linalg.norm(column_step))
        letters = (
            _letters(-column_step), _letters(column_step),
            _letters(-row_step), _letters(row_step),
        )  # fmt: skip
        views.append((title, plane, aspect, letters))
    return views


def _unplaced(volume: "Volume", level: int) -> list[View]:
    array = volume.levels[level]
    spacing = volume.spacing_mm[1:]
    aspect = float(spacing[0] / spacing[1]) if spacing[0] and spacing[1] else 1.0
    places = sorted({0, array.shape[0] // 2, array.shape[0] - 1})
    return [
        (f"image {place + 1} of {array.shape[0]}", np.asarray(array[place]), aspect, ("",) * 4)
        for place in places
    ]


def _nearest_axes(steps: np.ndarray) -> list[int]:
    """Return for each patient axis (x, y, z) the array axis that runs most nearly along it."""
    strength = np.abs(steps / np.linalg.norm(steps, axis=0))
    found = [0, 0, 0]
    for _ in range(3):
        patient, axis = np.unravel_index(int(np.argmax(strength)), (3, 3))
        found[int(patient)] = int(axis)
        strength[patient, :] = -1
        strength[:, axis] = -1
    return found


def _letters(direction: np.ndarray) -> str:
    """Return where a direction points: one letter, or more for an oblique one, clearest first."""
    parts = direction / np.linalg.norm(direction)
    order = np.argsort(-np.abs(parts))
    return "".join(
        _LETTERS[axis][int(parts[axis] < 0)] for axis in order if abs(parts[axis]) > _CLEAR
    )
