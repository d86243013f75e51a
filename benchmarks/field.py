"""Who runs: sansfilm, the floor, and what people would use in their place."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

SCRIPTS = Path(__file__).with_name("contenders")
KINDS = ("raw", "j2k", "jpegls", "htj2k", "rle")


def _beside(out: Path, name: str, uid: str) -> Path:
    return out / f"{name}.ome.zarr"


def _in_archive(out: Path, name: str, uid: str) -> Path:
    (record,) = (out / "series" / uid).glob("*/_commit.json")
    return record.parent


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A way to convert a folder of series.

    `rounding` is how far a voxel of a level may be from the exact mean, rounded half up, and still
    be what the contender says that it does: 0, or 1 where levels are made from rounded levels.
    """

    name: str
    title: str
    packages: Sequence[str]
    command: Callable[[Path, Path], list[str]]
    volume: Callable[[Path, str, str], Path] = _beside
    rounding: int = 1
    slow: bool = False
    """Run in the first and the last round only: nobody is in doubt about it."""

    def versions(self) -> dict[str, str]:
        """Return what is installed of what it is made of."""
        return {name: version(name) for name in self.packages}


def _script(name: str) -> Callable[[Path, Path], list[str]]:
    return lambda folder, out: [sys.executable, str(SCRIPTS / f"{name}.py"), str(folder), str(out)]


def _sansfilm(*options: str) -> Callable[[Path, Path], list[str]]:
    def command(folder: Path, out: Path) -> list[str]:
        return [sys.executable, "-m", "sansfilm", "ingest", *options, str(folder), str(out)]

    return command


_OURS = ("sansfilm", "imagecodecs", "numpy", "pydicom", "pyarrow")
_DECODERS = ("pydicom", "pylibjpeg-openjpeg", "pyjpegls", "pylibjpeg-rle")
SANSFILM, FLOOR = "sansfilm", "floor"
FIELD = (
    Contender(name=SANSFILM, title="sansfilm", packages=_OURS, command=_sansfilm(),
              volume=_in_archive, rounding=0),
    Contender(name="sansfilm-1", title="sansfilm, one worker", packages=_OURS,
              command=_sansfilm("--workers", "1"), volume=_in_archive, rounding=0),
    Contender(name=FLOOR, title="the floor", packages=("imagecodecs", "numpy", "google-crc32c"),
              command=_script("floor"), rounding=0),
    Contender(name="careful", title="a careful script: two processes, whole shards, integer means",
              packages=(*_DECODERS, "numpy", "zarr"), command=_script("careful")),
    Contender(name="naive", title="a naive script: pydicom, zarr-python",
              packages=(*_DECODERS, "numpy", "zarr"), command=_script("naive"), slow=True),
    Contender(name="highdicom", title="highdicom, zarr-python", slow=True,
              packages=("highdicom", *_DECODERS, "zarr"), command=_script("highdicom_zarr")),
    Contender(name="sitk-ngff", title="SimpleITK, ngff-zarr", slow=True,
              packages=("SimpleITK", "ngff-zarr", "zarr"), command=_script("sitk_ngff")),
    Contender(name="ngff-zarr", title="ngff-zarr's command", slow=True,
              packages=("ngff-zarr", "SimpleITK", "zarr"), command=_script("ngff_command")),
    Contender(name="dcm2niix", title="dcm2niix, nibabel, ngff-zarr", slow=True,
              packages=("dcm2niix", "nibabel", "ngff-zarr"), command=_script("dcm2niix_ngff")),
)  # fmt: skip
BY_NAME = {contender.name: contender for contender in FIELD}
