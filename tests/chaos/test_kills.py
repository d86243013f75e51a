"""Kills of workers and of whole ingests at random moments, against a real S3 server.

Each ends in the archive of a quiet run, object by object, while a reader in another process sees
nothing that is not whole. SANSFILM_WORKER_KILLS, SANSFILM_DRIVER_KILLS and SANSFILM_VOLUME_KILLS
say how many.
"""

import contextlib
import hashlib
import random
import subprocess
import time
from collections import Counter
from datetime import timedelta

import harness
import pytest
import slow_slabs
import synth
from harness import command, kill_group, number, pause, snapshot, told, workers_of
from proxy import Proxy

import sansfilm
from sansfilm.store import checkpoint

WORKER_KILLS = number("WORKER_KILLS", 1)
DRIVER_KILLS = number("DRIVER_KILLS", 1)
VOLUME_KILLS = number("VOLUME_KILLS", 3)
LONG = WORKER_KILLS > 10


@pytest.fixture(scope="module")
def place(s3, tmp_path_factory):
    """Give a bucket with the archive of a quiet run, and what that run did."""
    import s3fs

    files = s3fs.S3FileSystem(use_listings_cache=False)
    bucket = f"kills{random.randrange(10**9)}"
    files.mkdir(bucket)
    named = harness.sources(long=LONG)
    with Proxy(s3.endpoint) as proxy:
        quiet = harness.quiet_run(files, bucket, named, tmp_path_factory.mktemp("quiet"), proxy)
    assert {key: size for key, (size, _) in quiet.objects.items()} == {
        path.relative_to(quiet.disk).as_posix(): path.stat().st_size
        for path in quiet.disk.rglob("*") if path.is_file()
    }  # fmt: skip
    return files, bucket, quiet


def same(files, root, quiet):
    assert harness.differences(snapshot(files, root), quiet.objects) == {}
    assert list(sansfilm.gc(f"s3://{root}", older_than=timedelta(0))) == []


@pytest.mark.parametrize(("part", "kills"), list(enumerate(harness.parts(WORKER_KILLS, 25))))
def test_killed_workers_cost_nothing(s3, place, tmp_path, record, part, kills):
    files, bucket, quiet = place
    chance, left, again, archive = random.Random(part), kills, 0, 0
    with Proxy(s3.endpoint) as proxy, harness.reader(bucket, quiet.disk, tmp_path) as seen:
        while left:
            root, lost = f"{bucket}/runw{part}-{archive:03}", True
            while lost:
                ingest = command("ingest", *quiet.sources, f"s3://{root}", "--json", "--workers",
                                 "2", endpoint=proxy.endpoint)  # fmt: skip
                while left and ingest.poll() is None:
                    pause(chance, 0.5, 4.5)  # a worker is there again after about 2 s
                    if workers := workers_of(ingest.pid):
                        chance.choice(workers).kill()
                        left -= 1
                report = told(ingest)
                lost = [p for p in report["problems"] if p["code"] == "WORKER_LOST"]
                again += bool(lost)
            assert harness.problems_of(report) == quiet.problems
            same(files, root, quiet)
            archive += 1
    extra = sum(size for _, size in proxy.counts.puts) - archive * quiet.put_bytes
    figures(record, f"workers killed, part {part}", kills, archive, extra, quiet, seen)
    record("  of these, ingests that gave a task up and ended its work when run again", again)


@pytest.mark.parametrize(("part", "kills"), list(enumerate(harness.parts(DRIVER_KILLS, 25))))
def test_killed_ingests_go_on(s3, place, tmp_path, record, part, kills):
    files, bucket, quiet = place
    chance, done, archive = random.Random(part), 0, 0
    with Proxy(s3.endpoint) as proxy, harness.reader(bucket, quiet.disk, tmp_path) as seen:
        while done < kills:
            root, ended = f"{bucket}/rund{part}-{archive:03}", False
            while not ended:
                how = chance.choice([(), ("--workers", "2"), ("--workers", "1")])
                ingest = command("ingest", *quiet.sources, f"s3://{root}", "--json", *how,
                                 endpoint=proxy.endpoint)  # fmt: skip
                moment = time.monotonic() + chance.uniform(0.5, 1.0 + quiet.seconds)
                while done < kills and time.monotonic() < moment and ingest.poll() is None:
                    time.sleep(0.01)
                ended = done == kills or ingest.poll() is not None
                if not ended:
                    kill_group(ingest)
                    done += 1
                    if chance.random() < 0.2:
                        clear(files, root)
            report = told(ingest)
            assert harness.problems_of(report) == quiet.problems
            same(files, root, quiet)
            archive += 1
    extra = sum(size for _, size in proxy.counts.puts) - archive * quiet.put_bytes
    figures(record, f"ingests killed, part {part}", kills, archive, extra, quiet, seen)


