"""Peak memory of the whole process tree: 350 MB per worker and three raw slabs."""

import subprocess
import sys
import threading
import time

import psutil
import pytest
import synth

MB = 10**6
SLAB = 64 * 512 * 512 * 2


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    folder = tmp_path_factory.mktemp("series")
    synth.series(folder, slices=256, rows=512, columns=512, transfer_syntax=synth.HTJ2K)
    return folder


@pytest.mark.parametrize("workers", [None, 1, 2])
def test_peak_memory_is_bounded(series, tmp_path, workers):
    arguments = [] if workers is None else ["--workers", str(workers)]
    process = subprocess.Popen(
        [sys.executable, "-m", "sansfilm", "ingest", str(series), str(tmp_path / "a"), *arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    peak = watch(process)
    assert process.returncode == 0
    assert peak < (workers or 1) * 350 * MB + 3 * SLAB, f"{peak / MB:.0f} MB"


def watch(process):
    """Return the largest sum of resident memory of a process and its children, sampled at 50 Hz."""
    peak, root = 0, psutil.Process(process.pid)
    done = threading.Event()
    threading.Thread(target=lambda: (process.wait(), done.set()), daemon=True).start()
    while not done.wait(0.02):
        total = 0
        for child in [root, *children(root)]:
            try:
                total += child.memory_info().rss
            except psutil.Error:
                continue
        peak = max(peak, total)
        time.sleep(0)
    return peak


def children(root):
    try:
        return root.children(recursive=True)
    except psutil.Error:
        return []
