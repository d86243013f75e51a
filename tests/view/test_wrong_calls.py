"""What researchers ask for that is not there: errors that name the choices, or the cure."""

import pytest
import synth

import sansfilm
import sansfilm_kernels
from sansfilm.errors import DeviceError, IntegrityError, OptionError, VolumeNotFoundError
from sansfilm.options import Options, Storage

SMALL = Options(storage=Storage(chunk=8, slab=8, smallest=10))


class Place:
    """An archive, and series in it: sound ones, and those that something was done to."""

    def __init__(self, folder):
        self.folder = folder / "a"
        names = ("sound", "mixed", "open", "bent", "hit")
        self.uids = {}
        for seed, name in enumerate(names):
            made = synth.series(folder / "in" / name, slices=12, seed=seed)
            self.uids[name] = made.series_uid
        uids = {"series_uid": self.uids["mixed"], "study_uid": f"{synth._ROOT}.1.2"}
        synth.series(folder / "in" / "more", slices=4, rows=16, seed=9, **uids)
        sansfilm.ingest(folder / "in", self.folder, options=SMALL)
        self.archive = sansfilm.open(self.folder)
        self.volume = self.archive[self.uids["sound"]]
        self.earlier = self.archive.select()
        (self.at("open") / "_commit.json").unlink()
        text = (self.at("bent") / "zarr.json").read_text()
        (self.at("bent") / "zarr.json").write_text(text.replace('"affine_lps"', '"affine_lpz"'))
        shard = next(path for path in (self.at("hit") / "0" / "c").rglob("*") if path.is_file())
        data = bytearray(shard.read_bytes())
        data[len(data) // 3] ^= 8
        shard.write_bytes(data)

    def at(self, name):
        """Return where the one volume of a series is."""
        (folder,) = (self.folder / "series" / self.uids[name]).iterdir()
        return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("wrong"))


LEVELS = r"level must be 0 to 2, got 7"
WINDOWS = "no window named 'lungs'; there are abdomen, bone, brain, liver, lung, "
ASKED = {
    "unknown series": (
        lambda p: p.archive["1.2.3"], VolumeNotFoundError,
        r"no series or volume 1\.2\.3 in .*; it has 4 series \(1\..*, .*, 1\..*, 1\..*\): see "),
    "several volumes": (
        lambda p: p.archive[p.uids["mixed"]], VolumeNotFoundError,
        r"has 2 volumes, name one by its volume_id: \w{16,}, \w{16,}"),
    "not committed": (
        lambda p: p.archive[p.uids["open"]], VolumeNotFoundError, "no series or volume 1"),
    "not committed, found before": (
        lambda p: p.earlier[p.uids["open"]], VolumeNotFoundError, "no committed volume at "),
    "damaged metadata": (
        lambda p: p.archive[p.uids["bent"]], IntegrityError, "zarr.json: is damaged: see `sansfil"),
    "damaged voxels": (
        lambda p: p.archive[p.uids["hit"]].to_xarray().compute(), Exception, "(?i)crc32c|checksum"),
    "window of window": (lambda p: p.volume.window("lungs"), OptionError, WINDOWS),
    "window of show": (lambda p: p.volume.show("lungs"), OptionError, WINDOWS),
    "window without width": (
        lambda p: p.volume.window((40, 0)), OptionError, "width"),
    "window of three": (
        lambda p: p.volume.window((1, 2, 3)), OptionError, r"a window is a name or \(center"),
    "axis of show": (
        lambda p: p.volume.show(t=1), OptionError, "no axis 't' to choose from; there are: none"),
    "level of patches": (
        lambda p: p.archive.select(modality="CT").patches(8, level=7), OptionError,
        r"5 of 5 volumes have no level 7: .*; all have 0 to 2"),
    "modality": (
        lambda p: p.archive.select(modality="XA"), OptionError, "'XA'; there are: CT"),
    "device": (
        lambda p: p.volume.to_xarray(device="mps"), OptionError, "device is cpu or gpu, got 'mps'"),
    "no GPU": (
        lambda p: p.volume.to_xarray(device="gpu"), DeviceError, r"install sansfilm\[gpu\]"),
    "plane": (
        lambda p: p.volume.mpr("transverse"), OptionError, "plane is axial, coronal, sagittal or"),
    "sample": (
        lambda p: sansfilm.samples("ct"), OptionError, "there are ct-head-j2k, ct-tilt-jpegls"),
    "file": (
        lambda p: p.volume.export("x.png"), OptionError, r"\.nii, \.nii\.gz .*, \.nrrd or \.mha"),
    "source": (
        lambda p: sansfilm.read(p.folder / "nowhere"), FileNotFoundError, "nowhere"),
    "archive": (
        lambda p: sansfilm.open(p.folder / "nowhere"), FileNotFoundError, "no sansfilm archive at"),
}  # fmt: skip
OF_A_LEVEL = (
    "to_xarray", "affine", "factors", "window", "show", "sel_mm", "to_nibabel", "to_sitk",
    "to_itk_dict", "mpr", "mip",
)  # fmt: skip


@pytest.mark.parametrize("asked", ASKED)
def test_it_is_told_what_there_is(place, asked, monkeypatch):
    monkeypatch.setattr(sansfilm_kernels, "gpu_available", lambda: False)
    call, error, told = ASKED[asked]
    with pytest.raises(error, match=told):
        call(place)


@pytest.mark.parametrize("method", OF_A_LEVEL)
@pytest.mark.parametrize("level", [7, -1])
def test_a_level_that_is_not_there(place, method, level):
    with pytest.raises(OptionError, match=f"level must be 0 to 2, got {level}"):
        getattr(place.volume, method)(level=level)


def test_a_level_that_is_not_there_of_the_others(place, tmp_path):
    with pytest.raises(OptionError, match=LEVELS):
        place.volume.export(tmp_path / "x.nii", level=7)
    with pytest.raises(OptionError, match=LEVELS):
        place.volume.resample(1, level=7)
    assert list(tmp_path.iterdir()) == []


def test_what_is_sound_is_not_hurt_by_what_is_not(place):
    rows = place.archive.rows()
    assert len(rows) == 5
    assert place.archive[place.uids["sound"]].to_xarray().compute().shape == (12, 32, 40)
