"""Looks at pictures of the phantom: on which side its shells are, and which yellow letter is there.

Nothing is known here of who drew them: a panel is a grey disc with bright shells in it, and letters
are read by their shapes.
"""

import functools

import matplotlib.font_manager
import numpy as np
from phantom import SHELLS
from PIL import Image, ImageDraw, ImageFont

_LETTERS = "RLAPSI"
_SHAPE = (20, 14)
SIDES = {"left": (0, -1), "right": (0, 1), "top": (-1, 0), "bottom": (1, 0)}


def components(mask, least=1):
    """Return the connected parts of a mask as arrays of (row, column), the largest first."""
    left = mask.copy()
    found = []
    for start in np.argwhere(mask):
        if not left[tuple(start)]:
            continue
        left[tuple(start)] = False
        part, at = [tuple(start)], 0
        while at < len(part):
            row, column = part[at]
            at += 1
            for near in ((row - 1, column), (row + 1, column), (row, column - 1),
                         (row, column + 1)):  # fmt: skip
                if (0 <= near[0] < mask.shape[0] and 0 <= near[1] < mask.shape[1]
                        and left[near]):  # fmt: skip
                    left[near] = False
                    part.append(near)
        if len(part) >= least:
            found.append(np.array(part))
    return sorted(found, key=len, reverse=True)


def _normal(glyph):
    """Return a glyph (values 0 to 1) cut out and scaled to one size, and its width over height."""
    mask = glyph > 0.3
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    cut = glyph[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scaled = Image.fromarray((cut * 255).astype(np.uint8)).resize(_SHAPE[::-1], Image.BILINEAR)
    return np.asarray(scaled) / 255.0, cut.shape[1] / cut.shape[0]


@functools.cache
def _shapes():
    found = []
    for weight in ("normal", "bold"):
        path = matplotlib.font_manager.findfont(
            matplotlib.font_manager.FontProperties(family="DejaVu Sans", weight=weight)
        )
        font = ImageFont.truetype(path, 60)
        for letter in _LETTERS:
            picture = Image.new("L", (120, 120))
            ImageDraw.Draw(picture).text((20, 20), letter, fill=255, font=font)
            found.append((letter, *_normal(np.asarray(picture) / 255.0)))
    return found


def read_letter(glyph):
    """Return which letter a glyph (values 0 to 1) is."""
    shape, wide = _normal(glyph)
    if wide < 0.4:
        return "I"
    scores = [
        (float(((shape - known) ** 2).mean()), letter)
        for letter, known, _ in _shapes()
        if letter != "I"
    ]
    letter = min(scores)[1]
    if letter in "PR":  # fonts differ more than these two do, but for the leg
        letter = "R" if shape[13:, 7:].max() > 0.5 else "P"
    return letter


def letters(picture):
    """Return the yellow letters of a picture (rows, columns, 3), as (letter, (row, column))."""
    values = picture.astype(float) / 255
    yellow = np.clip(values[..., :2].min(axis=-1) - values[..., 2], 0, 1)
    found = []
    for part in components(yellow > 0.2, least=8):
        low, high = part.min(axis=0), part.max(axis=0)
        if not 7 <= high[0] - low[0] <= 60 or high[1] - low[1] > 60:
            continue
        glyph = yellow[low[0] : high[0] + 1, low[1] : high[1] + 1]
        found.append((read_letter(glyph), part.mean(axis=0)))
    return found


def _discs(picture, body=35, least=2000):
    coloured = (picture.max(axis=-1).astype(int) - picture.min(axis=-1)) > 40
    return components((picture.max(axis=-1) > body) & ~coloured, least=least)


def panels(picture, *, body=35, shell=191, least=2000):
    """Return the discs of a picture as (center, radius, shells), each shell (row, column)."""
    found = []
    for part in _discs(picture, body, least):
        low, high = part.min(axis=0), part.max(axis=0)
        mask = np.zeros(picture.shape[:2], bool)
        mask[tuple(part.T)] = True
        bright = components(mask & (picture.max(axis=-1) >= shell), least=12)
        shells = [blob.mean(axis=0) for blob in bright]
        found.append(((low + high) / 2, float((high - low).mean()) / 2, shells))
    return found


def count_sides(center, shells):
    """Return how many shells lie to each side of a center."""
    counts = dict.fromkeys(SIDES, 0)
    for shell in shells:
        away = shell - center
        counts[max(SIDES, key=lambda side: float(away @ SIDES[side]))] += 1
    return counts


def read_panels(picture, **grey):
    """Return for each disc with letters: letter and number of shells on each side."""
    discs = panels(picture, **grey)
    found = [{} for _ in discs]
    counts = [count_sides(center, shells) for center, _, shells in discs]
    last = {}
    for letter, place in sorted(letters(picture), key=lambda found: found[1][1]):
        away = [np.linalg.norm((place - center) / radius) for center, radius, _ in discs]
        n = int(np.argmin(away))
        step = place - discs[n][0]
        side = max(SIDES, key=lambda name: float(step @ SIDES[name]))
        before = last.get((n, side))
        last[n, side] = place
        if before is not None:  # of an oblique direction, whose clearest letter is the first
            assert np.abs(place - before).max() < 25, f"two letters at the {side} of one panel"
            continue
        found[n][side] = (letter, counts[n][side])
    return [sides for sides in found if sides]


def check(picture, **grey):
    """Assert that the picture has an axial, a coronal and a sagittal panel, each labelled right."""
    found = read_panels(picture, **grey)
    told = {"".join(sorted(letter for letter, _ in sides.values())) for sides in found}
    assert told == {"ALPR", "ILRS", "AIPS"}, found
    for sides in found:
        assert len(sides) == 4
        for letter, shells in sides.values():
            assert shells == SHELLS[letter], found
    return found


def outlines(picture, **grey):
    """Return the height and width of each disc that has shells in it."""
    return [
        tuple(part.max(axis=0) - part.min(axis=0))
        for part in _discs(picture, **grey)
        if (picture[tuple(part.T)].max(axis=-1) > 190).any()
    ]


def body_grey(pictures):
    """Return the grey of the body, the most frequent one of a disc, alike in all pictures."""
    found = set()
    for picture in pictures:
        for part in _discs(picture)[:1]:
            found.add(int(np.bincount(picture[tuple(part.T)].max(axis=-1)).argmax()))
    (grey,) = found
    return grey
