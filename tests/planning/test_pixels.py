"""One instance, read once: header and codestream together are the file again."""

import os
import zlib

import fsspec
import pydicom
import pytest
import synth
from multiframe import enhanced

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import FileRef, Frame
from sansfilm.options import Budgets
from sansfilm.planning import dataset, pixels
from sansfilm.planning.headers import read_frames
from sansfilm.planning.pixels import read_frame


def trail(ds, _):
    ds.add_new(0xFFFCFFFC, "OB", b"trailing")


@pytest.mark.parametrize("syntax", [*synth.NATIVE, synth.J2K, synth.RLE])
@pytest.mark.parametrize("large", [False, True])
def test_header_and_pixels_are_the_file(tmp_path, read, monkeypatch, syntax, large):
    if large:
        monkeypatch.setattr(pixels, "WHOLE", 100)
    made = synth.series(tmp_path, slices=1, transfer_syntax=syntax, edit=trail)
    header = read(made.paths[0])
    assert isinstance(header, Frame)
    codestream, outside = read_frame(header)
    where = header.pixels
    assert len(outside) == where.header_length
    raw = made.paths[0].read_bytes()
    plain = raw
    if where.prefix:
        plain = zlib.decompress(raw[where.prefix :], -zlib.MAX_WBITS)
        assert outside.startswith(raw[: where.prefix])
        outside = outside[where.prefix :]
    element = plain[where.element_offset : where.element_end]
    assert outside[: where.element_offset] + element + outside[where.element_offset :] == plain
    assert codestream in plain[where.offset : where.offset + where.length]
    assert element.count(codestream) == 1
    assert outside.endswith(b"trailing")
    tag = b"\x7f\xe0\x00\x10" if syntax == synth.EXPLICIT_BE else b"\xe0\x7f\x10\x00"
    assert element.startswith(tag)


def test_the_header_is_a_dataset_again(tmp_path, read):
    made = synth.series(tmp_path, slices=1, transfer_syntax=synth.JPEG_LS, edit=trail)
    (tmp_path / "header").write_bytes(read_frame(read(made.paths[0]))[1])
    expected = pydicom.dcmread(made.paths[0])
    del expected.PixelData
    assert pydicom.dcmread(tmp_path / "header") == expected


def code_of(header: Frame) -> ProblemCode:
    with pytest.raises(BadInstanceError) as caught:
        read_frame(header)
    return caught.value.code


@pytest.mark.parametrize("syntax", [synth.EXPLICIT_LE, synth.DEFLATED_LE])
def test_a_file_that_changed_is_not_read(tmp_path, read, syntax):
    path = synth.series(tmp_path, slices=1, transfer_syntax=syntax).paths[0]
    header, raw = read(path), path.read_bytes()
    path.write_bytes(raw + b"\0")
    assert code_of(header) == ProblemCode.SOURCE_CHANGED
    path.write_bytes(raw)
    os.utime(path, ns=(1, 1))
    assert code_of(header) == ProblemCode.SOURCE_CHANGED
    path.unlink()
    assert code_of(header) == ProblemCode.UNREADABLE


@pytest.mark.parametrize("whole", [10, 10**6])
def test_objects_without_a_date_are_known_by_their_digest(tmp_path, monkeypatch, whole):
    monkeypatch.setattr(pixels, "WHOLE", whole)
    made = synth.series(tmp_path, slices=1)
    raw = made.paths[0].read_bytes()
    memory = fsspec.filesystem("memory")
    memory.pipe("/pixels/1.dcm", raw)
    found = read_frames(FileRef("memory://pixels/1.dcm", len(raw)), Budgets())
    assert isinstance(found, list)
    (header,) = found
    assert header.modified_ns is None
    assert read_frame(header)[0] == made.stored[0].tobytes()
    memory.pipe("/pixels/1.dcm", raw[:-1] + b"?")
    assert code_of(header) == ProblemCode.SOURCE_CHANGED


def test_a_deflated_instance_is_inflated_once_for_all_its_frames(tmp_path, monkeypatch):
    """Two of them in turn: what is kept of one is never taken for the other."""
    files = []
    for number in (1, 2):
        made = synth.series(tmp_path / f"{number}", slices=6, seed=number)
        path = tmp_path / f"{number}.dcm"
        found = enhanced(path, [made], transfer_syntax=synth.DEFLATED_LE)
        frames = read_frames(FileRef(str(path), path.stat().st_size), Budgets())
        assert isinstance(frames, list)
        files.append((found.stored, frames))
    inflated = []
    inflate = dataset.inflate
    monkeypatch.setattr(dataset, "inflate", lambda *a: inflated.append(1) or inflate(*a))
    for _ in range(2):
        for stored, frames in files:
            for values, frame in zip(stored, frames, strict=True):
                assert read_frame(frame)[0] == values.tobytes()
    assert len(inflated) == 4
