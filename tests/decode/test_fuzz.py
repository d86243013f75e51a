"""Mutated frames of every codec family through the guards: an image or a typed error, in time.

How many is a setting: SANSFILM_FUZZ=100000 (`make fuzz`) for each family; a few in `make test`.
"""

import os
import sys
import time
from collections import Counter

import numpy as np
import pytest
import synth

from sansfilm.decode.guarded import GUARDS, decode_frames
from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import Decoding
from sansfilm.options import Options

EACH = int(os.environ.get("SANSFILM_FUZZ", "200"))
BATCH = 50
FAMILIES = {
    "rle": (synth.RLE,),
    "jpeg": (synth.JPEG_BASELINE, synth.JPEG_EXTENDED),
    "jpeg-lossless": (synth.JPEG_LOSSLESS, synth.JPEG_LOSSLESS_ANY),
    "jpeg-ls": (synth.JPEG_LS, synth.JPEG_LS_NEAR),
    "jpeg-2000": (synth.J2K, synth.J2K_LOSSY),
    "htj2k": (synth.HTJ2K, synth.HTJ2K_RPCL, synth.HTJ2K_LOSSY),
    "jpeg-xl": (synth.JPEG_XL, synth.JPEG_XL_LOSSY),
    "deflate": (synth.DEFLATED_FRAME,),
}
TYPED = {ProblemCode.DECODE_FAILED, ProblemCode.CODESTREAM_MISMATCH, ProblemCode.TIMEOUT,
         ProblemCode.MISSING_CODEC}  # fmt: skip


def mutated(frame: bytes, rng: np.random.Generator) -> bytes:
    """Change a few bits or bytes, more of them in the headers; cut, repeat, insert, drop."""
    data = bytearray(frame)
    for _ in range(rng.integers(1, 4)):
        size = max(len(data), 1)
        head = min(size, 150)
        kind, place = rng.integers(0, 7), int(rng.integers(0, size))
        if kind == 0:
            del data[max(place, 2) :]
        elif kind == 1 and data:
            data[place] ^= 1 << int(rng.integers(0, 8))
        elif kind in (2, 3) and data:
            data[int(rng.integers(0, head)) % len(data)] = int(rng.integers(0, 256))
        elif kind == 4:
            data[place:place] = rng.integers(0, 256, rng.integers(1, 20), np.uint8).tobytes()
        elif kind == 5:
            data[place:place] = data[place : place + int(rng.integers(1, 60))]
        else:
            del data[place : place + int(rng.integers(1, 20))]
    return bytes(data + frame[-2:] * bool(rng.integers(0, 2)))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.timeout(0)  # `make fuzz` takes hours
def test_mutated_frames(spec, family, capsys):
    rng = np.random.default_rng(EACH)
    sources = []
    for syntax in FAMILIES[family]:
        bits = 8 if syntax == synth.JPEG_BASELINE else 12
        stored = synth.phantom(rng, (1, 32, 40), 8 if bits == 8 else 16, bits)[0]
        sources.append((synth.encode(stored, syntax, bits), spec(stored, syntax, bits)))
    # no frame over 5 s, so that one that hangs is seen; real budgets are larger
    how = Decoding(Options().prefer, seconds=4, crosscheck=100)
    found, lost, slowest, done = Counter(), Counter(), 0.0, 0
    while done < EACH:
        picks = rng.integers(0, len(sources), min(BATCH, EACH - done))
        frames = [(mutated(sources[pick][0], rng), sources[pick][1]) for pick in picks]
        start = time.monotonic()
        for (_, about), result in zip(frames, decode_frames(frames, how), strict=True):
            if result.error is None:
                assert result.stored.shape == about.shape
                assert result.stored.dtype == np.dtype(about.container)
                assert int(result.stored.max()) < 1 << about.bits_stored
                found["decoded"] += 1
                continue
            assert isinstance(result.error, BadInstanceError)
            assert result.error.code in TYPED
            found[result.error.code.value] += 1
            if "crashed" in result.error.message or result.error.code == ProblemCode.TIMEOUT:
                lost[result.error.message] += 1
        slowest = max(slowest, time.monotonic() - start)
        done += len(frames)
    assert sum(found.values()) == EACH
    assert found.total() > found["decoded"]  # a mutation that nobody notices is no test
    GUARDS.close()
    if EACH > 1000:
        with capsys.disabled():
            sys.stdout.write(
                f"\n{family}: {EACH} frames, {dict(found)}, processes lost {dict(lost)}, "
                f"slowest {BATCH} frames {slowest:.1f} s\n"
            )
