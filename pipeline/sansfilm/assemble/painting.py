"""Stored values -> the values of level 0: modality values, colours, numbers of segments."""

import numpy as np

from sansfilm.model import Frame, FrameSpec, Labels, Lut
from sansfilm_kernels import apply_lut, palette_to_rgb, rescale, ybr_to_rgb


def put_values(stored: np.ndarray, frame: Frame, applied: str, out: np.ndarray) -> None:
    """Write the values of level 0 that stored values stand for: (y, x), or (c, y, x) of colour.

    `applied` as in `Rescale`.
    """
    spec, lut = frame.spec, frame.spec.lut
    if spec.channels > 1:
        to_rgb(stored, spec, np.moveaxis(out, 0, -1))
    elif lut is not None:
        out[...] = apply_lut(stored, first=lut.first, entries=_entries(lut))
    elif applied == "attributes" or spec.floating:
        out[...] = stored
        if applied == "per_frame":
            with np.errstate(over="ignore", invalid="ignore"):  # infinite is a result
                out *= frame.slope
                out += frame.intercept
    else:
        rescale(stored, slope=frame.slope, intercept=frame.intercept, dtype=out.dtype, out=out)


def draw_labels(
    stored: np.ndarray, frame: Frame, labels: Labels, out: np.ndarray
) -> frozenset[int]:
    """Draw a frame of a segmentation: its segment's number where it is, or all that it holds.

    Returns
    -------
    frozenset of int
        The numbers in a label map that are neither a segment's nor the background's.
    """
    if labels.about.kind == "BINARY":
        number = frame.tile.path if frame.tile else frame.axes["ReferencedSegmentNumber"]
        out[stored != 0] = int(number)
        return frozenset()
    out[...] = stored
    if labels.about.kind == "FRACTIONAL":
        return frozenset()
    known = [labels.fill, *(segment.number for segment in labels.about.segments)]
    return frozenset(np.unique(stored[~np.isin(stored, known)]).tolist())


def to_rgb(stored: np.ndarray, spec: FrameSpec, out: np.ndarray) -> np.ndarray:
    """Turn stored samples to RGB.

    Parameters
    ----------
    stored : ndarray, shape ``spec.shape``
    out : ndarray, shape (y, x, 3)
        In any memory order; of the samples' dtype, or a wider one.

    Returns
    -------
    ndarray
        `out`.
    """
    if spec.lut is not None:
        entries = _entries(spec.lut).reshape(-1, spec.channels)
        out[...] = palette_to_rgb(stored, first=spec.lut.first, entries=entries)
    elif spec.ybr:
        narrow = stored if stored.itemsize <= 2 else stored.astype(np.uint16)  # 16 bits at most
        direct = out if out.dtype == narrow.dtype else None
        partial = spec.ybr == "partial"
        rgb = ybr_to_rgb(narrow, bits=spec.bits_stored, partial=partial, out=direct)
        if direct is None:
            out[...] = rgb
    else:
        out[...] = stored
    return out


def _entries(lut: Lut) -> np.ndarray:
    return np.frombuffer(lut.entries, lut.dtype).astype(np.dtype(lut.dtype).newbyteorder("="))
