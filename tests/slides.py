"""Builds whole-slide images on disk: pyramids of tiles, with everything that is known of them.

Independent of sansfilm on purpose, like `synth`.

    from slides import slide
    made = slide(tmp_path, sizes=[(700, 500), (350, 250)])
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import synth
from multiframe import sequence, values, write
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes

SM = "1.2.840.10008.5.1.4.1.1.77.1.6"
SPACING, ORIGIN = 0.0005, (12.5, 20.25)
ORIENTATION = (0, -1, 0, -1, 0, 0)
_ROOT = "1.2.826.0.1.3680043.8.498.79"


@dataclass(frozen=True, slots=True)
class Slide:
    """What was written: `pixels` of each level as (path, plane, y, x[, c]), and files by level."""

    pixels: tuple[np.ndarray, ...]
    paths: tuple[Path, ...]
    series_uid: str


def slide(
    folder: Path,
    *,
    sizes: Sequence[tuple[int, int]] = ((700, 500), (350, 250), (88, 63)),
    tile: tuple[int, int] = (64, 48),
    samples: int = 3,
    optical_paths: int = 1,
    planes: int = 1,
    sparse: bool = False,
    keep: Callable[[int, int], bool] = lambda row, column: True,
    syntax: str = synth.EXPLICIT_LE,
    seed: int = 0,
    flavor: str = "VOLUME",
    edit: Callable[[Dataset, int], None] | None = None,
) -> Slide:
    """Write one instance for each level (PS3.3 A.32.8).

    Parameters
    ----------
    sizes : sequence of (rows, columns)
        Total pixel matrix of each level.
    sparse : bool
        TILED_SPARSE, its frames shuffled, without the tiles that `keep` (row, column) refuses.
    edit : function of the dataset and the level, optional
        Changes it before it is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    pixels, paths = [], []
    series = f"{_ROOT}.{seed}.1"
    for level, size in enumerate(sizes):
        picture = _picture(rng, (optical_paths, planes, *size), samples)
        ds = _dataset(series, f"{_ROOT}.{seed}.1.{level + 1}", size, tile, samples, flavor)
        factor = sizes[0][0] / size[0] if level else 1
        measures = values(PixelSpacing=[synth._decimals([SPACING * round(factor)])[0]] * 2,
                          SliceThickness="0.001", SpacingBetweenSlices="0.002")  # fmt: skip
        shared = values(PixelMeasuresSequence=sequence(measures))
        kind = values(FrameType=ds.ImageType)
        shared.WholeSlideMicroscopyImageFrameTypeSequence = sequence(kind)
        ds.SharedFunctionalGroupsSequence = sequence(shared)
        ds.OpticalPathSequence = sequence(*(_path(n, samples) for n in range(optical_paths)))
        ds.NumberOfOpticalPaths, ds.TotalPixelMatrixFocalPlanes = optical_paths, planes
        frames, groups = [], []
        filled = np.full_like(picture, 255 if samples > 1 else 0)
        for path in range(optical_paths):
            for plane in range(planes):
                for top in range(0, size[0], tile[0]):
                    for left in range(0, size[1], tile[1]):
                        if not keep(top, left):
                            continue
                        part = np.s_[path, plane, top : top + tile[0], left : left + tile[1]]
                        filled[part] = picture[part]
                        frames.append(_padded(picture[part], tile))
                        groups.append(_group(path, plane, top, left))
        ds.DimensionOrganizationType = "TILED_SPARSE" if sparse else "TILED_FULL"
        if sparse:
            order = rng.permutation(len(frames))
            frames = [frames[n] for n in order]
            ds.PerFrameFunctionalGroupsSequence = sequence(*(groups[n] for n in order))
        ds.file_meta.TransferSyntaxUID, ds.NumberOfFrames = syntax, len(frames)
        if edit:
            edit(ds, level)
        path = folder / f"{seed}-{level}.dcm"
        write(ds, np.stack(frames), path)
        pixels.append(filled)
        paths.append(path)
    return Slide(tuple(pixels), tuple(paths), series)


