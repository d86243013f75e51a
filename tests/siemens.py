"""Writes what Siemens writes: mosaics, CSA headers in both forms, protocols. Knows no sansfilm.

The forms are those that nibabel's documentation describes; `nibabel.nicom.csareader` reads them.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import synth
from pydicom.dataset import Dataset

IMAGE, SERIES = 0x10, 0x20
_KINDS = {"SliceNormalVector": b"FD", "NumberOfImagesInMosaic": b"IS"}


def csa(tags: Mapping[str, Sequence[str]], *, form: int = 2) -> bytes:
    """Return a CSA header; each name has six places for values, as those of scanners have."""
    out = b"SV10\4\3\2\1" if form == 2 else b""
    out += struct.pack("<II", len(tags), 77)
    places = 6
    for name, values in tags.items():
        kind = _KINDS.get(name, b"LO")
        count = max(places, len(values)) if form == 2 else places
        out += struct.pack("<64si4siii", name.encode(), len(values), kind, 19, count, 77)
        for value in (*values, *[""] * (count - len(values))):
            data = value.encode("latin-1") + b"\0" if value else b""
            length = len(data)
            head = (length, length, 77, length)
            if form == 1:
                head = (length + places, length, 77, length)
            out += struct.pack("<4i", *head) + data + b"\0" * (-length % 4)
    return out + b"\0" * (len(out) % 2)


def protocol(slices: Sequence[Sequence[float]], *, size: int | None = None) -> str:
    """Return the part of a protocol that is text; coordinates of 0 are left out, as there."""
    lines = ["ulVersion = 0x14b44b6", 'tProtocolName = ""ep2d""']
    for n, position in enumerate(slices):
        for axis, value in zip(("Sag", "Cor", "Tra"), position, strict=True):
            if value:
                lines.append(f"sSliceArray.asSlice[{n}].sPosition.d{axis}    = {value:.10g}")
        lines.append(f"sSliceArray.asSlice[{n}].dThickness         = 2.8")
    lines.append(f"sSliceArray.lSize     = {len(slices) if size is None else size}")
    text = "\n".join(lines)
    return f"<XProtocol> {{}}\n### ASCCONV BEGIN ###\n{text}\n### ASCCONV END ###\n"


def put_csa(ds: Dataset, element: int, tags: Mapping[str, Sequence[str]], *, form: int = 2) -> None:
    block = ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(element, "OB", csa(tags, form=form))


def put_count(ds: Dataset, count: int) -> None:
    ds.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", count)


def centres(made: synth.Synth) -> np.ndarray:
    """Return where the slices of a series have their centres, as a protocol counts them."""
    count, rows, columns = made.stored.shape
    return np.array(
        [(made.affine_lps @ [z, rows / 2, columns / 2, 1])[:3] for z in range(count)]
    )  # fmt: skip


def picture(stored: np.ndarray) -> np.ndarray:
    """Return tiles (z, y, x) as one picture: a square of tiles, row by row."""
    count, rows, columns = stored.shape
    side = math.ceil(math.sqrt(count))
    whole = np.zeros((side, side, rows, columns), stored.dtype)
    whole.reshape(-1, rows, columns)[:count] = stored
    return np.ascontiguousarray(whole.swapaxes(1, 2)).reshape(side * rows, side * columns)


def mosaic(
    made: synth.Synth, path: Path, *, backwards: bool = False, bare: bool = False, **values: Any
) -> Dataset:
    """Write a series as one mosaic.

    Parameters
    ----------
    backwards : bool
        The first tile is the last slice along the normal.
    bare : bool
        Nothing private is written.
    values : DICOM keywords
    """
    ds = pydicom.dcmread(made.paths[0])
    count, rows, columns = made.stored.shape
    whole = picture(made.stored[::-1] if backwards else made.stored)
    affine = made.affine_lps
    first = affine @ [count - 1 if backwards else 0, 0, 0, 1]
    off = [0, -(whole.shape[0] - rows) / 2, -(whole.shape[1] - columns) / 2, 0]
    corner = first + affine @ off
    ds.SOPInstanceUID += f".{path.stem}"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "NONE", "MOSAIC"]
    ds.ImagePositionPatient = [f"{value:.10g}" for value in corner[:3]]
    ds.Rows, ds.Columns = whole.shape
    ds.SpacingBetweenSlices = f"{np.linalg.norm(affine[:3, 0]):.10g}"
    ds.SliceThickness = "0.5"
    ds.Manufacturer = "SIEMENS"
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    if not bare:
        normal = np.cross(*np.split(np.array(ds.ImageOrientationPatient, float), 2))
        normal = -normal if backwards else normal
        put_count(ds, count)
        put_csa(ds, IMAGE, {"NumberOfImagesInMosaic": [str(count)],
                            "SliceNormalVector": [f"{value:.8f}" for value in normal],
                            "AcquisitionMatrixText": [f"{rows}*{columns}"]})  # fmt: skip
    synth.put_pixels(ds, whole)
    path.parent.mkdir(exist_ok=True)
    synth.write(ds, path)
    return ds
