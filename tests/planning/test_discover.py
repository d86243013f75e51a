"""Listing sources: every file once, odd names, links, archives, nothing silently left out."""

import os
import tempfile
import zipfile
from pathlib import Path

import fsspec
import pytest

from sansfilm.errors import OptionError, ProblemCode, SourceNotFoundError
from sansfilm.model import FileRef
from sansfilm.planning.discover import discover
from sansfilm.planning.source import Source


def fill(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def contents(files):
    found = []
    for file in files:
        with Source(file.uri) as source:
            found.append(source.read(0, 1000).decode())
            assert source.size == file.size
    return sorted(found)


def test_every_file_of_every_folder_once(tmp_path):
    fill(tmp_path, "a/1", "a/b/2", "a/b/.hidden", "c/3")
    (tmp_path / "empty").mkdir()
    sources = [str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "1")]
    files, problems = discover(sources)
    assert [file.uri for file in files] == sorted(file.uri for file in files)
    assert contents(files) == ["a/1", "a/b/.hidden", "a/b/2", "c/3"]
    assert problems == []
    assert all(isinstance(file, FileRef) and file.modified_ns for file in files)


def test_the_order_of_sources_does_not_matter(tmp_path):
    fill(tmp_path, "a/1", "b/2")
    sources = [str(tmp_path / "b"), str(tmp_path / "a")]
    (files, problems), (again, same) = discover(sources), discover(sources[::-1])
    assert (list(files), problems) == (list(again), same)


def test_an_empty_folder_is_told(tmp_path):
    (tmp_path / "empty" / "inside").mkdir(parents=True)
    _, [problem] = discover([str(tmp_path / "empty")])
    assert problem.code == ProblemCode.EMPTY_SOURCE


@pytest.mark.parametrize("source", ["/no/such/folder", "memory://no/such", "nosuch://x", "s://::"])
def test_what_does_not_exist(source):
    with pytest.raises(SourceNotFoundError):
        discover([source])


def test_no_source():
    with pytest.raises(OptionError):
        discover([])


def test_neither_file_nor_folder(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceNotFoundError):
        discover([str(tmp_path / "pipe")])


@pytest.mark.parametrize(
    "name",
    [
        "new\nline",
        "-rf",
        "\x1b[31m",
        "a::b",
        "memory:",
        "%2e%2e",
        "日本",
        "x" * 255,
        b"\xff\xfe",
        " ",
    ],
)
def test_odd_names(tmp_path, name):
    folder = os.fsencode(tmp_path / "folder")
    os.mkdir(folder)  # noqa: PTH102
    path = os.path.join(folder, name if isinstance(name, bytes) else os.fsencode(name))  # noqa: PTH118
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(b"content")
    for source in (str(tmp_path / "folder"), os.fsdecode(path)):
        [file], problems = discover([source])
        assert problems == []
        assert file.uri.isprintable()
        assert contents([file]) == ["content"]


def test_a_name_of_4096_characters():
    with pytest.raises(SourceNotFoundError):
        discover(["x" * 4096])


def test_links(tmp_path):
    fill(tmp_path / "outside", "file", "folder/inside")
    inside = tmp_path / "inside"
    fill(inside, "own")
    (inside / "linked").symlink_to(tmp_path / "outside" / "file")
    (inside / "folder").symlink_to(tmp_path / "outside" / "folder")
    (inside / "cycle").symlink_to(inside)
    (inside / "nothing").symlink_to(tmp_path / "gone")
    (inside / "itself").symlink_to(inside / "itself")
    files, problems = discover([str(inside)])
    assert contents(files) == ["file", "own"]
    told = {problem.uri.rpartition("/")[2] for problem in problems}
    assert told == {"folder", "cycle", "nothing", "itself"}
    assert {problem.code for problem in problems} == {ProblemCode.UNREADABLE}
    # a link that is named is followed
    assert contents(discover([str(inside / "folder")])[0]) == ["folder/inside"]


def test_a_folder_that_cannot_be_listed(without_root):
    with tempfile.TemporaryDirectory() as name:  # pytest's own is closed to other users
        folder = Path(name)
        folder.chmod(0o755)
        fill(folder, "closed/1", "open/2")
        (folder / "closed").chmod(0)
        with without_root():
            files, problems = discover([name])
        (folder / "closed").chmod(0o755)
    assert [file.uri for file in files] == [f"{name}/open/2"]
    assert [(p.uri, p.code) for p in problems] == [(f"{name}/closed", ProblemCode.UNREADABLE)]


def test_file_urls(tmp_path):
    fill(tmp_path, "a b/100%.dcm")
    for source in (f"file://{tmp_path}", f"file://{tmp_path}/a%20b", f"file://{tmp_path}/a b"):
        assert contents(discover([source])[0]) == ["a b/100%.dcm"]


def test_urls(tmp_path):
    memory = fsspec.filesystem("memory")
    memory.pipe("/discover/x/1.dcm", b"one")
    memory.pipe("/discover/2.dcm", b"two")
    files, _ = discover(["memory://discover"])
    assert contents(files) == ["one", "two"]
    assert contents(discover(["memory://discover/2.dcm"])[0]) == ["two"]
    assert contents(discover(["simplecache::memory://discover"])[0]) == ["one", "two"]


def test_zip_archives_keep_their_way_in(tmp_path):
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        archive.writestr("p/1.dcm", "one")
        archive.writestr("2.dcm", "two")
    url = f"zip://::{tmp_path}/study.zip"
    files, _ = discover([url])
    assert contents(files) == ["one", "two"]
    assert all(file.uri.endswith(f"::{tmp_path}/study.zip") for file in files)
    assert contents(discover([f"zip://p::{tmp_path}/study.zip"])[0]) == ["one"]
    assert contents(discover([f"simplecache::{url}"])[0]) == ["one", "two"]


def test_the_archive_is_no_source(tmp_path):
    fill(tmp_path, "in/1", "in/archive/2", "in/archive2/3")
    for archive in (str(tmp_path / "in" / "archive"), f"{tmp_path}/in/archive/",
                    f"file://{tmp_path}/in/archive"):  # fmt: skip
        assert contents(discover([str(tmp_path)], archive)[0]) == ["in/1", "in/archive2/3"]
    memory = fsspec.filesystem("memory")
    memory.pipe("/both/in/1", b"one")
    memory.pipe("/both/archive/2", b"two")
    assert contents(discover(["memory://both"], "memory://both/archive")[0]) == ["one"]
