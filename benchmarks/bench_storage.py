"""Speed of an ingest to object storage beside one to a local disk: JPEG 2000, two processes.

``make bench`` measures both in turn on a real S3 server on this machine (Ceph, as in tests/s3), so
that what else the machine does hits both; it needs a minute. In the JSON report `disk over s3` is
the ratio of the medians: 1 is as fast as a disk, 0.5 takes twice as long.
"""

import shutil
import statistics
import time

import pytest
import synth
from distributed import Client, LocalCluster
from s3_fixtures import bucket, files, s3  # noqa: F401

import sansfilm

ROUNDS = 5


@pytest.fixture
def made(tmp_path):
    """Give a folder of two series of 70 slices of a head-like phantom."""
    for seed in range(2):
        synth.series(tmp_path / "in" / str(seed), slices=70, rows=512, columns=512, seed=seed,
                     transfer_syntax=synth.J2K)  # fmt: skip
    return tmp_path / "in"


def bench_ingest_to_s3_and_to_disk(benchmark, pytestconfig, request, tmp_path):
    if not pytestconfig.getoption("benchmark_enable"):
        pytest.skip("starts a server: make bench")
    place, source = request.getfixturevalue("bucket"), request.getfixturevalue("made")
    seconds = {"disk": [], "s3": []}
    here = "127.0.0.1:0"
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=here) as cluster,
        Client(cluster) as client,
    ):

        def once(where, url):
            started = time.perf_counter()
            report = sansfilm.ingest(source, url, client=client)
            seconds[where].append(time.perf_counter() - started)
            assert report.frames["stored"] == 140

        def pair():
            number = len(seconds["s3"])
            both = [("disk", tmp_path / "a"), ("s3", f"s3://{place}/a{number}")]
            for where, url in both[:: 1 if number % 2 else -1]:
                once(where, url)
            shutil.rmtree(tmp_path / "a")

        pair()  # imports, connections, guards
        for times in seconds.values():
            times.clear()
        benchmark.pedantic(pair, rounds=ROUNDS)
    medians = {where: statistics.median(times) for where, times in seconds.items()}
    benchmark.extra_info |= {f"{where} s": round(median, 3) for where, median in medians.items()}
    benchmark.extra_info["disk over s3"] = round(medians["disk"] / medians["s3"], 3)
