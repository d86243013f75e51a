"""Boxes in patient millimetres, and what is read for them: the chunks that they touch, no more."""

import math
from itertools import product

import numpy as np
import pytest
import synth
import xarray as xr
import zarr
from spying import spy_on_reads

from sansfilm.archive import open_archive
from sansfilm.errors import OptionError
from sansfilm.intake import ingest
from sansfilm.options import Options, Storage

SMALL = Options(storage=Storage(chunk=8, slab=8, smallest=8))
OBLIQUE = (0, 0.8, -0.6, 0.6, 0.48, 0.64)
SHAPE = (20, 32, 40)


def tilted(dataset, index):
    x, y, z = (float(value) for value in dataset.ImagePositionPatient)
    dataset.ImagePositionPatient = [x, y + 0.5 * index, z]


def uneven(dataset, index):
    x, y, _ = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [x, y, UNEVEN[index]]


UNEVEN = np.cumsum(np.random.default_rng(3).choice([2.0, 3.0, 5.0], SHAPE[0]))

PLACES = {
    "axial": {},
    "sagittal, turned": {"orientation": (0, -1, 0, 0, 0, 1), "spacing": (3, 0.5, 0.6)},
    "oblique": {"orientation": OBLIQUE},
    "sheared": {"edit": tilted},
}
places = pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
parallel = pytest.mark.parametrize("place", list(PLACES.values())[:2], ids=list(PLACES)[:2])


def grid(volume, level=0):
    """Return where each voxel's centre lies, by the affine of level 0; shape (z, y, x, 3)."""
    shape, factors = volume.levels[level].shape, volume.factors(level)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return (index * factors + (factors - 1) / 2) @ volume.affine_lps[:3, :3].T + (
        volume.affine_lps[:3, 3]
    )


def boxes(volume, count, seed):
    """Yield random boxes that have a corner in the volume."""
    rng = np.random.default_rng(seed)
    centers = grid(volume).reshape(-1, 3)
    for _ in range(count):
        low = centers[rng.integers(len(centers))]
        high = low + rng.uniform(0.1, 14, 3)
        yield dict(zip("xyz", map(slice, low, high), strict=True)), low, high


@parallel
@pytest.mark.parametrize("level", [0, 1])
def test_a_box_gives_each_voxel_that_some_of_it_lies_in_and_no_other(volume_of, place, level):
    volume = volume_of(slices=SHAPE[0], options=SMALL, **place)
    centers, values = grid(volume, level), volume.levels[level][:]
    half = np.abs(volume.affine(level)[:3, :3]).sum(axis=1) / 2
    for box, low, high in boxes(volume, 20, seed=level):
        inside = ((centers + half > low + 1e-9) & (centers - half < high - 1e-9)).all(axis=-1)
        part = volume.sel_mm(**box, level=level)
        index = np.argwhere(inside)
        chosen = tuple(map(slice, index.min(axis=0), index.max(axis=0) + 1))
        assert part.attrs["first_index"] == index.min(axis=0).tolist()
        np.testing.assert_array_equal(part.values, values[chosen])


@places
@pytest.mark.parametrize("level", [0, 1])
def test_a_box_is_covered_and_each_voxel_keeps_its_place(volume_of, place, level):
    volume = volume_of(slices=SHAPE[0], options=SMALL, **place)
    assert volume.verdict.code == ("sheared" if "edit" in place else "regular")
    centers, whole = grid(volume, level), volume.to_xarray(level).compute()
    back = np.linalg.inv(volume.affine(level))
    size = np.array(whole.shape)
    for box, low, high in boxes(volume, 20, seed=2):
        part = volume.sel_mm(**box, level=level).compute()
        first = np.array(part.attrs["first_index"])
        last = first + part.shape - 1
        # points of the box, each in the voxel of the nearest centre
        points = np.array(list(product(*np.linspace(low + 1e-9, high - 1e-9, 7).T)))
        index = np.floor(np.column_stack([points, np.ones(len(points))]) @ back.T + 0.5)[:, :3]
        np.testing.assert_array_equal(first, np.clip(index.min(axis=0), 0, size - 1))
        np.testing.assert_array_equal(last, np.clip(index.max(axis=0), 0, size - 1))
        affine = np.array(part.attrs["affine_lps"])
        for corner in product(*({0, n - 1} for n in part.shape)):
            there = tuple(first + corner)
            np.testing.assert_allclose((affine @ [*corner, 1])[:3], centers[there], atol=1e-6)
            assert part[corner].values == whole[there].values
        for name in "zyx":
            assert part[name].values.tolist() == whole[name].values[
                first["zyx".index(name)] : last["zyx".index(name)] + 1
            ].tolist()  # fmt: skip


