"""Lookup tables against the definition and pydicom."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydicom import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi

from sansfilm_kernels import apply_lut, get_namespace, to_host

DTYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


@settings(deadline=None)
@given(data=st.data(), dtype=st.sampled_from(DTYPES), first=st.integers(-70000, 70000))
def test_index_is_clamped_to_both_ends(xp, data, dtype, first):
    info = np.iinfo(dtype)
    elements = st.one_of(
        st.integers(info.min, info.max),
        st.sampled_from([info.min, info.max]),
        st.integers(
            max(info.min, min(first - 2, info.max)), max(info.min, min(first + 9, info.max))
        ),
    )
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    values = data.draw(hnp.arrays(dtype, shape, elements=elements))
    entries = data.draw(hnp.arrays(np.uint16, st.integers(1, 8)))
    result = apply_lut(xp(values), first=first, entries=xp(entries))
    assert get_namespace(result) is get_namespace(xp(values))
    assert result.shape == values.shape
    assert to_host(result).dtype == np.uint16
    expected = [entries[min(max(int(value) - first, 0), len(entries) - 1)] for value in values.flat]
    assert to_host(result).reshape(-1).tolist() == expected


def lut_item(entries, first, bits):
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 65536, first, bits]
    item.LUTData = entries.tolist()
    item["LUTData"].VR = "US"
    return item


@pytest.mark.parametrize("first", [0, 100, 30000])
@pytest.mark.parametrize(("size", "bits"), [(2, 8), (256, 8), (300, 12), (4096, 12), (65536, 16)])
def test_voi_lut_agrees_with_pydicom(xp, first, size, bits):
    rng = np.random.default_rng(size)
    entries = rng.integers(0, 2**bits, size).astype(np.uint8 if bits == 8 else np.uint16)
    values = rng.integers(0, 65536, (16, 16)).astype(np.uint16)
    if bits == 8:  # pydicom 3.0 keeps the index in the dtype of the entries
        values = np.minimum(values, first + 255)
    dataset = Dataset()
    dataset.VOILUTSequence = [lut_item(entries, first, bits)]
    expected = apply_voi(values, dataset)
    result = to_host(apply_lut(xp(values), first=first, entries=xp(entries)))
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("first", [-1000, 0, 500])
@pytest.mark.parametrize("bits", [8, 16])
def test_modality_lut_agrees_with_pydicom(xp, first, bits):
    rng = np.random.default_rng(bits)
    entries = rng.integers(0, 2**bits, 2000).astype(f"uint{bits}")
    values = rng.integers(-3000, 3000, (16, 16)).astype(np.int16)
    dataset = Dataset()
    dataset.ModalityLUTSequence = [lut_item(entries, first, bits)]
    expected = apply_modality_lut(values, dataset)
    result = to_host(apply_lut(xp(values), first=first, entries=xp(entries)))
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result, expected)


def test_wrong_arguments_are_refused(xp):
    values, entries = xp(np.zeros(3, np.int16)), xp(np.zeros(4, np.uint8))
    with pytest.raises(TypeError, match="integers"):
        apply_lut(xp(np.zeros(3, np.float32)), first=0, entries=entries)
    for wrong in (np.zeros((2, 2), np.uint8), np.zeros(0, np.uint8)):
        with pytest.raises(ValueError, match="entries"):
            apply_lut(values, first=0, entries=xp(wrong))
