"""One stack whose frames all have a cell -> its plan: verdict, affine, axes, values, identity."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from sansfilm.model import Frame, Verdict, VolumePlan
from sansfilm.options import Options
from sansfilm.planning.axes import Axis, Dimensions
from sansfilm.planning.geometry import Placement, affine_lps, anatomical_directions
from sansfilm.planning.modality import plan_fill, plan_values
from sansfilm.planning.stacks import patient_of

FORMAT = 1


def plan_placed(
    stack: Sequence[Frame],
    places: Sequence[int],
    origin: Sequence[float],
    placement: Placement,
    dimensions: Dimensions,
    collapsed: int,
    options: Options,
) -> VolumePlan:
    """Plan slices in the patient: along z, and along what tells the frames of one place apart.

    Parameters
    ----------
    places : sequence of int
        The place of each frame.
    origin : (x, y, z)
        Position of the first place, mm.
    collapsed : int
        Copies that were left out.
    """
    first = stack[0]
    sizes = (*(len(axis.values) for axis in dimensions.axes), placement.count)
    cells: list[Frame | None] = [None] * prod(sizes)
    for frame, place, outer in zip(stack, places, dimensions.index, strict=True):
        cells[np.ravel_multi_index((*outer, placement.cells[place]), sizes)] = frame
    affine = affine_lps(origin, first.orientation or (), first.pixel_spacing or (), placement.step)
    values = {axis.name: _axis_values(axis) for axis in dimensions.axes}
    if not placement.even:
        unit = np.array(placement.step) / np.linalg.norm(placement.step)
        along = {place: float(np.dot(frame.position or (), unit))
                 for place, frame in zip(places, stack, strict=True)}  # fmt: skip
        values["z"] = {"values": [along[place] for place in sorted(along)], "unit": "mm"}
    verdict = _verdict(placement, dimensions, cells, sizes, collapsed)
    spacing = (*(None for _ in dimensions.axes), placement.spacing_mm)
    return _finish(
        cells, (*(axis.name for axis in dimensions.axes), "z"), sizes, spacing, verdict, options,
        affine_lps=affine, orientation=tuple(anatomical_directions(affine)), axes_values=values,
    )  # fmt: skip


def plan_pictures(stack: Sequence[Frame], options: Options, why: str = "") -> VolumePlan:
    """Plan images without a common geometry along an index, or the frames of a cine along time.

    `why` says what is wrong with the places of images that have some.
    """
    frames = sorted(stack, key=_series_order)
    times = [frame.axes.get("FrameTime") for frame in frames]
    cine = len(frames) > 1 and None not in times and not why
    values = {"t": {"values": times, "unit": "ms", "keywords": ["FrameTime"]}} if cine else {}
    return _finish(
        frames, ("t" if cine else "i",), (len(frames),), (None,),
        _verdict_of_pictures(len(frames), why, cine=cine), options, axes_values=values,
    )  # fmt: skip


def _verdict(
    placement: Placement,
    dimensions: Dimensions,
    cells: Sequence[Frame | None],
    sizes: Sequence[int],
    collapsed: int,
) -> Verdict:
    """Join what the places and the further axes turned out to be."""
    numbers = {**placement.verdict.numbers, "duplicates": collapsed}
    text, code = placement.verdict.text, placement.verdict.code
    if dimensions.axes:
        lost = [n for n, frame in enumerate(cells) if frame is None]
        numbers |= {"dimensions": dict(dimensions.numbers)}
        numbers["missing"] = [[int(n) for n in np.unravel_index(cell, sizes)] for cell in lost]
        text = f"{text} {dimensions.text}"
        if dimensions.missing and code in ("regular", "single", "sheared"):
            code = "gapped"  # an interrupted volume: its lattice is kept
    if collapsed:
        what = "copy of a slice was" if collapsed == 1 else "copies of slices were"
        text += f" {collapsed} identical {what} left out."
    return Verdict(code, numbers, text)


def _verdict_of_pictures(count: int, why: str, *, cine: bool) -> Verdict:
    if count == 1:
        return Verdict("single", {"slices": 1}, "One image without a place in the patient.")
    text = f"{count} images without a common geometry, in the order of their instance numbers."
    if cine:
        text = f"{count} frames in time, without a place in the patient."
    if why:
        text += f" {why} The frame table has the position of each."
    return Verdict("series2d", {"slices": count}, text)


def _axis_values(axis: Axis) -> dict[str, Any]:
    values = [dict(value) if isinstance(value, Mapping) else value for value in axis.values]
    found: dict[str, Any] = {"values": values, "unit": axis.unit, "keywords": list(axis.keywords)}
    if axis.seconds:
        found["seconds"] = list(axis.seconds)
    return found


def _finish(
    cells: Sequence[Frame | None],
    axes: tuple[str, ...],
    sizes: tuple[int, ...],
    spacing: tuple[float | None, ...],
    verdict: Verdict,
    options: Options,
    **more: Any,
) -> VolumePlan:
    """Make the plan of a volume: values, colour, identity."""
    frames = [frame for frame in cells if frame is not None]
    first = frames[0]
    dtype, rescale, padding = plan_values(frames)
    if len(frames) < len(cells):
        dtype, padding = plan_fill(dtype, rescale, padding, frames)
    if first.spec.channels > 1:  # before z, but after an index or time
        at = len(axes) - (axes[-1] == "z")
        axes = (*axes[:at], "c", *axes[at:])
        sizes = (*sizes[:at], first.spec.channels, *sizes[at:])
        spacing = (*spacing[:at], None, *spacing[at:])
    return VolumePlan(
        volume_id=volume_id(frames, options), series_uid=first.series_uid,
        axes=(*axes, "y", "x"), shape=(*sizes, first.spec.rows, first.spec.columns),
        dtype=dtype, frames=tuple(cells), verdict=verdict,
        spacing_mm=(*spacing, *(first.pixel_spacing or (None, None))),
        rescale=rescale, padding=padding, patient_key=patient_of(first),
        notes=_notes(frames), **{"affine_lps": None, **more},
    )  # fmt: skip


def _notes(frames: Sequence[Frame]) -> tuple[str, ...]:
    notes = []
    if len({frame.padding for frame in frames}) > 1:
        notes.append("Pixel Padding Value differs between frames: no value counts as padding.")
    if frames[0].spacing_kind == "detector":
        notes.append("The spacing is that on the detector, where the patient appears enlarged.")
    if len({frame.voi_luts for frame in frames}) > 1:
        notes.append("VOI LUTs differ between frames: those of the middle one are listed.")
    mapped = [one for frame in frames for one in frame.extra.get("RealWorldValueMapping", ())]
    reasons = sorted({one["ignored"] for one in mapped if "ignored" in one})
    notes += [f"A mapping to real-world values is left out: {reason}." for reason in reasons]
    return tuple(notes)


def _series_order(frame: Frame) -> tuple[bool, int, str, int]:
    number = frame.instance_number
    return number is None, number or 0, frame.sop_instance_uid, frame.number


def volume_id(frames: Sequence[Frame], options: Options, more: Any = None) -> str:
    """Return the identity of a volume: 32 hex digits over its sources' contents and the options.

    File names, folders and their order play no part. `more` is what else decides its bytes.
    """
    content = {
        "format": FORMAT,
        "options": options.shaping(),
        "frames": sorted([f.sop_instance_uid, f.sha256, f.number] for f in frames),
    }
    if more is not None:
        content["more"] = more
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
