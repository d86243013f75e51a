"""Series of slices: geometry, copies, mixtures, values."""

from dataclasses import replace

import numpy as np
import pydicom
import synth
from case_parts import (
    CORONAL,
    OBLIQUE,
    SAGITTAL,
    SLICES,
    Case,
    Volume,
    again,
    case,
    frames_of,
    moved,
    part,
    slices,
    without,
    write,
)

# ---------------------------------------------------------------------------------- geometry


@case
def shuffled(folder):
    return slices(write(folder))


@case
def reversed_files(folder):
    def edit(ds, z):
        ds.InstanceNumber = SLICES - z

    return slices(write(folder, edit, names="ordered"))


@case
def oblique(folder):
    return slices(write(folder, orientation=OBLIQUE, origin=(-10.5, 200.25, -3)))


@case
def feet_first(folder):
    return slices(write(folder, orientation=(-1, 0, 0, 0, 1, 0)))


@case
def one_slice(folder):
    return slices(write(folder, slices=1), "single")


@case
def tilt(folder):
    made = write(folder, lambda ds, z: moved(ds, 0, 0.7 * z, 0))
    affine = made.affine_lps.copy()
    affine[:3, 0] += (0, 0.7, 0)
    lean = float(np.degrees(np.arctan2(0.7, 2)))
    return slices(made, "sheared", affine=affine, numbers={"shear_deg": lean, "spacing_mm": 2.0})


@case
def oblique_tilt(folder):
    across = np.array(OBLIQUE[:3])
    made = write(folder, lambda ds, z: moved(ds, *(-0.5 * z * across)), orientation=OBLIQUE)
    affine = made.affine_lps.copy()
    affine[:3, 0] -= 0.5 * across
    return slices(made, "sheared", affine=affine)


@case
def gap(folder):
    made = write(folder, slices=12)
    for z in (3, 4, 9):
        made.paths[z].unlink()
    return replace(without(slices(made), (3,), (4,), (9,)), numbers={"missing": [3, 4, 9]})


@case
def gap_in_a_tilt(folder):
    made = write(folder, lambda ds, z: moved(ds, 0, -0.7 * z, 0))
    made.paths[2].unlink()
    affine = made.affine_lps.copy()
    affine[:3, 0] -= (0, 0.7, 0)
    return without(slices(made, affine=affine), (2,))


@case
def gap_beside_padding(folder):
    made = write(folder, padding=0, intercept=-1024.0)
    made.paths[1].unlink()
    return without(slices(made), (1,))


@case
def gap_where_all_values_are_used(folder):
    """Sixteen bits, all of them: missing slices need a wider dtype."""
    made = write(folder, bits_stored=16, intercept=0.0)
    made.paths[4].unlink()
    return without(slices(made), (4,))


@case
def gap_among_fractions(folder):
    made = write(folder, slope=0.25, intercept=-3.5)
    made.paths[4].unlink()
    return without(slices(made), (4,))


@case
def gap_among_slopes(folder):
    made = write(folder, slope=[0.5, 0.25, 1.5, 2.0, 3.0, 0.125], intercept=0.0, modality="PT")
    made.paths[4].unlink()
    return without(slices(made), (4,))


@case
def variable(folder):
    z = [0.0, 2.0, 4.5, 6.0, 9.0, 10.1]
    made = write(folder, lambda ds, n: moved(ds, 0, 0, z[n] - 2 * n))
    affine = made.affine_lps.copy()
    affine[2, 0] = 10.1 / 5
    return slices(made, "variable", affine=affine, along={"z": [33.25 + here for here in z]})


@case
def variable_oblique(folder):
    normal = np.cross(OBLIQUE[:3], OBLIQUE[3:])
    z = np.array([0.0, 2.0, 4.5, 6.0, 9.0, 10.1])
    made = write(folder, lambda ds, n: moved(ds, *((z[n] - 2 * n) * normal)), orientation=OBLIQUE)
    affine = made.affine_lps.copy()
    affine[:3, 0] = normal * 10.1 / 5
    first = float(affine[:3, 3] @ normal)
    return slices(made, "variable", affine=affine, along={"z": [first + here for here in z]})


@case
def one_slice_shifted_sideways(folder):
    made = write(folder, lambda ds, z: moved(ds, 1.5 * (z == 2), 0, 0))
    return slices(made, "variable", along={"z": [33.25 + 2 * z for z in range(SLICES)]},
                  numbers={"in_plane_drift_mm": 1.5})  # fmt: skip


@case
def one_slice_turned(folder):
    def edit(ds, z):
        if z == 2:
            ds.ImageOrientationPatient = [0.999, 0.0447, 0, -0.0447, 0.999, 0]

    made = write(folder, edit)
    turned = np.array([0.999, 0.0447]) / np.hypot(0.999, 0.0447)
    affine = made.affine_lps.copy()
    affine[:3, 3] += 2 * affine[:3, 0]
    affine[:2, 1] = 0.7 * np.array([-turned[1], turned[0]])
    affine[:2, 2] = 0.8 * turned
    alone = part(slices(made), [2], verdict="single", affine=affine)
    return Case((without(slices(made), (2,)), alone))


# ---------------------------------------------------------------------- duplicates and copies


