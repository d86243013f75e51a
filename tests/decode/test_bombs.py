"""Small codestreams that ask for much time or memory: refused, or stopped in time (B14)."""

import io
import struct
import time

import imagecodecs
import numpy as np
import pytest
import synth
from PIL import Image

from sansfilm.decode.codestream import sniff
from sansfilm.decode.guarded import decode_frames, decode_one
from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import Decoding
from sansfilm.options import Options

HOW = Decoding(Options().prefer, seconds=1)


def progressive(image: np.ndarray) -> tuple[bytes, list[bytes]]:
    """Return a JPEG up to its end, and its scans."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", progressive=True)
    data, pos, scans = file.getvalue(), 2, []
    while data[pos + 1] != 0xD9:
        end = pos + 2 + struct.unpack_from(">H", data, pos + 2)[0]
        if data[pos + 1] == 0xDA:
            while data[end] != 0xFF or data[end + 1] == 0:
                end += 1
            scans.append(data[pos:end])
        pos = end
    return data[:pos], scans


def test_a_jpeg_of_many_scans_is_stopped(spec):
    stored = (np.add.outer(np.arange(1024), np.arange(1024)) % 256).astype(np.uint8)
    start, scans = progressive(stored)
    bomb = start + min(scans, key=len) * 200_000 + b"\xff\xd9"
    good = start + b"\xff\xd9"
    about = spec(stored, synth.JPEG_BASELINE)
    began = time.monotonic()
    frames = [(good, about), (bomb, about), (good, about)]
    first, stopped, last = (done.error for done in decode_frames(frames, HOW))
    assert time.monotonic() - began < 10
    assert first is last is None
    assert stopped.code == ProblemCode.TIMEOUT


@pytest.mark.parametrize("tiles", [(1, 1), (0, 64), (64, 0)])
def test_a_jpeg_2000_image_of_too_many_tiles_is_not_decoded(spec, tiles):
    stored = synth.phantom(np.random.default_rng(0), (1, 256, 257))[0]
    frame = bytearray(synth.encode(stored, synth.J2K, 12))
    frame[24:32] = struct.pack(">2I", *tiles)
    with pytest.raises(BadInstanceError) as caught:
        sniff(bytes(frame), spec(stored, synth.J2K, 12))
    assert caught.value.code == ProblemCode.CODESTREAM_MISMATCH


@pytest.mark.parametrize("syntax", [synth.J2K, synth.HTJ2K])
@pytest.mark.parametrize("tiles", [(1, 1), (16, 1), (40, 31), (39, 32)])
def test_a_jpeg_2000_image_without_all_its_tiles_is_not_decoded(spec, syntax, tiles):
    """OpenJPEG gives zeros for tiles that are not there, and no error."""
    stored = synth.phantom(np.random.default_rng(0), (1, 32, 40))[0]
    frame = synth.encode(stored, syntax, 12)
    frame = frame[:24] + struct.pack(">2I", *tiles) + frame[32:]
    with pytest.raises(BadInstanceError, match="tiles are missing") as caught:
        sniff(frame, spec(stored, syntax, 12))
    assert caught.value.code == ProblemCode.DECODE_FAILED


def test_tiles_may_come_in_any_order(spec):
    """Tiles are coded as images of their own size are."""
    stored = synth.phantom(np.random.default_rng(0), (1, 32, 48))[0]
    tiles, start = [], b""
    for number in range(6):
        y, x = 16 * (number // 3), 16 * (number % 3)
        tile = bytes(imagecodecs.jpeg2k_encode(
            stored[y : y + 16, x : x + 16], level=0, codecformat="j2k", bitspersample=12,
            resolutions=2,
        ))  # fmt: skip
        at = tile.index(b"\xff\x90")
        start = tile[:8] + struct.pack(">2I", 48, 32) + tile[16:at]
        tiles.append(tile[at : at + 4] + struct.pack(">H", number) + tile[at + 6 : -2])
    about, end = spec(stored, synth.J2K, 12), b"\xff\xd9"
    for some in (tiles, tiles[::-1]):
        assert np.array_equal(decode_one(start + b"".join(some) + end, about, HOW), stored)
    for lost in range(6):
        some = tiles[:lost] + tiles[lost + 1 :]
        for less in (some, [*some, some[0]]):
            with pytest.raises(BadInstanceError, match="tiles are missing"):
                sniff(start + b"".join(less) + end, about)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (24, struct.pack(">2I", 2, 1)),  # 32,896 tiles of which one is there
        (40, struct.pack(">H", 16384)),  # components
        (43, b"\xff\xff"),  # each sample for 255 x 255 pixels
    ],
    ids=["tiles", "components", "subsampling"],
)
@pytest.mark.parametrize("syntax", [synth.J2K, synth.HTJ2K])
def test_jpeg_2000_headers_that_lie_cost_their_frame(spec, syntax, place, value):
    stored = synth.phantom(np.random.default_rng(0), (1, 256, 257))[0]
    frame = bytearray(synth.encode(stored, syntax, 12))
    frame[place : place + len(value)] = value
    began = time.monotonic()
    with pytest.raises(BadInstanceError) as caught:
        decode_one(bytes(frame), spec(stored, syntax, 12), HOW)
    assert caught.value.code in (ProblemCode.DECODE_FAILED, ProblemCode.CODESTREAM_MISMATCH,
                                 ProblemCode.TIMEOUT)  # fmt: skip
    assert time.monotonic() - began < 5


def test_a_jpeg_2000_image_of_many_layers_ends(spec):
    stored = synth.phantom(np.random.default_rng(0), (1, 64, 64))[0]
    frame = bytearray(synth.encode(stored, synth.J2K, 12))
    layers = frame.index(b"\xff\x52") + 6
    frame[layers : layers + 2] = b"\xff\xff"
    began = time.monotonic()
    (done,) = decode_frames([(bytes(frame), spec(stored, synth.J2K, 12))], HOW)
    assert done.error is not None or np.array_equal(done.stored, stored)
    assert time.monotonic() - began < 5
