"""One contract for every place where objects go, then what is special about each of them."""

import errno
import os
import pickle
import stat
import tempfile
import threading
import time
import uuid
from pathlib import Path

import psutil
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from sansfilm.errors import OptionError, TargetError
from sansfilm.store import target as target_module
from sansfilm.store.memory import MemoryTarget
from sansfilm.store.target import FsspecTarget, LocalTarget, open_target

ODD_KEYS = ["a b/c d.json", "série/ß-日本.json", "a/%20#?&+=.json", "a/[x]*{y}.json", ".hidden/.x"]


class Contract:
    """What each target promises. `make` gives a new, empty one."""

    @pytest.fixture
    def target(self, make):
        return make()

    def test_what_was_put_is_got_whole_or_in_part(self, target):
        target.put("series/1/x", b"0123456789")
        assert target.get("series/1/x") == b"0123456789"
        assert type(target.get("series/1/x")) is bytes
        assert target.get("series/1/x", 3) == b"3456789"
        assert target.get("series/1/x", 3, 4) == b"3456"
        assert target.get("series/1/x", 0, 1) == b"0"
        assert target.get("series/1/x", 8, 5) == b"89"
        assert target.get("series/1/x", -3) == b"789"
        assert target.get("series/1/x", -30) == b"0123456789"

    def test_put_replaces_also_by_something_shorter(self, target):
        target.put("x", b"long before")
        target.put("x", b"new")
        assert target.get("x") == b"new"
        assert target.find("") == {"x": 3}

    def test_an_empty_object_is_an_object(self, target):
        target.put("a/empty", b"")
        assert target.get("a/empty") == b""
        assert target.exists("a/empty")
        assert target.find("a") == {"a/empty": 0}

    def test_create_writes_only_what_is_not_there(self, target):
        assert target.create("a/b", b"first")
        assert not target.create("a/b", b"second")
        assert not target.create("a/b", b"first")
        assert target.get("a/b") == b"first"

    def test_create_of_the_very_same_bytes_tells_the_second_from_the_first(self, target):
        data = b"one object in memory"
        assert [target.create("a", data) for _ in range(3)] == [True, False, False]

    def test_what_is_not_there_is_not_found(self, target):
        target.put("a/b", b"")
        for key in ("c", "a/c", "d/e"):
            assert not target.exists(key)
            with pytest.raises(FileNotFoundError):
                target.get(key)

    def test_a_folder_is_no_object(self, target):
        target.put("a/b/c", b"x")
        assert not target.exists("a")
        assert not target.exists("a/b")
        assert target.exists("a/b/c")

    def test_find_lists_what_is_below_a_prefix_sorted(self, target):
        for key in ("b/2", "b/10", "a", "b/1/deep/er", "bc/1"):
            target.put(key, key.encode())
        assert list(target.find("").items()) == [
            (key, len(key)) for key in ("a", "b/1/deep/er", "b/10", "b/2", "bc/1")
        ]
        assert list(target.find("b")) == ["b/1/deep/er", "b/10", "b/2"]
        assert target.find("nothing") == {}

    def test_what_is_deleted_is_gone_and_may_be_deleted_again(self, target):
        target.put("a/b/c", b"x")
        target.put("a/d", b"y")
        target.delete("a/b/c")
        target.delete("a/b/c")
        target.delete("never/there")
        assert target.find("") == {"a/d": 1}
        target.delete("a/d")
        assert target.find("") == {}
        assert target.create("a/b/c", b"z")

    def test_empty_is_what_holds_nothing(self, target):
        assert target.is_empty()
        assert target.find("") == {}
        target.put("a/b", b"")
        assert not target.is_empty()

    @pytest.mark.parametrize("key", ODD_KEYS)
    def test_keys_may_have_any_name(self, target, key):
        target.put(key, b"x")
        assert target.create(key + "2", b"y")
        assert target.get(key) == b"x"
        assert target.exists(key)
        assert target.find("") == {key: 1, key + "2": 1}

    def test_the_url_of_a_key_ends_in_the_key(self, target):
        assert target.join("a/b c").endswith("a/b c")
        assert target.join("a").startswith(target.url)


