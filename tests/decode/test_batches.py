"""How many frames a thread decodes at a time: few where decoders are slow, or others wait."""

import numpy as np
import pytest
import synth

import sansfilm
from sansfilm import tasks
from sansfilm.decode.rates import BATCH_BYTES, batch_bytes

FRAME = 512 * 512 * 2


@pytest.mark.parametrize(
    ("syntax", "frames"),
    [(synth.J2K, 2), (synth.JPEG_LS, 6), (synth.HTJ2K, 8), (synth.RLE, 8), (synth.EXPLICIT_LE, 8)],
)
def test_slow_frames_come_in_small_batches(spec, syntax, frames):
    about = spec(np.empty((512, 512), np.uint16), syntax, 12)
    assert batch_bytes(about, alone=False) // FRAME == frames
    assert batch_bytes(about, alone=True) == BATCH_BYTES == 8 * FRAME


def test_small_frames_come_in_larger_ones_and_large_frames_do_not(spec):
    small, large = (spec(np.empty((side, side), np.uint16), synth.J2K) for side in (64, 4096))
    assert batch_bytes(small, alone=False) // (64 * 64 * 2) > 50
    assert batch_bytes(large, alone=False) == BATCH_BYTES


@pytest.mark.parametrize(("workers", "calls"), [(1, [5]), (None, [2, 2, 1])])
def test_threads_share_the_frames_of_a_slab(tmp_path, monkeypatch, workers, calls):
    synth.series(tmp_path / "in", slices=5, rows=512, columns=512, transfer_syntax=synth.J2K)
    seen = []

    def counted(frames, how):
        seen.append(len(frames))
        yield from decode(frames, how)

    decode = tasks.decode_frames
    monkeypatch.setattr(tasks, "decode_frames", counted)
    report = sansfilm.ingest(tmp_path / "in", tmp_path / "out", workers=workers)
    assert not report.problems
    assert sorted(seen, reverse=True) == calls
