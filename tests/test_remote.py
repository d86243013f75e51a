"""Which errors say that storage is gone, and which that one object is not to be had."""

import errno
import time

import pytest
import synth
from fsspec.implementations.memory import MemoryFileSystem

import sansfilm
from sansfilm.errors import SourceLostError
from sansfilm.remote import is_lost

botocore = pytest.importorskip("botocore.exceptions")


def answered(code, status):
    """Make what s3fs makes of an answer: an error of Python's with botocore's as its cause."""
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = PermissionError(errno.EACCES, code)
    error.__cause__ = botocore.ClientError(answer, "GetObject")
    return error


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (answered("SlowDown", 503), True),
        (answered("InternalError", 500), True),
        (answered("ExpiredToken", 400), True),
        (answered("SignatureDoesNotMatch", 403), True),
        (answered("AccessDenied", 403), False),
        (answered("NoSuchKey", 404), False),
        (botocore.EndpointConnectionError(endpoint_url="x"), True),
        (botocore.ReadTimeoutError(endpoint_url="x"), True),
        (botocore.ConnectTimeoutError(endpoint_url="x"), True),
        (botocore.NoCredentialsError(), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (FileNotFoundError(), False),
        (PermissionError(), False),
        (OSError(errno.EIO, "the file changed while it was read"), False),
        (ValueError("not a zip file"), False),
    ],
    ids=lambda value: f"{type(value).__name__} {value}" if isinstance(value, Exception) else "",
)
def test_what_says_that_storage_is_gone(error, lost):
    assert is_lost(error) is lost


@pytest.mark.parametrize("after", [0, 3, 5])
def test_a_run_ends_where_its_sources_storage_is_gone(tmp_path, monkeypatch, after):
    """Else the volume would be published without the slices that could not be read."""
    made = synth.series(tmp_path / "in", slices=6)
    place = f"/in{time.monotonic_ns()}"
    for path in made.paths:
        MemoryFileSystem().pipe_file(f"{place}/{path.name}", path.read_bytes())
    left = [after]

    def read(self, path, **part):
        left[0] -= 1
        if left[0] < 0:
            raise ConnectionResetError
        return whole(self, path, **part)

    whole = MemoryFileSystem.cat_file
    monkeypatch.setattr(MemoryFileSystem, "cat_file", read)
    with pytest.raises(SourceLostError, match="ConnectionResetError: run the same command again"):
        sansfilm.ingest(f"memory:/{place}", tmp_path / "a", workers=1)
    assert not list((tmp_path / "a").glob("series/*/*/_commit.json"))
    monkeypatch.setattr(MemoryFileSystem, "cat_file", whole)
    report = sansfilm.ingest(f"memory:/{place}", tmp_path / "a", workers=1)
    assert report.frames == {"found": 6, "stored": 6, "in_problems": 0}
