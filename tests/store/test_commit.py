"""The commit record: what it says, how it is told from others, which volume stands for which."""

import hashlib
import json
from dataclasses import replace
from importlib.metadata import version

import pytest
import synth

from sansfilm.errors import IntegrityError
from sansfilm.model import StoredObject
from sansfilm.options import Options
from sansfilm.store.commit import (
    commit_volume,
    committed,
    find_volumes,
    read_commit,
    relatives,
)
from sansfilm.store.memory import MemoryTarget
from sansfilm.store.verify import verify_volume


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return synth.series(tmp_path_factory.mktemp("series"), slices=6)


@pytest.fixture
def plan(made, plan_of):
    return plan_of(made.folder)


def put(target, plan, data=b"voxels"):
    target.put(f"{plan.key}/0/c/0/0/0", data)
    return StoredObject("0/c/0/0/0", len(data), hashlib.sha256(data).hexdigest())


def test_a_volume_exists_once_it_is_committed(plan):
    target = MemoryTarget()
    stored = put(target, plan)
    assert committed(target, [plan.key]) == set()
    assert find_volumes(target) == []
    assert commit_volume(target, plan, [stored], Options())
    assert committed(target, [plan.key, f"{plan.key}x"]) == {plan.key}
    assert find_volumes(target) == find_volumes(target, plan.series_uid) == [plan.key]
    assert find_volumes(target, "1.2") == []
    assert list(verify_volume(target, plan.key)) == []


def test_only_one_of_two_ingests_commits(plan):
    target = MemoryTarget()
    stored = put(target, plan)
    assert commit_volume(target, plan, [stored], Options())
    before = target.get(f"{plan.key}/_commit.json")
    assert not commit_volume(target, plan, [], Options())
    assert target.get(f"{plan.key}/_commit.json") == before


def test_the_record_names_sources_objects_options_and_versions(plan, made):
    target = MemoryTarget()
    commit_volume(target, plan, [StoredObject("b", 2, "x"), put(target, plan)], Options())
    record = read_commit(target, plan.key)
    assert [source["uri"] for source in record["sources"]] == [str(path) for path in made.paths]
    for source, path, uid in zip(record["sources"], made.paths, made.sop_uids, strict=True):
        assert source["size"] == path.stat().st_size
        assert source["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert source["sop_instance_uid"] == uid
    assert [stored["key"] for stored in record["objects"]] == ["0/c/0/0/0", "b"]
    assert record["options"]["storage"]["chunk"] == 64
    assert record["options"]["prefer"] == list(Options().prefer)
    assert record["versions"]["imagecodecs"] == version("imagecodecs")
    assert (record["series_uid"], record["volume_id"]) == (made.series_uid, plan.volume_id)
    assert b"ZZPHI" not in target.get(f"{plan.key}/_commit.json")


def test_the_record_does_not_depend_on_the_order_in_which_objects_were_written(plan):
    objects = [StoredObject(key, 1, key) for key in "abc"]
    records = []
    for order in (objects, objects[::-1]):
        target = MemoryTarget()
        commit_volume(target, plan, order, Options())
        records.append(target.get(f"{plan.key}/_commit.json"))
    assert records[0] == records[1]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is not a commit record"),
        (b"\xff\xfe", "is not a commit record"),
        (b"[1, 2]", "is not a commit record"),
        (b'"text"', "is not a commit record"),
        (b"null", "is not a commit record"),
        (b"{}", "is not a commit record"),
        (b'{"digest": null}', "its own digest"),
        (b'{"digest": "abc", "objects": []}', "its own digest"),
    ],
)
def test_what_is_no_record_is_named(content, why):
    target = MemoryTarget()
    target.put("series/1/2/_commit.json", content)
    with pytest.raises(IntegrityError, match=f"series/1/2/_commit.json.*{why}"):
        read_commit(target, "series/1/2")
    (damage,) = verify_volume(target, "series/1/2")
    assert damage.key == "series/1/2/_commit.json"


def test_a_record_in_the_place_of_another_is_told(plan):
    target = MemoryTarget()
    commit_volume(target, plan, [put(target, plan)], Options())
    data = target.get(f"{plan.key}/_commit.json")
    for place in (f"series/{plan.series_uid}/other", f"series/1.2/{plan.volume_id}"):
        target.put(f"{place}/_commit.json", data)
        with pytest.raises(IntegrityError, match="record of another volume"):
            read_commit(target, place)


def test_a_record_may_be_written_with_other_blanks_only_by_somebody_else(plan):
    target = MemoryTarget()
    commit_volume(target, plan, [put(target, plan)], Options())
    key = f"{plan.key}/_commit.json"
    target.put(key, json.dumps(json.loads(target.get(key))).encode())
    with pytest.raises(IntegrityError, match="its own digest"):
        read_commit(target, plan.key)


def test_a_volume_without_a_record_is_missing_it():
    (damage,) = verify_volume(MemoryTarget(), "series/1/2")
    assert (damage.key, damage.what) == ("series/1/2/_commit.json", "missing")


# ------------------------------------------------------------------ which volume stands for which


class Clock(MemoryTarget):
    """Objects that remember when they were written; later ones compare as larger."""

    now = 0.0

    def __init__(self):
        super().__init__()
        self.times = {}

    def create(self, key, data):
        self.times.setdefault(key, self.now)
        return super().create(key, data)

    def modified(self, key):
        return self.times[key]


@pytest.fixture
def commit(plan):
    """Give a function that commits a volume of some of the six instances at a time."""
    target = Clock()

    def make(name, instances, at):
        part = replace(
            plan, volume_id=name, frames=tuple(plan.frames[index] for index in instances)
        )
        target.now = at
        commit_volume(target, part, [], Options())
        return part

    make.of = lambda part: relatives(target, part.key)
    return make


@pytest.mark.parametrize("times", [(1, 2), (2, 1), (1, 1)])
def test_the_fuller_one_stands_for_the_other_whenever_it_came(commit, times):
    few = commit("few", [0, 1, 2], times[0])
    all_of_them = commit("all", range(6), times[1])
    assert commit.of(few) == ([], "all")
    assert commit.of(all_of_them) == (["few"], None)


@pytest.mark.parametrize("times", [(1, 2), (2, 1)])
def test_of_two_with_the_same_instances_the_later_one_stands(commit, times):
    one, two = (commit(name, [0, 1], at) for name, at in zip("ab", times, strict=True))
    older, newer = (one, two) if times[0] < times[1] else (two, one)
    assert commit.of(newer) == ([older.volume_id], None)
    assert commit.of(older) == ([], newer.volume_id)


def test_of_two_at_the_same_time_exactly_one_stands(commit):
    """Two ingests at once, on a storage that counts in seconds: they must not hide each other."""
    one, two = commit("a", [0, 1], 5), commit("b", [0, 1], 5)
    assert commit.of(one) == ([], "b")
    assert commit.of(two) == (["a"], None)


@pytest.mark.parametrize("times", [(1, 2), (2, 1)])
def test_volumes_that_overlap_hide_nothing_of_each_other(commit, times):
    one, two = commit("a", [0, 1, 2], times[0]), commit("b", [2, 3], times[1])
    assert commit.of(one) == commit.of(two) == ([], None)


def test_volumes_without_a_common_instance_have_nothing_to_do_with_each_other(commit):
    one, two = commit("a", [0, 1], 1), commit("b", [2, 3], 2)
    assert commit.of(one) == commit.of(two) == ([], None)


def test_a_volume_is_no_relative_of_itself(commit):
    assert commit.of(commit("a", [0], 1)) == ([], None)
