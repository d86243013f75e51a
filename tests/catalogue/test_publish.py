"""Publishing: rows that say what the volumes are, made whole by the next run, current volumes."""

import json
import shutil
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
import synth
from pydicom.dataset import Dataset, FileMetaDataset

from sansfilm.archive import open_archive
from sansfilm.catalogue import table
from sansfilm.catalogue.check import check
from sansfilm.catalogue.records import problem_rows
from sansfilm.errors import Problem, ProblemCode
from sansfilm.intake import ingest
from sansfilm.options import Options, Storage
from sansfilm.report import to_json
from sansfilm.store.commit import find_volumes
from sansfilm.store.target import open_target
from sansfilm.upkeep import verify


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


def test_the_catalogue_can_be_asked_for_verdicts_and_the_numbers_behind_them(tmp_path):
    def tilted(dataset, index):
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, float(y) + index, z]

    whole = synth.series(tmp_path / "in" / "whole", slices=6)
    leaning = synth.series(tmp_path / "in" / "leaning", slices=6, seed=1, edit=tilted)
    gapped = synth.series(tmp_path / "in" / "gapped", slices=9, seed=2)
    for index in (3, 4):
        gapped.paths[index].unlink()
    single = synth.series(tmp_path / "in" / "single", slices=1, seed=3)
    shutil.copy(whole.paths[0], tmp_path / "in" / "copy.dcm")
    archive = archive_of(tmp_path)

    def asked(question):
        return archive.volumes.query(question)["series_uid"].tolist()

    assert asked("verdict == 'gapped'") == [gapped.series_uid]
    assert asked("missing > 0") == asked("spacing_max_mm > 5.9") == [gapped.series_uid]
    assert asked("shear_deg > 5") == [leaning.series_uid]
    assert asked("spacing_min_mm.isna()") == [single.series_uid]
    assert asked("duplicates > 0") == []
    (row,) = archive.volumes.query("verdict == 'gapped'").to_dict("records")
    assert row["missing"] == 2
    assert row["spacing_min_mm"] == pytest.approx(2)


def test_an_empty_archive_answers_none(tmp_path):
    (tmp_path / "in").mkdir()
    volumes = archive_of(tmp_path).volumes
    assert len(volumes.query("verdict == 'gapped' and missing > 2 and shear_deg < 1")) == 0


def test_the_columns_of_an_empty_archive_are_those_of_any(made, tmp_path):
    full = archive_of(tmp_path).volumes
    (tmp_path / "other" / "in").mkdir(parents=True)
    assert list(archive_of(tmp_path / "other").volumes) == list(full)


def archive_of(folder):
    ingest(folder / "in", folder / "a")
    return open_archive(folder / "a")


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
    url, options = tmp_path / "a", Options(storage=Storage(slab=2))
    ingest(made.folder, url)
    ingest(made.folder, url, options=options)
    shutil.rmtree(url / "catalogue")
    ingest(made.folder, url)
    ingest(made.folder, url, options=options)
    assert len(find_volumes(open_target(str(url)))) == 2
    assert len(ids(url)) == 1


def test_volumes_that_overlap_are_both_there(made, tmp_path):
    """Each has slices that the other has not."""
    url = tmp_path / "a"
    ingest(made.paths[:5], url)
    ingest(made.paths[2:], url)
    assert len(ids(url)) == 2


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


# --------------------------------------------------------------------------------------- objects


def report_of(folder, number, *, series="1.2.3.2", images=()):
    """Write a structured report that refers to these instances."""
    reference = [Dataset() for _ in images]
    for item, uid in zip(reference, images, strict=True):
        item.ReferencedSOPInstanceUID = uid
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.33", f"1.2.3.1.{number}"
    ds.SeriesInstanceUID, ds.StudyInstanceUID, ds.Modality = series, "1.2.3.3", "SR"
    ds.PatientName, ds.PatientID = "ZZPHI^Synthetic", "ZZPHI-0001"
    ds.ReferencedInstanceSequence = reference
    ds.file_meta, ds.preamble = FileMetaDataset(), b"\0" * 128
    ds.file_meta.TransferSyntaxUID = synth.EXPLICIT_LE
    folder.mkdir(exist_ok=True)
    synth.write(ds, folder / f"sr{number}.dcm")


