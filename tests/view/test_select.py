"""Selecting volumes by what the catalogue says of them, and asking it in SQL."""

import sys
from datetime import date

import pytest
import synth

import sansfilm
from sansfilm.errors import MissingPackageError, OptionError


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Four series: what they are is in their descriptions below."""
    folder = tmp_path_factory.mktemp("select")

    def said(body_part, day, patient):
        def edit(dataset, index):
            dataset.BodyPartExamined, dataset.StudyDate = body_part, day
            dataset.PatientID = patient

        return edit

    for seed, (modality, *told) in enumerate(SERIES):
        synth.series(folder / "in" / str(seed), slices=3, seed=seed, modality=modality,
                     edit=said(*told))  # fmt: skip
    synth.series(folder / "in" / "gap", slices=7, seed=9, edit=said("CHEST", "", "B")).paths[
        3
    ].unlink()
    (folder / "in" / "notes.txt").write_text("x")
    sansfilm.ingest(folder / "in", folder / "a")
    return sansfilm.open(folder / "a")


SERIES = [
    ("CT", "HEAD", "20260105", "A"),
    ("CT", "CHEST", "20260210", "A"),
    ("MR", "HEAD", "20260210", "B"),
    ("MR", "HEAD", "20260315", "C"),
]


def found(archive, **asked):
    table = archive.select(**asked).volumes
    return sorted(zip(table["modality"], table["body_part"], table["study_date"].fillna(""),
                      strict=True))  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"modality": "MR"}, [2, 3]),
        ({"modality": ["MR", "CT"], "body_part": "HEAD"}, [0, 2, 3]),
        ({"verdict": "regular"}, [0, 1, 2, 3]),
        ({"date": ("2026-02-10", "2026-02-10")}, [1, 2]),
        ({"date": (date(2026, 2, 10), None)}, [1, 2, 3]),
        ({"date": (None, "20260209")}, [0]),
        ({"modality": "MR", "date": (None, "20260209")}, []),
        ({"modality": "MR", "body_part": "CHEST"}, []),  # each is there, but not together
    ],
)
def test_all_that_is_asked_for_has_to_hold(archive, asked, expected):
    assert found(archive, **asked) == sorted(SERIES[number][:3] for number in expected)


def test_a_study_without_a_date_is_in_no_period(archive):
    assert found(archive, verdict="gapped") == [("CT", "CHEST", "")]
    assert found(archive, verdict="gapped", date=(None, "2030-01-01")) == []
    assert len(archive.select(date=(None, None))) == 4


def test_a_patient_is_asked_for_by_key(archive):
    key = archive.select(modality="MR", date=("2026-02-01", "2026-02-28")).rows()[0]["patient_key"]
    assert found(archive, patient_key=key) == [("CT", "CHEST", ""), ("MR", "HEAD", "20260210")]


def test_a_selection_is_an_archive(archive):
    chosen = archive.select(modality="CT")
    assert len(chosen) == 3
    assert len(archive.select()) == 5
    assert {volume.modality for volume in chosen} == {"CT"}
    (head,) = chosen.select(body_part="HEAD")
    assert chosen[head.series_uid].key == head.key
    with pytest.raises(LookupError):
        chosen[archive.select(modality="MR").rows()[0]["series_uid"]]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"modality": "ct"}, "no volume has modality 'ct'; there are: CT, MR"),
        ({"modality": ["CT", "PT"]}, "no volume has modality 'PT'; there are: CT, MR"),
        ({"verdict": "gaped"}, "there are: gapped, regular"),
        ({"modality": "MR", "body_part": "Head"}, "there are: CHEST, HEAD"),
        ({"patient_key": "x"}, "no volume has patient_key 'x'; there are: "),
        ({"date": "20260101"}, "date is a pair"),
        ({"date": ("2026-02-30", None)}, "a day is a date, '2026-01-31', '20260131' or None"),
        ({"date": ("soon", None)}, "got 'soon'"),
        ({"date": ("20260202", "20260201")}, "ends before it begins"),
    ],
)
def test_a_wrong_name_is_told_with_the_choices(archive, asked, told):
    with pytest.raises(OptionError, match=told):
        archive.select(**asked)


def test_an_archive_without_volumes_has_none_to_choose_from(tmp_path):
    (tmp_path / "in").mkdir()
    sansfilm.ingest(tmp_path / "in", tmp_path / "a")
    archive = sansfilm.open(tmp_path / "a")
    assert len(archive.select(date=("20260101", None))) == 0
    with pytest.raises(OptionError, match="there are: none"):
        archive.select(modality="CT")


# ------------------------------------------------------------------------------------------- SQL


def test_sql_answers_over_volumes_problems_and_objects(archive):
    pytest.importorskip("duckdb")
    answer = archive.sql(
        "select modality, count(*) as n, max(shape[1]) as z from volumes group by all order by all"
    )
    assert answer.to_dict("list") == {"modality": ["CT", "MR"], "n": [3, 2], "z": [7, 3]}
    assert archive.sql("SELECT code FROM Problems")["code"].tolist() == ["NOT_DICOM"]
    assert archive.sql("select count(*) as n from objects")["n"].tolist() == [0]
    heads = archive.select(body_part="HEAD").sql("select volume_id from volumes")
    assert len(heads) == 3
    assert archive.sql("select max(committed_at) as t from volumes")["t"][0].startswith("20")


def test_sql_of_an_archive_elsewhere(tmp_path):
    pytest.importorskip("duckdb")
    made = synth.series(tmp_path / "in", slices=3)
    url = "memory://sansfilm-sql/archive"
    sansfilm.ingest(made.folder, url, workers=1)
    answer = sansfilm.open(url).sql("select series_uid, uri from volumes")
    assert answer["series_uid"].tolist() == [made.series_uid]
    assert answer["uri"][0].startswith(url)


@pytest.mark.parametrize(
    "question",
    ["select nothing from volumes", "select 1 1 1", "", "select * from patients",
     "select * from read_csv('{file}')", "copy volumes to '{file}'", "install httpfs"],
)  # fmt: skip
def test_sql_that_is_wrong_or_of_other_things_is_told(archive, question, tmp_path):
    pytest.importorskip("duckdb")
    file = tmp_path / "x.csv"
    file.write_text("a\n1\n")
    with pytest.raises(OptionError):
        archive.sql(question.format(file=file))
    assert file.read_text() == "a\n1\n"


def test_without_duckdb_the_cure_is_told(archive, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(MissingPackageError, match=r"DuckDB is needed: pip .*sansfilm\[sql\]"):
        archive.sql("select 1")
