"""The catalogue of bad inputs, B04 to B18: each input, put beside a good one, and what comes of it.

A row makes files in a folder. All of it is ingested: the good slice is always stored, the others
become what the row says, within seconds and without a word of the patient. What other files test
already is named in `ELSEWHERE`.
"""

import gzip
import io
import stat
import struct
import tarfile
import time
import zipfile
import zlib
from collections import Counter
from functools import partial
from pathlib import Path

import jpegls_encoder
import multiframe
import numpy as np
import pixel_kinds
import pytest
import synth

import sansfilm
from sansfilm.decode import syntaxes
from sansfilm.options import Budgets, Options

ELSEWHERE = {
    "B04": "planning.test_headers: test_a_cut_file_is_never_an_image",  # 200 lengths, 7 syntaxes
    "B05": "planning.test_dataset: test_lengths_that_cannot_be, test_odd_lengths_are_followed",
    "B06": "planning.test_dataset: test_depth",  # 100, 300 and 100,000, defined or not
    "B07": "planning.test_dataset: test_a_million_elements",  # with a smaller budget
    "B10": "planning.test_frames_wrong: test_uncompressed_pixels_of_another_length",
    "B11": "planning.test_frames_wrong: test_wrong_tables_are_not_believed, "
    "test_extended_offset_tables, test_frames_that_cannot_be_found, "
    "test_a_frame_without_bytes_costs_itself",
    "B12": "decode.test_codestream: test_another_image_is_found_before_it_is_decoded",
    "B13": "decode.test_broken: test_cut_frames_are_refused; decode.test_fuzz: test_mutated_frames",
    "B14": "decode.test_bombs: test_a_jpeg_of_many_scans_is_stopped, "
    "test_a_jpeg_2000_image_of_too_many_tiles_is_not_decoded, "
    "test_a_jpeg_2000_image_of_many_layers_ends",
    "B15": "decode.test_codestream: test_broken_rle",
    "B16": "planning.test_packed: test_a_zip_of_too_many_members",
    "B17": "planning.test_headers: test_unsupported_syntaxes",
    "B18": "planning.test_luts: test_palettes_that_do_not_fit_their_descriptor; "
    "decode.test_colour: test_what_a_jpeg_says_of_its_colours_comes_before_what_the_dataset_says",
}

SIZE = {"slices": 1, "rows": 16, "columns": 20}


def slice_of(seed=7, syntax=synth.EXPLICIT_LE, folder=None, edit=None, **more):
    """Return the bytes of one slice of a series, and its Synth."""
    edited = None if edit is None else lambda ds, _: edit(ds)
    made = synth.series(folder, seed=seed, transfer_syntax=syntax, edit=edited, **SIZE | more)
    return made.paths[0].read_bytes()


def setting(**changes):
    def edit(ds):
        for keyword, value in changes.items():
            setattr(ds, keyword, value)

    return edit


def element(tag, vr, value):
    """Return an explicit little endian element."""
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    if vr in (b"OB", b"OW", b"SQ", b"UN"):
        return head + struct.pack("<HI", 0, len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def replaced(data, tag, vr, *new):
    """Put other elements in the place of one, behind the file meta information."""
    start = data.index(struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr), 300)
    end = start + 8 + struct.unpack_from("<H", data, start + 6)[0]
    return data[:start] + b"".join(new) + data[end:]


ROWS, COLUMNS, FRAMES = 0x00280010, 0x00280011, 0x00280008
US16 = struct.pack("<H", 16)


# ---------------------------------------------------------------------- whole datasets: B04 to B09


def cut(folder, syntax, share):
    data = slice_of(folder=folder, syntax=syntax)
    next(folder.iterdir()).write_bytes(data[: int(len(data) * share)])


def with_rows(folder, *new):
    data = slice_of(folder=folder)
    next(folder.iterdir()).write_bytes(replaced(data, ROWS, b"US", *new))


def with_frames(folder, text):
    data = slice_of(folder=folder, edit=setting(NumberOfFrames=1))
    next(folder.iterdir()).write_bytes(replaced(data, FRAMES, b"IS", element(FRAMES, b"IS", text)))


def before_pixels(folder, *parts):
    """Put bytes of elements before Pixel Data."""
    data = slice_of(folder=folder)
    at = data.index(b"\xe0\x7f\x10\x00OW")
    next(folder.iterdir()).write_bytes(data[:at] + b"".join(parts) + data[at:])


