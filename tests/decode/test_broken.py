"""Damaged frames: an image or BadInstanceError, in time, never anything else (B13)."""

import time

import numpy as np
import pytest
import synth

from sansfilm.decode import syntaxes
from sansfilm.decode.frames import decode_frame
from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.options import Options

PREFER = Options().prefer
ALL = [*synth.LOSSLESS, *synth.LOSSY]


def damage(frame: bytes, rng: np.random.Generator) -> bytes:
    data = bytearray(frame)
    kind = rng.integers(0, 4)
    place = int(rng.integers(0, len(data)))
    if kind == 0:
        return bytes(data[:place])
    if kind == 1:
        for at in rng.integers(0, len(data), rng.integers(1, 5)):
            data[at] ^= 1 << rng.integers(0, 8)
    elif kind == 2:
        for at in rng.integers(0, min(len(data), 120), rng.integers(1, 4)):
            data[at] = rng.integers(0, 256)
    else:
        data[place:place] = rng.integers(0, 256, rng.integers(1, 20), np.uint8).tobytes()
    return bytes(data)


@pytest.mark.parametrize("syntax", ALL, ids=syntaxes.NAMES.get)
def test_damaged_frames(spec, syntax):
    rng = np.random.default_rng(17)
    bits = 8 if syntax == synth.JPEG_BASELINE else 12
    stored = synth.phantom(rng, (1, 32, 40), 8 if bits == 8 else 16, bits)[0]
    frame, about = synth.encode(stored, syntax, bits), spec(stored, syntax, bits)
    codes = set()
    for _ in range(250):
        damaged = damage(frame, rng)
        start = time.perf_counter()
        try:
            decoded = decode_frame(damaged, about, PREFER)[0]
        except BadInstanceError as exc:
            codes.add(exc.code)
        else:
            assert decoded.shape == stored.shape
            assert decoded.dtype == stored.dtype
            assert decoded.max() < 1 << bits
        assert time.perf_counter() - start < 2
    assert codes <= {ProblemCode.DECODE_FAILED, ProblemCode.CODESTREAM_MISMATCH}
    assert ProblemCode.DECODE_FAILED in codes


@pytest.mark.parametrize("percent", [10, 50, 90, 99])
@pytest.mark.parametrize("syntax", ALL, ids=syntaxes.NAMES.get)
def test_cut_frames_are_refused(spec, syntax, percent):
    bits = 8 if syntax == synth.JPEG_BASELINE else 12
    stored = synth.phantom(np.random.default_rng(0), (1, 64, 64), 8 if bits == 8 else 16, bits)[0]
    frame = synth.encode(stored, syntax, bits)
    with pytest.raises(BadInstanceError):
        decode_frame(frame[: len(frame) * percent // 100], spec(stored, syntax, bits), PREFER)
