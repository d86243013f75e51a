"""The smallest and the largest value of what is painted: those that are finite, and no padding."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sansfilm.assemble.canvas import _limits

INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32"]


def by_mask(values, padding):
    """Look at every value on its own."""
    first, last = padding
    kept = [float(value) for value in values.ravel() if not first <= value <= last]
    return (min(kept), max(kept)) if kept else None


@given(st.data(), st.sampled_from(INTEGERS))
def test_integers_without_their_padding(data, dtype):
    """Wherever the padding lies: at an end of the values, between them, or around them all."""
    ends = np.iinfo(dtype)
    edge = st.sampled_from([ends.min, ends.max - 9, 0, 100])
    near = edge.flatmap(lambda start: st.integers(start, start + 9))
    values = data.draw(arrays.arrays(dtype, st.tuples(*[st.integers(1, 4)] * 2), elements=near))
    padding = tuple(sorted(data.draw(st.tuples(near, near))))
    assert _limits(values, padding) == by_mask(values, padding)
    assert _limits(values.T, padding) == by_mask(values, padding)
    assert _limits(values, None) == (values.min(), values.max())


@pytest.mark.parametrize("padding", [None, (math.nan, math.nan), (-5.0, -5.0), (3.0, 9.0)])
def test_floats(padding):
    values = np.array([[math.nan, -math.inf, -5.0], [3.0, 2.5, math.inf]], np.float32)
    kept = [
        value for value in (-5.0, 2.5, 3.0) if not padding or not padding[0] <= value <= padding[1]
    ]
    assert _limits(values, padding) == (min(kept), max(kept))
    assert _limits(values[:1, :2], padding) is None
