"""Every notebook runs from top to bottom, shows no warning, and is committed without outputs."""

import base64
import io
import os
import tempfile
from pathlib import Path

import matplotlib.image
import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"
if not FOLDER.is_dir():  # a source distribution has none
    pytest.skip("there are no notebooks here", allow_module_level=True)
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SECONDS = 60
"""For one cell; a whole notebook should take less."""


@pytest.fixture(autouse=True)
def kernel_of_this_checkout(monkeypatch):
    """Kernels import these sources, and read no settings of the user."""
    roots = [str(ROOT / "pipeline"), str(ROOT / "kernels")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(roots))
    with tempfile.TemporaryDirectory(prefix="nb") as folder:  # paths of sockets must be short
        for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
            monkeypatch.setenv(name, folder)
        yield


def run(notebook):
    """Run a notebook in its folder, over sockets that are files: no port is opened."""
    sockets = os.environ["JUPYTER_RUNTIME_DIR"] + "/kernel"
    NotebookClient(
        notebook,
        config=Config(KernelManager={"transport": "ipc", "ip": sockets}),
        kernel_name="python3",
        resources={"metadata": {"path": str(FOLDER)}},
        timeout=SECONDS,
    ).execute()


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def told_on_stderr(notebook):
    return [each.text for each in outputs(notebook) if each.get("name") == "stderr"]


def pictures(notebook):
    coded = [each.get("data", {}).get("image/png") for each in outputs(notebook)]
    return [matplotlib.image.imread(io.BytesIO(base64.b64decode(png))) for png in coded if png]


def leftovers(notebook):
    """Return what a run leaves in a notebook and does not belong into git."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [
        *(cell.id for cell in cells if cell.outputs or cell.execution_count is not None),
        *(cell.id for cell in notebook.cells if cell.metadata),
        *(set(notebook.metadata) - {"kernelspec", "language_info"}),
    ]


def test_there_are_notebooks_one_after_the_other():
    assert [int(path.name[:2]) for path in NOTEBOOKS] == list(range(1, len(NOTEBOOKS) + 1))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_without_a_warning(path):
    notebook = nbformat.read(path, 4)
    run(notebook)
    assert told_on_stderr(notebook) == []
    found = pictures(notebook)
    assert found
    assert all(picture[..., :3].std() > 0.02 for picture in found)  # none is empty


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_without_outputs(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert leftovers(notebook) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_uses_public_names_only(path):
    text = "\n".join(cell.source for cell in nbformat.read(path, 4).cells)
    assert "../shared" not in text
    for line in text.splitlines():
        words = line.split()
        if words[:1] in (["import"], ["from"]):
            assert not words[1].startswith(("sansfilm.", "sansfilm_kernels.", "synth", "tests"))
            assert " _" not in line


def test_what_goes_wrong_in_a_notebook_is_seen():
    cells = nbformat.v4.new_code_cell, nbformat.v4.new_notebook
    warns = cells[1](cells=[cells[0]("import warnings; warnings.warn('careful')")])
    run(warns)
    assert "careful" in told_on_stderr(warns)[0]
    assert leftovers(warns)
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        run(cells[1](cells=[cells[0]("1 / 0")]))
