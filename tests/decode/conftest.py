"""What the tests of the decode stage share."""

import numpy as np
import pytest

from sansfilm.model import FrameSpec


@pytest.fixture
def spec():
    """Give a function that describes a frame of an array."""

    def describe(stored: np.ndarray, syntax: str, bits: int = 0, **changes: object) -> FrameSpec:
        allocated = stored.itemsize * 8
        bits = bits or allocated
        values = {
            "transfer_syntax": syntax, "rows": stored.shape[0], "columns": stored.shape[1],
            "samples_per_pixel": 1, "bits_allocated": allocated, "bits_stored": bits,
            "high_bit": bits - 1, "pixel_representation": int(stored.dtype.kind == "i"),
            "photometric": "MONOCHROME2",
        }  # fmt: skip
        return FrameSpec(**(values | changes))  # type: ignore[arg-type]

    return describe
