"""The guards around nvImageCodec, with a module in its place, and on a GPU with the real one."""

import sys
from importlib import metadata
from types import SimpleNamespace

import imagecodecs
import kernels_on_host
import numpy as np
import pytest

from sansfilm_kernels import FrameStatus, decode_jpeg, nvimgcodec, to_host

RNG = np.random.default_rng(4)
GREY = RNG.integers(0, 256, (40, 50)).astype(np.uint8)
DEEP = RNG.integers(0, 4096, (40, 50)).astype(np.uint16)
BASELINE = bytes(imagecodecs.jpeg8_encode(GREY, level=95))
LOSSLESS = bytes(imagecodecs.ljpeg_encode(DEEP, bitspersample=12))
COLOUR = bytes(imagecodecs.jpeg8_encode(np.stack([GREY, GREY, GREY], -1), level=95))
EXTENDED = BASELINE.replace(b"\xff\xc0\0\x0b\x08", b"\xff\xc1\0\x0b\x0c")
EIGHT = bytes(imagecodecs.ljpeg_encode(GREY, bitspersample=8))
FLAT = bytes(imagecodecs.ljpeg_encode(np.full((400, 500), 7, np.uint16), bitspersample=12))


def fake_module(results):
    """Return what looks like nvImageCodec; `results` has what it gives instead of the truth."""

    def decode(streams, *, params, cuda_stream):
        assert params == {
            "allow_any_depth": True, "color_spec": "UNCHANGED", "apply_exif_orientation": False,
        }  # fmt: skip
        assert cuda_stream == 7
        found = []
        for stream in streams:
            read = imagecodecs.ljpeg_decode if b"\xff\xc3" in stream else imagecodecs.jpeg8_decode
            found.append(results.get(stream, read(stream)[..., np.newaxis]))
        return found

    def decoder(*, device_id, backends):
        assert device_id == 0
        assert backends == [1, 2, 3]
        return SimpleNamespace(decode=decode)

    return SimpleNamespace(
        __version__="0.9.0",
        GPU_ONLY=1, HYBRID_CPU_GPU=2, HW_GPU_ONLY=3, CPU_ONLY=4,
        Backend=lambda kind: kind,
        ColorSpec=SimpleNamespace(UNCHANGED="UNCHANGED"),
        DecodeParams=lambda **how: how,
        CodeStream=bytes,
        Decoder=decoder,
    )  # fmt: skip


@pytest.fixture
def results(on_host, monkeypatch):
    """Put a module in the place of nvImageCodec; give what it returns for a codestream."""
    on_host()
    found = {}
    stream = SimpleNamespace(ptr=7, synchronize=lambda: None)
    sys.modules["cupy"].cuda.get_current_stream = lambda: stream
    monkeypatch.setitem(sys.modules, "nvidia.nvimgcodec", fake_module(found))
    monkeypatch.setattr(metadata, "version", lambda name: "13.3.2.43")
    nvimgcodec._decoder.cache_clear()
    yield found
    nvimgcodec._decoder.cache_clear()


def room(shape, dtype):
    return kernels_on_host.as_host_array(np.full(shape, 99, dtype))


def test_frames_of_several_kinds_in_one_call(results):
    whole = room((40, 52), np.uint16)
    frames = [room((40, 50), np.uint8), whole[:, 1:-1], room((40, 50, 1), np.uint16)]
    assert decode_jpeg([BASELINE, LOSSLESS, LOSSLESS], frames).tolist() == [0, 0, 0]
    assert np.array_equal(frames[0], imagecodecs.jpeg8_decode(BASELINE))
    assert np.array_equal(frames[1], DEEP)
    assert np.array_equal(frames[2][..., 0], DEEP)
    assert np.all(whole[:, [0, -1]] == 99)


@pytest.mark.parametrize(
    ("stream", "shape", "dtype", "meant"),
    [
        (COLOUR, (40, 50, 3), np.uint8, "UNSUPPORTED"),
        (EXTENDED, (40, 50), np.uint16, "UNSUPPORTED"),
        (EIGHT, (40, 50), np.uint8, "UNSUPPORTED"),
        (BASELINE, (40, 51), np.uint8, "MISMATCH"),
        (BASELINE, (40, 50), np.uint16, "MISMATCH"),
        (LOSSLESS, (40, 50), np.uint8, "MISMATCH"),
        (b"", (40, 50), np.uint8, "NOT_A_CODESTREAM"),
        (LOSSLESS[:10], (40, 50), np.uint16, "TRUNCATED"),
        (LOSSLESS[:-2], (40, 50), np.uint16, "TRUNCATED"),
        (b"\xff\xd8\xff\xda\0\4\0\0\xff\xd9", (40, 50), np.uint8, "CORRUPT"),
    ],
)
def test_what_the_library_does_not_see(results, stream, shape, dtype, meant):
    assert FrameStatus(decode_jpeg([stream], [room(shape, dtype)])[0]).name == meant


