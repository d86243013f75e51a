"""Peak memory of the whole process tree: 350 MB per worker and three raw slabs."""

import subprocess
import sys
import threading
import time

import imagecodecs
import multiframe
import numpy as np
import psutil
import pydicom
import pytest
import slides
import synth

MB = 10**6
SLAB = 64 * 512 * 512 * 2


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    folder = tmp_path_factory.mktemp("series")
    synth.series(folder, slices=256, rows=512, columns=512, transfer_syntax=synth.HTJ2K)
    return folder


@pytest.mark.parametrize("workers", [None, 1, 2])
def test_peak_memory_is_bounded(series, tmp_path, workers):
    arguments = [] if workers is None else ["--workers", str(workers)]
    process = subprocess.Popen(
        [sys.executable, "-m", "sansfilm", "ingest", str(series), str(tmp_path / "a"), *arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    peak = watch(process)
    assert process.returncode == 0
    assert peak < (workers or 1) * 350 * MB + 3 * SLAB, f"{peak / MB:.0f} MB"


def test_peak_memory_of_a_slide(tmp_path):
    """A level of 8192 x 8192 pixels of three samples is 201 MB, a slab 50 MB."""
    made = slides.slide(tmp_path / "dicom", sizes=[(256, 256)], tile=(256, 256))
    ds = pydicom.dcmread(made.paths[0])
    frame = bytes(imagecodecs.jpeg8_encode(ds.pixel_array, 80))
    ds.PhotometricInterpretation = "YBR_FULL_422"
    ds.file_meta.TransferSyntaxUID = synth.JPEG_BASELINE
    ds.TotalPixelMatrixRows = ds.TotalPixelMatrixColumns = 8192
    ds.NumberOfFrames = 1024
    del ds.PixelData
    multiframe.write_encapsulated(ds, [frame] * 1024, made.paths[0])
    assert peak_of(tmp_path) < 350 * MB + 3 * 4096 * 4096 * 3


def test_peak_memory_of_a_long_multiframe(tmp_path):
    """5,000 frames are 655 MB."""
    (tmp_path / "dicom").mkdir()
    path = tmp_path / "dicom" / "long.dcm"
    picture = np.repeat(np.arange(256, dtype=np.uint16), 256).reshape(1, 256, 256)
    multiframe.plain(path, picture, bits=12, transfer_syntax=synth.RLE)
    ds = pydicom.dcmread(path)
    frame = synth.encode(picture[0], synth.RLE, 12)
    ds.NumberOfFrames = 5000
    del ds.PixelData
    multiframe.write_encapsulated(ds, [frame] * 5000, path)
    assert peak_of(tmp_path) < 350 * MB + 3 * 64 * 256 * 256 * 2


def test_peak_memory_hardly_grows_with_the_number_of_series(tmp_path):
    """With all frames and plans kept to the end, the 2,400 instances more cost 23 MB; now 2."""
    peaks = []
    for count in (120, 360):
        folder = tmp_path / str(count)
        for number in range(count):
            synth.series(
                folder / "dicom" / str(number), slices=10, series_uid=f"1.2.{number}", seed=number
            )
        peaks.append(peak_of(folder))
    assert peaks[1] - peaks[0] < 7 * MB, peaks


def peak_of(folder):
    sources = str(folder / "dicom"), str(folder / "a")
    process = subprocess.Popen(
        [sys.executable, "-m", "sansfilm", "ingest", *sources, "--workers", "1"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    peak = watch(process)
    assert process.returncode == 0
    return peak


def watch(process):
    """Return the largest sum of resident memory of a process and its children, sampled at 50 Hz."""
    peak, root = 0, psutil.Process(process.pid)
    done = threading.Event()
    threading.Thread(target=lambda: (process.wait(), done.set()), daemon=True).start()
    while not done.wait(0.02):
        total = 0
        for child in [root, *children(root)]:
            try:
                total += child.memory_info().rss
            except psutil.Error:
                continue
        peak = max(peak, total)
        time.sleep(0)
    return peak


def children(root):
    try:
        return root.children(recursive=True)
    except psutil.Error:
        return []
