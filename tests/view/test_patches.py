"""Patches for training: the same in every process, read where they are, and nowhere else.

PyTorch is too large for the tests: where it is not installed, a module stands in for the one
function that is used of it.
"""

import importlib.util
import multiprocessing
import os
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
import synth
from spying import spy_on_reads

import sansfilm
from sansfilm.errors import MissingPackageError, OptionError
from sansfilm.options import Options, Storage

SMALL = Options(storage=Storage(chunk=8, slab=8, smallest=8))
SHAPES = ((20, 32, 40), (24, 40, 32), (5, 32, 40))
OBLIQUE = (0, 0.8, -0.6, 0.6, 0.48, 0.64)


@pytest.fixture(scope="module", autouse=True)
def torch(tmp_path_factory):
    """Give PyTorch, or a module for it that spawned processes find as well."""
    if importlib.util.find_spec("torch") is not None:
        yield
        return
    folder = tmp_path_factory.mktemp("stand-in")
    (folder / "torch.py").write_text("def from_numpy(array):\n    return array\n")
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    sys.modules.pop("torch", None)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Three volumes; the last has fewer slices than a patch."""
    folder = tmp_path_factory.mktemp("patches")
    for seed, (slices, rows, columns) in enumerate(SHAPES):
        synth.series(
            folder / "in" / str(seed), slices=slices, rows=rows, columns=columns, seed=seed,
            orientation=OBLIQUE if seed else (1, 0, 0, 0, 1, 0),
        )  # fmt: skip
    sansfilm.ingest(folder / "in", folder / "a", options=SMALL)
    return sansfilm.open(folder / "a")


def plain(item):
    """Return an item with arrays, to be compared and to travel."""
    return {
        name: np.asarray(part) if hasattr(part, "shape") else part for name, part in item.items()
    }


def expect_same(one, other):
    assert one.keys() == other.keys()
    for name, part in one.items():
        np.testing.assert_array_equal(part, other[name], err_msg=name)


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("how", [{"samples_per_volume": 5}, {"patch_overlap": (0, 2, 3)}])
def test_a_patch_is_that_part_of_its_volume(archive, level, how):
    patches = archive.patches((8, 10, 12), level=level, **how)
    seen = set()
    for index in range(0, len(patches), 3):
        item = plain(patches[index])
        volume = archive[item["volume_id"]]
        whole = volume.to_xarray(level).values
        part = whole[
            tuple(slice(a, a + n) for a, n in zip(item["start"], (8, 10, 12), strict=True))
        ]
        assert item["image"].shape == (1, 8, 10, 12)
        assert item["image"].dtype == np.float32
        assert tuple(item["valid"]) == part.shape
        inside = tuple(map(slice, part.shape))
        np.testing.assert_array_equal(item["image"][0][inside], part)
        outside = np.ones((8, 10, 12), bool)
        outside[inside] = False
        assert (item["image"][0][outside] == volume.array[:].min()).all()
        corner = volume.affine(level) @ [*item["start"], 1]
        np.testing.assert_allclose(item["affine"] @ [0, 0, 0, 1], corner)
        np.testing.assert_allclose(item["affine"][:3, :3], volume.affine(level)[:3, :3])
        assert (item["series_uid"], item["level"]) == (volume.series_uid, level)
        seen.add(item["volume_id"])
    assert len(seen) == 3


def test_the_grid_covers_every_voxel(archive):
    patches = archive.patches((8, 10, 12), patch_overlap=(2, 0, 3))
    covered = {volume.volume_id: np.zeros(volume.array.shape, int) for volume in archive}
    for index in range(len(patches)):
        item = patches[index]
        covered[item["volume_id"]][
            tuple(slice(a, a + n) for a, n in zip(np.asarray(item["start"]),
                                                  np.asarray(item["valid"]), strict=True))
        ] += 1  # fmt: skip
    for counts in covered.values():
        assert (counts > 0).all()
    shapes = {volume.volume_id: volume.array.shape for volume in archive}
    expected = sum(
        np.prod([max(1, -(-(n - o) // (p - o))) for n, p, o in zip(shape, (8, 10, 12), (2, 0, 3),
                                                                  strict=True)])
        for shape in shapes.values()
    )  # fmt: skip
    assert len(patches) == expected


def test_random_patches_are_anywhere_and_never_over_the_edge(archive):
    patches = archive.patches((4, 8, 8), samples_per_volume=40)
    starts = {}
    for index in range(len(patches)):
        item = patches[index]
        starts.setdefault(item["volume_id"], []).append(np.asarray(item["start"]))
        assert tuple(np.asarray(item["valid"])) == (4, 8, 8)
    for name, found in starts.items():
        room = np.array(archive[name].array.shape) - (4, 8, 8)
        assert (np.min(found, axis=0) <= room * 0.2).all()
        assert (np.max(found, axis=0) >= room * 0.8).all()


def test_seed_epoch_and_index_decide_and_nothing_else(archive):
    def starts(seed, epoch):
        patches = archive.patches((4, 8, 8), samples_per_volume=4, seed=seed)
        patches.set_epoch(epoch)
        return [tuple(np.asarray(patches[n]["start"])) for n in range(len(patches))]

    assert starts(0, 0) == starts(0, 0)
    assert len({tuple(starts(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9
    patches = archive.patches((4, 8, 8), samples_per_volume=4)
    backwards = [patches[n] for n in reversed(range(len(patches)))]
    assert [tuple(np.asarray(item["start"])) for item in reversed(backwards)] == starts(0, 0)


def double(item):
    return {**item, "image": item["image"] * 2}


def test_a_transform_has_the_last_word(archive):
    one, other = (archive.patches(8, samples_per_volume=2, transform=t) for t in (None, double))
    np.testing.assert_array_equal(other[3]["image"], one[3]["image"] * 2)


# --------------------------------------------------------------------------------- processes


def work(pickled, indices):
    patches = pickle.loads(pickled)
    return os.getpid(), [plain(patches[index]) for index in indices]


def test_spawned_workers_read_the_same(archive):
    patches = archive.patches((8, 10, 12), samples_per_volume=4, seed=7, transform=double)
    patches.set_epoch(3)
    mine = [plain(patches[index]) for index in range(len(patches))]
    pickled = pickle.dumps(patches)  # after it has opened volumes
    assert len(pickled) < 20_000
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        shares = [range(first, len(patches), 2) for first in range(2)]
        done = list(pool.map(work, [pickled] * 2, shares))
    for share, (process, items) in zip(shares, done, strict=True):
        assert process != os.getpid()
        for index, item in zip(share, items, strict=True):
            expect_same(item, mine[index])


@pytest.mark.filterwarnings("ignore:This process .*fork:DeprecationWarning")
def test_a_forked_worker_opens_volumes_for_itself(archive):
    """A child has the parent's memory: what is open there must not be used."""
    patches = archive.patches((8, 10, 12), samples_per_volume=4)
    mine, opened = plain(patches[5]), patches._open.cache_info().currsize
    assert opened == 1
    theirs = patches._target
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        try:
            item = plain(patches[5])
            told = (item, patches._target is theirs, patches._open.cache_info().misses)
            with os.fdopen(writer, "wb") as stream:
                pickle.dump(told, stream)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        item, same_target, misses = pickle.load(stream)
    os.waitpid(child, 0)
    expect_same(item, mine)
    assert not same_target
    assert misses == 1


