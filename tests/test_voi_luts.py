"""VOI LUTs from files to pictures, against pydicom; and what becomes of broken ones."""

import numpy as np
import pydicom
import pytest
import synth
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels import apply_voi

import sansfilm
from sansfilm.errors import OptionError


def lut(first=-1024, bits=12, count=4096, *, name="SOFT", vr="SS", data=None, as_words=True):
    """Return an item of VOI LUT Sequence, and its entries: a falling curve."""
    entries = np.linspace(2**bits - 1, 0, count).round().astype(np.uint16)
    item = Dataset()
    item.add_new(0x00283002, vr, [count % 2**16, first % 2**16 if vr == "US" else first, bits])
    if name:
        item.LUTExplanation = name
    raw = entries.astype("<u2").tobytes() if data is None else data
    if as_words:
        item.add_new(0x00283006, "OW", raw)
    else:
        item.add_new(0x00283006, "US", entries.tolist())
    return item, entries


def volume_with(folder, *items, edit=lambda ds, n: None, **more):
    def put(ds, n):
        ds.VOILUTSequence = list(items)
        edit(ds, n)

    made = synth.series(folder / "in", edit=put, **{"slices": 2, "window": None} | more)
    (volume,) = sansfilm.read(folder / "in")
    return volume, made


def by_the_standard(made, first, bits, entries):
    """Look modality values up, scaled to 0..255; pydicom agrees where it can.

    It knows no entries of 9 bits, and takes places modulo 256 in those of 8.
    """
    whole = np.rint(made.values).astype(np.int32)
    grey = entries[np.clip(whole - first, 0, len(entries) - 1)]
    if bits > 9:
        np.testing.assert_array_equal(apply_voi(whole, pydicom.dcmread(made.paths[0])), grey)
    return np.floor(grey / (2**bits - 1) * 255 + 0.5)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    first=st.integers(-1500, 500), bits=st.integers(8, 16), count=st.integers(2, 5000),
    words=st.booleans(), seed=st.integers(0, 9),
)  # fmt: skip
def test_the_picture_is_that_of_pydicom(tmp_path_factory, first, bits, count, words, seed):
    item, entries = lut(first, bits, count, as_words=words)
    volume, made = volume_with(tmp_path_factory.mktemp("lut"), item, seed=seed)
    (told,) = volume.attributes["voi_luts"]
    assert told["values"] == entries.tolist()
    assert {name: told[name] for name in ("explanation", "first", "bits", "entries")} == {
        "explanation": "SOFT", "first": first, "bits": bits, "entries": count,
    }  # fmt: skip
    expected = by_the_standard(made, first, bits, entries)
    picture = volume.window("voi lut")
    assert np.abs(picture.astype(int) - expected).max() <= 1
    assert (picture != expected).mean() < 0.01
    np.testing.assert_array_equal(volume.window("SOFT"), picture)
    np.testing.assert_array_equal(volume.window(), picture)


def test_whole_tables_and_bytes(tmp_path):
    """A count of 0 means 65536; entries of 8 bits may be bytes."""
    whole, entries = lut(0, 16, 65536, vr="US")
    volume, _ = volume_with(tmp_path / "a", whole, intercept=0.0)
    assert volume.attributes["voi_luts"][0]["values"] == entries.tolist()
    item, entries = lut(0, 8, 301, data=np.linspace(255, 0, 302).round().astype("u1").tobytes())
    volume, _ = volume_with(tmp_path / "b", item, intercept=0.0)
    expected = np.linspace(255, 0, 302).round()[:301]
    np.testing.assert_array_equal(volume.attributes["voi_luts"][0]["values"], expected)


@pytest.mark.parametrize("syntax", synth.NATIVE)
@pytest.mark.parametrize(("intercept", "first"), [(-1024.0, -1000), (0.0, 60000)])
def test_the_sign_of_the_first_value(tmp_path, syntax, intercept, first):
    """Implicit VR does not tell: then it is that of modality values."""
    item, entries = lut(first, 12, 100, vr="SS" if first < 0 else "US", as_words=False)
    volume, _ = volume_with(tmp_path, item, transfer_syntax=syntax, intercept=intercept)
    (told,) = volume.attributes["voi_luts"]
    assert (told["first"], told["values"]) == (first, entries.tolist())


def test_windows_come_first_and_names_choose(tmp_path):
    soft, _ = lut()
    hard, _ = lut(0, 10, 700, name="HARD")
    unnamed, _ = lut(5, 10, 700, name="")
    volume, _ = volume_with(tmp_path, soft, hard, unnamed, window=(40, 400))
    np.testing.assert_array_equal(volume.window(), volume.window((40, 400)))
    assert [lut["explanation"] for lut in volume.attributes["voi_luts"]] == ["SOFT", "HARD", ""]
    assert not np.array_equal(volume.window("HARD"), volume.window("SOFT"))
    with pytest.raises(OptionError, match="subdural, voi lut, SOFT, HARD"):
        volume.window("WEAK")
    assert "HARD" in volume.show("HARD").get_suptitle()


def test_without_one_the_name_is_unknown(tmp_path):
    synth.series(tmp_path / "in", slices=1)
    (volume,) = sansfilm.read(tmp_path / "in")
    assert volume.attributes["voi_luts"] == []
    with pytest.raises(OptionError, match="voi lut"):
        volume.window("voi lut")


def test_broken_ones_are_left_out(tmp_path):
    good, _ = lut(name="GOOD")
    short, _ = lut(data=b"\0" * 100, name="SHORT")
    deep, _ = lut(bits=16, name="DEEP")
    deep.LUTDescriptor = [4096, 0, 17]
    high, _ = lut(bits=16, name="HIGH")
    high.LUTDescriptor = [4096, 0, 12]
    volume, _ = volume_with(tmp_path, short, deep, Dataset(), good, high)
    assert [lut["explanation"] for lut in volume.attributes["voi_luts"]] == ["GOOD"]


def test_different_tables_are_told(tmp_path):
    def other(ds, n):
        ds.VOILUTSequence = [lut(first=n)[0]]

    volume, _ = volume_with(tmp_path, edit=other, slices=3)
    assert volume.attributes["voi_luts"][0]["first"] == 1
    assert any("VOI LUTs differ" in note for note in volume.attributes["notes"])


def test_inverted_and_empty_pixels(tmp_path):
    """MONOCHROME1 is inverted after the table."""
    item, _ = lut()
    plain, _ = volume_with(tmp_path / "a", item)

    def mono(ds, n):
        ds.PhotometricInterpretation = "MONOCHROME1"

    inverted, _ = volume_with(tmp_path / "b", item, edit=mono)
    np.testing.assert_array_equal(inverted.window(), 255 - plain.window())
