"""Where objects go: a folder of this machine or any fsspec URL; whole objects only.

Local objects are written to an unnamed file and linked into place when complete, so that a
killed process leaves neither a torn object nor a temporary file behind.
"""

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sansfilm.errors import OptionError, TargetError


def open_target(url: str) -> "LocalTarget | FsspecTarget":
    """Open an archive's root, or any folder in it.

    Raises
    ------
    OptionError
        If the URL is empty or its protocol is unknown.
    """
    if not url:
        raise OptionError("the archive's URL is empty")
    if "://" not in url and "::" not in url:
        return LocalTarget(url)
    if url.startswith("file://"):
        return LocalTarget(url[len("file://") :])
    return FsspecTarget(url)


@contextlib.contextmanager
def _errors(url: str, action: str) -> Iterator[None]:
    """Turn an OS error into a sentence with the place and the cure."""
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
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError as exc:
        reason = cures.get(exc.errno or 0, exc.strerror or str(exc))
        raise TargetError(f"cannot {action} {url}", reason) from exc


class LocalTarget:
    """A folder. Keys are relative, with forward slashes."""

    def __init__(self, path: str) -> None:
        self.url = os.path.abspath(path)  # noqa: PTH100 - Path.resolve would follow links

    def join(self, key: str) -> str:
        """Return the URL of a key."""
        return f"{self.url}/{key}"

    def put(self, key: str, data: bytes) -> None:
        """Write a whole object, replacing what was there in one step.

        Raises
        ------
        TargetError
        """
        with _errors(self.join(key), "write"):
            try:
                self._link(key, data)
            except FileExistsError:
                path = Path(self.join(key))
                temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
                temporary.write_bytes(data)
                temporary.replace(path)

    def create(self, key: str, data: bytes) -> bool:
        """Write a whole object only if there is none; tell whether it was written.

        Raises
        ------
        TargetError
        """
        with _errors(self.join(key), "write"):
            try:
                self._link(key, data)
            except FileExistsError:
                return False
        return True

    def _link(self, key: str, data: bytes) -> None:
        path = Path(self.join(key))
        folder = self._folder(path.parent)
        try:
            if not hasattr(os, "O_TMPFILE"):
                raise OSError(errno.EOPNOTSUPP, "no unnamed files")
            unnamed = os.open(".", os.O_TMPFILE | os.O_WRONLY, 0o666, dir_fd=folder)
        except OSError as exc:
            if exc.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                raise
            self._link_named(path, data)
            return
        finally:
            os.close(folder)
        try:
            _write_all(unnamed, data)
            # A dir_fd makes Python call linkat, which can follow /proc to the unnamed file.
            parent = os.open(path.parent, os.O_RDONLY)
            try:
                os.link(f"/proc/self/fd/{unnamed}", path.name, src_dir_fd=parent,
                        dst_dir_fd=parent, follow_symlinks=True)  # fmt: skip
            finally:
                os.close(parent)
        finally:
            os.close(unnamed)

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

    @staticmethod
    def _link_named(path: Path, data: bytes) -> None:
        """Do the same with a named file where unnamed ones are not to be had (NFS, macOS)."""
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        temporary.write_bytes(data)
        try:
            os.link(temporary, path)
        finally:
            temporary.unlink()

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Read an object, or a range of it.

        Raises
        ------
        FileNotFoundError, TargetError
        """
        with _errors(self.join(key), "read"), Path(self.join(key)).open("rb") as file:
            file.seek(offset)
            return file.read(-1 if length is None else length)

    def exists(self, key: str) -> bool:
        """Tell whether there is an object of this key."""
        return Path(self.join(key)).is_file()

    def modified(self, key: str) -> float:
        """Return when an object was written, in seconds since 1970 UTC."""
        with _errors(self.join(key), "read"):
            return Path(self.join(key)).stat().st_mtime

    def find(self, prefix: str) -> dict[str, int]:
        """List all objects below a prefix: key -> size."""
        root = Path(self.join(prefix))
        found = {}
        with _errors(str(root), "list"):
            for folder, _, names in os.walk(root):
                for name in names:
                    path = Path(folder, name)
                    key = path.relative_to(self.url).as_posix()
                    found[key] = path.stat().st_size
        return dict(sorted(found.items()))

    def remove(self, keys: list[str]) -> None:
        """Remove objects; one that is already gone is no error."""
        for key in keys:
            with _errors(self.join(key), "remove"):
                Path(self.join(key)).unlink(missing_ok=True)


class FsspecTarget:
    """Any other file system of fsspec; object stores write an object whole or not at all."""

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url.rstrip("/")
        try:
            self._fs, path = fsspec.core.url_to_fs(self.url)
        except (ValueError, ImportError) as exc:
            raise OptionError(f"cannot open {url}", str(exc)) from exc
        self._root = path.rstrip("/")

    def join(self, key: str) -> str:
        """Return the URL of a key."""
        return f"{self.url}/{key}"

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def put(self, key: str, data: bytes) -> None:
        """See LocalTarget.put."""
        with _errors(self.join(key), "write"):
            self._parent(key)
            self._fs.pipe_file(self._path(key), data)

    def create(self, key: str, data: bytes) -> bool:
        """See LocalTarget.create; conditional where the file system can do it."""
        with _errors(self.join(key), "write"):
            if self._fs.exists(self._path(key)):
                return False
            self._parent(key)
            try:
                self._fs.pipe_file(self._path(key), data, mode="create")
            except FileExistsError:
                return False
            except (TypeError, NotImplementedError):
                self._fs.pipe_file(self._path(key), data)
        return True

    def _parent(self, key: str) -> None:
        self._fs.makedirs(self._path(key).rsplit("/", 1)[0], exist_ok=True)

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """See LocalTarget.get."""
        end = None if length is None else offset + length
        with _errors(self.join(key), "read"):
            return bytes(self._fs.cat_file(self._path(key), start=offset or None, end=end))

    def exists(self, key: str) -> bool:
        """See LocalTarget.exists."""
        return bool(self._fs.isfile(self._path(key)))

    def modified(self, key: str) -> float:
        """See LocalTarget.modified."""
        with _errors(self.join(key), "read"):
            return float(self._fs.modified(self._path(key)).timestamp())

    def find(self, prefix: str) -> dict[str, int]:
        """See LocalTarget.find."""
        with _errors(self.join(prefix), "list"):
            found: dict[str, Any] = self._fs.find(self._path(prefix), detail=True)
        cut = len(self._root.lstrip("/")) + 1
        return {
            name.lstrip("/")[cut:]: int(info["size"] or 0) for name, info in sorted(found.items())
        }

    def remove(self, keys: list[str]) -> None:
        """See LocalTarget.remove."""
        with _errors(self.url, "remove from"):
            for key in keys:
                with contextlib.suppress(FileNotFoundError):
                    self._fs.rm_file(self._path(key))


Target = LocalTarget | FsspecTarget


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
