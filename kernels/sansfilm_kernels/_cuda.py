"""Compile the CUDA sources of this package, each when it is first needed."""

import functools
from importlib import import_module, resources
from typing import Any

OPTIONS = ("--std=c++17",)
"""Of NVRTC. CuPy adds the architecture of the device, and takes its machine code, not PTX, which
an older driver might not know. Where rounding matters the sources say so, so nothing else changes
the results."""


@functools.cache
def module(source: str) -> Any:
    """Return ``cuda/<source>.cu`` as a module of CuPy, which compiles it at the first launch."""
    text = resources.files("sansfilm_kernels").joinpath("cuda", f"{source}.cu").read_text("utf-8")
    return import_module("cupy").RawModule(code=text, options=OPTIONS)
