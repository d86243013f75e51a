"""nvJPEG2000's binding, through a library that only pretends to be it, and against its header.

On a GPU, and only there, real codestreams are decoded and compared with OpenJPEG and OpenJPH.
"""

import contextlib
import ctypes
import itertools
import struct
import subprocess
from importlib.util import find_spec
from pathlib import Path

import imagecodecs
import kernels_on_host
import numpy as np
import pytest

from sansfilm_kernels import FrameStatus, _nvjpeg2k_api, decode_jpeg2000, nvjpeg2000, to_host
from sansfilm_kernels._batch import RefusedError
from sansfilm_kernels._jpeg2000_header import Header, read_header

LOSSLESS_HT, LOSSY_HT = 0x0000, 0x0020
"""Ccap15 (T.814 A.3): one HT set and no more; the second is irreversible."""


def segment(marker, body):
    return struct.pack(">HH", marker, len(body) + 2) + body


def codestream(
    rows=5, columns=7, components=1, bits=12, signed=False, *, rsiz=0, origin=(0, 0, 0, 0),
    tile=None, sampling=(1, 1), layers=1, levels=5, style=0, wavelet=1, cap=None, extra=b"",
    comment="", size=None, kinds=None,
):  # fmt: skip
    """Write the markers of a codestream; its tile holds nothing that a decoder could use."""
    wide, high = tile or (columns, rows)
    xo, yo, xto, yto = origin
    depth = bits - 1 | signed << 7
    parts = kinds or [(depth, *sampling)] * components
    siz = struct.pack(">H8IH", rsiz, columns, rows, xo, yo, wide, high, xto, yto, components)
    siz += b"".join(bytes(part) for part in parts)
    cod = struct.pack(">BBHB5B", 0, 0, layers, 0, levels, 4, 4, style, wavelet)
    head = b"\xff\x4f" + segment(0xFF51, siz)
    if cap is not None:
        head += segment(0xFF50, struct.pack(">IH", 1 << 17, cap))
    head += segment(0xFF52, cod) + extra
    head += segment(0xFF64, b"\0\1" + b"sansfilm:" + comment.encode() + b"." * 150)
    data = b"\xff\x93" + bytes(20)
    size = 12 + len(data) if size is None else size
    return head + segment(0xFF90, struct.pack(">HIBB", 0, size, 0, 1)) + data + b"\xff\xd9"


def ht(**how):
    return codestream(**{"rsiz": 0x4000, "cap": LOSSLESS_HT, "style": 0x40} | how)


def expected(stream, shape, dtype, bits, reduction=0):
    """Return what the fake library makes of a codestream."""
    rows, columns, samples = (*shape, 1)[:3]
    y, x, c = np.ogrid[:rows, :columns, :samples]
    values = (sum(stream) + 7 * y + 3 * x + 50 * c + 1000 * reduction) & ((1 << bits) - 1)
    if np.dtype(dtype).kind == "i":
        values = values - (1 << (bits - 1))
    return values.astype(dtype).reshape(shape)


@pytest.fixture
def decoder(fake):
    decoder = nvjpeg2000.Nvjpeg2000(slots=4, library=fake.path)
    yield decoder
    decoder.close()


def room(shape, dtype, kind="whole"):
    """Return a frame that lies in some way, and all the memory around it."""
    whole = kernels_on_host.as_host_array(
        np.full((shape[0] + 2, shape[1] + 3, *shape[2:]), 99, dtype)
    )
    if kind == "inside":  # rows further apart than they are long
        return whole[1:-1, : shape[1]], whole
    if kind == "planes":
        whole = kernels_on_host.as_host_array(np.full((*shape[2:], *shape[:2]), 99, dtype))
        return whole.transpose(1, 2, 0) if len(shape) == 3 else whole, whole
    whole = kernels_on_host.as_host_array(np.full(shape, 99, dtype))
    return whole, whole


