"""What the chaos tests share: the job, the quiet run it is held against, kills, a reader."""

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

import sansfilm

HERE = Path(__file__).parent
DATA = HERE.parent / "data"
SHARED = HERE.parents[2] / "shared" / "data"
MORE = ("mr-series", "4d")
"""What is ingested besides the data of the repository in a long run, where it is at hand."""


def sources(*, long: bool) -> list[str]:
    """Return folders of real series that ingest in a few seconds, some bad files among them."""
    more = [SHARED / name for name in MORE if long and (SHARED / name).is_dir()]
    return [str(folder) for folder in (DATA, *more)]


def parts(total: int, each: int) -> list[int]:
    """Cut a number into several of at most `each`, so that no test takes many minutes."""
    return [min(each, total - start) for start in range(0, total, each)]


def number(name: str, small: int) -> int:
    """Return a setting of the environment; small in `make test`, large in `make test-chaos`."""
    return int(os.environ.get(f"SANSFILM_{name}", small))


def command(*arguments: str, endpoint: str = "", script: tuple[str, ...] = ("-m", "sansfilm")):
    """Start sansfilm in a process group of its own."""
    told = {"AWS_ENDPOINT_URL": endpoint} if endpoint else {}
    path = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(
        [sys.executable, *script, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": path, **told},
    )  # fmt: skip


def kill_group(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def workers_of(driver: int) -> list[psutil.Process]:
    """Return the Dask workers that a process has started: neither guards nor helpers."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(driver).children():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                if any("multiprocessing.spawn" in word for word in child.cmdline()):
                    found.append(child)
    return found


def snapshot(files, root: str) -> dict[str, tuple[int, str]]:
    """Read everything below a place on the server as {key: (bytes, SHA-256)}."""
    found = {}
    for name in files.find(root):
        data = files.cat_file(name)
        found[name[len(root) + 1 :]] = len(data), hashlib.sha256(data).hexdigest()
    return found


def differences(found: dict, expected: dict) -> dict[str, tuple]:
    """Return what differs, for a message that can be read."""
    keys = sorted(found.keys() | expected.keys())
    return {k: (found.get(k), expected.get(k)) for k in keys if found.get(k) != expected.get(k)}


@dataclass(frozen=True)
class Quiet:
    """A run that nothing happens to: on the server, and on a disk for the reader."""

    sources: tuple[str, ...]
    disk: Path
    objects: dict[str, tuple[int, str]]
    put_bytes: int
    seconds: float
    problems: list


def told(process: subprocess.Popen[str]) -> dict:
    """Wait for an ingest; return its report."""
    out, err = process.communicate()
    assert process.returncode in (0, 3), (process.returncode, err[-3000:])
    return json.loads(out)


def problems_of(report: dict) -> list[tuple]:
    return sorted((p["uri"], p["code"], p["message"]) for p in report["problems"])


def quiet_run(files, bucket: str, named: list[str], folder: Path, proxy, *how: str) -> Quiet:
    """Ingest in peace by way of a proxy that only counts, and to a disk."""
    url = f"s3://{bucket}/quiet"
    started = time.perf_counter()
    report = told(command("ingest", *named, url, "--json", *how, endpoint=proxy.endpoint))
    seconds = time.perf_counter() - started
    sansfilm.ingest(named, folder / "quiet")
    return Quiet(
        tuple(named), folder / "quiet", snapshot(files, f"{bucket}/quiet"),
        sum(size for _, size in proxy.counts.puts), seconds, problems_of(report),
    )  # fmt: skip


@contextlib.contextmanager
def reader(bucket: str, disk: Path, folder: Path, seed: int = 0) -> Iterator[dict]:
    """Read all archives of a bucket in another process; what it saw is there at the end.

    It fails the test if it saw a voxel, an object or a row that should not be.
    """
    stop, seen = folder / f"stop{seed}", {}
    script = (str(HERE / "watcher.py"),)
    process = command(bucket, str(disk), str(stop), str(seed), script=script)
    try:
        yield seen
    finally:
        stop.touch()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err[-3000:]
    seen |= json.loads(out)
    assert seen["wrong"] == [], seen["wrong"][:3]


def pause(chance: random.Random, low: float, high: float) -> None:
    time.sleep(chance.uniform(low, high))