def test_objects_without_pixels_are_kept_with_what_they_refer_to(made, tmp_path):
    url = tmp_path / "a"
    for number in range(2):
        report_of(made.folder, number, images=made.sop_uids[number : number + 2])
    report = ingest(made.folder, url)
    assert report.problems == []
    assert report.frames == {"found": 6, "stored": 6, "in_problems": 0}
    assert report.files == {"seen": 8, "dicom": 8, "images": 6, "ingested": 6, "skipped": 2}
    objects = open_archive(url).objects
    (volume,) = open_archive(url).rows()
    assert objects["modality"].tolist() == ["SR", "SR"]
    assert set(objects["patient_key"]) == {volume["patient_key"]}
    assert [list(uids) for uids in objects["referenced_sop_instance_uids"]] == [
        sorted(made.sop_uids[:2]), sorted(made.sop_uids[1:3]),
    ]  # fmt: skip
    told = to_json(report)["objects"]
    assert told == open_archive(url).objects.to_dict("records")
    assert "ZZPHI" not in json.dumps(told)
    assert "ZZPHI" not in repr(report)
    for path in (url / "catalogue" / "objects").iterdir():
        assert b"ZZPHI" not in path.read_bytes()


def test_a_dry_run_tells_of_objects_and_writes_none(made, tmp_path):
    report_of(made.folder, 0)
    report = ingest(made.folder, tmp_path / "a", dry_run=True)
    assert [found.modality for found in report.objects] == ["SR"]
    assert not (tmp_path / "a").exists()


def test_a_patient_of_reports_only_is_known_too(tmp_path):
    report_of(tmp_path / "in", 0)
    archive = archive_of(tmp_path)
    (patient,) = table.read_rows(open_target(archive.url), table.PATIENTS).to_pylist()
    assert patient["patient_key"] == archive.objects["patient_key"][0]
    assert patient["name"] == "ZZPHI^Synthetic"


def test_objects_are_one_row_however_often_they_are_met(tmp_path):
    """One file for each series: what is new is a new file, the others stay."""
    url = tmp_path / "a"
    report_of(tmp_path / "in", 0, series="1.2.3.7")
    report_of(tmp_path / "in", 1)
    shutil.copy(tmp_path / "in" / "sr0.dcm", tmp_path / "in" / "copy.dcm")
    ingest(tmp_path / "in", url)
    ingest(tmp_path / "in", url)
    assert len(list((url / "catalogue" / "objects").iterdir())) == 2
    report_of(tmp_path / "in", 2)
    ingest(tmp_path / "in", url)
    assert len(list((url / "catalogue" / "objects").iterdir())) == 3
    objects = open_archive(url).objects
    assert sorted(objects["sop_instance_uid"]) == ["1.2.3.1.0", "1.2.3.1.1", "1.2.3.1.2"]
    assert objects["uri"].str.endswith("copy.dcm").sum() == 1


def test_no_objects_is_an_empty_table(made, tmp_path):
    ingest(made.folder, tmp_path / "a")
    objects = open_archive(tmp_path / "a").objects
    assert len(objects.query("modality == 'RTSTRUCT'")) == 0


def test_verify_finds_a_damaged_table_of_objects(tmp_path):
    report_of(tmp_path / "in", 0)
    url = tmp_path / "a"
    archive_of(tmp_path)
    (path,) = (url / "catalogue" / "objects").iterdir()
    key = f"catalogue/objects/{path.name}"
    assert [found for _, damages in verify(url) for found in damages] == []
    whole = path.read_bytes()
    path.write_bytes(whole[:60] + bytes([whole[60] ^ 1]) + whole[61:])
    assert [damage.key for _, damages in verify(url) for damage in damages] == [key]
    path.write_bytes(whole)
    path.rename(path.with_name("0" * 32 + ".parquet"))
    (damage,) = [damage for _, damages in verify(url) for damage in damages]
    assert damage.what == "other content than its name says"