@places
def test_a_point_gives_the_voxel_that_it_lies_in(volume_of, place):
    volume = volume_of(slices=SHAPE[0], **place)
    centers = grid(volume)
    for index in [(0, 0, 0), (7, 20, 33), (19, 31, 39)]:
        x, y, z = centers[index]
        voxel = volume.sel_mm(x=x, y=y, z=z)
        assert voxel.shape == (1, 1, 1)
        assert voxel.values.item() == volume.array[index]
        assert voxel.attrs["first_index"] == list(index)


def test_ends_that_are_left_out_are_those_of_the_volume(volume_of):
    volume = volume_of(slices=SHAPE[0])
    xr.testing.assert_identical(volume.sel_mm().drop_attrs(), volume.to_xarray().drop_attrs())
    z = volume.to_xarray()["z"].values
    assert volume.sel_mm(z=slice(z[3], None)).shape == (17, 32, 40)
    assert volume.sel_mm(z=slice(-1e9, z[3])).shape == (4, 32, 40)
    assert volume.sel_mm(z=slice(z[3] - 1, z[3] + 1)).shape == (1, 32, 40)  # a slice, edge to edge


def test_uneven_slices_are_chosen_where_they_are(volume_of):
    volume = volume_of(slices=SHAPE[0], edit=uneven)
    assert volume.verdict.code == "variable"
    for number, place in enumerate(UNEVEN):
        part = volume.sel_mm(z=place)
        assert part["z"].values.tolist() == [pytest.approx(place)]
        np.testing.assert_array_equal(part.values[0], volume.array[number])
    inside = (UNEVEN >= 20) & (UNEVEN <= 40)
    chosen = volume.sel_mm(z=slice(20, 40))["z"].values
    assert set(UNEVEN[inside]) <= set(chosen.round(6))
    assert len(chosen) <= inside.sum() + 2


def test_further_axes_stay_whole(volume_of):
    def colour(dataset, index):
        dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "RGB", 3
        dataset.PlanarConfiguration = 0
        dataset.PixelData = bytes(dataset.Rows * dataset.Columns * 3)
        del dataset.RescaleSlope, dataset.RescaleIntercept

    volume = volume_of(
        slices=4, edit=colour, bits_allocated=8, bits_stored=8, intercept=0, window=None
    )
    assert volume.axes == ("c", "z", "y", "x")
    part = volume.sel_mm(z=volume.affine_lps[2, 3])
    assert part.shape == (3, 1, 32, 40)


@pytest.mark.parametrize(
    ("box", "told"),
    [
        (
            {"x": slice(500, 600)},
            "nothing of the volume is in this box; it spans x -120.4 to -88.4",
        ),
        ({"y": slice(3, 1)}, "y ends before it begins: 3 to 1"),
        ({"z": slice(1, 3, 2)}, r"z is slice\(from, to\) or a number, in mm"),
        ({"z": "middle"}, r"z is slice\(from, to\) or a number, in mm, got 'middle'"),
        ({"x": (1, 2)}, r"x is slice\(from, to\)"),
        ({"x": math.nan}, r"x is slice\(from, to\)"),
        ({"level": 7}, "level must be 0 to"),
    ],
)
def test_what_is_no_box_is_told(volume_of, box, told):
    with pytest.raises(OptionError, match=told):
        volume_of(slices=3).sel_mm(**box)


def test_images_without_a_place_have_no_boxes(volume_of, unplaced):
    volume = volume_of(slices=3, edit=unplaced, modality="OT")
    with pytest.raises(OptionError, match="no place in the patient: use to_xarray"):
        volume.sel_mm(x=3)


