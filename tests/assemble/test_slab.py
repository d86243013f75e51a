"""Filling a slab: values, digests and counts of each frame, and what a bad one leaves behind."""

import hashlib
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import siemens
import synth

from sansfilm.assemble.levels import plan_slabs
from sansfilm.assemble.slab import fill_slab, reduce_slab, stored_digest
from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import Decoded
from sansfilm.options import Options, Storage


@pytest.fixture
def slab(tmp_path, plan_of):
    """Give a slab plan, the series, and its `read` and `decode` without files or codecs."""

    def make(**series):
        made = synth.series(tmp_path / "in", **{"slices": 5, "rows": 12, "columns": 10, **series})
        options = Options(storage=Storage(slab=8, chunk=4, smallest=3))
        (plan,) = plan_slabs(plan_of(made.folder, options), options)
        places = {uid: place for place, uid in enumerate(made.sop_uids)}

        def read(frame, outside):
            place = places[frame.sop_instance_uid]
            assert outside  # each slice is an instance of its own
            return made.stored[place].tobytes(), b"header %d" % place

        def decode(frames, how):
            assert how == plan.decoding
            for codestream, spec in frames:
                stored = np.frombuffer(codestream, made.stored.dtype)
                yield Decoded(stored.reshape(spec.rows, spec.columns), "d")

        return plan, made, read, decode

    return make


@pytest.mark.parametrize(
    "rescale",
    [
        {"intercept": -1024.0},
        {"slope": 0.25, "intercept": 1.0},
        {"slope": [1.0, 2.0, 0.5, 3.0, 1.0], "intercept": 0.0, "modality": "PT"},
    ],
    ids=["integer", "attributes", "per frame"],
)
def test_a_slab_is_its_frames_in_the_values_of_level_0(slab, rescale):
    plan, made, read, decode = slab(**rescale)
    filled = fill_slab(plan, read, decode)
    assert filled.whole
    expected = made.stored if plan.rescale.applied == "attributes" else made.values
    assert filled.block.dtype == plan.dtype
    np.testing.assert_array_equal(filled.block, expected.astype(plan.dtype))
    assert filled.headers == tuple(b"header %d" % place for place in range(5))
    assert [frame.sop_instance_uid for frame in filled.frames] == list(made.sop_uids)
    assert {frame.decoder for frame in filled.frames} == {"d"}
    assert filled.bytes_decoded == made.stored.nbytes
    assert filled.bytes_read == made.stored.nbytes + 5 * len(b"header 0")


def test_threads_give_the_same_slab(slab):
    plan, _, read, decode = slab()
    alone = fill_slab(plan, read, decode)
    with ThreadPoolExecutor(4) as pool:
        together = fill_slab(plan, read, decode, pool.map)
    np.testing.assert_array_equal(alone.block, together.block)
    assert (alone.headers, alone.frames) == (together.headers, together.frames)


@pytest.mark.parametrize(
    ("code", "stage"),
    [
        (ProblemCode.DECODE_FAILED, "decode"),
        (ProblemCode.MISSING_CODEC, "decode"),
        (ProblemCode.SOURCE_CHANGED, "read"),
        (ProblemCode.UNREADABLE, "read"),
    ],
)
def test_a_bad_frame_is_a_problem_and_the_others_are_done(slab, code, stage):
    plan, made, read, decode = slab()

    def bad_to_read(frame, outside):
        if stage == "read" and frame.sop_instance_uid == made.sop_uids[3]:
            raise BadInstanceError(code, "why")
        return read(frame, outside)

    def bad_to_decode(frames, how):
        for (codestream, _), done in zip(frames, decode(frames, how), strict=True):
            bad = codestream == made.stored[3].tobytes()
            yield Decoded(error=BadInstanceError(code, "why")) if bad else done

    filled = fill_slab(plan, bad_to_read, bad_to_decode)
    assert not filled.whole
    problems = [frame.problem for frame in filled.frames]
    assert [problem is None for problem in problems] == [True, True, True, False, True]
    assert (problems[3].code, problems[3].stage, problems[3].frames) == (code, stage, 1)
    assert (problems[3].uri, problems[3].series_uid) == (str(made.paths[3]), made.series_uid)
    np.testing.assert_array_equal(filled.block[:3], made.values[:3])


