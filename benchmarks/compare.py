"""The comparison: every contender in turn, round after round, and each output checked."""

import shutil
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.checking import Finding, Judge
from benchmarks.field import BY_NAME, FIELD, Contender
from benchmarks.inputs import Input, Shape, given, prepare
from benchmarks.running import Cost, run

LEADERS = ("sansfilm", "floor", "careful")
LEAST = 3
"""Quiet runs that are enough for a median of them alone."""


@dataclass(frozen=True)
class Heat:
    """One comparison: an input, who runs, how often."""

    shape: Shape
    kind: str
    names: Sequence[str]
    rounds: int
    folder: Path | None = None


def heats(size: str) -> list[Heat]:
    """Return what is compared: "small" takes a minute, "usual" half an hour, "full" hours.

    One series of 140 slices comes first, for everybody. Twenty series, and five hundred small ones,
    are for sansfilm and the floor only, unless it is all that is asked for.
    """
    everybody = [contender.name for contender in FIELD]
    few = ["sansfilm", "sansfilm-1", "floor"]
    one, twenty, many = Shape(1, 140), Shape(20, 140), Shape(500, 10, 256)
    kinds = ("raw", "j2k", "jpegls", "htj2k", "rle")
    if size == "small":
        return [Heat(one, kind, LEADERS, 3) for kind in ("raw", "htj2k")]
    if size == "usual":
        return [
            *(Heat(one, kind, everybody, 5) for kind in kinds[:-1]),
            Heat(one, kinds[-1], LEADERS, 5),
            *(Heat(twenty, kind, ("sansfilm", "floor"), 5) for kind in kinds[:-1]),
            Heat(many, "raw", few, 5),
        ]
    return [
        *(Heat(one, kind, everybody, 11) for kind in kinds),
        *(Heat(twenty, kind, everybody, 5) for kind in kinds),
        *(Heat(many, kind, everybody, 5) for kind in ("raw", "jpegls")),
    ]


def compare(heat: Heat, cache: Path, work: Path) -> dict[str, Any]:
    """Run one comparison; return what came of it, as it goes into the JSON."""
    entry = given(heat.folder) if heat.folder else prepare(cache, heat.shape, heat.kind)
    judge = Judge(entry.truth)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in heat.names}
    findings: dict[str, Finding] = {name: Finding() for name in heat.names}
    # All are removed at the end only: for a minute, ext4 goes around the inodes of files that are
    # gone, which makes new ones several times as expensive.
    outs = (work / "outputs" / str(number) for number in count())
    for turn in range(heat.rounds):
        for name in heat.names:
            contender = BY_NAME[name]
            if findings[name].faults or (contender.slow and 0 < turn < heat.rounds - 1):
                continue
            print(f"  round {turn + 1} of {heat.rounds}: {contender.title}", file=sys.stderr)
            out = next(outs)
            cost, others = _one(contender, entry, out)
            findings[name] = _judged(judge, contender, entry, out, cost)
            runs[name].append({**_numbers(cost), "others_s": others})
    peaks = {name: _peak(BY_NAME[name], entry, next(outs)) for name in heat.names
             if not findings[name].faults}  # fmt: skip
    shutil.rmtree(work / "outputs")
    return {
        "input": entry.name, "kind": entry.kind, "series": len(entry.series),
        "files": entry.files, "bytes": entry.bytes, "rounds": heat.rounds,
        "contenders": {
            name: _summary(BY_NAME[name], runs[name], findings[name], peaks.get(name))
            for name in heat.names
        },
    }  # fmt: skip


def _one(contender: Contender, entry: Input, out: Path) -> tuple[Cost, float]:
    """Run a contender into a new folder; return its cost, and what others took meanwhile."""
    out.parent.mkdir(exist_ok=True)
    before = machine.busy_s()
    cost = run(contender.command(entry.folder, out), environment=machine.SOURCES)
    return cost, max(0.0, machine.busy_s() - before - cost.cpu_s)


def _peak(contender: Contender, entry: Input, out: Path) -> float | None:
    command = contender.command(entry.folder, out)
    return run(command, watch=True, environment=machine.SOURCES).peak_mb


def _judged(judge: Judge, contender: Contender, entry: Input, out: Path, cost: Cost) -> Finding:
    """Check every series of an output; the first that is wrong is told."""
    if cost.code:
        return Finding(faults=[f"ended with code {cost.code}: {cost.said.strip()[-200:]}"])
    total = Finding()
    for name, uid in entry.series.items():
        try:
            found = judge.look(contender.volume(out, name, uid), contender.rounding)
        except (OSError, ValueError) as exc:
            return Finding(faults=[f"{name} is not there: {exc}"])
        total.objects += found.objects
        total.bytes += found.bytes
        total.levels, total.remarks = found.levels, found.remarks
        if found.faults:
            total.faults = [f"{name}: {fault}" for fault in found.faults]
            return total
    return total


def _numbers(cost: Cost) -> dict[str, float]:
    numbers = {name: value for name, value in asdict(cost).items() if name not in ("said", "code")}
    return {name: round(value, 3) for name, value in numbers.items() if value is not None}


def _summary(
    contender: Contender, runs: list[dict[str, Any]], found: Finding, peak: float | None
) -> dict[str, Any]:
    """Return medians and ranges, of the runs on a quiet machine if they are enough."""
    quiet = [each for each in runs if each["others_s"] < 0.06 + 0.12 * each["wall_s"]]
    counted = quiet if len(quiet) >= min(LEAST, len(runs)) else runs
    summary: dict[str, Any] = {
        "title": contender.title, "versions": contender.versions(), "faults": found.faults,
        "remarks": found.remarks, "levels": found.levels, "objects": found.objects,
        "bytes": found.bytes, "peak_mb": None if peak is None else round(peak, 1), "runs": runs,
        "quiet": len(quiet), "counted": len(counted),
    }  # fmt: skip
    for name in ("wall_s", "cpu_s"):
        values = [each[name] for each in counted]
        summary[name] = round(statistics.median(values), 3)
        summary[f"{name}_range"] = [min(values), max(values)]
    return summary
