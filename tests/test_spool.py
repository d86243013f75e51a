"""What is put aside comes back, wherever it lies."""

import gc
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansfilm import spool
from sansfilm.errors import SansfilmError
from sansfilm.spool import Spool

items = st.lists(st.tuples(st.text() | st.binary() | st.integers(), st.integers(1, 5)))


@given(items, st.integers(0, 12))
def test_items_come_back_in_order_as_often_as_wanted(items, room):
    with Spool(room) as kept:
        for number, (item, weight) in enumerate(items):
            kept.append(item, weight)
            assert kept[number // 2] == items[number // 2][0]  # read between two that are added
        assert len(kept) == len(items)
        assert list(kept) == list(kept) == [item for item, _ in items]


def test_only_what_has_room_stays_in_memory():
    item = [1]
    with Spool(3) as kept:
        for weight in (2, 2, 1):
            kept.append(item, weight)
        assert [kept[number] is item for number in range(3)] == [True, True, False]


def test_a_full_disk_is_told_with_its_cure(monkeypatch):
    def full():
        return open("/dev/full", "r+b", buffering=0)  # noqa: PTH123

    monkeypatch.setattr(spool.tempfile, "TemporaryFile", full)
    with Spool(0) as kept, pytest.raises(SansfilmError, match="TMPDIR"):
        kept.append(bytes(10_000))


@given(items, st.integers(0, 12), st.slices(12))
def test_it_is_read_as_a_list_is(items, room, some):
    kept, same = Spool(room, [item for item, _ in items]), [item for item, _ in items]
    assert kept == same == pickle.loads(pickle.dumps(kept))
    assert kept != [*same, 1]
    assert kept[some] == same[some]
    assert repr(kept) == repr(same)
    for number in range(-len(same), len(same)):
        assert kept[number] == same[number]
    with pytest.raises(IndexError):
        kept[len(same)]


def test_its_file_ends_with_it():
    """A warning, which fails a test, if it were left open."""
    kept = Spool(0, [1])
    del kept
    gc.collect()
