"""JPEG-LS on the GPU, and through the same source on the CPU, against CharLS."""

import struct
import sys

import codestreams
import imagecodecs
import jpegls_encoder
import kernels_on_host
import numpy as np
import pytest
from jpegls_encoder import LINE, NONE, SAMPLE, Preset
from pydicom import dcmread
from pydicom.encaps import generate_frames
from pydicom.misc import is_dicom
from pydicom.uid import JPEGLSLossless, JPEGLSNearLossless

from sansfilm_kernels import FrameStatus, decode_jpegls, to_host


def decode(gpu, codestream, shape, dtype=np.uint8):
    """Decode one codestream; return status and image."""
    frame = gpu(np.zeros(shape, dtype))
    status = decode_jpegls([codestream], [frame])
    return FrameStatus(int(to_host(status)[0])), to_host(frame)


def test_streams_decode_as_charls_does(gpu, share):
    rng, by_charls = np.random.default_rng(87), 0
    for _ in range(share(2, 25)):
        streams = [codestreams.jpegls(rng) for _ in range(100)]
        codestreams.check(gpu, rng, streams, decode_jpegls)
        by_charls += sum(stream.by_charls for stream in streams)
    assert by_charls >= share(150, 2000)


def test_large_streams_decode_as_charls_does(gpu, share):
    rng = np.random.default_rng(14495)
    for number in range(share(3, 100)):
        shape = (2048, 2048, 1) if number == 0 else (*rng.integers(64, 2049, 2).tolist(), 1)
        bits, near = int(rng.integers(2, 17)), int(rng.integers(0, 8)) * (number % 2)
        near = min(near, 2 ** (bits - 1) - 1)
        image = codestreams.picture(rng, shape, bits)[..., 0]
        data = bytes(imagecodecs.jpegls_encode(image, level=near, bitspersample=bits))
        image = codestreams.charls_decode(data, shape)
        stream = codestreams.Stream(data, image, ("u1" if bits <= 8 else "u2",))
        codestreams.check(gpu, rng, [stream], decode_jpegls)


@pytest.mark.parametrize("near", [0, 1, 3])
@pytest.mark.parametrize("interleave", [LINE, SAMPLE])
def test_two_components_that_alternate(gpu, interleave, near):
    """CharLS does not read them; the encoder of the tests does what it does for three and four."""
    rng = np.random.default_rng(near)
    for kind in ("noise", "specks", "smooth", "edges"):
        image = codestreams.picture(rng, (13, 17, 2), 8, kind)
        data = jpegls_encoder.encode(image, 8, near=near, interleave=interleave, restart=5)
        status, found = decode(gpu, data, image.shape)
        assert status == FrameStatus.OK
        assert np.abs(found.astype(int) - image).max() <= near


def test_a_reset_beyond_a_byte_and_errors_of_16_bits(gpu):
    """The sums of a context grow as large as they can."""
    image = np.zeros((64, 64, 1), np.uint16)
    image[::2, ::2] = image[1::2, 1::2] = 65535
    image ^= np.random.default_rng(0).integers(0, 2, image.shape).astype(np.uint16)
    preset = Preset(65535, 18, 67, 276, 65535)
    data = jpegls_encoder.encode(image, 16, preset=preset)
    status, found = decode(gpu, data, image.shape, np.uint16)
    assert status == FrameStatus.OK
    assert np.array_equal(found, image)


