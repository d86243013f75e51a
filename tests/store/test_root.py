"""The root: ours is recognised, others are left alone, a later format is told from damage."""

import json

import pytest

from sansfilm.archive import open_archive
from sansfilm.errors import ArchiveNotFoundError, IntegrityError, OptionError, TargetError
from sansfilm.intake import ingest
from sansfilm.store.memory import MemoryTarget
from sansfilm.store.root import MARK, check_archive, create_archive
from sansfilm.store.target import LocalTarget


@pytest.fixture(params=["memory", "local", "local, folder there"])
def target(request, tmp_path):
    if request.param == "memory":
        return MemoryTarget()
    if request.param.endswith("there"):
        (tmp_path / "a").mkdir()
    return LocalTarget(str(tmp_path / "a"))


def test_an_archive_is_made_once_and_then_there(target):
    with pytest.raises(ArchiveNotFoundError, match="no sansfilm archive at"):
        check_archive(target)
    create_archive(target)
    check_archive(target)
    before = target.find("")
    create_archive(target)
    assert target.find("") == before == {MARK: len(target.get(MARK))}
    assert json.loads(target.get(MARK)) == {"format": "sansfilm archive", "version": 1}


def test_a_folder_of_somebody_else_is_left_alone(target):
    target.put("holiday/photo.jpg", b"x")
    with pytest.raises(OptionError, match="not empty and not a sansfilm archive: name another"):
        create_archive(target)
    with pytest.raises(ArchiveNotFoundError):
        check_archive(target)
    assert target.find("") == {"holiday/photo.jpg": 1}


def test_an_archive_that_holds_something_stays_one(target):
    create_archive(target)
    target.put("series/x", b"x")
    create_archive(target)
    check_archive(target)


@pytest.mark.parametrize("call", [check_archive, create_archive])
def test_a_later_format_is_refused_with_what_to_do(target, call):
    target.put(MARK, b'{"format": "sansfilm archive", "version": 2, "more": [1]}')
    with pytest.raises(TargetError, match="format 2, this sansfilm reads 1: install another"):
        call(target)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"null",
        b'{"version": 1}',
        b'{"format": "sansfilm brchive", "version": 1}',
    ],
)
@pytest.mark.parametrize("call", [check_archive, create_archive])
def test_a_damaged_mark_is_told_with_what_it_should_be(target, call, content):
    target.put(MARK, content)
    with pytest.raises(IntegrityError, match=r"is damaged; it should be .*version") as caught:
        call(target)
    assert target.join(MARK) in str(caught.value)
    assert target.get(MARK) == content


def test_nothing_is_written_where_an_ingest_is_refused(tmp_path, tree):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x").write_text("x")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.tex").write_text("x")
    with pytest.raises(OptionError):
        ingest(tmp_path / "in", tmp_path / "theirs")
    assert tree(tmp_path / "theirs") == {"thesis.tex": b"x"}


def test_a_link_to_an_archive_is_that_archive(tmp_path):
    create_archive(LocalTarget(str(tmp_path / "a")))
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert open_archive(tmp_path / "link").url == f"{tmp_path}/link"
