"""Padding, windows, compression, units: what a header says beside place and pixel format."""

import pytest
import synth

from sansfilm.model import Window
from sansfilm.planning.stacks import is_placed


@pytest.fixture
def made(tmp_path, read):
    """Give a function that reads one instance, changed by `edit` before it was written."""

    def make(edit=None, **arguments):
        def change(ds, _):
            if edit:
                edit(ds)

        return read(synth.series(tmp_path, slices=1, edit=change, **arguments).paths[0])

    return make


def put(keyword, vr, value):
    return lambda ds: ds.add_new(keyword, vr, value)


# ------------------------------------------------------------------------------------ padding


@pytest.mark.parametrize(
    ("signed", "bits", "vr", "value", "expected"),
    [
        (True, 16, "SS", -2000, -2000),
        (True, 16, "US", 63536, -2000),  # GE writes it so
        (True, 16, "OW", b"\x30\xf8", -2000),
        (True, 16, "UN", b"\x30\xf8", -2000),
        (False, 16, "US", 63536, 63536),
        (False, 16, "SS", -2000, 63536),
        (False, 16, "UN", b"\x30\xf8", 63536),
        (True, 12, "SS", -2000, -2000),
        (False, 12, "US", 63536, None),  # cannot be stored in 12 bits
        (True, 12, "SS", -3024, None),
        (False, 12, "UN", b"\x30\xf8\0\0", None),
        (False, 12, "US", None, None),
    ],
)
def test_padding_has_the_sign_of_the_pixels(made, signed, bits, vr, value, expected):
    header = made(put(0x00280120, vr, value), signed=signed, bits_stored=bits)
    assert header.padding == (None if expected is None else (expected, expected))


@pytest.mark.parametrize(
    ("value", "limit", "expected"),
    [(0, 10, (0, 10)), (10, 0, (0, 10)), (4000, 60000, (4000, 4095)), (5000, 60000, None)],
)
def test_padding_range(made, value, limit, expected):
    def edit(ds):
        ds.add_new(0x00280120, "US", value)
        ds.add_new(0x00280121, "US", limit)

    assert made(edit).padding == expected


def test_padding_in_other_byte_orders(made):
    for syntax in synth.NATIVE:
        assert made(transfer_syntax=syntax, signed=True, padding=-2000).padding == (-2000, -2000)


# ------------------------------------------------------------------------------------ windows


@pytest.mark.parametrize(
    ("function", "center", "width", "expected"),
    [
        ("LINEAR", 40, 400, [(40, 400)]),
        (None, [40, -600], [400, 1500], [(40, 400), (-600, 1500)]),
        (None, [40, -600], [400], [(40, 400)]),
        (None, 40, 0, []),
        (None, 40, -1, []),
        (None, 0.4, 0.5, []),
        (None, 0, 1, [(0, 1)]),
        ("LINEAR_EXACT", 0.4, 0.5, [(0.4, 0.5)]),
        ("LINEAR_EXACT", 0.4, 0, []),
        ("SIGMOID", 40, 0.5, [(40, 0.5)]),
        ("SIGMOID", 40, 0, []),
        ("BENT", 40, 400, []),
        (None, None, None, []),
    ],
)
def test_windows(made, function, center, width, expected):
    def edit(ds):
        ds.WindowCenter, ds.WindowWidth = center, width
        if function:
            ds.VOILUTFunction = function

    header = made(edit)
    assert header.windows == tuple(Window(*pair) for pair in expected)
    assert header.voi_function == (function if function != "BENT" and function else "LINEAR")


@pytest.mark.parametrize("text", ["nan", "1E400", "1,5", "a\\b"])
def test_a_broken_window_costs_no_image(made, text):
    def edit(ds):
        ds.add_new(0x00281051, "LO", text)
        ds["WindowWidth"].VR = "LO"

    assert made(edit).windows == ()


def test_windows_have_names(made):
    def edit(ds):
        ds.WindowCenter, ds.WindowWidth = [40, -600], [400, 1500]
        ds.WindowCenterWidthExplanation = ["SOFT TISSUE", "LUNG"]

    assert [window.explanation for window in made(edit).windows] == ["SOFT TISSUE", "LUNG"]


# ------------------------------------------------------------------- compression, units, extra


@pytest.mark.parametrize(
    ("syntax", "declared", "expected"),
    [(synth.EXPLICIT_LE, None, False), (synth.EXPLICIT_LE, "01", True), (synth.J2K, "00", False),
     (synth.JPEG_LS_NEAR, None, True), (synth.JPEG_EXTENDED, "00", True),
     (synth.J2K_LOSSY, "01", True)],
)  # fmt: skip
def test_lossy(made, syntax, declared, expected):
    def edit(ds):
        if declared:
            ds.LossyImageCompression = declared
            ds.LossyImageCompressionRatio = [4, 9.5]
            ds.LossyImageCompressionMethod = ["ISO_10918_1", "ISO_15444_1"]

    is_lossy, method, ratio = made(edit, transfer_syntax=syntax).lossy
    assert is_lossy is expected
    assert (method, ratio) == (("ISO_10918_1", 9.5) if declared else ("", None))


def test_units(made):
    assert made().unit == "HU"
    assert made(modality="MR").unit == ""

    def bequerel(ds):
        ds.Units = "BQML"

    assert made(bequerel, modality="PT").unit == "BQML"

    def unspecified(ds):
        ds.RescaleType = "US"

    assert made(unspecified).unit == "US"


def test_imager_pixel_spacing_is_no_place_in_the_patient(made):
    def detector(ds):
        ds.ImagerPixelSpacing = ds.PixelSpacing
        del ds.PixelSpacing

    frame = made(detector)
    assert (frame.pixel_spacing, frame.spacing_kind) == ((0.7, 0.8), "detector")
    assert not is_placed(frame)


def test_extra(made):
    def edit(ds):
        ds.EchoTime, ds.KVP = 4.5, None
        ds.AcquisitionNumber = 3
        ds.add_new(0x00189087, "FD", 1000.0)
        ds.ConvolutionKernel = "B30f"

    extra = made(edit).extra
    assert extra["EchoTime"] == 4.5
    assert extra["AcquisitionNumber"] == 3
    assert extra["DiffusionBValue"] == 1000.0
    assert extra["ConvolutionKernel"] == "B30f"
    assert "KVP" not in extra


def test_a_diffusion_value_that_is_no_number(made):
    for value in (float("nan"), float("inf")):
        assert "DiffusionBValue" not in made(put(0x00189087, "FD", value)).extra
