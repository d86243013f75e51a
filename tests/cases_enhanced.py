"""Enhanced multi-frame objects: the same series as one object."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import synth
from case_parts import (
    OBLIQUE,
    SLICES,
    Volume,
    case,
    moved,
    part,
    series4d,
    slices,
    times,
    without,
    write,
)
from multiframe import dimension, enhanced, values
from synth import Synth


def twin(folder: Path, made: Sequence[Synth], volume: Volume, **how: Any) -> Volume:
    """Write one enhanced object, its frames shuffled, instead of the classic files."""
    found = enhanced(folder / "enhanced.dcm", made, **how)
    uid = str(pydicom.dcmread(found.path, stop_before_pixels=True).SOPInstanceUID)
    frames = np.empty((len(made), len(made[0].paths)), object)
    for number, place in enumerate(found.places, start=1):
        frames[place] = (uid, number)
    for one in made:
        for path in one.paths:
            path.unlink()
    return replace(volume, frames=frames.reshape(volume.frames.shape))


def some(made: Synth, which: Sequence[int]) -> Synth:
    """Take some slices of a series."""
    which = list(which)
    return replace(
        made, paths=tuple(made.paths[z] for z in which), stored=made.stored[which],
        values=made.values[which], sop_uids=tuple(made.sop_uids[z] for z in which),
    )  # fmt: skip


@case
def enhanced_ct(folder):
    made = write(folder)
    return twin(folder, [made], slices(made))


@case
def enhanced_oblique_mr(folder):
    made = write(folder, orientation=OBLIQUE, modality="MR", slope=0.5)
    return twin(folder, [made], slices(made), shared=False, undefined=True)


@case
def enhanced_tilt(folder):
    made = write(folder, lambda ds, z: moved(ds, 0, 0.7 * z, 0))
    affine = made.affine_lps.copy()
    affine[:3, 0] += (0, 0.7, 0)
    how = {"transfer_syntax": synth.J2K, "fragments": 2}
    return twin(folder, [made], slices(made, "sheared", affine=affine), **how)


@case
def enhanced_variable(folder):
    z = [0.0, 2.0, 4.5, 6.0, 9.0, 10.1]
    made = write(folder, lambda ds, n: moved(ds, 0, 0, z[n] - 2 * n))
    affine = made.affine_lps.copy()
    affine[2, 0] = 10.1 / 5
    along = {"z": [33.25 + here for here in z]}
    how = {"transfer_syntax": synth.RLE, "table": "extended"}
    return twin(folder, [made], slices(made, "variable", affine=affine, along=along), **how)


@case
def enhanced_slopes(folder):
    made = write(folder, slope=[0.5, 0.25, 1.5, 2.0, 3.0, 0.125], intercept=0.0)
    return twin(folder, [made], slices(made), transfer_syntax=synth.DEFLATED_LE)


@case
def enhanced_time(folder):
    made = series4d(folder, 3, lambda *_: None, modality="MR")
    volume = times(made, "t", [1, 2, 3])
    return twin(folder, made, volume, transfer_syntax=synth.EXPLICIT_BE)


@case
def enhanced_echoes(folder):
    def edit(ds, n, _):
        ds.EchoTime = (4.6, 9.2)[n]

    def no_time(ds):
        for groups in ds.PerFrameFunctionalGroupsSequence:
            content = groups.FrameContentSequence[0]
            del content.TemporalPositionIndex, content.FrameAcquisitionDateTime
            content.DimensionIndexValues = content.DimensionIndexValues[:2]
        del ds.DimensionIndexSequence[2]

    made = series4d(folder, 2, edit, modality="MR")
    return twin(folder, made, times(made, "echo", [4.6, 9.2]), edit=no_time)


@case
def enhanced_b_values(folder):
    directions = [None, (1.0, 0.0, 0.0), (0.0, 0.6, 0.8)]

    def diffusion(ds):
        for groups in ds.PerFrameFunctionalGroupsSequence:
            content = groups.FrameContentSequence[0]
            direction = directions[content.TemporalPositionIndex - 1]
            group = values(DiffusionBValue=700.0 if direction else 0.0)
            group.DiffusionDirectionality = "DIRECTIONAL" if direction else "NONE"
            if direction:
                gradient = values(DiffusionGradientOrientation=list(direction))
                group.DiffusionGradientDirectionSequence = [gradient]
            groups.MRDiffusionSequence = [group]
            del content.TemporalPositionIndex, content.FrameAcquisitionDateTime
        ds.DimensionIndexSequence[2] = dimension(0x00189087, "b", 0x00189117)

    made = series4d(folder, 3, lambda *_: None, modality="MR")
    along = [{"DiffusionBValue": 0.0}] + [
        {"DiffusionBValue": 700.0, "DiffusionGradientOrientation": text}
        for text in ("0\\0.6\\0.8", "1\\0\\0")
    ]
    volume = times([made[0], made[2], made[1]], "b", along)
    written = twin(folder, made, times(made, "t", []), edit=diffusion)
    return replace(volume, frames=written.frames[[0, 2, 1]])


@case
def enhanced_in_two_objects(folder):
    """Each has every second slice."""
    made = write(folder)
    whole = slices(made, frames=np.empty(SLICES, object))
    for n in range(2):
        half = some(made, range(n, SLICES, 2))
        whole.frames[n::2] = twin(folder, [half], slices(half)).frames
        (folder / "enhanced.dcm").rename(folder / f"enhanced.{n}.dcm")
    return whole


@case
def gap_in_an_enhanced_object(folder):
    made = write(folder)
    made.paths[3].unlink()
    whole = without(slices(made), (3,))
    rest = [z for z in range(SLICES) if z != 3]
    whole.frames[rest] = twin(folder, [some(made, rest)], part(whole, rest)).frames
    return whole
