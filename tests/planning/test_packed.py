"""Directories of zip and tar files against the standard library, and those that lie."""

import io
import random
import struct
import tarfile
import zipfile

import fsspec
import pytest

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import FileRef
from sansfilm.options import Budgets
from sansfilm.planning import packed
from sansfilm.planning.discover import discover
from sansfilm.planning.source import Source

CONTENTS = {
    "1.dcm": b"one" * 100,
    "folder/2.dcm": bytes(range(256)) * 300,
    "folder/empty": b"",
    "naïve.dcm": b"x" * 70_000,
    "日本/" + "y" * 150: b"three",
}


def a_zip(path, contents, method=zipfile.ZIP_DEFLATED, *, comment=b"", large=False):
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.mkdir("folder")
        archive.comment = comment
        for name, data in contents.items():
            with archive.open(name, "w", force_zip64=large) as member:
                member.write(data)


def a_tar(path, contents, form=tarfile.PAX_FORMAT):
    with tarfile.open(path, "w", format=form) as archive:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, data in contents.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))


MAKERS = {
    "zip": a_zip,
    "zip, stored": lambda path, contents: a_zip(path, contents, zipfile.ZIP_STORED),
    "zip with a comment": lambda path, contents: a_zip(path, contents, comment=b"c" * 200),
    "zip64": lambda path, contents: a_zip(path, contents, large=True),
    "tar": a_tar,
    "tar of GNU": lambda path, contents: a_tar(path, contents, tarfile.GNU_FORMAT),
}


@pytest.fixture(params=MAKERS)
def made(request, tmp_path):
    path = tmp_path / f"a.{request.param[:3]}"
    MAKERS[request.param](path, CONTENTS)
    return path


def test_every_member_comes_back(made):
    files, problems = discover([str(made)])
    assert not problems
    kind = made.suffix[1:]
    assert {file.uri: file.size for file in files} == {
        f"{kind}://{name}::{made}": len(data) for name, data in CONTENTS.items()
    }
    for file in files:
        expected = CONTENTS[file.uri[len(f"{kind}://") :].partition("::")[0]]
        with Source(file.uri, file.size) as source:
            assert (source.size, source.modified_ns) == (len(expected), made.stat().st_mtime_ns)
            assert source.read(10, 5) == expected[10:15]
            assert source.head(100)[:100] == expected[:100]
            assert source.read(0, 10**6) == expected
            assert source.read(len(expected) - 2, 50) == expected[-2:]


def test_fsspec_opens_the_same_names(made):
    files, _ = discover([str(made)])
    for file in files:
        with Source(file.uri) as source, fsspec.open(file.uri) as theirs:
            assert theirs.read() == source.read(0, 10**6)


def test_below_a_url(made):
    memory = fsspec.filesystem("memory")
    if memory.exists("/packed"):
        memory.rm("/packed", recursive=True)
    uri = f"memory:///packed/{made.name}"
    memory.pipe(uri, made.read_bytes())
    files, problems = discover(["memory://packed"])
    memory_of = [file.uri.partition("::")[2] for file in files]
    assert not problems
    assert set(memory_of) == {uri}
    assert len(files) == len(CONTENTS)
    assert {file.modified_ns for file in files} == {None}
    kind = made.suffix[1:]
    inside, _ = discover([f"{kind}://folder::{uri}"])
    assert list(inside) == [f for f in files if "//folder/" in f.uri]
    assert contents_of(files) == sorted(CONTENTS.values())


def contents_of(files):
    found = []
    for file in files:
        with Source(file.uri, file.size) as source:
            found.append(source.read(0, 10**6))
    return sorted(found)


def test_what_only_has_the_name_is_a_file(tmp_path):
    """A scanner may call an image anything."""
    for name in ("a.zip", "b.tar", "c.ZIP"):
        (tmp_path / name).write_bytes(b"\0" * 600)
    files, problems = discover([str(tmp_path)])
    assert [type(file) for file in files] == [FileRef] * 3
    assert not problems


def test_a_container_that_changes_after_it_was_listed(tmp_path):
    path = tmp_path / "a.zip"
    a_zip(path, CONTENTS)
    files = list(discover([str(path)])[0])
    a_zip(path, {"1.dcm": b"other"})
    with Source(f"zip://1.dcm::{path}") as source:
        assert source.read(0, 10) == b"other"
    with pytest.raises(FileNotFoundError):
        Source(files[1].uri)