@case
def the_same_file_twice(folder):
    made = write(folder)
    (folder / "copy.dcm").write_bytes(made.paths[1].read_bytes())
    return Case((slices(made),), copies=1)


@case
def identical_slice_under_another_uid(folder):
    """Which of the two is used is of no account: their pixels and headers are the same."""
    made = write(folder)
    ds = again(made.paths[1], "copy.dcm")
    kept = slices(made, numbers={"duplicates": 1})
    kept.frames[1] = (min(made.sop_uids[1], str(ds.SOPInstanceUID)), 1)
    return Case((kept,), copies=1)


@case
def other_pixels_at_one_place(folder):
    made = write(folder)
    pixels = pydicom.dcmread(made.paths[4]).PixelData
    ds = again(made.paths[1], "other.dcm", PixelData=pixels)
    uids = made.sop_uids[1], str(ds.SOPInstanceUID)
    pictures = Volume("series2d", ("i", "y", "x"), frames_of(*uids), made.values[[1, 4]], None)
    return Case((without(slices(made), (1,)), pictures))


@case
def other_pixels_under_one_uid(folder):
    made = write(folder)
    ds = pydicom.dcmread(made.paths[1])
    ds.PixelData = pydicom.dcmread(made.paths[4]).PixelData
    synth.write(ds, folder / "other.dcm")
    return Case((without(slices(made), (1,)),), {"CONFLICT": 2})


@case
def one_instance_in_two_codecs(folder):
    """Lossless: header and pixels are the same, so either may be used."""
    made = write(folder)
    write(folder, into="recoded", transfer_syntax=synth.JPEG_LS)
    return Case((slices(made),), copies=SLICES)


@case
def a_series_again_in_a_lossy_codec(folder):
    made = write(folder)
    lossy = write(folder, transfer_syntax=synth.JPEG_LS_NEAR, seed=1)
    other = slices(lossy, values=np.full_like(lossy.values, np.inf))  # are not compared
    return Case((slices(made), other))


# -------------------------------------------------------------------------------- mixed series


@case
def mixed_orientations(folder):
    made = [write(folder, orientation=o, seed=n)
            for n, o in enumerate([(1, 0, 0, 0, 1, 0), SAGITTAL, CORONAL])]  # fmt: skip
    return Case(tuple(map(slices, made)))


@case
def mixed_sizes_and_formats(folder):
    made = [write(folder), write(folder, rows=24, seed=1), write(folder, columns=24, seed=2),
            write(folder, bits_stored=16, signed=True, seed=3),
            write(folder, bits_allocated=8, bits_stored=8, seed=4),
            write(folder, spacing=(2.0, 0.9, 0.9), seed=5)]  # fmt: skip
    return Case(tuple(map(slices, made)))


@case
def localizers(folder):
    made = write(folder)
    scouts = [write(folder, slices=1, orientation=o, rows=48, columns=48, seed=n + 1)
              for n, o in enumerate([SAGITTAL, CORONAL])]  # fmt: skip
    return Case((slices(made), *(slices(scout, "single") for scout in scouts)))


@case
def two_stacks_side_by_side(folder):
    made = [write(folder, origin=(x, -90.5, 33.25), seed=n) for n, x in enumerate((-120, 40))]
    return Case(tuple(map(slices, made)))


@case
def without_optional_tags(folder):
    def edit(ds, _):
        for keyword in ("InstanceNumber", "SliceThickness", "RescaleSlope", "RescaleIntercept",
                        "RescaleType", "FrameOfReferenceUID", "WindowCenter", "WindowWidth",
                        "AcquisitionTime", "SeriesNumber", "StudyDate"):  # fmt: skip
            delattr(ds, keyword)

    return slices(write(folder, edit, intercept=0.0))


@case
def without_a_place(folder):
    def edit(ds, z):
        del ds.ImagePositionPatient, ds.ImageOrientationPatient
        ds.InstanceNumber = z + 1

    made = write(folder, edit)
    return slices(made, "series2d", axes=("i", "y", "x"), affine=None)


@case
def some_without_a_place(folder):
    def edit(ds, z):
        ds.InstanceNumber = z + 1
        if z < 2:
            del ds.ImageOrientationPatient

    made = write(folder, edit)
    affine = made.affine_lps.copy()
    affine[:3, 3] += 2 * affine[:3, 0]
    lost = part(slices(made), slice(2), verdict="series2d", axes=("i", "y", "x"), affine=None)
    return Case((part(slices(made), slice(2, None), affine=affine), lost))


@case
def radiographs(folder):
    """Their spacing is that of the detector: Image Position makes no volume of them."""

    def edit(ds, z):
        ds.SOPClassUID, ds.ImagerPixelSpacing = "1.2.840.10008.5.1.4.1.1.1.1", ds.PixelSpacing
        ds.InstanceNumber = z + 1

    made = write(folder, edit, modality="DX")
    return slices(made, "series2d", axes=("i", "y", "x"), affine=None)


# ------------------------------------------------------------------------------------- values


@case
def slopes_of_pet(folder):
    slopes = [0.5, 0.25, 1.5, 2.0, 3.0, 0.125]
    return slices(write(folder, slope=slopes, intercept=0.0, modality="PT"))


@case
def fractional_slope(folder):
    return slices(write(folder, slope=0.25, intercept=-3.5))


@case
def padding(folder):
    return slices(write(folder, padding=0))
