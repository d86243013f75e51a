"""Palettes and Modality LUTs: against pydicom, and whatever does not fit is a Problem."""

import pickle
import warnings

import numpy as np
import pixel_kinds
import pydicom
import pytest
import synth
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

from sansfilm.errors import Problem, ProblemCode
from sansfilm.model import FileRef, Frame, Lut
from sansfilm.options import Budgets
from sansfilm.planning.headers import read_frames
from sansfilm_kernels import apply_lut, palette_to_rgb

PHI = "ZZPHI"
INDICES = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
CODES = {ProblemCode.BAD_LUT, ProblemCode.BAD_VALUE, ProblemCode.BAD_LENGTH,
         ProblemCode.TRUNCATED, ProblemCode.PIXEL_LENGTH, ProblemCode.BUDGET,
         ProblemCode.UNSUPPORTED_PIXELS, ProblemCode.BAD_UID, ProblemCode.NO_PIXEL_DATA,
         ProblemCode.UNSUPPORTED_SYNTAX, ProblemCode.TOO_MANY_ELEMENTS, ProblemCode.NOT_DICOM,
         ProblemCode.BAD_FRAGMENTS, ProblemCode.UNSUPPORTED_MULTIFRAME}  # fmt: skip


def read(path) -> Frame | object:
    """Return the first frame of a file, or what it is instead."""
    found = read_frames(FileRef(str(path), path.stat().st_size), Budgets())
    return found[0] if isinstance(found, list) else found


def lut_of(path) -> Lut:
    found = read(path)
    assert isinstance(found, Frame), found
    assert found.spec.lut is not None
    return found.spec.lut


def bad(path) -> str:
    found = read(path)
    assert isinstance(found, Problem)
    assert found.code == ProblemCode.BAD_LUT
    assert found.message.isprintable()
    assert PHI not in found.message
    return found.message


def entries_of(lut: Lut) -> np.ndarray:
    return np.frombuffer(lut.entries, lut.dtype).reshape(-1, lut.channels)


def table(count=256, bits=16, seed=0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2**bits, (count, 3)).astype(np.uint16)


@pytest.mark.parametrize("syntax", synth.NATIVE)
@pytest.mark.parametrize(
    ("count", "bits", "packed"), [(256, 16, True), (256, 8, True), (256, 8, False), (7, 8, True),
                                  (7, 16, True), (4096, 16, True), (65536, 16, True)]
)  # fmt: skip
def test_palettes_are_those_that_were_written(tmp_path, syntax, count, bits, packed):
    entries = table(count, bits)
    tags = pixel_kinds.palette(entries, first=3, bits=bits, packed=packed)
    if syntax == synth.EXPLICIT_BE:  # OW: bytes change places in each word
        tags = {name: np.frombuffer(data, "<u2").astype(">u2").tobytes()
                if isinstance(data, bytes) else data for name, data in tags.items()}  # fmt: skip
    path = tmp_path / "a.dcm"
    pixel_kinds.write(path, INDICES, "PALETTE COLOR", syntax, **tags)
    lut = lut_of(path)
    assert (lut.first, lut.count, lut.channels, lut.bits) == (3, count, 3, bits)
    assert np.array_equal(entries_of(lut), entries)


@pytest.mark.parametrize("first", [0, 5, 200])
@pytest.mark.parametrize(("count", "bits"), [(256, 16), (256, 8), (20, 8), (20, 16)])
def test_colours_are_those_of_pydicom(tmp_path, first, count, bits):
    path = tmp_path / "a.dcm"
    pixel_kinds.write(path, INDICES, "PALETTE COLOR", **pixel_kinds.palette(
        table(count, bits), first=first, bits=bits))  # fmt: skip
    lut = lut_of(path)
    ours = palette_to_rgb(INDICES[0], first=lut.first, entries=entries_of(lut))
    ds = pydicom.dcmread(path)
    theirs = apply_color_lut(pixel_array(ds).reshape(16, 16), ds)
    assert ours.dtype == theirs.dtype
    assert np.array_equal(ours, theirs)


def test_first_value_has_the_sign_of_the_pixels(tmp_path):
    for signed, dtype in ((True, np.int16), (False, np.uint16)):
        path = tmp_path / f"{signed}.dcm"
        pixels = np.arange(64, dtype=dtype).reshape(1, 8, 8)
        first = -10 if signed else 65526
        tags = pixel_kinds.palette(table(40), first=first)
        pixel_kinds.write(path, pixels, "PALETTE COLOR", **tags)
        assert lut_of(path).first == first


def test_one_table_is_one_object_in_each_process(tmp_path):
    paths = [tmp_path / f"{name}.dcm" for name in "abc"]
    for path, seed in zip(paths, (0, 0, 1), strict=True):
        tags = pixel_kinds.palette(table(65536, seed=seed))
        pixel_kinds.write(path, INDICES, "PALETTE COLOR", **tags)
    first, same, other = (read(path) for path in paths)
    assert first.spec.lut is same.spec.lut
    assert first.spec.lut is not other.spec.lut
    assert pickle.loads(pickle.dumps(same)).spec.lut is first.spec.lut
    assert len(pickle.dumps([first, same] * 20)) < 420_000
    assert len(repr(first)) < 5000


