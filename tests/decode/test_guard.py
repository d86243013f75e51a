"""Decoders that crash, hang, allocate or answer wrongly cost their own frame, and nothing else."""

import os
import platform
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import synth
import wild

import sansfilm
from sansfilm import convert, forks
from sansfilm.decode import guard_process, guarded, syntaxes
from sansfilm.decode.frames import decode_frame
from sansfilm.decode.guard import Guard, GuardLostError
from sansfilm.decode.guarded import GUARDS, decode_frames, decode_one, expect
from sansfilm.decode.wire import unpack_answers
from sansfilm.errors import BadInstanceError, OptionError, ProblemCode
from sansfilm.model import Decoding
from sansfilm.options import Options

PREFER = Options().prefer
HOW = Decoding(PREFER)
WILD = Decoding(("wild",), seconds=1)


@pytest.fixture(autouse=True, params=["forked", "new"])
def _no_guard_is_left(request, monkeypatch):
    """Begin and end without guards, and without their processes; of both kinds."""
    if request.param == "new":
        monkeypatch.setattr(forks, "may_fork", lambda: False)
    GUARDS.close()
    before = children()
    yield
    GUARDS.close()
    assert children() == before


@pytest.fixture
def batch(spec):
    """Give a function that makes frames of JPEG-LS: stored values and (codestream, spec)."""

    def make(count=6, words=None):
        stored = synth.phantom(np.random.default_rng(0), (count, 12, 10))
        frames = [(synth.encode(one, synth.JPEG_LS, 12), spec(one, synth.JPEG_LS, 12))
                  for one in stored]  # fmt: skip
        for number, word in (words or {}).items():
            frames[number] = wild.poisoned(frames[number][0], word), frames[number][1]
        return stored, frames

    return make


def children():
    """Return the guards; one that is dead and not waited for has no command line any more."""
    ours = psutil.Process().cmdline()
    return {child.pid for child in psutil.Process().children()
            if child.status() == psutil.STATUS_ZOMBIE or child.cmdline() == ours
            or "guard_worker" in " ".join(child.cmdline())}  # fmt: skip


def check(results, stored, bad):
    """Hold results against what was stored; return the errors of the bad ones."""
    errors = {}
    for number, (done, expected) in enumerate(zip(results, stored, strict=True)):
        if number in bad:
            errors[number] = done.error
            assert done.stored is None
            assert isinstance(done.error, BadInstanceError)
        else:
            assert done.error is None, done.error
            assert np.array_equal(done.stored, expected)
    return errors


@pytest.mark.parametrize("syntax", [*synth.LOSSLESS, *synth.LOSSY], ids=syntaxes.NAMES.get)
def test_guarded_values_are_those_of_this_process(spec, syntax):
    bits = 8 if syntax == synth.JPEG_BASELINE else 12
    stored = synth.phantom(np.random.default_rng(0), (5, 33, 47), 8 if bits == 8 else 16, bits)
    frames = [(synth.encode(one, syntax, bits), spec(one, syntax, bits)) for one in stored]
    for done, frame in zip(decode_frames(frames, HOW), frames, strict=True):
        expected, decoder = decode_frame(*frame, PREFER)
        assert np.array_equal(done.stored, expected)
        assert (done.decoder, done.error, done.notes) == (decoder, None, ())
        assert done.stored.dtype == expected.dtype


def test_no_guard_for_what_needs_no_codec(spec):
    stored = synth.phantom(np.random.default_rng(0), (2, 5, 6))
    frames = [(one.tobytes(), spec(one, synth.EXPLICIT_LE, 12)) for one in stored]
    check(decode_frames(frames, HOW), stored, ())
    assert not children()


def test_mixed_frames_come_in_order(spec, batch):
    stored, frames = batch(5)
    for number in (0, 3):
        plain = spec(stored[number], synth.EXPLICIT_LE, 12)
        frames[number] = stored[number].tobytes(), plain
    check(decode_frames(frames, HOW), stored, ())
    assert list(decode_frames([], HOW)) == []


@pytest.mark.parametrize(
    ("word", "place"), [*((word, 2) for word in wild.KILLS), ("segfault", 0), ("native hang", 5)]
)
def test_what_kills_its_process_costs_one_frame(plugins, batch, word, place):
    plugins(wild=wild.SOURCE)
    stored, frames = batch(words={place: word})
    start = time.monotonic()
    (error,) = check(decode_frames(frames, WILD), stored, {place}).values()
    assert error.code == (ProblemCode.TIMEOUT if "too long" in wild.KILLS[word]
                          else ProblemCode.DECODE_FAILED)  # fmt: skip
    assert error.message.endswith(wild.KILLS[word])
    assert time.monotonic() - start < 5
    check(
        decode_frames(frames[:place] + frames[place + 1 :], WILD), np.delete(stored, place, 0), ()
    )
    assert len(children()) == 1


