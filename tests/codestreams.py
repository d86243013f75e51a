"""Makes JPEG-LS and RLE codestreams of all kinds, with what other decoders make of them."""

from dataclasses import dataclass

import imagecodecs
import jpeg_ls
import jpegls_encoder
import numpy as np
from jpegls_encoder import LINE, NONE, SAMPLE, Preset
from rle.utils import encode_segment

from sansfilm_kernels import FrameStatus, to_host

GUARD = 171
"""What lies around a frame, and must still lie there afterwards."""
SMALL = 3000
"""Samples that the encoder in Python may be asked for."""


@dataclass(frozen=True)
class Stream:
    """A codestream and its image as another decoder sees it: (rows, columns, samples)."""

    codestream: bytes
    image: np.ndarray
    dtypes: tuple[str, ...]
    """Of the frames that it may be decoded into."""
    by_charls: bool = True
    """Otherwise by the encoder of the tests, where CharLS does not follow the standard."""


def shape_of(rng, most=2048, samples=1, area=2**18):
    """Draw rows and columns, small ones as often as large ones."""
    while True:
        rows, columns = np.exp(rng.uniform(0, np.log(most + 1), 2)).astype(int)
        if rows * columns * samples <= area:
            return int(rows), int(columns), samples


def picture(rng, shape, bits, kind=None):
    """Draw an image: noise, flat with specks, smooth, or with edges."""
    top = 2**bits
    kind = rng.choice(["noise", "specks", "smooth", "edges"]) if kind is None else kind
    if kind == "noise":
        image = rng.integers(0, top, shape)
    elif kind == "specks":
        image = np.where(rng.random(shape) < 0.95, rng.integers(top), rng.integers(0, top, shape))
    elif kind == "smooth":
        image = np.cumsum(np.cumsum(rng.integers(-2, 3, shape), axis=1), axis=0) % top
    else:
        blocks = rng.integers(0, top, (shape[0] // 5 + 1, shape[1] // 7 + 1, shape[2]))
        image = blocks.repeat(5, 0).repeat(7, 1)[: shape[0], : shape[1]]
        image = image + (rng.random(shape) < 0.1)
    return image.clip(0, top - 1).astype(np.uint8 if bits <= 8 else np.uint16)


def jpegls(rng, *, most=2048, area=2**18):
    """Draw one JPEG-LS stream: any depth, NEAR, interleave, restart markers, preset parameters."""
    samples = int(rng.choice([1, 1, 1, 3, 3, 2, 4]))
    bits = int(rng.integers(2, 17))
    near = int(min(rng.choice([0, 0, 0, *range(1, 8)]), 2 ** (bits - 1) - 1))
    interleave = int(rng.choice([NONE, LINE, SAMPLE])) if samples > 1 else NONE
    dtypes = ("u1", "u2") if bits <= 8 else ("u2",)
    two = samples == 2 and interleave != NONE
    if rng.random() < 0.7 and not two:
        shape = shape_of(rng, most, samples, area)
        try:
            codestream = charls_encode(picture(rng, shape, bits), bits, near, interleave)
        except RuntimeError as exc:
            if "buffer is too small" not in str(exc):  # it is for tiny images and for some noise
                raise
        else:
            return Stream(codestream, charls_decode(codestream, shape), dtypes)
    image = picture(rng, shape_of(rng, 60, samples, SMALL), bits)
    restart = int(rng.choice([0, 1, 2, rng.integers(1, 65535)]))
    preset = preset_of(rng, image, bits, near) if rng.random() < 0.5 else Preset()
    how = {"near": near, "interleave": interleave, "restart": restart, "preset": preset}
    codestream, image = jpegls_encoder.encode_and_see(image, bits, **how)
    reset_too = preset.reset not in (0, 64) and interleave == SAMPLE
    if two or reset_too or preset.maxval not in (0, 2**bits - 1):  # see jpegls_encoder
        return Stream(codestream, image, dtypes, by_charls=False)
    return Stream(codestream, charls_decode(codestream, image.shape), dtypes)


def preset_of(rng, image, bits, near):
    """Draw valid preset parameters (T.87 C.2.4.1.1)."""
    least, most = max(int(image.max()), 2 * near, near + 1), 2**bits - 1
    maxval = int(rng.choice([0, most, rng.integers(least, most + 1)]))
    t1, t2, t3 = (int(t) for t in np.sort(rng.integers(near + 1, (maxval or most) + 1, 3)))
    reset = int(rng.choice([0, 3, 64, rng.integers(3, max(255, maxval or most) + 1)]))
    return Preset(maxval, t1, t2, t3, reset)


def charls_encode(image, bits, near=0, interleave=SAMPLE):
    rows, columns, samples = image.shape
    data = np.moveaxis(image, -1, 0) if interleave == NONE else image
    how = {"interleave_mode": interleave} if samples > 1 else {}
    return bytes(
        jpeg_ls.encode_buffer(data.tobytes(), rows, columns, samples, bits, lossy_error=near, **how)
    )


def charls_decode(codestream, shape):
    """Decode with CharLS to (rows, columns, samples)."""
    return np.asarray(imagecodecs.jpegls_decode(codestream)).reshape(shape)


def rle(rng, *, most=2048, area=2**18):
    """Draw one RLE frame: any samples, 8, 16 or 32 bits, packed by pylibjpeg or as else allowed."""
    size = int(rng.choice([1, 2, 4]))
    samples = int(rng.choice([1, 3, rng.integers(1, 15 // size + 1)]))
    own = rng.random() < 0.3
    shape = shape_of(rng, 60 if own else most, samples, SMALL if own else area)
    image = picture(rng, shape, min(8 * size, 16)).astype(f"u{size}")
    if size == 4:
        image = image * np.uint32(65521) + image
    planes = np.moveaxis(image, -1, 0).astype(f">u{size}")
    data = [planes[s].tobytes()[byte::size] for s in range(samples) for byte in range(size)]
    if own:
        codestream = rle_frame([pack_bits(rng, plane) for plane in data])
    else:
        codestream = rle_frame([bytes(encode_segment(plane, shape[1])) for plane in data])
    unpacked = np.frombuffer(imagecodecs.dicomrle_decode(codestream, f"<u{size}"), f"<u{size}")
    return Stream(codestream, np.moveaxis(unpacked.reshape(planes.shape), 0, -1), (f"u{size}",))


def pack_bits(rng, data):
    """Pack bytes in one of the many ways that PS3.5 G.3 allows."""
    out, at = bytearray(), 0
    while at < len(data):
        if rng.random() < 0.05:
            out.append(128)  # no operation
        run = 1
        while run < 128 and data[at : at + 1] == data[at + run : at + run + 1]:
            run += 1
        if run > 1 and rng.random() < 0.8:
            run = int(rng.integers(2, run + 1))
            out += bytes([257 - run, data[at]])
            at += run
        else:
            piece = data[at : at + int(rng.integers(1, 129))]
            out += bytes([len(piece) - 1]) + piece
            at += len(piece)
    return bytes(out) + b"\0" * (len(out) % 2)


def rle_frame(segments):
    """Put a header before segments (PS3.5 G.5)."""
    offsets = np.zeros(16, "<u4")
    offsets[0] = len(segments)
    offsets[1 : 1 + len(segments)] = 64 + np.cumsum([0, *map(len, segments[:-1])])
    return offsets.tobytes() + b"".join(segments)


def check(gpu, rng, streams, decoder):
    """Decode all in one call and compare; nothing around a frame may change."""
    places = [_room(gpu, rng, stream) for stream in streams]
    status = decoder([stream.codestream for stream in streams], [frame for _, frame in places])
    assert to_host(status).tolist() == [FrameStatus.OK] * len(streams)
    for stream, (whole, frame) in zip(streams, places, strict=True):
        image = stream.image
        assert np.array_equal(to_host(frame).reshape(image.shape), image)
        around = int(to_host(whole).sum(dtype=np.uint64)) - int(image.sum(dtype=np.uint64))
        assert around == GUARD * (whole.size - image.size)


def _room(gpu, rng, stream):
    """Make room for a stream: as pixels, as planes, or inside of a larger array; return both."""
    rows, columns, samples = stream.image.shape
    dtype = rng.choice(stream.dtypes)
    kind = rng.choice(["pixels", "planes", "inside"])
    if kind == "planes":
        whole = gpu(np.full((samples, rows, columns), GUARD, dtype))
        return whole, whole.transpose(1, 2, 0)
    if kind == "inside":
        whole = gpu(np.full((rows + 2, columns + 3, samples + 1), GUARD, dtype))
        return whole, whole[1:-1, 2:-1, :samples]
    whole = gpu(np.full((rows, columns, samples), GUARD, dtype))
    return whole, whole[..., 0] if samples == 1 else whole


def mutant(rng, codestream, other):
    """Break a codestream somehow."""
    data = bytearray(codestream)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(data))) if data else 0
        if rng.random() < 0.2:  # headers are short and decide much
            at = min(at, int(rng.integers(80)))
        kind = rng.integers(8)
        if kind == 0 and data:
            data[at] ^= 1 << rng.integers(8)
        elif kind == 1 and data:
            data[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFE, 0xFF, rng.integers(256)])
        elif kind == 2:
            del data[int(rng.integers(len(data) + 1)) :]
        elif kind == 3:
            del data[at : at + int(rng.integers(1, 9))]
        elif kind == 4:
            data[at:at] = rng.integers(0, 256, rng.integers(1, 9), np.uint8).tobytes()
        elif kind == 5:
            data[at:] = other[int(rng.integers(len(other))) :]
        elif kind == 6:
            some = int(rng.integers(1, 40))
            data[at : at + some] = bytes([rng.choice([0, 0x55, 0x7F, 0xFF])]) * some
        else:
            data[at:at] = bytes([0xFF, rng.integers(0xC0, 256)])
    if rng.random() < 0.7:  # without an end a JPEG-LS stream is not looked at
        data += b"\xff\xd9"
    return bytes(data)
