"""Nothing is lost, whatever comes together: random subsets of all real files, in random order."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sansfilm

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 700_000
"""Bytes of the largest file that is drawn: what is larger makes the test slow and shows no more."""


def files_below(folder):
    return [
        path for path in sorted(folder.rglob("*"))
        if path.is_file() and path.stat().st_size <= LARGEST
    ]  # fmt: skip


POOLS = {
    "tests/data": files_below(ROOT / "tests" / "data"),
    "../shared/data": files_below(ROOT.parent / "shared" / "data"),
}


@pytest.mark.parametrize("pool", POOLS)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_frame_is_stored_or_in_a_problem(tmp_path_factory, pool, data):
    files = POOLS[pool]
    if not files:
        pytest.skip(f"needs {pool}")
    # neighbours in the list are of one series: take runs of them, and single ones from anywhere
    starts = data.draw(st.lists(st.integers(0, len(files) - 1), min_size=1, max_size=8))
    lengths = data.draw(st.lists(st.integers(1, 12), min_size=8, max_size=8))
    chosen = sorted({
        file for start, length in zip(starts, lengths, strict=False)
        for file in files[start : start + length]
    })  # fmt: skip
    first, again = (
        sansfilm.ingest(
            data.draw(st.permutations(chosen)), tmp_path_factory.mktemp("a") / "archive"
        )
        for _ in range(2)
    )
    for report in (first, again):
        frames = report.frames
        assert frames["found"] == frames["stored"] + frames["in_problems"]
        assert frames["stored"] == sum(row["frames"] for row in report.volumes)
        assert report.files["seen"] == len(chosen)
    assert told(first) == told(again)


def told(report):
    """Return what must not depend on the order of the files."""
    volumes = sorted(
        (row["volume_id"], row["verdict_text"], row["shape"]) for row in report.volumes
    )
    problems = [(p.uri, p.stage, p.code, p.message, p.frame) for p in report.problems]
    return volumes, problems, report.frames, report.files
