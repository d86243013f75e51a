"""The decoders for GPUs as backends of the pipeline: kernels built for the CPU, or a real GPU."""

import kernels_on_host
import numpy as np
import pixel_kinds
import pydicom
import pytest
import synth

import sansfilm
from sansfilm.decode import device, device_backends, gpu_backends
from sansfilm.decode.guarded import decode_frames
from sansfilm.model import Decoding, FrameSpec
from sansfilm.options import Options
from sansfilm_kernels import _nvjpeg2k_api, nvjpeg2000

PREFER = Options().prefer


@pytest.fixture
def kernels(gpu, monkeypatch):
    """Let the pipeline take the kernels' host build, or a real GPU, for its device."""
    monkeypatch.setattr(device, "DEVICE", device.Device())
    if gpu is kernels_on_host.as_host_array:
        monkeypatch.setattr(gpu_backends, "has_gpu", lambda: True)
        monkeypatch.setattr(gpu_backends, "_installed", lambda package: False)
        monkeypatch.setattr(device_backends, "has_driver", lambda: True)
    for cached in (device_backends.readers, device_backends.present):
        cached.cache_clear()
    yield
    for cached in (device_backends.readers, device_backends.present):
        cached.cache_clear()


def frame(stored, syntax, bits, *, samples=1):
    allocated = stored.itemsize * 8
    signed = int(stored.dtype.kind == "i")
    photometric = "RGB" if samples > 1 else "MONOCHROME2"
    about = FrameSpec(syntax, *stored.shape[:2], samples, allocated, bits, bits - 1, signed,
                      photometric)  # fmt: skip
    if samples == 1:
        return synth.encode(stored, syntax, bits), about
    ds = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.BitsAllocated, ds.BitsStored, ds.SamplesPerPixel = allocated, bits, samples
    ds.PhotometricInterpretation, ds.PlanarConfiguration = "RGB", 0
    return pixel_kinds.encode(ds, stored), about


KINDS = [
    (synth.JPEG_LS, 8, "u1"), (synth.JPEG_LS, 12, "u2"), (synth.JPEG_LS, 16, "i2"),
    (synth.JPEG_LS_NEAR, 12, "u2"), (synth.RLE, 8, "u1"), (synth.RLE, 12, "u2"),
    (synth.RLE, 16, "i2"), (synth.RLE, 32, "u4"),
]  # fmt: skip


@pytest.mark.parametrize(("syntax", "bits", "dtype"), KINDS)
def test_kernels_give_what_the_cpu_gives(kernels, syntax, bits, dtype):
    rng = np.random.default_rng(bits)
    some = []
    for rows in (7, 32, 33):
        signed = dtype[0] == "i"
        stored = synth.phantom(rng, (3, rows, 21), int(dtype[1]) * 8, bits, signed=signed)
        some += [frame(one, syntax, bits) for one in stored]
    results = []
    for how in (Decoding(PREFER, device="gpu", crosscheck=3), Decoding(PREFER)):
        done = [(np.array(d.stored), d.decoder, d.notes) for d in decode_frames(some, how)]
        results.append(done)
    ours = "rle-cuda" if syntax == synth.RLE else "jpegls-cuda"
    assert {name for _, name, _ in results[0]} == {ours}
    for (a, _, notes), (b, _, _) in zip(*results, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
        assert not notes


@pytest.mark.parametrize("syntax", [synth.JPEG_LS, synth.RLE])
def test_colour(kernels, syntax):
    rgb = pixel_kinds.picture((2, 17, 22, 3))
    some = [frame(one, syntax, 8, samples=3) for one in rgb]
    done = [(np.array(d.stored), d.decoder) for d in
            decode_frames(some, Decoding(PREFER, device="gpu"))]  # fmt: skip
    np.testing.assert_array_equal(np.array([values for values, _ in done]), rgb)
    assert {name for _, name in done} <= {"jpegls-cuda", "rle-cuda"}


def test_parts_of_a_batch(kernels, monkeypatch):
    """A batch is sent in parts, so that one goes up while another is decoded."""
    monkeypatch.setattr(gpu_backends, "_PART", 3000)
    stored = synth.phantom(np.random.default_rng(1), (11, 20, 20))
    some = [frame(one, synth.JPEG_LS, 12) for one in stored]
    values = [np.array(d.stored) for d in decode_frames(some, Decoding(PREFER, device="gpu"))]
    np.testing.assert_array_equal(np.array(values), stored)
    assert gpu_backends._parts([0, 1024, 2048, 3072, 4096], 3000) == [slice(0, 3), slice(3, 5)]
    assert gpu_backends._parts([0], 1) == [slice(0, 1)]


def test_a_whole_ingest(kernels, tmp_path):
    made = synth.series(tmp_path / "in", slices=9, transfer_syntax=synth.JPEG_LS)
    report = sansfilm.ingest(tmp_path / "in", tmp_path / "a", options=Options(device="gpu"))
    assert not report.problems
    (volume,) = sansfilm.open(tmp_path / "a")
    np.testing.assert_array_equal(volume.array[:], made.values)
    assert set(volume.frames.decoder) == {"jpegls-cuda"}


def test_nvjpeg2000_that_only_pretends_is_found_out(fake, monkeypatch):
    """The library writes bytes of its own: the canary sees it, and the CPU decodes."""
    monkeypatch.setattr(device, "DEVICE", device.Device())
    monkeypatch.setattr(gpu_backends, "has_gpu", lambda: True)
    monkeypatch.setattr(device, "present", lambda: True)
    monkeypatch.setattr(gpu_backends, "_installed", lambda package: "nvjpeg2k" in package)
    monkeypatch.setattr(_nvjpeg2k_api, "find_library", lambda: fake.path)
    device_backends.readers.cache_clear()
    stored = synth.phantom(np.random.default_rng(1), (3, 20, 20))
    some = [frame(one, synth.J2K, 12) for one in stored]
    done = [(np.array(d.stored), d.decoder, d.notes) for d in
            decode_frames(some, Decoding(PREFER, device="gpu"))]  # fmt: skip
    device_backends.readers.cache_clear()
    nvjpeg2000._decoder(0).close()
    nvjpeg2000._decoder.cache_clear()
    np.testing.assert_array_equal(np.array([values for values, _, _ in done]), stored)
    assert {name for _, name, _ in done} == {"imagecodecs"}
    assert sum(("nvjpeg2000 is not used for JPEG 2000" in n) for *_, ns in done for n in ns) == 1


@pytest.mark.gpu
@pytest.mark.parametrize(
    "syntax", [*synth.LOSSLESS, synth.JPEG_LS_NEAR, synth.JPEG_BASELINE], ids=str
)
def test_a_real_gpu_gives_what_the_cpu_gives(tmp_path, syntax):
    """All backends that are installed, through whole ingests."""
    pytest.importorskip("cupy")
    if not gpu_backends.has_gpu():
        pytest.skip("no GPU")
    bits = {"bits_allocated": 8, "bits_stored": 8} if syntax == synth.JPEG_BASELINE else {}
    synth.series(tmp_path / "in", slices=40, transfer_syntax=syntax, **bits)
    digests = []
    for name in ("cpu", "gpu"):
        report = sansfilm.ingest(tmp_path / "in", tmp_path / name, options=Options(device=name))
        assert not report.problems
        (volume,) = sansfilm.open(tmp_path / name)
        digests.append(volume.frames.pixel_digest.tolist())
    if syntax != synth.JPEG_BASELINE:
        assert digests[0] == digests[1]
    known = {one.name for one in device_backends.readers(syntax)}
    assert not known or set(volume.frames.decoder) <= known
