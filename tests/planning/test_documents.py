"""Instances without pixels: what they are and refer to, against pydicom's own walk."""

import warnings

import pydicom
import pytest
import synth
from multiframe import sequence, values, without_lengths
from pydicom.uid import UID
from reading import PHI

from sansfilm.errors import Problem, ProblemCode
from sansfilm.model import Document, FileRef
from sansfilm.options import Budgets
from sansfilm.planning.headers import read_frames

SR, STRUCT, SPECTRA = (
    "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.481.3", "1.2.840.10008.5.1.4.1.1.4.2",
)  # fmt: skip


def read(path, **budgets):
    return read_frames(FileRef(str(path), path.stat().st_size), Budgets(**budgets))


def write(path, sop_class=SR, syntax=synth.EXPLICIT_LE, *, undefined=False, **more):
    """Write a document that refers to instances at several depths."""
    ds = values(
        SOPClassUID=sop_class, SOPInstanceUID="1.2.3.1", SeriesInstanceUID="1.2.3.2",
        StudyInstanceUID="1.2.3.3", Modality="SR", PatientID="ZZPHI-0001", PatientName="ZZPHI^A",
        CurrentRequestedProcedureEvidenceSequence=sequence(values(
            StudyInstanceUID="1.2.3.3",
            ReferencedSeriesSequence=sequence(
                values(SeriesInstanceUID="1.2.5.1", ReferencedSOPSequence=sequence(
                    values(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2",
                           ReferencedSOPInstanceUID="1.2.5.1.1"),
                    values(ReferencedSOPInstanceUID="1.2.5.1.2"),
                )),
                values(SeriesInstanceUID="1.2.5.2"),
            ),
        )),
        ContentSequence=sequence(values(ContentSequence=sequence(
            values(ReferencedSOPSequence=sequence(values(ReferencedSOPInstanceUID="1.2.5.1.1"))),
            values(ReferencedSOPSequence=sequence(values(ReferencedSOPInstanceUID="1.2.5.3.1"))),
        ))),
        **more,
    )  # fmt: skip
    ds.file_meta, ds.preamble = pydicom.dataset.FileMetaDataset(), b"\0" * 128
    ds.file_meta.TransferSyntaxUID = syntax
    if undefined:
        without_lengths(ds)
    synth.write(ds, path)
    return path


