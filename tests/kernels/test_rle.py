"""RLE on the GPU, and through the same source on the CPU, against imagecodecs."""

import codestreams
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import generate_frames

from sansfilm_kernels import FrameStatus, decode_rle, to_host


def decode(gpu, codestream, shape, dtype=np.uint8):
    frame = gpu(np.zeros(shape, dtype))
    status = decode_rle([codestream], [frame])
    return FrameStatus(int(to_host(status)[0])), to_host(frame)


def test_streams_unpack_as_imagecodecs_does(gpu, share):
    rng = np.random.default_rng(35)
    for number in range(share(2, 21)):
        streams = [codestreams.rle(rng) for _ in range(100)]
        if number == 0:
            streams += [codestreams.rle(rng, area=2**23) for _ in range(share(2, 40))]
        codestreams.check(gpu, rng, streams, decode_rle)


IMAGE = np.arange(6, dtype=np.uint8).reshape(2, 3)
LITERAL = b"\x05\0\1\2\3\4\5"
ONE = codestreams.rle_frame([LITERAL + b"\0"])
SHIFTED = ONE[:4] + b"\x41" + ONE[5:]


@pytest.mark.parametrize(
    ("segment", "expected"),
    [
        (LITERAL, "OK"),
        (LITERAL + b"\0", "OK"),
        (b"\x80" + LITERAL + b"\x80", "OK"),
        (b"\x02\0\1\2\x02\3\4\5", "OK"),
        (LITERAL + b"\0\0", "LEFT_OVER"),
        (LITERAL + b"\xff\0", "LEFT_OVER"),
        (b"\x06\0\1\2\3\4\5\6", "LEFT_OVER"),
        (b"\x81\0", "LEFT_OVER"),
        (b"\x05\0\1\2\3\4", "TRUNCATED"),
        (b"\x04\0\1\2\3\4", "TRUNCATED"),
        (b"\x80" * 100, "TRUNCATED"),
        (b"\x80", "TRUNCATED"),
    ],
)
def test_what_a_segment_may_hold(gpu, segment, expected):
    status, found = decode(gpu, codestreams.rle_frame([segment]), IMAGE.shape)
    assert status.name == expected
    if expected == "OK":
        assert np.array_equal(found, IMAGE)


@pytest.mark.parametrize(
    ("codestream", "expected"),
    [
        (b"", "NOT_A_CODESTREAM"),
        (ONE[:63], "NOT_A_CODESTREAM"),
        (b"\x10" + ONE[1:], "NOT_A_CODESTREAM"),
        (b"\0" + ONE[1:], "MISMATCH"),
        (codestreams.rle_frame([LITERAL, LITERAL]), "MISMATCH"),
        (SHIFTED, "CORRUPT"),
        (ONE[:64], "CORRUPT"),
    ],
)
def test_headers_that_are_refused(gpu, codestream, expected):
    assert decode(gpu, codestream, IMAGE.shape)[0].name == expected


def test_segments_that_leave_the_frame_are_refused(gpu):
    frame = bytearray(codestreams.rle_frame([LITERAL, LITERAL]))
    for second in (0, 63, 64, len(frame), 2**32 - 1):
        frame[8:12] = second.to_bytes(4, "little")
        assert decode(gpu, bytes(frame), IMAGE.shape, np.uint16)[0] == FrameStatus.CORRUPT


def test_the_highest_byte_comes_first(gpu):
    high, low = b"\xfb\x12", LITERAL
    status, found = decode(gpu, codestreams.rle_frame([high, low]), IMAGE.shape, np.uint16)
    assert status == FrameStatus.OK
    assert np.array_equal(found, IMAGE + np.uint16(0x1200))


def test_frames_that_are_not_on_a_gpu_are_refused_with_the_cure():
    with pytest.raises(TypeError, match=r"on the CPU use imagecodecs.dicomrle_decode"):
        decode_rle([ONE], [IMAGE])


def test_files_of_the_repository(gpu, data):
    paths = [data / "ct-syntaxes" / "rle.dcm", data / "endian-deflated" / "MR_small_RLE.dcm"]
    datasets = [dcmread(path) for path in paths]
    streams = [next(generate_frames(d.PixelData, number_of_frames=1)) for d in datasets]
    frames = [gpu(np.zeros((d.Rows, d.Columns), f"u{d.BitsAllocated // 8}")) for d in datasets]
    assert to_host(decode_rle(streams, frames)).tolist() == [0, 0]
    for dataset, frame in zip(datasets, frames, strict=True):
        image = dataset.pixel_array
        assert np.array_equal(to_host(frame).view(image.dtype), image)
