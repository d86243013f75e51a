"""What runs in a guard process: it decodes what it is asked to, and may die of it.

It imports numpy, this package's decoders and, when they are first needed, their libraries.
"""

import contextlib
import ctypes
import mmap
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from sansfilm.decode.area import Area, layout
from sansfilm.decode.canaries import Health
from sansfilm.decode.frames import Encoded, decode_batch
from sansfilm.decode.wire import Request, pack_answers, unpack_request
from sansfilm.model import Decoded, FrameSpec

READY = b"ready\n"
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
SPARE = 2**28
"""Bytes that decoding any frame may take."""
PER_SAMPLE = 48
"""Bytes more for each sample: several times what any codec here was seen to take."""


def main(socket_fd: int, *area_fds: int) -> None:
    """Answer requests until there is nobody who asks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who asks
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    _keep_freed_memory()
    areas = [Area(fd) for fd in area_fds]
    memory, timer, health = _Memory(), _Timer(), Health()
    gone = contextlib.suppress(OSError)  # who asked
    with gone, socket.socket(fileno=socket_fd) as link, link.makefile("rb") as requests:
        link.sendall(READY)
        for line in requests:
            request = unpack_request(line)
            memory.allow(max(samples(spec) for spec, _ in request.frames))
            answers = _answers(request, areas[request.area], timer, health)
            last = memory.is_lost  # a fresh process is better than one that leaks
            link.sendall(pack_answers(answers, last=last))
            if last:
                return


def _answers(request: Request, area: Area, timer: "_Timer", health: Health) -> list[Decoded]:
    """Decode the frames of a request one after the other.

    All are answered at once, since waking who asked costs a tenth of a frame. Which frame is in
    hand stands in the area meanwhile, and which decoder is on trial.
    """
    area.follow(request.size)
    prefer = request.how.prefer
    for name, syntax in request.distrusted:
        health.distrust(name, syntax)

    def on_trial(name: str) -> None:
        area.trial = prefer.index(name) + 1 if name else 0

    health.on_trial = on_trial
    codestreams, values, _ = layout(request.frames)

    def frames() -> Iterator[Encoded]:
        places = zip(request.frames, codestreams, strict=True)
        for number, ((spec, length), start) in enumerate(places, 1):
            area.begun = number
            timer.allow(seconds_for(spec, request.how.seconds))
            yield area.read(start, length), spec

    out = (area.frame(at, spec) for (spec, _), at in zip(request.frames, values, strict=True))
    answers = list(decode_batch(frames(), out, request.how, health))
    timer.stop()
    return answers


def seconds_for(spec: FrameSpec, seconds: float) -> float:
    """Return how long a frame may take: one second more for each megapixel."""
    return seconds + spec.rows * spec.columns / 1e6


def samples(spec: FrameSpec) -> int:
    """Return the samples of a frame."""
    return spec.rows * spec.columns * spec.samples_per_pixel


def _keep_freed_memory() -> None:
    """Have malloc keep what codecs free, where it is glibc's.

    It would give it back to the system frame by frame, and take it again: 350 pages for one of
    JPEG 2000, a millisecond.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, 2**25)  # the most that it takes
        mallopt(_TRIM_THRESHOLD, 2**26)


class _Timer:
    """Ends this process when a frame takes too long, whatever code it is in."""

    def __init__(self) -> None:
        self._end = 0.0

    def allow(self, seconds: float) -> None:
        """Give what begins now so many seconds, or up to a tenth more.

        The tenth is so that the system is not asked for each frame.
        """
        now = time.monotonic()
        if now + seconds > self._end:
            self._end = now + 1.1 * seconds
            signal.setitimer(signal.ITIMER_REAL, 1.1 * seconds)  # its default action is the end

    def stop(self) -> None:
        """Let what comes take as long as it likes."""
        self._end = 0.0
        signal.setitimer(signal.ITIMER_REAL, 0)


class _Memory:
    """Limits what this process may allocate: a codec that asks for more is refused, alone.

    RLIMIT_DATA counts what is private and can be written, which is what codecs allocate;
    RLIMIT_AS would count shared areas and libraries too. Systems without such a count (macOS)
    have no limit. No core is ever dumped: it would hold pixels.
    """

    def __init__(self) -> None:
        import resource

        self._resource = resource
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        self._own, self._allowed, self._requests = _data_bytes(), 0, 0

    @property
    def is_lost(self) -> bool:
        """Whether what frames may take is still taken after them; looked at now and then."""
        self._requests += 1
        return self._requests % 8 == 0 and _data_bytes() > self._own + SPARE // 2

    def allow(self, most: int) -> None:
        """Set the limit for frames of at most so many samples."""
        if not self._own or most == self._allowed:
            return
        hard = self._resource.getrlimit(self._resource.RLIMIT_DATA)[1]
        soft = self._own + SPARE + PER_SAMPLE * most
        if hard != self._resource.RLIM_INFINITY:
            soft = min(soft, hard)
        self._resource.setrlimit(self._resource.RLIMIT_DATA, (soft, hard))
        self._allowed = most


def _data_bytes() -> int:
    """Return how much private memory this process has now; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[5])
    except OSError:
        return 0
    return pages * mmap.PAGESIZE


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
