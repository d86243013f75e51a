"""Headers -> volume plans: series into stacks, stacks into volumes, everything accounted for."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from sansfilm.errors import Problem, ProblemCode
from sansfilm.model import Header, Matrix, Verdict, VolumePlan
from sansfilm.options import Options
from sansfilm.planning.geometry import (
    Placement,
    affine_lps,
    anatomical_directions,
    far_corners,
    place_slices,
)
from sansfilm.planning.identity import patient_key
from sansfilm.planning.modality import plan_values

FORMAT = 1


def plan_volumes(
    headers: Iterable[Header], options: Options
) -> tuple[list[VolumePlan], list[Problem], int]:
    """Group headers into volumes.

    The result does not depend on the order or the names of the files.

    Returns
    -------
    plans : list of VolumePlan
        Sorted by series and volume_id.
    problems : list of Problem
        One for each instance that is in no plan.
    copies : int
        Byte-identical copies of instances that are used once.
    """
    plans: list[VolumePlan] = []
    unique, problems, copies = _unique_instances(headers)
    stacks: dict[tuple[object, ...], list[Header]] = defaultdict(list)
    for header in unique:
        stacks[_stack_key(header)].append(header)
    for key in sorted(stacks, key=repr):
        for stack in _split_grids(stacks[key], options.tolerances.in_plane_mm):
            try:
                plans.append(_plan_stack(stack, options))
            except _UnplacedError as exc:
                problems += [
                    Problem(h.uri, "geometry", exc.code, exc.text, h.series_uid, None, 1)
                    for h in stack
                ]
    plans.sort(key=lambda plan: (plan.series_uid, plan.volume_id))
    return plans, problems, copies


def _unique_instances(headers: Iterable[Header]) -> tuple[list[Header], list[Problem], int]:
    """Keep one of several identical copies; contents that contradict each other are a CONFLICT."""
    by_uid: dict[str, list[Header]] = defaultdict(list)
    for header in headers:
        by_uid[header.sop_instance_uid].append(header)
    unique, problems, copies = [], [], 0
    for uid in sorted(by_uid):
        same = sorted(by_uid[uid], key=lambda header: (header.sha256, header.uri))
        if len({header.sha256 for header in same}) == 1:
            unique.append(same[0])
            copies += len(same) - 1
            continue
        message = f"{len(same)} files with different contents share one SOP Instance UID"
        problems += [
            Problem(h.uri, "grouping", ProblemCode.CONFLICT, message, h.series_uid, None, 1)
            for h in same
        ]
    return unique, problems, copies


def _stack_key(header: Header) -> tuple[object, ...]:
    """Everything that frames of one array must share exactly."""
    spec = header.spec
    return (
        header.series_uid, header.study_uid, _patient_key(header),
        header.frame_of_reference_uid or "", header.modality, header.unit,
        spec.rows, spec.columns, spec.bits_allocated, spec.bits_stored,
        spec.pixel_representation, spec.photometric,
        _is_placed(header), header.pixel_spacing is not None,
    )  # fmt: skip


def _is_placed(header: Header) -> bool:
    return header.position is not None and header.pixel_spacing is not None


def _patient_key(header: Header) -> str:
    return patient_key(header.identity, header.study_uid or header.series_uid)


def _split_grids(stack: list[Header], tolerance: float) -> list[list[Header]]:
    """Split by orientation and pixel spacing: pixels of one stack lie on one grid.

    Slices go together when their far corners do, so that a last digit that was rounded
    otherwise splits nothing and a turned slice is set apart. All are compared with the first of
    their group, so that small differences cannot add up; the input is sorted by UID, so the
    split is reproducible.
    """
    edges = np.array([_edges(header) for header in stack])
    left, groups = np.arange(len(stack)), []
    while len(left):
        apart = np.abs(edges[left] - edges[left[0]]).max(axis=1) > tolerance
        groups.append([stack[index] for index in left[~apart]])
        left = left[apart]
    return groups


def _edges(header: Header) -> np.ndarray:
    spec = header.spec
    orientation = header.orientation or (1, 0, 0, 0, 1, 0)
    return far_corners(orientation, header.pixel_spacing or (0, 0), spec.rows, spec.columns)


class _UnplacedError(Exception):
    """A stack whose geometry is not one that is stored; becomes a Problem of each frame."""

    def __init__(self, code: ProblemCode, text: str) -> None:
        super().__init__(code, text)
        self.code, self.text = code, text


def _plan_stack(stack: list[Header], options: Options) -> VolumePlan:
    first = stack[0]
    affine: Matrix | None = None
    orientation: tuple[str, ...] = ()
    spacing_z: float | None = None
    if _is_placed(first):
        placement = _place(stack, options)
        frames = [stack[index] for index in placement.order]
        verdict, spacing_z = placement.verdict, placement.spacing_mm
        affine = affine_lps(
            frames[0].position or (), first.orientation or (), first.pixel_spacing or (),
            placement.step,
        )  # fmt: skip
        orientation = tuple(anatomical_directions(affine))
    else:
        frames = sorted(stack, key=_series_order)
        verdict = _unplaced_verdict(len(stack))
    dtype, rescale, padding = plan_values(frames)
    return VolumePlan(
        volume_id=_volume_id(frames, options), series_uid=first.series_uid,
        axes=("z", "y", "x") if affine else ("i", "y", "x"), dtype=dtype,
        shape=(len(frames), first.spec.rows, first.spec.columns),
        frames=tuple(frames), verdict=verdict, affine_lps=affine,
        spacing_mm=(spacing_z, *(first.pixel_spacing or (None, None))),
        rescale=rescale, padding=padding, patient_key=_patient_key(first),
        orientation=orientation, notes=_notes(frames),
    )  # fmt: skip


def _place(stack: Sequence[Header], options: Options) -> Placement:
    first = stack[0]
    placement = place_slices(
        [header.position or () for header in stack], first.orientation or (),
        first.pixel_spacing or (), first.slice_thickness, options.tolerances,
    )  # fmt: skip
    if placement.problem is not None:
        raise _UnplacedError(placement.problem, placement.verdict.text)
    return placement


def _notes(frames: Sequence[Header]) -> tuple[str, ...]:
    if len({header.padding for header in frames}) > 1:
        return ("Pixel Padding Value differs between frames: no value counts as padding.",)
    return ()


def _series_order(header: Header) -> tuple[bool, int, str]:
    number = header.instance_number
    return number is None, number or 0, header.sop_instance_uid


def _unplaced_verdict(count: int) -> Verdict:
    if count == 1:
        return Verdict("single", {"slices": 1}, "One image without a place in the patient.")
    text = f"{count} images without a common geometry, in the order of their instance numbers."
    return Verdict("series2d", {"slices": count}, text)


def _volume_id(frames: Sequence[Header], options: Options) -> str:
    """Return the identity of a volume: 32 hex digits over its sources' contents and the options.

    File names, folders and their order play no part.
    """
    content = {
        "format": FORMAT,
        "options": options.shaping(),
        "instances": sorted([h.sop_instance_uid, h.sha256] for h in frames),
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
