"""Where objects go: a folder of this machine or any fsspec URL; whole objects only.

Local objects are written to an unnamed file and linked into place when complete, so that a
killed process leaves neither a torn object nor a temporary file behind.
"""

import contextlib
import errno
import os
import stat
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sansfilm.errors import OptionError, TargetError
from sansfilm.remote import has_buckets, open_url

_UNNAMED = getattr(os, "O_TMPFILE", os.O_DIRECTORY)
"""Opening a folder for writing fails where there are no unnamed files, as it should."""

UNSAFE = (
    "the storage knows no conditional writes (If-None-Match), so two ingests at once could publish "
    "one volume twice: use storage that does, or make sure that only one ingest runs at a time "
    "and go on with --allow-unsafe-commit"
)


def open_target(
    url: str, storage_options: Mapping[str, Any] | None = None, *, checks_first: bool = False
) -> "LocalTarget | FsspecTarget":
    """Open an archive's root, or any folder in it.

    Parameters
    ----------
    storage_options : mapping, optional
        For the file system behind a URL; what is not given comes from the environment.
    checks_first : bool, optional
        Look before a create instead of relying on the server: two at once may both succeed.

    Raises
    ------
    OptionError
        If the URL is empty or names no folder, or its protocol is unknown.
    """
    if not url:
        raise OptionError("the archive's URL is empty")
    if "://" not in url and "::" not in url:
        return LocalTarget(url)
    protocol, _, path = url.partition("://")
    if protocol in ("file", "local"):
        return LocalTarget(path)
    return FsspecTarget(url, storage_options, checks_first=checks_first)


@contextlib.contextmanager
def _errors(url: str, action: str, kind: type[Exception] = OSError) -> Iterator[None]:
    """Turn an error into a sentence with the place and the cure; who reads may find nothing."""
    cures = {
        errno.ENOSPC: "the disk is full: free some space and run the same command again",
        errno.EDQUOT: "the quota is used up: free some space and run the same command again",
        errno.EACCES: "permission denied: choose another archive or allow writing there",
        errno.EPERM: "not permitted: choose another archive or allow writing there",
        errno.EROFS: "the file system is read-only: choose another archive",
        errno.ENOTDIR: "a part of the path is a file: choose another archive",
    }
    try:
        yield
    except kind as exc:
        if action == "read" and isinstance(exc, FileNotFoundError):
            raise
        reason = str(exc) or type(exc).__name__
        if isinstance(exc, OSError):
            reason = cures.get(exc.errno or 0, exc.strerror or reason)
        raise TargetError(f"cannot {action} {url}", reason) from exc


