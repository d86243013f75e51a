"""The CUDA kernels without a GPU: compiled by g++, called through a stand-in for CuPy.

`compiled` makes the library, `stand_in` a module that the public functions take for CuPy; its
arrays are NumPy's. `Recorder` writes launches to a file for the program that runs them under
sanitizers.
"""

import ctypes
import functools
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from sansfilm_kernels import jpegls, rle

HERE = Path(__file__).parent / "kernels" / "host"
CUDA = Path(__file__).parents[1] / "kernels" / "sansfilm_kernels" / "cuda"
KERNELS = [f"jpegls_{bits}_{samples}" for bits in (8, 16) for samples in (1, 2, 3, 4)]
KERNELS += ["rle_planes"]
RECORDS = [jpegls.SEGMENT] * 8 + [rle.SEGMENT]
LIBRARY = ["-O2", "-shared", "-fPIC"]
SANITIZERS = [
    "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
]  # fmt: skip
COMPILER = shutil.which("g++")


def compiled(source, target, *options):
    """Compile a file of `kernels/host`."""
    command = [COMPILER, "-std=c++17", "-Wall", "-Wextra", f"-I{CUDA}", *options]
    subprocess.run([*command, str(HERE / source), "-o", str(target)], check=True)
    return target


class HostArray(np.ndarray):
    """What the stand-in gives for a CuPy array."""

    @property
    def __cuda_array_interface__(self):
        return {"data": (self.ctypes.data, False)}

    def get(self):
        return np.array(self)


def as_host_array(values):
    return np.array(values).view(HostArray)


def stand_in(library, recorder=None):
    """Return a module in the place of CuPy whose kernels are those of a compiled library."""

    def call(kernel, grid, block, arguments):
        data, segments, count, status = arguments
        assert grid[0] * block[1] >= count > (grid[0] - 1) * block[1]
        found = np.zeros_like(status)
        library.launch(
            KERNELS.index(kernel), grid[0], *block, *map(_pointer, (data, segments)), int(count),
            _pointer(found),
        )  # fmt: skip
        if recorder is not None:
            recorder.record(KERNELS.index(kernel), data, segments, int(count), found)
        np.maximum(status, found, out=status)

    class RawModule:
        def __init__(self, *, code, options):
            assert "__global__" in code
            assert options == ("--std=c++17",)

        def get_function(self, name):
            return functools.partial(call, name)

    return SimpleNamespace(
        ndarray=HostArray,
        asarray=as_host_array,
        RawModule=RawModule,
        cuda=SimpleNamespace(is_available=lambda: True, Device=lambda: "cpu"),
    )


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