def segmented(tables, bits, count, first=0):
    found = {}
    for colour, words in zip(("Red", "Green", "Blue"), tables, strict=True):
        name = f"{colour}PaletteColorLookupTable"
        data = np.array(words, "u1" if bits == 8 else "<u2").tobytes()
        found[f"{name}Descriptor"] = [count % 65536, first, bits]
        found[f"Segmented{name}Data"] = data + b"\0" * (len(data) % 2)
    return found


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    "words",
    [
        [0, 4, 1, 9, 200, 7, 1, 6, 100],
        [0, 1, 0, 1, 255, 255],
        [0, 1, 255, 1, 255, 0],
        [0, 2, 5, 5, 1, 3, 5, 1, 4, 90],
    ],
)
def test_segmented_palettes_are_those_of_pydicom(tmp_path, bits, words):
    count = 0
    pos = 0
    while pos < len(words):
        count += words[pos + 1]
        pos += 2 + (words[pos + 1] if words[pos] == 0 else 1)
    path = tmp_path / "a.dcm"
    tags = segmented([words, words[::1], words], bits, count)
    pixel_kinds.write(path, INDICES, "PALETTE COLOR", **tags)
    ds = pydicom.dcmread(path)
    lut = lut_of(path)
    assert lut.count == count
    ours = palette_to_rgb(INDICES[0], first=0, entries=entries_of(lut))
    assert np.array_equal(ours, apply_color_lut(INDICES[0], ds))


def test_indirect_segments_repeat_others(tmp_path):
    words = [0, 2, 10, 20, 1, 3, 50, 2, 2, 0, 0, 0, 0]  # both segments once more
    path = tmp_path / "a.dcm"
    pixel_kinds.write(path, INDICES, "PALETTE COLOR", **segmented([words] * 3, 8, 10))
    assert entries_of(lut_of(path))[:, 0].tolist() == [10, 20, 30, 40, 50] * 2
    ds = pydicom.dcmread(path)
    shown = palette_to_rgb(INDICES[0], first=0, entries=entries_of(lut_of(path)))
    assert np.array_equal(shown, apply_color_lut(INDICES[0], ds))
    wide = [0, 2, 1000, 2000, 1, 3, 5000, 2, 1, 8, 0, 0, 5]  # its second segment, 8 bytes on
    pixel_kinds.write(path, INDICES, "PALETTE COLOR", **segmented([wide] * 3, 16, 8))
    assert entries_of(lut_of(path))[:, 0].tolist() == [1000, 2000, 3000, 4000, 5000] + [5000] * 3


@pytest.mark.parametrize(
    "words",
    [
        [],
        [1, 4, 9, 9],  # linear from nothing
        [0, 9, 1, 2],  # cut
        [0, 4, 1, 2, 3, 4],  # too short
        [0, 4, 1, 2, 3, 4, 3, 9, 9, 9],  # no such segment
        [0, 0, 0, 0],
        [0, 4, 1, 2, 3, 4, 2, 200, 0, 0, 0, 0],  # repeats beyond the end
        [0, 4, 1, 2, 3, 4, 2, 1, 6, 0, 0, 0],  # repeats itself
        [0, 4, 1, 2, 3, 4, 2, 1, 200, 1, 1, 1],  # points outside
        [0, 4, 1, 2, 3, 4, 1, 255, 9, 9],  # more than there are
    ],
)
def test_segments_that_cannot_be_followed(tmp_path, words):
    path = tmp_path / "a.dcm"
    pixel_kinds.write(path, INDICES, "PALETTE COLOR", **segmented([words] * 3, 8, 20))
    bad(path)


@pytest.mark.parametrize("syntax", synth.NATIVE)
@pytest.mark.parametrize(
    "change",
    [
        {"RedPaletteColorLookupTableDescriptor": [257, 0, 16]},
        {"RedPaletteColorLookupTableDescriptor": [255, 0, 16]},
        {"RedPaletteColorLookupTableDescriptor": [0, 0, 16]},
        {"BluePaletteColorLookupTableDescriptor": [256, 1, 16]},
        {"BluePaletteColorLookupTableDescriptor": [256, 0, 8]},
        {"GreenPaletteColorLookupTableDescriptor": [256, 0, 12]},
        {"GreenPaletteColorLookupTableDescriptor": [256, 0]},
        {"GreenPaletteColorLookupTableDescriptor": None},
        {"RedPaletteColorLookupTableData": b""},
        {"RedPaletteColorLookupTableData": b"\0" * 256},
        {"RedPaletteColorLookupTableData": None},
        {"RedPaletteColorLookupTableData": b"\0" * 2**18},
    ],
)
def test_palettes_that_do_not_fit_their_descriptor(tmp_path, syntax, change):
    tags = pixel_kinds.palette(table()) | change
    path = tmp_path / "a.dcm"
    tags = {name: value for name, value in tags.items() if value is not None}
    pixel_kinds.write(path, INDICES, "PALETTE COLOR", syntax, **tags)
    bad(path)


