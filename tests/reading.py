"""Short ways from the bytes of a file to what the planning stage makes of them."""

from pathlib import Path

import pydicom
import pytest

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import FileRef, Frame, FrameFacts, FrameSpec
from sansfilm.options import Budgets
from sansfilm.planning import dataset
from sansfilm.planning.frames import FrameTable, locate_frames
from sansfilm.planning.functional_groups import frame_facts
from sansfilm.planning.headers import read_frames
from sansfilm.planning.source import Source

PHI = "ZZPHI"
"""What must not appear in any message; see `synth`."""


def facts_of(raw: bytes, number_of_frames: int | None = None) -> list[FrameFacts]:
    syntax, start = dataset.read_meta(raw, len(raw))
    if syntax == dataset.DEFLATED_LE:
        raw, start = dataset.inflate(raw[start:], 2**24), 0
    walked = dataset.walk(raw, start, syntax, len(raw), Budgets())
    if number_of_frames is None:
        _, offset, length = walked.elements.get(0x00280008, (b"", 0, 0))
        number_of_frames = int(raw[offset : offset + length].strip(b"\0 ") or 1)
    return frame_facts(raw, walked, syntax, number_of_frames)


def problem_of(raw: bytes, number_of_frames: int | None = None) -> ProblemCode:
    with pytest.raises(BadInstanceError) as caught:
        facts_of(raw, number_of_frames)
    assert caught.value.message.isprintable()
    assert PHI not in caught.value.message
    return caught.value.code


def header_of(path) -> Frame:
    frames = read_frames(FileRef(str(path), path.stat().st_size), Budgets())
    assert isinstance(frames, list)
    return frames[0]


def table_of(
    path: Path, number_of_frames: int, source: Source | None = None, **budgets: int
) -> tuple[FrameTable, bytes]:
    """Return the frame table of a file, and the bytes that its offsets count in."""
    raw = path.read_bytes()
    syntax, start = dataset.read_meta(raw, len(raw))
    prefix = 0
    if syntax == dataset.DEFLATED_LE:
        raw, prefix, start = dataset.inflate(raw[start:], 2**24), start, 0
    walked = dataset.walk(raw, start, syntax, len(raw), Budgets())
    ds = pydicom.dcmread(path, stop_before_pixels=True)
    spec = FrameSpec(
        syntax, ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.BitsAllocated, ds.BitsStored,
        ds.HighBit, ds.PixelRepresentation, ds.PhotometricInterpretation,
    )  # fmt: skip
    with Source(str(path)) as opened:
        found = locate_frames(
            walked, spec, source or opened, number_of_frames, prefix, len(raw), Budgets(**budgets)
        )
    return found, raw


def frames_of(path: Path, number_of_frames: int) -> list[bytes]:
    found, raw = table_of(path, number_of_frames)
    assert len(found) == number_of_frames
    return [frame.cut(raw[frame.offset : frame.offset + frame.length]) for frame in found]
