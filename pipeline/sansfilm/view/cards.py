"""What a notebook shows of an archive and of a volume: HTML, and nothing read that is not shown.

Of a volume the smallest level alone is read. There is no identity of a patient in it.
"""

import base64
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from sansfilm import markup
from sansfilm.view.planes import View, hang
from sansfilm.view.windows import choose_window, to_picture
from sansfilm.view.words import describe_window

if TYPE_CHECKING:
    from sansfilm.view.volume import Volume

_WIDE = 180
"""Pixels of the screen that a picture is wide or high."""
_NARROW = 40
"""Pixels between which two letters have no place."""
_ROWS = 12
"""The most volumes that an archive shows."""
_LETTER = "position:absolute;color:#ff0;font:bold 12px sans-serif;text-shadow:0 0 3px #000"
_PLACES = (
    "left:3px;top:50%;transform:translateY(-50%)",
    "right:3px;top:50%;transform:translateY(-50%)",
    "left:50%;top:1px;transform:translateX(-50%)",
    "left:50%;bottom:1px;transform:translateX(-50%)",
)
"""Where the letters are: left, right, top, bottom."""


def volume_card(volume: "Volume", sizes: Mapping[str, int]) -> str:
    """Return a volume as HTML.

    Parameters
    ----------
    sizes : mapping
        Bytes of each stored object, by its key in the volume.
    """
    own, array = volume.attributes, volume.grids[0]
    spacing = _in_space(volume.axes, volume.spacing_mm)
    kind = own.get("spacing_kind", "patient")
    told = f"{markup.shape(spacing)} mm" if any(spacing) else "spacing not known"
    if any(spacing) and kind != "patient":
        told += f" ({kind})"
    if own["lossy"]["is_lossy"]:
        told += " · lossy"
    what = f"{markup.shape(array.shape)} ({', '.join(volume.axes)}) {array.dtype} {volume.unit}"
    last = len(volume.grids) - 1
    window = choose_window(volume, None)
    pictures = [_figure(volume, view, window) for view in hang(volume, last, volume.affine(last))]
    levels = [
        (number, markup.shape(level.shape), markup.shape(level.chunks),
         markup.size(sum(size for key, size in sizes.items() if key.startswith(f"{number}/c"))))
        for number, level in enumerate(volume.grids)
    ]  # fmt: skip
    stored = f"{markup.size(sum(sizes.values()))} stored, {markup.size(array.nbytes)} in memory"
    return markup.card(
        f"{volume.modality} {volume.verdict.code}",
        markup.line(f"{what.rstrip()} · {told}"),
        markup.line(volume.verdict.text),
        f'<div style="display:flex;gap:8px;margin:6px 0">{"".join(pictures)}</div>',
        markup.table(("level", "shape", "chunk", "stored"), levels),
        markup.line(stored),
        markup.line("metadata as committed; voxels have checksums, which each reading checks"),
        markup.line(f"series {volume.series_uid} · volume {volume.volume_id}", faint=True),
        markup.line(
            f"pictures of level {last}, {describe_window(volume, None)}, not for clinical use",
            faint=True,
        ),
    )


def archive_card(url: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return an archive as HTML: how many volumes of what, and the first of them."""
    numbers = [Counter(str(row[name]) for row in rows) for name in ("modality", "verdict")]
    cells = [
        (row["modality"], row["body_part"] or "", row["verdict"], markup.shape(row["shape"]),
         markup.shape(_in_space(row["axes"], row["spacing_mm"])), row["frames"], row["volume_id"])
        for row in rows[:_ROWS]
    ]  # fmt: skip
    head = ("modality", "body part", "verdict", "shape", "spacing, mm", "frames", "volume_id")
    more = len(rows) - len(cells)
    return markup.card(
        f"{len(rows)} volumes",
        markup.line(url, faint=True),
        *(markup.line(markup.counts(number)) for number in numbers if number),
        markup.table(head, cells) if cells else "",
        markup.line(f"and {more} more: see archive.volumes", faint=True) if more else "",
    )


def _in_space(axes: Iterable[str], sizes: Iterable[float | None]) -> list[float | None]:
    """Return the sizes along z, y and x alone."""
    return [size for axis, size in zip(axes, sizes, strict=True) if axis in "zyx"]


def _figure(volume: "Volume", view: View, window: Any) -> str:
    title, plane, aspect, letters = view
    picture = to_picture(volume, np.ma.getdata(plane), window)
    picture[np.ma.getmaskarray(plane)] = 0
    height, width = plane.shape[0] * aspect, plane.shape[1]
    scale = _WIDE / max(height, width)
    across, down = (max(1, round(length * scale)) for length in (width, height))
    free = (across, across, down, down)  # in a strip of few slices letters would cover each other
    data = base64.b64encode(_png(picture)).decode()
    marks = "".join(
        f'<span style="{_LETTER};{place}">{escape(letter)}</span>'
        for letter, place, length in zip(letters, _PLACES, free, strict=True)
        if letter and length >= _NARROW
    )
    return (
        f'<figure style="margin:0;width:{_WIDE}px">'
        f'<div style="position:relative;width:{across}px;height:{down}px;background:#000">'
        f'<img alt="{escape(title)}" src="data:image/png;base64,{data}" '
        f'style="width:{across}px;height:{down}px;max-width:none;margin:0">{marks}</div>'
        f'<figcaption style="opacity:0.65">{escape(title)}</figcaption></figure>'
    )


def _png(picture: np.ndarray) -> bytes:
    """Return a picture, uint8 (rows, columns) or (rows, columns, 3), as PNG (ISO 15948)."""
    rows, columns = picture.shape[:2]
    colour = 2 if picture.ndim == 3 else 0
    lines = np.zeros((rows, 1 + picture[0].size), np.uint8)  # each begins with its filter: none
    lines[:, 1:] = picture.reshape(rows, -1)
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, colour, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines.tobytes())),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )
