"""Keeps the pictures that tests looked at, for people, in the folder SANSFILM_PICTURES."""

import os
from pathlib import Path

from PIL import Image


def keep(name, picture):
    folder = os.environ.get("SANSFILM_PICTURES")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(
            Path(folder) / f"{name.replace(', ', '-').replace(' ', '-')}.png"
        )
