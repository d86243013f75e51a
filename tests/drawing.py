"""Segmentations on disk, written by highdicom, and what has to become of them."""

import highdicom
import numpy as np
import pydicom
import synth
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentationTypeValues, SegmentDescription
from PIL import Image, ImageCms
from pydicom.sr.codedict import codes

import sansfilm
from sansfilm.options import Options, Storage

OPTIONS = Options(storage=Storage(chunk=8, slab=4, smallest=8))


def images(folder, slices=9, **more):
    """Write the images that segmentations are drawn on: oblique, in ascending order."""

    def edit(ds, _):
        ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = "1.2.3.99", ""
        ds.AccessionNumber = ds.StudyID = ds.PatientBirthDate = ""
        ds.PatientSex = ds.ReferringPhysicianName = ""

    orientation = (0.8, 0.6, 0.0, -0.36, 0.48, 0.8)
    return synth.series(folder, slices=slices, orientation=orientation, edit=edit, **more)


def lab_of(rgb):
    """Return an sRGB colour as CIELab under D50, by the profiles of Little CMS."""
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    transform = ImageCms.buildTransform(*profiles, "RGB", "LAB")
    lightness, a, b = ImageCms.applyTransform(Image.new("RGB", (1, 1), rgb), transform).getpixel(
        (0, 0)
    )
    return lightness * 100 / 255, a - 128, b - 128


def masks(made, count, *, overlap=False):
    """Return segments (z, y, x, segment), some slices of some of them empty."""
    rng = np.random.default_rng(3)
    shape = made.stored.shape
    chosen = rng.integers(0, count + 1, shape)
    found = np.stack([chosen == number + 1 for number in range(count)], axis=-1)
    if overlap:
        found |= rng.random(found.shape) < 0.2
    found[0], found[4], found[-1] = False, False, False
    found[2, ..., 0] = False
    return found.astype(np.uint8)


def draw(made, folder, pixels, kind="BINARY", edit=None, colours=True, **more):
    """Write a segmentation of the slices, with highdicom."""
    folder.mkdir(exist_ok=True)
    images = [pydicom.dcmread(path) for path in made.paths]
    segments = [
        SegmentDescription(
            segment_number=number + 1, segment_label=f"part {number + 1}",
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Liver,
            algorithm_type=SegmentAlgorithmTypeValues.MANUAL,
            display_color=highdicom.color.CIELabColor(*lab_of((204, 102, 51))) if colours else None,
        )
        for number in range(pixels.shape[-1])
    ]  # fmt: skip
    seg = highdicom.seg.Segmentation(
        images, pixels, SegmentationTypeValues(kind), segments,
        series_instance_uid="1.2.9.1", series_number=2, sop_instance_uid="1.2.9.1.1",
        instance_number=1, manufacturer="a", manufacturer_model_name="b", software_versions="c",
        device_serial_number="d", **more,
    )  # fmt: skip
    if edit:
        edit(seg)
    path = folder / "seg.dcm"
    seg.save_as(path)
    return path


def ingested(url, *sources):
    report = sansfilm.ingest(sources, url, options=OPTIONS, workers=1)
    assert report.problems == []
    assert report.frames["found"] == report.frames["stored"]
    (volume,) = (v for v in sansfilm.open(url) if v.modality == "SEG")
    return volume


def modes(full, factors):
    """Reduce by mode, the smallest of several, in plain Python."""
    shape = [-(-size // factor) for size, factor in zip(full.shape, factors, strict=True)]
    out = np.zeros(shape, full.dtype)
    for index in np.ndindex(*shape):
        part = full[tuple(slice(i * f, (i + 1) * f) for i, f in zip(index, factors, strict=True))]
        values, counts = np.unique(part, return_counts=True)
        out[index] = values[np.argmax(counts)]
    return out


def canonical(array, affine):
    """Turn a volume so that its first axis points along its normal, as ours does."""
    normal = np.cross(affine[:3, 2], affine[:3, 1])
    if affine[:3, 0] @ normal < 0:
        affine = affine.copy()
        affine[:3, 3] += affine[:3, 0] * (len(array) - 1)
        affine[:3, 0] *= -1
        array = array[::-1]
    return array, affine
