"""Bytes of a source by offset and length, local files without fsspec in the way."""

import errno
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self
from urllib.parse import quote_from_bytes, unquote_to_bytes

from sansfilm.errors import SourceLostError
from sansfilm.planning.packed import open_member, split
from sansfilm.remote import is_lost, open_url, version_of

BLOCK = 2**20
WHOLE = 16 * 2**20
"""A remote file up to this size is fetched with one request; of larger ones, ranges as long."""
AT_ONCE = 8
"""Remote files that one task reads at a time: nearly all of such a read is waiting."""

_BUFFERS = threading.local()
_CHANGED = "the file changed while it was read"


def local_uri(path: str) -> str:
    """Return a printable name of a local file: its absolute path, or a file URL for odd names."""
    if path.isprintable():  # surrogates, which stand for undecodable bytes, are not
        return path
    return "file://" + quote_from_bytes(os.fsencode(path))


def local_path(uri: str) -> str | None:
    """Return the path that a `local_uri` or file URL names, None for what fsspec opens."""
    if uri.startswith("file://") and "::" not in uri:
        return os.fsdecode(unquote_to_bytes(uri[len("file://") :]))
    return uri if os.path.isabs(uri) else None  # noqa: PTH117 - a Path would lose odd bytes


@contextmanager
def remote_errors() -> Iterator[None]:
    """Turn whatever a file system behind fsspec raises into OSError: each has its own classes.

    Raises
    ------
    SourceLostError
        If storage is not there. Without the files that it holds volumes would be published that
        lack slices, so the run has to end.
    """
    try:
        yield
    except Exception as exc:
        if is_lost(exc):
            reason = "run the same command again once it is back"
            raise SourceLostError(f"the sources' storage: {type(exc).__name__}", reason) from exc
        if isinstance(exc, OSError):
            raise
        raise OSError(errno.EIO, f"{type(exc).__name__} from the file system") from exc


class Source:
    """One opened file; a context manager.

    Parameters
    ----------
    uri : str
    size : int, optional
        As a listing has it: saves asking object storage again. Files of this machine are asked.
    version : str, optional
        What the listing of object storage says of its state, for `changed`.
    data : bytes, optional
        The whole remote file, where it was read before: nothing is asked for then.

    Raises
    ------
    OSError
        From opening or reading; also if the file turns out shorter than it was when opened.
    """

    def __init__(
        self, uri: str, size: int | None = None, version: str = "", data: bytes = b""
    ) -> None:
        path = local_path(uri)
        self.modified_ns: int | None = None
        self._version = version
        self._fd = -1
        self._head = data
        self._fs: Any = None
        self._whole: Source | None = None
        if data:
            self.size = len(data)
            return
        if inside := split(uri):
            self._open_member(*inside)
            return
        if path is not None:
            try:
                self._fd = os.open(os.fsencode(path), os.O_RDONLY | getattr(os, "O_BINARY", 0))
            except ValueError as exc:
                raise OSError(errno.EINVAL, "a name that no file can have") from exc
            stat = os.fstat(self._fd)
            self.size, self.modified_ns = stat.st_size, stat.st_mtime_ns
            return
        with remote_errors():
            self._fs, self._path = open_url(uri)
            self.size = int(size or self._fs.size(self._path))  # 0 if a listing does not know

    def _open_member(self, kind: str, name: str, container: str) -> None:
        """Become a member of a zip or tar file: bytes of its container, or inflated ones."""
        if split(container):
            raise OSError(errno.EINVAL, "a container in a container is not opened")
        with ExitStack() as opened:
            whole = opened.enter_context(Source(container))
            member, self._start, self._head = open_member(whole, container, kind, name)
            self.size, self.modified_ns, self._whole = member.size, whole.modified_ns, whole
            opened.pop_all()  # it stays open until this one is closed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._whole is not None:
            self._whole.__exit__(*exc)
        if self._fd >= 0:
            os.close(self._fd)

    @property
    def remote(self) -> bool:
        """Whether the file is of another machine, or behind a file system of fsspec."""
        return self._whole.remote if self._whole else self._fd < 0

    @property
    def data(self) -> bytes:
        """The whole file, if it was read at once from elsewhere; else nothing."""
        return self._head if self.remote and len(self._head) == self.size else b""

    def changed(self) -> bool:
        """Ask object storage whether the file is another one than it was when it was listed."""
        if self._whole is not None:
            return self._whole.changed()
        with remote_errors():
            info = self._fs.info(self._path)
        version = version_of(info) if self._version else ""
        size = self.size if info.get("size") is None else int(info["size"])
        return (size, version) != (self.size, self._version)

    def head(self, length: int) -> bytes:
        """Return the first bytes of the file, and keep them: `read` and `sha256` use them too."""
        if len(self._head) < min(length, self.size):
            self._head += self._fetch(len(self._head), length - len(self._head))
        return self._head

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`; fewer only at the end of the file."""
        if offset + length <= len(self._head) or len(self._head) == self.size:
            return self._head[offset : offset + length]
        return self._fetch(offset, length)

    def sha256(self) -> str:
        """Return the SHA-256 of the whole file."""
        digest = hashlib.sha256(self._head)
        if self._fd >= 0:
            self._digest_rest(digest)
            return digest.hexdigest()
        for offset in range(len(self._head), self.size, WHOLE):
            digest.update(self._fetch(offset, WHOLE))
        if self.remote and len(self._head) < self.size and self.changed():
            raise OSError(errno.EIO, _CHANGED)  # ranges show neither growth nor a new version
        return digest.hexdigest()

    def _digest_rest(self, digest: "hashlib._Hash") -> None:
        """Read what is left of a file of this machine through one buffer for each thread.

        A new one for each file would cost the half of the digest, in pages that the system clears.
        """
        if not hasattr(_BUFFERS, "block"):
            _BUFFERS.block = memoryview(bytearray(BLOCK))
        offset = len(self._head)
        while offset < self.size:
            read = os.preadv(self._fd, [_BUFFERS.block], offset)
            if not read:
                raise OSError(errno.EIO, _CHANGED)
            digest.update(_BUFFERS.block[: min(read, self.size - offset)])
            offset += read

    def _fetch(self, offset: int, length: int) -> bytes:
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        if self._whole is not None:
            data = self._whole.read(self._start + offset, length)
        elif self._fd < 0:
            with remote_errors():
                # All of it is asked for without a range, so that growth since the listing shows.
                whole = length == self.size
                part = {} if whole else {"start": offset, "end": offset + length}
                data = bytes(self._fs.cat_file(self._path, **part))
        else:
            data = os.pread(self._fd, length, offset)
            while 0 < len(data) < length:  # a short read is not the end
                more = os.pread(self._fd, length - len(data), offset + len(data))
                if not more:
                    break
                data += more
        if len(data) != length:
            raise OSError(errno.EIO, _CHANGED)
        return data
