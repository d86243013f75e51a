"""Builds multi-frame DICOM objects on disk: the classic series of `synth` written as one file.

Independent of sansfilm on purpose, like `synth`: functional groups are put together from the
classic datasets, fragments and offset tables byte by byte.

    from multiframe import enhanced
    made = enhanced(tmp_path / "enhanced.dcm", [synth.series(tmp_path / "classic")])
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pydicom
import synth
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

ITEM, END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"
ENHANCED = {"CT": "1.2.840.10008.5.1.4.1.1.2.1", "MR": "1.2.840.10008.5.1.4.1.1.4.1"}
BITS = {"u1": 8, "u2": 12, "i2": 16, "u4": 32}
"""Bits stored of the `pictures` of each kind."""
_MOVED = (
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
    "RescaleSlope", "RescaleIntercept", "RescaleType", "WindowCenter", "WindowWidth", "EchoTime",
)  # fmt: skip
_ALWAYS_PER_FRAME = ("FrameContentSequence", "PlanePositionSequence")


@dataclass(frozen=True, slots=True)
class Multiframe:
    """An object that was written, frames in the order of the file.

    `stored` (frame, y, x) is what was encoded, `sources` the classic file of each frame, `places`
    its (time, slice), both from 0, the slice in ascending order along the normal.
    """

    path: Path
    stored: np.ndarray
    sources: tuple[Path, ...]
    places: tuple[tuple[int, int], ...]


def enhanced(
    path: Path,
    times: Sequence[synth.Synth],
    *,
    seed: int = 0,
    shared: bool = True,
    undefined: bool = False,
    transfer_syntax: str = synth.EXPLICIT_LE,
    fragments: int = 1,
    table: str | bytes = "basic",
    edit: Callable[[Dataset], None] | None = None,
) -> Multiframe:
    """Write classic series as one enhanced object (PS3.3 A.36, A.38), its frames shuffled.

    Parameters
    ----------
    times : sequence of Synth
        One series for each temporal position, all of one geometry.
    shared : bool
        Whether groups that all frames have in common are shared.
    undefined : bool
        Whether sequences and items end with delimiters instead of having a length.
    fragments, table
        As in `encapsulated`.
    edit : function of the dataset, optional
        Changes it before it is written.
    """
    places = [(t, z) for t, made in enumerate(times) for z in range(len(made.stored))]
    order = np.random.default_rng(seed).permutation(len(places)).tolist()
    places = [places[index] for index in order]
    sources = tuple(times[t].paths[z] for t, z in places)
    classic = [pydicom.dcmread(source) for source in sources]
    stored = np.stack([times[t].stored[z] for t, z in places])

    groups = [
        frame_groups(ds, t, z, several=len(times) > 1)
        for ds, (t, z) in zip(classic, places, strict=True)
    ]
    common = Dataset()
    for element in list(groups[0]) if shared else []:
        if element.keyword in _ALWAYS_PER_FRAME:
            continue
        if all(group.get(element.keyword) == element.value for group in groups):
            common.add(element)
            for group in groups:
                del group[element.tag]

    top = classic[0]
    top.file_meta.TransferSyntaxUID = transfer_syntax
    top.SOPClassUID = ENHANCED[top.Modality]
    top.SOPInstanceUID = f"{top.SOPInstanceUID}.9"
    top.NumberOfFrames = len(groups)
    for keyword in ("PixelData", *_MOVED):
        if keyword in top:
            delattr(top, keyword)
    top.SharedFunctionalGroupsSequence = [common]
    top.PerFrameFunctionalGroupsSequence = groups
    top.DimensionIndexSequence = [
        dimension(0x00209056, "Stack ID"), dimension(0x00209057, "In-Stack Position"),
    ]  # fmt: skip
    if len(times) > 1:
        top.DimensionIndexSequence.append(dimension(0x00209128, ""))
    if edit:
        edit(top)
    if undefined:
        without_lengths(top)
    write(top, stored, path, fragments=fragments, table=table)
    return Multiframe(path, stored, sources, tuple(places))


def frame_groups(ds: Dataset, t: int, z: int, *, several: bool) -> Dataset:
    """Return the functional groups of a classic dataset at time t and slice z."""
    groups = Dataset()
    content = Dataset()
    content.StackID, content.InStackPositionNumber = "1", z + 1
    content.FrameAcquisitionDateTime = f"202601020304{10 + t:02d}.5"
    content.DimensionIndexValues = [1, z + 1]
    if several:
        content.TemporalPositionIndex = t + 1
        content.DimensionIndexValues = [1, z + 1, t + 1]
    groups.FrameContentSequence = [content]
    for sequence, keywords in (
        ("PlanePositionSequence", ("ImagePositionPatient",)),
        ("PlaneOrientationSequence", ("ImageOrientationPatient",)),
        ("PixelMeasuresSequence", ("PixelSpacing", "SliceThickness")),
        ("PixelValueTransformationSequence", ("RescaleSlope", "RescaleIntercept", "RescaleType")),
        ("FrameVOILUTSequence", ("WindowCenter", "WindowWidth")),
    ):
        item = Dataset()
        for keyword in keywords:
            if keyword in ds:
                item.add(ds[keyword])
        setattr(groups, sequence, [item])
    if "EchoTime" in ds:
        echo = Dataset()
        echo.EffectiveEchoTime = float(ds.EchoTime)
        groups.MREchoSequence = [echo]
    return groups


def dimension(pointer: int, label: str, group: int = 0x00209111) -> Dataset:
    """Return an item of the Dimension Index Sequence, for an attribute of Frame Content."""
    item = Dataset()
    item.DimensionIndexPointer, item.FunctionalGroupPointer = pointer, group
    if label:
        item.DimensionDescriptionLabel = label
    return item


def without_lengths(ds: Dataset) -> None:
    """Let all sequences and items of a dataset end with delimiters (PS3.5 section 7.5.1)."""
    for element in ds:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
                without_lengths(item)


def write(
    ds: Dataset, stored: np.ndarray, path: Path, *, fragments: int = 1, table: str | bytes = "basic"
) -> None:
    """Write a dataset with the frames (frame, y, x[, sample]) as its Pixel Data.

    Boolean frames become one bit for each pixel, the first in the least significant (PS3.5 8.1.1).
    """
    syntax = str(ds.file_meta.TransferSyntaxUID)
    if syntax in synth.NATIVE:
        if stored.dtype == bool:
            data = np.packbits(stored.ravel(), bitorder="little").tobytes()
        else:
            order = ">" if syntax == synth.EXPLICIT_BE else "<"
            data = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
        data += b"\0" * (len(data) % 2)
        ds.add_new(0x7FE00010, "OW" if stored.itemsize > 1 else "OB", data)
        synth.write(ds, path)
        return
    frames = [synth.encode(frame, syntax, int(ds.BitsStored)) for frame in stored]
    write_encapsulated(ds, frames, path, fragments=fragments, table=table)


def write_encapsulated(
    ds: Dataset, frames: Sequence[bytes], path: Path, *,
    fragments: int = 1, table: str | bytes = "basic", close: bool = True,
) -> None:  # fmt: skip
    """Write a dataset with these codestreams as its Pixel Data; see `encapsulated`."""
    if table == "extended":
        lengths = [len(frame) + len(frame) % 2 for frame in frames]
        starts = np.cumsum([0, *(length + 8 for length in lengths[:-1])])
        ds.add_new(0x7FE00001, "OV", struct.pack(f"<{len(frames)}Q", *starts))
        ds.add_new(0x7FE00002, "OV", struct.pack(f"<{len(frames)}Q", *lengths))
        table = "empty"
    synth.write(ds, path)
    value = encapsulated(frames, fragments=fragments, table=table, close=close)
    with path.open("ab") as file:
        file.write(b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + value)


def encapsulated(
    frames: Sequence[bytes], *, fragments: int = 1, table: str | bytes = "basic", close: bool = True
) -> bytes:
    """Return the value of encapsulated Pixel Data (PS3.5 A.4), delimiter included.

    Parameters
    ----------
    fragments : int
        Into how many fragments each frame is cut.
    table : "basic", "empty", or bytes
        Basic Offset Table: right, none, or these bytes.
    close : bool
        Whether the sequence delimiter follows.
    """
    pieces = [cut(frame, fragments) for frame in frames]
    starts = np.cumsum([0, *(len(b"".join(piece)) for piece in pieces[:-1])]).tolist()
    if table == "basic":
        table = struct.pack(f"<{len(starts)}I", *starts)
    first = item(b"" if isinstance(table, str) else table)
    return first + b"".join(b"".join(piece) for piece in pieces) + END * close


def cut(frame: bytes, fragments: int) -> list[bytes]:
    """Return a codestream as items of even length."""
    frame += b"\0" * (len(frame) % 2)
    step = max(2, 2 * (len(frame) // (2 * fragments)))
    ends = [step * number for number in range(1, fragments)]
    return [
        item(frame[start:end]) for start, end in zip([0, *ends], [*ends, len(frame)], strict=True)
    ]


def item(data: bytes) -> bytes:
    """Return an item of encapsulated Pixel Data."""
    return ITEM + struct.pack("<I", len(data)) + data


def plain(
    path: Path, stored: np.ndarray, *, modality: str = "OT", sop_class: str = "", bits: int = 0,
    transfer_syntax: str = synth.EXPLICIT_LE, edit: Callable[[Dataset], None] | None = None,
    fragments: int = 1, table: str | bytes = "basic",
) -> Path:  # fmt: skip
    """Write frames as an object without functional groups: cine, secondary capture, NM, dose."""
    ds = Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = transfer_syntax
    ds.preamble = b"\0" * 128
    ds.SOPClassUID = sop_class or "1.2.840.10008.5.1.4.1.1.7.2"
    ds.SOPInstanceUID, ds.SeriesInstanceUID = "1.2.3.4.1", "1.2.3.4.2"
    ds.StudyInstanceUID, ds.Modality = "1.2.3.4.3", modality
    ds.PatientName, ds.PatientID = "ZZPHI^Synthetic", "ZZPHI-0001"
    ds.NumberOfFrames, ds.Rows, ds.Columns = stored.shape[:3]
    ds.SamplesPerPixel = stored.shape[3] if stored.ndim == 4 else 1
    ds.PhotometricInterpretation = "RGB" if ds.SamplesPerPixel == 3 else "MONOCHROME2"
    ds.BitsAllocated = 1 if stored.dtype == bool else 8 * stored.itemsize
    ds.BitsStored = bits or ds.BitsAllocated
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, int(stored.dtype.kind == "i")
    if edit:
        edit(ds)
    write(ds, stored, path, fragments=fragments, table=table)
    return path


def sequence(*items: Dataset) -> DicomSequence:
    """Return a sequence of datasets."""
    return DicomSequence(items)


def values(**keywords: object) -> Dataset:
    """Return a dataset of these values, by keyword."""
    ds = Dataset()
    for keyword, value in keywords.items():
        setattr(ds, keyword, value)
    return ds


def pictures(kind: str = "u2", frames: int = 5) -> np.ndarray:
    """Return frames (frame, y, x) of an odd number of pixels, all different."""
    rng = np.random.default_rng(1)
    bits, signed = BITS[kind], kind.startswith("i")
    return synth.phantom(rng, (frames, 15, 13), 8 * int(kind[1]), bits, signed=signed)


def codestreams(syntax: str) -> list[bytes]:
    """Return the five `pictures` in a syntax, each of even length."""
    return list(_codestreams(syntax))


@cache
def _codestreams(syntax: str) -> tuple[bytes, ...]:
    frames = [synth.encode(frame, syntax, BITS["u2"]) for frame in pictures()]
    return tuple(frame + b"\0" * (len(frame) % 2) for frame in frames)


def with_value(path: Path, value: bytes, syntax: str = synth.J2K, **elements: bytes) -> Path:
    """Write an object with these bytes as the value of its encapsulated Pixel Data."""

    def edit(ds: Dataset) -> None:
        for keyword, data in elements.items():
            setattr(ds, keyword, data)

    plain(path, pictures()[:1], bits=12, transfer_syntax=synth.J2K, edit=edit)
    raw = path.read_bytes()
    raw = raw[: raw.index(b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff") + 12] + value
    path.write_bytes(with_syntax(raw, syntax))
    return path


def with_syntax(raw: bytes, uid: str) -> bytes:
    """Change the transfer syntax of a file, and the group length with it."""
    start = raw.index(b"\x02\x00\x10\x00UI")
    length = int.from_bytes(raw[start + 6 : start + 8], "little")
    value = uid.encode() + b"\0" * (len(uid) % 2)
    element = b"\x02\x00\x10\x00UI" + len(value).to_bytes(2, "little") + value
    raw = raw[:start] + element + raw[start + 8 + length :]
    group = raw.index(b"\x02\x00\x00\x00UL\x04\x00") + 8
    total = int.from_bytes(raw[group : group + 4], "little") + len(value) - length
    return raw[:group] + total.to_bytes(4, "little") + raw[group + 4 :]
