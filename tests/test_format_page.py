"""docs/format.md names every key, attribute and column of an archive, and no others."""

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import synth
from slides import slide

import sansfilm
from sansfilm.catalogue import table
from sansfilm.verdict import MEANINGS

PAGE = Path(__file__).parents[1] / "docs" / "format.md"
if not PAGE.is_file():  # a source distribution has none
    pytest.skip("there are no docs here", allow_module_level=True)


def rows(heading, which=0):
    """Return the nth table below a heading of the page: first column and the rest of each row."""
    _, _, section = PAGE.read_text(encoding="utf-8").partition(f"\n{heading}\n")
    assert section, heading
    tables = re.findall(r"(?:^\|.*\n)+", section, flags=re.MULTILINE)
    return [row.strip("| ").split(" | ", 1) for row in tables[which].splitlines()[2:]]


def names_in(text):
    return set(re.findall(r"`([^`]+)`", text))


def named(heading, which=0):
    """Return the names in the first column of a table."""
    return {name for first, _ in rows(heading, which) for name in names_in(first)}


@pytest.fixture(scope="module")
def archive(tmp_path_factory, data):
    """Make volumes of every verdict, and of every kind that has attributes of its own."""
    folder = tmp_path_factory.mktemp("format")

    def gap(dataset, index):
        if index == 4:
            dataset.ImagePositionPatient[2] = float(dataset.ImagePositionPatient[2]) + 50

    def uneven(dataset, index):
        dataset.ImagePositionPatient[2] = float(dataset.ImagePositionPatient[2]) + index**2 / 4

    synth.series(folder / "gap", slices=5, spacing=(10, 1, 1), seed=1, edit=gap)
    synth.series(folder / "uneven", slices=5, seed=2, edit=uneven)
    slide(folder / "slide")
    names = ("ct-tilt-jpegls", "mr-asl", "rt", "seg", "us-cine", "endian-deflated", "malformed")
    sources = [*(data / name for name in names), folder / "gap", folder / "uneven"]
    sansfilm.ingest([*sources, folder / "slide"], folder / "archive")
    return sansfilm.open(folder / "archive")


def everything(archive, of):
    return set().union(*(of(volume) for volume in archive))


def test_attributes(archive):
    own = everything(archive, lambda volume: volume.attributes)
    assert own == named("## Attributes") | named("## Attributes", 1)
    some = {"segmentation", "slide"}
    assert named("## Attributes", 1) == some
    for volume in archive:
        assert volume.attributes.keys() >= own - some


def test_every_verdict_has_a_meaning(archive):
    found = {volume.verdict.code for volume in archive}
    assert found | {"resampled"} == MEANINGS.keys()  # that one is never stored


def test_numbers_of_verdicts(archive):
    """Dimensions of several are not in this archive: what makes them is in test_axes."""
    told = everything(archive, lambda volume: volume.verdict.numbers)
    assert told | {"dimensions"} == named("### Verdict numbers")


def test_attributes_for_other_readers(archive):
    assert everything(archive, lambda volume: volume.ome) == named("## OME attributes")
    levels = everything(archive, lambda volume: volume.array.attrs.asdict())
    assert levels == named("## Levels")


def test_what_attributes_hold_is_named(archive):
    """Names within an attribute are in its row."""
    told = dict(rows("## Attributes") + rows("## Attributes", 1))
    told = {first: names_in(rest) for first, rest in told.items()}
    for volume in archive:
        for name in ("verdict", "rescale", "lossy", "slide", "segmentation"):
            assert set(volume.attributes.get(name, ())) <= told[f"`{name}`"], name
        for name in ("windows", "voi_luts"):
            for each in volume.attributes[name]:
                assert each.keys() == told[f"`{name}`"], name
        for values in volume.attributes["axes_values"].values():
            assert values.keys() <= told["`axes_values`"]


def test_the_frame_table(archive):
    columns = everything(archive, lambda volume: list(volume.frames.columns))
    assert {name for name in columns if not name[0].isupper()} == named("## The frame table")


def test_the_commit_record(archive):
    records = [json.loads(Path(volume.uri, "_commit.json").read_bytes()) for volume in archive]
    for record in records:
        assert record.keys() == named("## The commit record")


def test_the_catalogue(archive):
    tables = (table.VOLUMES, table.PATIENTS, table.OBJECTS, table.PROBLEMS)
    for number, name in enumerate(tables):
        assert set(table.SCHEMAS[name].names) == named("## The catalogue", number), name
        files = list(Path(archive.url, name).iterdir())
        assert all(pq.read_schema(file).names == table.SCHEMAS[name].names for file in files)
    assert table.SCHEMAS[table.SEGMENTS] == table.SCHEMAS[table.VOLUMES]


def test_every_key_is_of_a_form_that_the_page_has(archive):
    def pattern(form):
        escaped = re.escape(form)
        escaped = escaped.replace("/\\.\\.\\.", "(/[0-9]+)*").replace("<index>", "[0-9]+")
        return re.sub(r"<[^>]+>", r"[0-9a-f.]+", escaped) + "$"

    root, volume = (named("## Keys", number) for number in (0, 1))
    below = "series/<SeriesInstanceUID>/<volume_id>/"
    assert below in root
    forms = {form for form in root if not form.endswith("/")} | {below + key for key in volume}
    patterns = {form: re.compile(pattern(form)) for form in forms}
    used = set()
    for path in Path(archive.url).rglob("*"):
        if path.is_file():
            key = path.relative_to(archive.url).as_posix()
            found = {form for form, compiled in patterns.items() if compiled.match(key)}
            assert found, key
            used |= found
    unused = {form for form in forms - used if not form.startswith("catalogue/segments")}
    assert not unused
