"""Which decoder reads which transfer syntax, in which order, and why one is missing."""

from collections.abc import Sequence
from functools import cache
from importlib import import_module

import numpy as np

from sansfilm.decode import codestream, syntaxes
from sansfilm.decode.contract import FrameDecoder
from sansfilm.decode.stored import to_stored
from sansfilm.errors import BadInstanceError, FrameDecodeError, OptionError, ProblemCode
from sansfilm.model import FrameSpec

_BACKENDS = {
    "native": "sansfilm.decode.native:NativeDecoder",
    "imagecodecs": "sansfilm.decode.imagecodecs_backend:ImagecodecsDecoder",
    "pylibjpeg": "sansfilm.decode.pylibjpeg_backend:PylibjpegDecoder",
}


@cache
def backend(name: str) -> FrameDecoder:
    """Load a backend by name, once.

    Raises
    ------
    OptionError
        If there is no backend of that name.
    """
    if name not in _BACKENDS:
        raise OptionError(f"no decoder named {name!r}; there are {', '.join(_BACKENDS)}")
    module, _, attribute = _BACKENDS[name].partition(":")
    decoder: FrameDecoder = getattr(import_module(module), attribute)()
    return decoder


@cache
def _candidates(transfer_syntax: str, prefer: tuple[str, ...]) -> tuple[FrameDecoder, ...]:
    readers = (backend(name) for name in prefer)
    return tuple(reader for reader in readers if not reader.missing(transfer_syntax))


def decode_frame(frame: bytes, spec: FrameSpec, prefer: Sequence[str]) -> tuple[np.ndarray, str]:
    """Decode one frame to stored values with the first decoder that reads it.

    Returns
    -------
    stored : ndarray, shape ``spec.shape``
        Dtype ``spec.container``. Colour as it is stored, not yet RGB where ``spec.ybr`` or a
        palette says so.
    decoder : str
        Name of the backend.

    Raises
    ------
    BadInstanceError
        UNSUPPORTED_SYNTAX, MISSING_CODEC, CODESTREAM_MISMATCH or DECODE_FAILED.
    """
    syntax = spec.transfer_syntax
    decoders = _candidates(syntax, tuple(prefer))
    if not decoders:
        if syntax not in syntaxes.NAMES:
            message = f"transfer syntax {syntax[:64]} is not decoded"
            raise BadInstanceError(ProblemCode.UNSUPPORTED_SYNTAX, message)
        reasons = "; ".join(f"{name}: {backend(name).missing(syntax)}" for name in prefer)
        raise BadInstanceError(ProblemCode.MISSING_CODEC, f"{syntaxes.NAMES[syntax]}: {reasons}")
    found = codestream.sniff(frame, spec)
    if found is not None:
        codestream.check(found, spec)
    refusals = []
    for decoder in decoders:
        try:
            return to_stored(decoder.decode(frame, spec), spec, found), decoder.name
        except FrameDecodeError as exc:
            refusals.append(str(exc))
    raise BadInstanceError(ProblemCode.DECODE_FAILED, "; ".join(refusals))


def table(prefer: Sequence[str]) -> list[dict[str, str]]:
    """Return one row per transfer syntax: uid, name, decoder in use, and what is missing."""
    rows = []
    for uid, name in syntaxes.NAMES.items():
        able = [decoder.name for decoder in _candidates(uid, tuple(prefer))]
        absent = [
            f"{other}: {backend(other).missing(uid)}"
            for other in prefer
            if uid in backend(other).transfer_syntaxes and other not in able
        ]
        rows.append({"uid": uid, "name": name, "decoders": ", ".join(able),
                     "missing": "; ".join(absent)})  # fmt: skip
    return rows
