"""Writes the golden codestreams anew: `python tests/data/make_golden.py`.

Needs Pillow, pyjpegls and SimpleITK besides what the tests need: encoders of another make than
the decoder that is used first, wherever there is one. The image is a formula; no data of anybody.
"""

import hashlib
import io
import json
import sys
import tempfile
import warnings
from pathlib import Path

import imagecodecs
import jpeg_ls
import numpy as np
import openjpeg.utils
import pydicom
import SimpleITK
from PIL import Image
from pydicom.encaps import get_frame

sys.path.insert(0, str(Path(__file__).parents[1]))
import synth

from sansfilm.decode.canaries import FOLDER, image


def gdcm_lossless(words: np.ndarray) -> bytes:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = str(Path(folder) / "a.dcm")
        writer = SimpleITK.ImageFileWriter()
        writer.SetCompressor("JPEG")
        writer.UseCompressionOn()
        writer.SetFileName(path)
        writer.Execute(SimpleITK.GetImageFromArray(words))
        ds = pydicom.dcmread(path)
        assert ds.file_meta.TransferSyntaxUID == synth.JPEG_LOSSLESS
        return get_frame(ds.PixelData, 0, number_of_frames=1)


def pillow(words: np.ndarray, **how: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(words).save(file, "JPEG", quality=95, **how)
    return file.getvalue()


def openjpeg_encoded(words: np.ndarray, ratios: list[float] | None = None) -> bytes:
    return bytes(openjpeg.utils.encode_array(words, bits_stored=12, compression_ratios=ratios))


def ours(syntax: str) -> bytes:
    return synth.encode(image(12), syntax, 12)


twelve, eight = image(12), image(8)
jpeg = pillow(eight)
recompressed = bytes(imagecodecs.jpegxl_encode_jpeg(jpeg, usecontainer=False))
ljpeg = bytes(imagecodecs.ljpeg_encode(twelve, bitspersample=12))
FOUR = "1.2.840.10008.1.2.4."
# syntax: encoder, bits, largest error, codestream
GOLDEN = {
    synth.RLE: ("synth.encode_rle", 12, 0, synth.encode_rle(twelve)),
    synth.JPEG_BASELINE: ("Pillow", 8, 12, jpeg),
    synth.JPEG_EXTENDED: ("imagecodecs jpeg8", 12, 120, ours(synth.JPEG_EXTENDED)),
    FOUR + "53": ("Pillow, progressive", 8, 12, pillow(eight, progressive=True)),
    FOUR + "55": ("Pillow, progressive", 8, 12, pillow(eight, progressive=True)),
    synth.JPEG_LOSSLESS_ANY: ("imagecodecs ljpeg", 12, 0, ljpeg),
    synth.JPEG_LOSSLESS: ("GDCM", 12, 0, gdcm_lossless(twelve)),
    synth.JPEG_LS: ("pyjpegls", 12, 0, bytes(jpeg_ls.encode_array(twelve))),
    synth.JPEG_LS_NEAR: ("pyjpegls", 12, 2, bytes(jpeg_ls.encode_array(twelve, lossy_error=2))),
    synth.J2K: ("pylibjpeg-openjpeg", 12, 0, openjpeg_encoded(twelve)),
    synth.J2K_LOSSY: ("pylibjpeg-openjpeg", 12, 120, openjpeg_encoded(twelve, ratios=[4])),
    synth.JPEG_XL: ("imagecodecs jpegxl", 12, 0, ours(synth.JPEG_XL)),
    FOUR + "111": ("imagecodecs jpegxl", 8, 12, recompressed),
    synth.JPEG_XL_LOSSY: ("imagecodecs jpegxl", 12, 200, ours(synth.JPEG_XL_LOSSY)),
    synth.HTJ2K: ("imagecodecs htj2k", 12, 0, ours(synth.HTJ2K)),
    synth.HTJ2K_RPCL: ("imagecodecs htj2k", 12, 0, ours(synth.HTJ2K_RPCL)),
    synth.HTJ2K_LOSSY: ("imagecodecs htj2k", 12, 120, ours(synth.HTJ2K_LOSSY)),
}  # fmt: skip

FOLDER.mkdir(exist_ok=True)
manifest = {}
for uid, (encoder, bits, error, codestream) in GOLDEN.items():
    (FOLDER / f"{uid}.bin").write_bytes(codestream)
    manifest[uid] = {
        "encoder": encoder, "bits": bits, "largest_error": error,
        "sha256": hashlib.sha256(codestream).hexdigest(),
    }  # fmt: skip
(FOLDER / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