@pytest.mark.parametrize("word", wild.REFUSED)
def test_what_is_refused_costs_one_frame_and_no_process(plugins, batch, word):
    plugins(wild=wild.SOURCE)
    stored, frames = batch(words={2: word})
    check(decode_frames(frames[:1], WILD), stored[:1], ())
    (pid,) = children()
    (error,) = check(decode_frames(frames, WILD), stored, {2}).values()
    assert error.code in (ProblemCode.DECODE_FAILED, ProblemCode.CODESTREAM_MISMATCH)
    assert wild.REFUSED[word] in error.message
    assert children() == {pid} or "allocate" in word


def test_a_process_that_leaks_is_replaced(plugins, batch):
    plugins(wild=wild.SOURCE)
    stored, frames = batch(6, {5: "native allocate"})
    first = set()
    for _ in range(9):
        check(decode_frames(frames, WILD), stored, {5})
        first = first or children()
    check(decode_frames(frames[:5], WILD), stored[:5], ())
    assert not first & children()


def test_every_frame_may_be_bad(plugins, batch):
    plugins(wild=wild.SOURCE)
    words = ["segfault", "exit", "shape", "abort"]
    stored, frames = batch(4, dict(enumerate(words)))
    errors = check(decode_frames(frames, WILD), stored, range(4))
    for number, word in enumerate(words):
        assert (wild.KILLS | wild.REFUSED)[word] in errors[number].message


def test_threads_do_not_disturb_each_other(plugins, batch):
    plugins(wild=wild.SOURCE)
    stored, frames = batch(6, {1: "segfault", 4: "sleep"})

    def work(_):
        return len(check(decode_frames(frames, WILD), stored, {1, 4}))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [2] * 4


def test_a_kill_from_outside_is_no_fault_of_the_frame(plugins, batch):
    """As when the system runs out of memory: it is done once more, and only then given up."""
    plugins(wild=wild.SOURCE)
    stored, frames = batch(4, {1: "killed once"})
    check(decode_frames(frames, WILD), stored, ())
    stored, frames = batch(4, {1: "killed"})
    (error,) = check(decode_frames(frames, WILD), stored, {1}).values()
    assert error.code == ProblemCode.DECODE_FAILED
    assert "SIGKILL" in error.message


def test_a_free_guard_that_died_is_replaced(batch):
    stored, frames = batch()
    check(decode_frames(frames, HOW), stored, ())
    (pid,) = children()
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.1)
    check(decode_frames(frames, HOW), stored, ())
    assert children() != {pid}


def test_a_process_that_cannot_start_is_said_so(monkeypatch, batch):
    monkeypatch.setattr(guard_process, "_RUN", "raise SystemExit(3)")
    monkeypatch.setattr(guard_process.guard_worker, "main", lambda *fds: os._exit(3))
    stored, frames = batch(3)
    errors = check(decode_frames(frames, HOW), stored, range(3))
    assert {error.message for error in errors.values()} == {
        "the decoder ended its process with code 3"
    }


def test_a_stopped_process_is_a_timeout(monkeypatch, batch):
    monkeypatch.setattr("sansfilm.decode.guard.GRACE_S", 0.2)
    _, frames = batch(1)
    guard = Guard()
    guard.decode(frames, HOW)
    os.kill(guard.pid, signal.SIGSTOP)
    with pytest.raises(GuardLostError) as caught:
        guard.decode(frames, Decoding(PREFER, seconds=0))
    assert caught.value.code == ProblemCode.TIMEOUT
    guard.close()


def test_frames_of_any_size_go_through_one_guard(spec):
    for side in (8, 900, 30, 1500, 8):
        stored = synth.phantom(np.random.default_rng(0), (1, side, side))[0]
        frame = synth.encode(stored, synth.HTJ2K, 12), spec(stored, synth.HTJ2K, 12)
        assert np.array_equal(decode_one(*frame, HOW), stored)
    assert len(children()) == 1


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a malloc of another make")
def test_a_guard_takes_no_memory_anew_for_each_frame(spec):
    """Pages that the system has to clear cost a frame of JPEG 2000 a millisecond."""
    stored = synth.phantom(np.random.default_rng(0), (6, 512, 512))
    about = spec(stored[0], synth.J2K, 12)
    frames = [(synth.encode(one, synth.J2K, 12), about) for one in stored]

    def faults():
        (pid,) = children()
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])

    check(decode_frames(frames, HOW), stored, ())
    before = faults()
    check(decode_frames(frames, HOW), stored, ())
    assert faults() - before < 6 * 20


