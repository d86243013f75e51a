"""The part of nvJPEG2000's C interface that is used, for ctypes (nvjpeg2k.h of 0.11).

A test compares all of it with that header, where it is installed.
"""

import ctypes
from ctypes import POINTER, c_int, c_size_t, c_uint8, c_uint32, c_void_p
from enum import IntEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any

LEAST_VERSION = (0, 11)
"""Older ones are not what the guards were written for."""


class Status(IntEnum):
    """nvjpeg2kStatus_t."""

    SUCCESS = 0
    NOT_INITIALIZED = 1
    INVALID_PARAMETER = 2
    BAD_JPEG = 3
    JPEG_NOT_SUPPORTED = 4
    ALLOCATOR_FAILURE = 5
    EXECUTION_FAILED = 6
    ARCH_MISMATCH = 7
    INTERNAL_ERROR = 8
    IMPLEMENTATION_NOT_SUPPORTED = 9


class PixelType(IntEnum):
    """nvjpeg2kImageType_t."""

    UINT8 = 0
    UINT16 = 1
    INT16 = 2


class Format(IntEnum):
    """nvjpeg2kImageFormat_t."""

    PLANAR = 0
    INTERLEAVED = 1


class ImageInfo(ctypes.Structure):
    """nvjpeg2kImageInfo_t."""

    _fields_ = (
        ("image_width", c_uint32),
        ("image_height", c_uint32),
        ("tile_width", c_uint32),
        ("tile_height", c_uint32),
        ("num_tiles_x", c_uint32),
        ("num_tiles_y", c_uint32),
        ("num_components", c_uint32),
    )


class ComponentInfo(ctypes.Structure):
    """nvjpeg2kImageComponentInfo_t."""

    _fields_ = (
        ("component_width", c_uint32),
        ("component_height", c_uint32),
        ("precision", c_uint8),
        ("sgn", c_uint8),
    )


class Image(ctypes.Structure):
    """nvjpeg2kImage_t."""

    _fields_ = (
        ("pixel_data", POINTER(c_void_p)),
        ("pitch_in_bytes", POINTER(c_size_t)),
        ("pixel_type", c_int),
        ("num_components", c_uint32),
    )


SIGNATURES: dict[str, tuple[Any, ...]] = {
    "GetProperty": (c_int, POINTER(c_int)),
    "CreateSimple": (POINTER(c_void_p),),
    "Destroy": (c_void_p,),
    "DecodeStateCreate": (c_void_p, POINTER(c_void_p)),
    "DecodeStateDestroy": (c_void_p,),
    "StreamCreate": (POINTER(c_void_p),),
    "StreamDestroy": (c_void_p,),
    "StreamParse": (c_void_p, ctypes.c_char_p, c_size_t, c_int, c_int, c_void_p),
    "StreamGetImageInfo": (c_void_p, POINTER(ImageInfo)),
    "StreamGetImageComponentInfo": (c_void_p, POINTER(ComponentInfo), c_uint32),
    "StreamGetResolutionsInTile": (c_void_p, c_uint32, POINTER(c_uint32)),
    "DecodeParamsCreate": (POINTER(c_void_p),),
    "DecodeParamsDestroy": (c_void_p,),
    "DecodeParamsSetOutputFormat": (c_void_p, c_int),
    "DecodeImage": (c_void_p, c_void_p, c_void_p, c_void_p, POINTER(Image), c_void_p),
    "DecodeTile": (
        c_void_p, c_void_p, c_void_p, c_void_p, c_uint32, c_uint32, POINTER(Image), c_void_p,
    ),
}  # fmt: skip
"""By the name behind ``nvjpeg2k``; all return a status."""


class LibraryError(RuntimeError):
    """A call that does not depend on a codestream has failed."""


class Library:
    """The functions of nvJPEG2000.

    Raises
    ------
    RuntimeError
        If the library is not installed or too old.
    """

    def __init__(self, path: str | None = None) -> None:
        try:
            library = ctypes.CDLL(path or find_library())
        except OSError as error:
            raise RuntimeError(
                f"nvJPEG2000 was not found ({error}): install sansfilm[gpu]"
            ) from error
        self._functions = {}
        for name, arguments in SIGNATURES.items():
            function = getattr(library, f"nvjpeg2k{name}")
            function.argtypes, function.restype = arguments, c_int
            self._functions[name] = function
        self.version = tuple(self._property(which) for which in range(3))
        if self.version < LEAST_VERSION or self.version[0] > 0:
            found, least = (".".join(map(str, v)) for v in (self.version, LEAST_VERSION))
            raise RuntimeError(
                f"nvJPEG2000 {found} is not {least} or a later 0: install sansfilm[gpu]"
            )

    def call(self, name: str, *arguments: Any) -> int:
        """Call a function and return its status."""
        return int(self._functions[name](*arguments))

    def must(self, name: str, *arguments: Any) -> None:
        """Call a function that has no reason to fail.

        Raises
        ------
        LibraryError
            If it fails all the same.
        """
        status = self.call(name, *arguments)
        if status:
            raise LibraryError(f"nvjpeg2k{name} failed: {Status(status).name}")

    def create(self, name: str, *arguments: Any) -> c_void_p:
        """Call a function whose last argument is the handle that it makes."""
        handle = c_void_p()
        self.must(name, *arguments, ctypes.byref(handle))
        return handle

    def _property(self, which: int) -> int:
        value = c_int()
        self.must("GetProperty", which, ctypes.byref(value))
        return value.value


def find_library() -> str:
    """Return where nvJPEG2000 is: in its Python package, or where the system looks."""
    name = "libnvjpeg2k.so.0"
    try:
        found = find_spec("nvidia.nvjpeg2k")
    except ModuleNotFoundError:
        found = None
    for folder in (found and found.submodule_search_locations) or []:
        path = Path(folder) / "lib" / name
        if path.is_file():
            return str(path)
    return name
