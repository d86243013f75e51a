"""Offset tables and fragments that are wrong: the right frames all the same, or a problem (B11)."""

import struct
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
import pytest
import synth
from multiframe import (
    END,
    ITEM,
    codestreams,
    cut,
    encapsulated,
    item,
    pictures,
    plain,
    with_syntax,
    with_value,
)
from reading import frames_of, table_of

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.planning.frames import FrameBytes


def problem_of(path: Path, number_of_frames: int) -> ProblemCode:
    with pytest.raises(BadInstanceError) as caught:
        frames_of(path, number_of_frames)
    assert caught.value.message.isprintable()
    return caught.value.code


@pytest.fixture
def make(tmp_path):
    """Give a function that writes an object with these bytes as its Pixel Data value."""
    return partial(with_value, tmp_path / "a.dcm")


@pytest.mark.parametrize("change", [-2, 2, 390, -390])
def test_uncompressed_pixels_of_another_length(tmp_path, change):
    def other(ds):
        ds.NumberOfFrames = 5

    path = plain(tmp_path / "a.dcm", pictures(), edit=other)
    ds = pydicom.dcmread(path)
    ds.PixelData = (ds.PixelData + bytes(400))[: len(ds.PixelData) + change]
    ds.save_as(path)
    assert problem_of(path, 5) == ProblemCode.PIXEL_LENGTH


def test_uncompressed_pixels_that_are_cut(tmp_path):
    path = plain(tmp_path / "a.dcm", pictures())
    path.write_bytes(path.read_bytes()[:-10])
    assert problem_of(path, 5) == ProblemCode.TRUNCATED


def basic(frames: list[bytes], change=lambda offsets: offsets, pieces: int = 1) -> bytes:
    starts = [0]
    for frame in frames[:-1]:
        starts.append(starts[-1] + len(b"".join(cut(frame, pieces))))
    offsets = change(starts)
    return struct.pack(f"<{len(offsets)}I", *offsets)


