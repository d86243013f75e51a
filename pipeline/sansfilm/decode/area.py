"""Memory that two processes see: an anonymous file that both have mapped.

Codestreams go in and stored values come out of it, so pixels are never copied through a pipe.
"""

import mmap
import os
import tempfile
from collections.abc import Iterable

import numpy as np

from sansfilm.frame_spec import FrameSpec, stored_bytes

LINE = 64
"""Everything starts on a multiple of so many bytes; in the first the other process says how far
it is."""
_STEP = 2**20


class Area:
    """A growing area; whoever has its file descriptor and its size sees the same bytes.

    Parameters
    ----------
    fd : int, optional
        The area of somebody else; without it a new one.
    """

    def __init__(self, fd: int | None = None) -> None:
        self.fd = _anonymous_file() if fd is None else fd
        self.size = 0
        self._memory: mmap.mmap | None = None
        self._bytes = memoryview(b"")
        self._numbers = self._bytes

    def grow(self, size: int) -> None:
        """Make it at least so large; what was lent before stays where it is."""
        if size > self.size:
            self.size = -(-size // _STEP) * _STEP
            os.ftruncate(self.fd, self.size)
            self._map()

    def follow(self, size: int) -> None:
        """Map it as large as the other process says that it is now."""
        if size != self.size:
            self.size = size
            self._map()

    def _map(self) -> None:
        self._memory = mmap.mmap(self.fd, self.size)
        self._bytes = memoryview(self._memory)
        self._numbers = self._bytes[:LINE].cast("I")

    @property
    def begun(self) -> int:
        """How many frames of a request have been begun, as the other process notes it here."""
        return self._numbers[0]

    @begun.setter
    def begun(self, frames: int) -> None:
        self._numbers[0] = frames

    @property
    def trial(self) -> int:
        """Which decoder is decoding its golden image: from 1 in the order of trial, or 0."""
        return self._numbers[1]

    @trial.setter
    def trial(self, decoder: int) -> None:
        self._numbers[1] = decoder

    def write(self, start: int, data: bytes | memoryview) -> None:
        """Put bytes there."""
        self._bytes[start : start + len(data)] = data

    def read(self, start: int, length: int) -> memoryview:
        """Return bytes as they lie there."""
        return self._bytes[start : start + length].toreadonly()

    def frame(self, start: int, spec: FrameSpec) -> np.ndarray:
        """View a place as the stored values of a frame."""
        assert self._memory is not None
        return np.ndarray(spec.shape, spec.container, self._memory, start)

    def close(self) -> None:
        """Give back the file; views stay valid as long as somebody has them."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def layout(frames: Iterable[tuple[FrameSpec, int]]) -> tuple[list[int], list[int], int]:
    """Say where frames lie: the codestreams first, all values after them.

    Both processes ask this, so that neither has to believe the other.

    Parameters
    ----------
    frames : iterable of (description, bytes of the codestream)

    Returns
    -------
    codestreams, values : list of int
        Where those of each frame start.
    end : int
        Where the last one ends.
    """
    specs, sizes = zip(*frames, strict=True)
    codestreams, end = _places(sizes, LINE)
    values, end = _places(map(stored_bytes, specs), end)
    return codestreams, values, end


def _places(sizes: Iterable[int], start: int) -> tuple[list[int], int]:
    starts = []
    for size in sizes:
        starts.append(start)
        start += -(-size // LINE) * LINE
    return starts, start


def _anonymous_file() -> int:
    """Return a file descriptor of a file without a name, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("sansfilm-frames", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