class Atomic(Contract):
    """What holds where a create cannot be overtaken; on object storage the server sees to it."""

    def test_of_many_who_create_at_once_one_wins(self, target):
        target.put("elsewhere", b"")
        for round_number in range(20):
            key, gate, won = f"a{round_number}/commit", threading.Barrier(8), []

            def race(number, key=key, gate=gate, won=won):
                gate.wait()
                if target.create(key, b"%d" % number):
                    won.append(number)

            threads = [threading.Thread(target=race, args=(n,)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(won) == 1
            assert target.get(key) == b"%d" % won[0]


class Shared(Contract):
    """What holds where another process sees the same objects."""

    def test_the_time_of_an_object_is_when_it_was_written(self, target):
        before = time.time()
        target.put("a", b"x")
        assert before - 2 <= target.modified("a") <= time.time() + 2
        with pytest.raises(FileNotFoundError):
            target.modified("b")

    def test_a_worker_gets_the_same_place(self, target):
        target.put("a", b"x")
        other = pickle.loads(pickle.dumps(target))
        other.put("b", b"y")
        assert target.find("") == other.find("") == {"a": 1, "b": 1}
        assert other.url == target.url


class TestMemory(Atomic):
    @pytest.fixture
    def make(self):
        return MemoryTarget

    def test_it_does_not_travel_to_another_process(self):
        """A worker would fill a copy, and the volumes would have no voxels."""
        with pytest.raises(TypeError, match="pickle"):
            pickle.dumps(MemoryTarget())


class TestLocal(Atomic, Shared):
    @pytest.fixture(params=["archive", "with space", "ünïcödé", "not/there/yet"])
    def make(self, tmp_path, request):
        return lambda: LocalTarget(str(tmp_path / request.param))

    @pytest.fixture(autouse=True)
    def clean(self, tmp_path):
        """Whatever a test does, no temporary file and no open file is left."""
        before = psutil.Process().num_fds()
        yield
        assert psutil.Process().num_fds() <= before
        names = [path.name for path in tmp_path.rglob("*") if path.is_file()]
        assert [name for name in names if len(name.rpartition(".")[2]) == 32] == []

    def test_the_same_bytes_are_left_alone_but_are_young_again(self, target):
        target.put("a", b"same")
        path = Path(target.join("a"))
        before = path.stat().st_ino
        os.utime(path, (1e9, 1e9))
        target.put("a", b"same")
        assert path.stat().st_ino == before
        assert time.time() - target.modified("a") < 60
        target.put("a", b"diff")
        assert path.read_bytes() == b"diff"

    def test_a_reader_sees_the_old_or_the_new_never_a_mixture(self, target):
        one, two = bytes([1]) * 300_000, bytes([2]) * 200_000
        target.put("a", one)
        done = threading.Event()

        def write():
            for data in (two, one) * 25:
                target.put("a", data)
            done.set()

        thread = threading.Thread(target=write)
        thread.start()
        while not done.is_set():
            assert target.get("a") in (one, two)
        thread.join()
        assert target.find("") == {"a": len(one)}

    def test_files_may_be_read_by_whom_the_umask_lets(self, target):
        old = os.umask(0o027)
        try:
            target.put("a", b"x")
        finally:
            os.umask(old)
        assert stat.S_IMODE(Path(target.join("a")).stat().st_mode) == 0o640

    @pytest.mark.parametrize(
        ("number", "cure"),
        [
            (errno.ENOSPC, "free some space"),
            (errno.EDQUOT, "quota"),
            (errno.EIO, "Input/output error"),
        ],
    )
    def test_a_full_disk_leaves_nothing_behind(self, target, monkeypatch, number, cure):
        target.put("a", b"before")

        def fail(*_):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(target_module, "_write_all", fail)
        monkeypatch.setattr(Path, "write_bytes", fail)
        for write in (target.put, target.create):
            for key in ("a", "b"):
                with pytest.raises(TargetError, match=cure) as caught:
                    write(key, b"x")
                assert target.join(key) in str(caught.value)
        monkeypatch.undo()
        assert target.find("") == {"a": 6}

    def test_a_replacement_that_fails_half_way_leaves_the_old_object(self, target, monkeypatch):
        target.put("a", b"before")

        def half(file, data):
            with open(file, "wb", closefd=isinstance(file, Path)) as opened:
                opened.write(data[:2])
            raise OSError(errno.ENOSPC, "full")

        monkeypatch.setattr(target_module, "_write_all", half)
        monkeypatch.setattr(Path, "write_bytes", half)
        with pytest.raises(TargetError, match="free some space"):
            target.put("a", b"after!")
        assert target.find("") == {"a": 6}
        assert target.get("a") == b"before"

    def test_objects_are_settled_by_a_sync_of_each(self, target, monkeypatch):
        for key in "ab":
            target.put(f"in/{key}", b"x")
        synced, real = [], os.fsync

        def fsync(file):
            synced.append(Path(f"/proc/self/fd/{file}").readlink().name)
            real(file)

        monkeypatch.setattr(os, "fsync", fsync)
        target.settle(["in/a", "in/gone", "in/b"])
        assert synced == ["a", "b"]

        def fail(file):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(TargetError, match="Input/output error"):
            target.settle(["in/a"])

    def test_an_object_that_is_a_folder_is_an_error_not_a_mess(self, target):
        target.put("a/b", b"x")
        with pytest.raises(TargetError):
            target.put("a", b"y")
        with pytest.raises(TargetError):
            target.get("a")
        assert target.find("") == {"a/b": 1}

    def test_a_file_in_the_way_is_named_as_such(self, tmp_path):
        (tmp_path / "file").write_text("not a folder")
        target = LocalTarget(str(tmp_path / "file"))
        for call in (target.is_empty, lambda: target.get("a"), lambda: target.put("a/b", b"")):
            with pytest.raises(TargetError, match="a part of the path is a file"):
                call()
        assert not target.exists("a")

    def test_a_closed_folder_is_an_error_with_a_cure(self, without_root):
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            root.chmod(0o755)
            target = LocalTarget(str(root / "a"))
            target.put("closed/x", b"x")
            target.put("open/x", b"x")
            (root / "a").chmod(0o555)
            (root / "a" / "closed").chmod(0)
            with without_root():
                for call in (
                    lambda: target.put("new/x", b"x"),
                    lambda: target.create("new/x", b"x"),
                    lambda: target.get("closed/x"),
                    lambda: target.exists("closed/x"),
                    lambda: target.modified("closed/x"),
                    lambda: target.find(""),  # never a list with a part left out
                    lambda: target.find("closed"),
                ):
                    with pytest.raises(TargetError, match="permission denied: choose another"):
                        call()
                assert target.find("open") == {"open/x": 1}
            (root / "a" / "closed").chmod(0o755)

    def test_a_file_that_is_removed_meanwhile_is_left_out(self, target, monkeypatch):
        target.put("a", b"x")
        target.put("b", b"x")
        real = Path.stat

        def gone(path, **how):
            if path.name == "a":
                raise FileNotFoundError(errno.ENOENT, "gone", str(path))
            return real(path, **how)

        monkeypatch.setattr(Path, "stat", gone)
        found = target.find("")
        monkeypatch.undo()
        assert found == {"b": 1}

    def test_relative_and_file_urls_are_the_same_place(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        targets = [
            open_target(url)
            for url in ("a b", "./a b/", f"{tmp_path}/a b", f"file://{tmp_path}/a b", "x/../a b")
        ]
        assert {target.url for target in targets} == {f"{tmp_path}/a b"}
        assert all(isinstance(target, LocalTarget) for target in targets)
        monkeypatch.chdir("/")  # a worker elsewhere still writes to the same place
        targets[0].put("k", b"")
        assert (tmp_path / "a b" / "k").is_file()


class TestLocalWithoutUnnamedFiles(TestLocal):
    """NFS and macOS have no O_TMPFILE."""

    @pytest.fixture(autouse=True)
    def without(self, monkeypatch):
        monkeypatch.setattr(target_module, "_UNNAMED", os.O_DIRECTORY)


class TestFsspec(Shared):
    @pytest.fixture
    def make(self):
        return lambda: open_target(f"memory://{uuid.uuid4().hex}/archive")

    @pytest.mark.parametrize("url", ["memory://", "memory:///"])
    def test_an_archive_needs_a_folder_of_its_own(self, url):
        with pytest.raises(OptionError, match="names no folder"):
            open_target(url)

    def test_a_slash_at_the_end_is_no_part_of_the_name(self, make):
        url = make().url
        assert open_target(url + "/").join("a") == open_target(url).join("a")

    def test_chains_of_file_systems_are_opened(self, make, tmp_path):
        inner = make()
        inner.put("a", b"x")
        target = open_target(f"simplecache::{inner.url}")
        assert target.get("a") == b"x"


class TestFsspecWithFolders(Contract):
    """A file system whose folders have to be made, as of SFTP."""

    @pytest.fixture
    def make(self, tmp_path, monkeypatch):
        class Folders(LocalFileSystem):
            protocol = "folders"

            @classmethod
            def _strip_protocol(cls, path):
                path = str(path).removeprefix("folders://")
                return path if path.startswith(str(tmp_path)) else f"{tmp_path}{path}"

        monkeypatch.setitem(_registry, "folders", Folders)
        return lambda: open_target("folders:///some/archive")


class Broken(MemoryFileSystem):
    """A network that fails in a way that is no OSError, as botocore's errors are."""

    protocol = "broken"

    def fail(self, *_, **__):
        raise RuntimeError("no route to host")

    pipe_file = cat_file = info = ls = find = modified = fail


@pytest.fixture
def broken(monkeypatch):
    monkeypatch.setitem(_registry, "broken", Broken)
    return open_target("broken://bucket/archive")


def test_a_network_that_fails_is_a_target_error_whatever_it_raises(broken):
    for call in (
        lambda: broken.put("a", b""),
        lambda: broken.create("a", b""),
        lambda: broken.get("a"),
        lambda: broken.exists("a"),  # never "it is not there"
        lambda: broken.modified("a"),
        lambda: broken.find("a"),
        broken.is_empty,
    ):
        with pytest.raises(TargetError, match="no route to host") as caught:
            call()
        assert "broken://bucket/archive" in str(caught.value)


def test_who_loses_a_race_in_words_of_the_server_has_lost_it(monkeypatch):
    """S3 servers of other makers answer a create that came late with an error of their own."""
    target = open_target(f"memory://{uuid.uuid4().hex}/a")
    real = MemoryFileSystem.pipe_file

    def late(self, path, value, mode="overwrite", **_):
        if mode == "create":
            real(self, path, b"the other's")
            raise OSError(errno.EINVAL, "PreconditionFailed")
        real(self, path, value)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", late)
    assert not target.create("k", b"mine")
    assert target.get("k") == b"the other's"


@pytest.mark.parametrize(
    "no", [TypeError("mode"), NotImplementedError(), OSError(errno.ENOSYS, "501")]
)
def test_a_file_system_that_cannot_create_conditionally_is_refused_unless_allowed(monkeypatch, no):
    url = f"memory://{uuid.uuid4().hex}/a"
    real = MemoryFileSystem.pipe_file

    def plain(self, path, value, **how):
        if how:
            raise no
        real(self, path, value)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", plain)
    with pytest.raises(TargetError, match="go on with --allow-unsafe-commit"):
        open_target(url).create("k", b"x")
    assert not open_target(url).exists("k")
    target = pickle.loads(pickle.dumps(open_target(url, checks_first=True)))
    assert target.create("k", b"x")
    assert not target.create("k", b"y")
    assert target.get("k") == b"x"


@pytest.mark.parametrize("failures", [1, 2, 9])
def test_a_create_that_meets_another_is_tried_again(monkeypatch, failures):
    """S3 answers 409 while another conditional write is at work, which may fail."""
    target = open_target(f"memory://{uuid.uuid4().hex}/a")
    real, met, slept = MemoryFileSystem.pipe_file, [], []

    def busy(self, path, value, mode="overwrite", **_):
        met.append(path)
        if len(met) <= failures:
            cause = RuntimeError("An error occurred (ConditionalRequestConflict)")
            raise OSError(errno.EINVAL, "busy") from cause
        real(self, path, value)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", busy)
    monkeypatch.setattr(target_module.time, "sleep", slept.append)
    if failures < 3:
        assert target.create("k", b"x")
        assert len(slept) == failures
    else:
        with pytest.raises(TargetError):
            target.create("k", b"x")
        assert len(met) == 3


def test_listings_are_not_remembered():
    """What another process has committed is there, also for who has looked before."""
    target = open_target(f"memory://{uuid.uuid4().hex}/a")
    assert isinstance(target, FsspecTarget)
    assert not target._fs.dircache.use_listings_cache


@pytest.mark.parametrize(
    ("url", "why"), [("", "empty"), ("nonsense://x/y", "nonsense"), ("s4://b/k", "s4")]
)
def test_a_url_that_cannot_be_opened_is_a_wrong_call(url, why):
    with pytest.raises(OptionError, match=why):
        open_target(url)
