"""What a decoder backend is, and what it says of itself."""

from collections.abc import Sequence
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


NOT_READ = "does not read it"
"""Of `DeviceDecoder.decode_batch`: a frame that is for others, which is nothing to report."""


@runtime_checkable
class DeviceDecoder(Protocol):
    """One way to decode many frames at once on a GPU; used by one thread at a time."""

    name: str
    device: str
    """"gpu"."""
    reads: tuple[Reads, ...]
    requires: str
    """What to install, for people."""

    def missing(self, transfer_syntax: str) -> str:
        """Return why the syntax cannot be decoded here; "" if it can."""
        ...

    def decode_batch(
        self, frames: Sequence[tuple[bytes, FrameSpec]], out: Sequence[np.ndarray]
    ) -> Sequence[str]:
        """Decode frames into arrays of the host.

        Parameters
        ----------
        frames : sequence of (codestream, spec)
            Of syntaxes and samples that `reads` has.
        out : sequence of ndarray
            For each, of shape ``spec.shape`` and the dtype that the codestream asks for (RLE: the
            unsigned one of Bits Allocated); as `FrameDecoder.decode` gives it.

        Returns
        -------
        sequence of str
            For each frame "" if it is there, NOT_READ, or what went wrong: others decode it.

        Raises
        ------
        MemoryError
            If they are too many for the memory of the device.
        """
        ...
