"""How long a header takes: the walk, the values, the digest; and planning a series."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import synth

from sansfilm.model import FileRef, Header
from sansfilm.options import Budgets, Options
from sansfilm.planning.grouping import plan_volumes
from sansfilm.planning.headers import read_header
from sansfilm.planning.pixels import read_instance

Benchmark = Callable[..., Any]


def series_of(folder: Path, syntax: str) -> tuple[synth.Synth, list[FileRef]]:
    made = synth.series(folder, slices=16, rows=512, columns=512, transfer_syntax=syntax)
    return made, [FileRef(str(path), path.stat().st_size) for path in made.paths]


@pytest.mark.parametrize("syntax", [synth.EXPLICIT_LE, synth.IMPLICIT_LE, synth.JPEG_LS])
def bench_read_header(benchmark: Benchmark, tmp_path: Path, syntax: str) -> None:
    """Sixteen CT files, digest included."""
    made, files = series_of(tmp_path, syntax)
    headers = benchmark(lambda: [read_header(file, Budgets()) for file in files])
    assert [header.sop_instance_uid for header in headers] == list(made.sop_uids)


def bench_read_header_of_a_real_series(benchmark: Benchmark) -> None:
    """Forty MR files of Philips with hundreds of nested private elements."""
    folder = Path(__file__).parent.parent / "tests" / "data" / "mr-asl"
    files = [FileRef(str(path), path.stat().st_size) for path in sorted(folder.iterdir())]
    headers = benchmark(lambda: [read_header(file, Budgets()) for file in files])
    assert all(isinstance(header, Header) for header in headers)


@pytest.mark.parametrize("syntax", [synth.EXPLICIT_LE, synth.JPEG_LS])
def bench_read_instance(benchmark: Benchmark, tmp_path: Path, syntax: str) -> None:
    made, files = series_of(tmp_path, syntax)
    headers = [
        header for file in files if isinstance(header := read_header(file, Budgets()), Header)
    ]
    read = benchmark(lambda: [read_instance(header) for header in headers])
    if syntax == synth.EXPLICIT_LE:
        assert [codestream for codestream, _ in read] == [frame.tobytes() for frame in made.stored]


def bench_plan_volumes(benchmark: Benchmark, tmp_path: Path) -> None:
    """Ten thousand headers, a hundred series."""
    _, files = series_of(tmp_path, synth.EXPLICIT_LE)
    header = read_header(files[0], Budgets())
    assert isinstance(header, Header)
    headers = [
        replace(header, series_uid=f"1.2.{series}", sop_instance_uid=f"1.2.{series}.{index}",
                position=(0.0, 0.0, 2.0 * index))
        for series in range(100) for index in range(100)
    ]  # fmt: skip
    plans, problems, _ = benchmark(plan_volumes, headers, Options())
    assert (len(plans), problems) == (100, [])
    assert all(plan.verdict.code == "regular" for plan in plans)
