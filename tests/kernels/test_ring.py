"""The order of uploads, with a device that does its work late and in any order that it may.

What is put on a stream is done in its order; streams know nothing of each other but by events. A
seed decides which stream goes on, only when somebody waits. Whoever fills a piece or a buffer too
early, or reads one too early, gets other bytes.
"""

import ctypes
import random
import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansfilm_kernels._ring import Ring


class Late:
    """A module in the place of CuPy, of which the ring needs little."""

    def __init__(self, seed):
        self.random, self.streams, self.waits = random.Random(seed), [], 0
        device = self

        class Stream:
            def __init__(self, non_blocking=True):
                self.todo, self.done, self.put = [], 0, 0
                device.streams.append(self)

            def add(self, work, needs=lambda: True):
                self.todo.append((work, needs))
                self.put += 1

            def wait_event(self, event):
                after, count = event.stream, event.count
                if after is not None:
                    self.add(lambda: None, lambda: after.done >= count)

            def __enter__(self):
                return self

            def __exit__(self, *exc):
                pass

        class Event:
            stream, count = None, 0

            def record(self, stream):
                self.stream, self.count = stream, stream.put

            def synchronize(self):
                device.waits += 1
                device.run(lambda: self.stream is None or self.stream.done >= self.count)

        self.current = Stream()
        self.cuda = SimpleNamespace(
            Stream=Stream, Event=Event, get_current_stream=lambda: self.current,
            alloc_pinned_memory=lambda size: bytearray(b"\xee" * size),
        )  # fmt: skip

    def run(self, until):
        """Do what may be done, in any order, until something holds."""
        while not until():
            ready = [s for s in self.streams if s.todo and s.todo[0][1]()]
            assert ready, "everybody waits for somebody"
            stream = self.random.choice(ready)
            stream.todo.pop(0)[0]()
            stream.done += 1

    def finish(self):
        self.run(lambda: not any(stream.todo for stream in self.streams))

    def empty(self, shape, dtype):
        return Array(shape, dtype)


class Array(np.ndarray):
    """An array of the device; `data` is where it lies."""

    @property
    def data(self):
        return Pointer(self.ctypes.data)


class Pointer(int):
    def __add__(self, offset):
        return Pointer(int(self) + offset)

    def copy_from_host_async(self, source, size, stream):
        stream.add(lambda: ctypes.memmove(int(self), source, size))


def look(seen, data):
    """Stand for a kernel that reads all."""
    seen.append(np.array(data).tobytes())


@given(
    st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 9),
    st.lists(st.lists(st.binary(max_size=40), max_size=4), max_size=7),
)  # fmt: skip
def test_every_kernel_reads_what_was_sent_for_it(seed, pieces, piece_bytes, batches):
    late = Late(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", late)
        ring, seen = Ring(pieces, piece_bytes), []
        for batch in batches:
            with ring.upload(batch) as data:
                late.current.add(partial(look, seen, data))
        late.finish()
    assert seen == [b"".join(batch) for batch in batches]


def test_the_host_goes_on_while_there_are_free_pieces(monkeypatch):
    late = Late(0)
    monkeypatch.setitem(sys.modules, "cupy", late)
    ring = Ring(pieces=4, piece_bytes=8)
    with ring.upload([b"x" * 32]):
        pass
    assert not any(stream.done for stream in late.streams)  # nothing was waited for
    with ring.upload([b"y"]):
        pass
    assert late.streams[1].done >= 1  # the first piece had to be free again


@pytest.mark.parametrize("broken", ["piece", "buffer", "kernel"])
def test_this_would_show_it(monkeypatch, broken):
    """Each of the three waits is needed: without it some order of work gives other bytes."""
    wrong = 0
    for seed in range(40):
        late = Late(seed)
        monkeypatch.setitem(sys.modules, "cupy", late)
        ring, seen = Ring(pieces=2, piece_bytes=4), []
        if broken == "piece":
            for event in ring._copied:
                monkeypatch.setattr(event, "synchronize", lambda: None)
        elif broken == "buffer":
            for event in ring._read:
                monkeypatch.setattr(event, "record", lambda stream: None)
        else:
            monkeypatch.setattr(late.current, "wait_event", lambda event: None)
        batches = [[bytes([65 + n]) * 11] for n in range(5)]
        for batch in batches:
            with ring.upload(batch) as data:
                late.current.add(partial(look, seen, data))
        late.finish()
        wrong += seen != [b"".join(batch) for batch in batches]
    assert wrong
