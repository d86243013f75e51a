"""Remote files that were read a moment ago: bounded, the right bytes, oldest out."""

import hashlib
import threading

import fsspec
import pytest
import synth
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import FileRef, Frame
from sansfilm.options import Budgets
from sansfilm.planning import headers, pixels, source
from sansfilm.planning.discover import discover
from sansfilm.planning.headers import read_files
from sansfilm.planning.pixels import fetch_ahead, read_frame
from sansfilm.planning.recent import RECENT, Recent


class Counting(MemoryFileSystem):
    """Objects in memory that count who reads them, and can wait for a second reader."""

    protocol = "counting"
    store: dict = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    calls: list = []  # noqa: RUF012
    meet: threading.Barrier | None = None

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol("/" + path.removeprefix("counting:").lstrip("/"))

    def cat_file(self, path, start=None, end=None, **kwargs):
        self.calls.append(("get", path))
        if self.meet is not None:
            self.meet.wait(10)
        return super().cat_file(path, start, end, **kwargs)

    def info(self, path, **kwargs):
        self.calls.append(("info", path))
        return self._tagged(super().info(path, **kwargs))

    def find(self, path, **kwargs):
        found = super().find(path, **kwargs)
        return {name: self._tagged(info) for name, info in found.items()}

    def _tagged(self, info):
        data = self.store[info["name"]].getvalue() if info["type"] == "file" else b""
        return {**info, "ETag": hashlib.md5(data).hexdigest()}


fsspec.register_implementation("counting", Counting)


@pytest.fixture(autouse=True)
def counting(monkeypatch):
    RECENT.clear()
    pixels._ASKED.clear()
    monkeypatch.setattr(Counting, "store", {})
    monkeypatch.setattr(Counting, "calls", [])
    yield fsspec.filesystem("counting")
    RECENT.clear()


@pytest.fixture
def made(tmp_path, counting):
    """Give a series of six slices, put there."""
    made = synth.series(tmp_path, slices=6)
    for path in made.paths:
        counting.pipe(f"/in/{path.name}", path.read_bytes())
    return made


def planned(made):
    names = [path.name for path in made.paths]
    files, problems = discover(["counting://in"])
    assert problems == []
    Counting.calls.clear()
    found = read_files(Budgets(), files)
    assert all(isinstance(each, list) for each in found), found
    found = [each for file in found for each in file]
    assert all(isinstance(frame, Frame) for frame in found)
    return sorted(found, key=lambda frame: names.index(frame.uri.rpartition("/")[2]))


def gets():
    return sum(1 for kind, _ in Counting.calls if kind == "get")


SIZES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60)), max_size=40)


@given(SIZES)
def test_it_never_holds_more_than_its_budget_and_always_the_newest(files):
    recent, newest = Recent(100), []
    for name, size in files:
        data = bytes([name]) * size
        recent.keep(str(name), str(size), data)
        newest = [old for old in newest if old != (name, size)] + [(name, size)]
        while sum(size for _, size in newest) > 100:
            newest.pop(0)
        for each in range(10):
            for length in {size for _, size in files}:
                found = recent.get(str(each), str(length))
                assert found == (bytes([each]) * length if (each, length) in newest else None)


def test_the_last_reader_lets_go():
    recent = Recent(100)
    recent.keep("a", "1", b"x" * 60)
    assert recent.get("a", "2") is None
    assert recent.get("a", "1", last=True) == b"x" * 60
    assert recent.get("a", "1") is None
    recent.keep("b", "1", b"y" * 100)  # the room is free again
    assert recent.get("b", "1")
    recent.keep("c", "1", b"z" * 101)
    assert not recent.has("c", "1")


def test_each_file_is_fetched_once_and_not_kept_for_longer(made):
    frames = planned(made)
    for values, frame in zip(made.stored, frames, strict=True):
        assert read_frame(frame)[0] == values.tobytes()
    assert Counting.calls == [("get", path) for _, path in Counting.calls]  # nobody asks for sizes
    assert gets() == 6
    assert RECENT._size == 0


