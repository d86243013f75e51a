"""What `make gpu` measures: six questions that only a machine with a GPU answers.

Each function returns what goes into the report as it is. Times are the best of a few rounds, from
host to host, so that reading headers and copying codestreams count.
"""

import itertools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

import imagecodecs
import numpy as np

from sansfilm_kernels import (
    decode_jpegls,
    pyramid,
    to_device,
    to_host,
    window_linear,
    window_to_grey,
)
from sansfilm_kernels.nvjpeg2000 import Nvjpeg2000

SHAPE = (512, 512)
SLOTS = (1, 8, 32, 64, 128)
BATCHES = (16, 64, 300, 1000)
LAUNCHES = (1, 300, 1000, 5000)
ROUNDS = 3
CUBIC = [(2, 2, 2), (4, 4, 4), (8, 8, 8)]


def best(work, rounds=ROUNDS):
    """Return the seconds of the fastest round, after one that does not count."""
    cupy = import_module("cupy")
    seconds = []
    for _ in range(rounds + 1):
        cupy.cuda.Device().synchronize()
        start = time.perf_counter()
        work()
        cupy.cuda.Device().synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def images(count=50):
    """CT-like: 12 bits, smooth inside, with noise, and empty around."""
    rng = np.random.default_rng(0)
    rows, columns = SHAPE
    y, x = np.ogrid[:rows, :columns]
    radius = (y - rows / 2) ** 2 + (x - columns / 2) ** 2
    body = 1000 + 60 * np.sin(x / 23.0) * np.cos(y / 31.0) + rng.normal(0, 12, (count, *SHAPE))
    return np.where(radius < (0.4 * rows) ** 2, body, 0).clip(0, 4095).astype(np.uint16)


def jpeg2000(image):
    bits = 12 if image.dtype == np.uint16 else None
    how = {"level": 0, "codecformat": "j2k", "reversible": True, "bitspersample": bits}
    return bytes(imagecodecs.jpeg2k_encode(image, **how))


def htj2k(image):
    return bytes(imagecodecs.htj2k_encode(image))


def jpegls(image):
    return bytes(imagecodecs.jpegls_encode(image, bitspersample=12))


def lossless(image):
    return bytes(imagecodecs.ljpeg_encode(image, bitspersample=12))


def nvimgcodec():
    """Return nvImageCodec, or None where it is not installed."""
    try:
        return import_module("nvidia.nvimgcodec")
    except ImportError:
        return None


def nvimgcodec_decoder(codec):
    """Make a decoder that never falls back to a CPU."""
    kinds = (codec.GPU_ONLY, codec.HYBRID_CPU_GPU, codec.HW_GPU_ONLY)
    return codec.Decoder(device_id=0, backends=[codec.Backend(kind) for kind in kinds])


def nvimgcodec_decode(codec, decoder, streams):
    params = codec.DecodeParams(
        allow_any_depth=True, color_spec=codec.ColorSpec.UNCHANGED, apply_exif_orientation=False
    )
    return decoder.decode([codec.CodeStream(stream) for stream in streams], params=params)


def exactness():
    """1: lossless codestreams against the images that they were made of."""
    image = images(1)[0]
    signed, eight = image.astype(np.int16) - 2000, (image >> 4).astype(np.uint8)
    cases = {
        "J2K 12 bits": (jpeg2000, image),
        "J2K signed": (jpeg2000, signed),
        "J2K 8 bits": (jpeg2000, eight),
        "HTJ2K 16 bits": (htj2k, image),
        "HTJ2K signed": (htj2k, signed),
    }
    decoder, found = Nvjpeg2000(slots=2), {}
    found["nvJPEG2000"] = ".".join(map(str, decoder.version))
    for name, (encode, source) in cases.items():
        frame = to_device(np.zeros_like(source))
        status = int(decoder.decode([encode(source)], [frame])[0])
        exact = bool(np.array_equal(to_host(frame), source))
        found[name] = {"status": status, "exact": exact}
    decoder.close()
    codec = nvimgcodec()
    if codec is None:
        found["nvImageCodec"] = "not installed"
        return found
    found["nvImageCodec"] = str(codec.__version__)
    library = nvimgcodec_decoder(codec)
    for name, encode in {"JPEG lossless 12 bits": lossless, "J2K 12 bits": jpeg2000}.items():
        (result,) = nvimgcodec_decode(codec, library, [encode(image)])
        same = result is not None and np.array_equal(
            to_host(import_module("cupy").asarray(result))[..., 0], image
        )
        found[f"{name} by nvImageCodec"] = {"decoded": result is not None, "exact": bool(same)}
    return found


