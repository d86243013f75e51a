"""What runs in a guard process: it decodes what it is asked to, and may die of it.

It imports numpy, this package's decoders and, when they are first needed, their libraries.
"""

import contextlib
import mmap
import signal
import socket
import sys
from pathlib import Path

from sansfilm.decode.area import Area
from sansfilm.decode.canaries import Health
from sansfilm.decode.frames import decode_batch
from sansfilm.decode.wire import Request, pack_answer, unpack_request
from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import Decoded, FrameSpec

READY = b"ready\n"
SPARE = 2**28
"""Bytes that decoding any frame may take."""
PER_SAMPLE = 48
"""Bytes more for each sample: several times what any codec here was seen to take."""


def main(socket_fd: int, area_fd: int) -> None:
    """Answer requests until there is nobody who asks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who asks
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    area = Area(area_fd)
    memory, health = _Memory(), Health()
    gone = contextlib.suppress(OSError)  # who asked
    with gone, socket.socket(fileno=socket_fd) as link, link.makefile("rb") as requests:
        link.sendall(READY)
        for line in requests:
            _answer(unpack_request(line), link, area, memory, health)
            if memory.is_lost:  # a fresh process is better than one that leaks
                return


def _answer(
    request: Request, link: socket.socket, area: Area, memory: "_Memory", health: Health
) -> None:
    """Decode the frames of a request one after the other; tell of all at once.

    Waking who asked costs a tenth of a frame, so it is done once. Which frame is in hand stands
    in the area meanwhile.
    """
    area.follow(request.size)
    memory.allow(max(samples(spec) for spec, *_ in request.frames))
    answers = []
    for number, (spec, start, length, values) in enumerate(request.frames):
        area.begun = number + 1
        # its default action ends the process, whatever code that process is in
        signal.setitimer(signal.ITIMER_REAL, seconds_for(spec, request.how.seconds))
        frame = area.read(start, length), spec
        try:
            (done,) = decode_batch([frame], [area.frame(values, spec)], request.how, health)
        except Exception as exc:  # a decoder's own mistake costs its frame
            message = f"the decoder failed: {type(exc).__name__}"
            done = Decoded(error=BadInstanceError(ProblemCode.DECODE_FAILED, message))
        signal.setitimer(signal.ITIMER_REAL, 0)
        answers.append(pack_answer(done))
    link.sendall(b"".join(answers))


def seconds_for(spec: FrameSpec, seconds: float) -> float:
    """Return how long a frame may take: one second more for each megapixel."""
    return seconds + spec.rows * spec.columns / 1e6


def samples(spec: FrameSpec) -> int:
    """Return the samples of a frame."""
    return spec.rows * spec.columns * spec.samples_per_pixel


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
