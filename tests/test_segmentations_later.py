"""Segmentations of images that an earlier run stored: what two runs make is what one makes."""

import json
import shutil

import drawing
import numpy as np
import pydicom
import pytest
from drawing import OPTIONS, draw, ingested, masks

import sansfilm
from sansfilm import convert
from sansfilm.errors import IntegrityError

pytestmark = pytest.mark.filterwarnings("ignore")
"""highdicom warns of its own database, and of attributes that synthetic images do not have."""


@pytest.fixture
def made(tmp_path):
    return drawing.images(tmp_path / "ct")


def run(archive, *sources, **more):
    report = sansfilm.ingest(sources, archive, options=OPTIONS, workers=1, **more)
    assert report.problems == []
    return report


def without_a_slice(made):
    made.paths[5].unlink()


def leaning(made):
    """Shift each slice along the rows against the one before."""
    for number, path in enumerate(made.paths):
        ds = pydicom.dcmread(path)
        row = np.array(ds.ImageOrientationPatient[:3], float)
        moved = np.array(ds.ImagePositionPatient, float) + 0.5 * number * row
        ds.ImagePositionPatient = [f"{value:.12g}"[:16] for value in moved]
        ds.save_as(path)


def in_time(made):
    """Add a second time: a volume (t, z, y, x)."""
    for number, path in enumerate(made.paths):
        ds = pydicom.dcmread(path)
        ds.TemporalPositionIdentifier = 1
        ds.save_as(path)
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.77.{number}"
        ds.TemporalPositionIdentifier, ds.PixelData = 2, ds.PixelData[::-1]
        ds.save_as(path.with_name(f"{number}-later.dcm"))


def as_they_are(made):
    pass


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
@pytest.mark.parametrize("change", [as_they_are, without_a_slice, leaning, in_time])
def test_two_runs_give_the_bytes_of_one(tmp_path, made, tree, kind, change):
    if change is leaning:
        change(made)
    draw(made, tmp_path / "seg", masks(made, 2), kind)
    if change is not leaning:
        change(made)
    together = ingested(tmp_path / "one", made.folder, tmp_path / "seg")
    run(tmp_path / "two", made.folder)
    later = ingested(tmp_path / "two", tmp_path / "seg")
    (image,) = (volume for volume in sansfilm.open(tmp_path / "two") if volume.modality == "CT")
    assert image.verdict.code == {without_a_slice: "gapped", leaning: "sheared"}.get(
        change, "regular"
    )
    assert len(image.axes) == (4 if change is in_time else 3)
    assert together.verdict.numbers["grid"] == "referenced"
    assert later.key == together.key
    one, two = tree(tmp_path / "one"), tree(tmp_path / "two")
    assert one == two
    assert f"{later.key}/zarr.json" in one


def test_the_same_again_does_nothing(tmp_path, made):
    draw(made, tmp_path / "seg", masks(made, 2))
    run(tmp_path / "a", made.folder, tmp_path / "seg")
    assert len(run(tmp_path / "a", tmp_path / "seg").unchanged) == 1


def test_a_dry_run_knows_the_grid_too(tmp_path, made):
    draw(made, tmp_path / "seg", masks(made, 2))
    run(tmp_path / "a", made.folder)
    (planned,) = run(tmp_path / "a", tmp_path / "seg", dry_run=True).volumes
    (alone,) = run(tmp_path / "none", tmp_path / "seg", dry_run=True).volumes
    assert planned["volume_id"] == ingested(tmp_path / "a", tmp_path / "seg").volume_id
    assert alone["volume_id"] != planned["volume_id"]
    assert "grid of its own" in alone["verdict_text"]


def test_of_several_volumes_that_fit_both_ways_choose_the_same(tmp_path, made):
    """Two volumes of one series on one grid: their pixels have another depth."""
    for number, path in enumerate(made.paths):
        ds = pydicom.dcmread(path)
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.77.{number}"
        ds.BitsStored, ds.HighBit = 16, 15
        ds.save_as(path.with_name(f"{number}-deeper.dcm"))
    draw(made, tmp_path / "seg", masks(made, 2))
    together = ingested(tmp_path / "one", made.folder, tmp_path / "seg")
    run(tmp_path / "two", made.folder)
    later = ingested(tmp_path / "two", tmp_path / "seg")
    assert len(sansfilm.open(tmp_path / "two")) == 3
    assert later.key == together.key
    assert later.ome["image-label"]["source"] == together.ome["image-label"]["source"]