def test_the_tree_has_every_level(volume_of):
    volume = volume_of(slices=SHAPE[0], options=SMALL)
    tree = volume.to_datatree()
    assert sorted(tree.children) == [str(level) for level in range(len(volume.levels))]
    for level in range(len(volume.levels)):
        xr.testing.assert_identical(
            tree[f"{level}/image"].drop_attrs(),
            volume.to_xarray(level).drop_attrs().rename("image"),
        )
        assert tree[f"{level}/image"].attrs["affine_lps"] == volume.affine(level).tolist()
    assert tree.attrs["verdict"] == "regular"


# ------------------------------------------------------------------------------- what is read


@pytest.fixture
def reads(monkeypatch):
    """Give the list of (key, byte range, size) that is read; zarr joins no reads.

    It would, where the bytes between two chunks are fewer than 1 MiB.
    """
    with zarr.config.set({"array.sharding_coalesce_max_gap_bytes": 0}):
        yield spy_on_reads(monkeypatch)


def span(byte_range, size):
    match byte_range:
        case None:
            return 0, size
        case zarr.abc.store.RangeByteRequest(start, end):
            return start, end
        case zarr.abc.store.SuffixByteRequest(suffix):
            return size - suffix, size
        case zarr.abc.store.OffsetByteRequest(offset):
            return offset, size


@pytest.mark.parametrize("values", [{}, {"slope": 0.5, "intercept": 3.25}],
                         ids=["integer", "rescaled"])  # fmt: skip
@pytest.mark.parametrize("place", [PLACES["axial"], PLACES["oblique"]], ids=["axial", "oblique"])
@pytest.mark.parametrize("how", ["sel", "sel_mm"])
def test_only_chunks_that_a_box_touches_are_read(tmp_path, reads, values, place, how):
    made = synth.series(tmp_path / "in", slices=SHAPE[0], **values, **place)
    ingest(made.folder, tmp_path / "a", options=SMALL)
    volume = open_archive(tmp_path / "a")[made.series_uid]
    whole = volume.to_xarray()
    folder = tmp_path / "a" / volume.key
    shard, chunk = volume.array.shards, volume.array.chunks
    assert math.prod(shard) > math.prod(chunk)
    rng = np.random.default_rng(5)
    for box, _, _ in boxes(volume, 20, seed=4):
        if how == "sel_mm":
            part = volume.sel_mm(**box)
            first = part.attrs["first_index"]
        else:
            first = [int(rng.integers(size - 1)) for size in SHAPE]
            ends = [int(rng.integers(a + 1, size)) for a, size in zip(first, SHAPE, strict=True)]
            part = whole.sel({
                name: slice(whole[name].values[a] - 1e-6, whole[name].values[b - 1] + 1e-6)
                for name, a, b in zip("zyx", first, ends, strict=True)
            })  # fmt: skip
        reads.clear()
        part.compute()
        allowed, keys = touched(folder, first, part.shape, shard, chunk)
        spans = [(key, *span(part, size)) for key, part, size in reads if "/c/" in key]
        assert {key for key, _, _ in spans} == keys
        for key, begin, end in spans:
            assert set(range(begin, end)) <= allowed[key]


def touched(folder, first, shape, shard, chunk):
    """Return the bytes of the chunks that an index box touches, and of the index, by shard."""
    per_shard = [s // c for s, c in zip(shard, chunk, strict=True)]
    chunks = product(
        *(range(a // c, (a + n - 1) // c + 1) for a, n, c in zip(first, shape, chunk, strict=True))
    )
    allowed = {}
    for place in chunks:
        key = "0/c/" + "/".join(str(p // n) for p, n in zip(place, per_shard, strict=True))
        data = (folder / key).read_bytes()
        length = math.prod(per_shard) * 16 + 4
        index = np.frombuffer(data[-length:-4], "<u8").reshape(*per_shard, 2)
        begin, size = index[tuple(p % n for p, n in zip(place, per_shard, strict=True))]
        known = allowed.setdefault(key, set(range(len(data) - length, len(data))))
        known.update(range(int(begin), int(begin) + int(size)))
    return allowed, set(allowed)
