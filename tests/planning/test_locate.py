"""Fragments and offset tables: the right bytes where they can be told, else BAD_FRAGMENTS (B11)."""

import struct

import numpy as np
import pydicom
import pytest
import synth
from pydicom.encaps import encapsulate, generate_fragments

from sansfilm.errors import ProblemCode
from sansfilm.model import Frame
from sansfilm.planning.pixels import read_frame

ITEM, END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"


def item(data: bytes) -> bytes:
    return ITEM + struct.pack("<I", len(data)) + data


@pytest.fixture
def frame(tmp_path):
    """Give one JPEG 2000 codestream, of even length."""
    stored = synth.phantom(np.random.default_rng(0), (1, 32, 40))[0]
    codestream = synth.encode(stored, synth.J2K, 12)
    return codestream + b"\0" * (len(codestream) % 2)


@pytest.fixture
def with_items(tmp_path, read):
    """Give a function that reads an instance with these bytes as its Pixel Data value."""

    def make(value: bytes, syntax: str = synth.J2K, **budgets: int):
        raw = synth.series(tmp_path, slices=1, transfer_syntax=syntax).paths[0].read_bytes()
        start = raw.index(b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff") + 12
        return read(raw[:start] + value, **budgets)

    return make


TABLES = {
    "empty": b"",
    "right": struct.pack("<I", 0),
    "wrong": struct.pack("<I", 12345),
    "odd": b"\0\0\0",
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_one_frame_whatever_its_offset_table(with_items, frame, table, count):
    pieces = [frame[start : start + 300] for start in range(0, len(frame), 300)][: count - 1]
    pieces.append(frame[sum(map(len, pieces)) :])
    header = with_items(item(table) + b"".join(map(item, pieces)) + END)
    assert read_frame(header)[0] == frame


def test_empty_fragments_are_dropped(with_items, frame):
    header = with_items(item(b"") + item(b"") + item(frame) + item(b"") + END)
    assert read_frame(header)[0] == frame


def test_what_follows_is_kept(with_items, frame):
    trailing = b"\xfc\xff\xfc\xffOB\0\0\x04\0\0\0\0\0\0\0"
    header = with_items(item(b"") + item(frame) + END + trailing)
    codestream, outside = read_frame(header)
    assert codestream == frame
    assert outside.endswith(trailing)


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda _: item(b"") + END, ProblemCode.BAD_FRAGMENTS),
        (lambda _: END, ProblemCode.BAD_FRAGMENTS),
        (lambda _: item(b"") + item(b"") + END, ProblemCode.BAD_FRAGMENTS),
        (lambda f: item(b"") + f, ProblemCode.BAD_FRAGMENTS),
        (lambda f: f, ProblemCode.BAD_FRAGMENTS),
        (lambda f: item(b"") + ITEM + b"\xff\xff\xff\xff" + f, ProblemCode.BAD_FRAGMENTS),
        (lambda f: item(b"") + ITEM + b"\xf0\xff\xff\xff" + f, ProblemCode.TRUNCATED),
        (lambda f: item(b"") + ITEM + struct.pack("<I", len(f) + 2) + f, ProblemCode.TRUNCATED),
        (lambda _: item(b""), ProblemCode.TRUNCATED),
        (lambda f: item(b"") + item(f[:500]) + item(f[500:900]), ProblemCode.TRUNCATED),
        (lambda f: item(struct.pack("<II", 0, len(f) + 8)) + item(f) * 2 + END,
         ProblemCode.BAD_FRAGMENTS),
        (lambda f: item(b"") + item(f) * 2 + END, ProblemCode.BAD_FRAGMENTS),
    ],
    ids=["no fragment", "nothing", "empty", "no item", "no table", "undefined length",
         "beyond the file", "one byte short", "cut after the table", "cut between fragments",
         "two frames by the table", "two codestreams"],
)  # fmt: skip
def test_fragments_that_cannot_be_followed(with_items, frame, build, expected):
    problem = with_items(build(frame))
    assert (problem.code, problem.frames) == (expected, 1)


def test_a_missing_delimiter_costs_nothing_when_all_is_there(with_items, frame):
    for value in (item(frame), item(frame[:500]) + item(frame[500:])):
        header = with_items(item(b"") + value)
        assert read_frame(header)[0] == frame


def test_too_many_fragments(with_items):
    problem = with_items(item(b"") * 300_000, elements=200_000)
    assert problem.code == ProblemCode.TOO_MANY_ELEMENTS


def test_compressed_pixels_of_defined_length(tmp_path, read, frame):
    def change(ds, _):
        ds["PixelData"].is_undefined_length = False
        ds.PixelData = frame

    raw = synth.series(tmp_path, slices=1).paths[0].read_bytes()
    fake = raw.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0", 1)
    assert read(fake).code == ProblemCode.BAD_FRAGMENTS


def test_encapsulated_pixels_in_an_uncompressed_syntax(tmp_path, read):
    raw = synth.series(tmp_path, slices=1, transfer_syntax=synth.RLE).paths[0].read_bytes()
    fake = raw.replace(b"1.2.840.10008.1.2.5\0", b"1.2.840.10008.1.2.1\0", 1)
    assert read(fake).code == ProblemCode.BAD_FRAGMENTS


@pytest.mark.parametrize("syntax", synth.NATIVE)
@pytest.mark.parametrize("change", [-80, -2, 2, 80, 32 * 40 * 2])
def test_native_pixels_of_another_length(tmp_path, read, syntax, change):
    def edit(ds, _):
        data = ds.PixelData
        ds.PixelData = data[:change] if change < 0 else data + b"\0" * change

    problem = read(synth.series(tmp_path, slices=1, transfer_syntax=syntax, edit=edit).paths[0])
    assert (problem.code, problem.frames) == (ProblemCode.PIXEL_LENGTH, 1)


@pytest.mark.parametrize("syntax", synth.NATIVE)
def test_an_odd_number_of_bytes_is_padded(tmp_path, read, syntax):
    eight = {"bits_allocated": 8, "bits_stored": 8, "rows": 5, "columns": 7}
    made = synth.series(tmp_path, slices=1, transfer_syntax=syntax, **eight)
    header = read(made.paths[0])
    assert read_frame(header)[0] == made.stored[0].tobytes()
    assert header.pixels.total == header.pixels.element_end


def test_fragments_of_real_files(shared_data, read):
    seen = 0
    for path in sorted((shared_data / "compressed").rglob("*")):
        if not path.is_file() or not isinstance(header := read(path), Frame):
            continue
        if header.spec.transfer_syntax in synth.NATIVE:
            continue
        ds = pydicom.dcmread(path)
        fragments = [bytes(part) for part in generate_fragments(ds.PixelData)][1:]
        assert read_frame(header)[0] == b"".join(fragments)
        seen += 1
    assert seen > 30


def test_encapsulate_of_pydicom(with_items, frame):
    for fragments in (1, 2, 9):
        for has_bot in (True, False):
            value = encapsulate([frame], fragments_per_frame=fragments, has_bot=has_bot)
            assert read_frame(with_items(value + END))[0] == frame
