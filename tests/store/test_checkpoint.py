"""Checkpoints: what comes back is what was noted, and only if it is there and nobody else's."""

import os
from dataclasses import replace
from datetime import timedelta

import pytest
import synth
from hypothesis import given
from hypothesis import strategies as st

import sansfilm
from sansfilm.assemble.levels import plan_slabs
from sansfilm.errors import TargetError
from sansfilm.model import FrameResult, SlabResult, StoredObject
from sansfilm.options import Options, Storage
from sansfilm.store import checkpoint, commit
from sansfilm.store.checkpoint import CHECKPOINT, Checkpoints
from sansfilm.store.memory import MemoryTarget
from sansfilm.store.target import open_target

OPTIONS = Options(storage=Storage(slab=4, smallest=16))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return synth.series(tmp_path_factory.mktemp("series"), slices=14)


@pytest.fixture
def slabs(made, plan_of):
    return list(plan_slabs(plan_of(made.folder), OPTIONS))


@pytest.fixture
def clock(monkeypatch):
    """Give a list with the time of day; it goes on only when a test says so."""
    now = [1000.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    return now


def result_of(slab, target):
    """Store what a slab could have made, and return its result."""
    keys = [f"{level.path}/c/{'/'.join(map(str, slab.place))}" for level in slab.levels]
    for number, key in enumerate(keys):
        target.put(f"{slab.volume}/{key}", bytes(10 * slab.index + number + 1))
    objects = [StoredObject(key, 10 * slab.index + n + 1, f"{n:064}") for n, key in enumerate(keys)]
    frames = [FrameResult(frame.sop_instance_uid, frame.number, "0" * 64, "native", notes=("odd",))
              for frame in slab.present]  # fmt: skip
    return SlabResult(slab.index, tuple(objects), tuple(frames), (0, 7.5), strange=(3, 9))


def filled(target, slabs, *, options=OPTIONS, upto=3):
    """Store slabs of a volume and a checkpoint of them; return their results."""
    noted, results = Checkpoints(target, options), []
    for slab in slabs[:upto]:
        results.append(result_of(slab, target))
        noted.note(slab, results[-1])
    noted.write()
    return results


def test_what_was_noted_comes_back(slabs):
    target = MemoryTarget()
    results = filled(target, slabs)
    assert len(slabs) == 4
    for _ in range(2):  # loading it takes nothing away
        found = Checkpoints(target, OPTIONS).load(slabs)
        assert found == list(zip(slabs[:3], results, strict=True))
        kinds = [type(value) for _, result in found for value in result.value_range]
        assert kinds == [int, float] * 3  # JSON knows the difference


uids = st.text("0123456789.", min_size=1, max_size=64)
texts = st.text(max_size=30)
numbers = st.integers(0, 2**70) | st.floats(allow_nan=False)
results = st.builds(
    SlabResult,
    index=st.integers(0, 2**40),
    objects=st.lists(st.builds(StoredObject, texts, st.integers(0, 2**60), texts)).map(tuple),
    frames=st.lists(st.builds(
        FrameResult, uids, st.integers(1, 2**40), texts, texts, st.none(),
        st.lists(texts, max_size=3).map(tuple),
    )).map(tuple),
    value_range=st.tuples(numbers, numbers),
    bytes_read=st.just(0), bytes_decoded=st.just(0),
    strange=st.lists(st.integers()).map(tuple),
)  # fmt: skip


@given(found=st.lists(results, max_size=3))
def test_any_result_survives_the_way_through_a_checkpoint(found):
    kept = Checkpoints(MemoryTarget(), OPTIONS)
    back = list(kept._decode("v", kept._encode("v", found)))
    assert back == found
    assert repr(back) == repr(found)  # 1 and 1.0 are equal, and different in metadata


def damages(data, content):
    """Return what may lie there instead: nothing of it may be taken."""
    digest, end = data[: -len(content)], len(data)
    yield from (data[:cut] for cut in (0, 1, 64, 65, 66, end // 2, end - 1))
    yield from (data + b"\0", data + data, digest + content[::-1], content, b"null", b"\xff" * end)
    for place in range(0, end, 17):
        yield data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        yield data[:place] + data[place + 1 :]


def test_a_damaged_checkpoint_is_none(slabs):
    target = MemoryTarget()
    filled(target, slabs)
    key = f"{slabs[0].volume}/{CHECKPOINT}"
    data = target.get(key)
    for damaged in damages(data, data[65:]):
        target.put(key, damaged)
        assert Checkpoints(target, OPTIONS).load(slabs) == []
        target.put(key, data)
    assert len(Checkpoints(target, OPTIONS).load(slabs)) == 3


@pytest.mark.parametrize(
    "other",
    [
        lambda: replace(OPTIONS, prefer=("imagecodecs",)),
        lambda: replace(OPTIONS, crosscheck=3),
        lambda: replace(OPTIONS, storage=Storage(slab=4, smallest=16, compression_level=4)),
    ],
    ids=["decoders", "crosscheck", "storage"],
)
def test_a_checkpoint_of_other_options_is_none(slabs, other):
    target = MemoryTarget()
    filled(target, slabs, options=other())
    assert Checkpoints(target, OPTIONS).load(slabs) == []


def test_a_checkpoint_of_another_version_is_none_and_does_not_come_back(slabs, monkeypatch):
    """It wrote other bytes to the same keys, and so does this one: the first may not trust them."""
    target = MemoryTarget()
    filled(target, slabs)
    versions = dict.fromkeys(commit._NAMED, "0.0")
    with monkeypatch.context() as patch:
        patch.setattr(commit, "_versions", lambda: versions)
        assert Checkpoints(target, OPTIONS).load(slabs) == []
    assert Checkpoints(target, OPTIONS).load(slabs) == []


def test_a_checkpoint_of_another_volume_is_none(slabs):
    target = MemoryTarget()
    filled(target, slabs)
    strangers = [replace(slab, volume=f"{slab.volume[:-1]}x") for slab in slabs]
    target.put(f"{strangers[0].volume}/{CHECKPOINT}", target.get(f"{slabs[0].volume}/{CHECKPOINT}"))
    assert Checkpoints(target, OPTIONS).load(strangers) == []


@pytest.mark.parametrize("level", [0, 1])
def test_a_slab_that_lacks_an_object_is_made_again(slabs, level):
    target = MemoryTarget()
    filled(target, slabs)
    place = "/".join(map(str, slabs[1].place))
    key = f"{slabs[1].volume}/{level}/c/{place}"
    whole = target.get(key)
    target.delete(key)
    assert [slab.index for slab, _ in Checkpoints(target, OPTIONS).load(slabs)] == [0, 2]
    target.put(key, whole[:-1])
    assert [slab.index for slab, _ in Checkpoints(target, OPTIONS).load(slabs)] == [0, 2]
    target.put(key, whole)
    assert [slab.index for slab, _ in Checkpoints(target, OPTIONS).load(slabs)] == [0, 1, 2]


def test_a_listing_that_shows_nothing_has_all_made_again(slabs, monkeypatch):
    target = MemoryTarget()
    filled(target, slabs)
    monkeypatch.setattr(target, "find", lambda prefix: {})
    assert Checkpoints(target, OPTIONS).load(slabs) == []


def test_slabs_that_did_not_end_well_are_not_kept(slabs):
    target = MemoryTarget()
    noted = Checkpoints(target, OPTIONS)
    noted.note(slabs[0], None)
    noted.note(slabs[1], SlabResult(1, (), result_of(slabs[1], target).frames))
    noted.note(slabs[2], result_of(slabs[2], target))
    noted.write()
    assert [slab.index for slab, _ in Checkpoints(target, OPTIONS).load(slabs)] == [2]


class Counting(MemoryTarget):
    """Counts what is asked of it; a put takes as long as a test says."""

    def __init__(self, clock):
        super().__init__()
        self.asked, self.slow, self.clock = [], 0.0, clock

    def __getattribute__(self, name):
        if name in ("get", "put", "delete", "find"):
            self.asked.append(name)
            self.clock[0] += self.slow if name == "put" else 0
        return super().__getattribute__(name)


def test_not_more_often_than_every_so_many_seconds(slabs, clock):
    target = Counting(clock)
    noted, done = Checkpoints(target, OPTIONS), [result_of(slab, target) for slab in slabs]

    def writes(slab, seconds):
        clock[0] += seconds
        target.asked.clear()
        noted.note(slab, done[slab.index])
        return target.asked

    first, every = checkpoint.FIRST_S, checkpoint.EVERY_S
    assert writes(slabs[0], first / 2) == []
    assert writes(slabs[1], first / 2) == ["put"]
    assert writes(slabs[1], every) == []  # nothing new
    target.slow = every
    assert writes(slabs[2], 0) == ["put"]
    assert writes(slabs[3], checkpoint.SHARE * every - 1) == []  # slow storage is asked seldom


def test_what_a_checkpoint_names_outlasts_a_power_cut(slabs):
    """What was written since the last sync may be lost or torn: a checkpoint never names it."""
    target, safe, named = MemoryTarget(), set(), []
    put = target.put

    def checked(key, data):
        put(key, data)
        if key.endswith(CHECKPOINT):
            found = Checkpoints(target, OPTIONS)._decode(slabs[0].volume, data)
            named.append([stored.key for result in found for stored in result.objects])
            assert {f"{slabs[0].volume}/{stored}" for stored in named[-1]} <= safe

    target.put, target.settle = checked, safe.update
    noted = Checkpoints(target, OPTIONS)
    for slab in slabs[:3]:
        noted.note(slab, result_of(slab, target))
        noted.write()
    again = Checkpoints(target, OPTIONS)
    assert len(again.load(slabs)) == 3
    again.note(slabs[3], result_of(slabs[3], target))
    again.write()
    assert [len(keys) // len(slabs[0].levels) for keys in named] == [1, 2, 3, 3, 4]


def test_what_ends_soon_asks_nothing_of_the_storage(slabs, clock):
    target = Counting(clock)
    done = [result_of(slab, target) for slab in slabs]
    target.asked.clear()
    noted = Checkpoints(target, OPTIONS)
    for number in range(20):
        for slab in slabs:
            clock[0] += checkpoint.FIRST_S / 5
            noted.note(replace(slab, volume=f"{slab.volume}{number}"), done[slab.index])
        noted.drop(f"{slab.volume}{number}")
    assert target.asked == []
    assert noted._volumes == {}


def test_it_goes_with_the_commit_and_one_that_cannot_is_left(slabs, clock):
    target = Counting(clock)
    for denied in (False, True):
        noted = Checkpoints(target, OPTIONS)
        noted.note(slabs[0], result_of(slabs[0], target))
        noted.write()

        def refuse(key):
            raise TargetError(key, "not permitted")

        if denied:
            target.delete = refuse
        noted.drop(slabs[0].volume)
        assert (f"{slabs[0].volume}/{CHECKPOINT}" in target.objects) == denied


def test_one_request_for_a_volume_of_several_slabs_none_for_one(slabs, clock):
    target = Counting(clock)
    assert Checkpoints(target, OPTIONS).load(slabs) == []
    assert target.asked == ["get"]
    assert Checkpoints(target, OPTIONS).load(slabs[:1]) == []
    assert target.asked == ["get"]
    filled(target, slabs)
    target.asked.clear()
    assert len(Checkpoints(target, OPTIONS).load(slabs)) == 3
    assert target.asked == ["get", "put", "find"]


def test_gc_takes_old_checkpoints_and_no_slab_of_a_young_one(slabs, tmp_path):
    url = tmp_path / "a"
    sansfilm.ingest(synth.series(tmp_path / "other", slices=1, seed=1).folder, url)
    target = open_target(str(url))
    filled(target, slabs)
    volume = url / slabs[0].volume
    for path in volume.rglob("*"):
        os.utime(path, (0, 0))
    assert len(Checkpoints(target, OPTIONS).load(slabs)) == 3  # as an ingest does that goes on
    assert list(sansfilm.gc(url)) == []
    found = dict(sansfilm.gc(url, older_than=timedelta(0)))
    assert f"{slabs[0].volume}/{CHECKPOINT}" in found
    assert not volume.exists()
