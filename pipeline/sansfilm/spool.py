"""A list that does not grow in memory: what is more than a little of it lies on the disk."""

import operator
import pickle
import tempfile
import weakref
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from io import SEEK_END
from typing import IO, Any, Self, overload

from sansfilm.errors import SansfilmError

ROOM = 1024
"""What stays in memory of each list, counted in the weights of its items."""
NO_ROOM = "no room for temporary files: set TMPDIR to a folder with more"


class Spool[T](Sequence[T]):
    """Items in the order in which they were added, to be read as often as wanted; picklable ones.

    The file that holds them has no name, is nobody else's to read, and ends with the spool, or the
    process. It lies where temporary files do: TMPDIR says where. What was read from it is a copy.

    Parameters
    ----------
    room : int, optional
        What stays in memory, counted in the weights of the items.
    items : iterable, optional
        The first ones, of weight 1.
    """

    def __init__(self, room: int = ROOM, items: Iterable[T] = ()) -> None:
        self._here: list[T] = []
        self._room = room
        self._starts = array("Q")
        self._file: IO[bytes] | None = None
        for item in items:
            self.append(item)

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
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the spool
                weakref.finalize(self, self._file.close)
            start = self._file.seek(0, SEEK_END)
            pickle.dump(item, self._file, pickle.HIGHEST_PROTOCOL)
            self._file.flush()  # else a full disk might be found only where nobody expects it
        except OSError as exc:
            raise SansfilmError(NO_ROOM, exc.strerror or str(exc)) from exc
        self._starts.append(start)

    @property
    def all_here(self) -> bool:
        """Whether no item had to be put aside."""
        return not self._starts

    def __len__(self) -> int:
        return len(self._here) + len(self._starts)

    @overload
    def __getitem__(self, number: int) -> T: ...
    @overload
    def __getitem__(self, number: slice) -> list[T]: ...
    def __getitem__(self, number: int | slice) -> T | list[T]:
        numbers = range(len(self))[number]
        if isinstance(numbers, range):
            return [self[one] for one in numbers]
        if numbers < len(self._here):
            return self._here[numbers]
        assert self._file is not None
        self._file.seek(self._starts[numbers - len(self._here)])
        item: T = pickle.load(self._file)
        return item

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Spool | list):
            return NotImplemented
        return len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]  # as that of a list

    def __repr__(self) -> str:
        return repr(list(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (len(self._here), list(self))

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
