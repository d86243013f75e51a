"""Known codestreams, decoded before a decoder is trusted with a syntax in a process.

Wrong pixels are worse than none. The folder ``golden`` holds one codestream for each syntax, of
an image that is a formula, and ``manifest.json`` who encoded it, the largest error that a lossy
one may have, and its SHA-256. They are the work of this project and under its licence;
``tests/data/make_golden.py`` makes them. Together they take a few milliseconds, most of them for
loading the codecs; each is run when its decoder first meets its syntax, so that a process loads
no codec that it does not need.
"""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sansfilm.decode import codestream, syntaxes
from sansfilm.decode.contract import FrameDecoder
from sansfilm.decode.stored import to_stored
from sansfilm.errors import SansfilmError
from sansfilm.model import FrameSpec

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).with_name("golden")
ROWS, COLUMNS = 40, 36


def image(bits: int) -> np.ndarray:
    """Return the golden image: a slope with ripples, uint8 for 8 bits and uint16 for 12."""
    y, x = np.indices((ROWS, COLUMNS))
    values = 60 * y + 40 * x + 3 * (x * y % 7)  # at most 3758
    return (values >> 4).astype(np.uint8) if bits == 8 else values.astype(np.uint16)


@cache
def golden() -> dict[str, dict[str, Any]]:
    """Return what is known of each codestream, by transfer syntax."""
    found: dict[str, dict[str, Any]] = json.loads((FOLDER / "manifest.json").read_text())
    return found


def fails(decoder: FrameDecoder, transfer_syntax: str) -> str:
    """Decode the golden codestream of a syntax; return what is wrong, "" if nothing is.

    Syntaxes without one pass.
    """
    about = golden().get(transfer_syntax)
    if about is None:
        return ""
    frame = (FOLDER / f"{transfer_syntax}.bin").read_bytes()
    if hashlib.sha256(frame).hexdigest() != about["sha256"]:
        return "the golden codestream itself is damaged: install sansfilm again"
    expected = image(about["bits"])
    allocated = expected.itemsize * 8
    spec = FrameSpec(transfer_syntax, ROWS, COLUMNS, 1, allocated, about["bits"],
                     about["bits"] - 1, 0, "MONOCHROME2")  # fmt: skip
    try:
        raw = decoder.decode(frame, spec)
        stored = to_stored(raw, spec, codestream.sniff(frame, spec))
    except (SansfilmError, MemoryError) as exc:
        return f"it does not decode it: {type(exc).__name__}"
    worst = int(np.abs(stored.astype(int) - expected).max())
    return "" if worst <= about["largest_error"] else f"values differ by up to {worst}"


def why_not(decoder: str, transfer_syntax: str, reason: str) -> str:
    """Say that a decoder is not used for a syntax any more: what the report tells of it."""
    name = syntaxes.NAMES.get(transfer_syntax, transfer_syntax)
    return f"{decoder} is not used for {name} here: of a known image, {reason}"


class Health:
    """Which decoders are trusted in this process with which syntax, and what there is to report.

    `on_trial` is told the name of a decoder before it decodes a golden image, and "" after that:
    it may crash or hang.
    """

    def __init__(self) -> None:
        self.on_trial: Callable[[str], None] = lambda name: None
        self._wrong: dict[tuple[str, str], str] = {}
        self._frames = 0
        self._notes: list[str] = []

    def trusts(self, decoder: FrameDecoder, transfer_syntax: str, *, again: bool = False) -> bool:
        """Tell whether a decoder gives the golden image of a syntax; it is asked once."""
        key = decoder.name, transfer_syntax
        if key not in self._wrong or (again and not self._wrong[key]):
            self.on_trial(decoder.name)
            self._wrong[key] = reason = fails(decoder, transfer_syntax)
            self.on_trial("")
            if reason:
                self._notes.append(why_not(decoder.name, transfer_syntax, reason))
        return not self._wrong[key]

    def distrust(self, decoder: str, transfer_syntax: str) -> None:
        """Do not use a decoder for a syntax: another process has seen and told why."""
        self._wrong[decoder, transfer_syntax] = "seen before"

    def is_due(self, one_in: int) -> bool:
        """Count a frame; tell whether it is one that is to be decoded twice."""
        self._frames += 1
        return one_in > 0 and self._frames % one_in == 0

    def take_notes(self) -> tuple[str, ...]:
        """Return what has not been reported yet."""
        if not self._notes:
            return ()
        notes, self._notes = tuple(self._notes), []
        return notes
