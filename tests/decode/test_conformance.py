"""Conformance sets decode to their references; docs/decoding-conformance.md lists what does not."""

import csv
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conformance import CASES, PREFER

from sansfilm.decode.frames import decode_frame
from sansfilm.model import FileRef
from sansfilm.options import Budgets
from sansfilm.planning.headers import read_frames
from sansfilm.planning.pixels import read_frame

PAGE = Path(__file__).parents[2] / "docs" / "decoding-conformance.md"
GOOD = ("equal", "within")
OWN = "tests/data"


def checksum_outcome(path: Path, sha256: str) -> str:
    """Compare a file with the checksum of its pixels, which pydicom made when it was added."""
    frames = read_frames(FileRef(str(path), path.stat().st_size), Budgets())
    if not isinstance(frames, list):
        return str(frames.code)
    images = [decode_frame(read_frame(frame)[0], frame.spec, PREFER)[0] for frame in frames]
    values = np.stack(images)
    little = values.astype(values.dtype.newbyteorder("<")).tobytes()
    return "equal" if hashlib.sha256(little).hexdigest() == sha256 else "differs"


@pytest.fixture(scope="module", params=["the collection", OWN])
def outcomes(request):
    """Give {(set, case): outcome}, of the files here, and of those beside the repository."""
    if request.param == OWN:
        data = request.getfixturevalue("data")
        rows = csv.DictReader((data / "checksums.csv").read_text().splitlines())
        return {(OWN, row["file"]): checksum_outcome(data / row["file"], row["pixels_sha256"])
                for row in rows if row["pixels_sha256"]}  # fmt: skip
    root = request.getfixturevalue("shared_data")
    return {(case.group, case.name): case.outcome(root) for case in CASES}


@pytest.fixture(scope="module")
def tables():
    """Give the rows of the two tables of the page: figures, and what does not decode."""
    if not PAGE.is_file():  # a source distribution has no docs
        pytest.skip("there are no docs here")
    rows = [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in PAGE.read_text(encoding="utf-8").partition("## Bits")[0].splitlines()
        if line.startswith("| ") and not line.startswith(("| ---", "| set"))
    ]
    return [row for row in rows if row[1].isdigit()], [row for row in rows if not row[1].isdigit()]


def test_names_are_unique():
    assert len({(case.group, case.name) for case in CASES}) == len(CASES)


def test_what_does_not_decode_is_listed(outcomes, tables):
    failed = {case: found for case, found in outcomes.items() if found not in GOOD}
    groups = {group for group, _ in outcomes}
    assert {(row[0], row[1]): row[2] for row in tables[1] if row[0] in groups} == failed
    assert all(why for *_, why in tables[1])


def test_figures_are_of_today(outcomes, tables):
    found = {}
    for group in dict.fromkeys(group for group, _ in outcomes):
        kinds = Counter(kind for (of, _), kind in outcomes.items() if of == group)
        good = [kinds[kind] for kind in GOOD]
        found[group] = [kinds.total(), *good, kinds.total() - sum(good)]
    told = {group: [int(number) for number in row] for group, *row in tables[0]}
    assert {group: row for group, row in told.items() if group in found} == found


def test_the_page_names_only_sets_and_cases_that_there_are(tables):
    assert {row[0] for row in tables[0]} == {case.group for case in CASES} | {OWN}
    named = {(row[0], row[1]) for row in tables[1] if row[0] != OWN}
    assert named <= {(case.group, case.name) for case in CASES}


def test_a_wrong_image_would_be_noticed(shared_data):
    """Each case has a reference that is not the image itself with one value changed."""
    for case in CASES[::5]:
        if case.outcome(shared_data) in GOOD:
            reference = case.reference(shared_data).astype(float)
            reference.flat[reference.size // 2] += 2 * case.peak + 1
            changed = type(case)(case.group, case.name, case.image, lambda _, r=reference: r,
                                 case.peak, case.mse)  # fmt: skip
            assert changed.outcome(shared_data) == "differs"
