"""Run all GPU tests and all measurements of `gpu_measures`, and write one JSON about them.

`make gpu` calls it. It needs an NVIDIA GPU, its driver and sansfilm[gpu], and says so where one of
them is missing.
"""

import argparse
import ctypes
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import traceback
from datetime import UTC, datetime
from importlib import import_module, metadata
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = (
    "sansfilm", "numpy", "imagecodecs", "cupy-cuda13x", "nvidia-nvjpeg2k-cu13",
    "nvidia-nvimgcodec-cu13", "nvidia-nvjpeg", "nvidia-nvcomp-cu13",
)  # fmt: skip
CURE = "run `make gpu` on a machine with an NVIDIA GPU and its driver; nothing was run"


def missing() -> str | None:
    """Return why there is no GPU here, None if there is one; asks the driver, not CuPy."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no driver of an NVIDIA GPU (libcuda.so.1)"
    count = ctypes.c_int()
    failed = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    return None if not failed and count.value else f"the driver sees no GPU (error {failed})"


def machine(cupy) -> dict:
    """Return what a reader has to know to compare the figures with others."""
    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(cupy.cuda.Device().id)
    gpu = {
        "name": properties["name"].decode(),
        "compute capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": properties["multiProcessorCount"],
        "memory bytes": properties["totalGlobalMem"],
        "driver": runtime.driverGetVersion(),
        "runtime": runtime.runtimeGetVersion(),
        "devices": runtime.getDeviceCount(),
    }
    return {
        "gpu": gpu,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": _commit(),
    }


def measured(measures) -> dict:
    """Call each; what raises is told, and the others are measured all the same."""
    found = {}
    for name, measure in measures.items():
        start = time.perf_counter()
        print(name, flush=True)
        try:
            entry = {"results": measure()}
        except Exception as error:
            traceback.print_exc()
            entry = {"error": f"{type(error).__name__}: {error}"}
        found[name] = entry | {"seconds": round(time.perf_counter() - start, 1)}
    return found


def tested(*arguments: str) -> dict:
    """Run the tests that need a GPU; return how many passed, and the names of the others."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={path}", *arguments]
        code = subprocess.run(command, cwd=ROOT).returncode
        cases = list(ElementTree.parse(path).iter("testcase")) if path.exists() else []
    found = {"exit": code, "passed": 0, "failed": [], "skipped": {}}
    for case in cases:
        name = f"{case.get('classname')}::{case.get('name')}"
        skipped = case.find("skipped")
        if skipped is not None:
            found["skipped"][name] = skipped.get("message")
        elif case.find("failure") is not None or case.find("error") is not None:
            found["failed"].append(name)
        else:
            found["passed"] += 1
    return found


def write(report: dict, folder: Path) -> Path:
    """Write a report under the name of its GPU and day; one of the same day is written over."""
    slug = re.sub(r"[^a-z0-9]+", "-", report["machine"]["gpu"]["name"].lower()).strip("-")
    path = folder / f"gpu-{slug}-{report['date'][:10]}.json"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return path


def is_good(report: dict) -> bool:
    """Return whether tests ran and passed, and nothing measured failed or was wrong."""
    tests, measures = report["tests"], report["measurements"]
    ran = tests["exit"] == 0 and tests["passed"] > 0 and not tests["failed"]
    return ran and not any("error" in entry or _is_wrong(entry) for entry in measures.values())


def main(arguments=None, measures=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only tell whether there is a GPU")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    if reason := missing():
        print(f"No GPU: {reason}.\nCure: {CURE}.", file=sys.stderr)
        return 1
    if options.check:
        return 0
    try:
        cupy = import_module("cupy")
    except ImportError as error:
        print(f"No CuPy: {error}.\nCure: install sansfilm[gpu].", file=sys.stderr)
        return 1
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(cupy),
        "tests": tested("-m", "gpu", "tests"),
        "measurements": measured(measures or import_module("gpu_measures").MEASURES),
    }
    print(f"Written to {write(report, options.results)}")
    return 0 if is_good(report) else 1


def _is_wrong(entry) -> bool:
    """Find ``exact: false`` or a number of wrong frames at any depth."""
    if isinstance(entry, dict):
        told = entry.get("exact") is False or bool(entry.get("wrong"))
        return told or any(map(_is_wrong, entry.values()))
    return isinstance(entry, list) and any(map(_is_wrong, entry))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.processor()
    found = re.search(r"model name\s*:\s*(.*)", text)
    return found[1] if found else platform.processor()


def _commit() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() or None


if __name__ == "__main__":
    sys.exit(main())
