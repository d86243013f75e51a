"""Volumes on other lattices: against SimpleITK, and against functions of the place in the patient.

A ramp that rises along a direction of the patient is the same ramp on every lattice, so that each
voxel says where it is, wherever it came from.
"""

import pickle
from itertools import product

import numpy as np
import pytest
import SimpleITK
import synth
from spying import spy_on_reads

import sansfilm
from sansfilm.archive import read
from sansfilm.errors import OptionError
from sansfilm.options import Options, Storage
from sansfilm.view.planes import hang

SMALL = Options(storage=Storage(chunk=8, slab=8, smallest=8))
OBLIQUE = (0, 0.8, -0.6, 0.6, 0.48, 0.64)
SPACING = (2.5, 0.7, 0.9)
MIDDLE = np.array([-108.0, -80.0, 45.0])
RISE = np.array([9.0, -7.0, 11.0])
"""Of the ramp, per mm: a tenth of a millimetre is one unit."""
UNEVEN = (0.0, 2.0, 5.0, 7.0, 12.0, 14.5, 17.0, 18.0, 21.0, 26.0, 28.0)


def ramp(place):
    return (np.asarray(place) - MIDDLE) @ RISE


def drawn(edit=None):
    """Draw the ramp into the pixels, where the header says that they are."""

    def change(dataset, index):
        if edit:
            edit(dataset, index)
        row, column = np.split(np.array(dataset.ImageOrientationPatient, float), 2)
        down, across = map(float, dataset.PixelSpacing)
        y, x = np.meshgrid(range(dataset.Rows), range(dataset.Columns), indexing="ij")
        place = np.array(dataset.ImagePositionPatient, float) + (
            y[..., None] * column * down + x[..., None] * row * across
        )
        dataset.PixelData = (np.rint(ramp(place)) + 1024).astype("<u2").tobytes()

    return change


def tilted(dataset, index):
    x, y, z = (float(value) for value in dataset.ImagePositionPatient)
    dataset.ImagePositionPatient = [x, y + 0.9 * index, z]


def uneven(dataset, index):
    x, y, _ = (float(value) for value in dataset.ImagePositionPatient)
    dataset.ImagePositionPatient = [x, y, 33.25 + UNEVEN[index]]


def uneven_and_tilted(dataset, index):
    uneven(dataset, index)
    x, y, z = (float(value) for value in dataset.ImagePositionPatient)
    dataset.ImagePositionPatient = [x, y + 0.3 * UNEVEN[index], z]


KINDS = {
    "axial": ("regular", {}),
    "sagittal": ("regular", {"orientation": (0, 1, 0, 0, 0, -1)}),
    "oblique": ("regular", {"orientation": OBLIQUE}),
    "sheared": ("sheared", {"edit": tilted}),
    "uneven": ("variable", {"edit": uneven}),
    "uneven, leaning": ("variable", {"edit": uneven_and_tilted}),
}


@pytest.fixture(scope="module")
def ramps(tmp_path_factory):
    found = {}
    for name, (verdict, place) in KINDS.items():
        place = {**place, "edit": drawn(place.get("edit"))}
        folder = tmp_path_factory.mktemp("ramp")
        synth.series(folder, slices=11, spacing=SPACING, **place)
        (found[name],) = read(folder, options=SMALL)
        assert found[name].verdict.code == verdict
    return found


@pytest.fixture(params=KINDS)
def slope(request, ramps):
    return ramps[request.param]


def places_of(volume):
    """Return where each voxel is, by the affine; shape (z, y, x, 3)."""
    index = np.stack(np.meshgrid(*map(np.arange, volume.array.shape[-3:]), indexing="ij"), axis=-1)
    return index @ volume.affine_lps[:3, :3].T + volume.affine_lps[:3, 3]


def data_of(volume):
    """Return values, and which of them are data."""
    values, padding = volume.to_xarray().values, volume.attributes["padding"]
    if padding is None:
        return values, np.ones(values.shape, bool)
    if padding[0] == "NaN":
        return values, ~np.isnan(values)
    return values, (values < padding[0]) | (values > padding[1])


