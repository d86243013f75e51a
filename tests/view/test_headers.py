"""Headers of a volume: each frame's own, whatever slab it is in, without its pixels."""

import pydicom
import pytest
import synth

from sansfilm.errors import OptionError
from sansfilm.options import Options, Storage


@pytest.fixture
def volume(volume_of):
    """Give a volume of three slabs whose headers differ in length."""

    def longer(dataset, index):
        dataset.ImageComments = "x" * 100 * index

    return volume_of(slices=9, edit=longer, options=Options(storage=Storage(slab=4)))


def test_each_frame_has_its_own_dataset_without_pixels(volume, volume_of):
    datasets = volume.headers()
    assert [str(dataset.SOPInstanceUID) for dataset in datasets] == list(volume_of.made.sop_uids)
    for dataset, path in zip(datasets, volume_of.made.paths, strict=True):
        original = pydicom.dcmread(path)
        assert dataset.file_meta == original.file_meta
        del original.PixelData
        assert dataset == original


def test_bytes_are_those_of_the_file_outside_pixel_data(volume, volume_of):
    for frame, path in enumerate(volume_of.made.paths):
        whole = path.read_bytes()
        pixels = volume_of.made.stored[frame].tobytes()
        assert whole.endswith(pixels)
        element = 12 + len(pixels)  # explicit VR: tag, VR, two reserved bytes, length
        assert volume.header_bytes(frame) == whole[:-element]


@pytest.mark.parametrize("frame", [-1, 9, 1000])
def test_a_frame_that_is_not_there_is_a_wrong_call(volume, frame):
    with pytest.raises(OptionError, match=f"frame must be 0 to 8, got {frame}"):
        volume.header_bytes(frame)


def test_patient_data_is_in_the_headers_and_not_in_the_table(volume):
    assert str(volume.headers()[0].PatientName) == "ZZPHI^Synthetic"
    assert "ZZPHI" not in volume.frames.to_csv()
    assert "ZZPHI" not in repr(volume)


def test_deflated_headers_are_read_as_what_they_are(volume_of):
    volume = volume_of(slices=2, transfer_syntax=synth.DEFLATED_LE)
    (first, _) = volume.headers()
    assert first.file_meta.TransferSyntaxUID == synth.DEFLATED_LE
    assert first.PatientID == "ZZPHI-0001"