def test_kills_within_one_volume(files, bucket, tmp_path, record):
    """One volume of 160 slabs: a kill repeats what was done since the last checkpoint, no more.

    Slabs that take no time but sleep, two at once, so that others may use the machine. Each that is
    begun counts as work, wherever in it the kill came.
    """
    every, seconds = ("usual", 2.5) if VOLUME_KILLS > 10 else (0.5, 0.05)
    took, chance, log = 160 * seconds / 2, random.Random(7), tmp_path / "log"
    synth.series(tmp_path / "in", slices=320)
    sansfilm.ingest(tmp_path / "in", tmp_path / "a", options=slow_slabs.THIN)
    quiet = {path.relative_to(tmp_path / "a").as_posix(): hashlib.sha256(path.read_bytes())
             for path in (tmp_path / "a").rglob("*") if path.is_file()}  # fmt: skip
    kills = archive = 0
    while kills < VOLUME_KILLS or not archive:
        root = f"{bucket}/{archive:03}"
        while not any(name.endswith("/_commit.json") for name in files.find(f"{root}/series")):
            process = slow_slabs.start(tmp_path / "in", f"s3://{root}", log, "threads", every,
                                       seconds)  # fmt: skip
            wait = chance.uniform(0.2, 0.5) * took if kills < VOLUME_KILLS else None
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=wait)
            if process.poll() is None:
                kill_group(process)
                kills += 1
        found = {key: digest for key, (_, digest) in snapshot(files, root).items()}
        assert found == {key: digest.hexdigest() for key, digest in quiet.items()}
        archive += 1
    again = (len(slow_slabs.lines(log, "begun")) / 160 - archive) / kills
    stake = ((checkpoint.FIRST_S if every == "usual" else every) + 2 * seconds) / took
    record(f"one volume of {took:.0f} s, a checkpoint every {every} s",
           f"{kills} kills, {archive} archives as in a quiet run; begun again per kill: "
           f"{again:.1%}, at stake {stake:.1%}")  # fmt: skip
    assert again <= stake


def clear(files, root):
    """Let gc of age 0 take all that no commit names; nothing else of volumes may be left."""
    if files.exists(f"{root}/sansfilm.json"):
        list(sansfilm.gc(f"s3://{root}", older_than=timedelta(0)))
        volumes = {name.rsplit("/", 1)[0] for name in files.find(root) if "_commit" in name}
        for name in files.find(f"{root}/series"):
            assert any(name.startswith(f"{volume}/") for volume in volumes)


def figures(record, what, kills, archives, extra, quiet, seen):
    share = extra / kills / quiet.put_bytes
    record(what, f"{kills} kills, {archives} archives as in a quiet run; written again per kill: "
           f"{share:.2%} of {quiet.put_bytes / 1e6:.0f} MB; reader: {seen['looks']} looks, "
           f"{seen['volumes']} volumes verified, {seen['voxels']} voxels compared")  # fmt: skip
    # Of few volumes, one that was at work is more than a twentieth: the largest is half of all.
    largest = 0 if len(quiet.sources) > 1 else max(volumes(quiet.objects).values())
    assert share <= 0.05 + largest / quiet.put_bytes


def volumes(objects):
    """Return the bytes of each volume."""
    total = Counter()
    for key, (size, _) in objects.items():
        if key.startswith("series/"):
            total["/".join(key.split("/")[:3])] += size
    return total