WRONG = {
    "odd": lambda o: [*o[:2], o[2] + 1, *o[3:]],
    "out of order": lambda o: [o[0], o[2], o[1], *o[3:]],
    "twice": lambda o: [o[0], o[1], o[1], *o[3:]],
    "beyond the end": lambda o: [*o[:-1], 2**32 - 2],
    "not at an item": lambda o: [*o[:-1], o[-1] + 2],
    "without heads": lambda o: [offset - 8 * n for n, offset in enumerate(o)],
    "from the table": lambda o: [offset + 8 for offset in o],
    "zeros": lambda o: [0] * len(o),
    "too few": lambda o: o[:3],
    "only the first": lambda o: o[:1],
    "one missing, one added": lambda o: [*o[:1], *o[2:], o[-1] + 100],
    "too many": lambda o: [*o, o[-1] + 10],
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("pieces", [1, 3])
def test_wrong_tables_are_not_believed(make, change, pieces):
    frames = codestreams(synth.J2K)
    table = basic(frames, change, pieces)
    assert frames_of(make(encapsulated(frames, fragments=pieces, table=table)), 5) == frames


def test_tables_of_odd_size_are_not_believed(make):
    frames = codestreams(synth.J2K)
    for table in (b"\0\0\0", b"\0" * 18, b"\xff" * 20):
        assert frames_of(make(encapsulated(frames, table=table)), 5) == frames


@pytest.mark.parametrize("shift", [-1, 1])
def test_tables_that_are_off_by_a_fragment(make, shift):
    """All offsets are those of items, but a codestream begins within a frame."""
    frames = codestreams(synth.J2K)
    items = [len(part) for frame in frames for part in cut(frame, 3)]
    starts = [sum(items[:n]) for n in range(len(items))]
    offsets = [0, *(starts[3 * n + shift] for n in range(1, 5))]
    table = struct.pack("<5I", *offsets)
    assert frames_of(make(encapsulated(frames, fragments=3, table=table)), 5) == frames


EXTENDED = {
    "right": lambda o, n: (o, n),
    "wrong lengths": lambda o, n: (o, [length + 50 for length in n]),
    "no lengths": lambda o, n: (o, []),
    "too few": lambda o, n: (o[:2], n[:2]),
    "out of order": lambda o, n: (o[::-1], n),
    "beyond the end": lambda o, n: ([*o[:-1], 2**64 - 2], n),
    "odd": lambda o, n: ([*o[:-1], o[-1] - 1], n),
}


@pytest.mark.parametrize("change", EXTENDED.values(), ids=EXTENDED)
def test_extended_offset_tables(make, change):
    frames = codestreams(synth.J2K)
    offsets = [sum(len(f) + 8 for f in frames[:n]) for n in range(5)]
    offsets, lengths = change(offsets, list(map(len, frames)))
    path = make(
        encapsulated(frames, table="empty"),
        ExtendedOffsetTable=struct.pack(f"<{len(offsets)}Q", *offsets),
        ExtendedOffsetTableLengths=struct.pack(f"<{len(lengths)}Q", *lengths),
    )
    assert frames_of(path, 5) == frames


@pytest.mark.parametrize("table", ["basic", "empty"])
@pytest.mark.parametrize("syntax", [synth.J2K, synth.RLE])
def test_a_frame_without_bytes_costs_itself(make, table, syntax):
    frames = codestreams(syntax)
    frames[2] = b""
    found, raw = table_of(make(encapsulated(frames, table=table), syntax), 5)
    for index, frame in enumerate(found):
        data = raw[frame.offset : frame.offset + frame.length]
        if index != 2:
            assert frame.cut(data) == frames[index]
            continue
        with pytest.raises(BadInstanceError, match="is empty") as caught:
            frame.cut(data)
        assert caught.value.code == ProblemCode.BAD_FRAGMENTS


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_frame_that_lost_its_first_marker(make, pieces):
    frames = codestreams(synth.J2K)
    frames[3] = b"\0\0\0\0" + frames[3][4:]
    assert frames_of(make(encapsulated(frames, fragments=pieces, table="empty")), 5) == frames


def test_markers_that_are_not_known(make):
    frames = [bytes([number]) * 20 for number in range(1, 6)]
    assert frames_of(make(encapsulated(frames, table="empty")), 5) == frames
    assert frames_of(make(encapsulated(frames, fragments=2)), 5) == frames
    assert problem_of(make(encapsulated(frames, fragments=2, table="empty")), 5) == "BAD_FRAGMENTS"


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda f: encapsulated(f[:4]), ProblemCode.BAD_FRAGMENTS),
        (lambda f: encapsulated(f[:4], table="empty"), ProblemCode.BAD_FRAGMENTS),
        (lambda f: encapsulated([*f, f[0]]), ProblemCode.BAD_FRAGMENTS),
        (lambda f: encapsulated([*f, f[0]], table="empty"), ProblemCode.BAD_FRAGMENTS),
        (lambda f: encapsulated([b"".join(f)]), ProblemCode.BAD_FRAGMENTS),
        (lambda _: END, ProblemCode.BAD_FRAGMENTS),
        (lambda _: item(b"") + END, ProblemCode.BAD_FRAGMENTS),
        (lambda f: b"".join(f), ProblemCode.BAD_FRAGMENTS),
        (lambda f: encapsulated(f)[:-30], ProblemCode.TRUNCATED),
        (lambda f: encapsulated(f, close=False)[:-8], ProblemCode.TRUNCATED),
        (lambda f: encapsulated(f[:3], table="empty", close=False) + item(f[3][:-9] + b"\0"),
         ProblemCode.TRUNCATED),
        (lambda f: encapsulated(f, close=False) + b"garbage!", ProblemCode.BAD_FRAGMENTS),
        (lambda f: encapsulated(f, close=False) + ITEM + b"\xff" * 4,
         ProblemCode.BAD_FRAGMENTS),
        (lambda _: item(b""), ProblemCode.TRUNCATED),
        (lambda _: b"", ProblemCode.TRUNCATED),
    ],
    ids=["one too few", "one too few, no table", "one too many", "one too many, no table",
         "all in one", "nothing", "no fragment", "no items", "cut", "cut, no delimiter",
         "cut between frames", "no delimiter but more", "undefined length", "cut after the table",
         "cut before the table"],
)  # fmt: skip
def test_frames_that_cannot_be_found(make, build, expected):
    assert problem_of(make(build(codestreams(synth.J2K))), 5) == expected


