"""What this machine can do: decoders per transfer syntax, GPU, storage, versions."""

import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from sansfilm.decode import device_backends
from sansfilm.decode.registry import broken, table
from sansfilm.options import Options
from sansfilm_kernels import gpu_available

_PACKAGES = ("sansfilm", "numpy", "imagecodecs", "pylibjpeg", "pylibjpeg-openjpeg",
             "pylibjpeg-rle", "pydicom", "zarr", "dask", "distributed", "fsspec", "s3fs",
             "cupy-cuda13x")  # fmt: skip
_STORAGE = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}


def examine() -> dict[str, Any]:
    """Return everything that `doctor` reports."""
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": {name: _version(name) for name in _PACKAGES},
        "gpu": gpu_available(),
        "storage": {
            "local": "yes",
            **{
                name: "yes" if find_spec(package) else f"no: install {package}"
                for name, package in _STORAGE.items()
            },
        },
        "decoders": table(Options().prefer),
        "gpu_decoders": device_backends.table(),
        "broken_decoders": broken(Options().prefer) | device_backends.broken(),
    }


def print_findings(findings: dict[str, Any]) -> None:
    """Print them for people."""
    print(f"Python {findings['python']} on {findings['machine']}")
    for name, found in findings["versions"].items():
        print(f"  {name:20} {found}")
    print(f"GPU: {'yes' if findings['gpu'] else 'none; all runs on the CPU'}")
    for name, state in findings["storage"].items():
        print(f"storage {name:6} {state}")
    print("decoders per transfer syntax, in the order they are tried:")
    _print_decoders(findings["decoders"])
    print("decoders on the GPU:")
    _print_decoders(findings["gpu_decoders"])
    for name, reason in findings["broken_decoders"].items():
        print(f"  decoder {name}: {reason}")


def _print_decoders(rows: list[dict[str, str]]) -> None:
    syntax = ""
    for row in rows:
        name = row["name"] if row["name"] != syntax else ""
        syntax = row["name"]
        reads = f"{row['bits']} bits{', also signed' * (row['signed'] == 'yes')}"
        line = f"  {name:38} {row['decoder']:12} {row['state']:13} {reads:25} {row['missing']}"
        print(line.rstrip())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
