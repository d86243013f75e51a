"""A guard process, as seen by who asks it: one process that decodes, and may die of it."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence

from sansfilm.decode.area import LINE, Area, places, stored_bytes
from sansfilm.decode.frames import Encoded
from sansfilm.decode.guard_worker import READY, seconds_for
from sansfilm.decode.wire import LONGEST, Request, pack_request, unpack_answer
from sansfilm.errors import ProblemCode
from sansfilm.model import Decoded, Decoding, FrameSpec

START_S = 60
"""Seconds in which a process has to be there; it takes a tenth of one on an idle machine."""
GRACE_S = 5
"""Seconds beyond a frame's time after which its process is ended from outside."""
_RUN = """\
import sys, json
sys.path[:] = json.loads(sys.argv[1])
from sansfilm.decode.guard_worker import main
main(int(sys.argv[2]), int(sys.argv[3]))
"""


class GuardLostError(Exception):
    """The process died or had to be ended.

    Parameters
    ----------
    code : ProblemCode
        DECODE_FAILED or TIMEOUT.
    message : str
    frame : int
        Number of the frame that it had in hand; -1 if it had none.
    certain : bool
        Whether the frame is to blame. A process that somebody else has killed, as the system does
        when memory runs out, says nothing about its frame.
    """

    def __init__(self, code: ProblemCode, message: str, frame: int, *, certain: bool) -> None:
        super().__init__(code, message, frame, certain)
        self.code, self.message, self.frame, self.certain = code, message, frame, certain


class Guard:
    """One guard process; used by one thread at a time. Starting it does not wait for it."""

    def __init__(self) -> None:
        self._area = Area()
        self._ready, self._path = False, list(sys.path)
        ours, theirs = socket.socketpair()
        with theirs:
            passed = theirs.fileno(), self._area.fd
            # A plain start of Python: no fork of this process with its threads, and no need for
            # a main guard in somebody's script. One thread: numpy's are not needed here.
            self._process = subprocess.Popen(
                [sys.executable, "-c", _RUN, json.dumps(sys.path), *map(str, passed)],
                pass_fds=passed, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )  # fmt: skip
        self._link, self._answers = ours, ours.makefile("rb")

    @property
    def pid(self) -> int:
        """Process number."""
        return self._process.pid

    @property
    def usable(self) -> bool:
        """Whether the process is there and finds the modules that this process finds now."""
        return self._process.poll() is None and self._path == sys.path

    @property
    def area_bytes(self) -> int:
        """How much memory is shared."""
        return self._area.size

    def decode(self, frames: Sequence[Encoded], how: Decoding) -> list[Decoded]:
        """Decode frames; their values are in the shared area, valid until it decodes others.

        Raises
        ------
        GuardLostError
            If the process dies or takes too long. The guard is of no use any more.
        """
        starts, end = places((len(codestream) for codestream, _ in frames), LINE)
        values, end = places((stored_bytes(spec) for _, spec in frames), end)
        self._area.grow(end)
        asked = []
        for (codestream, spec), start, place in zip(frames, starts, values, strict=True):
            self._area.write(start, codestream)
            asked.append((spec, start, len(codestream), place))
        self._area.begun = 0
        self._wait_until_ready()
        try:
            self._link.sendall(pack_request(Request(self._area.size, tuple(asked), how)))
        except OSError:
            raise self._lost() from None
        # each frame has its own time in the process; this one is for a process that is stopped
        self._link.settimeout(GRACE_S + sum(seconds_for(spec, how.seconds) for _, spec in frames))
        return [self._result(spec, place, alone=len(asked) == 1) for spec, _, _, place in asked]

    def _result(self, spec: FrameSpec, place: int, *, alone: bool) -> Decoded:
        line = self._read()
        try:
            done = unpack_answer(line)
        except ValueError:  # of which frame, only a frame that is alone can tell
            raise self._failed("the decoder's process answered nonsense", certain=alone) from None
        if done.error is None:
            return Decoded(self._area.frame(place, spec), done.decoder, None, done.notes)
        return done

    def _wait_until_ready(self) -> None:
        self._link.settimeout(START_S)
        if not self._ready and self._read() != READY:
            raise self._failed("the decoder's process did not start")
        self._ready = True

    def _read(self) -> bytes:
        """Return the next line, or raise GuardLostError."""
        try:
            line = self._answers.readline(LONGEST)
        except TimeoutError:
            raise self._failed("the decoder took too long", ProblemCode.TIMEOUT) from None
        except OSError:
            line = b""
        if not line.endswith(b"\n"):
            raise self._lost()
        return line

    def _lost(self) -> GuardLostError:
        """Tell of what a process died that has closed its end."""
        try:
            code = self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            return self._failed("the decoder's process is stuck")
        if code == -signal.SIGALRM:
            return self._failed("the decoder took too long", ProblemCode.TIMEOUT)
        if code < 0:
            name = signal.Signals(-code).name
            return self._failed(f"the decoder crashed: {name}", certain=code != -signal.SIGKILL)
        return self._failed(f"the decoder ended its process with code {code}")

    def _failed(
        self, message: str, code: ProblemCode = ProblemCode.DECODE_FAILED, *, certain: bool = True
    ) -> GuardLostError:
        frame = self._area.begun - 1
        return GuardLostError(code, message, frame, certain=certain and frame >= 0)

    def close(self) -> None:
        """End the process, whatever it does, and wait until it is gone."""
        self._answers.close()
        self._link.close()
        self._process.kill()
        self._process.wait()
        self._area.close()

    def forget(self) -> None:
        """Let go of it in a fork of this process: it belongs to the parent."""
        self._answers.close()
        self._link.close()
        self._area.close()
        self._process.returncode = 0  # it is no child of this process
