"""A target that keeps its objects in memory: what `sansfilm.read` writes into."""

import threading
from collections.abc import Iterable


class MemoryTarget:
    """Objects by key in a dictionary.

    It does not pickle, because of its lock: another process would fill a copy.
    """

    url = "memory:"

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self._creating = threading.Lock()

    def join(self, key: str) -> str:
        """Return the name of a key."""
        return f"{self.url}{key}"

    def put(self, key: str, data: bytes) -> None:
        """See Objects.put."""
        self.objects[key] = data

    def create(self, key: str, data: bytes) -> bool:
        """See Objects.create."""
        with self._creating:
            if key in self.objects:
                return False
            self.objects[key] = data
            return True

    def settle(self, keys: Iterable[str]) -> None:
        """See Objects.settle; nothing here would."""

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """See Objects.get."""
        if key not in self.objects:
            raise FileNotFoundError(key)
        end = None if length is None else offset + length
        return self.objects[key][offset:end]

    def delete(self, key: str) -> None:
        """See Objects.delete."""
        self.objects.pop(key, None)

    def exists(self, key: str) -> bool:
        """See Objects.exists."""
        return key in self.objects

    def is_empty(self) -> bool:
        """See Objects.is_empty."""
        return not self.objects

    def modified(self, key: str) -> float:
        """See Objects.modified; what is in memory has no age."""
        return 0.0

    def find(self, prefix: str) -> dict[str, int]:
        """See Objects.find."""
        inside = f"{prefix}/" if prefix else ""
        return {
            key: len(self.objects[key]) for key in sorted(self.objects) if key.startswith(inside)
        }
