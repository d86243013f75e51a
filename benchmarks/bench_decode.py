"""Decoding 512 x 512 frames of 12 bits: each decoder, and guarded against the bare codec.

`python benchmarks/bench_decode.py` measures what guarding costs: frames through guards against
the bare codec, with one thread and with two, interleaved, in one run. CPU seconds are those of
this process and its guards together; where cores are shared, they say more than the wall.
"""

import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import imagecodecs
import numpy as np
import psutil
import pytest
import synth

from sansfilm.decode import registry, syntaxes
from sansfilm.decode.frames import decode_frame
from sansfilm.decode.guarded import GUARDS, decode_frames
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
    synth.J2K: "jpeg2k", synth.JPEG_LS: "jpegls", synth.JPEG_LOSSLESS: "jpeg8",
    synth.HTJ2K: "htj2k",
}  # fmt: skip
BATCH = 8  # what a slab sends at once: 4 MiB


def spec_of(uid: str) -> FrameSpec:
    return FrameSpec(uid, 512, 512, 1, 16, 12, 11, 0, "MONOCHROME2")


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
    stored = synth.phantom(np.random.default_rng(0), (BATCH, 512, 512))
    frames = [(synth.encode(one, uid, 12), spec_of(uid)) for one in stored]
    how = Decoding(Options().prefer)

    def guarded() -> int:
        return sum(done.error is None for done in decode_frames(frames, how))

    assert benchmark(guarded) == BATCH


def cpu_seconds() -> float:
    """Return what this process and its children, the guards, have used."""
    whole = psutil.Process()
    return sum(sum(each.cpu_times()[:2]) for each in (whole, *whole.children(recursive=True)))


def measure(uid: str, count: int, rounds: int) -> dict[tuple[str, int], tuple[float, float]]:
    """Return wall and CPU milliseconds of a frame, by way and number of threads: medians."""
    stored = synth.phantom(np.random.default_rng(0), (count, 512, 512))
    frames = [(synth.encode(one, uid, 12), spec_of(uid)) for one in stored]
    block, how = np.empty_like(stored), Decoding(Options().prefer)
    codec = getattr(imagecodecs, CODECS[uid] + "_decode")

    def bare(start: int) -> None:
        for place in range(start, start + BATCH):
            block[place] = codec(frames[place][0])

    def guarded(start: int) -> None:
        for place, done in enumerate(decode_frames(frames[start : start + BATCH], how), start):
            block[place] = done.stored

    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    starts = range(0, count, BATCH)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(guarded, starts))  # starts the guards
        for _ in range(rounds):
            for way in (bare, guarded):
                for threads, spread in ((1, map), (2, pool.map)):
                    wall, cpu = time.perf_counter(), cpu_seconds()
                    list(spread(way, starts))
                    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
                    key = way.__name__, threads
                    found.setdefault(key, []).append((wall / count * 1e3, cpu / count * 1e3))
    assert np.array_equal(block, stored)
    GUARDS.close()
    return {
        key: (statistics.median(wall for wall, _ in values),
              statistics.median(cpu for _, cpu in values))
        for key, values in found.items()
    }  # fmt: skip


def main(rounds: int = 7) -> None:
    print("ms for a frame, wall (CPU), with one thread and with two")
    for uid in CODECS:
        found = measure(uid, 32 if uid == synth.J2K else 128, rounds)
        print(syntaxes.NAMES[uid])
        for way in ("bare", "guarded"):
            (one, cpu), (two, cpu_of_two) = found[way, 1], found[way, 2]
            print(f"  {way:8} {one:6.2f} ({cpu:5.2f}) {two:6.2f} ({cpu_of_two:5.2f})"
                  f"  two threads {one / two:4.2f} times as fast")  # fmt: skip
        ratios = [found["guarded", 1][n] / found["bare", 1][n] for n in (0, 1)]
        print("  guarded to bare: wall {:.3f}, CPU {:.3f}".format(*ratios))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
