"""Where the data of the tests is, and what several folders of tests share."""

import contextlib
import os
import sys
from pathlib import Path

import pytest

from sansfilm.convert import convert
from sansfilm.decode import device, device_backends, registry
from sansfilm.options import Options
from sansfilm.progress import Progress
from sansfilm.report import Ledger
from sansfilm.store.memory import MemoryTarget

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data() -> Path:
    """Give the real DICOM files of the repository."""
    return ROOT / "tests" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Give the larger collection beside the repository; skip without it."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the collection shared/data is not beside the repository")
    return folder


@pytest.fixture
def tree():
    """Give a function that reads a folder as {relative path: bytes}."""

    def read(folder: Path) -> dict[str, bytes]:
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    return read


@pytest.fixture
def without_root():
    """Give a context in which the files of others are closed, also where tests run as root."""

    @contextlib.contextmanager
    def drop():
        if os.geteuid() != 0:
            yield
            return
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)

    return drop


@pytest.fixture
def plan_of():
    """Give a function that plans the one volume of a folder."""

    def plan(folder, options=None):
        ledger = Ledger("", Progress(), dry_run=True)
        ((found, _),) = convert(
            [str(folder)], MemoryTarget(), options or Options(), ledger, {}, dry_run=True
        )
        return found

    return plan


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """Give a function that installs a distribution with decoders, {name: source of a module}.

    It returns the folder that has to be on the path of other processes.
    """
    folder = tmp_path / "plugins"
    caches = (registry._others, registry.backend, registry.readers, registry._why_not,
              device_backends.names, device_backends.backends, device_backends.readers,
              device_backends.present)  # fmt: skip
    monkeypatch.setattr(device, "DEVICE", device.Device())

    def install(group: str = registry.GROUP, **sources: str) -> Path:
        about = folder / "filmless-1.0.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: filmless\nVersion: 1.0\n")
        entries = "".join(f"{name} = filmless_{name}:Decoder\n" for name in sources)
        (about / "entry_points.txt").write_text(f"[{group}]\n{entries}")
        for name, source in sources.items():
            (folder / f"filmless_{name}.py").write_text(source)
            monkeypatch.delitem(sys.modules, f"filmless_{name}", raising=False)
        monkeypatch.syspath_prepend(folder)
        for each in caches:
            each.cache_clear()
        return folder

    yield install
    for each in caches:
        each.cache_clear()