def test_a_frame_that_is_compared_first_is_still_fetched_once(made):
    frame = planned(made)[0]
    read_frame(frame, False)
    read_frame(frame, False)
    assert read_frame(frame)[0] == made.stored[0].tobytes()
    assert gets() == 6


def test_what_fell_out_is_fetched_again_and_compared(made, monkeypatch, counting):
    monkeypatch.setattr(RECENT, "budget", 3 * made.paths[0].stat().st_size + 100)
    frames = planned(made)
    for values, frame in zip(made.stored, frames, strict=True):
        assert read_frame(frame)[0] == values.tobytes()
    assert gets() == 6 + 3
    monkeypatch.setattr(RECENT, "budget", 0)
    frame = planned(made)[0]
    whole = made.paths[0].read_bytes()
    counting.pipe(frame.uri, whole[:-1] + b"?")
    with pytest.raises(BadInstanceError) as caught:
        read_frame(frame)
    assert caught.value.code == ProblemCode.SOURCE_CHANGED


def test_frames_are_fetched_ahead_together_and_once(made, monkeypatch):
    frames = planned(made)
    RECENT.clear()
    Counting.calls.clear()
    monkeypatch.setattr(Counting, "meet", threading.Barrier(2))  # one alone would wait in vain
    fetch_ahead(frames)
    monkeypatch.setattr(Counting, "meet", None)
    fetch_ahead(frames)
    for values, frame in zip(made.stored, frames, strict=True):
        assert read_frame(frame)[0] == values.tobytes()
    assert gets() == 6


def test_no_more_is_fetched_ahead_than_is_kept(made, monkeypatch):
    frames = planned(made)
    RECENT.clear()
    Counting.calls.clear()
    monkeypatch.setattr(RECENT, "budget", 8 * frames[0].size)
    fetch_ahead(frames)
    assert gets() == 4
    assert sum(RECENT.has(frame.uri, frame.sha256) for frame in frames) == 4


def test_what_cannot_be_fetched_ahead_is_told_when_it_is_read(made, counting):
    frames = planned(made)
    RECENT.clear()
    counting.rm("/in/" + frames[0].uri.rpartition("/")[2])
    fetch_ahead(frames)
    with pytest.raises(BadInstanceError) as caught:
        read_frame(frames[0])
    assert caught.value.code == ProblemCode.UNREADABLE
    assert read_frame(frames[1])[0] == made.stored[1].tobytes()


def test_headers_of_remote_files_are_read_together(made, monkeypatch):
    files, _ = discover(["counting://in"])
    monkeypatch.setattr(Counting, "meet", threading.Barrier(3))
    found = read_files(Budgets(), files)
    assert [frame.number for (frame,) in found] == [1] * 6


@pytest.fixture
def large(made, monkeypatch):
    """Give frames of files that are too large to be read at once."""
    size = made.paths[0].stat().st_size
    for module in (headers, pixels, source):
        monkeypatch.setattr(module, "WHOLE", size // 2)
    return planned(made)


def test_a_large_file_is_not_kept_and_asked_once_whether_it_changed(made, large):
    assert RECENT._size == 0
    Counting.calls.clear()
    for values, frame in zip(made.stored, large, strict=True):
        for outside in (False, True):
            assert read_frame(frame, outside)[0] == values.tobytes()
    asked = [path for kind, path in Counting.calls if kind == "info"]
    assert len(asked) == len(set(asked)) == 6


@pytest.mark.parametrize("size", [0, 1])
def test_a_large_file_that_changes_is_noticed(made, large, counting, size):
    path = large[0].uri
    whole = counting.cat_file(path)
    counting.pipe(path, whole[:-1] + b"?" + b"!" * size)
    with pytest.raises(BadInstanceError) as caught:
        read_frame(large[0])
    assert caught.value.code == ProblemCode.SOURCE_CHANGED
    # and so is one that changes between its listing and the end of its first reading
    old = FileRef(large[0].uri, large[0].size, version=large[0].version)
    (found,) = read_files(Budgets(), [old])
    assert found.code == ProblemCode.UNREADABLE
    assert "changed" in found.message
