"""Bytes by offset and length, whatever the file is called and wherever it lies."""

import errno
import hashlib
import os

import fsspec
import pytest

from sansfilm.planning.source import Source, local_path, local_uri

DATA = bytes(range(256)) * 40

ODD_NAMES = [
    "plain.dcm", "with space", "100%", "%41", "new\nline", "-rf", "\x1b[31mred\x1b[0m", "naïve",
    "日本", "a::b", "c:", "file:", "x" * 250, "\udcff\udcfe", "tab\t",
]  # fmt: skip


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_can_be_printed_and_opened(tmp_path, name):
    path = os.path.join(tmp_path, name)  # noqa: PTH118
    with open(os.fsencode(path), "wb") as file:  # noqa: PTH123
        file.write(DATA)
    uri = local_uri(path)
    assert uri.isprintable()
    assert local_path(uri) == path
    with Source(uri) as source:
        assert source.read(0, 10**6) == DATA


@pytest.fixture(params=["local", "memory"])
def uri(request, tmp_path):
    """Give the URI of the data, on disk and behind fsspec."""
    if request.param == "local":
        (tmp_path / "data").write_bytes(DATA)
        return str(tmp_path / "data")
    fsspec.filesystem("memory").pipe("/source/data", DATA)
    return "memory://source/data"


@pytest.mark.parametrize("head", [0, 1, 100, len(DATA), 10**6])
def test_reads(uri, head):
    with Source(uri) as source:
        assert source.size == len(DATA)
        assert source.head(head)[:head] == DATA[:head]
        for offset, length in ((0, 5), (90, 20), (100, 0), (len(DATA) - 3, 10), (10**9, 5)):
            assert source.read(offset, length) == DATA[offset : offset + length]
        assert source.sha256() == hashlib.sha256(DATA).hexdigest()
        assert source.head(200)[:200] == DATA[:200]
        assert source.read(150, 100) == DATA[150:250]


def test_a_file_that_shrinks_is_an_error(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(DATA)
    with Source(str(path)) as source:
        path.write_bytes(DATA[:100])
        with pytest.raises(OSError, match="changed"):
            source.read(50, 100)
        with pytest.raises(OSError, match="changed"):
            source.sha256()


def test_an_object_that_is_not_as_long_as_it_was_listed_is_an_error():
    fsspec.filesystem("memory").pipe("/source/changed", DATA)
    for listed in (len(DATA) - 1, len(DATA) + 1):
        with (
            Source("memory://source/changed", listed) as source,
            pytest.raises(OSError, match="changed"),
        ):
            source.sha256()
    with Source("memory://source/changed", 0) as source:  # a listing without sizes
        assert source.read(0, 10**6) == DATA


def test_what_file_systems_raise_becomes_oserror(monkeypatch):
    class Failing(fsspec.AbstractFileSystem):
        protocol = "failing"

        def info(self, path, **_):
            raise RuntimeError("ZZPHI")

    fsspec.register_implementation("failing", Failing)
    for uri in ("failing://x", "nosuchprotocol://x", "memory://not there"):
        with pytest.raises(OSError) as caught:  # noqa: PT011
            Source(uri)
        assert "ZZPHI" not in str(caught.value)


def test_missing_files():
    with pytest.raises(FileNotFoundError) as caught:
        Source("/no/such/file")
    assert caught.value.errno == errno.ENOENT
