"""A whole ingest by forks: the same bytes as by threads, whatever dies."""

import os
import subprocess
import sys

import pytest
import synth

import sansfilm

SCRIPT = """
import gc, os, signal, sys
from pathlib import Path
import sansfilm
from sansfilm import convert, intake
from sansfilm.planning import discover, listing
from sansfilm.run import choose
from sansfilm.run.forked import ForkedRunner

discover.Listing = lambda: listing.Listing(20)  # most files are put aside
choose.FEW_TASKS = convert.HEADERS_AT_ONCE = 2
choose.cores = lambda: 3
sources, archive, deadly = sys.argv[1:]
write, ran = convert.write_slab, []

def write_slab(*told):
    mark = Path(archive + ".died")
    if deadly and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return write(*told)

class Seen(ForkedRunner):
    def run(self, function, *tasks):
        ran.append(function)
        yield from super().run(function, *tasks)

convert.write_slab = write_slab
sys.modules["sansfilm.run.forked"].ForkedRunner = Seen
report = sansfilm.ingest(sources, archive, workers="auto")
assert gc.get_freeze_count() == 0
print(len(report.volumes), len(report.problems), len(ran))
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Several series, some with a codec, and a file that is no DICOM."""
    folder = tmp_path_factory.mktemp("sources")
    for seed, syntax in enumerate((synth.EXPLICIT_LE, synth.J2K, synth.JPEG_LS, synth.RLE)):
        synth.series(folder / f"s{seed}", slices=70, rows=40, columns=30, seed=seed,
                     transfer_syntax=syntax)  # fmt: skip
    (folder / "notes.txt").write_text("not DICOM")
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="forks are made on Linux only")
@pytest.mark.parametrize("deadly", ["", "deadly"])
def test_forks_write_what_threads_write(sources, tmp_path, tree, deadly):
    one = sansfilm.ingest(sources, tmp_path / "threads")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(sources), str(tmp_path / "forks"), deadly],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    # twice: for headers, with the batch whose file is bad, and for slabs
    assert done.stdout.split()[:2] == [str(len(one.volumes)), str(len(one.problems))]
    assert int(done.stdout.split()[2]) >= 2
    assert tree(tmp_path / "forks") == tree(tmp_path / "threads")
    assert (tmp_path / "forks.died").exists() is bool(deadly)