def test_a_volume_that_another_stands_for_is_not_drawn_on(tmp_path, made):
    """The first slices came before the others; a segment in them would fit both volumes."""
    drawn = masks(made, 2)
    drawn[3:] = 0
    draw(made, tmp_path / "seg", drawn)
    (tmp_path / "half").mkdir()
    for path in made.paths[:4]:
        shutil.copy(path, tmp_path / "half")
    run(tmp_path / "a", tmp_path / "half")
    half = ingested(tmp_path / "a", tmp_path / "seg")
    assert half.array.shape[0] == 4
    run(tmp_path / "a", made.folder)
    later = ingested(tmp_path / "a", tmp_path / "seg")
    assert later.array.shape[0] == len(made.paths)
    assert later.key == ingested(tmp_path / "b", made.folder, tmp_path / "seg").key


@pytest.fixture
def asked(monkeypatch):
    """Give the series whose grids were looked for."""
    found = []
    look = convert.stored_grids

    def note(target, uid):
        found.append(uid)
        return look(target, uid)

    monkeypatch.setattr(convert, "stored_grids", note)
    return found


def test_only_what_is_referred_to_and_not_here_is_looked_for(tmp_path, made, asked):
    draw(made, tmp_path / "seg", masks(made, 2))
    run(tmp_path / "a", made.folder)
    run(tmp_path / "a", made.folder, tmp_path / "seg")
    assert asked == []
    run(tmp_path / "a", tmp_path / "seg")
    assert asked == [made.series_uid]


def test_nothing_is_drawn_on_a_stored_segmentation(tmp_path, made):
    """Nor on one of the same run."""
    draw(made, tmp_path / "seg", masks(made, 2))

    def edit(ds):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.9.2.1"
        ds.ReferencedSeriesSequence[0].SeriesInstanceUID = "1.2.9.1"
        ds.SeriesInstanceUID = "1.2.9.2"

    draw(made, tmp_path / "of-it", masks(made, 2), edit=edit)
    run(tmp_path / "one", tmp_path / "seg", tmp_path / "of-it")
    run(tmp_path / "two", tmp_path / "seg")
    run(tmp_path / "two", tmp_path / "of-it")
    one, two = (sansfilm.open(tmp_path / name)["1.2.9.2"] for name in ("one", "two"))
    assert one.key == two.key
    assert two.verdict.numbers["grid"] == "own"


def test_a_volume_without_its_record_is_no_grid(tmp_path, made):
    draw(made, tmp_path / "seg", masks(made, 2))
    run(tmp_path / "a", made.folder)
    (image,) = sansfilm.open(tmp_path / "a")
    (tmp_path / "a" / image.key / "_commit.json").unlink()
    assert ingested(tmp_path / "a", tmp_path / "seg").verdict.numbers["grid"] == "own"


def test_a_damaged_volume_ends_the_run_with_its_name(tmp_path, made):
    """A grid of its own instead would be another volume, for a reason that nobody sees."""
    draw(made, tmp_path / "seg", masks(made, 2))
    run(tmp_path / "a", made.folder)
    (image,) = sansfilm.open(tmp_path / "a")
    path = tmp_path / "a" / image.key / "zarr.json"
    group = json.loads(path.read_text())
    group["attributes"]["sansfilm"]["affine_lps"][0][3] += 1
    path.write_text(json.dumps(group))
    with pytest.raises(IntegrityError, match="sansfilm verify"):
        run(tmp_path / "a", tmp_path / "seg")


def test_a_stored_image_elsewhere_is_no_grid(tmp_path, made):
    """Another Frame of Reference, so that nothing says how the two lie to each other."""

    def edit(ds):
        ds.FrameOfReferenceUID = "1.2.3.98"

    draw(made, tmp_path / "seg", masks(made, 2), edit=edit)
    run(tmp_path / "a", made.folder)
    assert ingested(tmp_path / "a", tmp_path / "seg").verdict.numbers["grid"] == "own"
