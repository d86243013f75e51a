"""Series with several frames at each place: time, echo, b-value, component, and their order."""

from dataclasses import replace

import siemens
from case_parts import OBLIQUE, SLICES, Case, case, moved, series4d, times, without


@case
def temporal_position(folder):
    def edit(ds, t, _):
        ds.TemporalPositionIdentifier, ds.NumberOfTemporalPositions = t + 1, 3

    return times(series4d(folder, 3, edit), "t", [1, 2, 3])


@case
def trigger_time(folder):
    def edit(ds, t, _):
        ds.TriggerTime = str(10 + 25.5 * t)

    return times(series4d(folder, 4, edit, modality="MR"), "t", [10 + 25.5 * t for t in range(4)])


@case
def acquisition_time_by_rank(folder):
    """Interleaved slices: no two frames of the scan have one time."""

    def edit(ds, t, z):
        started = 10 * t + (z % 2 * SLICES / 2 + z // 2)
        ds.AcquisitionTime = f"0304{started:09.6f}"

    first = 3 * 3600 + 4 * 60
    return times(series4d(folder, 3, edit), "t", [first, first + 10, first + 20])


@case
def echoes(folder):
    def edit(ds, n, _):
        ds.EchoTime, ds.EchoNumbers = (4.6, 9.2, 13.8)[n], n + 1

    return times(series4d(folder, 3, edit, modality="MR"), "echo", [4.6, 9.2, 13.8])


@case
def b_values(folder):
    directions = [None, (1, 0, 0), (0, 1, 0), (0, 0.6, 0.8)]

    def edit(ds, n, _):
        ds.DiffusionBValue = 1000.0 if n else 0.0
        if n:
            ds.DiffusionGradientOrientation = list(map(float, directions[n]))

    made = series4d(folder, 4, edit, modality="MR")
    order = [0, 3, 2, 1]  # by value, then by direction
    along = [{"DiffusionBValue": 0.0}] + [
        {"DiffusionBValue": 1000.0, "DiffusionGradientOrientation": text}
        for text in ("0\\0.6\\0.8", "0\\1\\0", "1\\0\\0")
    ]
    return times([made[n] for n in order], "b", along)


@case
def magnitude_and_phase(folder):
    def edit(ds, n, _):
        ds.ImageType = ["ORIGINAL", "PRIMARY", "MP"[n], "NONE"]

    return times(series4d(folder, 2, edit, modality="MR"), "component", ["MAGNITUDE", "PHASE"])


@case
def components_of_ge(folder):
    """Magnitude, phase, real, imaginary are 0 to 3 in a private element, and alike elsewhere."""

    def edit(ds, n, _):
        ds.ImageType, ds.Manufacturer = ["ORIGINAL", "PRIMARY", "OTHER"], "GE MEDICAL SYSTEMS"
        ds.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x2F, "SS", n)

    made = series4d(folder, 4, edit, modality="MR")
    names = ["MAGNITUDE", "PHASE", "REAL", "IMAGINARY"]
    order = sorted(range(4), key=names.__getitem__)
    return times([made[n] for n in order], "component", [names[n] for n in order])


@case
def time_and_echo(folder):
    def edit(ds, n, _):
        ds.TemporalPositionIdentifier, ds.EchoTime = n // 2 + 1, (5.0, 12.5)[n % 2]

    made = series4d(folder, 6, edit, modality="MR")
    flat = times(made, "t", [])
    sizes = (3, 2)
    return replace(
        flat, axes=("t", "echo", "z", "y", "x"),
        frames=flat.frames.reshape(*sizes, SLICES),
        values=flat.values.reshape(*sizes, *flat.values.shape[1:]),
        along={"t": [1, 2, 3], "echo": [5.0, 12.5]},
    )  # fmt: skip


@case
def contrast_phases(folder):
    def edit(ds, n, _):
        ds.AcquisitionNumber = n + 2

    return times(series4d(folder, 3, edit), "t", [2, 3, 4])


@case
def cardiac_phases(folder):
    def edit(ds, n, _):
        ds.NominalPercentageOfCardiacPhase = 25.0 * n

    return times(series4d(folder, 4, edit), "t", [0, 25, 50, 75])


@case
def interrupted_last_volume(folder):
    def edit(ds, t, _):
        ds.TemporalPositionIdentifier = t + 1

    made = series4d(folder, 3, edit)
    for z in (4, 5):
        made[2].paths[z].unlink()
    return without(times(made, "t", [1, 2, 3]), (2, 4), (2, 5))


@case
def time_of_a_tilt(folder):
    def edit(ds, t, z):
        ds.TemporalPositionIdentifier = t + 1
        moved(ds, 0, 0.7 * z, 0)

    volume = times(series4d(folder, 2, edit), "t", [1, 2], "sheared")
    affine = volume.affine.copy()
    affine[:3, 0] += (0, 0.7, 0)
    return replace(volume, affine=affine)


@case
def time_of_uneven_slices(folder):
    z = [0.0, 2.0, 4.5, 6.0, 9.0, 10.1]

    def edit(ds, t, n):
        ds.TemporalPositionIdentifier = t + 1
        moved(ds, 0, 0, z[n] - 2 * n)

    volume = times(series4d(folder, 2, edit), "t", [1, 2], "variable")
    affine = volume.affine.copy()
    affine[2, 0] = 10.1 / 5
    along = {"t": [1, 2], "z": [33.25 + here for here in z]}
    return replace(volume, affine=affine, along=along)


@case
def instance_order_alone(folder):
    def edit(ds, t, z):
        ds.InstanceNumber = SLICES * t + z + 1

    return times(series4d(folder, 3, edit), "i", [0, 1, 2])


def packed(folder, *, backwards=False, bare=False, **more):
    """Write three volumes in time as a mosaic each; expect them from the lowest slice on."""

    def edit(ds, t, _):
        ds.AcquisitionNumber, ds.AcquisitionTime = t + 1, f"0304{2.5 * t:09.6f}"

    made = series4d(folder, 3, edit, modality="MR", intercept=0.0, **more)
    volume = times(made, "t", [11040 + 2.5 * t for t in range(3)])
    for t, one in enumerate(made):
        uid = siemens.mosaic(
            one, folder / f"{t}.dcm", backwards=backwards, bare=bare, InstanceNumber=t + 1
        ).SOPInstanceUID
        for z, path in enumerate(one.paths):
            volume.frames[t, z] = uid, SLICES - z if backwards else z + 1
            path.unlink()
    return volume


@case
def mosaics(folder):
    return packed(folder)


@case
def oblique_mosaics_from_the_top(folder):
    return packed(folder, backwards=True, orientation=OBLIQUE)


@case
def mosaics_of_nobody_knows_how_many(folder):
    packed(folder, bare=True)
    return Case((), {"UNSUPPORTED_MULTIFRAME": 3})
