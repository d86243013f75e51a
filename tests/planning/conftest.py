"""What the tests of the ingest stage share."""

from pathlib import Path

import pytest

from sansfilm.errors import Problem
from sansfilm.model import Document, FileRef, Frame
from sansfilm.options import Budgets
from sansfilm.planning.headers import read_frames


@pytest.fixture
def read(tmp_path):
    """Give a function that reads a file, or bytes: the frame, or a list if there are several."""

    def read(source: Path | bytes, **budgets: int) -> Frame | list[Frame] | Document | Problem:
        path = source if isinstance(source, Path) else tmp_path / "instance.dcm"
        if isinstance(source, bytes):
            path.write_bytes(source)
        found = read_frames(FileRef(str(path), path.stat().st_size), Budgets(**budgets))
        return found[0] if isinstance(found, list) and len(found) == 1 else found

    return read