def test_patches_of_an_archive_elsewhere(tmp_path):
    made = synth.series(tmp_path / "in", slices=9)
    url = "memory://sansfilm-patches/archive"
    sansfilm.ingest(made.folder, url, workers=1)
    patches = sansfilm.open(url).patches(8, samples_per_volume=3)
    assert patches[2]["series_uid"] == made.series_uid
    assert pickle.loads(pickle.dumps(patches)).patch_size == (8, 8, 8)


# ------------------------------------------------------------------------------- what is read


def bytes_of(part, size):
    """Return how long a range of an object is."""
    if part is None:
        return size
    return part.suffix if hasattr(part, "suffix") else part.end - part.start


def test_only_chunks_that_a_patch_touches_are_read(archive, monkeypatch):
    read = spy_on_reads(monkeypatch)
    patches = archive.patches((8, 8, 8), level=1, samples_per_volume=6)
    assert read == []
    for index in range(len(patches)):
        read.clear()
        patches[index]
        parts = [(key, part, size) for key, part, size in read if "/c/" in key]
        assert {key.partition("/")[0] for key, _, _ in parts} == {"1"}
        volume = archive[patches[index]["volume_id"]]
        chunks = np.prod([size // chunk for size, chunk in zip(
            volume.levels[1].shards, volume.levels[1].chunks, strict=True)])  # fmt: skip
        assert (
            sum(bytes_of(part, size) for _, part, size in parts)
            <= 2 * 8 * volume.levels[1].dtype.itemsize * 8**3 + chunks * 16 * 8
        )


def test_making_a_dataset_reads_no_volume(archive, monkeypatch):
    def get(self, key, *more):
        raise AssertionError(key)

    rows = archive.rows()
    monkeypatch.setattr(type(archive._target), "get", get)
    monkeypatch.setattr(archive, "rows", lambda: rows)
    assert len(archive.patches(8, samples_per_volume=9)) == 27
    assert len(archive.patches(8)) > 27


