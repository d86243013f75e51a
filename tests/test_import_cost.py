"""What is not needed is not imported: in a fresh interpreter, by what is loaded afterwards."""

import subprocess
import sys

import pytest
import synth

import sansfilm

HEAVY = ["dask", "distributed", "zarr", "pandas", "xarray", "matplotlib", "cupy", "rich", "torch",
         "monai", "duckdb"]  # fmt: skip
CODECS = ["pydicom", "imagecodecs", "pyarrow"]
WITHOUT = [*HEAVY, "fsspec", "numpy.f2py", "pyarrow.compute", "pyarrow.dataset"]
"""pyarrow imports pandas with its first array: see sansfilm.columns."""


def loaded(script, names, *arguments):
    """Run a script; return which of the packages it has loaded at its end."""
    script += (
        f"\nimport sys; print(*[name for name in {names!r} if sys.modules.get(name)], sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cost")
    synth.series(folder / "in", slices=3)
    (folder / "in" / "notes.txt").write_text("a problem has to be told too")
    return folder


def test_importing_sansfilm_loads_nothing_heavy():
    assert loaded("import sansfilm", HEAVY + CODECS + ["fsspec", "argparse"]) == []


def test_importing_sansfilm_takes_a_moment():
    """Under 300 ms, in time of the processor, for the machine may be busy; the best of three."""
    script = "import time; a = time.process_time(); import sansfilm; print(time.process_time() - a)"
    taken = [float(loaded(script, [])[0]) for _ in range(3)]
    assert min(taken) < 0.3


@pytest.mark.parametrize("what", ["volume._repr_html_()", "repr(volume)"])
def test_the_first_card_of_a_volume_loads_neither_zarr_nor_the_ingest(archive, what):
    """Which is most of its time, see `benchmarks`; Arrow for the catalogue is what is left."""
    sansfilm.ingest(archive / "in", archive / "c")
    script = f"import sys, sansfilm; (volume,) = sansfilm.open(sys.argv[1]); {what}"
    names = [*WITHOUT, "asyncio", "pydicom", "sansfilm.convert", "sansfilm.planning"]
    assert loaded(script, names, archive / "c") == []


@pytest.mark.parametrize("name", ["sansfilm.model", "sansfilm.options", "sansfilm.errors"])
def test_what_travels_loads_not_even_numpy(name):
    assert loaded(f"import {name}", [*HEAVY, *CODECS, "numpy"]) == []


def test_kernels_load_no_gpu_library():
    assert loaded("import sansfilm_kernels", HEAVY + CODECS + ["sansfilm"]) == []


def test_a_small_ingest_loads_no_cluster_and_no_reader(archive):
    script = (
        "import sys, sansfilm\n"
        "report = sansfilm.ingest(sys.argv[1], sys.argv[2])\n"
        "assert len(report.volumes) == 1 and len(report.problems) == 1"
    )
    assert loaded(script, WITHOUT, archive / "in", archive / "a") == []


def test_opening_and_listing_load_no_cluster_and_no_array(archive):
    script = (
        "import sys, sansfilm\n"
        "sansfilm.ingest(sys.argv[1], sys.argv[2])\n"
        "archive = sansfilm.open(sys.argv[2])\n"
        "(volume,) = archive\n"
        "assert archive.rows() and volume.verdict.code == 'regular'"
    )
    assert loaded(script, HEAVY, archive / "in", archive / "b") == []


def test_the_command_line_answers_before_the_library_is_loaded():
    script = "from sansfilm.cli.main import main; assert main(['--help']) == 0"
    *_, last = loaded(script + "; print('END')", HEAVY + CODECS)
    assert last == "END"
