"""CSA headers against nibabel, on what it comes with and on damaged ones."""

import gzip
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest
import siemens
from hypothesis import given
from hypothesis import strategies as st

from sansfilm.planning.csa import read_csa, read_slices

with warnings.catch_warnings(action="ignore"):  # it calls itself experimental
    from nibabel.nicom import ascconv, csareader

THEIRS = Path(nibabel.__file__).parent / "nicom" / "tests" / "data"
NAMES = st.text("abcXYZ_09", min_size=1, max_size=40)
TEXTS = st.lists(st.text("0123456789.-eE abc", min_size=1, max_size=60).map(str.strip), max_size=6)


def as_text(value) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def by_nibabel(data: bytes) -> dict[str, list[str]]:
    found = csareader.read(data)["tags"]
    return {name: [as_text(item) for item in tag["items"]] for name, tag in found.items()}


@given(st.dictionaries(NAMES, TEXTS, min_size=1, max_size=12), st.sampled_from([1, 2]))
def test_both_forms_come_back(tags, form):
    found = read_csa(siemens.csa(tags, form=form))
    assert list(found) == list(tags)
    for name, values in tags.items():
        assert [text for text in found[name] if text] == [text for text in values if text]


def test_nibabel_reads_what_the_tests_write():
    """Of the older form it takes the wrong tag for the first one, against its documentation."""
    tags = {"ImaCoilString": ["C:HEA;HEP", "b"], "Text": ["48"], "E": []}
    data = siemens.csa(tags)
    assert csareader.read(data)["type"] == 2
    assert {name: [t for t in texts if t] for name, texts in by_nibabel(data).items()} == tags


@pytest.mark.parametrize(
    "name", ["csa2_b0.bin", "csa2_b1000.bin", "csa2_zero_len.bin.gz", "csa_str_valid.bin"]
)
def test_headers_of_scanners(name):
    if not (THEIRS / name).is_file():
        pytest.skip("nibabel is installed without its test data")
    data = (THEIRS / name).read_bytes()
    data = gzip.decompress(data) if name.endswith(".gz") else data
    theirs = csareader.read(data)["tags"]
    ours = read_csa(data)
    assert list(ours) == list(theirs)
    for tag, values in ours.items():
        for text, item in zip(values, theirs[tag]["items"], strict=False):
            if isinstance(item, float | int) and text:
                assert float(text) == item
            elif text and item is not None:
                assert text == as_text(item).strip()


@given(st.binary(max_size=400))
def test_no_header_is_no_error(data):
    assert isinstance(read_csa(data), dict)
    assert isinstance(read_csa(b"SV10\4\3\2\1" + data), dict)


@given(st.data())
def test_a_damaged_header_is_no_error(data):
    whole = siemens.csa({"A": ["1", "2"], "B": ["3"]}, form=data.draw(st.sampled_from([1, 2])))
    cut = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for place in data.draw(st.lists(st.integers(0, max(len(cut) - 1, 0)), max_size=4)):
        if cut:
            cut[place] = data.draw(st.integers(0, 255))
    found = read_csa(bytes(cut))
    assert sum(len(text) for texts in found.values() for text in texts) <= len(whole)


def test_a_cut_header_is_not_believed():
    whole = siemens.csa({"NumberOfImagesInMosaic": ["48"], "SliceNormalVector": ["0", "0", "1"]})
    assert read_csa(whole)
    assert read_csa(whole[:-30]) == {}


POSITIONS = st.lists(
    st.tuples(*[st.floats(-500, 500).map(lambda v: round(v, 6))] * 3), min_size=2, max_size=9,
    unique=True,
)  # fmt: skip


@given(POSITIONS)
def test_slices_of_a_protocol_are_those_that_nibabel_reads(slices):
    text = siemens.protocol(slices)
    theirs = ascconv.parse_ascconv(text[text.index("###") :], '""')[0]["sSliceArray"]
    found = read_slices(text)
    if sum(not any(position) for position in slices) > 1:
        return
    assert len(found) == theirs["lSize"] == len(slices)
    for n, position in enumerate(found):
        stated = theirs["asSlice"][n].get("sPosition", {})
        assert position == tuple(stated.get(f"d{axis}", 0.0) for axis in ("Sag", "Cor", "Tra"))


@pytest.mark.parametrize(
    "text",
    ["", "### ASCCONV BEGIN ###\nsSliceArray.lSize = 3", siemens.protocol([]),
     siemens.protocol([(1, 2, 3)] * 5, size=4), siemens.protocol([(1, 2, 3)] * 2, size=40)],
)  # fmt: skip
def test_protocols_without_all_slices_have_none(text):
    assert read_slices(text) == ()


def test_a_slice_in_the_middle_of_the_magnet_has_no_coordinates():
    slices = [(0.0, 0.0, float(z)) for z in (-2, 0, 2)]
    np.testing.assert_array_equal(read_slices(siemens.protocol(slices)), slices)
