"""Where objects are: the one contract between the stages and any storage."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

AT_ONCE = 8
"""Calls that wait for storage in a network at the same time."""


class Readable(Protocol):
    """Whole objects by key that are only read: relative keys, with forward slashes.

    Every method raises TargetError, with the cure, if the storage fails.
    """

    url: str
    """The root, as people name it."""

    def join(self, key: str) -> str:
        """Return the URL of a key."""
        ...

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Read an object, or a range of it; FileNotFoundError if there is none.

        A negative offset counts from the end; what a range has beyond the ends is left out.
        """
        ...

    def find(self, prefix: str) -> dict[str, int]:
        """List all objects below a prefix: key -> size in bytes, sorted."""
        ...


class Objects(Readable, Protocol):
    """Whole objects by key, to be read and written."""

    def put(self, key: str, data: bytes) -> None:
        """Write a whole object, replacing what was there in one step."""
        ...

    def create(self, key: str, data: bytes) -> bool:
        """Write a whole object only if there is none; tell whether it was written."""
        ...

    def settle(self, keys: Iterable[str]) -> None:
        """Return when objects that were written would outlast a power cut."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        ...

    def exists(self, key: str) -> bool:
        """Tell whether there is an object of this key."""
        ...

    def is_empty(self) -> bool:
        """Tell whether there is nothing at all at the root, or no root yet."""
        ...

    def modified(self, key: str) -> float:
        """Return when an object was written, in seconds since 1970 UTC."""
        ...


def each[T, R](target: Readable, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Call a function that uses a target for each item; return the results in order.

    Several are called at once where each waits for a network.
    """
    if "://" not in target.url:
        return list(map(function, items))
    with ThreadPoolExecutor(AT_ONCE, "sansfilm-storage") as pool:
        return list(pool.map(function, items))