def jpeg2000_rates():
    """2: frames per second of 512x512, by frames in flight, and by nvImageCodec."""
    found = []
    for name, encode in {"J2K": jpeg2000, "HTJ2K": htj2k}.items():
        different = [encode(image) for image in images()]
        most = BATCHES[-1]
        volume = to_device(np.zeros((most, *SHAPE), np.uint16))
        streams, frames = _repeated(different, most), list(volume)
        for slots in SLOTS:
            decoder = Nvjpeg2000(slots=slots)
            wrong = int(np.count_nonzero(decoder.decode(streams, frames)))
            seconds = best(lambda d=decoder, s=streams, f=frames: d.decode(s, f))
            decoder.close()
            found.append(_rate(f"{name}, {slots} in flight", most, seconds, wrong=wrong))
        for decoders, batch in itertools.product((1, 4), BATCHES):
            if codec := nvimgcodec():
                seconds = _seconds_of_nvimgcodec(codec, streams[:batch], decoders)
                what = f"{name}, nvImageCodec, {decoders} decoders, batch {batch}"
                found.append(_rate(what, batch, seconds))
        decode = imagecodecs.jpeg2k_decode if name == "J2K" else imagecodecs.htj2k_decode
        found.append(_on_all_cores(name, decode, different))
    return found


def _seconds_of_nvimgcodec(codec, streams, decoders):
    """Share out codestreams to decoders, each with a thread of its own."""
    pairs = [(nvimgcodec_decoder(codec), streams[n::decoders]) for n in range(decoders)]

    def work(pair):
        return nvimgcodec_decode(codec, *pair)

    with ThreadPoolExecutor(decoders) as pool:
        return best(lambda: list(pool.map(work, pairs)))


def copies():
    """3: GB/s between pinned memory of the host and the GPU."""
    cupy = import_module("cupy")
    found = {}
    for megabytes in (1, 16, 256):
        host = cupy.cuda.alloc_pinned_memory(megabytes << 20)
        there = cupy.empty(megabytes << 20, np.uint8)
        size, address = megabytes << 20, host.ptr
        up = best(lambda t=there, a=address, s=size: t.data.copy_from_host(_pointer(a), s))
        down = best(lambda t=there, a=address, s=size: t.data.copy_to_host(_pointer(a), s))
        rates = {"up GB/s": size / up / 1e9, "down GB/s": size / down / 1e9}
        found[f"{megabytes} MiB"] = {name: round(value, 2) for name, value in rates.items()}
    return found


def jpegls_rates():
    """4: our JPEG-LS kernel by frames in one launch, and CharLS on all cores."""
    different, found = [jpegls(image) for image in images()], []
    for count in LAUNCHES:
        volume = to_device(np.zeros((count, *SHAPE), np.uint16))
        streams, frames = _repeated(different, count), list(volume)
        wrong = int(np.count_nonzero(to_host(decode_jpegls(streams, frames))))
        seconds = best(lambda s=streams, f=frames: to_host(decode_jpegls(s, f)))
        found.append(_rate(f"{count} in one launch", count, seconds, wrong=wrong))
    found.append(_on_all_cores("CharLS", imagecodecs.jpegls_decode, different))
    return found


