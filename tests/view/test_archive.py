"""An archive as researchers use it: table, look-up, iteration, what could not be stored."""

import pandas as pd
import pytest
import synth

from sansfilm.archive import open_archive, read
from sansfilm.errors import ArchiveNotFoundError, VolumeNotFoundError
from sansfilm.intake import ingest
from sansfilm.store.root import create_archive
from sansfilm.store.target import LocalTarget


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two series; the second has images of two sizes, so it makes two volumes."""
    folder = tmp_path_factory.mktemp("archive")
    one = synth.series(folder / "in" / "a", slices=3)
    two = synth.series(folder / "in" / "b", slices=4, seed=1, modality="MR")
    synth.series(
        folder / "in" / "c", slices=2, rows=16, seed=2, modality="MR",
        series_uid=two.series_uid, study_uid=two.study_uid,
    )  # fmt: skip
    (folder / "in" / "notes.txt").write_text("x")
    ingest(folder / "in", folder / "a")
    return folder / "a", one, two


@pytest.fixture
def archive(made):
    return open_archive(made[0])


def test_the_table_has_a_row_per_volume_in_types_of_their_meaning(archive, made):
    url, one, two = made
    table = archive.volumes
    assert isinstance(table, pd.DataFrame)
    assert len(table) == len(archive) == 3
    assert set(table["series_uid"]) == {one.series_uid, two.series_uid}
    assert sorted(table["frames"]) == [2, 3, 4]
    assert table["frames"].dtype == "int64"
    assert table["is_lossy"].dtype == bool
    assert all(isinstance(shape, list) for shape in table["shape"])
    assert pd.to_datetime(table["committed_at"]).notna().all()
    assert set(table.query("modality == 'MR'")["series_uid"]) == {two.series_uid}
    assert list(table["uri"]) == [f"{url}/{key}" for key in table["key"]]


def test_a_series_or_a_volume_is_found_by_its_uid(archive, made):
    _, one, _ = made
    volume = archive[one.series_uid]
    assert volume.array.shape == one.stored.shape
    assert archive[volume.volume_id].key == volume.key
    assert [found.key for found in archive.find(one.series_uid)] == [volume.key]


def test_a_series_of_several_volumes_has_to_be_asked_for_by_volume(archive, made):
    _, _, two = made
    ids = sorted(volume.volume_id for volume in archive.find(two.series_uid))
    assert len(ids) == 2
    with pytest.raises(
        VolumeNotFoundError, match="has 2 volumes, name one by its volume_id"
    ) as told:
        archive[two.series_uid]
    assert all(name in str(told.value) for name in ids)
    assert isinstance(told.value, LookupError)
    for name in ids:
        assert archive[name].volume_id == name


@pytest.mark.parametrize("name", ["1.2.3", "", "*", "series"])
def test_what_is_not_there_is_not_found(archive, name):
    for call in (archive.find, archive.__getitem__):
        with pytest.raises(VolumeNotFoundError, match=r"no series or volume .*see .*`sansfilm ls`"):
            call(name)


def test_iteration_gives_every_volume_once(archive):
    keys = [volume.key for volume in archive]
    assert sorted(keys) == sorted(archive.volumes["key"])
    assert len({volume.volume_id for volume in archive}) == 3


def test_problems_are_a_table_too(archive):
    problems = archive.problems
    assert list(problems.columns) == [
        "uri", "stage", "code", "message", "series_uid", "frame", "frames",
    ]  # fmt: skip
    assert list(problems["code"]) == ["NOT_DICOM"]
    assert problems["uri"][0].endswith("notes.txt")


def test_an_empty_archive_is_empty(tmp_path):
    create_archive(LocalTarget(str(tmp_path / "a")))
    archive = open_archive(tmp_path / "a")
    assert (len(archive), archive.rows(), list(archive)) == (0, [], [])
    assert len(archive.volumes) == len(archive.problems) == 0
    assert archive.problems.columns[0] == "uri"
    assert repr(archive).endswith(": 0 volumes>")


def test_an_open_archive_sees_what_is_ingested_later(tmp_path):
    create_archive(LocalTarget(str(tmp_path / "a")))
    archive = open_archive(tmp_path / "a")
    ingest(synth.series(tmp_path / "in", slices=2).folder, tmp_path / "a")
    assert len(archive) == 1


def test_names_tell_where_it_is_and_not_of_whom(archive, made):
    url, one, _ = made
    assert archive.url == str(url)
    assert repr(archive) == f"<sansfilm.Archive {url}: 3 volumes>"
    assert repr(archive[one.series_uid]) == "<sansfilm.Volume CT 3 x 32 x 40 int16, regular>"
    assert "ZZPHI" not in archive.volumes.to_csv() + archive.problems.to_csv()


def test_an_archive_opens_by_path_or_url(made):
    url = made[0]
    for form in (url, str(url), f"file://{url}", f"{url}/"):
        assert len(open_archive(form)) == 3


def test_a_folder_without_an_archive_is_told(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ArchiveNotFoundError, match="no sansfilm archive at") as told:
            open_archive(path)
        assert isinstance(told.value, FileNotFoundError)


def test_an_archive_on_an_fsspec_url_reads_the_same(made):
    _, one, _ = made
    url = "memory://sansfilm-view/archive"
    ingest(one.folder, url, workers=1)
    volume = open_archive(url)[one.series_uid]
    assert volume.uri.startswith(url)
    assert (volume.array[:] == one.values).all()
    assert (volume.to_xarray().values == one.values).all()
    assert len(volume.headers()) == 3


def test_read_gives_volumes_of_the_same_kind(made):
    _, one, _ = made
    (volume,) = read([one.folder])
    assert volume.uri == f"memory:series/{one.series_uid}/{volume.volume_id}"
    assert (volume.array[:] == one.values).all()
