"""The test data are what their README and checksums.csv say."""

import csv
import hashlib
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames

DATA = Path(__file__).parent / "data"
ORIGINALS = DATA.parents[2] / "shared" / "data"
ROWS = list(csv.DictReader((DATA / "checksums.csv").read_text().splitlines()))

# The two series that were encoded again: where their originals lie, and what decodes them.
RECODED = {
    "ct-head-j2k": ("ct-series/philips-head-5mm", imagecodecs.jpeg2k_decode),
    "ct-tilt-jpegls": ("gantry-tilt/philips-head-tilt-minus18.5", imagecodecs.jpegls_decode),
}

# Phantoms, placeholders and the names that the publishers put in. A new name is looked at first.
KNOWN_NAMES = {
    "",
    "^^^^",
    "CompressedSamples^CT1",
    "CompressedSamples^MR1",
    "CompressedSamples^NM1",
    "Doe^Archibald",
    "HEAD",
    "JANCT000",
    "Last Name^First Name",
    "Lastname^Firstname",
    "Lestrade^G",
    "MISTER^CT",
    "PLA",
    "d2n_Philips_3T_R571",
    "dicom2nifti",
}


def pixels_sha256(values):
    return hashlib.sha256(values.astype(values.dtype.newbyteorder("<")).tobytes()).hexdigest()


def rows_of(folder):
    return [row for row in ROWS if row["file"].startswith(folder + "/")]


def test_every_file_is_listed_and_unchanged():
    files = [path for path in DATA.glob("*/*") if path.is_file() and path.parent.name != "LICENSES"]
    found = {
        path.relative_to(DATA).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if "__pycache__" not in path.parts
    }
    assert found == {row["file"]: row["sha256"] for row in ROWS}


def test_all_of_it_is_small():
    assert sum(path.stat().st_size for path in DATA.rglob("*")) <= 20e6


def test_readme_tells_origin_and_licence_of_every_folder():
    table = {}
    for line in (DATA / "README.md").read_text().splitlines():
        if line.startswith("| `"):
            folder, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            table[folder.strip("`")] = cells
    assert set(table) == {row["file"].split("/")[0] for row in ROWS}
    for folder, (count, _, _, origin, licence, _) in table.items():
        assert int(count) == len(rows_of(folder)), folder
        for row in rows_of(folder):
            assert row["origin"].split(":")[0] in origin, folder
        texts = [part.split(")")[0] for part in licence.split("](")[1:]]
        assert texts, folder
        assert all((DATA / text).is_file() for text in texts), folder


@pytest.mark.filterwarnings("ignore")  # pydicom has much to say about the malformed files
def test_no_name_of_a_patient():
    names = set()
    for row in ROWS:
        if not row["file"].startswith("reference/"):
            dataset = pydicom.dcmread(DATA / row["file"], force=True, stop_before_pixels=True)
            names.add(str(dataset.get("PatientName", "")))
    assert names <= KNOWN_NAMES


@pytest.mark.parametrize("folder", RECODED)
def test_recoded_pixels_have_the_checksum_of_the_original(folder):
    _, decode = RECODED[folder]
    for row in rows_of(folder):
        dataset = pydicom.dcmread(DATA / row["file"])
        (stream,) = generate_frames(dataset.PixelData, number_of_frames=1)
        assert pixels_sha256(decode(stream)) == row["pixels_sha256"], row["file"]
        assert pixels_sha256(dataset.pixel_array) == row["pixels_sha256"], row["file"]


@pytest.mark.parametrize("folder", RECODED)
def test_recoded_files_equal_their_originals(folder):
    source, decode = RECODED[folder]
    if not (ORIGINALS / source).is_dir():
        pytest.skip("the original series is not on this machine")
    for row in rows_of(folder):
        made = DATA / row["file"]
        before, after = pydicom.dcmread(ORIGINALS / source / made.name), pydicom.dcmread(made)
        (stream,) = generate_frames(after.PixelData, number_of_frames=1)
        assert np.array_equal(decode(stream), before.pixel_array), made
        del before.PixelData, after.PixelData
        assert before == after, made


def test_classic_and_enhanced_mr_are_the_same_scan():
    enhanced = pydicom.dcmread(DATA / "mr-asl-enhanced" / "1901_WIP_3DpCASL_real.dcm").pixel_array
    classic = {row["pixels_sha256"] for row in rows_of("mr-asl")}
    assert {pixels_sha256(frame) for frame in enhanced} == classic
