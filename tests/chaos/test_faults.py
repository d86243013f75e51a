"""Faults of storage injected into single requests, by a proxy in front of a real S3 server.

Sources and archive are both behind it. Each ingest ends in the archive of a quiet run, object by
object, while a reader that has no faults sees nothing that is not whole. SANSFILM_FAULTS says how
many faults, SANSFILM_OUTAGE_S how long the storage is away once.
"""

import random
import threading
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import harness
import pytest
from harness import command, number, snapshot, told
from proxy import KINDS, Proxy

import sansfilm

FAULTS = number("FAULTS", 20)
OUTAGE_S = number("OUTAGE_S", 1)
READ_S = 2
"""Seconds that the client waits here, in place of 60."""
HASTY = (str(Path(__file__).with_name("hasty.py")),)


@pytest.fixture(scope="module")
def place(s3, tmp_path_factory):
    """Give a bucket with sources and the archive of a quiet run, and what that run did."""
    import s3fs

    files = s3fs.S3FileSystem(use_listings_cache=False)
    bucket = f"faults{random.randrange(10**9)}"
    files.mkdir(bucket)
    files.put(str(harness.DATA), f"{bucket}/in", recursive=True)
    with Proxy(s3.endpoint) as proxy:
        folder = tmp_path_factory.mktemp("quiet")
        quiet = harness.quiet_run(files, bucket, [f"s3://{bucket}/in"], folder, proxy)
    return files, bucket, quiet


@pytest.mark.parametrize(("part", "faults"), list(enumerate(harness.parts(FAULTS, 250))))
def test_faults_of_storage_change_nothing(s3, place, tmp_path, record, monkeypatch, part, faults):
    files, bucket, quiet = place
    monkeypatch.setenv("SANSFILM_TEST_READ_S", str(READ_S))
    injected, requests, archives = Counter(), 0, 0
    with harness.reader(bucket, quiet.disk, tmp_path) as seen:
        while injected.total() < faults:
            left = faults - injected.total()
            root = f"{bucket}/run{part}-{archives:03}"
            with Proxy(s3.endpoint, seed=1000 * part + archives, rate=0.15, limit=left,
                       stall_s=READ_S + 1) as proxy:  # fmt: skip
                ingest = command("ingest", *quiet.sources, f"s3://{root}", "--json",
                                 endpoint=proxy.endpoint, script=HASTY)  # fmt: skip
                if not archives and not part:
                    outage(proxy)
                report = told(ingest)
            assert harness.problems_of(report) == quiet.problems
            assert harness.differences(snapshot(files, root), quiet.objects) == {}
            assert list(sansfilm.gc(f"s3://{root}", older_than=timedelta(0))) == []
            injected += proxy.counts.injected
            requests += proxy.counts.requests
            archives += 1
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(injected.items()))
    record(f"faults of storage, part {part}", f"{injected.total()} in {requests} requests of "
           f"{archives} ingests ({kinds}); reader: {seen['looks']} looks, {seen['volumes']} "
           f"volumes verified, {seen['voxels']} voxels compared")  # fmt: skip
    assert faults < 40 or injected.keys() >= set(KINDS)


def outage(proxy):
    """Take the storage away as soon as the ingest is well at work."""

    def away():
        while proxy.counts.requests < 60:
            time.sleep(0.02)
        proxy.outage(OUTAGE_S)

    threading.Thread(target=away, daemon=True).start()


@pytest.mark.skipif(FAULTS < 1000, reason="takes more than a minute: make test-chaos")
def test_a_stall_is_given_up_after_a_minute(s3, place, record):
    files, bucket, quiet = place
    started = time.perf_counter()
    with Proxy(s3.endpoint, rate=0.05, limit=2, kinds=("stall",), stall_s=70) as proxy:
        report = told(command("ingest", *quiet.sources, f"s3://{bucket}/run-stall", "--json",
                              endpoint=proxy.endpoint))  # fmt: skip
    assert proxy.counts.injected["stall"] == 2
    assert harness.problems_of(report) == quiet.problems
    assert harness.differences(snapshot(files, f"{bucket}/run-stall"), quiet.objects) == {}
    record("stalls with the time-out as it is", f"2, {time.perf_counter() - started:.0f} s")