def _picture(rng: np.random.Generator, shape: tuple[int, ...], samples: int) -> np.ndarray:
    """Return a smooth picture with noise, other for each path, plane and colour."""
    y, x = np.mgrid[: shape[2], : shape[3]]
    found = np.empty((*shape, samples), np.uint8)
    for index in np.ndindex(shape[0], shape[1], samples):
        phase = 1.0 + index[0] + 0.3 * index[1] + 0.2 * index[2]
        waves = 120 + 80 * np.sin(y / 40 * phase) * np.cos(x / 30 * phase)
        found[index[0], index[1], ..., index[2]] = waves + rng.integers(0, 40, shape[2:])
    return found if samples > 1 else found[..., 0]


def _padded(part: np.ndarray, tile: tuple[int, int]) -> np.ndarray:
    whole = np.full((*tile, *part.shape[2:]), 77, np.uint8)  # beyond the matrix: never seen
    whole[: part.shape[0], : part.shape[1]] = part
    return whole


def _path(number: int, samples: int) -> Dataset:
    light = (
        codes.DCM.BrightfieldIllumination if samples > 1 else codes.DCM.EpifluorescenceIllumination
    )
    code = values(CodeValue=light.value, CodingSchemeDesignator="DCM", CodeMeaning=light.meaning)
    found = values(OpticalPathIdentifier=str(number + 1))
    found.IlluminationTypeCodeSequence = sequence(code)
    if samples > 1:
        found.ICCProfile = b"\0" * 4
    else:
        found.IlluminationWaveLength = 500.0 + 20 * number
    return found


def _group(path: int, plane: int, top: int, left: int) -> Dataset:
    place = values(
        ColumnPositionInTotalImagePixelMatrix=left + 1, RowPositionInTotalImagePixelMatrix=top + 1,
        XOffsetInSlideCoordinateSystem="0", YOffsetInSlideCoordinateSystem="0",
        ZOffsetInSlideCoordinateSystem=str(2 * plane),
    )  # fmt: skip
    return values(
        PlanePositionSlideSequence=sequence(place),
        OpticalPathIdentificationSequence=sequence(values(OpticalPathIdentifier=str(path + 1))),
    )


def _dataset(
    series: str, sop: str, size: tuple[int, int], tile: tuple[int, int], samples: int, flavor: str
) -> Dataset:
    ds = Dataset()
    ds.file_meta, ds.preamble = FileMetaDataset(), b"\0" * 128
    ds.SOPClassUID, ds.SOPInstanceUID = SM, sop
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{series}.0", series
    ds.FrameOfReferenceUID = f"{series}.9"
    ds.PatientName, ds.PatientID = "ZZPHI^Synthetic", "ZZPHI-0001"
    ds.PatientBirthDate = ds.PatientSex = ""
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20260102", "030405", "1", ""
    ds.ContentDate, ds.ContentTime, ds.AcquisitionDateTime = "20260102", "030405", "20260102"
    ds.ReferringPhysicianName, ds.PositionReferenceIndicator = "", "SLIDE_CORNER"
    ds.Manufacturer, ds.ManufacturerModelName = "sansfilm", "tests"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "1", "1"
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "SM", 1, 1
    ds.ImageType = ["ORIGINAL", "PRIMARY", flavor, "NONE"]
    ds.ContainerIdentifier, ds.VolumetricProperties = "1", "VOLUME"
    ds.SpecimenLabelInImage, ds.BurnedInAnnotation, ds.FocusMethod = "NO", "NO", "AUTO"
    ds.ExtendedDepthOfField, ds.LossyImageCompression = "NO", "00"
    ds.ImagedVolumeWidth, ds.ImagedVolumeHeight = size[1] * SPACING, size[0] * SPACING
    ds.ImagedVolumeDepth = 0.001
    ds.TotalPixelMatrixRows, ds.TotalPixelMatrixColumns = size
    ds.TotalPixelMatrixOriginSequence = sequence(
        values(XOffsetInSlideCoordinateSystem=str(ORIGIN[0]),
               YOffsetInSlideCoordinateSystem=str(ORIGIN[1]))
    )  # fmt: skip
    ds.ImageOrientationSlide = list(ORIENTATION)
    ds.SamplesPerPixel = samples
    ds.PhotometricInterpretation = "RGB" if samples > 1 else "MONOCHROME2"
    if samples > 1:
        ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = tile
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    return ds


def stored(path: Path) -> pydicom.Dataset:
    """Return an instance without its pixels."""
    return pydicom.dcmread(path, stop_before_pixels=True)