def test_a_guard_with_much_memory_is_not_kept(monkeypatch, batch):
    monkeypatch.setattr(guarded, "KEEP_BYTES", 1)
    stored, frames = batch()
    check(decode_frames(frames, HOW), stored, ())
    assert not children()


@pytest.mark.parametrize(
    ("syntax", "count", "threads", "started"),
    [
        (synth.JPEG_LS, 1, 2, 1),
        (synth.JPEG_LS, 50, 2, 2),
        (synth.JPEG_LS, 50, 1, 1),
        (synth.JPEG_LS, 50, 0, 0),
        (synth.EXPLICIT_LE, 50, 2, 0),
        (synth.DEFLATED_FRAME, 50, 2, 0),
    ],
)
def test_guards_are_there_before_their_frames(spec, batch, syntax, count, threads, started):
    about = spec(np.zeros((512, 512), np.uint16), syntax, 12)
    for _ in range(2):
        expect([about] * count, threads)
        assert len(children()) == started
    before = children()
    stored, frames = batch()
    check(decode_frames(frames, HOW), stored, ())
    assert len(before & children()) == started


def test_an_ingest_starts_guards_with_its_headers(tmp_path, monkeypatch):
    seen = {}
    plan = convert.plan_volumes

    def look(frames, *others, **named):
        frames = list(frames)
        seen[frames[0].spec.transfer_syntax] = len(children())
        return plan(frames, *others, **named)

    monkeypatch.setattr(convert, "plan_volumes", look)
    for syntax in (synth.EXPLICIT_LE, synth.JPEG_LS):
        synth.series(tmp_path / syntax, slices=3, rows=12, columns=10, transfer_syntax=syntax)
        sansfilm.ingest(tmp_path / syntax, tmp_path / "dry", dry_run=True)
        assert seen.pop(syntax) == 0
        sansfilm.ingest(tmp_path / syntax, tmp_path / "a")
    assert seen == {synth.EXPLICIT_LE: 0, synth.JPEG_LS: 1}


def test_guards_that_nobody_uses_end(monkeypatch, batch):
    monkeypatch.setattr(guarded, "IDLE_S", 0.3)
    stored, frames = batch()
    check(decode_frames(frames, HOW), stored, ())
    assert len(children()) == 1
    time.sleep(1)
    assert not children()
    check(decode_frames(frames, HOW), stored, ())


def test_what_is_not_asked_for_to_the_end_disturbs_nobody(batch):
    stored, frames = batch()
    for _ in range(3):
        assert np.array_equal(next(decode_frames(frames, HOW)).stored, stored[0])
    check(decode_frames(frames[::-1], HOW), stored[::-1], ())
    assert len(children()) == 1


def test_a_decoder_that_does_not_exist_is_a_wrong_call(batch):
    with pytest.raises(OptionError, match="no decoder named 'gdcm'"):
        list(decode_frames(batch()[1], Decoding(("imagecodecs", "gdcm"))))


def test_one_frame_is_the_callers_own(batch):
    stored, frames = batch(2)
    first = decode_one(*frames[0], HOW)
    decode_one(*frames[1], HOW)
    assert np.array_equal(first, stored[0])
    with pytest.raises(BadInstanceError):
        decode_one(frames[0][0][:40], frames[0][1], HOW)


def test_without_guards_it_is_said_and_done_here(monkeypatch, batch):
    monkeypatch.setattr(sys, "executable", "")
    guarded._guards_work.cache_clear()
    stored, frames = batch(2)
    with pytest.warns(RuntimeWarning, match="without a guard"):
        check(decode_frames(frames, HOW), stored, ())
    guarded._guards_work.cache_clear()
    assert not children()


SCRIPT = """
import sys, numpy as np
import sansfilm.decode.guarded as guarded
from sansfilm.decode.guard import Guard
frame, spec = {frame!r}
print(guarded.decode_one(frame, spec, {how!r}).sum(), flush=True)
(guard, _), = guarded.GUARDS._free
print(guard.pid, flush=True)
import os
"""
NAMES = "from sansfilm.model import FrameSpec, Decoding\n"


