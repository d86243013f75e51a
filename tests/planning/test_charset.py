"""Identity in any character set: never an exception, as pydicom reads it, nobody mixed up."""

import warnings
from pathlib import Path

import pydicom
import pytest
import synth
from hypothesis import given
from hypothesis import strategies as st
from pydicom.charset import python_encoding
from pydicom.data import get_charset_files

from sansfilm.errors import Problem
from sansfilm.model import Identity
from sansfilm.options import Budgets
from sansfilm.planning import dataset
from sansfilm.planning.charset import decode_text
from sansfilm.planning.identity import patient_key, read_identity
from sansfilm.planning.values import Values


@pytest.mark.parametrize(
    "path", [Path(path) for path in get_charset_files("*.dcm")], ids=lambda path: path.name
)
def test_names_are_those_of_pydicom(path):
    raw = path.read_bytes()
    syntax, start = dataset.read_meta(raw, len(raw))
    walked = dataset.walk(raw, start, syntax, len(raw), Budgets())
    identity = read_identity(Values(raw, walked, syntax))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = pydicom.dcmread(path)
        name = str(expected.get("PatientName", ""))
        assert identity.name.rstrip("=") == name.rstrip("=")
        assert identity.patient_id == str(expected.get("PatientID", "")).strip()


@given(
    st.binary(max_size=40),
    st.lists(
        st.sampled_from([*python_encoding, "no such set", "ISO 2022 IR 999", "\\"]), max_size=4
    ),
)
def test_whatever_the_bytes_a_text_comes_out(raw, charsets):
    text = decode_text(raw, charsets)
    text.encode()
    assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in text)


@pytest.mark.parametrize("charset", ["", "ISO_IR 100", "ISO_IR 192", "GB18030", "ISO_IR 166"])
def test_different_bytes_are_different_patients(charset):
    ids = [b"M\xfcller", b"M\xffller", b"M\x80ller", b"Mller", b"M?ller", b"M\x01ller"]
    assert len({decode_text(raw, [charset]) for raw in ids}) == len(ids)


def test_a_wrong_character_set_costs_no_image(tmp_path, read):
    def edit(ds, _):
        ds.SpecificCharacterSet = "ISO_IR 192"

    raw = synth.series(tmp_path, slices=1, edit=edit).paths[0].read_bytes()
    header = read(raw.replace(b"ZZPHI^Synthetic", b"ZZPHI^\xff\xfe\x1b$B\xe4\xb8\xad "))
    assert not isinstance(header, Problem)
    assert header.identity.name.startswith("ZZPHI^")


def test_patient_keys():
    def who(patient_id, issuer="", name="A"):
        return Identity(patient_id, issuer, name, "", "")

    assert patient_key(who("1", name="A"), "9") == patient_key(who("1", name="B"), "8")
    different = [who("1"), who("2"), who("1", "clinic"), who(""), who("1clinic"), who("clinic1")]
    keys = {patient_key(identity, "9") for identity in different} | {patient_key(who(""), "8")}
    assert len(keys) == len(different) + 1
    assert all(len(key) == 32 and int(key, 16) >= 0 for key in keys)
