"""Opens series in windows of napari, where there is a screen, and keeps their pictures.

python napari_window.py FOLDER...      writes FOLDER/axial.png, coronal.png, sagittal.png
"""

import sys
import time
from pathlib import Path

from PIL import Image
from qtpy.QtWidgets import QApplication

import sansfilm

for folder in map(Path, sys.argv[1:]):
    (volume,) = sansfilm.read(folder / "in")
    for plane in ("axial", "coronal", "sagittal"):
        viewer = volume.napari(plane=plane)
        viewer.window.resize(1000, 760)
        for _ in range(10):
            QApplication.processEvents()
            time.sleep(0.03)
        picture = viewer.screenshot(canvas_only=True, flash=False)
        Image.fromarray(picture[..., :3]).save(folder / f"{plane}.png")
        viewer.close()
