"""One command as its own process, and what it costs: wall, processor, memory, bytes.

Processor time is that of the whole process tree: what Linux adds up for a process and for all
that it has waited for, and the same for processes that it left behind, which come to this one
(``PR_SET_CHILD_SUBREAPER``). Bytes come from ``/proc/PID/io``, which adds up in the same way.

Memory is polled, so it is measured in runs of their own whose time does not count: the sum over
the tree of the proportional set size (PSS: a page that n processes share counts 1/n), every 10 ms.
The system's own peak (``ru_maxrss``) is of no use: it starts with that of this process.
"""

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.01
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Cost:
    """What one run took. `peak_mb` is None where memory was not watched, in 1e6 bytes.

    `read_mb` and `written_mb` went through read and write calls, those for Python's own modules
    included; `calls` is the number of these calls.
    """

    wall_s: float
    cpu_s: float
    read_mb: float
    written_mb: float
    calls: int
    peak_mb: float | None
    code: int
    said: str


def run(
    command: Sequence[str],
    *,
    watch: bool = False,
    timeout_s: float = 900,
    environment: Mapping[str, str] | None = None,
) -> Cost:
    """Run a command to its end.

    Parameters
    ----------
    watch : bool, optional
        Poll its memory: the times are of no use then.
    """
    _adopt()
    with tempfile.TemporaryFile() as said:
        before = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said,
            start_new_session=True, env=os.environ | dict(environment or {}),
        )  # fmt: skip
        timer = threading.Timer(timeout_s, _kill, [process.pid])
        timer.start()
        try:
            with _watched(process.pid) if watch else contextlib.nullcontext([0.0]) as peaks:
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
                wall = time.perf_counter() - before
        except BaseException:  # Ctrl-C goes to this process alone
            _kill(process.pid)
            raise
        finally:
            timer.cancel()
        read, written, calls = _io(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = code = os.waitstatus_to_exitcode(status)
        usages = [usage, *_left_behind(process.pid)]
        said.seek(0)
        text = said.read().decode(errors="replace")
    return Cost(
        wall_s=wall,
        cpu_s=sum(each.ru_utime + each.ru_stime for each in usages),
        read_mb=read / 1e6,
        written_mb=written / 1e6,
        calls=calls,
        peak_mb=peaks[0] if watch else None,
        code=code,
        said=text[-2000:],
    )


def _adopt() -> None:
    """Let processes whose parent has ended come to this one, so that none is forgotten."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _left_behind(group: int) -> Iterator[resource.struct_rusage]:
    """Wait for what the process has left; what does not end by itself is ended."""
    limit = time.monotonic() + 2
    while True:
        try:
            pid, _, usage = os.wait4(-group, os.WNOHANG)  # of its process group, no others
        except ChildProcessError:
            return
        if pid:
            yield usage
            continue
        if time.monotonic() > limit:
            _kill(group)
        time.sleep(POLL_S)


def _io(pid: int) -> tuple[int, int, int]:
    """Return bytes read, bytes written and calls of a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text().split("\n")
    except OSError:
        return 0, 0, 0
    found = {
        name: int(value) for name, _, value in (line.partition(": ") for line in lines if line)
    }
    return found["rchar"], found["wchar"], found["syscr"] + found["syscw"]


@contextlib.contextmanager
def _watched(pid: int) -> Iterator[list[float]]:
    """Poll the memory of a process and its children; the list has the largest sum, in MB."""
    peaks, done = [0.0], threading.Event()

    def poll() -> None:
        while not done.wait(POLL_S):
            peaks[0] = max(peaks[0], sum(map(_pss, _tree(pid))) / 1e6)

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        done.set()
        thread.join()


def _tree(pid: int) -> Iterator[int]:
    yield pid
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _tree(int(child))
    except OSError:
        return


def _pss(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().split("\n"):
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
