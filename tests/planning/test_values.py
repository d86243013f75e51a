"""Values out of a header: what is read as it stands, and what is refused."""

import struct

import pytest
import synth
from pydicom.datadict import tag_for_keyword

from sansfilm.errors import Problem, ProblemCode
from sansfilm.options import Budgets
from sansfilm.planning import dataset
from sansfilm.planning.values import TAGS, is_uid


def test_keywords_are_those_of_the_standard():
    assert {keyword: tag_for_keyword(keyword) for keyword in TAGS} == TAGS


@pytest.fixture
def made(tmp_path, read):
    """Give a function that writes one instance with changed elements, and reads it."""

    def make(*changes, transfer_syntax=synth.EXPLICIT_LE):
        data = synth.series(tmp_path, slices=1, transfer_syntax=transfer_syntax).paths[0]
        raw = data.read_bytes()
        for tag, vr, value in changes:
            raw = replace(raw, tag, vr, value)
        return read(raw)

    return make


def replace(raw: bytes, keyword: str, vr: bytes, value: bytes, *, keep: bool = False) -> bytes:
    """Replace an element of an explicit little endian file by raw bytes; add it if absent.

    With `keep` the new element stands beside the old one.
    """
    tag = TAGS[keyword]
    start = dataset.read_meta(raw, len(raw))[1]
    walked = dataset.walk(raw, start, dataset.EXPLICIT_LE, len(raw), Budgets())
    large = vr in (b"OW", b"UN", b"OB", b"UT")
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    head += struct.pack("<HI", 0, len(value)) if large else struct.pack("<H", len(value))
    starts = {t: s - (12 if v in (b"OW", b"UN", b"OB", b"SQ", b"UT") else 8)
              for t, (v, s, _) in walked.elements.items()}  # fmt: skip
    if tag in starts:
        _, offset, length = walked.elements[tag]
        before, after = raw[: starts[tag]], raw[offset + length :]
        if keep:
            before = raw[: offset + length]
        return before + head + value + after
    following = [s for t, s in starts.items() if t > tag] + [walked.pixel[2]]
    return raw[: min(following)] + head + value + raw[min(following) :]


US = b"US"
GOOD = (32).to_bytes(2, "little")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1.2.840", True), ("1", True), ("1" * 64, True), ("1" * 65, False), ("", False),
     ("1..2", False), (".1", False), ("1.", False), ("1.2/3", False), ("../../x", False),
     ("1.2\x00", False), ("1.2 ", False), ("1.²", False), ("1.٣", False), ("a.b", False),
     ("1.2\n", False), ("1.02", True)],
)  # fmt: skip
def test_is_uid(text, expected):
    assert is_uid(text) is expected


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"])
@pytest.mark.parametrize(
    "value",
    [b"../../etc/passwd", b"1.2/3.4 ", b"1.2\\3.4 ", b"1.2\x003.4", b"1." * 32 + b"12", b"..",
     "1.2.é".encode(), b"\x001.2.3", b"1.2\n3 ", b"1.2.3\x1b[31m"],
)  # fmt: skip
def test_hostile_uids(made, keyword, value):
    problem = made((keyword, b"UI", value))
    assert problem.code == ProblemCode.BAD_UID
    assert problem.message.isprintable()


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("value", [b"", b"\0\0", b"  "])
def test_missing_uids(made, keyword, value):
    problem = made((keyword, b"UI", value))
    assert (problem.code, problem.frames) == (ProblemCode.BAD_UID, 1)
    assert "missing" in problem.message


def test_padding_of_uids_is_no_part_of_them(made):
    for padded in (b"1.2.3\0", b"1.2.3 ", b"1.2.3  \0"):
        assert made(("SeriesInstanceUID", b"UI", padded)).series_uid == "1.2.3"


def test_optional_uids_may_be_empty(made):
    header = made(("FrameOfReferenceUID", b"UI", b""), ("StudyInstanceUID", b"UI", b""))
    assert (header.frame_of_reference_uid, header.study_uid) == (None, "")


