"""How long headers take: the walk, the values, the digest; reading pixels; planning."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import multiframe
import numpy as np
import pytest
import synth

from sansfilm.errors import Problem
from sansfilm.model import FileRef, Frame
from sansfilm.options import Budgets, Options
from sansfilm.planning.grouping import plan_volumes
from sansfilm.planning.headers import read_frames
from sansfilm.planning.pixels import read_frame

Benchmark = Callable[..., Any]


def series_of(folder: Path, syntax: str) -> tuple[synth.Synth, list[FileRef]]:
    made = synth.series(folder, slices=16, rows=512, columns=512, transfer_syntax=syntax)
    return made, [file_of(path) for path in made.paths]


def file_of(path: Path) -> FileRef:
    status = path.stat()
    return FileRef(str(path), status.st_size, status.st_mtime_ns)


def frames_of(files: list[FileRef]) -> list[Frame]:
    """Read all frames of files that are all images."""
    frames: list[Frame] = []
    for file in files:
        found = read_frames(file, Budgets())
        assert not isinstance(found, Problem)
        frames += found
    return frames


@pytest.mark.parametrize("syntax", [synth.EXPLICIT_LE, synth.IMPLICIT_LE, synth.JPEG_LS])
def bench_read_header(benchmark: Benchmark, tmp_path: Path, syntax: str) -> None:
    """Sixteen CT files, digest included."""
    made, files = series_of(tmp_path, syntax)
    frames = benchmark(frames_of, files)
    assert [frame.sop_instance_uid for frame in frames] == list(made.sop_uids)


def bench_read_header_of_a_real_series(benchmark: Benchmark) -> None:
    """Forty MR files of Philips with hundreds of nested private elements."""
    folder = Path(__file__).parent.parent / "tests" / "data" / "mr-asl"
    files = [file_of(path) for path in sorted(folder.iterdir())]
    assert len(benchmark(frames_of, files)) == 40


@pytest.mark.parametrize("syntax", [synth.EXPLICIT_LE, synth.JPEG_LS])
def bench_read_frame(benchmark: Benchmark, tmp_path: Path, syntax: str) -> None:
    made, files = series_of(tmp_path, syntax)
    frames = frames_of(files)
    read = benchmark(lambda: [read_frame(frame) for frame in frames])
    if syntax == synth.EXPLICIT_LE:
        assert [codestream for codestream, _ in read] == [frame.tobytes() for frame in made.stored]


def bench_plan_volumes(benchmark: Benchmark, tmp_path: Path) -> None:
    """Ten thousand frames, a hundred series."""
    _, files = series_of(tmp_path, synth.EXPLICIT_LE)
    (frame,) = frames_of(files[:1])
    frames = [
        replace(frame, series_uid=f"1.2.{series}", sop_instance_uid=f"1.2.{series}.{index}",
                position=(0.0, 0.0, 2.0 * index))
        for series in range(100) for index in range(100)
    ]  # fmt: skip
    plans, problems, _ = benchmark(plan_volumes, frames, Options())
    assert (len(plans), problems) == (100, [])
    assert all(plan.verdict.code == "regular" for plan in plans)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> FileRef:
    """Give an enhanced object of five thousand frames: fifty times, a hundred slices."""
    folder = tmp_path_factory.mktemp("many")
    made = synth.series(folder, slices=100, rows=8, columns=8, modality="MR")
    return file_of(multiframe.enhanced(folder / "many.dcm", [made] * 50, shared=False).path)


def bench_read_frames_of_an_enhanced_object(benchmark: Benchmark, many: FileRef) -> None:
    frames = benchmark(frames_of, [many])
    assert [frame.number for frame in frames] == list(range(1, 5001))


def bench_plan_frames_of_an_enhanced_object(benchmark: Benchmark, many: FileRef) -> None:
    frames = frames_of([many])
    plans, problems, copies = benchmark(plan_volumes, frames, Options())
    assert ([plan.shape[:2] for plan in plans], problems, copies) == ([(50, 100)], [], 0)
    assert np.isfinite(plans[0].affine_lps).all()
