"""What holds for the repository as a whole: the wheel, the import rules, the pins, the set-up."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINS = [
    line
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
]

# Spelled in parts, or this file would be the first to be found.
REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("anaconda", "org"),
        ("deb", "debian", "org"),
        ("pypi", "nvidia", "com"),
    )
]
# Absolute paths that exist on one machine only. A part of a longer path or address is not meant.
LOCAL_PATH = re.compile(r"(?<![\w.~/-])/(?:root|work|home|Users|opt/pypi)/\w")


def run(*command, **kwargs):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, **kwargs)


def committed_files():
    """Every file that git has or would add; without git, what lies where files belong."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    if listed.returncode == 0:
        names = listed.stdout.split("\0")[:-1]
    else:
        places = [ROOT / name for name in ("tests", "pipeline", "kernels", "benchmarks", ".ci")]
        found = [*ROOT.iterdir(), *(path for place in places for path in place.rglob("*"))]
        names = [path.relative_to(ROOT).as_posix() for path in found if path.suffix != ".pyc"]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def committed_texts():
    for path in committed_files():
        data = path.read_bytes()
        if b"\0" not in data[:8192]:
            yield path.relative_to(ROOT).as_posix(), data.decode("utf-8", "replace")


def test_wheel_holds_both_packages_and_nothing_else(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    built = run(*command)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"sansfilm", "sansfilm_kernels"}
    assert {"sansfilm/py.typed", "sansfilm_kernels/py.typed"} <= names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    sources = {
        path.relative_to(root).as_posix()
        for root in (ROOT / "pipeline", ROOT / "kernels")
        for path in (*root.rglob("*.py"), *root.rglob("*.cu"))
    }
    assert {name for name in names if name.endswith((".py", ".cu"))} == sources
    assert "sansfilm_kernels/cuda/jpegls.cu" in sources
    assert not [name for name in names if "test" in name]
    golden = (ROOT / "pipeline" / "sansfilm" / "decode" / "golden").iterdir()
    assert {f"sansfilm/decode/golden/{path.name}" for path in golden} <= names


def test_source_roots_are_no_packages():
    # With an __init__.py here, a package of the name `kernels` would hide and be hidden.
    assert not (ROOT / "pipeline" / "__init__.py").exists()
    assert not (ROOT / "kernels" / "__init__.py").exists()


def test_import_rules_hold():
    script = Path(sysconfig.get_path("scripts")) / "lint-imports"
    roots = os.pathsep.join([str(ROOT / "pipeline"), str(ROOT / "kernels")])
    checked = run(str(script), "--no-cache", env={**os.environ, "PYTHONPATH": roots})
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_no_file_names_a_registry_or_a_path_of_one_machine():
    found = [
        (name, line)
        for name, text in committed_texts()
        for line in text.splitlines()
        if LOCAL_PATH.search(line) or any(host in line for host in REGISTRIES)
    ]
    assert found == []


def test_constraints_are_exact_and_sorted():
    assert [pin for pin in PINS if not re.fullmatch(r"[a-z0-9-]+==[a-z0-9.+]+", pin)] == []
    names = [pin.split("==")[0] for pin in PINS]
    assert sorted(set(names)) == names


def test_constraints_cover_every_dependency():
    pinned = dict(pin.split("==") for pin in PINS)
    project = PROJECT["project"]
    wanted = [
        *PROJECT["build-system"]["requires"],
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
        *(line for group in PROJECT["dependency-groups"].values() for line in group),
        "pip>=25.3",  # knows dependency groups and build constraints
        "editables",  # what hatchling needs for an editable installation
    ]
    for requirement in map(Requirement, wanted):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} is not pinned: make constraints"
        assert requirement.specifier.contains(version, prereleases=True), requirement


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make to run")
def test_without_python_make_says_so_in_one_sentence(tmp_path):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    # Like pyenv shims with no version behind them: they are there, and they fail when they run.
    names = ["python", "python3", "python3.12"]
    shims = tmp_path / "shims"
    shims.mkdir()
    for name in names:
        (shims / name).write_text("#!/bin/sh\necho 'version not installed' >&2\nexit 127\n")
        (shims / name).chmod(0o755)
    told = subprocess.run(
        ["make", f"CANDIDATES={' '.join(names)} no-such-python", ".venv/.created"],
        cwd=tmp_path,
        env={"PATH": os.pathsep.join([str(shims), os.environ["PATH"]])},
        capture_output=True,
        text=True,
    )
    assert told.returncode != 0
    (sentence,) = [line for line in told.stderr.splitlines() if not line.startswith("make")]
    assert sentence.startswith("No Python 3.12 or newer")
    assert "apt-get install" in sentence
    assert not (tmp_path / ".venv").exists()