def test_mutated_palettes_give_frames_or_problems(tmp_path):
    path = tmp_path / "a.dcm"
    pixel_kinds.write(path, INDICES, "PALETTE COLOR", **pixel_kinds.palette(table(20, 8), bits=8))
    plain = path.read_bytes()
    pixel_kinds.write(path, INDICES, "PALETTE COLOR",
                      **segmented([[0, 4, 1, 9, 200, 7, 1, 6, 100, 0]] * 3, 8, 10))  # fmt: skip
    rng = np.random.default_rng(0)
    seen = set()
    for raw in (plain, path.read_bytes()):
        start = raw.index(b"\x28\0\1\x11")
        end = raw.index(b"\xe0\x7f\x10\0")
        for _ in range(800):
            wrong = bytearray(raw)
            for place in rng.integers(start, end, rng.integers(1, 4)):
                wrong[place] = rng.choice([0, 1, 2, 255, rng.integers(256)])
            path.write_bytes(wrong)
            found = read(path)
            if isinstance(found, Problem):
                assert found.code in CODES, found
                assert PHI not in found.message
                seen.add(found.code)
            elif isinstance(found, Frame):
                lut = found.spec.lut
                assert lut is not None
                assert 0 < lut.count <= 65536
    assert ProblemCode.BAD_LUT in seen


# --------------------------------------------------------------------------- modality LUT


def modality_lut(entries, first=0, bits=16, vr="US", kind="OD") -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 65536, first, bits]
    item["LUTDescriptor"].VR = "US"
    item.ModalityLUTType = kind
    if vr == "US":
        item.add_new(0x00283006, "US", [int(entry) for entry in entries])
    else:
        item.add_new(0x00283006, "OW", np.asarray(entries, "<u2").tobytes())
    return item


@pytest.mark.parametrize("vr", ["US", "OW"])
@pytest.mark.parametrize(("count", "bits"), [(4096, 16), (4096, 12), (100, 8), (65536, 16)])
@pytest.mark.parametrize("first", [0, 30])
def test_modality_luts_are_those_of_pydicom(tmp_path, vr, count, bits, first):
    if (vr, count) == ("US", 65536):
        vr = "OW"  # explicit VR US has no room for it
    entries = np.random.default_rng(0).integers(0, 2**bits, count)
    pixels = pixel_kinds.picture((1, 12, 14), 12)
    path = tmp_path / "a.dcm"
    pixel_kinds.write(path, pixels, "MONOCHROME2", bits=12,
                      ModalityLUTSequence=[modality_lut(entries, first, bits, vr)])  # fmt: skip
    lut = lut_of(path)
    assert (lut.first, lut.count, lut.channels, lut.kind) == (first, count, 1, "OD")
    assert lut.dtype == "<u2"
    ours = apply_lut(pixels[0], first=lut.first, entries=entries_of(lut)[:, 0])
    if bits == 16:  # pydicom 3.0 fails for 12, and wraps indices of narrow tables
        theirs = apply_modality_lut(pixels[0].astype(np.int32), pydicom.dcmread(path))
        assert np.array_equal(ours, theirs)
    assert np.array_equal(ours, entries[(pixels[0].astype(int) - first).clip(0, count - 1)])


def test_first_value_of_a_modality_lut_may_be_negative(tmp_path):
    pixels = np.arange(-8, 8, dtype=np.int16).reshape(1, 4, 4)
    path = tmp_path / "a.dcm"
    pixel_kinds.write(path, pixels, "MONOCHROME2",
                      ModalityLUTSequence=[modality_lut(range(16), 65528)])  # fmt: skip
    assert lut_of(path).first == -8


@pytest.mark.parametrize(
    "items",
    [
        [Dataset()],
        [modality_lut(range(4)), modality_lut(range(4))],
        [modality_lut(range(4), bits=7)],
        [modality_lut(range(4), bits=17)],
    ],
)
def test_modality_luts_that_cannot_be(tmp_path, items):
    path = tmp_path / "a.dcm"
    pixel_kinds.write(path, pixel_kinds.picture((1, 8, 8)), "MONOCHROME2",
                      ModalityLUTSequence=items)  # fmt: skip
    bad(path)


def test_a_modality_lut_shorter_than_its_descriptor(tmp_path):
    item = modality_lut(range(40))
    item.LUTDescriptor = [41, 0, 16]
    item["LUTDescriptor"].VR = "US"
    path = tmp_path / "a.dcm"
    pixel_kinds.write(path, pixel_kinds.picture((1, 8, 8)), "MONOCHROME2",
                      ModalityLUTSequence=[item])  # fmt: skip
    assert bad(path) == "LUTData has 80 bytes for 41 entries of 16 bits"


def test_the_real_one(shared_data):
    path = shared_data / "lut-overlay/pydicom-data/mlut_18.dcm"
    lut = lut_of(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(path)
        stored = pixel_array(ds)
    ours = apply_lut(stored, first=lut.first, entries=entries_of(lut)[:, 0])
    assert np.array_equal(ours, apply_modality_lut(stored, ds))
