"""Colour models against exact arithmetic, pydicom, and the array libraries against each other."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydicom import Dataset
from pydicom.pixels import apply_color_lut, convert_color_space

from sansfilm_kernels import get_namespace, palette_to_rgb, to_host, ybr_to_rgb

RED, BLUE = Fraction("0.299"), Fraction("0.114")
GREEN = 1 - RED - BLUE


def exact(y: int, cb: int, cr: int, bits: int, *, partial: bool) -> list[Fraction]:
    """Return R, G, B before they are rounded, by the definition of ITU-R BT.601."""
    white = Fraction(2**bits - 1)
    luma, b, r = Fraction(y), cb - Fraction(2 ** (bits - 1)), cr - Fraction(2 ** (bits - 1))
    if partial:
        scale = Fraction(2**bits, 256)
        luma = (luma - floor(16 * scale)) * white / (219 * scale)
        b, r = b * white / (224 * scale), r * white / (224 * scale)
    red = luma + 2 * (1 - RED) * r
    blue = luma + 2 * (1 - BLUE) * b
    return [red, (luma - RED * red - BLUE * blue) / GREEN, blue]


def check(ybr, rgb, bits, *, partial):
    for sample, result in zip(
        ybr.reshape(-1, 3).tolist(), rgb.reshape(-1, 3).tolist(), strict=True
    ):
        for value, true in zip(result, exact(*sample, bits, partial=partial), strict=True):
            rounded = {floor(true + Fraction(1, 2) + slack) for slack in
                       (Fraction(-1, 10000), Fraction(1, 10000))}  # fmt: skip
            assert value in {min(max(each, 0), 2**bits - 1) for each in rounded}


@settings(deadline=None, max_examples=60)
@given(data=st.data(), partial=st.booleans(), bits=st.integers(4, 16))
def test_ybr_is_exact_arithmetic_rounded_once(xp, data, partial, bits):
    dtype = data.draw(st.sampled_from(["uint8", "uint16"] if bits <= 8 else ["uint16"]))
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    ybr = data.draw(hnp.arrays(dtype, (*shape, 3), elements=st.integers(0, 2**bits - 1)))
    given = xp(ybr)
    result = ybr_to_rgb(given, bits=bits, partial=partial)
    assert get_namespace(result) is get_namespace(given)
    host = to_host(result)
    assert (host.dtype, host.shape) == (ybr.dtype, ybr.shape)
    check(ybr, host, bits, partial=partial)


def all_of_8_bits():
    axis = np.arange(256, dtype=np.uint8)
    return np.stack(np.meshgrid(axis, axis[::3], axis, indexing="ij"), axis=-1)


def test_every_third_colour_of_8_bits_against_pydicom():
    ybr = all_of_8_bits().reshape(256, -1, 3)
    ours = ybr_to_rgb(ybr, bits=8)
    theirs = convert_color_space(ybr, "YBR_FULL", "RGB")
    assert np.array_equal(ours[..., ::2], theirs[..., ::2])
    error = np.abs(ours.astype(int) - theirs)
    assert error.max() <= 1  # halves, within what floats are off by
    assert np.count_nonzero(error) < 200


def test_out_may_lie_in_any_order_and_pieces_do_not_show():
    ybr = np.random.default_rng(0).integers(0, 256, (700, 301, 3)).astype(np.uint8)
    whole = ybr_to_rgb(ybr, bits=8)
    planes = np.empty((3, 700, 301), np.uint8)
    assert ybr_to_rgb(ybr, bits=8, out=np.moveaxis(planes, 0, -1)) is not None
    assert np.array_equal(np.moveaxis(planes, 0, -1), whole)
    assert np.array_equal(ybr_to_rgb(ybr[650:], bits=8), whole[650:])
    assert np.array_equal(ybr_to_rgb(ybr[3, 4], bits=8), whole[3, 4])


def test_grey_stays_grey(xp):
    grey = np.full((256, 3), 128, np.uint8)
    grey[:, 0] = np.arange(256)
    shown = to_host(ybr_to_rgb(xp(grey), bits=8))
    assert np.array_equal(shown, np.arange(256)[:, None].repeat(3, axis=1))


def test_wrong_ybr_is_refused(xp):
    good = np.zeros((2, 3), np.uint8)
    for wrong in (good.astype(np.int16), good.astype(np.float32), good.astype(np.uint32)):
        with pytest.raises(TypeError, match="uint8 or uint16"):
            ybr_to_rgb(xp(wrong), bits=8)
    with pytest.raises(ValueError, match="last axis"):
        ybr_to_rgb(xp(np.zeros((3, 2), np.uint8)), bits=8)
    for bits in (1, 9):
        with pytest.raises(ValueError, match="bits"):
            ybr_to_rgb(xp(good), bits=bits)
    for out in (np.zeros((3, 3), np.uint8), np.zeros((2, 3), np.uint16)):
        with pytest.raises(ValueError, match="out"):
            ybr_to_rgb(xp(good), bits=8, out=xp(out))


@settings(deadline=None)
@given(data=st.data(), first=st.integers(-70000, 70000))
def test_palette_is_clamped_to_both_ends(xp, data, first):
    dtype = data.draw(st.sampled_from(["uint8", "int8", "uint16", "int16", "int32", "uint64"]))
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    indices = data.draw(hnp.arrays(dtype, shape))
    entries = data.draw(
        hnp.arrays(st.sampled_from([np.uint8, np.uint16]), st.tuples(st.integers(1, 7), st.just(3)))
    )
    result = to_host(palette_to_rgb(xp(indices), first=first, entries=xp(entries)))
    assert (result.shape, result.dtype) == ((*shape, 3), entries.dtype)
    expected = [
        entries[min(max(int(index) - first, 0), len(entries) - 1)].tolist()
        for index in indices.ravel()
    ]
    assert result.reshape(-1, 3).tolist() == expected


@pytest.mark.parametrize("bits", [8, 16])
def test_palette_against_pydicom(xp, bits):
    rng = np.random.default_rng(bits)
    entries = rng.integers(0, 2**bits, (200, 3)).astype(f"u{bits // 8}")
    indices = rng.integers(0, 256, (9, 11)).astype(np.uint8)
    ds = Dataset()
    for colour, table in zip(("Red", "Green", "Blue"), entries.T, strict=True):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [200, 20, bits])
        setattr(ds, f"{colour}PaletteColorLookupTableData", table.tobytes())
    expected = apply_color_lut(indices, ds)
    result = to_host(palette_to_rgb(xp(indices), first=20, entries=xp(entries)))
    assert result.dtype == expected.dtype
    assert np.array_equal(result, expected)


def test_wrong_palettes_are_refused(xp):
    indices = xp(np.zeros(3, np.uint8))
    with pytest.raises(TypeError, match="integers"):
        palette_to_rgb(xp(np.zeros(3, np.float32)), first=0, entries=xp(np.zeros((1, 3), np.uint8)))
    for shape in ((0, 3), (3,), (3, 2)):
        with pytest.raises(ValueError, match="entries"):
            palette_to_rgb(indices, first=0, entries=xp(np.zeros(shape, np.uint8)))
