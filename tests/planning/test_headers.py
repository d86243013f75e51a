"""Headers against pydicom, and files that are cut, damaged or beyond what this release places."""

import hashlib
import time
import warnings
from dataclasses import fields

import numpy as np
import pydicom
import pytest
import synth
from pydicom.encaps import encapsulate

from sansfilm.decode import syntaxes
from sansfilm.errors import Problem, ProblemCode
from sansfilm.model import Document, FileRef, Frame
from sansfilm.options import Budgets, Options
from sansfilm.planning import frames, headers
from sansfilm.planning.frames import FrameBytes
from sansfilm.planning.grouping import plan_volumes
from sansfilm.planning.pixels import read_frame

SINGLE_PATIENT = "ZZPHI"


def problem_of(result) -> ProblemCode:
    assert isinstance(result, Problem)
    assert result.message.isprintable()
    assert SINGLE_PATIENT not in result.message
    return result.code


# ------------------------------------------------------------------------- against pydicom


def check_against_pydicom(header: Frame, path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(path)
        if "SharedFunctionalGroupsSequence" in ds:
            return  # their facts are in the groups: test_functional_groups.py

        def floats(keyword):
            value = ds.get(keyword)
            if value is None or value == "":
                return None
            return tuple(float(part) for part in (value if hasattr(value, "__iter__") else [value]))

        assert header.sop_instance_uid == str(ds.SOPInstanceUID)
        assert header.sop_class_uid == str(ds.get("SOPClassUID", ""))
        assert header.series_uid == str(ds.SeriesInstanceUID)
        assert header.study_uid == str(ds.get("StudyInstanceUID", ""))
        assert header.frame_of_reference_uid == (str(ds.get("FrameOfReferenceUID", "")) or None)
        assert header.modality == (ds.get("Modality") or "")
        spec = header.spec
        assert spec.transfer_syntax == ds.file_meta.TransferSyntaxUID
        assert (spec.rows, spec.columns) == (ds.Rows, ds.Columns)
        assert (spec.bits_allocated, spec.bits_stored) == (ds.BitsAllocated, ds.BitsStored)
        assert (spec.high_bit, spec.pixel_representation) == (ds.HighBit, ds.PixelRepresentation)
        assert spec.photometric == ds.PhotometricInterpretation
        position, orientation = floats("ImagePositionPatient"), floats("ImageOrientationPatient")
        assert header.position == (position if orientation else None)
        assert header.orientation == (orientation if position else None)
        spacing = floats("PixelSpacing") or floats("ImagerPixelSpacing")
        assert header.pixel_spacing == spacing or header.spacing_kind == "region"
        assert (header.slice_thickness,) == (floats("SliceThickness") or (None,))
        slope = floats("RescaleSlope") or floats("DoseGridScaling") or (1.0,)
        assert (header.slope,) == slope
        assert (header.intercept,) == (floats("RescaleIntercept") or (0.0,))
        number = ds.get("InstanceNumber")
        assert header.instance_number == (None if number is None else int(number))
        assert header.identity.patient_id == str(ds.get("PatientID") or "").strip()
        assert header.identity.name.rstrip("=") == str(ds.get("PatientName") or "").rstrip("=")
        assert header.identity.birth_date == str(ds.get("PatientBirthDate") or "")
        centers, widths = floats("WindowCenter") or (), floats("WindowWidth") or ()
        expected = [(c, w) for c, w in zip(centers, widths, strict=False) if w >= 1]
        assert [(window.center, window.width) for window in header.windows] == expected
        padding = ds.get("PixelPaddingValue")
        if header.padding is not None:  # pydicom gives the element's sign, not the pixels'
            assert (header.padding[0] - padding) % 65536 == 0


def check_frames(found: list[Frame], path) -> None:
    """Frames of one file: numbered from 1, each with bytes of its own."""
    ds = pydicom.dcmread(path, stop_before_pixels=True)
    if found[0].cut:  # one picture: test_mosaics.py
        assert len({frame.pixels for frame in found}) == 1
        return
    assert [frame.number for frame in found] == list(range(1, int(ds.NumberOfFrames) + 1))
    assert {(frame.of, frame.sop_instance_uid, frame.uri) for frame in found} == {
        (len(found), str(ds.SOPInstanceUID), str(path))
    }
    ends = [frame.pixels.offset + frame.pixels.length for frame in found]
    starts = [frame.pixels.offset for frame in found]
    shared = found[0].spec.bits_allocated == 1  # the byte in which one frame ends and one begins
    assert all(start >= end - shared for start, end in zip(starts[1:], ends, strict=False))
    assert found[0].pixels.element_offset < starts[0]
    assert ends[-1] <= found[0].pixels.element_end
    assert len({frame.pixels.header_length for frame in found}) == 1


def check_folder(folder, read) -> int:
    seen = 0
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            result = read(path)
            if isinstance(result, Frame) and result.segmentation:
                check_frames([result], path)  # its place is in functional groups
                seen += 1
            elif isinstance(result, Frame):
                check_against_pydicom(result, path)
                assert result.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
                seen += 1
            elif isinstance(result, list):
                check_frames(result, path)
                seen += 1
            elif not isinstance(result, Document):
                problem_of(result)
    return seen


def test_real_headers(data, read):
    assert check_folder(data, read) > 60


def test_real_headers_of_the_collection(shared_data, read):
    assert check_folder(shared_data, read) > 500


@pytest.mark.parametrize("syntax", [*synth.NATIVE, *synth.LOSSLESS, *synth.LOSSY])
def test_synthetic_headers(tmp_path, read, syntax):
    bits = {"bits_allocated": 8, "bits_stored": 8} if syntax == synth.JPEG_BASELINE else {}
    made = synth.series(tmp_path, slices=2, transfer_syntax=syntax, **bits)
    for path in made.paths:
        header = read(path)
        assert isinstance(header, Frame)
        check_against_pydicom(header, path)


def test_every_field_is_hashable_and_picklable(tmp_path, read):
    import pickle

    header = read(synth.series(tmp_path, slices=1).paths[0])
    assert pickle.loads(pickle.dumps(header)) == header
    assert len(pickle.dumps(header)) < 4000
    assert {field.name for field in fields(header)} >= {"uri", "spec", "pixels"}


def test_transfer_syntaxes_are_those_that_are_decoded():
    assert set(syntaxes.NAMES) == frames.NATIVE | frames.ENCAPSULATED
    assert frames.NATIVE == syntaxes.NATIVE


# ----------------------------------------------------------------------------- truncation


def cut_everywhere(data: bytes, read, codestream: bytes) -> set[ProblemCode]:
    codes = set()
    for length in np.unique(np.linspace(0, len(data) - 1, 200).astype(int)):
        result = read(data[:length])
        if isinstance(result, Frame):  # all pixels are there, what followed them is not
            assert read_frame(result)[0] == codestream
            assert result.pixels.element_end == length
        else:
            codes.add(problem_of(result))
    return codes


CUT = {ProblemCode.NOT_DICOM, ProblemCode.TRUNCATED, ProblemCode.NO_PIXEL_DATA}


@pytest.mark.parametrize("syntax", [*synth.NATIVE, synth.RLE, synth.J2K, synth.DEFLATED_FRAME])
def test_a_cut_file_is_never_an_image(tmp_path, read, syntax):
    path = synth.series(tmp_path, slices=1, transfer_syntax=syntax).paths[0]
    codestream = read_frame(read(path))[0]
    codes = cut_everywhere(path.read_bytes(), read, codestream)
    assert ProblemCode.TRUNCATED in codes
    assert codes <= CUT


@pytest.mark.parametrize("syntax", [synth.J2K, synth.JPEG_LS])
def test_a_cut_file_of_many_fragments(tmp_path, read, syntax):
    def split(ds, _):
        stored = synth.phantom(np.random.default_rng(0), (1, ds.Rows, ds.Columns))[0]
        codestream = synth.encode(stored, syntax, ds.BitsStored)
        ds.PixelData = encapsulate([codestream], fragments_per_frame=7)
        ds["PixelData"].is_undefined_length = True

    path = synth.series(tmp_path, slices=1, transfer_syntax=syntax, edit=split).paths[0]
    header = read(path)
    where, data = header.pixels, path.read_bytes()
    whole = FrameBytes(where.offset, where.length)
    parts = whole.parts(data[where.offset : where.offset + where.length])
    assert len(parts) == 7
    assert cut_everywhere(data, read, read_frame(header)[0]) <= CUT
    for offset, length in parts[:-1]:  # exactly between two fragments
        cut = data[: where.offset + offset + length]
        assert problem_of(read(cut)) == ProblemCode.TRUNCATED


def test_an_image_whose_pixels_are_missing_is_a_frame_that_is_missing(tmp_path, read):
    def drop(ds, _):
        del ds.PixelData

    problem = read(synth.series(tmp_path, slices=1, edit=drop).paths[0])
    assert (problem_of(problem), problem.frames) == (ProblemCode.NO_PIXEL_DATA, 1)


# -------------------------------------------------------------------------------- budgets


@pytest.mark.parametrize(
    ("changes", "budget", "expected"),
    [
        ({"Rows": 65535, "Columns": 65535}, {}, ProblemCode.BUDGET),
        ({"NumberOfFrames": 2**31 - 1}, {}, ProblemCode.BUDGET),
        ({"Rows": 16384, "Columns": 16384}, {}, ProblemCode.PIXEL_LENGTH),
        ({}, {"frame_pixels": 32 * 40 - 1}, ProblemCode.BUDGET),
        ({}, {"header_bytes": 500}, ProblemCode.BUDGET),
        ({}, {"elements": 20}, ProblemCode.TOO_MANY_ELEMENTS),
    ],
)
def test_budgets_come_before_anything_is_allocated(tmp_path, read, changes, budget, expected):
    def change(ds, _):
        for keyword, value in changes.items():
            setattr(ds, keyword, value)

    path = synth.series(tmp_path, slices=1, edit=change).paths[0]
    assert problem_of(read(path, **budget)) == expected


def test_bytes_after_pixel_data_count_as_header(tmp_path, read):
    def trail(ds, _):
        ds.add_new(0xFFFCFFFC, "OB", b"\0" * 5000)

    path = synth.series(tmp_path, slices=1, edit=trail).paths[0]
    assert read(path).pixels.header_length > 5000
    assert problem_of(read(path, header_bytes=4000)) == ProblemCode.BUDGET


def test_a_header_without_end_is_not_read_to_its_end(tmp_path, read, monkeypatch):
    def grow(ds, _):
        ds.add_new(0x00091001, "OB", b"\0" * 100_000)

    monkeypatch.setattr(headers, "WHOLE", 1000)
    path = synth.series(tmp_path, slices=1, edit=grow).paths[0]
    assert problem_of(read(path, header_bytes=4000)) == ProblemCode.BUDGET


# ------------------------------------------------------------------- what is not placed yet


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, ProblemCode.UNSUPPORTED_MULTIFRAME),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, ProblemCode.PIXEL_LENGTH),
        ({"SamplesPerPixel": 3}, ProblemCode.UNSUPPORTED_PIXELS),
        ({"SamplesPerPixel": 4, "PhotometricInterpretation": "CMYK"},
         ProblemCode.UNSUPPORTED_PIXELS),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_RCT"},
         ProblemCode.UNSUPPORTED_PIXELS),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, ProblemCode.BAD_LUT),
        ({"ModalityLUTSequence": [pydicom.Dataset()]}, ProblemCode.BAD_LUT),
        ({"BitsAllocated": 12}, ProblemCode.UNSUPPORTED_PIXELS),
        ({"BitsAllocated": 24}, ProblemCode.UNSUPPORTED_PIXELS),
        ({"BitsAllocated": 64}, ProblemCode.UNSUPPORTED_PIXELS),
        ({"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}, ProblemCode.PIXEL_LENGTH),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"}, ProblemCode.BAD_VALUE),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.7"}, ProblemCode.BAD_VALUE),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.8"}, ProblemCode.UNSUPPORTED_OBJECT),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.2"}, ProblemCode.BAD_VALUE),
    ],
)  # fmt: skip
def test_unsupported(tmp_path, read, changes, expected):
    def change(ds, _):
        for keyword, value in changes.items():
            setattr(ds, keyword, value)

    problem = read(synth.series(tmp_path, slices=1, edit=change).paths[0])
    assert problem_of(problem) == expected
    assert problem.frames == 1


