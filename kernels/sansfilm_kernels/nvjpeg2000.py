"""JPEG 2000 and HTJ2K on the GPU by nvJPEG2000: many frames in flight, straight to their place."""

import ctypes
import functools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import cycle
from typing import Any

import numpy as np

from sansfilm_kernels import _batch
from sansfilm_kernels._batch import FrameStatus, RefusedError, Target
from sansfilm_kernels._jpeg2000_header import Header, read_header
from sansfilm_kernels._nvjpeg2k_api import (
    ComponentInfo,
    Format,
    Image,
    ImageInfo,
    Library,
    PixelType,
    Status,
)
from sansfilm_kernels.namespace import Array

_PIXEL_TYPES = {
    "uint8": PixelType.UINT8,
    "uint16": PixelType.UINT16,
    "int16": PixelType.INT16,
}
_MEANINGS = {
    Status.BAD_JPEG: FrameStatus.CORRUPT,
    Status.JPEG_NOT_SUPPORTED: FrameStatus.UNSUPPORTED,
    Status.IMPLEMENTATION_NOT_SUPPORTED: FrameStatus.UNSUPPORTED,
    Status.ARCH_MISMATCH: FrameStatus.UNSUPPORTED,
}


def decode_jpeg2000(
    codestreams: Sequence[bytes], frames: Sequence[Array], *, reduction: int = 0
) -> np.ndarray:
    """Decode JPEG 2000 and HTJ2K codestreams, one into each frame.

    Parameters
    ----------
    codestreams : sequence of bytes
        Without a JP2 file around them. In host memory.
    frames : sequence of cupy.ndarray, shape (rows, columns) or (rows, columns, samples)
        Where the stored values go: uint8, uint16 or int16, signed as the codestream is, on the
        current GPU. The pixels of a row must be adjacent, rows may be any distance apart, and
        samples alternate or lie in planes, so ``list(volume)`` and transposed planes do. A frame
        that is not OK afterwards holds anything.
    reduction : int, optional
        Halve rows and columns so many times, rounded up, as the codestream's wavelet does. Not for
        codestreams of several tiles.

    Returns
    -------
    numpy.ndarray, shape (frames,), int32
        A `FrameStatus` for each. All is done when it returns. UNSUPPORTED and SUSPECT frames are
        for a CPU to decode.

    Raises
    ------
    TypeError
        If a frame is not a CuPy array of uint8, uint16 or int16. On the CPU
        `imagecodecs.jpeg2k_decode` is what to use.
    ValueError
        If there are not as many frames as codestreams, or a frame does not lie as said above.
    RuntimeError
        If nvJPEG2000 is not installed, or too old.

    Notes
    -----
    The colour transform of the codestream is undone: three components come out as RGB where DICOM
    says YBR_RCT or YBR_ICT.
    """
    return _decoder(import_module("cupy").cuda.Device().id).decode(
        codestreams, frames, reduction=reduction
    )


@functools.cache
def _decoder(device: int) -> "Nvjpeg2000":
    return Nvjpeg2000()


@dataclass(slots=True)
class _Slot:
    """What one frame needs while it is being decoded."""

    state: ctypes.c_void_p
    parsed: ctypes.c_void_p
    stream: Any
    frame: int | None = None
    """The frame whose work has been put on the stream, until the host has waited for it."""
    alive: tuple[Any, ...] = field(default=())
    """What that work reads."""


