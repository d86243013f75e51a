"""Planning family by family gives what planning all frames together does."""

from collections import defaultdict
from dataclasses import replace
from functools import partial

import pytest
import synth
from cases import CASES
from hypothesis import given, settings
from hypothesis import strategies as st

from sansfilm.options import Budgets, Options
from sansfilm.planning.discover import discover
from sansfilm.planning.families import Families
from sansfilm.planning.grouping import plan_volumes
from sansfilm.planning.headers import read_files
from sansfilm.tasks import drawn_pixels, pixel_digest

OPTIONS = Options()


def files_of(folder):
    """Return the frames of each image in a folder."""
    found, _ = discover([str(folder)])
    return [one for one in read_files(Budgets(), found) if isinstance(one, list)]


def planned(families):
    """Plan each family; return plans, problems and copies, in an order that says nothing."""
    looks = partial(pixel_digest, OPTIONS), partial(drawn_pixels, OPTIONS)
    plans, problems, copies = [], [], 0
    for frames in families:
        more, refused, twice = plan_volumes(frames, OPTIONS, *looks)
        plans, problems, copies = plans + more, problems + refused, copies + twice
    plans.sort(key=lambda plan: (plan.series_uid, plan.volume_id))
    return plans, sorted(problems, key=repr), copies


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """Frames of many series, with segmentations on some of them."""
    folder = tmp_path_factory.mktemp("several")
    for name in CASES:
        CASES[name](folder / name)
    return files_of(folder)


@pytest.mark.parametrize("room", [0, 20, 10**6])
def test_all_cases_at_once(several, room):
    with Families(room) as families:
        families.add(several)
        assert list(families.frames()) == [frame for file in several for frame in file]
        parts = list(families)
        assert len(parts) > 20
        assert planned(parts) == planned([[frame for file in several for frame in file]])


@given(st.data())
@settings(deadline=None, max_examples=25)
def test_any_order_and_any_shared_instance(several, data):
    """Files in any order, some of them once more, or under the UID of another file."""
    files = data.draw(st.permutations(several))[:40]
    numbers = st.integers(0, len(files) - 1)
    for one, other in data.draw(st.lists(st.tuples(numbers, numbers), max_size=4)):
        uid = files[other][0].sop_instance_uid
        copy = [replace(frame, sop_instance_uid=uid, uri=f"{frame.uri}.copy")
                for frame in files[one]]  # fmt: skip
        files.append(copy)
    with Families(data.draw(st.integers(0, 50))) as families:
        families.add(files)
        parts = list(families)
    assert sum(map(len, parts)) == sum(map(len, files))
    homes = defaultdict(set)
    for number, frames in enumerate(parts):
        for frame in frames:
            homes[frame.series_uid].add(number)
            homes[frame.sop_instance_uid].add(number)
    assert all(len(numbers) == 1 for numbers in homes.values())
    assert [min(f.series_uid for f in part) for part in parts] == sorted(
        min(f.series_uid for f in part) for part in parts
    )
    assert planned(parts) == planned([[frame for file in files for frame in file]])


def test_none():
    with Families() as families:
        families.add([])
        assert list(families) == list(families.frames()) == []


def test_a_segmentation_is_with_what_it_was_drawn_on(tmp_path):
    synth.series(tmp_path, slices=3)
    first = files_of(tmp_path)
    files = first + [
        [replace(frame, series_uid="1.8", sop_instance_uid=f"1.8.{number}") for frame in file]
        for number, file in enumerate(first)
    ]
    with Families() as families:
        families.add(files)
        assert len(list(families)) == 2
    about = type("About", (), {"references": (files[-1][0].series_uid, "1.2.3")})()
    drawn = [replace(files[0][0], series_uid="1.9", sop_instance_uid="1.9.1", segmentation=about)]
    with Families() as families:
        families.add([drawn, *files])
        assert sorted(len(part) for part in families) == [3, 4]
