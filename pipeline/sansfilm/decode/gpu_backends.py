"""The decoders of `sansfilm_kernels` as backends: our CUDA kernels, nvJPEG2000, nvImageCodec.

None of them has run on a GPU yet (docs/kernels.md). They decode in the process itself: what they
read has been looked at by our own readers of headers first.
"""

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from sansfilm.decode import syntaxes
from sansfilm.decode.contract import GREY, NOT_READ, Reads
from sansfilm.decode.device_backends import has_driver
from sansfilm.decode.jpeg2000 import without_jp2
from sansfilm.model import FrameSpec
from sansfilm_kernels import (
    FrameStatus,
    decode_jpeg,
    decode_jpeg2000,
    decode_jpegls,
    decode_rle,
    gpu_available,
    to_host,
)

_ALIGNED = 256
_PART = 2**26
"""Values of one call of a kernel: the next part's bytes go up while this one is decoded."""
_QUIET = (FrameStatus.UNSUPPORTED, FrameStatus.MISMATCH)
"""The CPU's decoders know what is wrong with such a frame, if anything."""


@cache
def has_gpu() -> bool:
    """Tell whether there is a driver, CuPy and a GPU; CuPy is not imported without a driver."""
    return has_driver() and gpu_available()


class _Backend:
    """What the four share: one array on the device for all frames, one copy back."""

    name = ""
    device = "gpu"
    reads: tuple[Reads, ...] = ()
    requires = "sansfilm[gpu], on a machine with an NVIDIA GPU and driver"
    package = ""
    queued = False
    """Whether a call returns before its work is done, so that others can be put behind it."""

    def missing(self, transfer_syntax: str) -> str:
        """See DeviceDecoder."""
        if not any(transfer_syntax in reads.transfer_syntaxes for reads in self.reads):
            return f"{self.name} does not know the syntax"
        if not has_gpu():
            return "no NVIDIA GPU that CuPy sees"
        if self.package and not _installed(self.package):
            return f"{self.package} is not installed"
        return ""

    def decode_batch(
        self, frames: Sequence[tuple[bytes, FrameSpec]], out: Sequence[np.ndarray]
    ) -> Sequence[str]:
        """See DeviceDecoder."""
        cupy = import_module("cupy")
        places, end = [], 0
        for array in out:
            places.append(end)
            end += -(-array.nbytes // _ALIGNED) * _ALIGNED
        values = cupy.empty((end,), "uint8")
        there = [_view(values, place, array) for place, array in zip(places, out, strict=True)]
        codestreams = [bytes(without_jp2(frame)) for frame, _ in frames]
        parts = _parts(places, _PART if self.queued else end + 1)
        statuses = [self._decode()(codestreams[some], there[some]) for some in parts]
        found = np.concatenate([to_host(status) for status in statuses])  # waits
        host = to_host(values)
        for place, array in zip(places, out, strict=True):
            array[...] = _view(host, place, array)
        return [_reason(int(status)) for status in found]

    def _decode(self) -> Callable[[Sequence[bytes], Sequence[Any]], Any]:
        raise NotImplementedError


class JpegLs(_Backend):
    """Our CUDA kernel for JPEG-LS."""

    name, queued = "jpegls-cuda", True
    reads = (Reads(syntaxes.JPEG_LS, (2, 16)),)

    def _decode(self) -> Callable[[Sequence[bytes], Sequence[Any]], Any]:
        return decode_jpegls


class Rle(_Backend):
    """Our CUDA kernel for RLE; frames of single bits and of 64 bits are for the CPU."""

    name, queued = "rle-cuda", True
    reads = (Reads(frozenset({syntaxes.RLE}), (8, 32)),)

    def _decode(self) -> Callable[[Sequence[bytes], Sequence[Any]], Any]:
        return decode_rle


class Jpeg2000(_Backend):
    """NVIDIA's nvJPEG2000."""

    name, package = "nvjpeg2000", "nvidia.nvjpeg2k"
    reads = (
        Reads(syntaxes.JPEG_2000 | syntaxes.HTJ2K, (1, 16)),
        Reads(syntaxes.JPEG_2000 | syntaxes.HTJ2K, (9, 16), signed=True),
    )

    def _decode(self) -> Callable[[Sequence[bytes], Sequence[Any]], Any]:
        return decode_jpeg2000


class Jpeg(_Backend):
    """NVIDIA's nvJPEG, through nvImageCodec: grey baseline, and lossless of 9 to 16 bits."""

    name, package = "nvimagecodec", "nvidia.nvimgcodec"
    reads = (
        Reads(syntaxes.JPEG - syntaxes.JPEG_LOSSLESS, (8, 8), samples=GREY),
        Reads(syntaxes.JPEG_LOSSLESS, (9, 16), samples=GREY),
    )

    def _decode(self) -> Callable[[Sequence[bytes], Sequence[Any]], Any]:
        return decode_jpeg


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # its parent is not there
        return False


def _view(values: Any, place: int, like: np.ndarray) -> Any:
    return values[place : place + like.nbytes].view(like.dtype).reshape(like.shape)


def _parts(places: Sequence[int], size: int) -> Sequence[slice]:
    """Cut frames into parts of about so many bytes."""
    starts = [0]
    for number, place in enumerate(places):
        if place - places[starts[-1]] >= size:
            starts.append(number)
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], len(places)], strict=True)]


def _reason(status: int) -> str:
    if status == FrameStatus.OK:
        return ""
    return NOT_READ if status in _QUIET else FrameStatus(status).name.lower().replace("_", " ")