class LocalTarget:
    """A folder."""

    def __init__(self, path: str) -> None:
        self.url = os.path.abspath(path)  # noqa: PTH100 - Path.resolve would follow links

    def join(self, key: str) -> str:
        """See Objects.join."""
        return f"{self.url}/{key}"

    def put(self, key: str, data: bytes) -> None:
        """Write a whole object, replacing what was there in one step.

        An object that already has these bytes is left alone: a run that goes on after a kill
        rewrites nothing. Only its time becomes now: a `gc` elsewhere must see that the volume is
        at work. Other bytes have a name of their own only from one system call to the next, so
        that hardly a kill leaves that.
        """
        path = Path(self.join(key))
        with _errors(str(path), "write"):
            try:
                self._link(path, data)
            except FileExistsError:
                if path.stat().st_size == len(data) and path.read_bytes() == data:
                    with contextlib.suppress(PermissionError):  # the file of another user
                        os.utime(path)
                    return
                temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
                try:
                    self._link(temporary, data)
                    temporary.replace(path)
                finally:
                    temporary.unlink(missing_ok=True)

    def create(self, key: str, data: bytes) -> bool:
        """See Objects.create."""
        with _errors(self.join(key), "write"):
            try:
                self._link(Path(self.join(key)), data)
            except FileExistsError:
                return False
        return True

    def settle(self, keys: Iterable[str]) -> None:
        """See Objects.settle; a file that is gone is passed over."""
        for key in keys:
            with _errors(self.join(key), "write"), contextlib.suppress(FileNotFoundError):
                file = os.open(self.join(key), os.O_RDONLY)
                try:
                    os.fsync(file)
                finally:
                    os.close(file)

    def _link(self, path: Path, data: bytes) -> None:
        """Write a file that has no name until it is whole; FileExistsError if the name is taken."""
        folder = self._folder(path.parent)
        try:
            unnamed = os.open(".", _UNNAMED | os.O_WRONLY, 0o666, dir_fd=folder)
            try:
                _write_all(unnamed, data)
                # A dir_fd makes Python call linkat, which can follow /proc to the unnamed file.
                os.link(f"/proc/self/fd/{unnamed}", path.name, src_dir_fd=folder,
                        dst_dir_fd=folder, follow_symlinks=True)  # fmt: skip
            finally:
                os.close(unnamed)
        except OSError as exc:
            if exc.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                raise
            with _named(path, data) as temporary:  # no unnamed files here: NFS, macOS
                os.link(temporary, path)
        finally:
            os.close(folder)

    @staticmethod
    def _folder(path: Path) -> int:
        try:
            return os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            try:
                path.mkdir(parents=True, exist_ok=True)
            except FileExistsError as exc:
                raise NotADirectoryError(errno.ENOTDIR, "a part of the path is a file") from exc
            return os.open(path, os.O_RDONLY)

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """See Objects.get."""
        with _errors(self.join(key), "read"), Path(self.join(key)).open("rb") as file:
            if offset < 0:
                offset = max(0, os.fstat(file.fileno()).st_size + offset)
            file.seek(offset)
            return file.read(-1 if length is None else length)

    def delete(self, key: str) -> None:
        """See Objects.delete; folders that become empty go too."""
        path = Path(self.join(key))
        with _errors(str(path), "delete"):
            path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == Path(self.url):
                break
            try:
                folder.rmdir()
            except OSError:  # not empty, or somebody else was faster
                break

    def exists(self, key: str) -> bool:
        """See Objects.exists."""
        with _errors(self.join(key), "read"):
            try:
                return stat.S_ISREG(Path(self.join(key)).stat().st_mode)
            except (FileNotFoundError, NotADirectoryError):
                return False

    def is_empty(self) -> bool:
        """See Objects.is_empty."""
        with _errors(self.url, "list"):
            try:
                with os.scandir(self.url) as entries:
                    return next(entries, None) is None
            except FileNotFoundError:
                return True

    def modified(self, key: str) -> float:
        """See Objects.modified."""
        with _errors(self.join(key), "read"):
            return Path(self.join(key)).stat().st_mtime

    def find(self, prefix: str) -> dict[str, int]:
        """See Objects.find."""
        root = self.join(prefix).rstrip("/")
        found = {}
        with _errors(root, "list"):
            for folder, _, names in os.walk(root, onerror=_unless_missing):
                inside = folder[len(self.url) :].lstrip("/")
                for name in names:
                    with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                        size = Path(f"{folder}/{name}").stat().st_size
                        found[f"{inside}/{name}".lstrip("/")] = size
        return dict(sorted(found.items()))


