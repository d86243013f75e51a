"""Frames -> stacks: each instance once, and together only what can share an array."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sansfilm.errors import BadInstanceError, Problem, ProblemCode
from sansfilm.model import Frame
from sansfilm.planning.facts import crookedness
from sansfilm.planning.geometry import far_corners
from sansfilm.planning.identity import patient_key

Digest = Callable[[Frame], str]
"""Digest of a frame's decoded values, equal for one image in several codecs; BadInstanceError."""

RT_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"

_File = list[Frame]
_ELSEWHERE = ("detector", "nominal", "region")
"""Spacings that are none of the patient's frame of reference."""


@dataclass(slots=True)
class Unique:
    """Frames of instances, each once, and what became of the others."""

    frames: list[Frame] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    copies: int = 0


def problem_of(frame: Frame, stage: str, code: ProblemCode, message: str) -> Problem:
    """Return the Problem that accounts for one frame."""
    return Problem(frame.uri, stage, code, message, frame.series_uid, frame.number, 1)


def unique_instances(frames: Iterable[Frame], digest: Digest | None = None) -> Unique:
    """Keep one of several copies of an instance; contents that contradict each other: CONFLICT.

    Copies are files of the same bytes, and files that say and show the same in another lossless
    codec: those may share a UID. Which one is kept follows from the contents alone.
    """
    by_uid: dict[str, dict[str, dict[str, _File]]] = {}
    for frame in frames:
        versions = by_uid.setdefault(frame.sop_instance_uid, {})
        versions.setdefault(frame.sha256, {}).setdefault(frame.uri, []).append(frame)
    found = Unique()
    for _, versions in sorted(by_uid.items()):
        contents = [
            [sorted(versions[sha][uri], key=lambda frame: frame.number)
             for uri in sorted(versions[sha])]
            for sha in sorted(versions)
        ]  # fmt: skip
        if len(contents) > 1 and digest and _say_the_same([files[0] for files in contents]):
            contents = _join_codecs(contents, digest, found)
        if len(contents) > 1:
            count = sum(map(len, contents))
            text = f"{count} files with different contents share one SOP Instance UID"
            found.problems += [
                problem_of(frame, "grouping", ProblemCode.CONFLICT, text)
                for files in contents for file in files for frame in file
            ]  # fmt: skip
        elif contents:
            (first, *others) = contents[0]
            found.frames += first
            found.copies += sum(map(len, others))
    return found


def without_crooked(frames: Iterable[Frame], tolerance: float) -> Unique:
    """Leave out frames whose rows and columns are not at right angles, or no unit vectors."""
    found = Unique()
    for frame in frames:
        if frame.orientation and (off := crookedness(frame.orientation)) > tolerance:
            text = f"row and column directions are {off:.3g} off two orthogonal unit vectors"
            found.problems.append(problem_of(frame, "geometry", ProblemCode.BAD_VALUE, text))
        else:
            found.frames.append(frame)
    return found


def _say_the_same(files: Sequence[_File]) -> bool:
    """Tell whether headers agree in everything but how the pixels are encoded."""
    first, *others = ([_without_encoding(frame) for frame in file] for file in files)
    return all(other == first for other in others)


def _without_encoding(frame: Frame) -> Frame:
    """Return a frame without what a lossless codec changes of its header (PS3.5 section 8.2)."""
    photometric = frame.spec.photometric
    spec = replace(
        frame.spec, transfer_syntax="", planar=0, swapped=False,
        photometric="RGB" if photometric == "YBR_RCT" else photometric,
    )  # fmt: skip
    return replace(
        frame, spec=spec, uri="", size=0, modified_ns=None, sha256="", version="",
        pixels=replace(frame.pixels, element_offset=0, element_end=0, total=0, prefix=0,
                       offset=0, length=0, bits=0, shift=0),
    )  # fmt: skip


def _join_codecs(
    contents: Sequence[list[_File]], digest: Digest, found: Unique
) -> list[list[_File]]:
    """Join the files whose decoded pixels are the same; one that has none is its own Problem."""
    by_pixels: dict[tuple[str, ...], list[_File]] = defaultdict(list)
    for files in contents:
        try:
            by_pixels[tuple(map(digest, files[0]))] += files
        except BadInstanceError as exc:
            found.problems += [
                problem_of(frame, "grouping", exc.code, exc.message)
                for file in files for frame in file
            ]  # fmt: skip
    return list(by_pixels.values())


def split_stacks(frames: Iterable[Frame], tolerance: float) -> list[list[Frame]]:
    """Split frames into what shares series, pixel format, orientation and pixel spacing.

    `tolerance` is for the far corners of a slice, mm.
    """
    stacks: dict[tuple[object, ...], list[Frame]] = defaultdict(list)
    for frame in frames:
        stacks[_stack_key(frame)].append(frame)
    return [
        part for key in sorted(stacks, key=repr) for part in _split_grids(stacks[key], tolerance)
    ]


def is_placed(frame: Frame) -> bool:
    """Tell whether a frame has a place in the patient, and its pixels a size there."""
    sized = frame.pixel_spacing is not None and frame.spacing_kind not in _ELSEWHERE
    return sized and frame.position is not None


def patient_of(frame: Frame) -> str:
    """Return the key of the patient; see `patient_key`."""
    return patient_key(frame.identity, frame.study_uid or frame.series_uid)


def _stack_key(frame: Frame) -> tuple[object, ...]:
    """Everything that frames of one array must share exactly."""
    spec = frame.spec
    return (
        frame.series_uid, frame.study_uid, patient_of(frame),
        frame.frame_of_reference_uid or "", frame.modality, frame.unit,
        frame.sop_class_uid, spec.rows, spec.columns, spec.bits_allocated, spec.bits_stored,
        spec.pixel_representation, spec.photometric, spec.pixel_kind,
        is_placed(frame), frame.pixel_spacing is not None, frame.spacing_kind,
        frame.sop_instance_uid if _is_whole(frame) else "",
    )  # fmt: skip


def _is_whole(frame: Frame) -> bool:
    """Tell whether an instance is an array of its own: segments, a cine, the dose of a beam."""
    if frame.segmentation is not None:
        return True
    return frame.of > 1 and (not is_placed(frame) or frame.sop_class_uid == RT_DOSE)


def _split_grids(stack: list[Frame], tolerance: float) -> list[list[Frame]]:
    """Split by orientation and pixel spacing: pixels of one stack lie on one grid.

    Slices go together when their far corners do, so that a last digit that was rounded
    otherwise splits nothing and a turned slice is set apart. All are compared with the first of
    their group, so that small differences cannot add up; the input is sorted by UID, so the
    split is reproducible.
    """
    edges = np.array([_edges(frame) for frame in stack])
    left, groups = np.arange(len(stack)), []
    while len(left):
        apart = np.abs(edges[left] - edges[left[0]]).max(axis=1) > tolerance
        groups.append([stack[index] for index in left[~apart]])
        left = left[apart]
    return groups


def _edges(frame: Frame) -> np.ndarray:
    spec = frame.spec
    orientation = frame.orientation or (1, 0, 0, 0, 1, 0)
    return far_corners(orientation, frame.pixel_spacing or (0, 0), spec.rows, spec.columns)
