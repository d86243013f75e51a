"""A patient whose sides can be told in any picture: bright shells in a body, more on some sides.

One shell lies to the right (R), two to the front (A), three to the head (S); none to the left,
the back and the feet. Made from patient coordinates alone, for any way of acquiring it. The shells
are pieces of spheres around the middle, so a plane through it that is turned by some 25 degrees
still meets all of those that are on its sides, each in one arc.
"""

import numpy as np
import synth

SHELLS = {"R": 1, "A": 2, "S": 3, "L": 0, "P": 0, "I": 0}
BODY, SHELL = 300, 1000
WINDOW = (500.0, 1000.0)
BODY_MM, SIDE_MM = 44.0, 96.0
NARROW = np.cos(np.radians(30))
CENTER = np.array([12.0, -31.0, 140.0])
"""Of the body, LPS millimetres; not at the origin, so that nothing is right by accident."""
_MARKS = (  # direction to the side, inner radii of its shells in mm, thickness
    ((-1, 0, 0), (28,), 8),
    ((0, -1, 0), (18, 31), 7),
    ((0, 0, 1), (14, 24, 34), 5.5),
)

AXIAL = ((1, 0, 0), (0, 1, 0))
SAGITTAL = ((0, 1, 0), (0, 0, -1))
CORONAL = ((1, 0, 0), (0, 0, -1))


def turned(directions, degrees):
    """Rotate row and column direction about x, then y, then z."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        one, two = [n for n in range(3) if n != axis]
        step = np.eye(3)
        step[one, one] = step[two, two] = np.cos(angle)
        step[one, two], step[two, one] = -np.sin(angle), np.sin(angle)
        matrix = step @ matrix
    return tuple(tuple(matrix @ direction) for direction in directions)


def mirrored(directions, rows, columns):
    return (tuple(np.multiply(rows, directions[0])), tuple(np.multiply(columns, directions[1])))


STRAIGHT = {
    "axial": AXIAL,
    "axial, slices from the head": mirrored(AXIAL, 1, -1),
    "axial, rows to the right": mirrored(AXIAL, -1, 1),
    "sagittal": SAGITTAL,
    "sagittal, from the right": mirrored(SAGITTAL, -1, 1),
    "coronal": CORONAL,
    "coronal, from the front": mirrored(CORONAL, -1, 1),
}
OBLIQUE = {
    "oblique axial": turned(AXIAL, (14, -9, 21)),
    "oblique sagittal": turned(SAGITTAL, (-12, 10, 17)),
    "oblique coronal": turned(CORONAL, (11, 15, -13)),
}
ALL = STRAIGHT | OBLIQUE
SHEAR = 0.25
"""Millimetres along the columns for each millimetre between slices, as of a tilted gantry."""


def value(points, *, inverted=False):
    """Return modality values at points (..., 3) in LPS millimetres."""
    away = points - CENTER
    radius = np.linalg.norm(away, axis=-1)
    values = np.where(radius < BODY_MM, BODY, 0)
    for side, starts, thick in _MARKS:
        near = away @ side > NARROW * radius
        for start in starts:
            values[near & (radius >= start) & (radius < start + thick)] = SHELL
    return SHELL - values if inverted else values


def series(folder, directions=AXIAL, *, spacing=(2.4, 1.6, 1.2), shear=0.0, backwards=False,
           inverted=False, edit=None, **more):  # fmt: skip
    """Write the phantom as a series; `spacing` (z, y, x) in mm. Returns a synth.Synth.

    `backwards` numbers the instances from the last slice to the first.
    """
    row, column = np.array(directions[0], float), np.array(directions[1], float)
    slant = np.cross(row, column) + shear * column
    steps = np.stack([slant, column, row], axis=1) * spacing
    slices, rows, columns = (round(SIDE_MM / size) for size in spacing)
    middle = (np.array([slices, rows, columns]) - 1) / 2
    origin = CENTER - steps @ middle

    def draw(dataset, index):
        places = np.stack(np.broadcast_arrays(index, *np.ogrid[:rows, :columns]), axis=-1)
        pixels = value(origin + places @ steps.T, inverted=inverted)
        dataset.PixelData = pixels.astype("<u2").tobytes()
        dataset.ImagePositionPatient = [round(x, 6) for x in origin + steps[:, 0] * index]
        if backwards:
            dataset.InstanceNumber = slices - index
        if inverted:
            dataset.PhotometricInterpretation = "MONOCHROME1"
        if edit:
            edit(dataset, index)

    return synth.series(
        folder, slices=slices, rows=rows, columns=columns, spacing=spacing, origin=tuple(origin),
        orientation=(*row, *column), intercept=0, window=WINDOW, edit=draw, **more,
    )  # fmt: skip


def beating(folder, **more):
    """Write the phantom at the first of two times, and nothing at the second."""
    uids = {"series_uid": "1.2.840.99.1", "study_uid": "1.2.840.99.2"}

    def at(number):
        def edit(dataset, index):
            dataset.TriggerTime = (0.0, 40.0)[number]
            if number:
                dataset.PixelData = bytes(len(dataset.PixelData))

        return edit

    made = [series(folder, seed=n, edit=at(n), modality="MR", **uids, **more) for n in range(2)]
    return made[0]