@pytest.mark.parametrize("kind", ["whole", "inside", "planes"])
@pytest.mark.parametrize("samples", [None, 1, 3])
@pytest.mark.parametrize(("dtype", "bits"), [("uint8", 8), ("uint16", 12), ("int16", 16)])
@pytest.mark.parametrize("reduction", [0, 1, 3])
def test_frames_are_filled_where_they_lie(decoder, kind, samples, dtype, bits, reduction):
    signed = dtype == "int16"
    stream = codestream(21, 10, samples or 1, bits, signed)
    small = (-(-21 // 2**reduction), -(-10 // 2**reduction))
    shape = small if samples is None else (*small, samples)
    frame, whole = room(shape, dtype, kind)
    assert decoder.decode([stream], [frame], reduction=reduction).tolist() == [FrameStatus.OK]
    values = expected(stream, shape, dtype, bits, reduction)
    assert np.array_equal(frame, values)
    around = int(whole.sum(dtype=np.int64)) - int(values.sum(dtype=np.int64))
    assert around == 99 * (whole.size - values.size)


def test_many_frames_share_few_slots(decoder, fake):
    sizes = [(3 + n % 5, 4 + n % 7) for n in range(50)]
    streams = [codestream(*size, comment=str(n)) for n, size in enumerate(sizes)]
    frames = [room(size, np.uint16)[0] for size in sizes]
    assert not decoder.decode(streams, frames).any()
    for stream, frame in zip(streams, frames, strict=True):
        assert np.array_equal(frame, expected(stream, frame.shape, np.uint16, 12))
    assert fake.library.fake_most_waiting() == 4
    assert all(slot.stream.waits for slot in decoder._slots)


def test_what_goes_wrong_is_told_of_its_frame_alone(decoder):
    comments = ["", "parse", "other", "refuse", "break", "fail late", "flat", ""]
    meant = ["OK", "CORRUPT", "MISMATCH", "UNSUPPORTED", "FAILED", "FAILED", "SUSPECT", "OK"]
    streams = [codestream(comment=comment) for comment in comments] * 3
    frames = [room((5, 7), np.uint16)[0] for _ in streams]
    statuses = [FrameStatus(status).name for status in decoder.decode(streams, frames)]
    assert statuses == meant * 3
    for stream, frame, status in zip(streams, frames, statuses, strict=True):
        if status == "OK":
            assert np.array_equal(frame, expected(stream, (5, 7), np.uint16, 12))


@pytest.mark.parametrize(
    ("how", "meant"),
    [
        ({}, "OK"),
        ({"bits": 16}, "OK"),
        ({"layers": 32}, "OK"),
        ({"wavelet": 0}, "OK"),
        ({"tile": (4, 3)}, "OK"),
        ({"size": 0}, "OK"),
        ({"rows": 6}, "MISMATCH"),
        ({"components": 3}, "MISMATCH"),
        ({"bits": 17}, "UNSUPPORTED"),
        ({"signed": True}, "MISMATCH"),
        ({"bits": 8, "signed": True}, "UNSUPPORTED"),
        ({"components": 5}, "UNSUPPORTED"),
        ({"components": 0}, "CORRUPT"),
        ({"columns": 0}, "CORRUPT"),
        ({"origin": (1, 0, 0, 0)}, "UNSUPPORTED"),
        ({"origin": (0, 0, 0, 1)}, "UNSUPPORTED"),
        ({"sampling": (2, 1)}, "UNSUPPORTED"),
        ({"components": 2, "kinds": [(11, 1, 1), (9, 1, 1)]}, "UNSUPPORTED"),
        ({"layers": 33}, "UNSUPPORTED"),
        ({"rsiz": 0x8000}, "UNSUPPORTED"),
        ({"style": 0x40}, "UNSUPPORTED"),
        ({"style": 0xC0}, "UNSUPPORTED"),
        ({"size": 10**6}, "TRUNCATED"),
        ({"size": 13}, "CORRUPT"),
        *[({"extra": segment(0xFF00 + marker, bytes(9))}, "UNSUPPORTED") for marker in
          (0x5E, 0x5F, 0x60, 0x76)],
    ],
)  # fmt: skip
def test_what_is_refused_before_the_library_sees_it(decoder, how, meant):
    frame, _ = room((5, 7), np.uint16)
    assert FrameStatus(decoder.decode([codestream(**how)], [frame])[0]).name == meant


@pytest.mark.parametrize(
    ("how", "meant"),
    [
        ({}, "OK"),
        ({"cap": 0x000C}, "OK"),
        ({"layers": 2}, "UNSUPPORTED"),
        ({"wavelet": 0, "cap": LOSSY_HT}, "UNSUPPORTED"),
        ({"style": 0}, "UNSUPPORTED"),
        ({"style": 0xC0}, "UNSUPPORTED"),
        *[({"cap": 1 << bit}, "UNSUPPORTED") for bit in (11, 12, 13, 15)],
    ],
)
def test_ht_that_may_hold_refinement_passes_is_refused(decoder, how, meant):
    frame, _ = room((5, 7), np.uint16)
    assert FrameStatus(decoder.decode([ht(**how)], [frame])[0]).name == meant


def test_reductions_that_are_not_there_are_refused(decoder):
    tiles, few = codestream(tile=(4, 3)), codestream(levels=1)
    frames = [room((3, 4), np.uint16)[0], room((2, 2), np.uint16)[0]]
    assert decoder.decode([tiles], frames[:1], reduction=1).tolist() == [FrameStatus.UNSUPPORTED]
    assert decoder.decode([few], frames[1:], reduction=2).tolist() == [FrameStatus.UNSUPPORTED]
    with pytest.raises(ValueError, match="negative"):
        decoder.decode([], [], reduction=-1)


def test_every_cut_and_every_broken_byte_has_a_status():
    for stream in (codestream(), ht(tile=(4, 3))):
        for cut in range(len(stream)):
            with pytest.raises(RefusedError):
                read_header(stream[:cut])
        for at, value in itertools.product(range(len(stream)), (0, 1, 0x40, 0xFF)):
            broken = stream[:at] + bytes([value]) + stream[at + 1 :]
            with contextlib.suppress(RefusedError):
                assert isinstance(read_header(broken), Header)


def test_frames_that_cannot_be_written_are_refused(decoder):
    frame, _ = room((7, 5), np.uint16)
    with pytest.raises(ValueError, match="adjacent"):
        decoder.decode([codestream()], [frame.T])
    with pytest.raises(ValueError, match="adjacent"):
        decoder.decode([codestream()], [room((5, 7), np.uint16)[0][::-1]])
    with pytest.raises(TypeError, match="uint8 or uint16 or int16"):
        decoder.decode([codestream()], [room((5, 7), np.uint32)[0]])
    with pytest.raises(TypeError, match=r"imagecodecs\.jpeg2k_decode"):
        decoder.decode([codestream()], [np.zeros((5, 7), np.uint16)])


@pytest.mark.parametrize("version", [(0, 10), (1, 0)])
def test_other_versions_are_refused_with_the_cure(fake, version):
    fake.library.fake_version(*version)
    with pytest.raises(RuntimeError, match=r"0\.11 or a later 0: install sansfilm\[gpu\]"):
        nvjpeg2000.Nvjpeg2000(library=fake.path)


def test_without_the_library_the_error_names_the_cure(fake):
    with pytest.raises(RuntimeError, match=r"install sansfilm\[gpu\]"):
        nvjpeg2000.Nvjpeg2000(library=fake.path + ".absent")
    with pytest.raises(ValueError, match="slots"):
        nvjpeg2000.Nvjpeg2000(slots=0)


# ------------------------------------------------------------------- against NVIDIA's own package


@pytest.fixture(scope="session")
def package():
    """Give the folder of NVIDIA's package; skip without it."""
    try:
        found = find_spec("nvidia.nvjpeg2k")
    except ModuleNotFoundError:
        found = None
    if found is None:
        pytest.skip("no nvidia-nvjpeg2k package, whose header and library this compares with")
    return Path(found.submodule_search_locations[0])


C_NAMES = {
    _nvjpeg2k_api.Status: "NVJPEG2K_STATUS_",
    _nvjpeg2k_api.PixelType: "NVJPEG2K_",
    _nvjpeg2k_api.Format: "NVJPEG2K_FORMAT_",
}
C_STRUCTS = {
    _nvjpeg2k_api.ImageInfo: "nvjpeg2kImageInfo_t",
    _nvjpeg2k_api.ComponentInfo: "nvjpeg2kImageComponentInfo_t",
    _nvjpeg2k_api.Image: "nvjpeg2kImage_t",
}
SHAPE = """
#define _NVJPEG2K_DISABLE_CUDA_TOOLKIT_HEADERS
#include <cstddef>
#include <type_traits>
#include "nvjpeg2k.h"
template <class> struct Shape;
template <class R, class... A> struct Shape<R(A...)> {
    static constexpr size_t count = sizeof...(A), result = sizeof(R);
    static constexpr size_t sizes[] = {sizeof(A)...};
    static constexpr bool pointers[] = {std::is_pointer<A>::value...};
};
"""


def declarations():
    """Yield what has to be true of the header."""
    for kind, prefix in C_NAMES.items():
        for member in kind:
            yield f"{prefix}{member.name} == {member.value}"
    for structure, name in C_STRUCTS.items():
        yield f"sizeof({name}) == {ctypes.sizeof(structure)}"
        for field, kind in structure._fields_:
            yield f"offsetof({name}, {field}) == {getattr(structure, field).offset}"
            yield f"sizeof((({name}*)0)->{field}) == {ctypes.sizeof(kind)}"
    for name, arguments in _nvjpeg2k_api.SIGNATURES.items():
        shape = f"Shape<decltype(nvjpeg2k{name})>"
        yield f"{shape}::count == {len(arguments)} && {shape}::result == 4"
        for number, kind in enumerate(arguments):
            pointer = kind in (ctypes.c_void_p, ctypes.c_char_p) or hasattr(kind, "contents")
            yield f"{shape}::sizes[{number}] == {ctypes.sizeof(kind)}"
            yield f"{shape}::pointers[{number}] == {str(pointer).lower()}"


def test_the_binding_is_that_of_the_header(package, tmp_path):
    if kernels_on_host.COMPILER is None:
        pytest.skip("no g++")
    lines = [f'static_assert({claim}, "");' for claim in declarations()]
    assert len(lines) > 100
    source = tmp_path / "claims.cpp"
    source.write_text(SHAPE + "\n".join(lines))
    command = [kernels_on_host.COMPILER, "-std=c++17", "-fsyntax-only", f"-I{package / 'include'}"]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:3000]


def test_the_library_has_all_functions_and_a_version_that_is_accepted(package):
    assert _nvjpeg2k_api.find_library().startswith(str(package))
    assert _nvjpeg2k_api.Library().version >= _nvjpeg2k_api.LEAST_VERSION


PICTURE = np.random.default_rng(8).integers(0, 4096, (70, 90)).astype(np.uint16)
REAL = {
    "12 bits": (imagecodecs.jpeg2k_encode, PICTURE, {"bitspersample": 12}),
    "16 bits": (imagecodecs.jpeg2k_encode, PICTURE, {}),
    "signed": (imagecodecs.jpeg2k_encode, PICTURE.astype(np.int16) - 2048, {}),
    "8 bits": (imagecodecs.jpeg2k_encode, PICTURE.astype(np.uint8), {}),
    "colour": (imagecodecs.jpeg2k_encode, PICTURE.reshape(30, 70, 3).astype(np.uint8), {}),
    "one column": (imagecodecs.jpeg2k_encode, PICTURE[:, :1].copy(), {}),
    "HT": (imagecodecs.htj2k_encode, PICTURE, {}),
    "HT signed": (imagecodecs.htj2k_encode, PICTURE.astype(np.int16) - 2048, {}),
    "HT colour": (imagecodecs.htj2k_encode, PICTURE.reshape(30, 70, 3).astype(np.uint8), {}),
}


def encoded(name):
    encode, image, how = REAL[name]
    if encode is imagecodecs.jpeg2k_encode:
        how = how | {"level": 0, "codecformat": "j2k", "reversible": True}
    return bytes(encode(image, **how))


@pytest.mark.parametrize("name", REAL)
def test_the_library_reads_the_same_in_real_headers(package, name):
    """Its parser runs on the host, also without a GPU."""
    library, info = _nvjpeg2k_api.Library(), _nvjpeg2k_api.ImageInfo()
    component, resolutions = _nvjpeg2k_api.ComponentInfo(), ctypes.c_uint32()
    handle = ctypes.c_void_p()
    if library.call("CreateSimple", ctypes.byref(handle)):
        pytest.skip("this nvJPEG2000 wants a GPU for its handle")
    parsed, stream = library.create("StreamCreate"), encoded(name)
    library.must("StreamParse", handle, stream, len(stream), 0, 0, parsed)
    library.must("StreamGetImageInfo", parsed, ctypes.byref(info))
    library.must("StreamGetImageComponentInfo", parsed, ctypes.byref(component), 0)
    library.must("StreamGetResolutionsInTile", parsed, 0, ctypes.byref(resolutions))
    library.must("StreamDestroy", parsed)
    assert read_header(stream) == Header(
        info.image_height, info.image_width, info.num_components, component.precision,
        bool(component.sgn), info.num_tiles_x * info.num_tiles_y, resolutions.value,
    )  # fmt: skip
    image = REAL[name][1]
    assert (info.image_height, info.image_width) == image.shape[:2]


@pytest.mark.parametrize("name", REAL)
def test_headers_of_real_codestreams(name):
    image, header = REAL[name][1], read_header(encoded(name))
    assert (header.rows, header.columns, header.components) == (*image.shape, 1)[:3]
    assert header.signed == (image.dtype.kind == "i")


@pytest.mark.gpu
@pytest.mark.parametrize("name", REAL)
def test_lossless_codestreams_are_exact_on_a_gpu(name):
    cupy = pytest.importorskip("cupy")
    if not cupy.cuda.is_available():
        pytest.skip("no GPU")
    image, stream = REAL[name][1], encoded(name)
    volume = cupy.zeros((100, *image.shape), image.dtype)
    assert not decode_jpeg2000([stream] * 100, list(volume)).any()
    assert all(np.array_equal(frame, image) for frame in to_host(volume))


@pytest.mark.gpu
@pytest.mark.parametrize("reduction", [1, 2])
def test_reduced_resolutions_are_those_of_openjpeg_on_a_gpu(reduction):
    cupy = pytest.importorskip("cupy")
    if not cupy.cuda.is_available():
        pytest.skip("no GPU")
    stream = encoded("12 bits")
    small = imagecodecs.jpeg2k_decode(stream, skipres=reduction)
    frame = cupy.zeros(small.shape, np.uint16)
    assert not decode_jpeg2000([stream], [frame], reduction=reduction).any()
    assert np.array_equal(to_host(frame), small)
