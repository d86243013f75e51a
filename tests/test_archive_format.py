"""What is on disk is OME-Zarr 0.5 for every reader, and what the public contract says."""

import json
from pathlib import Path

import ngff_zarr
import numpy as np
import pandas as pd
import pydicom
import pytest
import synth
import tensorstore
import yaozarrs
import zarr
from ome_zarr_models.v05.image import Image

import sansfilm


@pytest.fixture(scope="module")
def archive(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("format")

    def unplaced(dataset, index):
        del dataset.ImagePositionPatient, dataset.ImageOrientationPatient

    synth.series(folder / "oblique", slices=70, rows=150, columns=130, spacing=(1.0, 0.5, 0.5),
                 orientation=(0, 0.8, -0.6, 0.6, 0.48, 0.64), seed=1)  # fmt: skip
    synth.series(folder / "unplaced", slices=3, seed=2, edit=unplaced, modality="OT")
    synth.series(folder / "padded", slices=9, rows=100, columns=90, padding=0, seed=3)
    synth.series(folder / "slopes", slices=3, slope=[0.5, 0.25, 2], seed=4, modality="PT")
    names = ("oblique", "unplaced", "padded", "slopes")
    sources = [data / "ct-head-j2k", data / "mr-asl", data / "mr-hitachi"]
    report = sansfilm.ingest([*sources, *(folder / name for name in names)], folder / "a")
    assert not report.problems
    return sansfilm.open(folder / "a")


def test_two_validators_accept_every_volume(archive):
    assert len(archive) == 7
    for volume in archive:
        yaozarrs.validate_zarr_store(volume.uri)
        Image.from_zarr(zarr.open_group(volume.uri, mode="r"))
        ngff_zarr.validate({"ome": volume.ome}, version="0.5")


def test_three_readers_see_the_same_level_0(archive):
    for volume in archive:
        with_zarr = zarr.open_array(f"{volume.uri}/0", mode="r")[:]
        store = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{volume.uri}/0/"}}
        with_tensorstore = tensorstore.open(store).result().read().result()
        with_ngff = np.asarray(ngff_zarr.from_ngff_zarr(volume.uri).images[0].data)
        np.testing.assert_array_equal(with_zarr, with_tensorstore)
        np.testing.assert_array_equal(with_zarr, with_ngff)
        np.testing.assert_array_equal(with_zarr, volume.array[:])


def test_ct_reads_as_hounsfield_units(archive):
    """As pydicom's own rescale of a source file."""
    (ct,) = [volume for volume in archive if volume.array.shape == (28, 512, 512)]
    row = ct.frames.iloc[14]
    dataset = pydicom.dcmread(row["source_uri"])
    hounsfield = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    np.testing.assert_array_equal(zarr.open_array(f"{ct.uri}/0", mode="r")[14], hounsfield)


def test_fractional_rescale_is_told_in_cf_attributes(archive):
    """They serve readers that know nothing of sansfilm."""
    (mr,) = [volume for volume in archive if volume.array.shape == (40, 96, 96)]
    raw = zarr.open_array(f"{mr.uri}/0", mode="r")
    decoded = raw[:] * raw.attrs["scale_factor"] + raw.attrs["add_offset"]
    np.testing.assert_array_equal(decoded, mr.to_xarray().values)


def test_every_object_has_checksums_and_one_name(archive):
    for volume in archive:
        for level in volume.levels:
            (sharding,) = level.metadata.codecs
            assert [type(codec).__name__ for codec in sharding.codecs][-1] == "Crc32cCodec"
            assert type(sharding.index_codecs[-1]).__name__ == "Crc32cCodec"
        record = json.loads(Path(volume.uri, "_commit.json").read_bytes())
        on_disk = {
            path.relative_to(volume.uri).as_posix()
            for path in Path(volume.uri).rglob("*")
            if path.is_file()
        }
        assert on_disk == {stored["key"] for stored in record["objects"]} | {"_commit.json"}


def test_a_lost_chunk_raises_and_is_never_air(tmp_path):
    made = synth.series(tmp_path / "in", slices=3)
    sansfilm.ingest(made.folder, tmp_path / "a")
    volume = sansfilm.open(tmp_path / "a")[made.series_uid]
    Path(volume.uri, "0/c/0/0/0").unlink()
    with pytest.raises(zarr.errors.ChunkNotFoundError):
        sansfilm.open(tmp_path / "a")[made.series_uid].array[:]


def test_attributes_are_those_of_the_contract(archive):
    names = {
        "version", "patient_key", "study_uid", "series_uid", "frame_of_reference_uid", "modality",
        "verdict", "affine_lps", "spacing_mm", "orientation", "rescale", "windows", "photometric",
        "bits_stored", "padding", "lossy", "missing", "axes_values", "transfer_syntaxes",
        "decoders",
    }  # fmt: skip
    columns = [
        "index", "sop_instance_uid", "frame_number", "source_uri", "position", "slope", "intercept",
        "window_center", "window_width", "header_offset", "header_length", "pixel_digest",
    ]  # fmt: skip
    for volume in archive:
        assert names <= volume.attributes.keys()
        assert {"slope", "intercept", "applied", "unit", "per_frame"} == set(
            volume.attributes["rescale"]
        )
        assert list(volume.frames.columns)[: len(columns)] == columns
        assert list(volume.frames["index"].map(list)) == [[n] for n in range(len(volume.frames))]


def test_catalogue_rows_are_those_of_the_contract(archive):
    names = {
        "series_uid", "study_uid", "volume_id", "uri", "modality", "verdict", "axes", "shape",
        "dtype", "spacing_mm", "affine_lps", "frames", "transfer_syntaxes", "committed_at",
    }  # fmt: skip
    assert names <= set(archive.volumes.columns)
    assert pd.to_datetime(archive.volumes["committed_at"]).notna().all()
    for row, volume in zip(archive.rows(), archive, strict=True):
        assert tuple(row["shape"]) == volume.array.shape
        assert row["verdict"] == volume.verdict.code


def test_no_patient_identity_outside_its_table(tmp_path):
    """The canary of the synthetic patient is in the headers and in catalogue/patients only."""
    made = synth.series(tmp_path / "in", slices=3)
    sansfilm.ingest(made.folder, tmp_path / "a")
    archive = sansfilm.open(tmp_path / "a")
    (volume,) = archive
    assert b"ZZPHI" in volume.header_bytes(0)
    told = [repr(archive), repr(volume), archive.volumes.to_csv(), volume.frames.to_csv()]
    assert not any("ZZPHI" in text for text in told)
    for path in (tmp_path / "a").rglob("*"):
        if path.is_file() and "patients" not in path.parts:
            assert b"ZZPHI" not in path.read_bytes(), path
    assert any(b"ZZPHI" in p.read_bytes() for p in (tmp_path / "a/catalogue/patients").iterdir())


def test_ome_transformations_of_an_axial_series_are_those_of_ngff_zarr(archive):
    """Where all axes point along LPS, ITK's origin and spacing are the same numbers."""
    (ct,) = [volume for volume in archive if volume.array.shape == (28, 512, 512)]
    image = ngff_zarr.from_ngff_zarr(ct.uri).images[0]
    affine = ct.affine_lps
    assert [image.translation[axis] for axis in "xyz"] == pytest.approx(affine[:3, 3])
    assert [image.scale[axis] for axis in "zyx"] == pytest.approx(np.diag(affine[:3, :3][::-1]))
    assert [image.axes_orientations[axis].value.value for axis in "zyx"] == [
        "inferior-to-superior",
        "anterior-to-posterior",
        "right-to-left",
    ]
