"""Builds small DICOM series on disk, with everything that is known of them.

Independent of sansfilm on purpose: the pixels, the modality values and the affine of a `Synth` are
computed here, from the arguments alone, so that tests can hold sansfilm against them.

    from synth import series
    made = series(tmp_path, slices=12, transfer_syntax=synth.JPEG_LS)

The patient is called ZZPHI: that word must not appear in logs, messages, keys or reprs.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import imagecodecs
import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset, validate_file_meta
from pydicom.encaps import encapsulate
from pydicom.valuerep import format_number_as_ds

IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
DEFLATED_LE = "1.2.840.10008.1.2.1.99"
EXPLICIT_BE = "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"
DEFLATED_FRAME = "1.2.840.10008.1.2.8.1"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS_ANY = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_LS_NEAR = "1.2.840.10008.1.2.4.81"
J2K = "1.2.840.10008.1.2.4.90"
J2K_LOSSY = "1.2.840.10008.1.2.4.91"
JPEG_XL = "1.2.840.10008.1.2.4.110"
JPEG_XL_LOSSY = "1.2.840.10008.1.2.4.112"
HTJ2K = "1.2.840.10008.1.2.4.201"
HTJ2K_RPCL = "1.2.840.10008.1.2.4.202"
HTJ2K_LOSSY = "1.2.840.10008.1.2.4.203"

NATIVE = (IMPLICIT_LE, EXPLICIT_LE, DEFLATED_LE, EXPLICIT_BE)
LOSSLESS = (RLE, DEFLATED_FRAME, JPEG_LOSSLESS_ANY, JPEG_LOSSLESS, JPEG_LS, J2K, JPEG_XL, HTJ2K,
            HTJ2K_RPCL)  # fmt: skip
"""Encapsulated syntaxes whose frames come back bit for bit."""
LOSSY = (JPEG_BASELINE, JPEG_EXTENDED, JPEG_LS_NEAR, J2K_LOSSY, JPEG_XL_LOSSY, HTJ2K_LOSSY)
NEAR = 2
"""Largest error of a JPEG_LS_NEAR frame."""

_SOP_CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
}
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_ROOT = "1.2.826.0.1.3680043.8.498.77"


@dataclass(frozen=True, slots=True)
class Synth:
    """A series that was written; everything is in ascending order along the slice normal.

    `stored` (z, y, x) is what was encoded, `values` (float64) the modality values, `affine_lps`
    maps (z, y, x, 1) to LPS millimetres.
    """

    folder: Path
    paths: tuple[Path, ...]
    sop_uids: tuple[str, ...]
    stored: np.ndarray
    values: np.ndarray
    affine_lps: np.ndarray
    series_uid: str
    study_uid: str


def series(
    folder: Path,
    *,
    slices: int = 12,
    rows: int = 32,
    columns: int = 40,
    spacing: Sequence[float] = (2.0, 0.7, 0.8),
    origin: Sequence[float] = (-120.0, -90.5, 33.25),
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    bits_allocated: int = 16,
    bits_stored: int = 12,
    signed: bool = False,
    slope: float | Sequence[float] = 1.0,
    intercept: float = -1024.0,
    modality: str = "CT",
    transfer_syntax: str = EXPLICIT_LE,
    seed: int = 0,
    padding: int | None = None,
    window: tuple[float, float] | None = (40, 400),
    names: Literal["shuffled", "ordered"] = "shuffled",
    series_uid: str | None = None,
    study_uid: str | None = None,
    edit: Callable[[Dataset, int], None] | None = None,
) -> Synth:
    """Write one series, one file per slice, into `folder` (made if it is not there).

    Parameters
    ----------
    spacing : (between slices, between rows, between columns), mm
    origin : (x, y, z)
        LPS position of the first voxel, mm.
    orientation : 6 floats
        Row direction, then column direction.
    slope : float, or one for each slice
    padding : int or None
        Stored value of the pixels outside of a circle, and Pixel Padding Value.
    names : "shuffled" or "ordered"
        Shuffled: neither file names nor instance numbers follow the order of the slices.
    edit : function of (dataset, index), optional
        Changes a dataset before it is written; `index` counts along the slice normal.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    series_uid = series_uid or f"{_ROOT}.{seed}.1"
    study_uid = study_uid or f"{_ROOT}.{seed}.2"
    stored = phantom(rng, (slices, rows, columns), bits_allocated, bits_stored, signed=signed)
    if padding is not None:
        stored[:, _outside(rows, columns)] = padding
    slopes = np.broadcast_to(np.asarray(slope, dtype=np.float64), (slices,))
    row, column = np.asarray(orientation[:3], float), np.asarray(orientation[3:], float)
    normal = np.cross(row, column)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = normal * spacing[0], column * spacing[1]
    affine[:3, 2], affine[:3, 3] = row * spacing[2], origin
    ranks, numbers = np.arange(slices), np.arange(slices)
    if names == "shuffled":
        ranks, numbers = rng.permutation(slices), rng.permutation(slices)

    paths, sop_uids = [], []
    for index in range(slices):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = transfer_syntax
        ds.preamble = b"\0" * 128
        ds.SOPClassUID = _SOP_CLASSES.get(modality, _SECONDARY_CAPTURE)
        ds.SOPInstanceUID = f"{series_uid}.{seed}.{index + 1}"
        ds.SeriesInstanceUID, ds.StudyInstanceUID = series_uid, study_uid
        ds.FrameOfReferenceUID = f"{study_uid}.3"
        ds.Modality = modality
        ds.PatientName, ds.PatientID = "ZZPHI^Synthetic", "ZZPHI-0001"
        ds.PatientBirthDate, ds.PatientSex = "19000101", "O"
        ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = "20260102"
        ds.StudyTime = ds.AcquisitionTime = "030405"
        ds.SeriesNumber, ds.InstanceNumber = 1, int(numbers[index]) + 1
        ds.ImagePositionPatient = _decimals(affine[:3, 3] + index * affine[:3, 0])
        ds.ImageOrientationPatient = _decimals(orientation)
        ds.PixelSpacing = _decimals(spacing[1:])
        ds.SliceThickness = _decimals([spacing[0]])[0]
        ds.RescaleSlope, ds.RescaleIntercept = _decimals([slopes[index], intercept])
        if modality == "CT":
            ds.RescaleType = "HU"
        if window:
            ds.WindowCenter, ds.WindowWidth = _decimals(window)
        if padding is not None:
            ds.add_new(0x00280120, "SS" if signed else "US", padding)
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.Rows, ds.Columns = rows, columns
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits_allocated, bits_stored, bits_stored - 1
        ds.PixelRepresentation = int(signed)
        put_pixels(ds, stored[index])
        if edit:
            edit(ds, index)
        path = folder / f"s{seed:03d}-{int(ranks[index]):04d}.dcm"
        write(ds, path)
        paths.append(path)
        sop_uids.append(str(ds.SOPInstanceUID))
    values = stored * slopes[:, None, None] + intercept
    return Synth(
        folder, tuple(paths), tuple(sop_uids), stored, values, affine, series_uid, study_uid
    )


