"""The lattices of stored volumes are those of the plans that they were made from."""

import json
from dataclasses import asdict

import pytest
from cases import CASES

from sansfilm.convert import convert
from sansfilm.errors import IntegrityError
from sansfilm.options import Options, Storage
from sansfilm.progress import Progress
from sansfilm.report import Ledger
from sansfilm.store.grids import stored_grids
from sansfilm.store.memory import MemoryTarget

OPTIONS = Options(storage=Storage(chunk=8, slab=4, smallest=16))


def stored(folder):
    target = MemoryTarget()
    published = convert([str(folder)], target, OPTIONS, Ledger("", Progress()), {"workers": 1})
    return target, [plan for plan, _ in published]


def as_json(grid):
    """Return all of it as text: an equal number of another type would be another identity."""
    return json.dumps(asdict(grid))


@pytest.mark.parametrize("name", CASES)
def test_they_come_back_as_they_were_planned(tmp_path, name):
    """Down to the last bit of each number: they decide the bytes of what is drawn on them."""
    CASES[name](tmp_path / "in")
    target, plans = stored(tmp_path / "in")
    for uid in {plan.series_uid for plan in plans}:
        wanted = [plan.grid for plan in plans if plan.series_uid == uid and plan.grid]
        found = stored_grids(target, uid)
        assert [grid.key for grid in found] == [grid.key for grid in wanted]
        assert list(map(as_json, found)) == list(map(as_json, wanted))


def test_of_a_series_that_is_not_there(tmp_path):
    CASES["shuffled"](tmp_path / "in")
    target, (plan,) = stored(tmp_path / "in")
    assert len(stored_grids(target, plan.series_uid)) == 1
    assert stored_grids(target, plan.series_uid[:-1]) == []
    assert stored_grids(MemoryTarget(), plan.series_uid) == []


@pytest.mark.parametrize("name", ["_commit.json", "zarr.json", "0/zarr.json"])
@pytest.mark.parametrize("damage", ["a bit", "gone"])
def test_a_grid_is_never_taken_from_damaged_metadata(tmp_path, name, damage):
    CASES["shuffled"](tmp_path / "in")
    target, (plan,) = stored(tmp_path / "in")
    key = f"{plan.key}/{name}"
    data = bytearray(target.get(key))
    if damage == "gone":
        del target.objects[key]
    else:
        data[len(data) // 2] ^= 1
        target.put(key, bytes(data))
    if (name, damage) == ("_commit.json", "gone"):  # then there is no volume
        assert stored_grids(target, plan.series_uid) == []
        return
    with pytest.raises(IntegrityError, match=name.replace(".", r"\.")):
        stored_grids(target, plan.series_uid)
