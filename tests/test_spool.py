"""What is put aside comes back, wherever it lies."""

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
