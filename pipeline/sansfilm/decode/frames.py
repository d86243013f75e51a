"""The story of a frame: its codestream becomes stored values, or it is said why not."""

from collections.abc import Iterator, Sequence

import numpy as np

from sansfilm.decode import codestream
from sansfilm.decode.codestream import Codestream
from sansfilm.decode.contract import FrameDecoder
from sansfilm.decode.registry import candidates
from sansfilm.decode.stored import to_stored
from sansfilm.errors import BadInstanceError, FrameDecodeError, ProblemCode
from sansfilm.model import Decoded, Decoding, FrameSpec

Encoded = tuple[bytes | memoryview, FrameSpec]
"""A frame to be decoded: its codestream, and what the dataset says of it."""


def decode_frame(
    frame: bytes | memoryview, spec: FrameSpec, prefer: Sequence[str], out: np.ndarray | None = None
) -> tuple[np.ndarray, str]:
    """Decode one frame to stored values with the first decoder that reads it, in this process.

    Parameters
    ----------
    frame : bytes
    spec : FrameSpec
    prefer : sequence of str
        Names of decoders in the order they are tried.
    out : ndarray, shape ``spec.shape``, dtype ``spec.container``, optional
        Where the values go.

    Returns
    -------
    stored : ndarray, shape ``spec.shape``
        `out`, or a new array of dtype ``spec.container``. Colour as it is stored, not yet RGB
        where ``spec.ybr`` or a palette says so.
    decoder : str
        Name of the backend.

    Raises
    ------
    BadInstanceError
        UNSUPPORTED_SYNTAX, MISSING_CODEC, CODESTREAM_MISMATCH or DECODE_FAILED.
    """
    found = codestream.sniff(frame, spec)
    if found is not None:
        codestream.check(found, spec)
    refusals = []
    for decoder in candidates(spec, found, prefer):
        try:
            return _decoded(decoder, frame, spec, found, out), decoder.name
        except FrameDecodeError as exc:
            refusals.append(str(exc))
        except MemoryError:
            refusals.append(f"{decoder.name}: asks for more memory than a frame may have")
    raise BadInstanceError(ProblemCode.DECODE_FAILED, "; ".join(refusals))


def decode_batch(
    frames: Sequence[Encoded], out: Sequence[np.ndarray], how: Decoding
) -> Iterator[Decoded]:
    """Decode frames one by one into the arrays of `out`; a bad one is an error among the results.

    Parameters
    ----------
    frames : sequence of (codestream, spec)
    out : sequence of ndarray
        For each frame, of shape ``spec.shape`` and dtype ``spec.container``.
    how : Decoding

    Yields
    ------
    Decoded
        In the order of `frames`.
    """
    for (frame, spec), place in zip(frames, out, strict=True):
        try:
            yield Decoded(*decode_frame(frame, spec, how.prefer, place))
        except BadInstanceError as exc:
            yield Decoded(error=exc)


def _decoded(
    decoder: FrameDecoder,
    frame: bytes | memoryview,
    spec: FrameSpec,
    found: Codestream | None,
    out: np.ndarray | None,
) -> np.ndarray:
    """Decode a frame with one decoder; straight into `out` where the codec's words fit there."""
    stored = to_stored(decoder.decode(frame, spec, _as_codec(out, found)), spec, found)
    if out is None:
        return stored
    if not np.may_share_memory(stored, out):
        out[...] = stored
    return out


def _as_codec(out: np.ndarray | None, found: Codestream | None) -> np.ndarray | None:
    """View `out` as the dtype that a codec gives for a codestream; None if it is not as wide."""
    if out is None or found is None:
        return None
    width = 1 if found.precision <= 8 else 2 if found.precision <= 16 else 4
    return out.view(f"{'i' if found.signed else 'u'}{width}") if width == out.itemsize else None
