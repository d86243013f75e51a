"""ngff-zarr's own command, one call for each series, by the backend that reads folders."""

import subprocess
import sys
from pathlib import Path

import ome


def convert(folder: Path, out: Path) -> None:
    """Ask for means and shards; which levels there are is the command's own choice."""
    command = [
        str(Path(sys.executable).with_name("ngff-zarr")), "-q", "--input-backend", "itk",
        "-i", str(folder), "-o", str(out), "-m", "dask_bin_shrink", "-c", "64",
        "--chunks-per-shard", "1", "8", "8", "--codec", "blosc:zstd", "--compression-level", "3",
    ]  # fmt: skip
    subprocess.run(command, check=True)


if __name__ == "__main__":
    ome.main(convert)