# --------------------------------------------------------------------------------- axes, values


def test_times_and_colours_are_channels(tmp_path):
    uids = {"series_uid": "1.2.840.99.1", "study_uid": "1.2.840.99.2"}

    def at(number):
        def change(dataset, index):
            dataset.TriggerTime = 40.0 * number

        return change

    for number in range(3):
        synth.series(tmp_path / "in", slices=6, seed=number, modality="MR", edit=at(number),
                     slope=0.5, **uids)  # fmt: skip
    sansfilm.ingest(tmp_path / "in", tmp_path / "a")
    archive = sansfilm.open(tmp_path / "a")
    item = plain(archive.patches((4, 8, 8))[0])
    (volume,) = archive
    assert item["image"].shape == (3, 4, 8, 8)
    np.testing.assert_array_equal(item["image"], volume.to_xarray().values[:, :4, :8, :8])


def test_padding_fills_what_is_not_there(tmp_path):
    synth.series(tmp_path / "in", slices=3, padding=0)
    sansfilm.ingest(tmp_path / "in", tmp_path / "a")
    item = plain(sansfilm.open(tmp_path / "a").patches((6, 8, 8))[0])
    assert (item["image"][0, 3:] == -1024).all()
    assert item["valid"].tolist() == [3, 8, 8]


# ---------------------------------------------------------------------------------- wrong calls


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ({"patch_size": 0}, r"patch_size is a number or three \(z, y, x\), 1 or more, got 0"),
        ({"patch_size": (8, 8)}, r"patch_size is a number or three .*, got \(8, 8\)"),
        ({"patch_size": 8.5}, "patch_size is a number or three .*, got 8.5"),
        ({"patch_overlap": 8}, "patch_overlap must be below patch_size"),
        ({"patch_overlap": -1}, "patch_overlap is a number or three"),
        ({"samples_per_volume": 0}, "samples_per_volume must be 1 or more, got 0"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"level": 9}, r"3 of 3 volumes have no level 9: .*; all have 0 to \d"),
        ({"level": -1}, "3 of 3 volumes have no level -1"),
    ],
)
def test_a_wrong_call_is_told(archive, call, told):
    with pytest.raises(OptionError, match=told):
        archive.patches(**({"patch_size": 8} | call))


def test_an_index_that_is_not_there(archive):
    patches = archive.patches(8, samples_per_volume=2)
    for index in (-1, 6):
        with pytest.raises(IndexError, match=r"patch must be 0 to 5"):
            patches[index]
    assert len(list(patches)) == 6
    with pytest.raises(OptionError, match="epoch must be 0 or more"):
        patches.set_epoch(-1)
    assert repr(patches).endswith("6 patches of 8 x 8 x 8, level 0, 2 a volume>")


def test_volumes_without_a_place_are_told_with_the_cure(tmp_path, unplaced):
    synth.series(tmp_path / "in", slices=3, edit=unplaced, modality="OT")
    sansfilm.ingest(tmp_path / "in", tmp_path / "a")
    archive = sansfilm.open(tmp_path / "a")
    with pytest.raises(
        OptionError, match=r"1 of 1 volumes have no place in the patient: .* select"
    ):
        archive.patches(8)


def test_without_pytorch_the_cure_is_told(archive, monkeypatch):
    patches = archive.patches(8)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingPackageError, match="PyTorch is needed: pip install torch"):
        patches[0]


def test_a_selection_without_volumes_has_no_patches(archive):
    assert len(archive.select(date=("19000101", "19000101")).patches(8)) == 0


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore")  # PyTorch's own
def test_in_a_dataloader(archive, method):
    data = pytest.importorskip("torch.utils.data", reason="PyTorch is too large for the tests")
    patches = archive.patches((4, 8, 8), samples_per_volume=4)
    alone = [plain(patches[n]) for n in range(len(patches))]
    loader = data.DataLoader(patches, batch_size=3, num_workers=2, multiprocessing_context=method)
    batches = list(loader)
    assert [tuple(batch["image"].shape) for batch in batches] == [(3, 1, 4, 8, 8)] * 4
    images = np.concatenate([batch["image"].numpy() for batch in batches])
    np.testing.assert_array_equal(images, np.stack([item["image"] for item in alone]))
    assert [name for batch in batches for name in batch["volume_id"]] == [
        item["volume_id"] for item in alone
    ]
    assert batches[0]["affine"].shape == (3, 4, 4)
