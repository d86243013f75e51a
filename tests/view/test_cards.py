"""What notebooks show: valid HTML of the smallest level, of nobody, whatever the texts are."""

import base64
import io
import re
import time
from html.parser import HTMLParser

import drawing
import multiframe
import numpy as np
import pytest
import slides
import synth
from PIL import Image
from spying import spy_on_reads

import sansfilm
from sansfilm.errors import Problem, ProblemCode
from sansfilm.options import Options, Storage
from sansfilm.view.cards import _WIDE
from sansfilm.view.planes import hang
from sansfilm.view.windows import choose_window, to_picture

SMALL = Options(storage=Storage(chunk=8, slab=8, smallest=8))
OBLIQUE = (0, 0.8, -0.6, 0.6, 0.48, 0.64)
VOID = {"img"}


class Page(HTMLParser):
    """What an HTML parser finds: tags, texts and pictures; what is not closed is refused."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.texts, self.pictures, self.sizes = [], [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            found = dict(attributes)
            kind, _, data = found["src"].partition(",")
            assert kind == "data:image/png;base64"
            image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
            image.load()
            self.pictures.append(np.asarray(image))
            size = re.search(r"width:(\d+)px;height:(\d+)px", found["style"])
            self.sizes.append((int(size[1]), int(size[2])))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return "\n".join(self.texts)


def uneven(dataset, index):
    x, y, z = (float(value) for value in dataset.ImagePositionPatient)
    dataset.ImagePositionPatient = [x, y, z + 1.2 * index**1.5]


def test_a_volume_is_told_and_shown(volume_of):
    volume = volume_of(slices=12, options=SMALL)
    page = Page(volume._repr_html_())
    assert "CT regular" in page.text
    assert "12 × 32 × 40 (z, y, x) int16 HU · 2 × 0.7 × 0.8 mm" in page.text
    assert volume.verdict.text in page.text
    assert "not for clinical use" in page.text
    assert page.tags.count("tr") == 1 + len(volume.levels)
    for level in volume.levels:
        assert " × ".join(map(str, level.shape)) in page.texts
    assert [text for text in page.texts if text in set("RLAPSI")] == list("RLAPRLSIAPSI")


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), OBLIQUE, (0, 1, 0, 0, 0, -1)])
def test_the_pictures_are_those_of_show(volume_of, orientation):
    """Which tests/view/test_show.py holds against the patient."""
    volume = volume_of(slices=12, options=SMALL, orientation=orientation)
    page = Page(volume._repr_html_())
    last = len(volume.levels) - 1
    views = hang(volume, last, volume.affine(last))
    assert len(page.pictures) == len(views) == 3
    for picture, size, (_, plane, aspect, letters) in zip(
        page.pictures, page.sizes, views, strict=True
    ):
        expected = to_picture(volume, np.ma.getdata(plane), choose_window(volume, None))
        np.testing.assert_array_equal(picture, expected)
        assert max(size) == _WIDE
        assert size[1] / size[0] == pytest.approx(
            plane.shape[0] * aspect / plane.shape[1], abs=1 / min(size)
        )
        assert all(letter in page.texts for letter in letters)


def test_the_smallest_level_alone_is_read_and_soon(tmp_path, monkeypatch):
    made = synth.series(tmp_path / "in", slices=64, rows=128, columns=128)
    sansfilm.ingest(made.folder, tmp_path / "a")
    sansfilm.open(tmp_path / "a")[made.series_uid]._repr_html_()  # what is imported once
    read = spy_on_reads(monkeypatch)
    volume = sansfilm.open(tmp_path / "a")[made.series_uid]
    begun, busy = time.perf_counter(), time.process_time()
    volume._repr_html_()
    taken = min(time.perf_counter() - begun, time.process_time() - busy)
    last = len(volume.levels) - 1
    assert last > 0
    assert {key.partition("/")[0] for key, _, _ in read if "/c/" in key} == {str(last)}
    assert taken < 0.2


def kinds():
    def unplaced(dataset, index):
        del dataset.ImagePositionPatient, dataset.ImageOrientationPatient
        dataset.InstanceNumber = index + 1

    def colours(dataset, index):
        dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "RGB", 3
        dataset.PlanarConfiguration = 0
        dataset.PixelData = bytes(range(256)) * (dataset.Rows * dataset.Columns * 3 // 256)
        del dataset.RescaleSlope, dataset.RescaleIntercept

    def in_time(dataset):
        dataset.CineRate, dataset.FrameTime = 25, "40"
        dataset.FrameIncrementPointer = 0x00181063

    bytes_of = {"bits_allocated": 8, "bits_stored": 8, "intercept": 0, "window": None}
    return {
        "uneven": lambda folder: synth.series(folder, slices=7, edit=uneven),
        "gapped": lambda folder: synth.series(folder, slices=9).paths[4].unlink(),
        "one slice": lambda folder: synth.series(folder, slices=1),
        "rescaled": lambda folder: synth.series(folder, slices=3, slope=0.5, intercept=3.25),
        "no place": lambda folder: synth.series(folder, slices=4, edit=unplaced, modality="OT"),
        "colour": lambda folder: synth.series(folder, slices=4, edit=colours, **bytes_of),
        "cine": lambda folder: multiframe.plain(
            folder / "cine.dcm", multiframe.pictures(frames=6), edit=in_time
        ),
        "slide": lambda folder: slides.slide(folder),
        "slide, optical paths": lambda folder: slides.slide(
            folder, samples=1, optical_paths=3, planes=2
        ),
    }


@pytest.mark.filterwarnings("ignore::sansfilm.ProblemWarning")
@pytest.mark.parametrize(("kind", "pictures"), [
    ("uneven", 3), ("gapped", 3), ("one slice", 3), ("rescaled", 3), ("no place", 3),
    ("colour", 3), ("cine", 3), ("slide", 1), ("slide, optical paths", 2),
])  # fmt: skip
def test_every_kind_of_volume_is_shown(tmp_path, kind, pictures):
    (tmp_path / "in").mkdir()
    kinds()[kind](tmp_path / "in")
    for volume in sansfilm.read(tmp_path / "in", options=SMALL):
        page = Page(volume._repr_html_())
        assert len(page.pictures) == pictures
        assert all(picture.size for picture in page.pictures)
        colour = "c" in volume.axes
        assert {picture.ndim for picture in page.pictures} == {3 if colour else 2}
        assert volume.verdict.text in page.text
        assert "ZZPHI" not in page.text


def test_a_strip_of_few_slices_has_two_letters(volume_of):
    page = Page(volume_of(slices=2)._repr_html_())
    assert [text for text in page.texts if text in set("RLAPSI")] == list("RLAPRLAP")


@pytest.mark.filterwarnings("ignore")  # highdicom's
def test_label_maps_are_shown(tmp_path):
    made = drawing.images(tmp_path / "ct")
    drawn = np.zeros((*made.stored.shape, 1), np.uint8)
    drawn[:, 8:24, :20] = 1
    drawing.draw(made, tmp_path / "seg", drawn)
    drawing.ingested(tmp_path / "a", tmp_path / "ct", tmp_path / "seg")
    found = sansfilm.open(tmp_path / "a").select(modality="SEG")
    assert len(found) > 0
    for volume in found:
        page = Page(volume._repr_html_())
        assert len(page.pictures) == 3
        assert np.ptp(page.pictures[0]) == 255


# ---------------------------------------------------------------------------- texts and identity

EVIL = "<script>alert('x')</script>&\""


def test_texts_are_escaped(volume_of):
    volume = volume_of(slices=3)
    volume.attributes["verdict"]["text"] = EVIL
    volume.attributes["modality"] = volume.attributes["series_uid"] = EVIL
    volume.attributes["rescale"]["unit"] = EVIL
    html = volume._repr_html_()
    page = Page(html)
    assert "script" not in page.tags
    assert page.text.count(EVIL) == 5
    report = sansfilm.Report(
        archive=EVIL, problems=[Problem(EVIL, EVIL, ProblemCode.NOT_DICOM, EVIL)]
    )
    page = Page(report._repr_html_())
    assert "script" not in page.tags
    assert EVIL in page.text


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cards")
    for seed in range(15):
        synth.series(folder / "in" / str(seed), slices=2, rows=8, columns=8, seed=seed,
                     modality=("CT", "MR")[seed % 2])  # fmt: skip
    for number in range(3):
        (folder / "in" / f"ZZPHI {number}.txt").write_text("x")
    return sansfilm.ingest(folder / "in", folder / "a"), sansfilm.open(folder / "a")


def test_an_archive_is_told_in_a_table(archive):
    _, found = archive
    page = Page(found._repr_html_())
    assert "15 volumes" in page.text
    assert "8 CT, 7 MR" in page.text
    assert "and 3 more: see archive.volumes" in page.text
    assert page.tags.count("tr") == 1 + 12
    assert page.pictures == []


def test_a_selection_is_told_as_an_archive_is(archive):
    page = Page(archive[1].select(modality="MR")._repr_html_())
    assert "7 volumes" in page.text
    assert "more" not in page.text


def test_an_empty_archive_is_told_too(tmp_path):
    (tmp_path / "in").mkdir()
    report = sansfilm.ingest(tmp_path / "in", tmp_path / "a")
    assert "0 volumes" in Page(sansfilm.open(tmp_path / "a")._repr_html_()).text
    assert "0 volumes" in Page(report._repr_html_()).text


def test_a_report_is_told_with_its_problems(archive):
    report, _ = archive
    page = Page(report._repr_html_())
    assert "15 volumes (0 were there), 30 of 30 frames stored, 3 problems" in page.text
    assert "files: 33 seen, 30 dicom" in page.text
    assert "frames: 30 found, 30 stored, 0 in problems" in page.text
    row = page.texts.index("NOT_DICOM")
    assert page.texts[row - 2 : row + 2] == ["3", "headers", "NOT_DICOM",
        "The file is not DICOM (no preamble with DICM, PS3.10 section 7.1)."]  # fmt: skip


def test_nobody_is_named(archive):
    report, found = archive
    cards = [report._repr_html_(), found._repr_html_(), next(iter(found))._repr_html_()]
    keys = {row["patient_key"] for row in found.rows()}
    for card in cards:
        assert "ZZPHI" not in card
        assert not any(key in card for key in keys)
        assert "20260102" not in card
