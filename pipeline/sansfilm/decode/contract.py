"""What a decoder backend is."""

from typing import Protocol, runtime_checkable

import numpy as np

from sansfilm.model import FrameSpec


@runtime_checkable
class FrameDecoder(Protocol):
    """One library that decodes frames; stateless, safe to call from several threads."""

    name: str
    transfer_syntaxes: frozenset[str]
    requires: str
    """What to install, for people."""

    def missing(self, transfer_syntax: str) -> str:
        """Return why the syntax cannot be decoded here; "" if it can."""
        ...

    def decode(self, frame: bytes, spec: FrameSpec) -> np.ndarray:
        """Decode one frame.

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