@pytest.mark.parametrize(
    "end",
    ["", "os._exit(0)", "os.kill(os.getpid(), 9)", "os.kill(os.getpid(), 15)"],
)
def test_guards_end_with_their_process(batch, end):
    """Whatever ends it; and a script needs no main guard."""
    stored, frames = batch(1)
    script = NAMES + SCRIPT.format(frame=frames[0], how=HOW) + end
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                          check=False)  # fmt: skip
    total, pid = done.stdout.split()
    assert int(total) == stored[0].sum()
    assert done.stderr == ""
    deadline = time.monotonic() + 5
    while psutil.pid_exists(int(pid)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not psutil.pid_exists(int(pid))


def test_a_guard_that_hangs_ends_without_its_process(plugins, batch):
    folder = plugins(wild=wild.SOURCE)
    _, frames = batch(1, {0: "native hang"})
    script = (
        NAMES
        + f"""
import threading, time, os
import sansfilm.decode.guarded as guarded
frame, spec = {frames[0]!r}
threading.Thread(target=guarded.decode_one, args=(frame, spec, {WILD!r}), daemon=True).start()
time.sleep(0.5)
import psutil
print(*(child.pid for child in psutil.Process().children()), flush=True)
os.kill(os.getpid(), 9)
"""
    )
    path = os.pathsep.join([str(folder), *filter(None, sys.path)])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                          check=False, env=os.environ | {"PYTHONPATH": path})  # fmt: skip
    (pid,) = map(int, done.stdout.split())
    deadline = time.monotonic() + 5
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not psutil.pid_exists(pid)


def test_a_fork_has_guards_of_its_own(batch):
    stored, frames = batch(1)
    script = (
        NAMES
        + SCRIPT.format(frame=frames[0], how=HOW)
        + """
import os
if os.fork() == 0:
    print(guarded.decode_one(frame, spec, guarded.Decoding(("imagecodecs",))).sum(), flush=True)
    (other, _), = guarded.GUARDS._free
    print(other.pid, flush=True)
    raise SystemExit
os.wait()
print(guarded.decode_one(frame, spec, guarded.Decoding(("imagecodecs",))).sum(), flush=True)
"""
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.stderr == ""
    total, one, again, other, last = done.stdout.split()
    assert total == again == last == str(stored[0].sum())
    assert one != other


@pytest.fixture
def _small_parts(monkeypatch):
    """Make every two frames of `batch` a part: as if they were large."""
    monkeypatch.setattr(guarded, "PART_BYTES", 2 * 12 * 10 * 2)


@pytest.mark.usefixtures("_small_parts")
@pytest.mark.parametrize(
    ("word", "place"), [("segfault", 0), ("segfault", 3), ("segfault", 6), ("sleep", 0),
                        ("nonsense", 1), ("nonsense", 6), ("shape", 4)],
)  # fmt: skip
def test_what_kills_its_process_between_parts_costs_one_frame(plugins, batch, word, place):
    plugins(wild=wild.SOURCE)
    stored, frames = batch(7, {place: word})
    check(decode_frames(frames, WILD), stored, {place})
    assert len(children()) <= 1


@pytest.mark.usefixtures("_small_parts")
def test_values_are_lent_while_the_next_part_is_decoded(batch):
    stored, frames = batch(9)
    for _ in range(3):
        for number, done in enumerate(decode_frames(frames, HOW)):
            time.sleep(0.01)  # the guard is ahead by now
            assert np.array_equal(done.stored, stored[number])
    assert len(children()) == 1


@pytest.mark.usefixtures("_small_parts")
def test_what_is_not_asked_for_to_the_end_ends_its_guard(batch):
    """It may still work on the next part, which nobody waits for."""
    stored, frames = batch()
    for _ in range(3):
        assert np.array_equal(next(decode_frames(frames, HOW)).stored, stored[0])
    check(decode_frames(frames[::-1], HOW), stored[::-1], ())
    assert len(children()) == 1


@pytest.mark.usefixtures("_small_parts")
def test_a_process_that_leaks_is_replaced_between_parts(plugins, batch):
    plugins(wild=wild.SOURCE)
    stored, frames = batch(40, {5: "native allocate"})
    check(decode_frames(frames[:1], WILD), stored[:1], ())
    first = children()
    check(decode_frames(frames, WILD), stored, {5})
    assert len(children()) == 1
    assert not first & children()


@pytest.mark.usefixtures("_small_parts")
def test_a_kill_between_parts_is_no_fault_of_a_frame(batch):
    stored, frames = batch(8)
    results = decode_frames(frames, HOW)
    for number, done in enumerate(results):
        assert done.error is None
        assert np.array_equal(done.stored, stored[number])
        for pid in children():
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    "line",
    [
        b"{}", b"[]", b"[1, []]", b"[[", b"\xff", b'[false, ["a"]]', b'[false, ["a", 1]]',
        b'[false, [["a"], "b"]]', b'[false, [["", [1]], "b"]]',
        b'[false, [["", [], "NO_SUCH_CODE", "x"], "b"]]',
    ],
)  # fmt: skip
def test_nonsense_is_no_answer(line):
    with pytest.raises(ValueError):  # noqa: PT011 - JSON raises its own
        unpack_answers(line, 2)