@pytest.mark.parametrize(
    ("changes", "expected", "frames"),
    [
        ({"NumberOfFrames": 2}, ProblemCode.PIXEL_LENGTH, 2),
        ({"NumberOfFrames": 2, "PerFrameFunctionalGroupsSequence": [pydicom.Dataset()]},
         ProblemCode.BAD_VALUE, 2),
        ({"NumberOfFrames": 1, "PerFrameFunctionalGroupsSequence": [pydicom.Dataset()] * 2},
         ProblemCode.BAD_VALUE, 1),
        ({"NumberOfFrames": 0}, ProblemCode.BAD_VALUE, 1),
        ({"NumberOfFrames": -3}, ProblemCode.BAD_VALUE, 1),
        ({"SharedFunctionalGroupsSequence": [pydicom.Dataset()] * 2}, ProblemCode.BAD_VALUE, 1),
    ],
)  # fmt: skip
def test_wrong_numbers_of_frames(tmp_path, read, changes, expected, frames):
    def change(ds, _):
        for keyword, value in changes.items():
            setattr(ds, keyword, value)

    problem = read(synth.series(tmp_path, slices=1, edit=change).paths[0])
    assert (problem_of(problem), problem.frames) == (expected, frames)


def test_one_frame_may_have_functional_groups(tmp_path, read):
    def change(ds, _):
        ds.NumberOfFrames = 1
        ds.PerFrameFunctionalGroupsSequence = [pydicom.Dataset()]

    made = synth.series(tmp_path, slices=1, edit=change)
    frame = read(made.paths[0])
    assert isinstance(frame, Frame)
    assert frame.position == tuple(made.affine_lps[:3, 3])