def test_a_zip_of_too_many_members(tmp_path):
    path = tmp_path / "a.zip"
    a_zip(path, {str(n): b"" for n in range(1000)})
    with Source(str(path)) as whole:
        assert len(packed.members(whole, "zip", Budgets(members=1000))) == 1000
        with pytest.raises(BadInstanceError) as caught:
            packed.members(whole, "zip", Budgets(members=999))
    assert caught.value.code == ProblemCode.BUDGET


def test_a_member_of_more_bytes_than_it_needs(tmp_path):
    """Its bytes would be read at once."""
    path = tmp_path / "a.zip"
    a_zip(path, {"1.dcm": b"x" * 100, "2.dcm": random.Random(1).randbytes(50_000)})
    data = bytearray(path.read_bytes())
    first, end = data.index(b"PK\1\2"), data.rindex(b"PK\5\6")
    while data[first + 46 : first + 51] != b"1.dcm":
        first = data.index(b"PK\1\2", first + 4)
    second = data.index(b"PK\1\2", first + 4)
    struct.pack_into("<L", data, first + 20, 50_000)
    struct.pack_into("<2H2L", data, end + 8, 1, 1, second - first, first)
    del data[second:end]
    path.write_bytes(data)
    files, (problem,) = discover([str(path)])
    assert not files
    assert (problem.code, problem.message) == ("UNSAFE_ARCHIVE", "50000 bytes for 100")


def test_a_member_of_many_frames_is_inflated_once(tmp_path, monkeypatch):
    path = tmp_path / "a.zip"
    a_zip(path, CONTENTS)
    with Source(f"zip://1.dcm::{path}") as source:
        assert source.size == 300
    monkeypatch.setattr(packed.zlib, "decompressobj", None)
    with Source(f"zip://1.dcm::{path}") as source:
        assert source.read(0, 300) == CONTENTS["1.dcm"]
    with pytest.raises(TypeError):
        Source(f"zip://folder/2.dcm::{path}")


def test_a_tar_that_asks_for_memory(tmp_path):
    """A header may say that its names take as many bytes as it likes."""
    about = tarfile.TarInfo("path")
    about.type, about.size = tarfile.XHDTYPE, 2**34
    path = tmp_path / "a.tar"
    path.write_bytes(about.tobuf(tarfile.GNU_FORMAT) + b"\0" * 2**11)
    with path.open("r+b") as file:
        file.truncate(2**35)  # sparse: it takes no room
    _, (problem,) = discover([str(path)])
    assert problem.code == ProblemCode.UNREADABLE


def test_a_tar_of_headers_about_headers(tmp_path):
    about = tarfile.TarInfo("path")
    about.type, about.size = tarfile.XHDTYPE, 0
    path = tmp_path / "a.tar"
    path.write_bytes(about.tobuf(tarfile.USTAR_FORMAT) * 20_000 + b"\0" * 1024)
    _, (problem,) = discover([str(path)])
    assert problem.code == ProblemCode.UNREADABLE


@pytest.mark.parametrize("share", [0.1, 0.5, 0.85])
def test_cut_containers_are_told(made, share):
    made.write_bytes(made.read_bytes()[: int(made.stat().st_size * share)])
    files, (problem,) = discover([str(made)])
    assert not files
    assert problem.code in (ProblemCode.UNREADABLE, ProblemCode.UNSAFE_ARCHIVE)


def test_mutated_containers_give_members_or_problems(made):
    """Whatever the bytes are: the right contents, a Problem, or OSError when they are read."""
    rng = random.Random(5)
    whole = made.read_bytes()
    told = 0
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 6)):
            at = rng.choice((rng.randrange(len(data)), rng.randrange(1500), -rng.randint(1, 700)))
            data[at] = rng.choice((0, 1, 0x50, 0x7F, 0xFF, data[at] ^ 1 << rng.randrange(8)))
        made.write_bytes(data)
        files, problems = discover([str(made)])
        told += bool(problems)
        for file in files:
            try:
                with Source(file.uri, file.size) as source:
                    found = source.read(0, 10**6)
            except OSError:
                told += 1
                continue
            assert len(found) == file.size
    assert told > 40