def phantom(
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    bits_allocated: int = 16,
    bits_stored: int = 12,
    *,
    signed: bool = False,
) -> np.ndarray:
    """Return stored values (z, y, x): an ellipsoid with ripples in noise.

    Every slice is different and holds the smallest and the largest value that can be stored.
    """
    low, high = (0, 2**bits_stored - 1)
    if signed:
        low, high = -(2 ** (bits_stored - 1)), 2 ** (bits_stored - 1) - 1
    z, y, x = (np.linspace(-1, 1, size) if size > 1 else np.zeros(1) for size in shape)
    radius = np.sqrt(0.4 * z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
    field = np.where(radius < 0.85, 0.55 + 0.15 * np.sin(9 * radius), 0.05)
    field = np.clip(field + rng.normal(0, 0.01, shape), 0, 1)
    stored = (low + np.rint(field * (high - low))).astype(np.int64)
    stored[:, shape[1] // 2, shape[2] // 2 - 1] = low
    stored[:, shape[1] // 2, shape[2] // 2] = high
    return stored.astype(f"{'i' if signed else 'u'}{bits_allocated // 8}")


def put_pixels(ds: Dataset, stored: np.ndarray) -> None:
    """Set Pixel Data of a dataset to a frame (y, x), encoded in its transfer syntax."""
    syntax = str(ds.file_meta.TransferSyntaxUID)
    if syntax in NATIVE:
        order = ">" if syntax == EXPLICIT_BE else "<"
        data = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
        ds.add_new(
            0x7FE00010, "OW" if stored.itemsize > 1 else "OB", data + b"\0" * (len(data) % 2)
        )
        return
    data = encapsulate([encode(stored, syntax, int(ds.BitsStored))])
    ds.add_new(0x7FE00010, "OB", data)
    ds["PixelData"].is_undefined_length = True


def write(ds: Dataset, path: Path) -> None:
    """Write a dataset as a DICOM file, also in transfer syntaxes that pydicom does not know."""
    syntax = str(ds.file_meta.TransferSyntaxUID)
    ds.file_meta.FileMetaInformationGroupLength = 0  # pydicom puts the right one there
    ds.file_meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", "")
    ds.file_meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", "")
    validate_file_meta(ds.file_meta)
    dcmwrite(
        path, ds, implicit_vr=syntax == IMPLICIT_LE, little_endian=syntax != EXPLICIT_BE,
        force_encoding=True,
    )  # fmt: skip


def encode(stored: np.ndarray, transfer_syntax: str, bits_stored: int) -> bytes:
    """Encode one frame (y, x) as a codestream; the JPEGs take signed values as their bits."""
    bits = {"bitspersample": bits_stored}
    if transfer_syntax == RLE:
        return encode_rle(stored)
    if transfer_syntax == DEFLATED_FRAME:
        engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        return engine.compress(stored.tobytes()) + engine.flush()
    if bits_stored <= 8:  # as encoders want it
        stored = stored.astype(f"{stored.dtype.kind}1")
    if transfer_syntax in (J2K, J2K_LOSSY):
        lossless = transfer_syntax == J2K
        return bytes(imagecodecs.jpeg2k_encode(
            stored, level=0 if lossless else 60, codecformat="j2k", reversible=lossless, **bits,
        ))  # fmt: skip
    if transfer_syntax == HTJ2K_LOSSY:
        return bytes(imagecodecs.htj2k_encode(stored, level=0.001, reversible=False, **bits))
    if transfer_syntax in (HTJ2K, HTJ2K_RPCL):
        order = {"prog_order": "RPCL"} if transfer_syntax == HTJ2K_RPCL else {}
        return bytes(imagecodecs.htj2k_encode(stored, reversible=True, **order, **bits))
    words = stored.view(f"u{stored.itemsize}")
    words = words & words.dtype.type(2**bits_stored - 1)
    if transfer_syntax in (JPEG_LS, JPEG_LS_NEAR):
        near = NEAR if transfer_syntax == JPEG_LS_NEAR else 0
        return bytes(imagecodecs.jpegls_encode(words, level=near, **bits))
    if transfer_syntax in (JPEG_LOSSLESS, JPEG_LOSSLESS_ANY):
        predictor = 1 if transfer_syntax == JPEG_LOSSLESS else 6
        return bytes(imagecodecs.jpeg8_encode(words, lossless=True, predictor=predictor, **bits))
    if transfer_syntax in (JPEG_BASELINE, JPEG_EXTENDED):
        return bytes(imagecodecs.jpeg8_encode(words, level=95, **bits))
    if transfer_syntax in (JPEG_XL, JPEG_XL_LOSSY):
        how = {"lossless": True} if transfer_syntax == JPEG_XL else {"distance": 0.5}
        return bytes(imagecodecs.jpegxl_encode(words, usecontainer=False, **how, **bits))
    raise ValueError(f"no encoder for {transfer_syntax}")


def encode_rle(stored: np.ndarray) -> bytes:
    """Encode one frame by PS3.5 annex G: one segment per byte of a word, highest byte first."""
    planes = stored.astype(stored.dtype.newbyteorder(">")).view("u1")
    planes = planes.reshape(*stored.shape, stored.itemsize)
    segments = [_pack_segment(planes[..., byte]) for byte in range(stored.itemsize)]
    offsets = np.zeros(16, "<u4")
    offsets[0] = len(segments)
    offsets[1 : 1 + len(segments)] = 64 + np.cumsum([0, *map(len, segments[:-1])])
    return offsets.tobytes() + b"".join(segments)


def _pack_segment(plane: np.ndarray) -> bytes:
    """PackBits, row by row: runs of three and more are repeated, the rest is literal."""
    out = bytearray()
    for line in plane:
        starts = np.flatnonzero(np.diff(line, prepend=line[0] ^ 1))
        literal = bytearray()
        for start, end in zip(starts, [*starts[1:], len(line)], strict=True):
            value, count = int(line[start]), int(end - start)
            if count < 3:
                literal += bytes([value]) * count
                continue
            _flush(out, literal)
            while count > 0:
                step = min(count, 128)
                out += bytes([(257 - step) & 0xFF, value]) if step > 1 else bytes([0, value])
                count -= step
        _flush(out, literal)
    return bytes(out + b"\0" * (len(out) % 2))


def _flush(out: bytearray, literal: bytearray) -> None:
    for start in range(0, len(literal), 128):
        part = literal[start : start + 128]
        out += bytes([len(part) - 1]) + part
    literal.clear()


def _outside(rows: int, columns: int) -> np.ndarray:
    y, x = np.linspace(-1, 1, rows)[:, None], np.linspace(-1, 1, columns)[None, :]
    return np.asarray(y**2 + x**2 > 1)


def _decimals(values: Sequence[float] | np.ndarray) -> list[str]:
    return [format_number_as_ds(float(value)) for value in values]