def test_empty_sequences_refuse_nothing(tmp_path, read):
    def change(ds, _):
        ds.ModalityLUTSequence = []
        ds.NumberOfFrames = 1

    assert isinstance(read(synth.series(tmp_path, slices=1, edit=change).paths[0]), Frame)


@pytest.mark.parametrize(
    "uid", ["1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.107", "1.2.840.10008.1.2.4.94",
            "1.2.840.113619.5.2", "1.2.3.4", "not a uid \x1b[31m"],
)  # fmt: skip
def test_unsupported_syntaxes(tmp_path, read, uid):
    raw = synth.series(tmp_path, slices=1).paths[0].read_bytes()
    element = raw.index(b"\x02\x00\x10\x00UI")
    length = int.from_bytes(raw[element + 6 : element + 8], "little")
    value = uid.encode() + b"\0" * (len(uid) % 2)
    changed = b"\x02\x00\x10\x00UI" + len(value).to_bytes(2, "little") + value
    raw = raw[:element] + changed + raw[element + 8 + length :]
    start = raw.index(b"\x02\x00\x00\x00UL\x04\x00") + 8
    group = int.from_bytes(raw[start : start + 4], "little") + len(value) - length
    raw = raw[:start] + group.to_bytes(4, "little") + raw[start + 4 :]
    problem = read(raw)
    assert problem_of(problem) == ProblemCode.UNSUPPORTED_SYNTAX
    assert problem.frames == 1