PRIVATE, SEQUENCE = 0x00291010, b"\x29\x00\x11\x10SQ\0\0\xff\xff\xff\xff"
ITEM, ITEM_END = b"\xfe\xff\x00\xe0\xff\xff\xff\xff", b"\xfe\xff\x0d\xe0\0\0\0\0"
SEQUENCE_END = b"\xfe\xff\xdd\xe0\0\0\0\0"


def nested(depth):
    return (SEQUENCE + ITEM) * depth + (ITEM_END + SEQUENCE_END) * depth


# ------------------------------------------------------------------------ pixel data: B10 to B15


def pixels(folder, change):
    data = slice_of(folder=folder)
    at = data.index(b"\xe0\x7f\x10\x00OW")
    value = data[at + 12 :]
    value = value[:change] if change < 0 else value + b"\0" * change
    next(folder.iterdir()).write_bytes(data[:at] + element(0x7FE00010, b"OW", value))


def coded(folder, syntax, codestreams, *, allocated=16, bits=12, signed=False, **more):
    """Write an image of 16 x 20 with these codestreams as its frames."""

    def edit(ds):
        ds.PixelData = multiframe.encapsulated(codestreams)
        ds["PixelData"].is_undefined_length = True
        setting(**more)(ds)

    slice_of(folder=folder, syntax=syntax, edit=edit, bits_allocated=allocated, bits_stored=bits,
             signed=signed)  # fmt: skip


def image(rows=16, columns=20, bits=12, *, signed=False):
    stored = synth.phantom(np.random.default_rng(3), (1, rows, columns), 16 if bits > 8 else 8,
                           bits, signed=signed)  # fmt: skip
    return stored[0]


def encoded(syntax, bits=12, rows=16, columns=20):
    return synth.encode(image(rows, columns, bits), syntax, bits)


def three_components(syntax):
    rgb = pixel_kinds.picture((1, 16, 20, 3))[0]
    if syntax == synth.JPEG_LS:
        return jpegls_encoder.encode(rgb, 8)
    import imagecodecs

    return bytes(imagecodecs.jpeg2k_encode(rgb, level=0, codecformat="j2k"))


def rle(*segments, offsets=()):
    at = [64 + sum(map(len, segments[:n])) for n in range(len(segments))]
    at = [*(offsets or at), *[0] * 15][:15]
    return struct.pack("<16I", len(segments), *at) + b"".join(segments)


# ---------------------------------------------------------------------- zip, tar and deflate: B16


def inner(folder, **more):
    """Return the bytes of a slice that lies nowhere."""
    beside = folder.parent.parent / "beside"
    return slice_of(folder=beside, **more)


def zipped(folder, *entries, name="a.zip", method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(folder / name, "w", method) as archive:
        for entry, data in entries:
            archive.writestr(entry, data)
    return folder / name


def tarred(folder, *entries, name="a.tar"):
    with tarfile.open(folder / name, "w") as archive:
        for entry, data in entries:
            about = entry if isinstance(entry, tarfile.TarInfo) else tarfile.TarInfo(entry)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return folder / name


def forged(folder, size):
    """Let the directory say another size than the member has."""
    path = zipped(folder, ("1.dcm", inner(folder)))
    data = bytearray(path.read_bytes())
    struct.pack_into("<L", data, data.rindex(b"PK\1\2") + 24, size)
    path.write_bytes(data)


def overlapping(folder):
    """Let a thousand names share the bytes of one member."""
    path = zipped(folder, ("0000.dcm", inner(folder)))
    data = path.read_bytes()
    at, end = data.rindex(b"PK\1\2"), data.rindex(b"PK\5\6")
    entries = [data[at:end].replace(b"0000.dcm", b"%04d.dcm" % n) for n in range(1000)]
    last = bytearray(data[end:])
    struct.pack_into("<2H2L", last, 8, 1000, 1000, len(b"".join(entries)), at)
    path.write_bytes(data[:at] + b"".join(entries) + last)


def many_frames_claimed(folder):
    zipped(folder, ("a.dcm", inner(folder)), ("b", b"\0" * 2**23), ("c", b"\0" * 2**23))


def link_in_zip(folder):
    link = zipfile.ZipInfo("link.dcm")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    zipped(folder, (link, "/etc/passwd"), ("1.dcm", inner(folder)))


def link_in_tar(folder, kind):
    link = tarfile.TarInfo("link.dcm")
    link.type, link.linkname = kind, "/etc/passwd"
    tarred(folder, (link, b""), ("1.dcm", inner(folder)))


def encrypted(folder):
    path = zipped(folder, ("1.dcm", inner(folder)))
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)


