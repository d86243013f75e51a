"""Bytes of a source by offset and length, local files without fsspec in the way."""

import hashlib
import os
from typing import Any, Self
from urllib.parse import quote_from_bytes, unquote_to_bytes

BLOCK = 4 * 2**20


def local_uri(path: str) -> str:
    """Return a printable name of a local file: its path, or a file URL for odd bytes in it."""
    if path.isprintable() and not any("\ud800" <= char <= "\udfff" for char in path):
        return path
    return "file://" + quote_from_bytes(os.fsencode(path))


def _local_path(uri: str) -> bytes | None:
    if uri.startswith("file://"):
        return unquote_to_bytes(uri[len("file://") :])
    return None if "://" in uri else os.fsencode(uri)


class Source:
    """One opened file; a context manager.

    Raises
    ------
    OSError
        From opening or reading, as the file system gives it.
    """

    def __init__(self, uri: str) -> None:
        path = _local_path(uri)
        self._fd = -1
        self._fs: Any = None
        if path is not None:
            self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            stat = os.fstat(self._fd)
            self.size, self.modified_ns = stat.st_size, stat.st_mtime_ns
        else:
            import fsspec

            self._fs, self._path = fsspec.core.url_to_fs(uri)
            self.size, self.modified_ns = int(self._fs.size(self._path)), None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`; fewer only at the end of the file."""
        if self._fd < 0:
            end = min(offset + length, self.size)
            if end <= offset:
                return b""
            return bytes(self._fs.cat_file(self._path, start=offset, end=end))
        data = os.pread(self._fd, length, offset)
        if len(data) < length and offset + len(data) < self.size:  # a short read, not the end
            data += self.read(offset + len(data), length - len(data))
        return data

    def sha256(self, start: bytes = b"") -> str:
        """Return the SHA-256 of the whole file; `start` are its first bytes if already read."""
        digest = hashlib.sha256(start)
        for offset in range(len(start), self.size, BLOCK):
            digest.update(self.read(offset, min(BLOCK, self.size - offset)))
        return digest.hexdigest()
