"""Headers -> volume plans: series into stacks, stacks into volumes, everything accounted for."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from sansfilm.errors import Problem, ProblemCode
from sansfilm.ingest.geometry import Placement, affine_lps, place_slices
from sansfilm.ingest.identity import patient_key
from sansfilm.ingest.modality import plan_values
from sansfilm.model import Header, Verdict, VolumePlan
from sansfilm.options import Options

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
        for stack in _split_orientations(stacks[key], options.tolerances.cosine):
            plan, placement = _plan_stack(stack, options)
            if placement is not None and placement.problem is not None:
                problems += _stack_problems(stack, placement)
            else:
                plans.append(plan)
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
    """Everything that frames of one array must share, orientation apart."""
    spec = header.spec
    return (
        header.series_uid, header.study_uid, header.frame_of_reference_uid or "",
        header.modality, spec.rows, spec.columns, spec.bits_allocated, spec.bits_stored,
        spec.high_bit, spec.pixel_representation, spec.photometric, header.pixel_spacing,
        header.position is not None, header.unit, header.padding,
    )  # fmt: skip


def _split_orientations(stack: list[Header], tolerance: float) -> list[list[Header]]:
    """Split by Image Orientation; the input is sorted by UID, so the split is reproducible."""
    groups: list[list[Header]] = []
    for header in stack:
        for group in groups:
            first = group[0].orientation
            if header.orientation is None or first is None:
                group.append(header)
                break
            difference = np.abs(np.subtract(header.orientation, first)).max()
            if difference <= tolerance:
                group.append(header)
                break
        else:
            groups.append([header])
    return groups


def _plan_stack(stack: list[Header], options: Options) -> tuple[VolumePlan, Placement | None]:
    first = stack[0]
    placed = first.position is not None and first.pixel_spacing is not None
    placement, affine = None, None
    if placed:
        orientation = first.orientation or ()
        positions = [header.position or (0.0, 0.0, 0.0) for header in stack]
        thickness = first.slice_thickness
        placement = place_slices(positions, orientation, thickness, options.tolerances)
        frames = [stack[index] for index in placement.order]
        verdict, spacing_z = placement.verdict, placement.spacing_mm
        affine = affine_lps(
            frames[0].position or (), orientation, first.pixel_spacing or (), placement.step
        )
    else:
        frames = sorted(stack, key=_series_order)
        verdict, spacing_z = _unplaced_verdict(len(stack)), None
    spacing = (spacing_z, *(first.pixel_spacing or (None, None)))
    dtype, rescale, padding = plan_values(frames)
    shape = (len(frames), first.spec.rows, first.spec.columns)
    plan = VolumePlan(
        volume_id=_volume_id(frames, options), series_uid=first.series_uid,
        axes=("z", "y", "x") if placed else ("i", "y", "x"), dtype=dtype, shape=shape,
        frames=tuple(frames), verdict=verdict, affine_lps=affine, spacing_mm=spacing,
        rescale=rescale, padding=padding,
        patient_key=patient_key(first.identity, first.study_uid),
    )  # fmt: skip
    return plan, placement


def _series_order(header: Header) -> tuple[bool, int, str]:
    number = header.instance_number
    return number is None, number or 0, header.sop_instance_uid


def _unplaced_verdict(count: int) -> Verdict:
    if count == 1:
        return Verdict("single", {"slices": 1}, "One image without a place in the patient.")
    text = f"{count} images without a common geometry, in the order of their instance numbers."
    return Verdict("series2d", {"slices": count}, text)


def _stack_problems(stack: Sequence[Header], placement: Placement) -> list[Problem]:
    assert placement.problem is not None
    return [
        Problem(h.uri, "geometry", placement.problem, placement.verdict.text, h.series_uid, None, 1)
        for h in stack
    ]


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
