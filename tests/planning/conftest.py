"""What the tests of the ingest stage share."""

from pathlib import Path

import pytest

from sansfilm.errors import Problem
from sansfilm.model import FileRef, Header
from sansfilm.options import Budgets
from sansfilm.planning.headers import read_header


@pytest.fixture
def read(tmp_path):
    """Give a function that reads the header of a file, or of bytes."""

    def read(source: Path | bytes, **budgets: int) -> Header | Problem:
        path = source if isinstance(source, Path) else tmp_path / "instance.dcm"
        if isinstance(source, bytes):
            path.write_bytes(source)
        return read_header(FileRef(str(path), path.stat().st_size), Budgets(**budgets))

    return read
