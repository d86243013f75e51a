"""One S3 server for all tests here, and a new bucket for each."""

import contextlib
import importlib.util
import uuid
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("s3_server", Path(__file__).with_name("server.py"))
server_module = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(server_module)


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """Give the running server; its address and keys are in the environment, as users have them."""
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    if absent := server_module.missing():
        packages = "apt-get install --no-install-recommends radosgw ceph-mon ceph-osd"
        pytest.skip(f"no S3 server to test with ({', '.join(absent)} not found): {packages}")
    folder = tmp_path_factory.mktemp("ceph")
    with pytest.MonkeyPatch.context() as patch, server_module.Server(folder) as server:
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


@pytest.fixture
def record():
    """Give a function that keeps a figure for the end of the run: docs/reliability.md has them."""
    return lambda what, figure: _FIGURES.append(f"{what}: {figure}")


def pytest_terminal_summary(terminalreporter):
    for line in _FIGURES:
        terminalreporter.write_line(line)
