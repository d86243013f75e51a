"""Frames in every syntax, with and without offset tables."""

import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
import pytest
import synth
from multiframe import BITS, END, codestreams, encapsulated, item, pictures, plain, with_value
from pydicom.encaps import generate_fragments, generate_frames
from reading import frames_of, table_of

from sansfilm.model import Frame
from sansfilm.planning import fragments
from sansfilm.planning.frames import FrameBytes, FrameTable
from sansfilm.planning.pixels import read_frame


@pytest.fixture
def make(tmp_path):
    """Give a function that writes an object with these bytes as its Pixel Data value."""
    return partial(with_value, tmp_path / "a.dcm")


# -------------------------------------------------------------------------------- uncompressed


@pytest.mark.parametrize("syntax", synth.NATIVE)
@pytest.mark.parametrize("kind", BITS)
def test_words(tmp_path, syntax, kind):
    stored = pictures(kind)
    path = plain(
        tmp_path / "a.dcm", stored, bits=BITS[kind], transfer_syntax=syntax
    )  # fmt: skip
    order = ">" if syntax == synth.EXPLICIT_BE else "<"
    words = stored.astype(stored.dtype.newbyteorder(order))
    assert frames_of(path, 5) == [frame.tobytes() for frame in words]


def test_colour(tmp_path):
    stored = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3), np.uint8)
    path = plain(tmp_path / "a.dcm", stored)
    assert frames_of(path, 3) == [frame.tobytes() for frame in stored]

    def halved(ds):
        ds.PhotometricInterpretation, ds.SamplesPerPixel = "YBR_FULL_422", 3

    half = stored[..., :2]
    path = plain(tmp_path / "b.dcm", half, edit=halved)
    assert frames_of(path, 3) == [frame.tobytes() for frame in half]


@pytest.mark.parametrize("shape", [(5, 3, 5), (3, 8, 8), (4, 1, 1), (9, 5, 7)])
def test_single_bits_wherever_a_frame_begins(tmp_path, shape):
    stored = np.random.default_rng(0).random(shape) < 0.5
    path = plain(tmp_path / "a.dcm", stored)
    expected = [np.packbits(frame.ravel(), bitorder="little").tobytes() for frame in stored]
    assert frames_of(path, len(stored)) == expected


def test_single_bits_of_real_files(shared_data):
    for name in ("liver_nonbyte_aligned", "liver_expb"):
        path = shared_data / "seg" / "pydicom-liver" / f"{name}.dcm"
        ds = pydicom.dcmread(path)
        for frame, expected in zip(frames_of(path, 3), ds.pixel_array, strict=True):
            bits = np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")
            assert (bits[: expected.size] == expected.ravel()).all()
            assert not bits[expected.size :].any()


# ---------------------------------------------------------------------------------- compressed


@pytest.mark.parametrize("syntax", synth.LOSSLESS)
@pytest.mark.parametrize("table", ["basic", "empty", "extended"])
def test_every_syntax_and_table(tmp_path, syntax, table):
    def bits(ds):
        ds.BitsStored, ds.HighBit = 12, 11

    path = plain(tmp_path / "a.dcm", pictures(), transfer_syntax=syntax, table=table, edit=bits)
    assert frames_of(path, 5) == codestreams(syntax)


@pytest.mark.parametrize(
    ("syntax", "close"),
    [(synth.J2K, True), (synth.J2K, False), (synth.JPEG_LS, True), (synth.JPEG_LS, False),
     (synth.JPEG_LOSSLESS, True), (synth.JPEG_LOSSLESS, False), (synth.JPEG_XL, True)],
)  # fmt: skip
@pytest.mark.parametrize("pieces", [1, 2, 7])
@pytest.mark.parametrize("table", ["basic", "empty"])
def test_frames_in_several_fragments(make, syntax, pieces, table, close):
    frames = codestreams(syntax)
    path = make(encapsulated(frames, fragments=pieces, table=table, close=close), syntax)
    assert frames_of(path, 5) == frames


def test_one_fragment_syntaxes_need_no_delimiter(make):
    for table in ("basic", "empty"):
        frames = codestreams(synth.RLE)
        path = make(encapsulated(frames, table=table, close=False), synth.RLE)
        assert frames_of(path, 5) == frames


def test_empty_fragments_are_no_frames(make):
    frames = codestreams(synth.J2K)
    value = item(b"") + b"".join(item(b"") + item(frame) + item(b"") for frame in frames) + END
    assert frames_of(make(value), 5) == frames


def test_what_follows_is_header(make):
    trailing = b"\xfc\xff\xfc\xffOB\0\0\x04\0\0\0\0\0\0\0"
    frames = codestreams(synth.J2K)
    for table in ("basic", "empty"):
        found, raw = table_of(make(encapsulated(frames, table=table) + trailing), 5)
        assert raw[found.element_end :] == trailing
        assert raw[found.element_offset :].startswith(b"\xe0\x7f\x10\x00OB")
        assert found.header_length == found.element_offset + len(trailing)


def test_a_table_is_a_sequence_of_frames():
    table = FrameTable(
        element_offset=0, element_end=0, total=0, prefix=0, count=2, start=10, frame_bits=12
    )
    assert list(table) == [FrameBytes(10, 2, 12, 0), FrameBytes(11, 2, 12, 4)]
    for beyond in (-1, 2):
        with pytest.raises(IndexError):
            table[beyond]