@pytest.mark.parametrize(
    ("result", "meant"),
    [
        (None, "FAILED"),
        (np.zeros((40, 50, 1), np.uint16), "SUSPECT"),
        (DEEP.astype(np.uint8)[..., np.newaxis], "MISMATCH"),
        (DEEP.reshape(50, 40, 1), "MISMATCH"),
    ],
    ids=["none", "zeros", "8 bits", "another shape"],
)
def test_what_the_library_does_wrongly_is_told_of_its_frame_alone(results, result, meant):
    other = LOSSLESS + b"\0"
    results[other] = result
    frames = [room((40, 50), np.uint16) for _ in range(3)]
    statuses = decode_jpeg([LOSSLESS, other, LOSSLESS], frames)
    assert [FrameStatus(status).name for status in statuses] == ["OK", meant, "OK"]
    assert np.array_equal(frames[2], DEEP)


def test_a_flat_image_of_a_long_codestream_goes_to_a_cpu(results):
    assert len(FLAT) > 200
    frame = room((400, 500), np.uint16)
    assert decode_jpeg([FLAT], [frame]).tolist() == [FrameStatus.SUSPECT]


@pytest.mark.parametrize(("codec", "nvjpeg"), [("0.8.2", "13.3"), ("0.9.0", "13.0.1.86")])
def test_old_versions_are_refused_with_the_cure(results, monkeypatch, codec, nvjpeg):
    sys.modules["nvidia.nvimgcodec"].__version__ = codec
    monkeypatch.setattr(metadata, "version", lambda name: nvjpeg)
    with pytest.raises(RuntimeError, match=r"older than .*: install sansfilm\[gpu\]"):
        decode_jpeg([], [])


def test_without_the_library_the_error_names_the_cure(results, monkeypatch):
    monkeypatch.setitem(sys.modules, "nvidia.nvimgcodec", None)
    with pytest.raises(RuntimeError, match=r"install sansfilm\[gpu\]"):
        decode_jpeg([], [])


def test_the_real_module_takes_these_calls_on_a_cpu():
    """What the module in its place pretends: names, arguments, shapes and None for a failure."""
    library = pytest.importorskip("nvidia.nvimgcodec")
    params = library.DecodeParams(
        allow_any_depth=True,
        color_spec=library.ColorSpec.UNCHANGED,
        apply_exif_orientation=False,
    )
    for kind in ("GPU_ONLY", "HYBRID_CPU_GPU", "HW_GPU_ONLY"):
        library.Backend(getattr(library, kind))
    decoder = library.Decoder(
        device_id=library.NVIMGCODEC_DEVICE_CPU_ONLY, backends=[library.Backend(library.CPU_ONLY)]
    )
    streams = [library.CodeStream(stream) for stream in (BASELINE, LOSSLESS)]
    image, nothing = decoder.decode(streams, params=params, cuda_stream=0)
    assert nothing is None  # its CPU backends do no lossless JPEG
    found = np.asarray(image)
    assert found.shape == (40, 50, 1)
    assert np.array_equal(found[..., 0], imagecodecs.jpeg8_decode(BASELINE))


@pytest.mark.gpu
def test_lossless_is_exact_and_baseline_close_on_a_gpu():
    cupy = pytest.importorskip("cupy")
    if not cupy.cuda.is_available():
        pytest.skip("no GPU")
    pytest.importorskip("nvidia.nvimgcodec")
    deep, grey = cupy.zeros((60, 40, 50), np.uint16), cupy.zeros((60, 40, 50), np.uint8)
    assert not decode_jpeg([LOSSLESS] * 60 + [BASELINE] * 60, [*deep, *grey]).any()
    assert np.all(to_host(deep) == DEEP)
    close = to_host(grey).astype(int) - imagecodecs.jpeg8_decode(BASELINE)
    assert np.abs(close).max() <= 2
