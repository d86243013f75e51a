"""Codestreams on their way to a GPU: through pinned memory, while the GPU decodes others.

The host fills one piece of pinned memory after the other and goes on; a stream of its own copies
them to one of two buffers on the device. A piece is filled again only when its copy is done, a
buffer only when the kernels that read it are.
"""

import ctypes
import functools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

import numpy as np

from sansfilm_kernels.namespace import Array

PIECES, PIECE_BYTES = 4, 2**23
BUFFERS = 2


@functools.cache
def ring(device: int) -> "Ring":
    """Return the one ring of a device."""
    return Ring()


class Ring:
    """Pinned pieces and device buffers of the current GPU; one upload at a time."""

    def __init__(self, pieces: int = PIECES, piece_bytes: int = PIECE_BYTES) -> None:
        self._cupy = cupy = import_module("cupy")
        pinned = [cupy.cuda.alloc_pinned_memory(piece_bytes) for _ in range(pieces)]
        self._pieces = [np.frombuffer(memory, np.uint8, piece_bytes) for memory in pinned]
        self._copied = [cupy.cuda.Event() for _ in range(pieces)]
        self._stream = cupy.cuda.Stream(non_blocking=True)
        with self._stream:  # so that what the pool gives is ordered by this stream
            self._buffers = [cupy.empty((1,), "uint8") for _ in range(BUFFERS)]
        self._read = [cupy.cuda.Event() for _ in range(BUFFERS)]
        for event in (*self._copied, *self._read):
            event.record(self._stream)  # nothing is to be waited for yet
        self._piece = self._buffer = 0
        self._lock = threading.Lock()

    @contextmanager
    def upload(self, codestreams: Sequence[bytes]) -> Iterator[Array]:
        """Put codestreams one after the other on the device.

        Yields
        ------
        cupy.ndarray, shape (bytes,), uint8
            For what is put on the current stream inside of this context, and for nothing else.
        """
        with self._lock:
            current = self._cupy.cuda.get_current_stream()
            number = self._buffer = (self._buffer + 1) % BUFFERS
            self._stream.wait_event(self._read[number])
            size = sum(map(len, codestreams))
            if self._buffers[number].size < size:
                with self._stream:
                    self._buffers[number] = self._cupy.empty((size,), "uint8")
            self._copy(codestreams, self._buffers[number])
            current.wait_event(self._copied[self._piece])
            try:
                yield self._buffers[number][:size]
            finally:
                self._read[number].record(current)

    def _copy(self, codestreams: Sequence[bytes], buffer: Array) -> None:
        """Fill pieces and send each when it is full."""
        at = filled = 0
        for codestream in codestreams:
            rest = memoryview(codestream)
            while len(rest):
                if not filled:
                    self._piece = (self._piece + 1) % len(self._pieces)
                    self._copied[self._piece].synchronize()
                piece = self._pieces[self._piece]
                some = min(len(rest), len(piece) - filled)
                piece[filled : filled + some] = np.frombuffer(rest[:some], np.uint8)
                filled, rest = filled + some, rest[some:]
                if filled == len(piece):
                    at, filled = self._send(buffer, at, filled)
        if filled:
            self._send(buffer, at, filled)

    def _send(self, buffer: Array, at: int, size: int) -> tuple[int, int]:
        source = ctypes.c_void_p(self._pieces[self._piece].ctypes.data)
        (buffer.data + at).copy_from_host_async(source, size, self._stream)
        self._copied[self._piece].record(self._stream)
        return at + size, 0
