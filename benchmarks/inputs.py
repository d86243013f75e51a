"""The input of the comparison: series made from the sample of this repository, and their truth.

The 28 slices of the CT of a plastic head are laid one on the other, every second time from the
top, 1 mm apart, until a series is long enough, and encoded anew without loss in each kind. Every
series has UIDs of its own. What the voxels must be is known from the sample, by pydicom, before any
contender runs.
"""

import copy
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import rle.utils
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_rescale
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

SAMPLE = Path(__file__).parents[1] / "tests" / "data" / "ct-head-j2k"
EDITION = 1
"""Part of the folders' names: to be raised when this module makes something else."""
BITS, SPACING_MM = 12, 1.0


def _rle(frame: np.ndarray) -> bytes:
    rows, columns = frame.shape
    return bytes(rle.utils.encode_pixel_data(
        frame.tobytes(), rows=rows, columns=columns, byteorder="<",
        bits_allocated=8 * frame.itemsize, samples_per_pixel=1,
    ))  # fmt: skip


KINDS: dict[str, tuple[UID, Callable[[np.ndarray], bytes]]] = {
    "raw": (ExplicitVRLittleEndian, lambda frame: frame.tobytes()),
    "j2k": (
        JPEG2000Lossless,
        lambda frame: imagecodecs.jpeg2k_encode(
            frame, level=0, codecformat="j2k", reversible=True, bitspersample=BITS
        ),
    ),
    "jpegls": (JPEGLSLossless, lambda frame: imagecodecs.jpegls_encode(frame)),
    "htj2k": (
        HTJ2KLossless,
        lambda frame: imagecodecs.htj2k_encode(frame, reversible=True, bitspersample=BITS),
    ),
    "rle": (RLELossless, _rle),
}


@dataclass(frozen=True)
class Shape:
    """How many series of how many slices, cut from the middle, `edge` pixels wide and high."""

    series: int
    slices: int
    edge: int = 512

    @property
    def name(self) -> str:
        """For folders and tables."""
        return f"{self.series}x{self.slices}x{self.edge}"


@dataclass(frozen=True)
class Truth:
    """What a series is: voxels in Hounsfield units along (z, y, x), and where they lie.

    `spacing_mm` and `origin_mm` are along z, y, x: the centre of the first voxel.
    """

    voxels: np.ndarray
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Input:
    """A prepared input: a folder of folders, one for each series."""

    name: str
    folder: Path
    kind: str
    series: dict[str, str]
    """Series Instance UID by the name of the folder."""
    files: int
    bytes: int
    known: Truth | None = None

    @property
    def truth(self) -> Truth:
        """The truth of each of the series: they differ in their UIDs only."""
        if self.known is not None:
            return self.known
        about = json.loads((self.folder.parent / "truth.json").read_text())
        voxels = np.load(self.folder.parent / "truth.npy", mmap_mode="r")
        return Truth(voxels, tuple(about["spacing_mm"]), tuple(about["origin_mm"]))


def prepare(cache_folder: Path, shape: Shape, kind: str) -> Input:
    """Make an input, or take the one that was made before."""
    name = f"{shape.name}-{kind}"
    place = cache_folder / f"{name}-v{EDITION}"
    record = place / "input.json"
    if not record.exists():
        making = place.with_name(f".{place.name}")
        for old in (making, place):
            shutil.rmtree(old, ignore_errors=True)
        found = _make(making, shape, kind)
        (making / record.name).write_text(json.dumps(found, indent=1))
        making.rename(place)
    return Input(name=name, folder=place / "dicom", kind=kind, **json.loads(record.read_text()))


def _make(place: Path, shape: Shape, kind: str) -> dict[str, object]:
    frames, headers, truth = _series(shape)
    place.mkdir(parents=True)
    np.save(place / "truth.npy", truth.voxels)
    about = {key: value for key, value in asdict(truth).items() if key != "voxels"}
    (place / "truth.json").write_text(json.dumps(about))
    first = place / "dicom" / "series-000"
    first.mkdir(parents=True)
    stem = _stem(f"{shape.name}-{kind}-0")
    encoded = _encoded(frames, kind)
    for number, (header, codestream) in enumerate(zip(headers, encoded, strict=True)):
        made = _placed(header, shape.edge, stem, number)
        _write(made, KINDS[kind][0], codestream, first / f"IM{number:05}.dcm")
    series = {first.name: _uid(stem, "series")}
    files = sorted(first.iterdir())
    for number in range(1, shape.series):
        other = _stem(f"{shape.name}-{kind}-{number}")
        folder = first.with_name(f"series-{number:03}")
        folder.mkdir()
        for file in files:
            data = file.read_bytes().replace(stem.encode(), other.encode())
            (folder / file.name).write_bytes(data)
        series[folder.name] = _uid(other, "series")
    size = sum(file.stat().st_size for file in files) * shape.series
    return {"series": series, "files": shape.slices * shape.series, "bytes": size}


@cache
def _sample() -> list[pydicom.Dataset]:
    found = [pydicom.dcmread(file) for file in SAMPLE.iterdir()]
    return sorted(found, key=lambda header: header.ImagePositionPatient[2])


