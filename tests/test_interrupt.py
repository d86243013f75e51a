"""Ctrl-C and SIGTERM: what is at work is finished, the same command goes on; twice ends at once."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import synth

import sansfilm
from sansfilm.run import interrupt


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("in")
    for seed in range(12):
        synth.series(folder / f"s{seed}", slices=3, rows=300, columns=300, seed=seed)
    return folder


@pytest.fixture(scope="module")
def quiet(sources, tmp_path_factory):
    url = tmp_path_factory.mktemp("quiet") / "a"
    sansfilm.ingest(sources, url)
    return url


SLOW = """
import sys, time
from sansfilm import convert
write = convert.write_slab
def slow(target, run, plan):
    time.sleep({seconds})
    return write(target, run, plan)
slow.__name__, slow.__qualname__ = "slow", "slow"
convert.write_slab = slow
if __name__ == "__main__":
    from sansfilm.cli.main import run
    run()
"""


def start(folder, sources, url, *how, seconds=0.3):
    """Start an ingest whose slabs take a while, in a process group as a terminal makes one."""
    script = folder / "slow.py"
    script.write_text(SLOW.format(seconds=seconds))
    process = subprocess.Popen(
        [sys.executable, str(script), "ingest", str(sources), str(url), *how],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )  # fmt: skip
    for _ in range(600):
        if (url / "series").exists():
            return process
        time.sleep(0.02)
    raise AssertionError(process.communicate())


@pytest.mark.parametrize("how", [(), ("--workers", "1"), ("--workers", "2")], ids=str)
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "term"]
)
def test_what_is_at_work_is_finished(sources, quiet, tmp_path, tree, how, number, code):
    url = tmp_path / "a"
    process = start(tmp_path, sources, url, *how)
    whole = number == signal.SIGINT  # a terminal's Ctrl-C goes to all processes of the group
    (os.killpg if whole else os.kill)(process.pid, number)
    _, told = process.communicate(timeout=30)
    assert process.returncode == code, told
    assert "finishing what is at work" in told
    assert "Traceback" not in told
    volumes = {path.parent for path in url.glob("series/*/*/zarr.json")}
    committed = {path.parent for path in url.glob("series/*/*/_commit.json")}
    assert volumes == committed  # each volume here is one slab: none was left half done
    assert 0 < len(committed) < 12
    sansfilm.ingest(sources, url)
    assert tree(url) == tree(quiet)


def test_twice_ends_at_once(sources, quiet, tmp_path, tree):
    url = tmp_path / "a"
    process = start(tmp_path, sources, url, "--workers", "1", seconds=2)
    os.kill(process.pid, signal.SIGINT)
    assert "finishing" in next(line for line in process.stderr if "sansfilm:" in line)
    started = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert time.monotonic() - started < 1.5
    sansfilm.ingest(sources, url)
    assert tree(url) == tree(quiet)


def test_handlers_are_put_back_and_other_threads_leave_them():
    before = signal.getsignal(signal.SIGINT)
    with interrupt.draining():
        assert signal.getsignal(signal.SIGINT) != before
        os.kill(os.getpid(), signal.SIGINT)
        assert list(interrupt.going([1, 2])) == []
        with pytest.raises(KeyboardInterrupt):
            interrupt.check()
    assert signal.getsignal(signal.SIGINT) == before
    interrupt.check()
    assert list(interrupt.going([1, 2])) == [1, 2]
    seen = []

    def other():
        with interrupt.draining():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [before]