class Nvjpeg2000:
    """nvJPEG2000 on the current GPU, with as many decode states and CUDA streams as `slots`.

    The library decodes one image at a time for each state, and a frame of a CT fills a small part
    of a GPU, so throughput is frames in flight over the latency of one.
    """

    def __init__(self, *, slots: int = 64, library: str | None = None) -> None:
        if slots < 1:
            raise ValueError(f"slots must be at least 1, got {slots}")
        cupy = import_module("cupy")
        self._cuda = cupy.cuda
        self._lock = threading.Lock()
        self._library = Library(library)
        self.version = self._library.version
        create = self._library.create
        self._handle = create("CreateSimple")
        self._params = {form: create("DecodeParamsCreate") for form in Format}
        for form, params in self._params.items():
            self._library.must("DecodeParamsSetOutputFormat", params, form)
        self._slots = [
            _Slot(
                create("DecodeStateCreate", self._handle),
                create("StreamCreate"),
                cupy.cuda.Stream(non_blocking=True),
            )
            for _ in range(slots)
        ]

    def close(self) -> None:
        """Give back what the library holds; the object is of no use afterwards."""
        with self._lock:
            slots, self._slots = self._slots, []
            for slot in slots:
                self._library.must("DecodeStateDestroy", slot.state)
                self._library.must("StreamDestroy", slot.parsed)
            for params in self._params.values():
                self._library.must("DecodeParamsDestroy", params)
            self._params = {}
            if slots:
                self._library.must("Destroy", self._handle)

    def decode(
        self, codestreams: Sequence[bytes], frames: Sequence[Array], *, reduction: int = 0
    ) -> np.ndarray:
        """Decode as `decode_jpeg2000` says; several threads take turns."""
        if reduction < 0:
            raise ValueError(f"reduction must not be negative, got {reduction}")
        targets = _batch.targets(
            codestreams, frames, tuple(_PIXEL_TYPES), "imagecodecs.jpeg2k_decode"
        )
        layouts = [_layout(target) for target in targets]
        statuses = np.zeros(len(targets), np.int32)
        with self._lock:
            before = self._cuda.Event()
            before.record()  # what the caller still does with the frames comes first
            slots = cycle(self._slots)
            try:
                for number, codestream in enumerate(codestreams):
                    dtype = frames[number].dtype
                    try:
                        header = read_header(codestream)
                        _check(header, targets[number], dtype, reduction)
                        slot = next(slots)
                        self._finish(slot, statuses)
                        slot.stream.wait_event(before)
                        self._parse(slot, codestream, header)
                        image = _image(layouts[number], _PIXEL_TYPES[dtype.name], header.components)
                        slot.frame, slot.alive = number, (codestream, image)
                        self._start(slot, layouts[number][0], image[0], header, reduction)
                    except RefusedError as refused:
                        statuses[number] = refused.status
            finally:
                for slot in self._slots:
                    self._finish(slot, statuses)
        _batch.suspect(codestreams, frames, statuses)
        return statuses

    def _parse(self, slot: _Slot, codestream: bytes, header: Header) -> None:
        """Let the library read a codestream, and see that it has understood the same."""
        library, info, component = self._library, ImageInfo(), ComponentInfo()
        size = len(codestream)
        _accept(library.call("StreamParse", self._handle, codestream, size, 0, 0, slot.parsed))
        _accept(library.call("StreamGetImageInfo", slot.parsed, ctypes.byref(info)))
        _accept(
            library.call("StreamGetImageComponentInfo", slot.parsed, ctypes.byref(component), 0)
        )
        found = (
            info.image_height, info.image_width, info.num_components,
            component.precision, bool(component.sgn), info.num_tiles_x * info.num_tiles_y,
        )  # fmt: skip
        if found != (
            header.rows, header.columns, header.components,
            header.precision, header.signed, header.tiles,
        ):  # fmt: skip
            raise RefusedError(FrameStatus.MISMATCH)

    def _start(
        self, slot: _Slot, form: Format, image: Image, header: Header, reduction: int
    ) -> None:
        known = (self._handle, slot.state, slot.parsed, self._params[form])
        there = (ctypes.byref(image), slot.stream.ptr)
        if reduction == 0:
            status = self._library.call("DecodeImage", *known, *there)
        else:
            kept = header.resolutions - reduction
            status = self._library.call("DecodeTile", *known, 0, kept, *there)
        _accept(status)

    def _finish(self, slot: _Slot, statuses: np.ndarray) -> None:
        """Wait for the work of a slot, which a state needs before its next frame."""
        if slot.frame is None:
            return
        try:
            slot.stream.synchronize()
        except self._cuda.runtime.CUDARuntimeError:
            statuses[slot.frame] = FrameStatus.FAILED
        slot.frame, slot.alive = None, ()


def _accept(status: int) -> None:
    if status != Status.SUCCESS:
        raise RefusedError(_MEANINGS.get(Status(status), FrameStatus.FAILED))


def _check(header: Header, target: Target, dtype: Any, reduction: int) -> None:
    """Refuse a codestream that is not the image of its frame, or not at that resolution."""
    if reduction and (header.tiles > 1 or reduction >= header.resolutions):
        raise RefusedError(FrameStatus.UNSUPPORTED)
    rows, columns = (-(-size // 2**reduction) for size in (header.rows, header.columns))
    fits = target.shape == (rows, columns, header.components)
    fits &= header.signed == (dtype.kind == "i") and header.precision <= 8 * target.itemsize
    if not fits:
        raise RefusedError(FrameStatus.MISMATCH)


def _layout(target: Target) -> tuple[Format, list[int], int]:
    """Return the format of a frame, where its planes begin, and how far its rows are apart.

    Raises
    ------
    ValueError
        If the library cannot write to it.
    """
    rows, columns, samples = target.shape
    row_step, column_step, sample_step = target.strides
    size = target.itemsize
    for form, pixel in ((Format.PLANAR, size), (Format.INTERLEAVED, samples * size)):
        adjacent = columns <= 1 or column_step == pixel
        apart = rows <= 1 or row_step >= columns * pixel
        if not (adjacent and apart):
            continue
        pitch = row_step if rows > 1 else columns * pixel
        if form == Format.PLANAR:
            return form, [target.address + n * sample_step for n in range(samples)], pitch
        if sample_step == size:
            return form, [target.address], pitch
    raise ValueError(
        f"the pixels of a row must be adjacent, not with strides {target.strides}; copy the frame"
    )


def _image(
    layout: tuple[Format, list[int], int], kind: PixelType, components: int
) -> tuple[Image, Any, Any]:
    """Return the record of a frame, and the two arrays that it points to."""
    _, addresses, pitch = layout
    data = (ctypes.c_void_p * len(addresses))(*addresses)
    pitches = (ctypes.c_size_t * len(addresses))(*[pitch] * len(addresses))
    return Image(data, pitches, kind, components), data, pitches