class FsspecTarget:
    """Any other file system of fsspec; object stores write an object whole or not at all.

    Nothing is cached: what another process has written is there. The file systems have no error
    in common, so any that they raise is one of the storage.
    """

    def __init__(
        self,
        url: str,
        storage_options: Mapping[str, Any] | None = None,
        *,
        checks_first: bool = False,
    ) -> None:
        self.url = url.rstrip("/")
        self.storage_options = dict(storage_options or {})
        self._checks_first = checks_first
        try:
            self._fs, path = open_url(url, storage_options)
        except (ValueError, ImportError) as exc:
            raise OptionError(f"cannot open {url}", str(exc)) from exc
        self._root = path.rstrip("/")
        if not self._root:
            raise OptionError(f"{url} names no folder: an archive needs one of its own")

    def __reduce__(self) -> tuple[Any, ...]:
        """Open the place anew in another process: a file system takes its retries not along."""
        return partial(FsspecTarget, checks_first=self._checks_first), (
            self.url, self.storage_options,
        )  # fmt: skip

    def join(self, key: str) -> str:
        """See Objects.join."""
        return f"{self.url}/{key}"

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def put(self, key: str, data: bytes) -> None:
        """See Objects.put."""
        with _errors(self.join(key), "write", Exception):
            self._write(key, data)

    def create(self, key: str, data: bytes) -> bool:
        """See Objects.create; conditional where the file system can do it.

        Whether a server heeds the condition is not known here: see `root.create_archive`.
        """
        with _errors(self.join(key), "write", Exception):
            if self._checks_first and self.exists(key):
                return False
            if self._checks_first:
                self._write(key, data)
                return True
            for wait_s in (0.5, 2.0, None):
                try:
                    self._write(key, data, mode="create")
                    break
                except (TypeError, NotImplementedError) as exc:
                    raise OSError(UNSAFE) from exc
                except OSError as exc:  # each server has its own words for "another was faster"
                    said = str(exc.__cause__)
                    if exc.errno == errno.ENOSYS:  # S3's "not implemented"
                        raise OSError(UNSAFE) from exc
                    if "(PreconditionFailed)" in said or self.exists(key):
                        return False
                    # S3's for "another is at it and may still fail"
                    if wait_s is None or "ConditionalRequestConflict" not in said:
                        raise
                    time.sleep(wait_s)
        return True

    def settle(self, keys: Iterable[str]) -> None:
        """See Objects.settle; an object that was taken in is kept by its server."""

    def _write(self, key: str, data: bytes, **how: str) -> None:
        path = self._path(key)
        try:
            self._fs.pipe_file(path, data, **how)
        except FileNotFoundError:  # where folders are more than a part of the name
            if has_buckets(self._fs):
                raise
            self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._fs.pipe_file(path, data, **how)

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """See Objects.get."""
        end = None if length is None else offset + length
        with _errors(self.join(key), "read", Exception):
            return bytes(self._fs.cat_file(self._path(key), start=offset or None, end=end))

    def delete(self, key: str) -> None:
        """See Objects.delete."""
        with _errors(self.join(key), "delete", Exception), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._path(key))

    def exists(self, key: str) -> bool:
        """See Objects.exists."""
        with _errors(self.join(key), "read", Exception):
            try:
                if has_buckets(self._fs):  # its `info` lists what is below a key that is not there
                    bucket, name, _ = self._fs.split_path(self._path(key))
                    self._fs.call_s3("head_object", Bucket=bucket, Key=name)
                    return True
                return bool(self._fs.info(self._path(key))["type"] == "file")
            except FileNotFoundError:
                return False

    def is_empty(self) -> bool:
        """See Objects.is_empty."""
        with _errors(self.url, "list", Exception):
            try:
                if has_buckets(self._fs):  # its `ls` lists what is above, too
                    bucket, name, _ = self._fs.split_path(f"{self._root}/")
                    found = self._fs.call_s3(
                        "list_objects_v2", Bucket=bucket, Prefix=name, MaxKeys=1
                    )
                    return not found.get("KeyCount")
                return not self._fs.ls(self._root, detail=False)
            except FileNotFoundError:
                return True

    def modified(self, key: str) -> float:
        """See Objects.modified."""
        with _errors(self.join(key), "read", Exception):
            return float(self._fs.modified(self._path(key)).timestamp())

    def find(self, prefix: str) -> dict[str, int]:
        """See Objects.find."""
        with _errors(self.join(prefix), "list", Exception):
            try:
                found: dict[str, Any] = self._fs.find(self._path(prefix), detail=True)
            except FileNotFoundError:
                return {}
        cut = len(self._root.lstrip("/")) + 1
        return {
            name.lstrip("/")[cut:]: int(info["size"] or 0) for name, info in sorted(found.items())
        }


@contextlib.contextmanager
def _named(path: Path, data: bytes) -> Iterator[Path]:
    """Write a file beside `path` to be moved or linked there; clean up whatever happens."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_bytes(data)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _unless_missing(exc: OSError) -> None:
    if not isinstance(exc, FileNotFoundError):
        raise exc


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
