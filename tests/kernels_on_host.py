"""The CUDA kernels without a GPU: compiled by g++, called through a stand-in for CuPy.

`compiled` makes the library, `stand_in` a module that the public functions take for CuPy; its
arrays are NumPy's. `Recorder` and `ArrayRecorder` write launches to a file for the programs that
run them under sanitizers.
"""

import ctypes
import functools
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from sansfilm_kernels import _pyramid_cuda, _window_cuda, jpegls, rle

HERE = Path(__file__).parent / "kernels" / "host"
CUDA = Path(__file__).parents[1] / "kernels" / "sansfilm_kernels" / "cuda"
KERNELS = [f"jpegls_{bits}_{samples}" for bits in (8, 16) for samples in (1, 2, 3, 4)]
KERNELS += ["rle_planes"]
RECORDS = [jpegls.SEGMENT] * 8 + [rle.SEGMENT]
WINDOWS = [f"window_{dtype}" for dtype in _window_cuda.FLOATS]
WINDOWS += [f"grey_{dtype}" for dtype in _window_cuda.STORED]
PYRAMIDS = [f"pyramid_{dtype}" for dtype in _pyramid_cuda.INTEGERS]
LIBRARY = ["-O2", "-shared", "-fPIC"]
SANITIZERS = [
    "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
]  # fmt: skip
THREADS = ["-O1", "-g", "-fsanitize=thread", "-pthread", "-DSANSFILM_THREADS"]
COMPILER = shutil.which("g++")


def compiled(source, target, *options):
    """Compile a file of `kernels/host`."""
    command = [
        COMPILER,
        "-std=c++17",
        "-Wall",
        "-Wextra",
        "-ffp-contract=off",
        f"-I{CUDA}",
        *options,
    ]
    subprocess.run([*command, str(HERE / source), "-o", str(target)], check=True)
    return target


class HostArray(np.ndarray):
    """What the stand-in gives for a CuPy array."""

    @property
    def __cuda_array_interface__(self):
        return {"data": (self.ctypes.data, False)}

    def get(self):
        return np.array(self)

    @property
    def data(self):
        return HostPointer(self.ctypes.data)


class HostPointer(int):
    """What the stand-in gives for a place on the device; copies are done at once."""

    __slots__ = ()

    def __add__(self, offset):
        return HostPointer(int(self) + offset)

    def copy_from_host_async(self, source, size, stream):
        ctypes.memmove(int(self), source, size)


class HostStream:
    """What the stand-in gives for a stream: everything on it is done at once."""

    def __init__(self, non_blocking=True):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass

    def wait_event(self, event):
        pass

    def synchronize(self):
        pass


class HostEvent:
    """What the stand-in gives for an event."""

    def record(self, stream=None):
        pass

    def synchronize(self):
        pass


def as_host_array(values):
    return np.array(values).view(HostArray)


class HostDevice(str):
    """What the stand-in gives for the current GPU; equal to the device of NumPy's arrays."""

    __slots__ = ()
    id = 0

    def synchronize(self):
        """Wait for nothing: all is done at once."""


def stand_in(decoders, arrays, recorder=None):
    """Return a module in the place of CuPy whose kernels are those of two compiled libraries."""

    def decode(kernel, grid, block, arguments):
        data, segments, count, status = arguments
        assert grid[0] * block[1] >= count > (grid[0] - 1) * block[1]
        found = np.zeros_like(status)
        decoders.launch(
            KERNELS.index(kernel), grid[0], *block, *map(_pointer, (data, segments)), int(count),
            _pointer(found),
        )  # fmt: skip
        if recorder is not None:
            recorder.record(KERNELS.index(kernel), data, segments, int(count), found)
        np.maximum(status, found, out=status)

    def window(kernel, grid, block, arguments):
        values, out, count, curve = arguments
        assert values.flags.c_contiguous
        assert values.size == out.size == count > 0
        arrays.launch_window(
            WINDOWS.index(kernel), *grid, *block, *map(_pointer, (values, out)),
            ctypes.c_longlong(int(count)), _pointer(curve),
        )  # fmt: skip
        if recorder is not None:
            recorder.window(WINDOWS.index(kernel), grid, block, values, curve)

    def pyramid(kernel, grid, block, arguments):
        arrays.launch_pyramid(PYRAMIDS.index(kernel), *grid, *block, *map(_pointer, arguments))
        if recorder is not None:
            recorder.pyramid(PYRAMIDS.index(kernel), grid, *arguments)

    class RawModule:
        def __init__(self, *, code, options):
            assert "__global__" in code
            assert options == ("--std=c++17",)

        def get_function(self, name):
            if name in KERNELS:
                return functools.partial(decode, name)
            return functools.partial(window if name in WINDOWS else pyramid, name)

    return SimpleNamespace(
        ndarray=HostArray,
        asarray=as_host_array,
        ascontiguousarray=lambda values: np.ascontiguousarray(values).view(HostArray),
        empty=lambda shape, dtype: as_host_array(np.full(shape, 77, dtype)),
        RawModule=RawModule,
        stack=lambda arrays: as_host_array(np.stack(arrays)),
        cuda=SimpleNamespace(
            is_available=lambda: True,
            Device=lambda: HostDevice("cpu"),
            Stream=HostStream,
            Event=HostEvent,
            get_current_stream=HostStream,
            alloc_pinned_memory=bytearray,
        ),
    )


class ArrayRecorder:
    """Writes launches as `replay.cpp` reads them."""

    THREADS = 8

    def __init__(self, path):
        self.path = path
        path.write_bytes(b"")

    def window(self, kernel, grid, block, values, curve):
        self._write([0, kernel, *grid, *block, values.nbytes, values.itemsize], values, curve)

    def pyramid(self, kernel, grid, block, levels):
        head = np.asarray(block).view(_pyramid_cuda.BLOCK)[0]
        dtype = np.dtype(_pyramid_cuda.INTEGERS[kernel])
        size = int(np.prod(head["shape"]))
        values = np.frombuffer(ctypes.string_at(int(head["data"]), size * dtype.itemsize), dtype)
        known = [1, kernel, *grid, self.THREADS, values.nbytes, dtype.itemsize]
        self._write(known, values, block, levels)

    def _write(self, known, *parts):
        levels = parts[2].nbytes // _pyramid_cuda.LEVEL.itemsize if len(parts) > 2 else 0
        with self.path.open("ab") as file:
            for part in (np.array([*known, parts[1].nbytes, levels], "u8"), *parts):
                file.write(part.tobytes())


class Recorder:
    """Writes launches as `fuzz.cpp` reads them; keeps their statuses and which frames they met."""

    def __init__(self, path):
        self.path, self.frames, self.statuses, self.reached = path, [], [], set()
        path.write_bytes(b"")

    def record(self, kernel, data, segments, count, found):
        places = [(frame.ctypes.data, frame.nbytes) for frame in self.frames]
        head = np.array([kernel, count, len(places), data.size], "u8")
        parts = [head, segments, np.array(places, "u8"), data]
        with self.path.open("ab") as file:
            for part in parts:
                file.write(part.tobytes())
        self.statuses += found.tolist()
        records = np.asarray(segments).view(RECORDS[kernel])
        self.reached.update(records["frame"].tolist())


def _pointer(array):
    return ctypes.c_void_p(array.ctypes.data)
