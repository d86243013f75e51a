"""What an archive of many series costs the client and the scheduler before a pixel is decoded.

Headers of single-slice series are made up from one that was read; they are planned, and a task that
does nothing is run for each slab on a cluster of two threads. ``make bench`` takes 10,000 series,
SANSFILM_SERIES another number; the normal test run takes a few. In the JSON report `scheduler
tasks` is the most that the scheduler knew at once, `kB per series` what the client's memory grew
by, with all frames, plans and slabs in it, `run MB` what client, scheduler and workers, here one
process, grew by during the tasks: Dask keeps logs of its last thousands of steps.
"""

import os
import time
from dataclasses import replace

import psutil
import synth
from distributed import Client, LocalCluster

from sansfilm.assemble.levels import plan_slabs
from sansfilm.model import FileRef
from sansfilm.options import Budgets, Options
from sansfilm.planning.grouping import plan_volumes
from sansfilm.planning.headers import read_frames
from sansfilm.run.dask import DaskRunner


def nothing(_):
    """Do what a task does that is over at once."""


def memory():
    return psutil.Process().memory_info().rss / 1000


def bench_plan_many_series(benchmark, pytestconfig, tmp_path):
    measured = pytestconfig.getoption("benchmark_enable")
    series = int(os.environ.get("SANSFILM_SERIES", 10_000 if measured else 50))
    (path,) = synth.series(tmp_path / "in", slices=1).paths
    (base,) = read_frames(FileRef(str(path), path.stat().st_size, 0), Budgets())
    seconds, options = {}, Options()

    def plan():
        frames = [
            replace(base, uri=f"{base.uri}.{n}", sha256=f"{n:064x}", series_uid=f"1.2.{n}",
                    sop_instance_uid=f"1.3.{n}", identity=replace(base.identity))
            for n in range(series)
        ]  # fmt: skip
        started = time.perf_counter()
        plans, problems, _ = plan_volumes(frames, options)
        assert len(plans) == series
        assert problems == []
        slabs = [slab for each in plans for slab in plan_slabs(each, options)]
        seconds["planning s"] = round(time.perf_counter() - started, 2)
        return plans, slabs

    before = memory()
    plans, slabs = benchmark.pedantic(plan, rounds=1)
    planned = memory()
    most = 0
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=False,
                     dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        runner = DaskRunner(client)
        list(runner.run(nothing, slabs[:50]))
        started, begun = time.perf_counter(), memory()
        count = 0
        for outcome in runner.run(nothing, slabs):
            assert outcome.error is None
            count += 1
            most = max(most, len(cluster.scheduler.tasks))
        ended = memory()
        seconds["tasks per s"] = round(count / (time.perf_counter() - started))
    assert count == len(plans)
    assert most <= 4 * 2 + 8  # those in flight, and some that are being forgotten
    benchmark.extra_info |= seconds | {
        "series": series, "scheduler tasks": most,
        "kB per series": round((planned - before) / series, 2),
        "run MB": round((ended - begun) / 1000),
    }  # fmt: skip
