"""Decoding one 512 x 512 frame of 12 bits to stored values, every transfer syntax and decoder."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import synth

from sansfilm.decode import registry, syntaxes
from sansfilm.decode.frames import decode_frame
from sansfilm.model import FrameSpec

Benchmark = Callable[..., Any]
CASES = [
    (uid, name)
    for uid in (*synth.NATIVE, *synth.LOSSLESS, *synth.LOSSY)
    for name in ("native", "imagecodecs", "pylibjpeg")
    if registry.knows(registry.backend(name), uid) and uid != synth.JPEG_BASELINE
]


@pytest.mark.parametrize(
    ("uid", "decoder"), CASES, ids=[f"{syntaxes.NAMES[uid]}-{name}" for uid, name in CASES]
)
def bench_decode(benchmark: Benchmark, uid: str, decoder: str) -> None:
    stored = synth.phantom(np.random.default_rng(0), (1, 512, 512))[0]
    spec = FrameSpec(uid, 512, 512, 1, 16, 12, 11, 0, "MONOCHROME2")
    if uid in synth.NATIVE:
        order = ">" if uid == synth.EXPLICIT_BE else "<"
        frame = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
    else:
        frame = synth.encode(stored, uid, 12)
    decoded, used = benchmark(decode_frame, frame, spec, (decoder,))
    assert used == decoder
    if uid in synth.LOSSY:
        assert np.median(np.abs(decoded.astype(int) - stored)) < 40
    else:
        assert np.array_equal(decoded, stored)