def test_more_fragments_than_frames_where_each_is_one(make):
    frames = codestreams(synth.RLE)
    value = encapsulated(frames, fragments=2, table="empty")
    assert problem_of(make(value, synth.RLE), 5) == ProblemCode.BAD_FRAGMENTS
    assert frames_of(make(encapsulated(frames, fragments=2), synth.RLE), 5) == frames


def test_too_many_fragments(make):
    with pytest.raises(BadInstanceError, match="more than 1005 fragments") as caught:
        table_of(make(item(b"") * 1010 + END), 5, elements=1000)
    assert caught.value.code == ProblemCode.TOO_MANY_ELEMENTS


def test_lengths_that_do_not_suit_the_syntax(tmp_path):
    native = plain(tmp_path / "a.dcm", pictures())
    native.write_bytes(with_syntax(native.read_bytes(), synth.J2K))
    assert problem_of(native, 5) == ProblemCode.BAD_FRAGMENTS
    path = plain(tmp_path / "b.dcm", pictures(), bits=12, transfer_syntax=synth.RLE)
    path.write_bytes(with_syntax(path.read_bytes(), synth.EXPLICIT_LE))
    assert problem_of(path, 5) == ProblemCode.BAD_FRAGMENTS


def test_items_that_are_not_what_was_planned():
    """The file may have changed, and of a remote table not every frame is looked at."""
    good = item(b"abcd") + item(b"") + item(b"ef")
    frame = FrameBytes(100, len(good))
    assert frame.cut(good) == frame.cut(memoryview(good)) == b"abcdef"
    for bad in (b"x" + good[1:], good[:-10] + b"\0" * 10, item(b"a" * 23)[:-1]):
        with pytest.raises(BadInstanceError) as caught:
            FrameBytes(100, len(bad)).cut(bad)
        assert caught.value.code == ProblemCode.BAD_FRAGMENTS
    for place in (frame, FrameBytes(0, 26, 8 * 26)):
        with pytest.raises(BadInstanceError) as caught:
            place.cut(good[:-1])
        assert caught.value.code == ProblemCode.TRUNCATED


def test_mutated_pixel_data_gives_frames_or_problems(make):
    rng = np.random.default_rng(7)
    values = [
        (encapsulated(codestreams(syntax), fragments=pieces, table=table), syntax)
        for syntax, pieces in ((synth.J2K, 1), (synth.J2K, 3), (synth.RLE, 1))
        for table in ("basic", "empty")
    ]
    right = 0
    for turn in range(600):
        value, syntax = bytearray(values[turn % 6][0]), values[turn % 6][1]
        for _ in range(rng.integers(1, 4)):
            heads = [at for at in range(len(value) - 8) if value[at : at + 4] == ITEM]
            place = int(rng.choice(heads)) + int(rng.integers(0, 8)) if heads else 0
            if rng.random() < 0.3:
                place = int(rng.integers(0, 60))
            value[place] = int(rng.integers(0, 256))
        try:
            frames_of(make(bytes(value), syntax), 5)
            right += 1
        except BadInstanceError as exc:
            outcome = exc.code
        else:
            outcome = None
        assert outcome in (None, "BAD_FRAGMENTS", "TRUNCATED")
    assert 30 < right < 570
