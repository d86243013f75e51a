"""An archive in which one volume seems to be missing: it can be made again beside itself."""

from collections.abc import Iterable

from sansfilm.objects import Objects
from sansfilm.store.checkpoint import CHECKPOINT
from sansfilm.store.commit import RECORD


class Rebuilt:
    """Reads an archive, and writes nothing: what is made of one volume is kept in `made`.

    Every other volume counts as published, so that only this one is made. It does not pickle with
    what it holds: use it in one process.
    """

    def __init__(self, target: Objects, volume: str, names: Iterable[str]) -> None:
        self.url, self._target, self._volume = target.url, target, volume
        self._wanted = {f"{volume}/{name}" for name in names}
        self.made: dict[str, bytes] = {}

    def join(self, key: str) -> str:
        """See Objects.join."""
        return self._target.join(key)

    def put(self, key: str, data: bytes) -> None:
        """Keep an object that is wanted."""
        if key in self._wanted:
            self.made[key[len(self._volume) + 1 :]] = data

    def create(self, key: str, data: bytes) -> bool:
        """See Objects.create; the record that is there already stays."""
        return not self.exists(key)

    def settle(self, keys: Iterable[str]) -> None:
        """See Objects.settle; what is made is written by who made this."""

    def delete(self, key: str) -> None:
        """Delete nothing."""

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """See Objects.get; no slab of the volume counts as stored already."""
        if key == f"{self._volume}/{CHECKPOINT}":
            raise FileNotFoundError(key)
        return self._target.get(key, offset, length)

    def exists(self, key: str) -> bool:
        """Tell that every volume is published but this one."""
        if key.endswith(f"/{RECORD}"):
            return key != f"{self._volume}/{RECORD}"
        return self._target.exists(key)

    def is_empty(self) -> bool:
        """See Objects.is_empty."""
        return self._target.is_empty()

    def modified(self, key: str) -> float:
        """See Objects.modified."""
        return self._target.modified(key)

    def find(self, prefix: str) -> dict[str, int]:
        """See Objects.find."""
        return self._target.find(prefix)
