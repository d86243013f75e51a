"""Launch the kernels of window.cu."""

from importlib import import_module

import numpy as np

from sansfilm_kernels import _cuda
from sansfilm_kernels._curve import Curve
from sansfilm_kernels.namespace import Array

CURVE = np.dtype(
    [
        ("slope", "f8"), ("intercept", "f8"), ("offset", "f8"), ("scale", "f8"),
        ("low", "f8"), ("high", "f8"), ("kind", "i4"), ("unused", "i4"),
    ]
)  # fmt: skip
"""As in window.cu."""
FLOATS = ("float32", "float64")
STORED = ("int8", "uint8", "int16", "uint16", "int32", "uint32", *FLOATS)

_THREADS, _MOST_BLOCKS = 256, 1 << 14


def shown(values: Array, curve: Curve, low: float, high: float) -> Array:
    """Return modality values as `low` .. `high`, in the dtype that they have, one of FLOATS."""
    out = import_module("cupy").empty(values.shape, dtype=values.dtype)
    record = (1.0, 0.0, curve.offset, curve.scale, low, high, curve.kind, 0)
    return _launch(f"window_{values.dtype.name}", values, out, record)


def grey(stored: Array, slope: float, intercept: float, curve: Curve) -> Array:
    """Return stored values of one of STORED as grey from 0 to 255, uint8, 0 for NaN."""
    out = import_module("cupy").empty(stored.shape, dtype=np.uint8)
    record = (slope, intercept, curve.offset, curve.scale, 0.0, 255.0, curve.kind, 0)
    return _launch(f"grey_{stored.dtype.name}", stored, out, record)


def _launch(kernel: str, values: Array, out: Array, record: tuple[float, ...]) -> Array:
    if values.size:
        cupy = import_module("cupy")
        curve = cupy.asarray(np.array([record], CURVE).view(np.uint8))
        blocks = min(_MOST_BLOCKS, -(-values.size // _THREADS))
        arguments = (cupy.ascontiguousarray(values), out, np.int64(values.size), curve)
        _cuda.module("window").get_function(kernel)((blocks,), (_THREADS,), arguments)
    return out