def test_big_endian_bytes(tmp_path, read):
    def words(ds, _):
        ds["PixelData"].VR = "OW"

    eight = {"bits_allocated": 8, "bits_stored": 8, "transfer_syntax": synth.EXPLICIT_BE}
    assert isinstance(read(synth.series(tmp_path, slices=1, **eight).paths[0]), Frame)
    header = read(synth.series(tmp_path, slices=1, edit=words, **eight).paths[0])
    assert header.spec.swapped


def test_files_that_cannot_be_read(tmp_path):
    for uri in (
        str(tmp_path),
        str(tmp_path / "gone"),
        "memory://gone",
        "nosuch://x",
        "file:///%00",
    ):
        problem = headers.read_frames(FileRef(uri, 1), Budgets())
        assert problem_of(problem) == ProblemCode.UNREADABLE
        assert problem.frames == 0


# -------------------------------------------------------------------------------- mutation


def damage(data: bytearray, rng: np.random.Generator) -> None:
    place = int(rng.integers(128, len(data)))
    kind = rng.integers(0, 5)
    if kind == 0:
        data[place] ^= 1 << rng.integers(0, 8)
    elif kind == 1:
        data[place] = rng.choice([0, 0xFF, 0x20, 0x5C, 0xFE])
    elif kind == 2:
        del data[place : place + int(rng.integers(1, 9))]
    elif kind == 3:
        data[place:place] = rng.integers(0, 256, rng.integers(1, 9), np.uint8).tobytes()
    else:
        heads = [b"\xff\xff\xff\xff", b"\xf0\xff\xff\xff", b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"]
        data[place : place + 4] = rng.choice(heads)


def test_mutated_files_give_headers_or_problems(tmp_path, read):
    """Thousands of damaged files: only Frame or Problem comes out, and soon."""
    rng = np.random.default_rng(11)

    def add_sequence(ds, _):
        ds.ReferencedImageSequence = [pydicom.Dataset()]

    originals = []
    for syntax in (*synth.NATIVE, synth.J2K, synth.RLE):
        size = {"slices": 1, "rows": 8, "columns": 9, "transfer_syntax": syntax}
        made = synth.series(tmp_path / syntax, edit=add_sequence, **size)
        originals.append(made.paths[0].read_bytes())
    found: list[Frame] = []
    slowest = 0.0
    for turn in range(4000):
        data = bytearray(originals[turn % len(originals)])
        for _ in range(rng.integers(1, 4)):
            damage(data, rng)
        start = time.perf_counter()
        result = read(bytes(data))
        slowest = max(slowest, time.perf_counter() - start)
        if isinstance(result, Frame):
            found.append(result)
        else:
            problem_of(result)
    assert slowest < 1
    assert 400 < len(found) < 3600
    plans, problems, copies = plan_volumes(found, Options())
    counted = sum(len(plan.present) for plan in plans) + sum(problem.frames for problem in problems)
    assert counted + copies == len(found)