def _series(shape: Shape) -> tuple[list[np.ndarray], list[pydicom.Dataset], Truth]:
    """Return stored values, headers and truth of a series; what repeats is the same object."""
    sample = _sample()
    start = (sample[0].Rows - shape.edge) // 2
    cut = slice(start, start + shape.edge)
    images = [np.ascontiguousarray(header.pixel_array[cut, cut]) for header in sample]
    order = list(_up_and_down(len(sample), shape.slices))
    frames = [images[number] for number in order]
    spacing = tuple(float(value) for value in sample[0].PixelSpacing)
    x, y, z = (float(value) for value in sample[0].ImagePositionPatient)
    origin = (z, y + start * spacing[0], x + start * spacing[1])
    intercept = int(sample[0].RescaleIntercept)
    voxels = np.stack(frames).astype(np.int16) + np.int16(intercept)
    headers = [sample[number] for number in order]
    return frames, headers, Truth(voxels, (SPACING_MM, *spacing), origin)


def _up_and_down(length: int, count: int) -> Iterator[int]:
    """Yield 0, 1, ..., length - 1, length - 1, ..., 0, 0, ... so many times."""
    for number in range(count):
        turn, place = divmod(number, length)
        yield place if turn % 2 == 0 else length - 1 - place


def _encoded(frames: list[np.ndarray], kind: str) -> list[bytes]:
    """Encode each frame once, however often it comes."""
    _, encode = KINDS[kind]
    known: dict[int, bytes] = {}
    for frame in frames:
        if id(frame) not in known:
            known[id(frame)] = bytes(encode(frame))
    return [known[id(frame)] for frame in frames]


def _placed(sample: pydicom.Dataset, edge: int, stem: str, number: int) -> pydicom.Dataset:
    """Return the sample's header with the place and the UIDs of a slice."""
    made, first = copy.deepcopy(sample), _sample()[0]
    start = (first.Rows - edge) // 2
    row, column = (float(value) for value in first.PixelSpacing)
    x, y, z = (float(value) for value in first.ImagePositionPatient)
    place = x + start * column, y + start * row, z + number * SPACING_MM
    made.Rows = made.Columns = edge
    made.ImagePositionPatient = [round(value, 6) for value in place]
    made.SliceLocation = round(place[2], 6)
    made.SliceThickness = made.SpacingBetweenSlices = SPACING_MM
    made.InstanceNumber = number + 1
    made.StudyInstanceUID, made.SeriesInstanceUID = _uid(stem, "study"), _uid(stem, "series")
    made.FrameOfReferenceUID = _uid(stem, "place")
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = _uid(stem, number)
    return made


def _write(made: pydicom.Dataset, syntax: UID, codestream: bytes, file: Path) -> None:
    made.file_meta.TransferSyntaxUID = syntax
    made.PixelData = encapsulate([codestream]) if syntax.is_compressed else codestream
    made["PixelData"].VR = "OB" if syntax.is_compressed else "OW"
    made.save_as(file, enforce_file_format=True)


def _stem(name: str) -> str:
    """Return 31 digits that stand for a series; they take the same room in every file."""
    digits = int.from_bytes(hashlib.sha256(name.encode()).digest()[:12])
    return f"{10**30 + digits:031}"


def _uid(stem: str, what: str | int) -> str:
    """Return a UID of PS3.5 section B.2: the stem and a number of its own."""
    named = {"study": 999_999, "series": 999_998, "place": 999_997}
    number = named[what] if isinstance(what, str) else what
    return f"2.25.{stem}{number:06}"


def given(folder: Path) -> Input:
    """Take a real series, or a folder of them, all alike but for their UIDs, for the input.

    The truth is what pydicom reads.

    Raises
    ------
    ValueError
        If it is no axial series of evenly spaced slices: what OME-Zarr's scale and translation
        should say of others is no common ground.
    """
    inside = sorted(each for each in folder.iterdir() if each.is_dir())
    folders = inside or [folder]
    slices = [pydicom.dcmread(file) for file in folders[0].iterdir()]
    slices.sort(key=lambda each: each.ImagePositionPatient[2])
    places = np.array([each.ImagePositionPatient for each in slices], float)
    steps = np.diff(places, axis=0)
    even = np.allclose(steps, steps[:1], atol=1e-3) and np.allclose(steps[:, :2], 0)
    if list(slices[0].ImageOrientationPatient) != [1, 0, 0, 0, 1, 0] or not even:
        raise ValueError(f"{folder} holds no axial series of even spacing")
    voxels = np.stack([apply_rescale(each.pixel_array, each) for each in slices])
    spacing = (float(steps[0, 2]), *map(float, slices[0].PixelSpacing))
    x, y, z = places[0]
    return Input(
        name=folder.name, folder=folder if inside else folder.parent, kind="as it is",
        series={each.name: str(pydicom.dcmread(next(each.iterdir()), stop_before_pixels=True)
                               .SeriesInstanceUID) for each in folders},
        files=len(slices) * len(folders),
        bytes=sum(file.stat().st_size for each in folders for file in each.iterdir()),
        known=Truth(voxels.astype(np.int16), spacing, (z, y, x)),
    )  # fmt: skip
