"""Frames per second of the decoders on the GPU, by the number of frames in one launch.

It needs a GPU. The time includes reading the headers and copying the codestreams there; the frames
stay. `frames/s` and `GB/s` (of decoded pixels) in the JSON report are of the best round, and
`imagecodecs` on all cores is what they have to beat.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import imagecodecs
import numpy as np
import pytest
from rle.utils import encode_segment

from sansfilm_kernels import decode_jpegls, decode_rle, gpu_available, to_device, to_host

SHAPE = (512, 512)
COUNTS = (1, 100, 1000, 4000)
DIFFERENT = 50
"""Frames that differ; more are these again."""


@pytest.fixture(scope="module")
def images():
    """CT-like: 12 bits, smooth inside, with noise, and empty around."""
    rng = np.random.default_rng(0)
    y, x = np.ogrid[:512, :512]
    radius = (y - 255.5) ** 2 + (x - 255.5) ** 2
    body = 1000 + 60 * np.sin(x / 23.0) * np.cos(y / 31.0) + rng.normal(0, 12, (DIFFERENT, *SHAPE))
    return np.where(radius < 200**2, body, 0).clip(0, 4095).astype(np.uint16)


@pytest.fixture(scope="module")
def jpegls(images):
    return [bytes(imagecodecs.jpegls_encode(image, bitspersample=12)) for image in images]


@pytest.fixture(scope="module")
def rle(images):
    return [rle_frame(image) for image in images]


def rle_frame(image):
    planes = [(image >> shift).astype(np.uint8).tobytes() for shift in (8, 0)]
    high, low = (bytes(encode_segment(plane, image.shape[1])) for plane in planes)
    offsets = np.array([2, 64, 64 + len(high), *[0] * 13], "<u4")
    return offsets.tobytes() + high + low


def rate(benchmark, count, images):
    if benchmark.enabled:
        best = benchmark.stats.stats.min
        benchmark.extra_info["frames/s"] = round(count / best)
        benchmark.extra_info["GB/s"] = round(count * images[0].nbytes / best / 1e9, 2)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("codec", ["jpegls", "rle"])
def bench_on_gpu(benchmark, request, images, codec, count):
    pytest.importorskip("cupy")
    if not gpu_available():
        pytest.skip("no GPU")
    decode = {"jpegls": decode_jpegls, "rle": decode_rle}[codec]
    different = request.getfixturevalue(codec)
    streams = [different[number % DIFFERENT] for number in range(count)]
    volume = to_device(np.zeros((count, *SHAPE), np.uint16))
    frames = list(volume)
    status = benchmark(lambda: to_host(decode(streams, frames)))
    assert not status.any()
    assert np.array_equal(to_host(volume[-1]), images[(count - 1) % DIFFERENT])
    rate(benchmark, count, images)


@pytest.mark.parametrize("codec", ["jpegls", "rle"])
def bench_on_all_cores(benchmark, request, images, codec):
    decode = {
        "jpegls": imagecodecs.jpegls_decode,
        "rle": lambda frame: imagecodecs.dicomrle_decode(frame, "<u2"),
    }[codec]
    streams = request.getfixturevalue(codec)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = benchmark(lambda: list(pool.map(decode, streams)))
    last = np.frombuffer(bytes(found[-1]), np.uint16) if codec == "rle" else found[-1]
    assert np.array_equal(np.reshape(last, SHAPE), images[-1])
    rate(benchmark, DIFFERENT, images)