def named(path):
    """Return the series and the instances that a file names, as pydicom finds them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(path)
        found = [(e.keyword, str(e.value)) for e in ds.iterall()]
    own = ("SeriesInstanceUID", str(ds.get("SeriesInstanceUID")))
    series = {uid for keyword, uid in found if keyword == "SeriesInstanceUID"}
    if found.count(own) == 1:
        series -= {own[1]}
    words = ("ReferencedSOPInstanceUID", "ReferencedSOPInstanceUIDInFile")
    return series, {uid for keyword, uid in found if keyword in words}


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", synth.NATIVE)
def test_references_at_any_depth(tmp_path, syntax, undefined):
    path = write(tmp_path / "sr.dcm", syntax=syntax, undefined=undefined)
    found = read(path)
    assert isinstance(found, Document)
    assert found.referenced_series_uids == ("1.2.5.1", "1.2.5.2")
    assert found.referenced_sop_instance_uids == ("1.2.5.1.1", "1.2.5.1.2", "1.2.5.3.1")
    assert (found.sop_class_uid, found.modality) == (SR, "SR")
    uids = (found.sop_instance_uid, found.series_uid, found.study_uid)
    assert uids == ("1.2.3.1", "1.2.3.2", "1.2.3.3")
    assert PHI not in repr(found)
    assert len(found.patient_key) == 32


def test_a_sequence_that_was_written_as_unknown(tmp_path):
    """PS3.5 section 6.2.2: what is in it has implicit VR."""
    write(tmp_path / "a.dcm", syntax=synth.IMPLICIT_LE, undefined=True)
    implicit = (tmp_path / "a.dcm").read_bytes()
    start = implicit.index(b"\x40\x00\x75\xa3")  # Current Requested Procedure Evidence Sequence
    value = implicit[start + 8 : implicit.index(b"\x40\x00\x30\xa7")]
    for length in (len(value) - 8, 0xFFFFFFFF):
        path = write(tmp_path / "b.dcm")
        ds = pydicom.dcmread(path)
        del ds.CurrentRequestedProcedureEvidenceSequence
        ds.save_as(path)
        raw = path.read_bytes()
        at = raw.index(b"\x40\x00\x30\xa7")
        body = value[:-8] if length != 0xFFFFFFFF else value
        element = b"\x40\x00\x75\xa3UN\0\0" + length.to_bytes(4, "little") + body
        path.write_bytes(raw[:at] + element + raw[at:])
        found = read(path)
        assert found.referenced_series_uids == ("1.2.5.1", "1.2.5.2")
        assert found.referenced_sop_instance_uids == ("1.2.5.1.1", "1.2.5.1.2", "1.2.5.3.1")


def test_documents_of_the_collection(shared_data):
    seen = set()
    for path in sorted(shared_data.rglob("*")):
        if path.is_file() and isinstance(found := read(path), Document):
            series, instances = named(path)
            assert set(found.referenced_series_uids) == series
            assert set(found.referenced_sop_instance_uids) == instances
            seen.add(UID(found.sop_class_uid).name)
    assert {"Media Storage Directory Storage", "RT Plan Storage", "Enhanced SR Storage"} <= seen


def test_spectra_have_rows_and_are_no_image(tmp_path):
    more = {"Rows": 1, "Columns": 1, "SpectroscopyData": b"\0" * 8}
    assert isinstance(read(write(tmp_path / "a.dcm", SPECTRA, **more)), Document)


@pytest.mark.parametrize(
    ("sop_class", "more"),
    [("1.2.840.10008.5.1.4.1.1.2", {}), ("1.2.3.4.5", {"Rows": 4}), (SR, {"Rows": 4})],
)
def test_an_image_without_pixels_is_a_frame_that_is_missing(tmp_path, sop_class, more):
    problem = read(write(tmp_path / "a.dcm", sop_class, **more))
    assert isinstance(problem, Problem)
    assert (problem.code, problem.frames) == (ProblemCode.NO_PIXEL_DATA, 1)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"SOPInstanceUID": None}, ProblemCode.NO_PIXEL_DATA),
        ({"SOPClassUID": None}, ProblemCode.NO_PIXEL_DATA),
        ({"SeriesInstanceUID": "../1"}, ProblemCode.BAD_UID),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_what_cannot_be_known_by_its_uids(tmp_path, changes, code):
    path = write(tmp_path / "a.dcm")
    ds = pydicom.dcmread(path)
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    pydicom.dcmwrite(path, ds)
    problem = read(path)
    assert (problem.code, problem.frames) == (code, 0)


def test_a_cut_document_is_not_taken_for_a_whole_one(tmp_path):
    """Unless it is cut between two elements of the top level: then nobody can tell."""
    raw = write(tmp_path / "a.dcm", undefined=True).read_bytes()
    whole = {"1.2.5.1.1", "1.2.5.1.2", "1.2.5.3.1"}
    cut = tmp_path / "cut.dcm"
    documents = 0
    for length in range(132, len(raw)):
        cut.write_bytes(raw[:length])
        found = read(cut)
        if isinstance(found, Document):
            documents += 1
            assert set(found.referenced_sop_instance_uids) in (set(), whole - {"1.2.5.3.1"}, whole)
    assert documents < 12


def test_a_long_document_is_read_whole(tmp_path, monkeypatch):
    """Sequences that lie beyond the first part of a file count too."""
    monkeypatch.setattr("sansfilm.planning.headers.WHOLE", 1024)
    many = sequence(*(
        values(ReferencedSOPInstanceUID=f"1.2.6.{n}") for n in range(1000)
    ))  # fmt: skip
    for syntax in (synth.IMPLICIT_LE, synth.EXPLICIT_LE):
        path = write(tmp_path / "a.dcm", syntax=syntax, ReferencedInstanceSequence=many)
        assert len(read(path).referenced_sop_instance_uids) == 1003
        assert read(path, header_bytes=2048).code == ProblemCode.BUDGET
