"""Series -> archive -> open -> equal to what independent programs make of the same files."""

import io
import json
import random
import shutil
import warnings

import highdicom
import nibabel
import numpy as np
import pandas as pd
import pydicom
import pytest
import SimpleITK
import synth
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sansfilm
from sansfilm.planning import discover
from sansfilm.planning.listing import Listing

SERIES = {"ct-head-j2k": (28, 512, 512), "mr-asl": (40, 96, 96), "mr-hitachi": (4, 64, 64)}
"""Every classic CT and MR series of several slices in tests/data."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory, data):
    url = tmp_path_factory.mktemp("archive") / "a"
    report = sansfilm.ingest([data / name for name in SERIES], url)
    assert not report.problems
    return sansfilm.open(url)


@pytest.fixture(scope="module")
def volumes(archive, data):
    by_series = {volume.series_uid: volume for volume in archive}
    found = {}
    for name in SERIES:
        first = pydicom.dcmread(next((data / name).glob("*")), stop_before_pixels=True)
        found[name] = by_series[str(first.SeriesInstanceUID)]
    return found


def canonical(array, affine_lps):
    """Turn (array, affine) so that index directions are patient directions: flips fall away."""
    image = nibabel.Nifti1Image(array.astype(np.float64), np.diag([-1, -1, 1, 1]) @ affine_lps)
    turned = nibabel.as_closest_canonical(image)
    return np.asarray(turned.dataobj), turned.affine


def with_highdicom(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        datasets = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
        for dataset in datasets:  # highdicom insists on it, also where the scanner wrote none
            dataset.setdefault("FrameOfReferenceUID", "1.2.3")
        volume = highdicom.get_volume_from_series(datasets)
    return canonical(volume.array, volume.affine)


def with_simpleitk(folder):
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return canonical(SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0), affine)


@pytest.mark.parametrize("name", SERIES)
def test_voxels_and_affine_equal_highdicom(name, volumes, data):
    volume = volumes[name]
    assert volume.array.shape == SERIES[name]
    ours, affine = canonical(volume.to_xarray().values, volume.affine_lps)
    theirs, their_affine = with_highdicom(data / name)
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(affine, their_affine, atol=1e-4)


@pytest.mark.parametrize("name", SERIES)
def test_voxels_and_affine_equal_simpleitk(name, volumes, data):
    volume = volumes[name]
    ours, affine = canonical(volume.to_xarray().values, volume.affine_lps)
    theirs, their_affine = with_simpleitk(data / name)
    np.testing.assert_allclose(affine, their_affine, atol=1e-4)
    if float(volume.attributes["rescale"]["slope"]).is_integer():
        np.testing.assert_array_equal(ours, theirs)
    else:  # SimpleITK computes fractional rescale in single precision
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("name", SERIES)
def test_ways_out_have_the_same_world_coordinates(name, volumes):
    volume = volumes[name]
    ours, affine = canonical(volume.to_xarray().values, volume.affine_lps)
    nifti = nibabel.as_closest_canonical(volume.to_nibabel())
    np.testing.assert_array_equal(np.asarray(nifti.dataobj), ours)
    np.testing.assert_allclose(nifti.affine, affine, atol=1e-4)
    image = volume.to_sitk()
    corner = [size - 1 for size in image.GetSize()]
    mine = volume.affine_lps @ [*corner[::-1], 1]
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(corner), mine[:3], atol=1e-4)


@pytest.mark.parametrize("name", SERIES)
def test_every_level_lies_on_level_0(name, volumes):
    volume = volumes[name]
    for level, array in enumerate(volume.levels):
        factors = volume.factors(level)
        first_block = (factors - 1) / 2  # the centre of the block of voxel (0, 0, 0)
        expected = volume.affine_lps @ [*first_block, 1]
        np.testing.assert_allclose(volume.affine(level)[:, 3], expected, atol=1e-9)
        shape = -(-np.array(volume.array.shape) // factors.astype(int))
        assert array.shape == tuple(shape)


@pytest.mark.parametrize("name", SERIES)
def test_headers_come_back_byte_for_byte(name, volumes, data):
    volume = volumes[name]
    datasets = volume.headers()
    for frame, (uri, dataset) in enumerate(zip(volume.frames["source_uri"], datasets, strict=True)):
        with open(uri, "rb") as file:  # noqa: PTH123 - a path as the table has it
            whole = file.read()
        start, end = pixel_data(whole)
        assert volume.header_bytes(frame) == whole[:start] + whole[end:]
        original = pydicom.dcmread(uri)
        del original.PixelData
        assert dataset == original


@pytest.mark.parametrize("syntax", [synth.DEFLATED_LE, synth.EXPLICIT_BE, synth.IMPLICIT_LE])
def test_headers_of_other_encodings_come_back(tmp_path, syntax):
    def trailing(dataset, index):
        dataset.DataSetTrailingPadding = bytes([index] * 8)

    made = synth.series(tmp_path / "in", slices=3, transfer_syntax=syntax, edit=trailing)
    sansfilm.ingest(made.folder, tmp_path / "a")
    volume = sansfilm.open(tmp_path / "a")[made.series_uid]
    for index, dataset in enumerate(volume.headers()):
        original = pydicom.dcmread(made.paths[index])
        assert dataset.file_meta == original.file_meta
        assert original.DataSetTrailingPadding == bytes([index] * 8)
        del original.PixelData
        assert dataset == original


def pixel_data(whole):
    """Find the Pixel Data element with pydicom: where it starts and ends."""
    stream = io.BytesIO(whole)
    with pydicom.config.disable_value_validation():
        dataset = pydicom.dcmread(stream, stop_before_pixels=True)
    start = stream.tell()
    full = pydicom.dcmread(io.BytesIO(whole))
    after = io.BytesIO()
    element = full["PixelData"]
    length = len(element.value)
    if element.is_undefined_length:
        return start, start + 12 + length + 8
    del dataset, after
    return start, start + (8 if full.file_meta.TransferSyntaxUID.is_implicit_VR else 12) + length


@pytest.mark.parametrize("name", SERIES)
def test_stored_values_can_be_got_back(name, volumes, data):
    """What the hospital stored, from level 0 and the frame table alone."""
    volume = volumes[name]
    values = volume.array[:]
    applied = volume.attributes["rescale"]["applied"]
    for row in volume.frames.itertuples():
        stored = values[row.index if isinstance(row.index, int) else row.Index]
        if applied:
            stored = np.rint((stored.astype(np.float64) - row.intercept) / row.slope)
        original = pydicom.dcmread(row.source_uri).pixel_array
        np.testing.assert_array_equal(stored, original)
        assert row.pixel_digest == digest(original)


def digest(stored):
    import hashlib

    return hashlib.sha256(stored.astype(stored.dtype.newbyteorder("<")).tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"),
    [
        (1.0, -1024.0, "int16"),
        (1.0, 0.0, "uint16"),
        (2.0, 10.0, "int16"),
        (20.0, 0.0, "int32"),
        (0.25, -3.5, "uint16"),
        ([0.5, 1.25, 2.0], 1.0, "float32"),
    ],
)
def test_rescale_is_exact_or_reversible(tmp_path, slope, intercept, dtype):
    made = synth.series(tmp_path / "in", slices=3, slope=slope, intercept=intercept)
    report = sansfilm.ingest(made.folder, tmp_path / "a")
    assert report.frames == {"found": 3, "stored": 3, "in_problems": 0}
    volume = sansfilm.open(tmp_path / "a")[made.series_uid]
    assert volume.array.dtype == dtype
    np.testing.assert_allclose(volume.to_xarray().values, made.values, rtol=1e-7)
    values = volume.array[:].astype(np.float64)
    if volume.attributes["rescale"]["applied"]:
        for index, row in volume.frames.iterrows():
            values[index] = np.rint((values[index] - row["intercept"]) / row["slope"])
    np.testing.assert_array_equal(values, made.stored)


@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32))
def test_names_and_order_of_files_change_nothing(tmp_path_factory, data, tree, seed):
    """Shuffled, renamed, in other folders, through other sources: same volume, same bytes."""
    folder = tmp_path_factory.mktemp("shuffled")
    reference = sansfilm.ingest(data / "mr-asl", folder / "reference")
    chance = random.Random(seed)
    sources = [folder / f"part{number}" for number in range(chance.randint(1, 4))]
    for source in sources:
        source.mkdir()
    for path in (data / "mr-asl").iterdir():
        shutil.copy(path, chance.choice(sources) / f"{chance.getrandbits(64):x}")
    chance.shuffle(sources)
    report = sansfilm.ingest([s for s in sources if any(s.iterdir())], folder / "again")
    assert [row["volume_id"] for row in report.volumes] == [
        row["volume_id"] for row in reference.volumes
    ]
    one, other = (without_sources(tree(folder / name)) for name in ("reference", "again"))
    assert one == other


def without_sources(objects):
    """Take out where the files were: the one thing that renaming is allowed to change."""
    kept = {}
    for key, content in objects.items():
        kept[key] = content
        if key.endswith("frames.parquet"):
            table = pd.read_parquet(io.BytesIO(content)).drop(columns="source_uri")
            kept[key] = table.to_json().encode()
        elif key.endswith("_commit.json"):
            record = json.loads(content)
            del record["digest"]
            for source in record["sources"]:
                del source["uri"]
            for stored in record["objects"]:
                if stored["key"] == "frames.parquet":
                    del stored["sha256"], stored["size"]
            kept[key] = json.dumps(record).encode()
    return kept


def test_series_without_a_place_are_kept_in_order(tmp_path):
    def unplaced(dataset, index):
        del dataset.ImagePositionPatient, dataset.ImageOrientationPatient
        dataset.InstanceNumber = index + 1

    made = synth.series(tmp_path / "in", slices=4, modality="OT", intercept=0, edit=unplaced)
    report = sansfilm.ingest(made.folder, tmp_path / "a")
    assert [row["verdict"] for row in report.volumes] == ["series2d"]
    volume = sansfilm.open(tmp_path / "a")[made.series_uid]
    assert volume.to_xarray().dims == ("i", "y", "x")
    assert volume.affine_lps is None
    np.testing.assert_array_equal(volume.array[:], made.stored)


def test_one_slice_is_single(tmp_path):
    made = synth.series(tmp_path / "in", slices=1, spacing=(3.5, 0.7, 0.8))
    report = sansfilm.ingest(made.folder, tmp_path / "a")
    assert [row["verdict"] for row in report.volumes] == ["single"]
    volume = sansfilm.open(tmp_path / "a")[made.series_uid]
    np.testing.assert_allclose(volume.affine_lps, made.affine_lps, atol=1e-9)
    np.testing.assert_array_equal(volume.array[:], made.values)


@pytest.mark.parametrize("syntax", [*synth.NATIVE, *synth.LOSSLESS])
def test_every_lossless_syntax_gives_the_same_volume(tmp_path, syntax):
    made = synth.series(tmp_path / "in", slices=5, transfer_syntax=syntax)
    report = sansfilm.ingest(made.folder, tmp_path / "a")
    assert not report.problems
    volume = sansfilm.open(tmp_path / "a")[made.series_uid]
    np.testing.assert_array_equal(volume.array[:], made.values)
    np.testing.assert_allclose(volume.affine_lps, made.affine_lps, atol=1e-9)
    assert volume.attributes["transfer_syntaxes"] == [syntax]
    assert not volume.attributes["lossy"]["is_lossy"]


@pytest.mark.parametrize("syntax", synth.LOSSY)
def test_lossy_syntaxes_say_so(tmp_path, syntax):
    bits = 8 if syntax in (synth.JPEG_BASELINE, synth.JPEG_XL_LOSSY) else 12
    allocated = 8 if bits == 8 else 16
    made = synth.series(tmp_path / "in", slices=2, transfer_syntax=syntax, bits_stored=bits,
                        bits_allocated=allocated, intercept=0)  # fmt: skip
    report = sansfilm.ingest(made.folder, tmp_path / "a")
    assert not report.problems
    volume = sansfilm.open(tmp_path / "a")[made.series_uid]
    error = np.abs(volume.array[:].astype(int) - made.stored)
    assert error.mean() < 0.03 * 2**bits
    if syntax in (synth.JPEG_BASELINE, synth.JPEG_EXTENDED, synth.JPEG_LS_NEAR):
        assert volume.attributes["lossy"]["is_lossy"]  # lossy by definition of the syntax


def test_read_gives_the_same_volumes_without_an_archive(data, volumes):
    (volume,) = sansfilm.read(data / "ct-head-j2k")
    stored = volumes["ct-head-j2k"]
    assert volume.volume_id == stored.volume_id
    np.testing.assert_array_equal(volume.array[:], stored.array[:])
    np.testing.assert_array_equal(volume.affine_lps, stored.affine_lps)
    assert volume.attributes == stored.attributes


def test_read_tells_of_what_it_could_not_use(data):
    with pytest.warns(sansfilm.ProblemWarning, match="NO_PIXEL_DATA|NOT_DICOM"):
        sansfilm.read(data / "malformed")


@pytest.mark.parametrize("workers", [None, 1])
def test_files_that_were_put_aside_are_ingested_too(tmp_path, tree, monkeypatch, workers):
    synth.series(tmp_path / "in", slices=12)
    sansfilm.ingest(tmp_path / "in", tmp_path / "a")
    monkeypatch.setattr(discover, "Listing", lambda: Listing(5))
    sansfilm.ingest(tmp_path / "in", tmp_path / "b", workers=workers)
    assert tree(tmp_path / "b") == tree(tmp_path / "a")
