"""Decoding 512 x 512 frames of 12 bits: each decoder, and guarded against the bare codec.

`python benchmarks/bench_decode.py` measures what our path costs: frames against the bare codec,
with one thread and with two, one after the other in each round of one run. Once in this process:
headers are compared, a decoder is chosen, values are held against Bits Stored; and once through
guards, which do the same in processes of their own. CPU time is that of this process and its guards
together; where cores are shared, it says more than the wall. Linux only: it reads the clocks of
other processes.
"""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import imagecodecs
import numpy as np
import pytest
import synth

from sansfilm.decode import registry, syntaxes
from sansfilm.decode.canaries import Health
from sansfilm.decode.frames import decode_batch, decode_frame
from sansfilm.decode.guarded import GUARDS, decode_frames
from sansfilm.decode.rates import batch_bytes
from sansfilm.frame_spec import stored_bytes
from sansfilm.model import Decoding, FrameSpec
from sansfilm.options import Options

Benchmark = Callable[..., Any]
CASES = [
    (uid, name)
    for uid in (*synth.NATIVE, *synth.LOSSLESS, *synth.LOSSY)
    for name in ("native", "imagecodecs", "pylibjpeg")
    if registry.knows(registry.backend(name), uid) and uid != synth.JPEG_BASELINE
]
CODECS = {
    synth.HTJ2K: "htj2k", synth.JPEG_LOSSLESS: "jpeg8", synth.JPEG_LS: "jpegls",
    synth.J2K: "jpeg2k",
}  # fmt: skip


def spec_of(uid: str) -> FrameSpec:
    return FrameSpec(uid, 512, 512, 1, 16, 12, 11, 0, "MONOCHROME2")


def batch(uid: str) -> int:
    """Return how many frames threads of a slab decode at a time."""
    return batch_bytes(spec_of(uid), alone=False) // stored_bytes(spec_of(uid))


@pytest.mark.parametrize(
    ("uid", "decoder"), CASES, ids=[f"{syntaxes.NAMES[uid]}-{name}" for uid, name in CASES]
)
def bench_decode(benchmark: Benchmark, uid: str, decoder: str) -> None:
    stored = synth.phantom(np.random.default_rng(0), (1, 512, 512))[0]
    if uid in synth.NATIVE:
        order = ">" if uid == synth.EXPLICIT_BE else "<"
        frame = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
    else:
        frame = synth.encode(stored, uid, 12)
    decoded, used = benchmark(decode_frame, frame, spec_of(uid), (decoder,))
    assert used == decoder
    if uid in synth.LOSSY:
        assert np.median(np.abs(decoded.astype(int) - stored)) < 40
    else:
        assert np.array_equal(decoded, stored)


@pytest.mark.parametrize("uid", CODECS, ids=syntaxes.NAMES.get)
def bench_guarded(benchmark: Benchmark, uid: str) -> None:
    count = batch(uid)
    stored = synth.phantom(np.random.default_rng(0), (count, 512, 512))
    frames = [(synth.encode(one, uid, 12), spec_of(uid)) for one in stored]
    how = Decoding(Options().prefer)

    def guarded() -> int:
        return sum(done.error is None for done in decode_frames(frames, how))

    assert benchmark(guarded) == count


def cpu_seconds() -> float:
    """Return what this process and the guards that are free have used; to the nanosecond."""
    guards = (guard.pid for guard, _ in GUARDS._free)
    return time.process_time() + sum(time.clock_gettime(~pid << 3 | 2) for pid in guards)


def measure(uid: str, count: int, rounds: int) -> dict[tuple[str, int], np.ndarray]:
    """Return milliseconds of a frame, wall and CPU, of each round, by way and number of threads."""
    stored = synth.phantom(np.random.default_rng(0), (count, 512, 512))
    frames = [(synth.encode(one, uid, 12), spec_of(uid)) for one in stored]
    block, how, health = np.zeros_like(stored), Decoding(Options().prefer), Health()
    codec = getattr(imagecodecs, CODECS[uid] + "_decode")
    each = batch(uid)

    def bare(start: int) -> None:
        for place in range(start, min(start + each, count)):
            block[place] = codec(frames[place][0])

    def checked(start: int) -> None:
        some = slice(start, start + each)
        for done in decode_batch(frames[some], block[some], how, health):
            assert done.error is None

    def guarded(start: int) -> None:
        for place, done in enumerate(decode_frames(frames[start : start + each], how), start):
            block[place] = done.stored

    ways = [(way, threads) for threads in (1, 2) for way in (bare, checked, guarded)]
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            list(pool.map(guarded, range(0, count, each)))  # starts the guards
            list(map(checked, range(0, count, each)))
        for number in range(rounds):
            for way, threads in ways if number % 2 else reversed(ways):
                wall, cpu = time.perf_counter(), cpu_seconds()
                list((map if threads == 1 else pool.map)(way, range(0, count, each)))
                wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
                one = wall / count * 1e3, cpu / count * 1e3
                found.setdefault((way.__name__, threads), []).append(one)
    assert np.array_equal(block, stored)
    GUARDS.close()
    return {key: np.array(values) for key, values in found.items()}


def main(rounds: int = 9) -> None:
    """Print medians; ratios are of measurements next to each other, round by round."""
    ways = "bare", "checked", "guarded"
    print(f"{'512 x 512, 12 bits':28} {'ms of CPU':^26} | {'one thread, more: wall, CPU':^31} | "
          f"{'two threads, times as fast':^26}")  # fmt: skip
    print(" " * 28, *(f"{way:>8}" for way in ways), " |", f"{'checked':>14} {'guarded':>16} | ",
          *(f"{way:>8}" for way in ways))  # fmt: skip
    for uid in CODECS:
        found = measure(uid, 16 if uid == synth.J2K else 64, rounds)
        cost = {way: np.median(found[way, 1] / found["bare", 1] - 1, axis=0) for way in ways}
        speeds = [np.median(found[way, 1][:, 0] / found[way, 2][:, 0]) for way in ways]
        print(f"{syntaxes.NAMES[uid][:28]:28}",
              *(f"{np.median(found[way, 1][:, 1]):8.2f}" for way in ways), " |",
              *(f"{wall:8.1%} {cpu:7.1%}" for wall, cpu in (cost["checked"], cost["guarded"])),
              "|", *(f"{speed:8.2f}" for speed in speeds), flush=True)  # fmt: skip


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