def zstd_rates():
    """5: GB/s of nvCOMP's zstd by size of chunk, and zstd on all cores."""
    raw, found = images().astype("<u2").tobytes(), []
    try:
        nvcomp = import_module("nvidia.nvcomp")
    except ImportError:
        nvcomp = None
        found.append({"what": "nvCOMP", "not measured": "nvidia-nvcomp is not installed"})
    for size in (1 << 18, 1 << 20, 1 << 22):
        chunks = [raw[at : at + size] for at in range(0, len(raw) - size + 1, size)]
        total = size * len(chunks)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            seconds = best(
                lambda p=pool, c=chunks: list(p.map(lambda x: imagecodecs.zstd_encode(x, 3), c))
            )
        found.append({"what": f"all cores, chunks of {size}", "GB/s": _gigabytes(total, seconds)})
        if nvcomp:
            codec = nvcomp.Codec(algorithm="Zstd", bitstream_kind=nvcomp.BitstreamKind.RAW)
            there = [nvcomp.as_array(to_device(np.frombuffer(c, np.uint8))) for c in chunks]
            seconds = best(lambda c=codec, t=there: c.encode(t))
            found.append({"what": f"nvCOMP, chunks of {size}", "GB/s": _gigabytes(total, seconds)})
    return found


def array_rates():
    """6: GB/s of memory traffic of the fused kernels; the same numbers as NumPy, or it says so."""
    volume = np.repeat(images().astype(np.int16) - 1024, 6, axis=0)
    there, window, found = to_device(volume), {"center": 40.0, "width": 400.0}, []
    floats = there[:64].astype(np.float32)
    works = {
        "window_to_grey of int16": (lambda: window_to_grey(there, **window), 3 * volume.size),
        "window_linear of float32": (lambda: window_linear(floats, **window), 8 * floats.size),
        "pyramid of int16, 3 levels": (
            lambda: pyramid(there, CUBIC), 2 * volume.size * (1 + 1 / 8 + 1 / 64 + 1 / 512),
        ),
        "pyramid of int16 with padding": (
            lambda: pyramid(there, CUBIC, padding=(-1024, -1024)),
            2 * volume.size * (1 + 1 / 8 + 1 / 64 + 1 / 512),
        ),
    }  # fmt: skip
    for name, (work, traffic) in works.items():
        found.append({"what": name, "GB/s": _gigabytes(traffic, best(work, 10))})
    few = volume[:16]
    same = np.array_equal(
        to_host(window_to_grey(there[:16], **window)), window_to_grey(few, **window)
    )
    levels = zip(pyramid(there[:16], CUBIC), pyramid(few, CUBIC), strict=True)
    same = same and all(np.array_equal(to_host(one), other) for one, other in levels)
    found.append({"what": "equal to NumPy", "exact": bool(same)})
    return found


MEASURES = {
    "1 lossless codecs are exact": exactness,
    "2 JPEG 2000 and HTJ2K, 512x512": jpeg2000_rates,
    "3 pinned copies": copies,
    "4 JPEG-LS, 512x512": jpegls_rates,
    "5 zstd": zstd_rates,
    "6 window and pyramid": array_rates,
}


def _repeated(streams, count):
    return [streams[number % len(streams)] for number in range(count)]


def _gigabytes(size, seconds):
    return round(size / seconds / 1e9, 3)


def _rate(what, count, seconds, **more):
    size = count * SHAPE[0] * SHAPE[1] * 2
    rates = {"frames/s": round(count / seconds, 1), "GB/s": _gigabytes(size, seconds)}
    return {"what": what, **rates, **more}


def _on_all_cores(name, decode, streams):
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        seconds = best(lambda: list(pool.map(decode, streams)))
    return _rate(f"{name}, imagecodecs on {os.cpu_count()} cores", len(streams), seconds)


def _pointer(address):
    return import_module("ctypes").c_void_p(address)
