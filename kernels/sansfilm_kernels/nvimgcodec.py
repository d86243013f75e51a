"""JPEG baseline and lossless on the GPU by nvImageCodec, with guards for what it does wrongly."""

import functools
import re
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import Any

import numpy as np

from sansfilm_kernels import _batch
from sansfilm_kernels._batch import FrameStatus, RefusedError, Target
from sansfilm_kernels.namespace import Array

LEAST_VERSION, LEAST_NVJPEG = (0, 9), (13, 0, 2)
"""nvJPEG before that gives zeros for lossless frames of 9 to 15 bits, without an error."""
_CURE = "install sansfilm[gpu]"
_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_BASELINE, _LOSSLESS, _SOS = 0xC0, 0xC3, 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_LOSSLESS_BITS = range(9, 17)


def decode_jpeg(codestreams: Sequence[bytes], frames: Sequence[Array]) -> np.ndarray:
    """Decode JPEG of one component, baseline or lossless, one codestream into each frame.

    Parameters
    ----------
    codestreams : sequence of bytes
        Baseline of 8 bits, or lossless of 9 to 16. Everything else is UNSUPPORTED: extended of 12
        bits and lossless of 8 bits, which nvJPEG does not do, and colour, for which it trusts
        headers that often lie.
    frames : sequence of cupy.ndarray, shape (rows, columns) or (rows, columns, 1)
        Where the stored values go: uint8 for baseline, uint16 for lossless, on the current GPU and
        of any strides. A frame that is not OK afterwards holds anything.

    Returns
    -------
    numpy.ndarray, shape (frames,), int32
        A `FrameStatus` for each. All is done when it returns. UNSUPPORTED and SUSPECT frames are
        for a CPU to decode.

    Raises
    ------
    TypeError
        If a frame is not a CuPy array of uint8 or uint16. On the CPU `imagecodecs.jpeg_decode` is
        what to use.
    ValueError
        If there are not as many frames as codestreams, or a frame lies on another GPU.
    RuntimeError
        If nvImageCodec or nvJPEG is not installed, or too old.
    """
    return _decoder(import_module("cupy").cuda.Device().id).decode(codestreams, frames)


@functools.cache
def _decoder(device: int) -> "NvImageCodec":
    return NvImageCodec(device)


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """What the frame header of a JPEG says (ITU-T T.81 B.2.2)."""

    process: int
    precision: int
    rows: int
    columns: int
    components: int


class NvImageCodec:
    """A decoder of nvImageCodec that never falls back to a CPU by itself."""

    def __init__(self, device: int) -> None:
        self._library = _library()
        # Every kind of GPU backend, and no CPU_ONLY.
        kinds = ("GPU_ONLY", "HYBRID_CPU_GPU", "HW_GPU_ONLY")
        backends = [self._library.Backend(getattr(self._library, kind)) for kind in kinds]
        self._decoder = self._library.Decoder(device_id=device, backends=backends)
        self._params = self._library.DecodeParams(
            allow_any_depth=True,  # without it all becomes 8 bits
            color_spec=self._library.ColorSpec.UNCHANGED,
            apply_exif_orientation=False,
        )
        self._lock = threading.Lock()

    def decode(self, codestreams: Sequence[bytes], frames: Sequence[Array]) -> np.ndarray:
        """Decode as `decode_jpeg` says; several threads take turns."""
        targets = _batch.targets(
            codestreams, frames, ("uint8", "uint16"), "imagecodecs.jpeg_decode"
        )
        statuses = np.zeros(len(targets), np.int32)
        for number, (codestream, target) in enumerate(zip(codestreams, targets, strict=True)):
            try:
                _check(read_jpeg_header(codestream), target)
            except RefusedError as refused:
                statuses[number] = refused.status
        accepted = np.flatnonzero(statuses == FrameStatus.OK).tolist()
        if accepted:
            cupy = import_module("cupy")
            current = cupy.cuda.get_current_stream()
            streams = [self._library.CodeStream(codestreams[number]) for number in accepted]
            with self._lock:
                images = self._decoder.decode(streams, params=self._params, cuda_stream=current.ptr)
            for number, image in zip(accepted, images, strict=True):
                statuses[number] = _deliver(image, frames[number], cupy)
            current.synchronize()
        _batch.suspect(codestreams, frames, statuses)
        return statuses


def read_jpeg_header(codestream: bytes) -> JpegHeader:
    """Return what a codestream holds.

    Raises
    ------
    RefusedError
        NOT_A_CODESTREAM, or TRUNCATED without an image or the marker that ends it.
    """
    if codestream[:2] != _SOI:
        raise RefusedError(FrameStatus.NOT_A_CODESTREAM)
    at, found = 2, None
    try:
        while found is None:
            marker, length = struct.unpack_from(">HH", codestream, at)
            kind = marker & 0xFF
            if marker >> 8 != 0xFF or kind == _SOS:
                raise RefusedError(FrameStatus.CORRUPT)
            if kind == 0xFF:  # a fill byte
                at += 1
                continue
            if kind in _FRAMES:
                found = JpegHeader(kind, *struct.unpack_from(">BHHB", codestream, at + 4))
            at += 2 + max(2, length)
    except struct.error:
        raise RefusedError(FrameStatus.TRUNCATED) from None
    if codestream.find(_EOI, at) < 0:
        raise RefusedError(FrameStatus.TRUNCATED)
    return found


def _check(header: JpegHeader, target: Target) -> None:
    baseline = header.process == _BASELINE and header.precision == 8
    lossless = header.process == _LOSSLESS and header.precision in _LOSSLESS_BITS
    if header.components != 1 or not (baseline or lossless):
        raise RefusedError(FrameStatus.UNSUPPORTED)
    if target.shape != (header.rows, header.columns, 1) or target.itemsize != (
        2 if lossless else 1
    ):
        raise RefusedError(FrameStatus.MISMATCH)


def _deliver(image: Any, frame: Array, cupy: Any) -> FrameStatus:
    """Copy an image to its frame, if it is one of the same kind."""
    if image is None:  # all that the library says of a failure
        return FrameStatus.FAILED
    array = cupy.asarray(image)
    if array.dtype != frame.dtype or array.size != frame.size or array.shape[:2] != frame.shape[:2]:
        return FrameStatus.MISMATCH
    frame[...] = array.reshape(frame.shape)
    return FrameStatus.OK


def _library() -> Any:
    try:
        library = import_module("nvidia.nvimgcodec")
        nvjpeg = metadata.version("nvidia-nvjpeg")
    except (ImportError, metadata.PackageNotFoundError) as error:
        raise RuntimeError(f"nvImageCodec or nvJPEG was not found ({error}): {_CURE}") from error
    for name, found, least in (
        ("nvImageCodec", library.__version__, LEAST_VERSION),
        ("nvJPEG", nvjpeg, LEAST_NVJPEG),
    ):
        if tuple(map(int, re.findall(r"\d+", found))) < least:
            wanted = ".".join(map(str, least))
            raise RuntimeError(f"{name} {found} is older than {wanted}: {_CURE}")
    return library
