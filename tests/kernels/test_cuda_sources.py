"""The CUDA sources: they compile for GPUs, and no codestream leads them astray."""

import re
import shutil
import subprocess

import codestreams
import jpegls_encoder
import kernels_on_host
import numpy as np
import pytest

from sansfilm_kernels import (
    FrameStatus,
    _cuda,
    _pyramid_cuda,
    _window_cuda,
    decode_jpegls,
    decode_rle,
    jpegls,
    rle,
    to_host,
)

SOURCES = sorted(path.name for path in kernels_on_host.CUDA.iterdir())
LARGEST = 2**14
"""Samples of a frame: what a broken header asks for beyond that is not tried."""


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
@pytest.mark.parametrize("source", SOURCES)
def test_sources_compile_for_gpus_without_spills(source, arch, tmp_path):
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc")
    command = [nvcc, "-std=c++17", f"-arch={arch}", "-cubin", "-o", str(tmp_path / "cubin")]
    command += ["-Xptxas", "-v", "-Werror", "all-warnings", str(kernels_on_host.CUDA / source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kernels = done.stderr.count("Compiling entry function")
    assert kernels == done.stderr.count("0 bytes spill stores, 0 bytes spill loads") > 0


@pytest.mark.parametrize("source", SOURCES)
def test_sources_compile_as_cupy_compiles_them(source):
    nvrtc = pytest.importorskip("cupy").cuda.nvrtc
    try:
        nvrtc.getVersion()
    except RuntimeError as exc:
        pytest.skip(f"no NVRTC: {exc}")
    text = (kernels_on_host.CUDA / source).read_text()
    program = nvrtc.createProgram(text, source, (), ())
    nvrtc.compileProgram(program, (*_cuda.OPTIONS, "-arch=sm_90"))
    assert nvrtc.getCUBIN(program)


def test_sources_need_no_header():
    """NVRTC is given the text alone."""
    assert SOURCES == ["jpegls.cu", "pyramid.cu", "rle.cu", "window.cu"]
    for name in SOURCES:
        assert "#include" not in (kernels_on_host.CUDA / name).read_text()


@pytest.mark.parametrize(
    ("source", "name", "record"),
    [
        ("jpegls.cu", "Segment", jpegls.SEGMENT),
        ("rle.cu", "Segment", rle.SEGMENT),
        ("window.cu", "Curve", _window_cuda.CURVE),
        ("pyramid.cu", "Block", _pyramid_cuda.BLOCK),
        ("pyramid.cu", "Level", _pyramid_cuda.LEVEL),
    ],
)
def test_records_are_those_of_the_kernels(source, name, record):
    text = (kernels_on_host.CUDA / source).read_text()
    assert f"static_assert(sizeof({name}) == {record.itemsize}," in text
    (body,) = re.findall(rf"struct {name} {{(.*?)}};", text, re.DOTALL)
    plain = re.sub(r"//.*|\[AXES\]", "", body)
    members = re.findall(r"(\w+)(?=[,;])", plain)
    assert members == list(record.names)


def test_statuses_are_those_of_the_kernels():
    for name in ("jpegls.cu", "rle.cu"):
        text = (kernels_on_host.CUDA / name).read_text()
        (line,) = re.findall(r"constexpr int (OK = .*);", text)
        found = dict(part.split(" = ") for part in line.split(", "))
        assert len(found) >= 3
        assert found == {status: str(FrameStatus[status].value) for status in found}


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory):
    """Give the program that runs launches under sanitizers."""
    if kernels_on_host.COMPILER is None:
        pytest.skip("no g++ to compile the kernels for the CPU")
    path = tmp_path_factory.mktemp("fuzz") / "fuzz"
    try:
        return kernels_on_host.compiled("fuzz.cpp", path, *kernels_on_host.SANITIZERS)
    except subprocess.CalledProcessError:
        pytest.skip("this g++ has no sanitizers")


def run_again(fuzzer, recorder):
    """Run all recorded launches under sanitizers; the statuses must be the same."""
    done = subprocess.run([str(fuzzer), str(recorder.path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:5000]
    assert [int(line) for line in done.stdout.split()] == recorder.statuses


def jpegls_room(rng, stream):
    """Make the frame that a broken header asks for, mostly."""
    at = stream.find(b"\xff\xf7") + 5
    rows, columns = int.from_bytes(stream[at : at + 2]), int.from_bytes(stream[at + 2 : at + 4])
    samples = stream[at + 4] if at + 4 < len(stream) else 0
    shape = (rows, columns, samples)
    if not 0 < rows * columns * samples <= LARGEST or rng.random() < 0.1:
        shape = (5, 7, 3)
    wide = at > len(stream) or stream[at - 1] > 8
    return np.zeros(shape, np.uint16 if wide else np.uint8)


def jpegls_seeds(rng):
    """Return small streams of all kinds, most of them more than a header."""
    seeds = [codestreams.jpegls(rng, most=60, area=3000).codestream for _ in range(200)]
    seeds = [*seeds[:10], *(seed for seed in seeds if len(seed) > 300)]
    for interleave in range(3):
        image = codestreams.picture(rng, (12, 9, 3), 8)
        how = {"interleave": interleave, "restart": 4, "preset": jpegls_encoder.Preset(reset=9)}
        seeds.append(jpegls_encoder.encode(image, 8, **how))
    for _ in range(10):  # long runs that end near the end of a line
        image = codestreams.picture(rng, (6, 400, 1), 12, "specks")
        seeds.append(codestreams.charls_encode(image, 12))
    return seeds


def test_broken_jpegls_streams(on_host, fuzzer, share, tmp_path):
    """A status for each, no byte outside of its memory, nothing undefined, and it ends."""
    rng, count = np.random.default_rng(99), share(4000, 100_000)
    seeds = jpegls_seeds(rng)
    reached = 0
    while count > 0:
        recorder = kernels_on_host.Recorder(tmp_path / "launches")
        on_host(recorder)
        streams = [
            codestreams.mutant(rng, *(seeds[i] for i in rng.integers(0, len(seeds), 2)))
            for _ in range(min(count, 500))
        ]
        recorder.frames = [kernels_on_host.as_host_array(jpegls_room(rng, s)) for s in streams]
        statuses = to_host(decode_jpegls(streams, recorder.frames))
        assert set(statuses.tolist()) <= set(FrameStatus)
        run_again(fuzzer, recorder)
        count -= len(streams)
        reached += len(recorder.reached)
    assert reached >= share(1200, 30_000)  # not all die in their header


def test_broken_rle_streams(on_host, fuzzer, share, tmp_path):
    rng, count = np.random.default_rng(98), share(4000, 100_000)
    seeds = [codestreams.rle(rng, most=60, area=3000) for _ in range(100)]
    reached = 0
    while count > 0:
        recorder = kernels_on_host.Recorder(tmp_path / "launches")
        on_host(recorder)
        chosen = [
            [seeds[i] for i in rng.integers(0, len(seeds), 2)] for _ in range(min(count, 500))
        ]
        streams = [codestreams.mutant(rng, a.codestream, b.codestream) for a, b in chosen]
        recorder.frames = [kernels_on_host.as_host_array(np.zeros_like(a.image)) for a, _ in chosen]
        statuses = to_host(decode_rle(streams, recorder.frames))
        assert set(statuses.tolist()) <= set(FrameStatus)
        run_again(fuzzer, recorder)
        count -= len(streams)
        reached += len(recorder.reached)
    assert reached >= share(1200, 30_000)