def is_inner(volume, places, margin=0.0):
    """Tell which places are among the outermost centres of a volume's voxels."""
    affine = volume.affine_lps
    index = (places - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    size = np.array(volume.array.shape[-3:], float)
    uneven = volume.attributes["axes_values"].get("z")
    if uneven:
        size[0] = np.ptp(uneven["values"]) / np.linalg.norm(affine[:3, 0]) + 1
    return ((index >= -margin) & (index <= size - 1 + margin)).all(axis=-1)


# ------------------------------------------------------------------------------- the ramp


@pytest.mark.parametrize("spacing", [1.0, (1.3, 0.5, 0.8), (4.0, 0.9, 1.1)])
def test_every_voxel_holds_what_is_at_its_place(slope, spacing):
    found = slope.resample(spacing)
    places = places_of(found)
    values, there = data_of(found)
    inner = is_inner(slope, places)
    assert there[inner].all()
    assert inner.sum() > 500
    # the ramp was rounded where it was drawn, and is rounded again
    assert np.abs(values - ramp(places))[inner].max() <= 1.0 + 1e-3
    assert found.array.dtype == slope.array.dtype
    np.testing.assert_allclose(found.spacing_mm, np.broadcast_to(spacing, 3))


def test_the_lattice_is_upright_and_covers_the_volume(slope):
    found = slope.resample((1.3, 0.5, 0.8))
    steps = found.affine_lps[:3, :3] / np.linalg.norm(found.affine_lps[:3, :3], axis=0)
    np.testing.assert_allclose(steps.T @ steps, np.eye(3), atol=1e-9)
    old = slope.affine_lps[:3, :3] / np.linalg.norm(slope.affine_lps[:3, :3], axis=0)
    np.testing.assert_allclose(steps[:, 1:], old[:, 1:], atol=1e-6)  # rows and columns stay
    assert steps[:, 0] @ old[:, 0] > 0.9
    centers = places_of(found)
    low, high = (
        (centers[n, n, n] + sign * found.affine_lps[:3, :3].sum(axis=1) / 2) @ steps
        for n, sign in ((0, -1), (-1, 1))
    )
    sizes = slope.array.shape[-3:]
    for corner in product(*((0, size - 1) for size in sizes)):
        where = slope.affine_lps @ [*corner, 1]
        if slope.verdict.code == "variable" and corner[0]:
            step = slope.affine_lps[:3, 0] / np.linalg.norm(slope.affine_lps[:3, 0])
            values = slope.attributes["axes_values"]["z"]["values"]
            where[:3] = slope.affine_lps[:3] @ [0, *corner[1:], 1] + step * np.ptp(values)
        along = where[:3] @ steps
        assert ((low < along) & (along < high)).all()


def test_what_is_outside_of_a_leaning_volume_is_padding(ramps):
    volume = ramps["sheared"]
    found = volume.resample(0.9)
    places, (_, there) = places_of(found), data_of(found)
    assert there[is_inner(volume, places, margin=0.49)].all()
    assert not there[~is_inner(volume, places, margin=0.51)].any()
    assert not there.all()
    lowest = volume.array[:].min()
    assert found.attributes["padding"] == [lowest - 1, lowest - 1]
    assert found.to_xarray().values[0, 0, 0] == lowest - 1 or there[0, 0, 0]


@pytest.mark.parametrize("name", ["axial", "sagittal", "oblique"])
def test_an_upright_volume_needs_no_padding(ramps, name):
    assert ramps[name].resample(1.7).attributes["padding"] is None


def test_the_same_spacing_gives_the_same_volume(ramps):
    for name in ("axial", "sagittal", "oblique"):
        volume = ramps[name]
        for method in ("linear", "nearest"):
            found = volume.resample(volume.spacing_mm, method=method)
            np.testing.assert_array_equal(found.array[:], volume.array[:])
            np.testing.assert_allclose(found.affine_lps, volume.affine_lps, atol=1e-6)


def test_a_slice_that_is_missing_stays_missing(tmp_path):
    made = synth.series(tmp_path, slices=11, spacing=SPACING, edit=drawn())
    made.paths[4].unlink()
    (volume,) = read(tmp_path)
    assert volume.verdict.code == "gapped"
    found = volume.resample((0.5, 0.7, 0.9))
    heights = found.to_xarray()["z"].values
    lost = made.affine_lps[2, 3] + 4 * 2.5
    assert found.attributes["missing"] == [
        n for n, height in enumerate(heights) if abs(height - lost) < 1.25 - 1e-6
    ]
    assert found.attributes["missing"]
    values, there = data_of(found)
    assert not there[found.attributes["missing"]].any()
    assert there[[n for n in range(len(heights)) if n not in found.attributes["missing"]]].all()
    # between the lost slice and a neighbour the neighbour counts alone, and no padding with it
    assert values[there].min() >= volume.array[:][volume.array[:] > -2000].min()


def test_padding_of_the_series_has_no_part_in_its_neighbours(tmp_path):
    synth.series(tmp_path, slices=6, padding=0)
    (volume,) = read(tmp_path, options=SMALL)
    low, high = volume.attributes["padding"]
    found = volume.resample(0.9, level=0)
    values, there = data_of(found)
    whole = volume.array[:]
    kept = whole[(whole < low) | (whole > high)]
    assert not there.all()
    assert kept.min() <= values[there].min()
    assert found.attributes["padding"] == [low, high]


# --------------------------------------------------------------------------------- SimpleITK


@pytest.mark.parametrize("method", ["linear", "nearest"])
@pytest.mark.parametrize("spacing", [1.0, (3.1, 0.5, 1.2)])
@pytest.mark.parametrize("name", ["axial", "sagittal", "oblique"])
def test_values_are_those_of_simpleitk(tmp_path, name, spacing, method):
    synth.series(tmp_path, slices=9, spacing=SPACING, **KINDS[name][1])
    (volume,) = read(tmp_path)
    small = volume.resample(spacing, method=method, level=0)
    found = small.to_sitk()
    source = SimpleITK.Cast(volume.to_sitk(), SimpleITK.sitkFloat64)
    how = SimpleITK.sitkLinear if method == "linear" else SimpleITK.sitkNearestNeighbor
    theirs = SimpleITK.Resample(
        source, found.GetSize(), SimpleITK.Transform(), how, found.GetOrigin(),
        found.GetSpacing(), found.GetDirection(), -9999.0, SimpleITK.sitkFloat64,
    )  # fmt: skip
    ours, theirs = map(SimpleITK.GetArrayFromImage, (found, theirs))
    if method == "linear":
        assert np.abs(ours - theirs).max() <= 0.5 + 1e-4  # rounded to whole units, once
        return
    index = (places_of(small) - volume.affine_lps[:3, 3]) @ np.linalg.inv(
        volume.affine_lps[:3, :3]
    ).T  # fmt: skip
    clear = (np.abs(index - np.floor(index) - 0.5) > 1e-6).all(axis=-1)  # not between two
    assert clear.mean() > 0.3
    np.testing.assert_array_equal(ours[clear], theirs[clear])


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal", (1, 2, 3), (-0.3, 1, 0.2)])
def test_planes_are_those_of_simpleitk(tmp_path, plane):
    synth.series(tmp_path, slices=9, spacing=SPACING, orientation=OBLIQUE)
    (volume,) = read(tmp_path)
    found = volume.mpr(plane, spacing_mm=1.1, level=0)
    lattice = found.to_sitk()
    source = SimpleITK.Cast(volume.to_sitk(), SimpleITK.sitkFloat64)
    theirs = SimpleITK.GetArrayFromImage(
        SimpleITK.Resample(
            source, lattice.GetSize(), SimpleITK.Transform(), SimpleITK.sitkLinear,
            lattice.GetOrigin(), lattice.GetSpacing(), lattice.GetDirection(), -9999.0,
            SimpleITK.sitkFloat64,
        )
    )  # fmt: skip
    values, there = data_of(found)
    assert (there == (theirs > -9999)).mean() > 0.9999
    both = there & (theirs > -9999)
    assert both.sum() > 1000
    assert np.abs(values - theirs)[both].max() <= 0.5 + 1e-4


# ------------------------------------------------------------------------------------- levels


@pytest.fixture
def reads(monkeypatch):
    """Give a function that returns the levels that were read since it was called last."""
    found = spy_on_reads(monkeypatch)

    def levels():
        keys = {key for key, _, _ in found if "/c/" in key and "headers" not in key}
        found.clear()
        return {int(key.partition("/")[0]) for key in keys}

    return levels


def test_fewer_voxels_come_from_the_level_that_fits(tmp_path, reads):
    made = synth.series(tmp_path / "in", slices=16, rows=64, columns=64, spacing=(1, 1, 1))
    sansfilm.ingest(made.folder, tmp_path / "a", options=SMALL)
    volume = sansfilm.open(tmp_path / "a")[made.series_uid]
    factors = [volume.factors(n).tolist() for n in range(len(volume.levels))]
    assert factors[:3] == [[1, 1, 1], [2, 2, 2], [4, 4, 4]]
    for spacing, level in ((1.0, 0), (1.9, 0), (2.0, 1), (3.9, 1), (4.0, 2), ((1, 4, 4), 0)):
        reads()
        volume.resample(spacing)
        assert reads() == {level}, spacing
    # a level as it is, for its spacing; and each voxel is a mean where there is no such level
    for level in (1, 2):
        found = volume.resample(2.0**level)
        np.testing.assert_array_equal(found.array[:], volume.levels[level][:])
        np.testing.assert_allclose(found.affine_lps, volume.affine(level))
    found = volume.resample((1, 4, 4))
    means = made.values.reshape(16, 16, 4, 16, 4).mean(axis=(2, 4))
    np.testing.assert_array_equal(found.array[:], np.floor(means + 0.5))
    reads()
    near = volume.resample(4.0, method="nearest")
    assert reads() == {0}
    assert np.isin(near.array[:], made.values).all()


def test_what_is_reduced_stays_in_its_place(ramps):
    """Sizes that are no multiples of the factors, and a volume that leans."""
    for name, volume in ramps.items():
        found = volume.resample((3.0, 3.1, 2.9))
        places, (values, there) = places_of(found), data_of(found)
        assert there[is_inner(volume, places)].all(), name
        inner = is_inner(volume, places, margin=-2.5)  # voxels at the edge cover fewer
        if volume.verdict.code == "variable":
            continue  # means of two planes, and too few of these
        assert inner.sum() > 20
        assert np.abs(values - ramp(places))[inner].max() <= 1.5 + 1e-3, name  # rounded thrice


# ---------------------------------------------------------------------------- planes, projections


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """Give a volume with one bright voxel, and where that is."""
    mark = (7, 9, 30)

    def change(dataset, index):
        pixels = np.full((dataset.Rows, dataset.Columns), 100, "<u2")
        if index == mark[0]:
            pixels[mark[1:]] = 3000
        dataset.PixelData = pixels.tobytes()

    folder = tmp_path_factory.mktemp("mark")
    made = synth.series(folder, slices=11, spacing=SPACING, edit=change)
    (volume,) = read(folder)
    return volume, (made.affine_lps @ [*mark, 1])[:3], mark


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal", (1, 2, 3), (0, -1, 0.1)])
def test_a_mark_is_in_its_place_in_every_plane(marked, plane):
    volume, world, _ = marked
    found = volume.mpr(plane, spacing_mm=0.5)
    bright = np.clip(found.to_xarray().values + 924.0, 0, None)  # all else has -924 HU, or none
    middle = (places_of(found) * bright[..., None]).sum(axis=(0, 1, 2)) / bright.sum()
    np.testing.assert_allclose(middle, world, atol=0.15)


@pytest.mark.parametrize(
    ("plane", "letters", "directions"),
    [
        ("axial", "RLAP", ["inferior-to-superior", "anterior-to-posterior", "right-to-left"]),
        ("coronal", "RLSI", ["anterior-to-posterior", "superior-to-inferior", "right-to-left"]),
        ("sagittal", "APSI", ["left-to-right", "superior-to-inferior", "anterior-to-posterior"]),
    ],
)
def test_planes_hang_as_radiologists_hang_them(marked, plane, letters, directions):
    """The letters of each side follow from rows and columns alone, and `hang` turns nothing."""
    volume, _, _ = marked
    found = volume.mpr(plane, spacing_mm=1.0)
    assert found.attributes["orientation"] == directions
    ends = {"L": 0, "R": 0, "P": 1, "A": 1, "S": 2, "I": 2}
    signs = {"L": 1, "R": -1, "P": 1, "A": -1, "S": 1, "I": -1}
    down, across = found.affine_lps[:3, 1], found.affine_lps[:3, 2]
    for letter, toward in zip(letters, (-across, across, -down, down), strict=True):
        assert toward[ends[letter]] * signs[letter] == pytest.approx(np.linalg.norm(toward))
    (shown,) = [view for view in hang(found, 0, found.affine_lps) if view[0] == plane]
    assert "".join(shown[3]) == letters
    np.testing.assert_array_equal(np.ma.getdata(shown[1]), found.array[found.array.shape[0] // 2])


def test_one_plane_through_a_point(marked):
    volume, world, mark = marked
    for plane in ("axial", "coronal", "sagittal", (1, 1, 0.2)):
        found = volume.mpr(plane, at=world, spacing_mm=0.7)
        assert found.array.shape[0] == 1
        normal = found.affine_lps[:3, 0] / np.linalg.norm(found.affine_lps[:3, 0])
        assert (places_of(found)[0] @ normal).tolist() == pytest.approx(
            np.full(found.array.shape[1:], world @ normal)
        )
    axial = volume.mpr("axial", at=world, spacing_mm=SPACING)
    np.testing.assert_array_equal(axial.array[0], volume.array[mark[0]])


@pytest.mark.parametrize("kind", ["max", "min", "mean"])
def test_projections_along_the_axes_are_those_of_numpy(tmp_path, kind):
    made = synth.series(tmp_path, slices=12, spacing=(2.0, 0.7, 0.8))
    (volume,) = read(tmp_path)
    values = volume.array[:].astype(float)
    reduce = getattr(np, kind)

    def expected(axis):
        return np.floor(reduce(values, axis=axis) + 0.5)

    axial = volume.mip("axial", kind=kind, spacing_mm=(0.7, 0.8))
    assert axial.array.shape == (1, 32, 40)
    np.testing.assert_array_equal(axial.array[0], expected(0))
    assert axial.spacing_mm == pytest.approx((24.0, 0.7, 0.8))
    coronal = volume.mip("coronal", kind=kind, spacing_mm=(2.0, 0.8))
    np.testing.assert_array_equal(coronal.array[0], expected(1)[::-1])  # feet down
    sagittal = volume.mip("sagittal", kind=kind, spacing_mm=(2.0, 0.7))
    np.testing.assert_array_equal(sagittal.array[0], expected(2)[::-1])
    slabs = volume.mip("axial", slab_mm=8, kind=kind, spacing_mm=(0.7, 0.8))
    parts = np.floor(reduce(values.reshape(3, 4, 32, 40), axis=1) + 0.5)
    np.testing.assert_array_equal(slabs.array[:], parts)
    assert slabs.spacing_mm[0] == pytest.approx(8)
    # the first slab is 8 mm around the middle of slices 0 to 3
    middle = (made.affine_lps @ [1.5, 0, 0, 1])[:3]
    np.testing.assert_allclose(slabs.affine_lps[:3, 3], middle, atol=1e-6)
    one = volume.mip("axial", slab_mm=8, kind=kind, spacing_mm=(0.7, 0.8), at=middle)
    np.testing.assert_array_equal(one.array[0], parts[0])


def test_a_projection_misses_nothing_between_its_own_voxels(tmp_path):
    """Coarse pixels are made of all the fine ones in them: a small bright box is in one or two."""
    box = (slice(5, 8), slice(9, 12), slice(29, 32))

    def change(dataset, index):
        pixels = np.full((dataset.Rows, dataset.Columns), 100, "<u2")
        if box[0].start <= index < box[0].stop:
            pixels[box[1:]] = 3000
        dataset.PixelData = pixels.tobytes()

    made = synth.series(tmp_path, slices=11, spacing=SPACING, edit=change)
    (volume,) = read(tmp_path)
    world = (made.affine_lps @ [6, 10, 30, 1])[:3]
    for plane in ("axial", "coronal", "sagittal", (1, 2, 3)):
        found = volume.mip(plane, spacing_mm=6.0)
        values, there = data_of(found)
        assert set(np.unique(values[there])) >= {-924, 1976}, plane
        assert values[there].min() == -924  # what is beyond the volume is no value
        for place in places_of(found)[values == 1976]:
            off = np.abs((place - world) @ (found.affine_lps[:3, 1:3] / 6.0))
            assert (off <= 3.0 + 4.0).all(), plane
    # planes are as thin as they were, but their pixels are means of all that is in them
    thin = volume.mpr("axial", spacing_mm=(2.5, 5.6, 5.4))
    assert np.ptp(thin.array[0]) == 0
    assert thin.array[6].astype(float).mean() == pytest.approx(
        volume.array[6].astype(float).mean(), abs=3
    )


def test_a_projection_leaves_out_what_is_no_data(ramps):
    volume = ramps["sheared"]
    for kind in ("max", "min", "mean"):
        found = volume.mip((0.3, 1, 0.4), kind=kind, slab_mm=7)
        values, there = data_of(found)
        low, high = volume.array[:].min(), volume.array[:].max()
        assert (values[there] >= low).all()
        assert (values[there] <= high).all()
        assert not there.all()


# ---------------------------------------------------------------------------- kinds of values


def test_fractional_values_are_modality_values_and_nan_outside(tmp_path):
    synth.series(tmp_path, slices=6, slope=0.5, intercept=3.25, edit=tilted)
    (volume,) = read(tmp_path)
    assert not volume.attributes["rescale"]["applied"]
    found = volume.resample(1.0)
    assert found.attributes["padding"] == ["NaN", "NaN"]
    values, there = data_of(found)
    assert values.dtype == "float64"
    assert not there.all()
    whole = volume.to_xarray().values
    assert whole.min() <= values[there].min() <= values[there].max() <= whole.max()
    window = found.ome["omero"]["channels"][0]["window"]
    assert window["min"] == pytest.approx(whole.min())
    assert window["max"] == pytest.approx(whole.max())
    assert found.window((40, 400)).dtype == np.uint8


def test_unsigned_values_get_room_for_what_is_no_data(tmp_path):
    synth.series(tmp_path, slices=6, intercept=0, edit=tilted, bits_stored=16)
    (volume,) = read(tmp_path)
    assert volume.array.dtype == "uint16"
    found = volume.resample(1.0)
    low = int(volume.array[:].min())
    assert found.attributes["padding"] == [low - 1, low - 1]
    assert found.array.dtype == ("uint16" if low else "int32")


def test_label_maps_keep_their_numbers(data):
    (volume,) = read(data / "seg")
    numbers = np.unique(volume.array[:])
    for found in (volume.resample(0.6), volume.mpr((1, 1, 1)), volume.mip("coronal")):
        assert np.isin(found.array[:], numbers).all()
        assert found.array.dtype == volume.array.dtype
        assert found.ome["image-label"] == volume.ome["image-label"]
    assert "nearest" in volume.resample(0.6).verdict.text


def test_times_are_resampled_alike(tmp_path):
    uids = {"series_uid": "1.2.840.99.1", "study_uid": "1.2.840.99.2"}

    def at(number):
        def change(dataset, index):
            dataset.TriggerTime = 40.0 * number

        return change

    for number in range(2):
        synth.series(tmp_path, slices=6, seed=number, modality="MR", edit=at(number), **uids)
    (volume,) = read(tmp_path)
    found = volume.resample(1.0)
    assert found.axes == ("t", "z", "y", "x")
    assert found.to_xarray()["t"].values.tolist() == pytest.approx([0, 0.04])
    assert found.spacing_mm[0] is None
    for number in range(2):
        one = synth.series(tmp_path / str(number), slices=6, seed=number, modality="MR")
        (alone,) = read(one.folder)
        np.testing.assert_array_equal(found.array[number], alone.resample(1.0).array[:])


def test_colours_are_resampled_alike(tmp_path):
    def colour(dataset, index):
        stored = np.frombuffer(dataset.PixelData, "u1").reshape(32, 40)
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
        dataset.PlanarConfiguration = 0
        dataset.PixelData = np.stack([stored, stored // 2, 255 - stored], axis=-1).tobytes()

    synth.series(
        tmp_path, slices=4, bits_allocated=8, bits_stored=8, intercept=0, modality="OT",
        edit=colour,
    )  # fmt: skip
    (volume,) = read(tmp_path)
    found = volume.mpr((0.2, 1, 0.3), spacing_mm=0.8)
    assert (found.axes, found.array.dtype) == (("c", "z", "y", "x"), np.uint8)
    assert found.attributes["padding"] is None
    assert found.window().shape == found.array.shape


# ----------------------------------------------------------------------------- a volume like any


@pytest.mark.parametrize("name", ["sheared", "uneven"])
def test_what_a_library_cannot_hold_goes_out_when_it_is_resampled(ramps, name, tmp_path):
    volume = ramps[name]
    with pytest.raises(OptionError, match="use resample"):
        volume.to_sitk()
    found = volume.resample(1.0)
    image = found.to_sitk()
    assert image.GetSpacing() == pytest.approx((1, 1, 1))
    assert found.to_itk_dict()["size"] == list(image.GetSize())
    assert found.export(tmp_path / "x.nrrd").exists()
    assert found.export(tmp_path / "x.nii.gz").exists()
    inner = is_inner(volume, places_of(found))
    z, y, x = np.argwhere(inner)[len(np.argwhere(inner)) // 2]
    place = image.TransformIndexToPhysicalPoint((int(x), int(y), int(z)))
    assert image.GetPixel(int(x), int(y), int(z)) == pytest.approx(ramp(place), abs=1.01)


def test_it_is_a_volume_like_any_other(ramps):
    volume = ramps["oblique"]
    found = volume.resample(1.0)
    assert repr(found).endswith("int16, resampled>")
    assert "Resampled to 1 x 1 x 1 mm, linear, of a regular volume" in found.verdict.text
    assert found.series_uid == volume.series_uid
    assert found.volume_id != volume.volume_id
    assert found.attributes["derived_from"]["volume_id"] == volume.volume_id
    assert found.uri == f"memory:derived/{found.volume_id}"
    assert "<img" in found._repr_html_()
    assert len(found.show().axes) == 3
    assert found.to_datatree()["0/image"].attrs["affine_lps"] == found.affine_lps.tolist()
    x, y, z = places_of(found)[3, 4, 5]
    assert found.sel_mm(x=x, y=y, z=z).values.item() == found.array[3, 4, 5]
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.array[:], found.array[:])
    twice = found.resample(1.0)
    np.testing.assert_array_equal(twice.array[:], found.array[:])
    assert volume.resample(1.0).volume_id == found.volume_id
    for ask in (lambda: found.frames, found.headers, lambda: found.header_array):
        with pytest.raises(OptionError, match="made of another volume has no frames"):
            ask()


# ---------------------------------------------------------------------------------- wrong calls


WRONG = [
    (lambda v: v.resample(0), "millimetres are a number or three .z, y, x. above 0, got 0"),
    (lambda v: v.resample((1, 1)), "a number or three"),
    (lambda v: v.resample("fine"), "a number or three"),
    (lambda v: v.resample(float("nan")), "above 0"),
    (lambda v: v.resample(0.001), "GiB of memory: choose larger distances"),
    (lambda v: v.resample(1e-30), "GiB of memory: choose larger distances"),
    (lambda v: v.resample(1, method="cubic"), "method is linear or nearest, got 'cubic'"),
    (lambda v: v.resample(1, level=9), "level must be 0 to"),
    (lambda v: v.resample(1, device="tpu"), "device is cpu or gpu, got 'tpu'"),
    (lambda v: v.mpr("frontal"), "plane is axial, coronal, sagittal or a normal .* 'frontal'"),
    (lambda v: v.mpr((0, 0, 0)), "or a normal"),
    (lambda v: v.mpr((1, 0)), "or a normal"),
    (lambda v: v.mpr(at=(1, 2)), "at is a point"),
    (lambda v: v.mpr(at="here"), "at is a point"),
    (lambda v: v.mpr(at=(0, 9e9, 0)), "no plane of the volume goes through"),
    (lambda v: v.mip(kind="sum"), "kind is max, min, mean, got 'sum'"),
    (lambda v: v.mip(slab_mm=-1), "millimetres are a number above 0, got -1"),
    (lambda v: v.mip(at=MIDDLE), "needs slab_mm"),
    (lambda v: v.mip(spacing_mm=(1, 1, 1)), "a number or two"),
]


@pytest.mark.parametrize(("call", "told"), WRONG, ids=map(str, range(len(WRONG))))
def test_a_wrong_call_is_told(ramps, call, told):
    with pytest.raises(OptionError, match=told):
        call(ramps["axial"])


def test_images_without_a_place_have_no_lattice(volume_of, unplaced):
    volume = volume_of(slices=3, edit=unplaced, modality="OT")
    for call in (lambda: volume.resample(1), volume.mpr, volume.mip):
        with pytest.raises(OptionError, match="no place in the patient: use to_xarray"):
            call()


def test_slices_on_no_line_are_not_made_even(tmp_path):
    def wandering(dataset, index):
        x, y, z = (float(value) for value in dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [x + 0.1 * index**2, y, z]

    synth.series(tmp_path, slices=8, edit=wandering)
    (volume,) = read(tmp_path)
    assert volume.verdict.code == "variable"
    with pytest.raises(OptionError, match=r"offset sideways by up to .* mm, on no line"):
        volume.resample(1.0)
