"""A list of files that does not grow in memory: of many, most lie on the disk."""

import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sansfilm.errors import SansfilmError
from sansfilm.model import FileRef
from sansfilm.spool import NO_ROOM

if TYPE_CHECKING:
    import sqlite3

ROOM = 16 * 1024
"""Files that stay in memory: 5 MB, less than what is loaded later to write volumes."""

_TABLE = """CREATE TABLE files
    (uri BLOB PRIMARY KEY, size INTEGER, modified_ns INTEGER, version TEXT) WITHOUT ROWID"""
_ADD = "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)"
_ALL = "SELECT uri, size, modified_ns, version FROM files ORDER BY uri"
_BYTES = "utf-8", "surrogatepass"
"""How names are kept: sorted as Python sorts them, whatever is in them."""


class Listing:
    """Files, each URI once: what was added last counts. Iterating gives them sorted by URI.

    Of many, most lie in a database of SQLite, in a file without a name that ends with the listing.

    Parameters
    ----------
    room : int, optional
        Files that stay in memory.
    """

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._here: dict[str, FileRef] = {}
        self._there: sqlite3.Connection | None = None

    def add(self, file: FileRef) -> None:
        """Add a file.

        Raises
        ------
        SansfilmError
            If the disk is full.
        """
        self._here[file.uri] = file
        if len(self._here) > self._room:
            self._put_aside()

    def __len__(self) -> int:
        if self._there is None:
            return len(self._here)
        if self._here:
            self._put_aside()
        (count,) = self._there.execute("SELECT count(*) FROM files").fetchone()
        return int(count)

    def __iter__(self) -> Iterator[FileRef]:
        if self._there is None:
            yield from [self._here[uri] for uri in sorted(self._here)]
            return
        if self._here:
            self._put_aside()
        for uri, size, modified_ns, version in self._there.execute(_ALL):
            yield FileRef(uri.decode(*_BYTES), size, modified_ns, version)

    def _put_aside(self) -> None:
        import sqlite3  # 2 MB that few need

        try:
            if self._there is None:
                self._there = sqlite3.connect("", isolation_level=None, check_same_thread=False)
                weakref.finalize(self, self._there.close)
                self._there.execute("PRAGMA journal_mode = OFF")
                self._there.execute(_TABLE)
            self._there.execute("BEGIN")
            self._there.executemany(_ADD, (
                (file.uri.encode(*_BYTES), file.size, file.modified_ns, file.version)
                for file in self._here.values()
            ))  # fmt: skip
            self._there.execute("COMMIT")
        except sqlite3.OperationalError as exc:
            raise SansfilmError(NO_ROOM, str(exc)) from exc
        self._here.clear()
