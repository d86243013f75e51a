"""What the comparison does not show: scaling, the first volume, planning, reading, first cards."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.field import BY_NAME, SANSFILM
from benchmarks.inputs import Input, Shape, prepare
from benchmarks.running import run


def scaling(cache: Path, work: Path, *, full: bool) -> list[dict[str, Any]]:
    """Measure sansfilm alone over workers, series and frames; the runs of one row are medians."""
    core_counts = [n for n in (1, 2, 4, 8, 16) if n <= machine.cores()]
    one, small = Shape(1, 140), Shape(500, 10, 256)
    cases: list[tuple[str, Shape, str, list[str]]] = [
        *((f"{n} worker processes", one, "jpegls", ["--workers", str(n)]) for n in core_counts),
        *(("series", Shape(n, 140), "jpegls", []) for n in ((1, 4, 20) if full else (1, 4))),
        *(("small series", Shape(n, 10, 256), "raw", []) for n in ((1, 20, 100, 500))),
        *(("frames", Shape(1, n), "jpegls", []) for n in ((140, 1000, 5000) if full else (1000,))),
        *((f"{n} worker processes", small, "raw", ["--workers", str(n)]) for n in core_counts),
    ]
    return [_scaled(*case, cache, work, 3 if full else 1) for case in cases]


def _scaled(
    what: str, shape: Shape, kind: str, options: Sequence[str], cache: Path, work: Path, rounds: int
) -> dict[str, Any]:
    entry = prepare(cache, shape, kind)
    outs = (Path(tempfile.mkdtemp(dir=work)) / "archive" for _ in count())  # see compare

    def command() -> list[str]:
        command = BY_NAME[SANSFILM].command(entry.folder, next(outs))
        command[4:4] = options
        return command

    costs = [run(command(), environment=machine.SOURCES) for _ in range(rounds)]
    peak = run(command(), environment=machine.SOURCES, watch=True).peak_mb or 0
    wall, cpu = (statistics.median(getattr(cost, name) for cost in costs)
                 for name in ("wall_s", "cpu_s"))  # fmt: skip
    return {
        "what": what, "input": entry.name, "series": shape.series, "frames": entry.files,
        "options": list(options), "wall_s": round(wall, 2), "cpu_s": round(cpu, 2),
        "peak_mb": round(peak, 1), "frames_per_cpu_s": round(entry.files / cpu, 1),
        "series_per_cpu_s": round(shape.series / cpu, 2), "code": max(c.code for c in costs),
    }  # fmt: skip


def first_volume(cache: Path, work: Path) -> dict[str, Any]:
    """Measure how long after its start an ingest of 20 series has a volume that can be opened."""
    entry = prepare(cache, Shape(20, 140), "htj2k")
    out = work / "first"
    shutil.rmtree(out, ignore_errors=True)
    command = BY_NAME[SANSFILM].command(entry.folder, out)
    before = time.perf_counter()
    process = subprocess.Popen(command, env=os.environ | machine.SOURCES,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    first = None
    while process.poll() is None:
        if first is None and any(out.glob("series/*/*/_commit.json")):
            first = time.perf_counter() - before
        time.sleep(0.005)
    whole = time.perf_counter() - before
    shutil.rmtree(out, ignore_errors=True)
    return {"input": entry.name, "first_s": round(first or whole, 2), "whole_s": round(whole, 2)}


def planning(cache: Path, rounds: int = 5) -> list[dict[str, Any]]:
    """Measure discovery, headers (digest of the whole file included) and grouping on one core."""
    found = []
    for shape, kind in (
        (Shape(1, 140), "raw"),
        (Shape(1, 140), "jpegls"),
        (Shape(500, 10, 256), "raw"),
    ):
        entry = prepare(cache, shape, kind)
        seconds = np.median([_plan(entry) for _ in range(rounds)], axis=0)
        us = dict(
            zip(("discover", "headers", "grouping"), seconds / entry.files * 1e6, strict=True)
        )
        found.append({
            "input": entry.name, "instances": entry.files, "bytes": entry.bytes,
            "us_per_instance": {name: round(float(value), 1) for name, value in us.items()},
            "instances_per_cpu_s": round(entry.files / float(seconds.sum())),
            "cpu_s_per_100000": round(float(seconds.sum()) / entry.files * 1e5, 1),
        })  # fmt: skip
    return found


def _plan(entry: Input) -> list[float]:
    """Return the CPU seconds of the three steps."""
    from sansfilm.options import Budgets, Options
    from sansfilm.planning.discover import discover
    from sansfilm.planning.grouping import plan_volumes
    from sansfilm.planning.headers import read_frames

    marks = [time.process_time()]
    files, _ = discover([str(entry.folder)], str(entry.folder.parent / "nowhere"))
    marks.append(time.process_time())
    frames = [frame for file in files for frame in read_frames(file, Budgets())]
    marks.append(time.process_time())
    plans, problems, _ = plan_volumes(frames, Options())
    marks.append(time.process_time())
    assert len(plans) == len(entry.series), problems
    return list(np.diff(marks))


def reading(cache: Path, work: Path, rounds: int = 9) -> list[dict[str, Any]]:
    """Measure what readers take of one and the same volume: a slice, a cube, a whole level.

    All are opened before; each is asked in turn; the values must be equal.
    """
    entry = prepare(cache, Shape(1, 140), "htj2k")
    out = work / "reading"
    if not out.exists():
        run(BY_NAME[SANSFILM].command(entry.folder, out), environment=machine.SOURCES)
    ((name, uid),) = entry.series.items()
    readers = _readers(out, BY_NAME[SANSFILM].volume(out, name, uid), uid)
    truth = entry.truth.voxels
    regions = {
        "axial slice": (slice(70, 71), slice(None), slice(None)),
        "cube of 64": (slice(40, 104), slice(200, 264), slice(200, 264)),
        "whole level": (slice(None), slice(None), slice(None)),
    }
    found = []
    for region, where in regions.items():
        taken: dict[str, list[tuple[float, float]]] = {reader: [] for reader in readers}
        for _ in range(rounds + 1):  # the first is for warming up
            for reader, read in readers.items():
                wall, cpu = time.perf_counter(), time.process_time()
                values = read(where)
                taken[reader].append((time.perf_counter() - wall, time.process_time() - cpu))
                np.testing.assert_array_equal(np.asarray(values), truth[where])
        for reader, times in taken.items():
            wall, cpu = np.median(times[1:], axis=0) * 1e3
            found.append({"region": region, "reader": reader, "wall_ms": round(float(wall), 2),
                          "cpu_ms": round(float(cpu), 2)})  # fmt: skip
    shutil.rmtree(out, ignore_errors=True)
    return found


def _readers(archive: Path, volume: Path, uid: str) -> dict[str, Callable[[Any], Any]]:
    """Open the volume with each library."""
    sys.path[:0] = machine.SOURCES["PYTHONPATH"].split(os.pathsep)
    import ngff_zarr
    import tensorstore as ts
    import zarr

    import sansfilm

    ours = sansfilm.open(archive)[uid].array
    plain = zarr.open_array(volume / "0", mode="r")
    store = {"driver": "file", "path": f"{volume}/0/"}
    tensor = ts.open({"driver": "zarr3", "kvstore": store}, read=True).result()
    lazy = ngff_zarr.from_ngff_zarr(volume, version="0.5").images[0].data
    return {
        "sansfilm": lambda where: ours[where],
        "zarr-python": lambda where: plain[where],
        "tensorstore": lambda where: tensor[where].read().result(),
        "ngff-zarr": lambda where: lazy[where].compute(),
    }


_CARD = """
import json, sys, time
begun = time.perf_counter()
import sansfilm
ready = time.perf_counter()
volume = sansfilm.open(sys.argv[1])[sys.argv[2]]
shown = eval(sys.argv[3])
print(json.dumps([ready - begun, time.perf_counter() - ready]))
"""


def first_card(cache: Path, work: Path, rounds: int = 9) -> list[dict[str, Any]]:
    """Measure what a new process takes to open an archive, choose a volume and show it once."""
    entry = prepare(cache, Shape(1, 140), "htj2k")
    out = work / "card"
    run(BY_NAME[SANSFILM].command(entry.folder, out), environment=machine.SOURCES)
    (uid,) = entry.series.values()
    found = []
    for shown in ("volume._repr_html_()", "repr(volume)"):
        taken = []
        for _ in range(rounds + 1):  # the first is for warming up
            done = subprocess.run([sys.executable, "-c", _CARD, str(out), uid, shown],
                                  env=os.environ | machine.SOURCES, capture_output=True,
                                  check=True)  # fmt: skip
            taken.append(json.loads(done.stdout))
        loading, card = np.round(np.array(taken[1:]).T * 1e3).astype(int).tolist()
        found.append({"what": shown, "import_ms": statistics.median(loading),
                      "wall_ms": statistics.median(card),
                      "range_ms": [min(card), max(card)]})  # fmt: skip
    shutil.rmtree(out, ignore_errors=True)
    return found