@pytest.mark.parametrize(
    "change",
    [
        ("Rows", b"UL", b"\x20\0\0\0"),
        ("Rows", US, GOOD + GOOD),
        ("Rows", US, b"\x20"),
        ("Rows", US, b""),
        ("Rows", b"IS", b"32"),
        ("Rows", US, b"\0\0"),
        ("Columns", US, b"\0\0"),
        ("BitsAllocated", US, b""),
        ("BitsStored", US, b"\0\0"),
        ("BitsStored", US, b"\x11\0"),
        ("HighBit", US, b"\x10\0"),
        ("HighBit", US, b"\x05\0"),
        ("PixelRepresentation", US, b"\2\0"),
        ("RescaleSlope", b"DS", b"0 "),
        ("RescaleSlope", b"DS", b"0.0E5 "),
        ("RescaleSlope", b"DS", b"1E-400"),
        ("RescaleSlope", b"DS", b"nan "),
        ("RescaleSlope", b"DS", b"1E400 "),
        ("RescaleSlope", b"DS", b"1E308 "),
        ("RescaleSlope", b"DS", b"inf "),
        ("RescaleSlope", b"DS", b"1E-20 "),
        ("RescaleSlope", b"DS", b"1\\2 "),
        ("RescaleSlope", b"DS", b"1,5 "),
        ("RescaleSlope", b"DS", b"1_0 "),
        ("RescaleSlope", b"DS", b"1\x000 "),
        ("RescaleIntercept", b"DS", b"-1E400"),
        ("RescaleIntercept", b"DS", b"x "),
        ("ImagePositionPatient", b"DS", b"1\\2 "),
        ("ImagePositionPatient", b"DS", b"1\\2\\3\\4 "),
        ("ImagePositionPatient", b"DS", b"1,0\\2,0\\3,0"),
        ("ImagePositionPatient", b"DS", b"1\\2\\nan "),
        ("ImagePositionPatient", b"DS", b"1\\2\\1e9 "),
        ("ImagePositionPatient", b"UT", b"1\\2\\3" + b" " * 70_000),
        ("ImageOrientationPatient", b"DS", b"1\\0\\0\\0\\1"),
        ("ImageOrientationPatient", b"DS", b"1\\0\\0\\1\\0\\0 "),
        ("ImageOrientationPatient", b"DS", b"0\\0\\0\\0\\0\\0 "),
        ("ImageOrientationPatient", b"DS", b"2\\0\\0\\0\\1\\0 "),
        ("PixelSpacing", b"DS", b"0\\0 "),
        ("PixelSpacing", b"DS", b"-1\\1"),
        ("PixelSpacing", b"DS", b"1 "),
        ("PixelSpacing", b"DS", b"1\\2\\3 "),
        ("PixelSpacing", b"DS", b"1\\inf "),
        ("PixelSpacing", b"DS", b"1E-300\\1"),
        ("NumberOfFrames", b"IS", b"9x"),
        ("NumberOfFrames", b"IS", b"-1"),
        ("NumberOfFrames", b"IS", b"0 "),
        ("NumberOfFrames", b"IS", b"1.0 "),
        ("NumberOfFrames", b"IS", "²".encode("latin-1") + b" "),
    ],
    ids=lambda change: f"{change[0]}={change[2][:16]!r}",
)
def test_values_that_would_place_pixels_wrongly(made, change):
    problem = made(change)
    assert isinstance(problem, Problem)
    assert (problem.code, problem.frames) == (ProblemCode.BAD_VALUE, 1)
    assert change[0] in problem.message or "bits" in problem.message or "image" in problem.message


@pytest.mark.parametrize(
    "change",
    [("NumberOfFrames", b"IS", b"2147483648"), ("NumberOfFrames", b"UT", b"9" * 5000)],
)
def test_too_many_frames(made, change):
    assert made(change).code == ProblemCode.BUDGET


@pytest.mark.parametrize(
    "keyword", ["Rows", "PixelSpacing", "ImagePositionPatient", "RescaleSlope", "SeriesInstanceUID"]
)
def test_an_element_that_stands_twice(tmp_path, read, keyword):
    raw = synth.series(tmp_path, slices=1).paths[0].read_bytes()
    vr = {"Rows": b"US", "SeriesInstanceUID": b"UI"}.get(keyword, b"DS")
    problem = read(replace(raw, keyword, vr, b"1 ", keep=True))
    assert problem.code in (ProblemCode.BAD_VALUE, ProblemCode.BAD_UID)
    assert "twice" in problem.message


def test_missing_elements_have_their_defaults(tmp_path, read):
    def drop(ds, _):
        for name in ("RescaleSlope", "RescaleIntercept", "SliceThickness", "WindowCenter",
                     "PhotometricInterpretation", "PixelRepresentation", "HighBit", "BitsStored",
                     "SamplesPerPixel", "RescaleType"):  # fmt: skip
            delattr(ds, name)
        ds.NumberOfFrames = None

    header = read(synth.series(tmp_path, slices=1, edit=drop).paths[0])
    assert (header.slope, header.intercept, header.windows) == (1.0, 0.0, ())
    assert (header.spec.bits_stored, header.spec.high_bit) == (16, 15)
    assert (header.slice_thickness, header.unit) == (None, "HU")


def test_no_rows(tmp_path, read):
    def drop(ds, _):
        del ds.Rows

    assert read(synth.series(tmp_path, slices=1, edit=drop).paths[0]).code == ProblemCode.BAD_VALUE


def test_blanks_around_numbers(made):
    header = made(("ImagePositionPatient", b"DS", b" 1 \\ -2.50\\+3e0 \0"))
    assert header.position == (1.0, -2.5, 3.0)


def test_integers_that_no_integer_string_can_hold_are_dropped(made):
    for value in (b"9" * 40, b"1_0 ", b"12\\13 ", b"x "):
        assert made(("InstanceNumber", b"IS", value)).instance_number is None


@pytest.mark.parametrize("value", [b"CT\x1b[31m ", b"C" * 17 + b" ", b"C\nT "])
def test_code_strings_are_short_and_printable(made, value):
    assert made(("Modality", b"CS", value)).modality == ""
    problem = made(("PhotometricInterpretation", b"CS", value + b"\\ZZPHI"))
    assert problem is None or "ZZPHI" not in getattr(problem, "message", "")


def test_dates_are_text(made):
    for value in (b"0000", b"20261340", b"", b"2026.01.02"):
        header = made(("AcquisitionDate", b"DA", value))
        assert header.extra.get("AcquisitionDate") == (value.decode() or None)
