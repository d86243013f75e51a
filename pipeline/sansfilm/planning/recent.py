"""Remote files that planning has read and decoding will want again: each is fetched once.

Files of this machine need nothing of the kind, for the system keeps what was read last.
"""

import threading

BUDGET = 128 * 2**20
"""Bytes that a process keeps; what is oldest goes first, and is fetched again when it is wanted."""


class Recent:
    """Whole files by URI and SHA-256, so that what is found is what was planned.

    Parameters
    ----------
    budget : int
        Bytes; a file larger than all of it is not kept.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        self.budget = budget
        self._files: dict[tuple[str, str], bytes] = {}
        self._size = 0
        self._lock = threading.Lock()

    def keep(self, uri: str, sha256: str, data: bytes) -> None:
        """Keep a file, and let go of the oldest ones if they are too many."""
        with self._lock:
            self._drop((uri, sha256))
            self._files[uri, sha256] = data
            self._size += len(data)
            while self._size > self.budget:
                self._drop(next(iter(self._files)))

    def get(self, uri: str, sha256: str, *, last: bool = False) -> bytes | None:
        """Return a file if it is here; `last` lets go of it, for nobody will ask again."""
        with self._lock:
            data = self._files.get((uri, sha256))
            if last:
                self._drop((uri, sha256))
            return data

    def has(self, uri: str, sha256: str) -> bool:
        """Tell whether a file is here."""
        return (uri, sha256) in self._files

    def clear(self) -> None:
        """Let go of all."""
        with self._lock:
            self._files.clear()
            self._size = 0

    def _drop(self, name: tuple[str, str]) -> None:
        self._size -= len(self._files.pop(name, b""))


RECENT = Recent()
"""What this process keeps."""
