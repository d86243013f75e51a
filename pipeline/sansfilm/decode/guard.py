"""A guard process, as seen by who asks it: one process that decodes, and may die of it."""

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from sansfilm.decode import guard_process
from sansfilm.decode.area import Area, layout
from sansfilm.decode.frames import Encoded
from sansfilm.decode.guard_worker import READY, seconds_for
from sansfilm.decode.wire import LONGEST, Request, pack_request, unpack_answers
from sansfilm.errors import ProblemCode
from sansfilm.model import Decoded, Decoding, FrameSpec

START_S = 60
"""Seconds in which a process has to be there; it takes a tenth of one on an idle machine."""
GRACE_S = 5
"""Seconds beyond a frame's time after which its process is ended from outside."""


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
    trial : str
        Name of the decoder that was decoding its golden image; then it is to blame, not the frame.
    """

    def __init__(
        self, code: ProblemCode, message: str, frame: int, *, certain: bool, trial: str = ""
    ) -> None:
        super().__init__(code, message, frame, certain, trial)
        self.code, self.message, self.frame = code, message, frame
        self.certain, self.trial = certain, trial


@dataclass(frozen=True, slots=True)
class _Laid:
    """Frames whose codestreams lie in an area, and where the values of each will be."""

    area: int
    frames: tuple[tuple[FrameSpec, int], ...]
    values: tuple[int, ...]


class Guard:
    """One guard process; used by one thread at a time. Starting it does not wait for it.

    It has two areas: while the process decodes what lies in one, the other holds what it decoded
    before, and then what it is asked for next.
    """

    def __init__(self) -> None:
        self._areas = Area(), Area()
        self._laid: _Laid | None = None
        self._asked: tuple[_Laid, Decoding] | None = None
        self._ready, self._over, self._path = False, False, list(sys.path)
        ours, theirs = socket.socketpair()
        with theirs:
            passed = theirs.fileno(), *(area.fd for area in self._areas)
            self._process = guard_process.start(*passed)
        self._link, self._lines = ours, ours.makefile("rb")

    @property
    def pid(self) -> int:
        """Process number."""
        return self._process.pid

    @property
    def usable(self) -> bool:
        """Whether the process is there and finds the modules that this process finds now."""
        return not self._over and self._process.poll() is None and self._path == sys.path

    @property
    def busy(self) -> bool:
        """Whether it has been asked for something that nobody has waited for."""
        return self._asked is not None

    @property
    def area_bytes(self) -> int:
        """How much memory is shared."""
        return sum(area.size for area in self._areas)

    def lay(self, frames: Sequence[Encoded]) -> None:
        """Lay frames ready, also while the process decodes those that it was asked for before.

        Values that it has answered are not valid any more.
        """
        number = 1 - self._asked[0].area if self._asked else 0
        area = self._areas[number]
        about = tuple((spec, len(codestream)) for codestream, spec in frames)
        codestreams, values, end = layout(about)
        area.grow(end)
        for (codestream, _), start in zip(frames, codestreams, strict=True):
            area.write(start, codestream)
        area.begun = area.trial = 0
        self._laid = _Laid(number, about, tuple(values))

    def ask(self, how: Decoding, distrusted: tuple[tuple[str, str], ...] = ()) -> None:
        """Ask for the frames that were laid last; `distrusted` as in Request."""
        assert self._laid
        laid = self._laid
        request = Request(laid.area, self._areas[laid.area].size, laid.frames, how, distrusted)
        self._asked = laid, how
        self._link.settimeout(START_S)
        with contextlib.suppress(OSError):  # what became of the process is found when it is read
            self._link.sendall(pack_request(request))

    def answers(self) -> list[Decoded]:
        """Wait for what was asked for; values are valid until frames are laid again.

        Raises
        ------
        GuardLostError
            If the process dies or takes too long. The guard is of no use any more.
        """
        assert self._asked
        laid, how = self._asked
        if not self._ready:
            self._link.settimeout(START_S)
            if self._read() != READY:
                raise self._failed("the decoder's process did not start")
            self._ready = True
        # each frame has its own time in the process; this one is for a process that is stopped
        self._link.settimeout(GRACE_S + sum(seconds_for(spec, how.seconds)
                                            for spec, _ in laid.frames))  # fmt: skip
        line = self._read(len(laid.frames))
        try:
            answers, self._over = unpack_answers(line, len(laid.frames))
        except ValueError:  # of which frame, only a frame that is alone can tell
            alone = len(laid.frames) == 1
            raise self._failed("the decoder's process answered nonsense", certain=alone) from None
        self._asked = None
        area = self._areas[laid.area]
        return [
            Decoded(area.frame(start, spec), done.decoder, None, done.notes)
            if done.error is None else done
            for done, (spec, _), start in zip(answers, laid.frames, laid.values, strict=True)
        ]  # fmt: skip

    def decode(
        self, frames: Sequence[Encoded], how: Decoding,
        distrusted: tuple[tuple[str, str], ...] = (),
    ) -> list[Decoded]:  # fmt: skip
        """Lay, ask for, and wait for frames."""
        self.lay(frames)
        self.ask(how, distrusted)
        return self.answers()

    def _read(self, frames: int = 1) -> bytes:
        """Return the next line, or raise GuardLostError."""
        try:
            line = self._lines.readline(LONGEST * frames)
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
        assert self._asked
        self._over = True
        laid, how = self._asked
        area = self._areas[laid.area]
        # what a process that has gone wrong has written there may be anything
        frame = area.begun - 1 if area.begun <= len(laid.frames) else -1
        trial = how.prefer[area.trial - 1] if 0 < area.trial <= len(how.prefer) else ""
        return GuardLostError(code, message, frame, certain=certain and frame >= 0, trial=trial)

    def close(self) -> None:
        """End the process, whatever it does, and wait until it is gone."""
        self._lines.close()
        self._link.close()
        self._process.kill()
        self._process.wait()
        self._close_areas()

    def forget(self) -> None:
        """Let go of it in a fork of this process: it belongs to the parent."""
        self._lines.close()
        self._link.close()
        self._close_areas()
        self._process.returncode = 0  # it is no child of this process

    def _close_areas(self) -> None:
        for area in self._areas:
            area.close()
