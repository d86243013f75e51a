"""A list that does not grow in memory: what is more than a little of it lies on the disk."""

import pickle
import tempfile
from array import array
from collections.abc import Iterator
from contextlib import suppress
from io import SEEK_END
from typing import IO, Self

from sansfilm.errors import SansfilmError

ROOM = 1024
"""What stays in memory of each list, counted in the weights of its items."""


class Spool[T]:
    """Items in the order in which they were added, to be read as often as wanted; picklable ones.

    The file that holds them has no name, is nobody else's to read, and ends with the process. It
    lies where temporary files do: TMPDIR says where.
    """

    def __init__(self, room: int = ROOM) -> None:
        self._here: list[T] = []
        self._room = room
        self._starts = array("Q")
        self._file: IO[bytes] | None = None

    def append(self, item: T, weight: int = 1) -> None:
        """Add an item.

        Raises
        ------
        SansfilmError
            If the disk is full.
        """
        if self._room > 0:
            self._here.append(item)
            self._room -= weight
            return
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
            start = self._file.seek(0, SEEK_END)
            pickle.dump(item, self._file, pickle.HIGHEST_PROTOCOL)
            self._file.flush()  # else a full disk might be found only where nobody expects it
        except OSError as exc:
            message = "no room for temporary files: set TMPDIR to a folder with more"
            raise SansfilmError(message, exc.strerror or str(exc)) from exc
        self._starts.append(start)

    def __len__(self) -> int:
        return len(self._here) + len(self._starts)

    def __getitem__(self, number: int) -> T:
        if number < len(self._here):
            return self._here[number]
        assert self._file is not None
        self._file.seek(self._starts[number - len(self._here)])
        item: T = pickle.load(self._file)
        return item

    def __iter__(self) -> Iterator[T]:
        return map(self.__getitem__, range(len(self)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._here.clear()
        del self._starts[:]
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
