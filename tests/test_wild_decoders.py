"""A decoder that crashes, hangs or lies in a run: one volume is lost, all others are stored."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import synth
import wild
from pydicom.encaps import encapsulate, get_frame

CODES = {"segfault": "DECODE_FAILED", "sleep": "TIMEOUT", "native allocate": "",
         "shape": "CODESTREAM_MISMATCH"}  # fmt: skip
"""What becomes of a frame; where a decoder only refuses it, the next one steps in."""

RUN = """
import functools, sys
from sansfilm.cli import commands, main
from sansfilm.options import Budgets, Options
commands.Options = functools.partial(Options, prefer=("native", "wild", "imagecodecs"),
                                     budgets=Budgets(seconds=1))
if __name__ == "__main__":
    sys.exit(main.main(sys.argv[1:]))
"""


def poison(word, place):
    def edit(ds, index):
        if index == place:
            frame = get_frame(ds.PixelData, 0, number_of_frames=1)
            ds.PixelData = encapsulate([wild.poisoned(frame, word)])

    return edit


@pytest.fixture
def run(plugins, tmp_path):
    """Give a function that starts `sansfilm ingest` on the fixture's series."""
    folder = plugins(wild=wild.SOURCE)
    script = tmp_path / "run.py"
    script.write_text(RUN)
    path = os.pathsep.join([str(folder), *filter(None, sys.path)])

    def start(*arguments):
        command = [sys.executable, str(script), "ingest", "--json", str(tmp_path / "in")]
        return subprocess.Popen(
            [*command, str(tmp_path / "archive"), *arguments], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": path},
        )  # fmt: skip

    return start


def left_over(pids):
    deadline = time.monotonic() + 10
    while (left := [pid for pid in pids if psutil.pid_exists(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def watch(process):
    """Return all processes that a run starts, what it says, and what it complains."""
    pids, root = set(), psutil.Process(process.pid)
    while process.poll() is None:
        try:
            pids |= {child.pid for child in root.children(recursive=True)}
        except psutil.Error:
            break
        time.sleep(0.02)
    return pids, *process.communicate()


@pytest.mark.parametrize("workers", [(), ("--workers", "1"), ("--workers", "2")],
                         ids=["threads", "serial", "dask"])  # fmt: skip
def test_one_frame_costs_one_volume(run, tmp_path, workers):
    good = synth.series(tmp_path / "in" / "good", slices=8, rows=12, columns=10,
                        transfer_syntax=synth.JPEG_LS, series_uid="1.2.3.99")  # fmt: skip
    bad = {}
    for number, word in enumerate(CODES):
        bad[word] = synth.series(
            tmp_path / "in" / word, slices=8, rows=12, columns=10, seed=number + 1,
            transfer_syntax=synth.JPEG_LS, edit=poison(word, 3), series_uid=f"1.2.3.{number}",
        )  # fmt: skip
    process = run(*workers)
    pids, out, err = watch(process)
    assert process.returncode == 3, err
    report = json.loads(out)
    stored = {good.series_uid, bad.pop("native allocate").series_uid}
    assert {row["series_uid"] for row in report["volumes"]} == stored
    assert report["frames"] == {"found": 40, "stored": 16, "in_problems": 24}
    problems = {word: [p for p in report["problems"] if p["series_uid"] == made.series_uid]
                for word, made in bad.items()}  # fmt: skip
    for word, made in bad.items():
        blamed = [p for p in problems[word] if p["code"] != "INCOMPLETE_VOLUME"]
        assert [(p["uri"], p["code"]) for p in blamed] == [(str(made.paths[3]), CODES[word])]
        assert len(problems[word]) == 8
    assert "Traceback" not in err
    assert pids
    assert left_over(pids) == []


def test_ctrl_c_leaves_no_process_and_no_traceback(run, tmp_path):
    synth.series(tmp_path / "in", slices=8, rows=12, columns=10, transfer_syntax=synth.JPEG_LS,
                 edit=poison("sleep", 3))  # fmt: skip
    process, root = run(), None
    root = psutil.Process(process.pid)
    while not (children := root.children(recursive=True)):
        time.sleep(0.02)
    time.sleep(0.3)
    for one in (root, *children):  # a terminal tells all of them
        one.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "interrupted" in err
    assert left_over(child.pid for child in children) == []