def test_one_bad_frame_is_one_bad_status(gpu):
    rng = np.random.default_rng(3)
    image = codestreams.picture(rng, (20, 30, 3), 8, "smooth")
    good = codestreams.charls_encode(image, 8)
    cut = good[: len(good) // 2] + b"\xff\xd9"
    frames = [gpu(np.zeros(image.shape, np.uint8)) for _ in range(5)]
    status = decode_jpegls([good, cut, b"", good[:-2], good], frames)
    expected = [0, FrameStatus.TRUNCATED, FrameStatus.NOT_A_CODESTREAM, FrameStatus.TRUNCATED, 0]
    assert to_host(status).tolist() == expected
    for number in (0, 4):
        assert np.array_equal(to_host(frames[number]), image)


@pytest.mark.parametrize("interleave", [NONE, LINE, SAMPLE])
def test_no_prefix_is_an_image(gpu, interleave):
    image = codestreams.picture(np.random.default_rng(5), (9, 11, 3), 8)
    data = jpegls_encoder.encode(image, 8, interleave=interleave, restart=4)
    ends = [b"", b"\xff\xd9"]
    cuts = [data[:length] + end for length in range(len(data) - 2) for end in ends]
    frames = [gpu(np.zeros(image.shape, np.uint8)) for _ in cuts]
    assert (to_host(decode_jpegls(cuts, frames)) != FrameStatus.OK).all()
    whole = [data, data + b"\0", data.replace(b"\xff\xd9", b"\xff\xff\xff\xd9")]
    assert to_host(decode_jpegls(whole, frames[:3])).tolist() == [0, 0, 0]


def header(data, code):
    """Return where a marker segment begins and ends."""
    start = data.index(bytes([0xFF, code]))
    return start, start + 2 + struct.unpack_from(">H", data, start + 2)[0]


def changed(data, code, offset, value):
    """Set a byte of the parameters of a marker segment."""
    start, _ = header(data, code)
    out = bytearray(data)
    out[start + 4 + offset] = value
    return bytes(out)


def inserted(data, segment, before=0xDA):
    start, _ = header(data, before)
    return data[:start] + segment + data[start:]


def lse(*words):
    return jpegls_encoder.marker(0xF8, b"\1" + b"".join(word.to_bytes(2) for word in words))


IMAGE = codestreams.picture(np.random.default_rng(7), (8, 9, 3), 8, "edges")
GOOD = jpegls_encoder.encode(IMAGE, 8, interleave=SAMPLE)
LINES = jpegls_encoder.encode(IMAGE, 8, interleave=LINE, restart=2)
PLANES = jpegls_encoder.encode(IMAGE, 8, interleave=NONE)
SOF, SOS = 0xF7, 0xDA
REFUSED = {
    "no SOI": (b"\0" + GOOD, "NOT_A_CODESTREAM"),
    "a baseline JPEG": (b"\xff\xd8" + jpegls_encoder.marker(0xC0, b"\x08"), "NOT_A_CODESTREAM"),
    "other rows": (changed(GOOD, SOF, 2, 9), "MISMATCH"),
    "12 bits for bytes": (changed(GOOD, SOF, 0, 12), "MISMATCH"),
    "rows come later": (changed(GOOD, SOF, 2, 0), "UNSUPPORTED"),
    "subsampled": (changed(GOOD, SOF, 7, 0x21), "UNSUPPORTED"),
    "one identifier twice": (changed(GOOD, SOF, 9, 1), "CORRUPT"),
    "17 bits": (changed(GOOD, SOF, 0, 17), "CORRUPT"),
    "a mapping table": (inserted(GOOD, jpegls_encoder.marker(0xF8, b"\2\1\1\0\1")), "UNSUPPORTED"),
    "a table is used": (changed(GOOD, SOS, 2, 1), "UNSUPPORTED"),
    "a point transform": (changed(GOOD, SOS, 9, 1), "UNSUPPORTED"),
    "a colour transform": (
        inserted(GOOD, jpegls_encoder.marker(0xE8, b"mrfx\1"), SOF), "UNSUPPORTED"
    ),
    "components out of order": (changed(GOOD, SOS, 1, 2), "CORRUPT"),
    "interleave 3": (changed(GOOD, SOS, 8, 3), "CORRUPT"),
    "NEAR 128": (changed(GOOD, SOS, 7, 128), "CORRUPT"),
    "MAXVAL of 9 bits": (inserted(GOOD, lse(256, 0, 0, 0, 0)), "CORRUPT"),
    "T2 below T1": (inserted(GOOD, lse(0, 9, 8, 20, 0)), "CORRUPT"),
    "RESET 2": (inserted(GOOD, lse(0, 0, 0, 0, 2)), "CORRUPT"),
    "a plane twice": (changed(PLANES[: PLANES.rindex(b"\xff\xda")], SOS, 1, 1)
                      + PLANES[header(PLANES, SOS)[0] :], "CORRUPT"),
    "a plane is missing": (PLANES[: PLANES.rindex(b"\xff\xda")] + b"\xff\xd9", "TRUNCATED"),
    "restart markers out of order": (LINES.replace(b"\xff\xd1", b"\xff\xd2"), "CORRUPT"),
    "a restart marker is missing": (LINES.replace(b"\xff\xd2", b""), "CORRUPT"),
    "bytes are left over": (GOOD[:-2] + b"\0\0\xff\xd9", "LEFT_OVER"),
    "a code longer than any": (GOOD[: header(GOOD, SOS)[1]] + b"\0" * 99 + b"\xff\xd9", "CORRUPT"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(gpu, name):
    data, expected = REFUSED[name]
    assert decode(gpu, data, IMAGE.shape)[0].name == expected


@pytest.mark.parametrize("data", [GOOD, LINES, PLANES], ids=["sample", "line", "none"])
def test_what_is_passed_over(gpu, data):
    for segment in (
        jpegls_encoder.marker(0xFE, b"a comment"),
        jpegls_encoder.marker(0xE8, b"mrfx\0"),
        jpegls_encoder.marker(0xE0, b"JFIF"),
        b"\xff\xff\xff" + lse(0, 0, 0, 0, 0),
    ):
        for before in (SOF, SOS):
            status, found = decode(gpu, inserted(data, segment, before), IMAGE.shape)
            assert status == FrameStatus.OK
            assert np.array_equal(found, IMAGE)


def test_frames_that_are_not_on_a_gpu_are_refused_with_the_cure():
    with pytest.raises(TypeError, match=r"numpy.ndarray; on the CPU use imagecodecs.jpegls_decode"):
        decode_jpegls([GOOD], [np.zeros(IMAGE.shape, np.uint8)])


def test_wrong_calls(gpu):
    frame = gpu(np.zeros(IMAGE.shape, np.uint8))
    with pytest.raises(ValueError, match="2 codestreams for 1 frames"):
        decode_jpegls([GOOD, GOOD], [frame])
    with pytest.raises(TypeError, match="uint8 or uint16, got int16"):
        decode_jpegls([GOOD], [gpu(np.zeros(IMAGE.shape, np.int16))])
    with pytest.raises(ValueError, match=r"not \(1, 8, 9, 3\)"):
        decode_jpegls([GOOD], [frame[None]])
    with pytest.raises(ValueError, match="multiples of its size"):
        decode_jpegls([GOOD], [gpu(np.zeros(433, np.uint8))[1:].view(np.uint16).reshape(8, 9, 3)])
    assert to_host(decode_jpegls([], [])).tolist() == []


def test_a_frame_on_another_gpu(on_host, monkeypatch):
    on_host()
    monkeypatch.setattr(sys.modules["cupy"].cuda, "Device", lambda: "<CUDA Device 1>")
    frame = kernels_on_host.as_host_array(np.zeros(IMAGE.shape, np.uint8))
    with pytest.raises(ValueError, match="another GPU than the current one, <CUDA Device 1>"):
        decode_jpegls([GOOD], [frame])


def test_conformance_streams(gpu, shared_data):
    """Those of T.87 with 8 bits; the reference is the image that was encoded."""
    folder = shared_data / "conformance-jls" / "t8"
    colour = read_netpbm(folder / "test8.ppm")
    half = read_netpbm(folder / "test8bs2.pgm")
    for name, image, near in [
        ("t8c0e0", colour, 0), ("t8c1e0", colour, 0), ("t8c2e0", colour, 0),
        ("t8nde0", half, 0), ("t8nde3", half, 3),
    ]:  # fmt: skip
        status, found = decode(gpu, (folder / f"{name}.jls").read_bytes(), image.shape)
        assert status == FrameStatus.OK, name
        assert np.abs(found.astype(int) - image).max() <= near, name
    for name in ("t8sse0", "t8sse3"):  # subsampled
        status, _ = decode(gpu, (folder / f"{name}.jls").read_bytes(), colour.shape)
        assert status == FrameStatus.UNSUPPORTED, name


def test_broken_streams_of_charls(gpu, shared_data):
    for path in sorted((shared_data / "conformance-jls" / "broken").iterdir()):
        data = path.read_bytes()
        at = data.index(b"\xff\xf7") + 4
        bits, rows, columns, samples = struct.unpack_from(">BHHB", data, at)
        dtype = np.uint8 if bits <= 8 else np.uint16
        assert decode(gpu, data, (rows, columns, samples), dtype)[0] != FrameStatus.OK, path.name


def test_files_of_the_repository(gpu, data):
    check_files(gpu, [*(data / "ct-tilt-jpegls").iterdir(), data / "ct-syntaxes" / "jpegls.dcm",
                      data / "endian-deflated" / "MR_small_jpeg_ls_lossless.dcm"])  # fmt: skip


def test_files_of_the_collection(gpu, shared_data):
    folders = ["compressed/pydicom-data", "compressed/wg04", "color/test-pattern"]
    found = [path for name in folders for path in sorted((shared_data / name).rglob("*"))]
    files = [path for path in found if path.is_file() and is_dicom(path)]
    check_files(gpu, [path for path in files if is_jpegls(path)])


def is_jpegls(path):
    dataset = dcmread(path, stop_before_pixels=True)
    return dataset.file_meta.TransferSyntaxUID in (JPEGLSLossless, JPEGLSNearLossless)


def check_files(gpu, paths):
    """Decode all frames of all files in one launch, as CharLS does."""
    streams, frames = [], []
    for path in paths:
        dataset = dcmread(path)
        shape = (dataset.Rows, dataset.Columns, dataset.SamplesPerPixel)
        count = int(dataset.get("NumberOfFrames", 1))
        for stream in generate_frames(dataset.PixelData, number_of_frames=count):
            streams.append(stream)
            frames.append(gpu(np.zeros(shape, f"u{dataset.BitsAllocated // 8}")))
    assert len(streams) >= 8
    assert not to_host(decode_jpegls(streams, frames)).any()
    for stream, frame in zip(streams, frames, strict=True):
        assert np.array_equal(to_host(frame), codestreams.charls_decode(stream, frame.shape))


def read_netpbm(path):
    kind, columns, rows, _, data = path.read_bytes().split(maxsplit=4)
    samples = 3 if kind == b"P6" else 1
    size = int(rows) * int(columns) * samples
    return np.frombuffer(data[-size:], np.uint8).reshape(int(rows), int(columns), samples)
