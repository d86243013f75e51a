"""Publishing: rows that say what the volumes are, made whole by the next run, current volumes."""

import json
import shutil
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
import synth

from sansfilm.archive import open_archive, verify
from sansfilm.catalogue import table
from sansfilm.catalogue.check import check
from sansfilm.catalogue.records import problem_rows
from sansfilm.convert import ingest
from sansfilm.errors import Problem, ProblemCode
from sansfilm.options import Options, Storage
from sansfilm.store.commit import find_volumes
from sansfilm.store.target import open_target


@pytest.fixture
def made(tmp_path):
    return synth.series(tmp_path / "in", slices=6, names="ordered")


def ids(url):
    return sorted(row["volume_id"] for row in open_archive(url).rows())


def test_a_row_says_what_the_volume_is(made, tmp_path):
    before = datetime.now(UTC) - timedelta(seconds=2)
    (told,) = ingest(made.folder, tmp_path / "a").volumes
    (row,) = open_archive(tmp_path / "a").rows()
    assert row == told
    assert row["key"] == f"series/{made.series_uid}/{row['volume_id']}"
    assert row["uri"] == f"{tmp_path}/a/{row['key']}"
    assert (row["shape"], row["axes"], row["dtype"]) == ([6, 32, 40], ["z", "y", "x"], "int16")
    assert (row["frames"], row["levels"], row["verdict"]) == (6, 1, "regular")
    assert (row["modality"], row["study_date"], row["is_lossy"]) == ("CT", "20260102", False)
    assert row["affine_lps"] == [pytest.approx(line) for line in made.affine_lps.tolist()]
    assert before <= datetime.fromisoformat(row["committed_at"]) <= datetime.now(UTC)
    json.dumps(row, allow_nan=False)
    assert "ZZPHI" not in json.dumps(row)


def test_a_dry_run_tells_the_same_of_a_volume_that_is_to_be(made, tmp_path):
    (planned,) = ingest(made.folder, tmp_path / "a", dry_run=True).volumes
    (stored,) = ingest(made.folder, tmp_path / "a").volumes
    assert planned.pop("committed_at") is None
    assert json.loads(json.dumps(planned)) == {name: stored[name] for name in planned}


def test_patients_are_kept_apart_one_row_per_spelling(tmp_path):
    def named(name):
        def edit(dataset, index):
            dataset.PatientName = name

        return edit

    for seed, name in enumerate(["ZZPHI^A", "ZZPHI^A", "ZZPHI^B"]):
        synth.series(tmp_path / "in" / str(seed), slices=2, seed=seed, edit=named(name))
    report = ingest(tmp_path / "in", tmp_path / "a")
    patients = table.read_rows(open_target(str(tmp_path / "a")), table.PATIENTS).to_pylist()
    assert sorted(row["name"] for row in patients) == ["ZZPHI^A", "ZZPHI^B"]
    assert {row["patient_key"] for row in patients} == {
        row["patient_key"] for row in report.volumes
    }
    assert {row["patient_id"] for row in patients} == {"ZZPHI-0001"}


def test_problems_of_all_runs_are_kept_and_the_same_ones_once(made, tmp_path):
    (made.folder / "notes.txt").write_text("x")
    for _ in range(2):
        ingest(made.folder, tmp_path / "a")
    (made.folder / "more.txt").write_text("x")
    ingest(made.folder, tmp_path / "a")
    problems = open_archive(tmp_path / "a").problems
    assert sorted(problems["uri"].str.rsplit("/").str[-1]) == ["more.txt", "notes.txt", "notes.txt"]
    assert set(problems["code"]) == {"NOT_DICOM"}


def test_problem_rows_do_not_depend_on_the_order_in_which_they_came():
    problems = [
        Problem(uri, "headers", ProblemCode.NOT_DICOM, message)
        for uri in ("b", "a")
        for message in ("y", "x")
    ]
    assert problem_rows(problems) == problem_rows(problems[::-1])
    assert {type(row["code"]) for row in problem_rows(problems)} == {str}


