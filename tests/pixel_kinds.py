"""Builds images of every kind of pixel: colour models, palettes, single bits, floats, LUTs.

Independent of sansfilm on purpose, like `synth`, whose vocabulary it shares.
"""

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import imagecodecs
import jpeg_ls
import numpy as np
import synth
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_FLOATS = {4: 0x7FE00008, 8: 0x7FE00009}
_CODED = ("YBR_RCT", "YBR_ICT")
"""Made by the codec: the samples that go in are RGB."""


def picture(shape: tuple[int, ...], bits: int = 8, seed: int = 0) -> np.ndarray:
    """Return smooth ramps with some noise and both ends of the range; uint8 or uint16."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(0, 3 + n, size) for n, size in enumerate(shape)),
                       indexing="ij")  # fmt: skip
    field = 0.5 + 0.4 * np.sin(sum(axes)) + rng.normal(0, 0.02, shape)
    values = np.rint(np.clip(field, 0, 1) * (2**bits - 1)).astype(int)
    values.ravel()[:2] = 0, 2**bits - 1
    return values.astype(np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32)


def write(
    path: Path,
    pixels: np.ndarray,
    photometric: str = "RGB",
    syntax: str = synth.EXPLICIT_LE,
    *,
    bits: int = 0,
    allocated: int = 0,
    planar: int = 0,
    coding: Mapping[str, Any] | None = None,
    frames: list[bytes] | None = None,
    **more: Any,
) -> Dataset:
    """Write one instance.

    Parameters
    ----------
    pixels : ndarray, shape (frame, y, x) or (frame, y, x, 3)
        Stored samples; RGB where the codec makes YBR of it. Floats become Float Pixel Data.
    allocated : int
        1 for single bits; that of the dtype without it.
    coding : mapping, optional
        How `encode` is to do it.
    frames : list of bytes, optional
        Codestreams, or uncompressed frames, in place of those of `pixels`.
    more
        Further attributes by keyword.
    """
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.preamble = b"\0" * 128
    root = f"1.2.826.0.1.3680043.8.498.78.{zlib.crc32(path.name.encode())}"
    ds.SOPClassUID, ds.SOPInstanceUID = SECONDARY_CAPTURE, f"{root}.3"
    ds.SeriesInstanceUID, ds.StudyInstanceUID = f"{root}.2", f"{root}.1"
    ds.Modality, ds.InstanceNumber = "OT", 1
    ds.PatientName, ds.PatientID = "ZZPHI^Kinds", "ZZPHI-0002"
    ds.NumberOfFrames, ds.Rows, ds.Columns = pixels.shape[:3]
    ds.SamplesPerPixel = 3 if pixels.ndim == 4 else 1
    ds.PhotometricInterpretation = photometric
    ds.BitsAllocated = allocated or 8 * pixels.itemsize
    if pixels.dtype.kind != "f":
        ds.BitsStored = bits or ds.BitsAllocated
        ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, int(pixels.dtype.kind == "i")
    if pixels.ndim == 4:
        ds.PlanarConfiguration = planar
    for keyword, value in more.items():
        setattr(ds, keyword, value)
    if frames is None:
        frames = [encode(ds, frame, **(coding or {})) for frame in pixels]
    if syntax in synth.NATIVE:
        data = pack(pixels) if ds.BitsAllocated == 1 else b"".join(frames)
        tag = _FLOATS[pixels.itemsize] if pixels.dtype.kind == "f" else 0x7FE00010
        vr = {0x7FE00008: "OF", 0x7FE00009: "OD"}.get(tag, "OW" if ds.BitsAllocated > 8 else "OB")
        ds.add_new(tag, vr, data + b"\0" * (len(data) % 2))
    else:
        ds.add_new(0x7FE00010, "OB", encapsulate(frames))
        ds["PixelData"].is_undefined_length = True
    path.parent.mkdir(parents=True, exist_ok=True)
    synth.write(ds, path)
    return ds


def pack(pixels: np.ndarray) -> bytes:
    """Pack 0 and 1 into bits, the first in the lowest bit of each byte."""
    return np.packbits(pixels.ravel().astype(bool), bitorder="little").tobytes()


def encode(ds: Dataset, frame: np.ndarray, **coding: Any) -> bytes:
    """Encode one frame (y, x) or (y, x, 3) in the transfer syntax of a dataset."""
    syntax, bits = str(ds.file_meta.TransferSyntaxUID), int(ds.get("BitsStored", 0))
    if frame.ndim == 2 and ds.BitsAllocated != 1 and syntax not in (
        *synth.NATIVE, synth.DEFLATED_FRAME
    ):  # fmt: skip
        return synth.encode(frame, syntax, bits)
    depth = {"bitspersample": bits}
    if syntax in (*synth.NATIVE, synth.DEFLATED_FRAME):
        data = native(ds, frame)
        engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        return data if syntax in synth.NATIVE else engine.compress(data) + engine.flush()
    if syntax == synth.RLE and ds.BitsAllocated == 1:
        packed = np.frombuffer(pack(frame), np.uint8)
        return synth.encode_rle(packed[None])
    if syntax == synth.RLE:
        return bytes(RLELosslessEncoder.encode(
            frame, encoding_plugin="pydicom", rows=frame.shape[0], columns=frame.shape[1],
            samples_per_pixel=3, bits_allocated=8 * frame.itemsize,
            bits_stored=8 * frame.itemsize, pixel_representation=0, planar_configuration=0,
            photometric_interpretation="RGB", number_of_frames=1,
        ))  # fmt: skip
    if syntax in (synth.JPEG_LS, synth.JPEG_LS_NEAR):
        near = synth.NEAR if syntax == synth.JPEG_LS_NEAR else 0
        if not coding:
            return bytes(imagecodecs.jpegls_encode(frame, level=near, **depth))
        return jpeg_ls_of(frame, bits, near, coding["interleave"])
    if syntax in (synth.J2K, synth.J2K_LOSSY):
        lossless = syntax == synth.J2K
        mct = ds.PhotometricInterpretation in _CODED
        return bytes(imagecodecs.jpeg2k_encode(
            frame, level=0 if lossless else 60, codecformat="j2k", reversible=lossless,
            **{"mct": mct, **depth, **coding},
        ))  # fmt: skip
    if syntax in (synth.HTJ2K, synth.HTJ2K_RPCL, synth.HTJ2K_LOSSY):
        lossless = syntax != synth.HTJ2K_LOSSY
        rgb = {"rgb": ds.PhotometricInterpretation in _CODED}
        level = {} if lossless else {"level": 0.001}
        return bytes(imagecodecs.htj2k_encode(frame, reversible=lossless, **level, **rgb, **depth))
    same = {"colorspace": "RGB", "outcolorspace": "RGB"}
    if syntax in (synth.JPEG_LOSSLESS, synth.JPEG_LOSSLESS_ANY):
        return bytes(imagecodecs.jpeg8_encode(frame, lossless=True, predictor=1, **same, **depth))
    if syntax in (synth.JPEG_BASELINE, synth.JPEG_EXTENDED):
        return bytes(imagecodecs.jpeg8_encode(frame, **{"level": 95, **same, **depth, **coding}))
    if syntax == synth.JPEG_XL:
        return bytes(imagecodecs.jpegxl_encode(frame, lossless=True, usecontainer=False, **depth))
    raise ValueError(f"no encoder for {syntax}")


def native(ds: Dataset, frame: np.ndarray) -> bytes:
    """Lay out the words of a frame: byte order, planes, pairs that share chrominance, bits."""
    if ds.BitsAllocated == 1:
        return pack(frame)
    order = ">" if ds.file_meta.TransferSyntaxUID == synth.EXPLICIT_BE else "<"
    words = frame.astype(frame.dtype.newbyteorder(order))
    if str(ds.PhotometricInterpretation).endswith("_422"):
        pairs = words.reshape(-1, 2, 3)
        words = np.concatenate([pairs[..., 0], pairs[:, 0, 1:]], axis=1, dtype=words.dtype)
    elif ds.SamplesPerPixel > 1 and ds.PlanarConfiguration:
        words = np.moveaxis(words, -1, 0)
    return words.tobytes()


def jpeg_ls_of(frame: np.ndarray, bits: int, near: int, interleave: int) -> bytes:
    """Encode colour with CharLS: planes one after the other (0), by line (1) or by sample (2)."""
    data = np.moveaxis(frame, -1, 0) if interleave == 0 else frame
    return bytes(jpeg_ls.encode_buffer(
        data.tobytes(), frame.shape[0], frame.shape[1], 3, bits, lossy_error=near,
        interleave_mode=interleave,
    ))  # fmt: skip


def palette(
    entries: np.ndarray,
    *,
    first: int = 0,
    bits: int = 16,
    packed: bool = True,
) -> dict[str, Any]:
    """Return the attributes of a palette, entries (n, 3), for `write`.

    8-bit entries lie one per byte if `packed`, else one per word.
    """
    found: dict[str, Any] = {}
    for colour, table in zip(("Red", "Green", "Blue"), entries.T, strict=True):
        name = f"{colour}PaletteColorLookupTable"
        found[f"{name}Descriptor"] = [len(table) % 65536, first, bits]
        data = table.astype("u1" if bits == 8 and packed else "<u2").tobytes()
        found[f"{name}Data"] = data + b"\0" * (len(data) % 2)
    return found
