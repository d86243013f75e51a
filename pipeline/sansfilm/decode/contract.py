"""What a decoder backend is, and what it says of itself."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from sansfilm.model import FrameSpec

GREY = frozenset({1})
GREY_OR_COLOUR = frozenset({1, 3})


@dataclass(frozen=True, slots=True)
class Reads:
    """Frames that a decoder gives back right: the syntaxes, and which samples in them.

    `bits` are the fewest and the most of a sample: of the codestream where it says its own, of
    Bits Allocated where frames are words. `signed`: also codestreams whose samples have a sign.
    """

    transfer_syntaxes: frozenset[str]
    bits: tuple[int, int]
    signed: bool = False
    samples: frozenset[int] = GREY_OR_COLOUR

    def why_not(self, bits: int, samples: int, *, signed: bool) -> str:
        """Return why frames of such samples are not among these; "" if they are."""
        least, most = self.bits
        if not least <= bits <= most:
            return f"reads samples of {least} to {most} bits, not {bits}"
        if signed and not self.signed:
            return "reads no samples with a sign"
        if samples not in self.samples:
            return f"reads no pixels of {samples} samples"
        return ""


@runtime_checkable
class FrameDecoder(Protocol):
    """One library that decodes frames; stateless, safe to call from several threads."""

    name: str
    reads: tuple[Reads, ...]
    requires: str
    """What to install, for people."""

    def missing(self, transfer_syntax: str) -> str:
        """Return why the syntax cannot be decoded here; "" if it can."""
        ...

    def decode(
        self, frame: bytes | memoryview, spec: FrameSpec, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Decode one frame.

        Parameters
        ----------
        frame : bytes or memoryview
        spec : FrameSpec
        out : ndarray, optional
            Of the shape and dtype that the codestream asks for. A decoder that can write into it
            saves a copy; one that cannot leaves it alone.

        Returns
        -------
        ndarray, shape (rows, columns) or (rows, columns, samples), integer or floating
            As the codec gives it, samples last whatever their order in the frame;
            `stored.to_stored` applies DICOM's rules afterwards.

        Raises
        ------
        FrameDecodeError
            If the library refuses the codestream.
        """
        ...