# ------------------------------------------------------- single frames, pydicom, all real files


def check_single(path: Path, frame: Frame) -> None:
    """Find the fragments that pydicom finds, joined; or the words of an uncompressed frame."""
    ds = pydicom.dcmread(path)
    if "PixelData" not in ds:  # floating-point pixels are in another element
        return
    data = ds.PixelData
    if ds["PixelData"].is_undefined_length:
        data = b"".join(bytes(part) for part in list(generate_fragments(data))[1:])
    codestream, _ = read_frame(frame)
    assert codestream == data[: len(codestream)]
    assert len(data) - len(codestream) <= 1  # padding to an even length


def check_files(folder: Path, read) -> tuple[int, int]:
    single = several = 0
    for path in sorted(folder.rglob("*")):
        found = read(path) if path.is_file() else None
        if isinstance(found, Frame):
            check_single(path, found)
            single += 1
        elif path.is_file() and path.read_bytes()[128:132] == b"DICM":
            several += check_multiframe(path)
    return single, several


def check_multiframe(path: Path) -> bool:
    try:
        ds = pydicom.dcmread(path)
        number_of_frames = int(ds.get("NumberOfFrames") or 1)
    except (ValueError, OSError):
        return False
    if number_of_frames == 1 or "PixelData" not in ds:
        return False
    frames = frames_of(path, number_of_frames)
    if ds["PixelData"].is_undefined_length:
        reference = list(generate_frames(ds.PixelData, number_of_frames=number_of_frames))
    elif ds.BitsAllocated == 1:
        return True
    else:
        size = len(ds.PixelData) // number_of_frames
        reference = [ds.PixelData[n * size : n * size + size] for n in range(number_of_frames)]
    assert frames == reference
    return True


@pytest.mark.filterwarnings("ignore")  # of pydicom
def test_our_files(data, read):
    single, several = check_files(data, read)
    assert (single > 80, several) == (True, 4)


@pytest.mark.filterwarnings("ignore")  # of pydicom
def test_all_files(shared_data, read):
    single, several = check_files(shared_data, read)
    assert single > 300
    assert several > 40


@pytest.mark.filterwarnings("ignore")  # of pydicom
def test_files_of_pydicom(read):
    folder = Path(pydicom.data.__file__).parent / "test_files"
    single, several = check_files(folder, read)
    assert single > 15
    assert several > 5


@pytest.mark.parametrize("table", [b"", b"\0\0\0\0", b"1234", b"\0\0\0"])
@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_one_frame_is_as_locate_has_it(make, read, table, pieces):
    path = make(encapsulated(codestreams(synth.J2K)[:1], fragments=pieces, table=table))
    check_single(path, read(path))


# ------------------------------------------------------------------------------- what it costs


class Counting:
    """A source that counts what is read of it."""

    def __init__(self, path: Path, *, remote: bool) -> None:
        self.raw = path.read_bytes()
        self.size, self.modified_ns = len(self.raw), None if remote else 1
        self.reads: list[int] = []

    def read(self, offset: int, length: int) -> bytes:
        data = self.raw[offset : offset + length]
        self.reads.append(len(data))
        return data


@pytest.mark.parametrize("table", ["basic", "empty"])
def test_local_files_are_read_at_the_heads_only(make, table):
    frames = [b"\xff\x4f\xff\x51" + bytes(20_000) + b"\xff\xd9" for _ in range(50)]
    path = make(encapsulated(frames, table=table))
    source = Counting(path, remote=False)
    table_of(path, 50, source)
    assert max(source.reads) <= 200  # the offset table
    assert sum(source.reads) < 100 * 24 + 200


def test_remote_files_are_asked_a_few_times(make, monkeypatch):
    monkeypatch.setattr(fragments, "_BLOCK", 2**14)
    frames = [b"\xff\x4f\xff\x51" + bytes(1000) + b"\xff\xd9" for _ in range(2000)]
    path = make(encapsulated(frames))
    with_table = Counting(path, remote=True)
    found, _ = table_of(path, 2000, with_table)
    assert len(with_table.reads) < 150
    path = make(encapsulated(frames, table="empty"))
    walked = Counting(path, remote=True)
    table_of(path, 2000, walked)
    assert len(walked.reads) < 150
    large = [b"\xff\x4f\xff\x51" + bytes(2**15) + b"\xff\xd9" for _ in range(50)]
    path = make(encapsulated(large, table="empty"))
    source = Counting(path, remote=True)
    table_of(path, 50, source)
    assert len(source.reads) < 60
    assert sum(source.reads) < 50 * 2**14  # less than half of the pixels
    assert len(found) == 2000


def test_a_hundred_thousand_frames(make):
    count = 100_000
    frame = item(b"\xff\x4f\xff\x51..\xff\xd9")
    path = make(item(b"") + frame * count + END)
    source = Counting(path, remote=False)
    source.reads = type("Nothing", (), {"append": staticmethod(lambda _: None)})()
    tracemalloc.start()
    try:
        found, _ = table_of(path, count, source)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found[count - 1].length == len(frame)
    assert kept - path.stat().st_size < 3e6
    assert peak < 2e7
