"""JPEG XL against a decoder of another make: `jpeg-xl` holds what jxl-oxide says of each."""

import hashlib
import json
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from sansfilm.decode import syntaxes
from sansfilm.decode.guarded import decode_one
from sansfilm.model import Decoding
from sansfilm.options import Options

FOLDER = Path(__file__).with_name("jpeg-xl")
MANIFEST = json.loads((FOLDER / "manifest.json").read_text())["codestreams"]
HOW = Decoding(Options().prefer)


@pytest.fixture
def decoded(spec):
    """Give a function that decodes a codestream as DICOM would describe it."""

    def decode(name):
        about = MANIFEST[name]
        bits, samples = about["bits"], about["samples"]
        shape = (23, 37) if samples == 1 else (23, 37, 3)
        words = np.empty(shape, np.uint8 if bits <= 8 else np.uint16)
        told = {} if samples == 1 else {"samples_per_pixel": 3, "photometric": "RGB"}
        frame = (FOLDER / name).read_bytes()
        return decode_one(frame, spec(words, about["syntax"], bits, **told), HOW)

    return decode


@pytest.mark.parametrize("name", [name for name in MANIFEST if name.startswith("lossless")])
def test_lossless_codestreams_bit_for_bit(decoded, name):
    assert hashlib.sha256(decoded(name).data).hexdigest() == MANIFEST[name]["sha256"]


@pytest.mark.parametrize("name", [name for name in MANIFEST if not name.startswith("lossless")])
def test_lossy_codestreams_but_for_rounding(decoded, name):
    png = imagecodecs.png_decode((FOLDER / name).with_suffix(".png").read_bytes())
    largest = 2 ** MANIFEST[name]["bits"] - 1
    expected = png / np.iinfo(png.dtype).max * largest
    assert np.abs(decoded(name) - expected).max() <= 1.5  # both round, and the PNG once more


def test_all_three_syntaxes_are_there():
    assert {about["syntax"] for about in MANIFEST.values()} == syntaxes.JPEG_XL