def cut_file(path, share):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def bomb_in_gzip(folder):
    (folder / "a.dcm.gz").write_bytes(gzip.compress(b"\0" * 2**24))


def deflate_bomb(folder):
    data = slice_of(folder=folder, syntax=synth.DEFLATED_LE)
    start = data.index(b"1.2.840.10008.1.2.1.99") + 22
    start = 144 + struct.unpack_from("<I", data, 140)[0]
    engine = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    body = engine.compress(element(PRIVATE, b"OB", b"\0" * 2**24)) + engine.flush()
    next(folder.iterdir()).write_bytes(data[:start] + body)


def damaged_member(folder):
    path = zipped(folder, ("1.dcm", inner(folder)), ("2.dcm", inner(folder, seed=8)))
    data = bytearray(path.read_bytes())
    data[200] ^= 0x55
    path.write_bytes(data)


# --------------------------------------------------------------------- syntaxes, colour: B17, B18


def syntax_named(folder, uid):
    slice_of(folder=folder)
    path = next(folder.iterdir())
    data = path.read_bytes()
    value = uid.encode() + b"\0" * (len(uid) % 2)
    old = element(0x00020010, b"UI", b"1.2.840.10008.1.2.1\0")
    new = element(0x00020010, b"UI", value)
    length = struct.unpack_from("<I", data, 140)[0] + len(new) - len(old)
    path.write_bytes((data[:140] + struct.pack("<I", length) + data[144:]).replace(old, new, 1))


def palette_of(folder, count, **more):
    table = np.arange(3 * count, dtype=np.uint8).reshape(count, 3)
    tags = pixel_kinds.palette(table, bits=8) | more
    pixel_kinds.write(folder / "p.dcm", pixel_kinds.picture((1, 16, 20)), "PALETTE COLOR", **tags)


def odd_422(folder):
    rgb = pixel_kinds.picture((1, 16, 22, 3))
    pixel_kinds.write(folder / "p.dcm", rgb, "YBR_FULL_422")
    path = folder / "p.dcm"
    odd = element(COLUMNS, b"US", struct.pack("<H", 21))
    path.write_bytes(replaced(path.read_bytes(), COLUMNS, b"US", odd))


VIDEO = ("1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.107")
OTHERS = ("1.2.840.10008.1.2.4.94", "1.2.840.113619.5.2", "1.2.3.4", "1.2.840.10008.1.2.6.1")
JPEGS = (synth.J2K, synth.HTJ2K, synth.JPEG_LOSSLESS, synth.JPEG_LS)

