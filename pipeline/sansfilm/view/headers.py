"""The headers of a volume's instances, byte for byte, and as pydicom datasets."""

import io
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pydicom
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from sansfilm.errors import OptionError

if TYPE_CHECKING:
    from sansfilm.view.volume import Volume


def header_bytes(volume: "Volume", frame: int) -> bytes:
    """Return the bytes of a frame's instance up to Pixel Data and any after it; never deflated.

    Raises
    ------
    OptionError
        If there is no such frame.
    """
    table = volume.frames
    if not 0 <= frame < len(table):
        raise OptionError(f"frame must be 0 to {len(table) - 1}, got {frame}")
    row = table.iloc[frame]
    start, length = int(row["header_offset"]), int(row["header_length"])
    return np.asarray(volume.header_array[start : start + length]).tobytes()


def headers(volume: "Volume") -> list[pydicom.Dataset]:
    """See Volume.headers."""
    table = volume.frames
    first = ~table["sop_instance_uid"].duplicated().to_numpy()
    return [
        _dataset(header_bytes(volume, int(frame)), table["transfer_syntax"].iloc[frame])
        for frame in np.flatnonzero(first)
    ]


def _dataset(data: bytes, transfer_syntax: str) -> pydicom.Dataset:
    if transfer_syntax == DeflatedExplicitVRLittleEndian:
        # pydicom reads what the file meta information says: deflate the dataset once more
        stream = io.BytesIO(data)
        stream.seek(132)
        read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
        engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        meta = stream.tell()
        data = data[:meta] + engine.compress(data[meta:]) + engine.flush()
    return pydicom.dcmread(io.BytesIO(data))
