"""Fixtures of a real S3 server: one for all tests of a run, and a new bucket for each."""

import atexit
import contextlib
import functools
import shutil
import tempfile
import uuid
from pathlib import Path

import pytest
import s3_server


@functools.cache
def running_server():
    """Start the server, once; it ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix="sansfilm-ceph-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    server = s3_server.Server(folder)
    atexit.register(server.stop)
    return server


@pytest.fixture(scope="module")
def s3():
    """Give the running server; its address and keys are in the environment, as users have them."""
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    if absent := s3_server.missing():
        packages = "apt-get install --no-install-recommends radosgw ceph-mon ceph-osd"
        pytest.skip(f"no S3 server to test with ({', '.join(absent)} not found): {packages}")
    server = running_server()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        yield server


@pytest.fixture
def files(s3):
    """Give a file system of the server, to look and to break things."""
    import s3fs

    return s3fs.S3FileSystem(use_listings_cache=False)


@pytest.fixture
def bucket(files):
    """Give the name of a new bucket."""
    name = f"b{uuid.uuid4().hex[:12]}"
    files.mkdir(name)
    return name


@pytest.fixture
def counted(s3):
    """Give a context that collects the requests made in it, from the server's own log."""

    @contextlib.contextmanager
    def collect():
        before, found = len(s3.requests()), []
        yield found
        found += s3.requests()[before:]

    return collect


_FIGURES: list[str] = []


@pytest.fixture(scope="session")
def record():
    """Give a function that keeps a figure for the end of the run: docs/reliability.md has them."""
    return lambda what, figure: _FIGURES.append(f"{what}: {figure}")


def pytest_terminal_summary(terminalreporter):
    for line in _FIGURES:
        terminalreporter.write_line(line)
    _FIGURES.clear()  # another folder's conftest has this function too