# name: (what is written, Counter of codes, frames that are stored besides the good one)
CASES = {
    "B04 native": (partial(cut, syntax=synth.EXPLICIT_LE, share=0.9), {"TRUNCATED": 1}, 0),
    "B04 encapsulated": (partial(cut, syntax=synth.J2K, share=0.9), {"TRUNCATED": 1}, 0),
    "B04 half a header": (partial(cut, syntax=synth.EXPLICIT_LE, share=0.31), {"TRUNCATED": 1}, 0),
    "B05 longer than the file": (
        lambda f: before_pixels(f, element(PRIVATE, b"UN", b"")[:8] + b"\0\0\1\0"),
        {"TRUNCATED": 1}, 0),  # a cut file looks the same
    "B05 0xFFFFFFF0": (
        lambda f: before_pixels(f, element(PRIVATE, b"UN", b"")[:8] + b"\xf0\xff\xff\xff"),
        {"BAD_LENGTH": 1}, 0),
    "B05 odd": (lambda f: before_pixels(f, element(PRIVATE, b"LO", b"odd")), {}, 1),
    "B06 100 deep": (lambda f: before_pixels(f, nested(100)), {}, 1),
    "B06 300 deep": (lambda f: before_pixels(f, nested(300)), {"TOO_DEEP": 1}, 0),
    "B06 100,000 deep": (lambda f: before_pixels(f, nested(100_000)), {"TOO_DEEP": 1}, 0),
    "B07 10^6 elements": (
        lambda f: before_pixels(f, element(PRIVATE, b"LO", b"") * 10**6),
        {"TOO_MANY_ELEMENTS": 1}, 0),
    "B07 10^5 items": (
        lambda f: before_pixels(f, SEQUENCE + (ITEM + ITEM_END) * 10**5 + SEQUENCE_END), {}, 1),
    "B08 65535 x 65535": (
        lambda f: slice_of(folder=f, edit=setting(Rows=65535, Columns=65535)), {"BUDGET": 1}, 0),
    "B08 2^31 frames": (partial(with_frames, text=b"2147483647"), {"BUDGET": 1}, 0),
    "B08 more than 2^32 samples": (
        lambda f: slice_of(folder=f, edit=setting(Rows=16384, Columns=16384, NumberOfFrames=16)),
        {"PIXEL_LENGTH": 1}, 0),
    "B08 -1 frames": (partial(with_frames, text=b"-1"), {"BAD_VALUE": 1}, 0),
    "B08 9x frames": (partial(with_frames, text=b"9x"), {"BAD_VALUE": 1}, 0),
    "B08 0 frames": (partial(with_frames, text=b"0 "), {"BAD_VALUE": 1}, 0),
    "B08 0 rows": (lambda f: slice_of(folder=f, edit=setting(Rows=0)), {"BAD_VALUE": 1}, 0),
    "B09 Rows as UL": (
        lambda f: with_rows(f, element(ROWS, b"UL", struct.pack("<I", 16))), {"BAD_VALUE": 1}, 0),
    "B09 Rows twice in one": (
        lambda f: with_rows(f, element(ROWS, b"US", US16 * 2)), {"BAD_VALUE": 1}, 0),
    "B09 two Rows": (
        lambda f: with_rows(f, element(ROWS, b"US", US16), element(ROWS, b"US", b"\x08\0")),
        {"BAD_VALUE": 1}, 0),
    "B09 no Rows": (with_rows, {"BAD_VALUE": 1}, 0),
    "B10 shorter": (partial(pixels, change=-2), {"PIXEL_LENGTH": 1}, 0),
    "B10 longer": (partial(pixels, change=2), {"PIXEL_LENGTH": 1}, 0),
    "B10 a frame more": (partial(pixels, change=16 * 20 * 2), {"PIXEL_LENGTH": 1}, 0),
    "B11 no bytes": (lambda f: coded(f, synth.J2K, [b""]), {"BAD_FRAGMENTS": 1}, 0),
    "B11 two frames, one claimed": (
        lambda f: coded(f, synth.J2K, [encoded(synth.J2K)] * 2), {"BAD_FRAGMENTS": 1}, 0),
    **{
        f"B12 rows, {syntaxes.NAMES[syntax]}": (
            lambda f, s=syntax: coded(f, s, [encoded(s, rows=17)]), {"CODESTREAM_MISMATCH": 1}, 0)
        for syntax in JPEGS
    },
    **{
        f"B12 12 bits in 8, {syntaxes.NAMES[syntax]}": (
            lambda f, s=syntax: coded(f, s, [encoded(s)], allocated=8, bits=8),
            {"CODESTREAM_MISMATCH": 1}, 0)
        for syntax in JPEGS
    },
    **{
        f"B12 components, {syntaxes.NAMES[syntax]}": (
            lambda f, s=syntax: coded(f, s, [three_components(s)], allocated=8, bits=8),
            {"CODESTREAM_MISMATCH": 1}, 0)
        for syntax in (synth.J2K, synth.JPEG_LS)
    },
    "B13 cut": (
        lambda f: coded(f, synth.J2K, [encoded(synth.J2K)[:-300]]), {"DECODE_FAILED": 1}, 0),
    "B14 tiles that are missing": (
        lambda f: coded(f, synth.J2K, [
            (data := encoded(synth.J2K))[:24] + struct.pack(">2I", 1, 1) + data[32:]]),
        {"DECODE_FAILED": 1}, 0),  # 320 of which one is there
    "B15 no segments": (
        lambda f: coded(f, synth.RLE, [rle()]), {"CODESTREAM_MISMATCH": 1}, 0),
    "B15 16 segments": (
        lambda f: coded(f, synth.RLE, [struct.pack("<16I", 16, *range(64, 79)) + b"\0" * 99]),
        {"CODESTREAM_MISMATCH": 1}, 0),
    "B15 offsets beyond": (
        lambda f: coded(f, synth.RLE, [rle(b"\0" * 99, b"\0" * 99, offsets=(64, 10**9))]),
        {"DECODE_FAILED": 1}, 0),
    "B15 bomb": (
        lambda f: coded(f, synth.RLE, [rle(b"\x81\0" * 2**19, b"\x81\0" * 2**19)]),
        {"DECODE_FAILED": 1}, 0),
    "B16 deflated 1000:1": (deflate_bomb, {"BUDGET": 1}, 0),
    "B16 a good zip": (
        lambda f: zipped(f, ("x/1.dcm", inner(f)), ("2.dcm", inner(f, seed=8))), {}, 2),
    "B16 a good zip, not packed": (
        lambda f: zipped(f, ("1.dcm", inner(f)), method=zipfile.ZIP_STORED), {}, 1),
    "B16 a good tar": (
        lambda f: tarred(f, ("x/1.dcm", inner(f)), ("2.dcm", inner(f, seed=8))), {}, 2),
    "B16 forged, too large": (partial(forged, size=2**22), {"UNSAFE_ARCHIVE": 1}, 0),
    "B16 forged, larger": (partial(forged, size=5000), {"UNREADABLE": 1}, 0),
    "B16 forged, smaller": (partial(forged, size=500), {"UNREADABLE": 1}, 0),
    "B16 shared bytes": (overlapping, {"UNSAFE_ARCHIVE": 1}, 0),
    "B16 bombs beside": (many_frames_claimed, {"BUDGET": 1}, 0),
    "B16 one bomb": (
        lambda f: zipped(f, ("1.dcm", inner(f)), ("b", b"\0" * (2**23 + 1))), {"BUDGET": 1}, 1),
    "B16 nested": (
        lambda f: zipped(f, ("1.dcm", inner(f)), ("b.zip", b"PK\3\4"), ("c.tar.gz", b"\x1f\x8b")),
        {"UNSAFE_ARCHIVE": 2}, 1),
    "B16 ../": (
        lambda f: zipped(f, ("../1.dcm", inner(f)), ("x/../../1", b""), ("/1", b""), ("C:\\1", b""),
                         ("2.dcm", inner(f))),
        {"UNSAFE_ARCHIVE": 4}, 1),
    "B16 ../ in a tar": (
        lambda f: tarred(f, ("../1.dcm", inner(f)), ("2.dcm", inner(f))),
        {"UNSAFE_ARCHIVE": 1}, 1),
    "B16 odd names": (
        lambda f: zipped(f, ("a::b", inner(f)), ("\x1b[31m", b""), ("2.dcm", inner(f))),
        {"UNSAFE_ARCHIVE": 2}, 1),
    "B16 link": (link_in_zip, {"UNSAFE_ARCHIVE": 1}, 1),
    "B16 link in a tar": (
        partial(link_in_tar, kind=tarfile.SYMTYPE), {"UNSAFE_ARCHIVE": 1}, 1),
    "B16 hard link in a tar": (
        partial(link_in_tar, kind=tarfile.LNKTYPE), {"UNSAFE_ARCHIVE": 1}, 1),
    "B16 device in a tar": (
        partial(link_in_tar, kind=tarfile.BLKTYPE), {"UNSAFE_ARCHIVE": 1}, 1),
    "B16 encrypted": (encrypted, {"UNREADABLE": 1}, 0),
    "B16 damaged member": (damaged_member, {"UNREADABLE": 1}, 1),
    "B16 cut zip": (
        lambda f: cut_file(zipped(f, ("1.dcm", inner(f))), 0.8), {"UNREADABLE": 1}, 0),
    "B16 cut tar": (
        lambda f: cut_file(tarred(f, ("1.dcm", inner(f)), ("2", b"x" * 20000)), 0.5),
        {"UNREADABLE": 1}, 0),
    "B16 gzip": (bomb_in_gzip, {"NOT_DICOM": 1}, 0),
    "B17 big endian": (lambda f: slice_of(folder=f, syntax=synth.EXPLICIT_BE), {}, 1),
    **{
        f"B17 {uid}": (partial(syntax_named, uid=uid), {"UNSUPPORTED_SYNTAX": 1}, 0)
        for uid in (*VIDEO, *OTHERS)
    },
    "B18 short palette": (
        lambda f: palette_of(f, 256, RedPaletteColorLookupTableData=b"\0" * 100),
        {"BAD_LUT": 1}, 0),
    "B18 index beyond the palette": (partial(palette_of, count=100), {}, 1),
    "B18 422 of odd width": (odd_422, {"BAD_VALUE": 1}, 0),
    "B18 MONOCHROME1": (
        lambda f: slice_of(folder=f, edit=setting(PhotometricInterpretation="MONOCHROME1")), {}, 1),
    "B18 an ICC profile that is none": (
        lambda f: pixel_kinds.write(f / "p.dcm", pixel_kinds.picture((1, 16, 20, 3)),
                                    ICCProfile=b"ZZPHI" * 4),
        {}, 1),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore:.*:UserWarning:pydicom")
def test_a_bad_input_costs_itself(tmp_path, case):
    write, codes, stored = CASES[case]
    good = synth.series(tmp_path / "in" / "good", seed=1, **SIZE)
    bad = tmp_path / "in" / "bad"
    bad.mkdir()
    write(bad)
    began = time.monotonic()
    options = Options(budgets=Budgets(inflated_bytes=2**23, elements=500_000))
    report = sansfilm.ingest(tmp_path / "in", tmp_path / "a", workers=1, options=options)
    assert time.monotonic() - began < 20
    assert Counter(str(problem.code) for problem in report.problems) == codes
    assert report.frames["stored"] == 1 + stored
    assert report.frames["found"] == report.frames["stored"] + report.frames["in_problems"]
    for problem in report.problems:
        assert "ZZPHI" not in problem.message
        assert (problem.uri + problem.message).isprintable()
        if problem.code == "UNSUPPORTED_SYNTAX":
            assert case.removeprefix("B17 ") in problem.message
    volume = sansfilm.open(tmp_path / "a")[good.series_uid]
    np.testing.assert_array_equal(volume.array[:], good.values)


@pytest.mark.parametrize("name", ["zip", "zip, not packed", "tar"])
def test_members_give_the_values_of_their_files(tmp_path, name):
    """Zip and tar files hold the same volume as the folder that was packed."""
    made = synth.series(tmp_path / "files", slices=5, transfer_syntax=synth.JPEG_LS)
    entries = [(f"a/{path.name}", path.read_bytes()) for path in made.paths]
    (tmp_path / "in").mkdir()
    if name == "tar":
        tarred(tmp_path / "in", *entries)
    else:
        method = zipfile.ZIP_STORED if "not" in name else zipfile.ZIP_DEFLATED
        zipped(tmp_path / "in", *entries, method=method)
    assert not sansfilm.ingest(tmp_path / "in", tmp_path / "a", workers=1).problems
    (volume,) = sansfilm.open(tmp_path / "a")
    np.testing.assert_array_equal(volume.array[:], made.values)
    assert [bytes(ds.PixelData) if "PixelData" in ds else b"" for ds in volume.headers()] == [
        b""
    ] * 5
    again = sansfilm.ingest(tmp_path / "in", tmp_path / "a", workers=1)
    assert len(again.unchanged) == 1


@pytest.mark.parametrize("syntax", [synth.J2K, synth.HTJ2K])
@pytest.mark.parametrize("inside", [False, True], ids=["unsigned inside", "signed inside"])
def test_b12_a_sign_that_differs_is_read_as_the_dataset_says(tmp_path, syntax, inside):
    """Not refused: scanners do write this, and readers take the dataset's word (PS3.5 8.2)."""
    stored = image(signed=inside)
    (tmp_path / "in").mkdir()
    coded(tmp_path / "in", syntax, [synth.encode(stored, syntax, 12)], signed=not inside)
    assert not sansfilm.ingest(tmp_path / "in", tmp_path / "a", workers=1).problems
    (volume,) = sansfilm.open(tmp_path / "a")
    words = stored.astype(int) & 0xFFF
    expected = words if inside else words - ((words & 0x800) << 1)
    np.testing.assert_array_equal(volume.array[0], expected - 1024)


def test_b18_indices_beyond_a_palette_take_its_last_colour(tmp_path):
    (tmp_path / "in").mkdir()
    palette_of(tmp_path / "in", 100)
    sansfilm.ingest(tmp_path / "in", tmp_path / "a", workers=1)
    (volume,) = sansfilm.open(tmp_path / "a")
    indices = pixel_kinds.picture((1, 16, 20))[0]
    assert indices.max() > 150
    table = np.arange(300, dtype=np.uint8).reshape(100, 3)
    expected = np.moveaxis(table[np.minimum(indices, 99)], -1, 0)
    np.testing.assert_array_equal(np.squeeze(volume.array[:]), expected)


def test_what_is_tested_elsewhere_is_there():
    for entry in "; ".join(ELSEWHERE.values()).split("; "):
        module, _, names = entry.partition(": ")
        text = (Path(__file__).parent / module.replace(".", "/")).with_suffix(".py").read_text()
        for name in names.split(", "):
            assert f"\ndef {name}(" in text, name
    numbers = {f"B{number:02}" for number in range(4, 19)}
    assert {name[:3] for name in CASES} | ELSEWHERE.keys() == numbers