def test_what_nobody_expects_is_not_swallowed(slab):
    plan, _, read, _ = slab()
    with pytest.raises(ZeroDivisionError):
        fill_slab(plan, read, lambda *_: 1 / 0)


def test_every_level_comes_from_the_block_itself(slab):
    plan, made, *_ = slab(padding=0)
    low, *_ = plan.padding
    block = np.full(made.stored.shape, low, plan.dtype)
    block[0, 0, 0] = low + 9
    blocks = reduce_slab(plan, block)
    assert [part.shape for part in blocks] == [level.shape for level in plan.levels]
    assert all(part.dtype == block.dtype for part in blocks)
    for part in blocks:  # one voxel that is not padding shows on every level, undiluted
        assert part[0, 0, 0] == low + 9
        assert (np.delete(part, 0) == low).all()


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<i4"])
def test_the_digest_is_of_little_endian_values_in_c_order(dtype):
    values = np.arange(6, dtype=dtype).reshape(2, 3)
    expected = hashlib.sha256(b"".join(
        int(value).to_bytes(values.itemsize, "little") for value in values.ravel()
    )).hexdigest()  # fmt: skip
    assert stored_digest(values) == expected
    assert stored_digest(np.asfortranarray(values)) == expected
    assert stored_digest(np.repeat(values, 2, axis=1)[:, ::2]) == expected


def test_a_slab_plan_is_small_on_its_way_to_a_worker(slab):
    plan, *_ = slab(slices=8)
    data = pickle.dumps(plan)
    assert pickle.loads(data) == plan
    assert len(data) < 8 * 3000


@pytest.mark.parametrize("fails", [False, True])
def test_a_picture_of_many_frames_is_read_and_decoded_once(tmp_path, plan_of, fails):
    """Also where it ends in the slab after: there once more."""
    made = synth.series(tmp_path / "in", slices=7, rows=6, columns=8, modality="MR")
    siemens.mosaic(made, tmp_path / "mosaic" / "1.dcm")
    options = Options(storage=Storage(slab=4, chunk=4, smallest=3))
    plans = list(plan_slabs(plan_of(tmp_path / "mosaic", options), options))
    whole = siemens.picture(made.stored)
    asked = []

    def read(frame, outside):
        asked.append(("read", outside))
        return b"abc", b"header" if outside else b""

    def decode(frames, how):
        for _, spec in frames:
            asked.append(("decode", spec.rows, spec.columns))
            error = BadInstanceError(ProblemCode.DECODE_FAILED, "no")
            yield Decoded(error=error) if fails else Decoded(whole, "d")

    slabs = [fill_slab(plan, read, decode) for plan in plans]
    assert asked == [("read", True), ("decode", 18, 24), ("read", False), ("decode", 18, 24)]
    numbers = [[frame.number for frame in slab.frames] for slab in slabs]
    assert numbers == [[1, 2, 3, 4], [5, 6, 7]]
    problems = [frame.problem is not None for slab in slabs for frame in slab.frames]
    assert problems == [fails] * 7
    if fails:
        return
    np.testing.assert_array_equal(np.concatenate([slab.block for slab in slabs]), made.values)
    assert [slab.headers for slab in slabs] == [(b"header",), ()]
    assert [slab.bytes_read for slab in slabs] == [9, 3]
    assert [slab.bytes_decoded for slab in slabs] == [whole.nbytes] * 2
    digests = [frame.pixel_digest for slab in slabs for frame in slab.frames]
    assert digests == [stored_digest(slice_) for slice_ in made.stored]
