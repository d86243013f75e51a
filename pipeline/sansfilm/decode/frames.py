"""The story of a frame: its codestream becomes stored values, or it is said why not."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from sansfilm.decode import codestream, syntaxes
from sansfilm.decode.canaries import Health
from sansfilm.decode.codestream import Codestream
from sansfilm.decode.contract import FrameDecoder
from sansfilm.decode.registry import candidates
from sansfilm.decode.stored import to_stored
from sansfilm.errors import BadInstanceError, FrameDecodeError, ProblemCode
from sansfilm.model import Decoded, Decoding, FrameSpec

Encoded = tuple[bytes | memoryview, FrameSpec]
"""A frame to be decoded: its codestream, and what the dataset says of it."""


def decode_frame(
    frame: bytes | memoryview,
    spec: FrameSpec,
    prefer: Sequence[str],
    out: np.ndarray | None = None,
    *,
    health: Health | None = None,
    twice: bool = False,
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
    health : Health, optional
        Which decoders are trusted; without it, all.
    twice : bool, optional
        Whether a lossless frame is decoded again by the next decoder, and compared.

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
    able = candidates(spec, found, prefer)
    for place, decoder in enumerate(able):
        if health and not health.trusts(decoder, spec.transfer_syntax):
            refusals.append(f"{decoder.name}: is wrong for a known image")
            continue
        try:
            stored = _decoded(decoder, frame, spec, found, out)
        except FrameDecodeError as exc:
            refusals.append(str(exc))
        except MemoryError:
            refusals.append(f"{decoder.name}: asks for more memory than a frame may have")
        else:
            if health and twice and spec.transfer_syntax in syntaxes.LOSSLESS:
                rest = able[place + 1 :]
                return _compared(decoder, stored, rest, frame, spec, found, health)
            return stored, decoder.name
    raise BadInstanceError(ProblemCode.DECODE_FAILED, "; ".join(refusals))


def decode_batch(
    frames: Iterable[Encoded],
    out: Iterable[np.ndarray],
    how: Decoding,
    health: Health | None = None,
) -> Iterator[Decoded]:
    """Decode frames one by one into the arrays of `out`; a bad one is an error among the results.

    Parameters
    ----------
    frames : iterable of (codestream, spec)
        The next is taken when the one before is done.
    out : iterable of ndarray
        For each frame, of shape ``spec.shape`` and dtype ``spec.container``.
    how : Decoding
    health : Health, optional
        Which decoders are trusted; without it, all, and no frame is decoded twice.

    Yields
    ------
    Decoded
        In the order of `frames`.
    """
    for (frame, spec), place in zip(frames, out, strict=True):
        twice = health is not None and health.is_due(how.crosscheck)
        done, decoder, error = None, "", None
        try:
            done, decoder = decode_frame(frame, spec, how.prefer, place, health=health, twice=twice)
        except BadInstanceError as exc:
            error = exc
        except Exception as exc:  # a decoder's own mistake costs its frame
            message = f"the decoder failed: {type(exc).__name__}"
            error = BadInstanceError(ProblemCode.DECODE_FAILED, message)
        yield Decoded(done, decoder, error, health.take_notes() if health else ())


def _compared(
    first: FrameDecoder,
    stored: np.ndarray,
    others: Sequence[FrameDecoder],
    frame: bytes | memoryview,
    spec: FrameSpec,
    found: Codestream | None,
    health: Health,
) -> tuple[np.ndarray, str]:
    """Decode a frame again with another decoder and hold the values against each other.

    Where they differ, both decode their golden image once more; who is right with that is
    believed.

    Raises
    ------
    BadInstanceError
        DECODE_FAILED if both are right with that.
    """
    syntax = spec.transfer_syntax
    for second in others:
        if not health.trusts(second, syntax):
            continue
        try:
            again = _decoded(second, frame, spec, found, None)
        except (FrameDecodeError, MemoryError):  # it knows less of the syntax: no witness
            continue
        if np.array_equal(stored, again):
            break
        right = [one for one in (first, second) if health.trusts(one, syntax, again=True)]
        if len(right) != 1:
            message = f"{first.name} and {second.name} decode it to different values"
            raise BadInstanceError(ProblemCode.DECODE_FAILED, message)
        if right == [second]:
            stored[...] = again
        return stored, right[0].name
    return stored, first.name


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
    if stored is not out and not np.may_share_memory(stored, out):
        out[...] = stored
    return out


def _as_codec(out: np.ndarray | None, found: Codestream | None) -> np.ndarray | None:
    """View `out` as the dtype that a codec gives for a codestream; None if it is not as wide."""
    if out is None or found is None:
        return None
    width = 1 if found.precision <= 8 else 2 if found.precision <= 16 else 4
    if width != out.itemsize:
        return None
    kind = "i" if found.signed else "u"
    return out if out.dtype.kind == kind else out.view(f"{kind}{width}")