def test_a_lost_catalogue_is_rebuilt_by_the_same_ingest(made, tmp_path, tree):
    url = tmp_path / "a"
    ingest(made.folder, url)
    before = tree(url)
    for lost in ("catalogue/volumes", "catalogue/patients", "catalogue"):
        shutil.rmtree(url / lost)
        report = ingest(made.folder, url)
        assert report.unchanged == [row["key"] for row in report.volumes]
        assert tree(url) == before


def test_a_volume_that_was_removed_is_gone_and_the_one_it_stood_for_is_back(made, tmp_path):
    url = tmp_path / "a"
    (first,) = ingest(made.folder, url, options=Options(storage=Storage(slab=2))).volumes
    (second,) = ingest(made.folder, url).volumes
    assert ids(url) == [second["volume_id"]]
    shutil.rmtree(url / second["key"])
    assert ids(url) == [first["volume_id"]]
    assert len(open_archive(url)) == 1
    damages = [damage for _, found in verify(url) for damage in found]
    assert [damage.key for damage in damages] == [f"{second['key']}/_commit.json"]
    ingest(made.folder, url)
    assert ids(url) == [second["volume_id"]]


def test_two_ingests_at_once_do_not_hide_each_others_volumes(made, tmp_path):
    """Both have committed before either has published."""
    url = tmp_path / "a"
    few, options = tmp_path / "few", Options(storage=Storage(slab=2))
    few.mkdir()
    for path in made.paths[2:]:
        shutil.copy(path, few)
    ingest(made.paths[:5], url)
    ingest(few, url, options=options)
    shutil.rmtree(url / "catalogue")
    ingest(made.paths[:5], url)
    ingest(few, url, options=options)
    assert len(find_volumes(open_target(str(url)))) == 2
    assert len(ids(url)) == 1


def test_the_order_of_publishing_does_not_matter(made, tmp_path, tree):
    """The catalogue can be rebuilt from the volumes: the same one, whoever comes first."""
    url = tmp_path / "a"
    calls = [(made.paths[:4], None), (made.paths, None), (made.paths[:4], None)]
    calls += [(made.paths, Options(storage=Storage(slab=2)))]
    for sources, options in calls:
        ingest(sources, url, options=options)
    current = ids(url)
    for order in (calls, calls[::-1]):
        shutil.rmtree(url / "catalogue")
        for sources, options in order:
            ingest(sources, url, options=options)
        assert ids(url) == current


# ----------------------------------------------------------------------------------------- check


def test_check_is_quiet_about_what_is_well(made, tmp_path):
    (made.folder / "notes.txt").write_text("x")
    ingest(made.folder, tmp_path / "a")
    target = open_target(str(tmp_path / "a"))
    assert list(check(target, find_volumes(target))) == []


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("modality", "MR"),
        ("shape", [6, 32, 41]),
        ("affine_lps", [[1.0, 0.0, 0.0, 0.0]] * 4),
        ("patient_key", "somebody else"),
        ("spacing_mm", [2.0, 0.7, None]),
    ],
)
def test_a_sound_file_that_says_something_else_is_told(made, tmp_path, column, value):
    ingest(made.folder, tmp_path / "a")
    target = open_target(str(tmp_path / "a"))
    (key,) = target.find(table.VOLUMES)
    (row,) = table.read_rows(target, table.VOLUMES).to_pylist()
    (tmp_path / "a" / key).unlink()
    table.put_rows(target, table.VOLUMES, [{**row, column: value}])
    assert list(check(target, find_volumes(target))) == [(key, "does not say what the volume is")]


def test_what_has_no_business_in_the_catalogue_is_told(made, tmp_path):
    ingest(made.folder, tmp_path / "a")
    target = open_target(str(tmp_path / "a"))
    strangers = ["catalogue/volumes/.DS_Store", "catalogue/volumes/old/v.parquet"]
    for key in strangers:
        target.put(key, b"x")
    assert list(check(target, find_volumes(target))) == [(key, "damaged") for key in strangers]
    assert isinstance(open_archive(tmp_path / "a").problems, pd.DataFrame)
