"""Which decoder reads which frames, in which order, and why one is missing.

A backend is named by its import path and loaded when it is first asked for: ours here, those of
other distributions by their entry points of the group ``sansfilm.decoders``.
"""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

import numpy as np

from sansfilm.decode import syntaxes
from sansfilm.decode.codestream import Codestream
from sansfilm.decode.contract import FrameDecoder, Reads
from sansfilm.errors import BadInstanceError, FrameDecodeError, OptionError, ProblemCode
from sansfilm.model import FrameSpec

GROUP = "sansfilm.decoders"
OURS = {
    "native": "sansfilm.decode.native:NativeDecoder",
    "imagecodecs": "sansfilm.decode.imagecodecs_backend:ImagecodecsDecoder",
    "pylibjpeg": "sansfilm.decode.pylibjpeg_backend:PylibjpegDecoder",
}


class _Broken:
    """Stands for a backend of somebody else that cannot be loaded, and says why."""

    reads: tuple[Reads, ...] = ()
    requires = "a version that can be loaded"

    def __init__(self, name: str, reason: str) -> None:
        self.name, self._reason = name, reason

    def missing(self, transfer_syntax: str) -> str:
        """See FrameDecoder."""
        return self._reason

    def decode(self, frame: bytes | memoryview, spec: FrameSpec, out: Any = None) -> np.ndarray:
        """Never called: it reads nothing."""
        raise FrameDecodeError(self._reason)


@cache
def _others() -> dict[str, str]:
    """Return import paths of the backends that other distributions bring; ours win."""
    return {entry.name: entry.value for entry in entry_points(group=GROUP)} | OURS


def names() -> tuple[str, ...]:
    """Return the names of all backends, ours first."""
    return tuple(dict.fromkeys((*OURS, *sorted(_others()))))


@cache
def backend(name: str) -> FrameDecoder:
    """Load a backend by name, once.

    Raises
    ------
    OptionError
        If there is no backend of that name.
    """
    path = OURS.get(name) or _others().get(name)
    if path is None:
        raise OptionError(f"no decoder named {name!r}; there are {', '.join(names())}")
    module, _, attribute = path.partition(":")
    try:
        decoder: object = getattr(import_module(module), attribute)()
    except Exception as exc:  # whatever the import of somebody else's module raises
        if name in OURS:
            raise
        decoder = _Broken(name, f"{name} cannot be loaded: {type(exc).__name__}: {exc}")
    if isinstance(decoder, FrameDecoder):
        return decoder
    return _Broken(name, f"{name} is no FrameDecoder")


def knows(decoder: FrameDecoder, transfer_syntax: str) -> bool:
    """Tell whether a decoder says that it reads frames of a syntax, be it installed or not."""
    return any(transfer_syntax in reads.transfer_syntaxes for reads in decoder.reads)


@cache
def readers(transfer_syntax: str, prefer: tuple[str, ...]) -> tuple[FrameDecoder, ...]:
    """Return the decoders that are there and know a syntax, in the order of preference."""
    known = (backend(name) for name in prefer)
    return tuple(one for one in known
                 if knows(one, transfer_syntax) and not one.missing(transfer_syntax))  # fmt: skip


def candidates(
    spec: FrameSpec, found: Codestream | None, prefer: Sequence[str]
) -> Sequence[FrameDecoder]:
    """Return the decoders that read a frame, in the order of preference; at least one.

    Raises
    ------
    BadInstanceError
        UNSUPPORTED_SYNTAX, or MISSING_CODEC with what each decoder says.
    """
    syntax, prefer = spec.transfer_syntax, tuple(prefer)
    sample = found.precision if found else spec.bits_allocated
    kind = (syntax, sample, spec.samples_per_pixel, found is not None and found.signed)
    if able := _able(prefer, *kind):
        return able
    if syntax not in syntaxes.NAMES:
        message = f"transfer syntax {syntax[:64]} is not decoded"
        raise BadInstanceError(ProblemCode.UNSUPPORTED_SYNTAX, message)
    reasons = "; ".join(
        f"{name}: {backend(name).missing(syntax) or _why_not(name, *kind)}" for name in prefer
    )
    raise BadInstanceError(ProblemCode.MISSING_CODEC, f"{syntaxes.NAMES[syntax]}: {reasons}")


@cache
def _able(
    prefer: tuple[str, ...], syntax: str, bits: int, samples: int, signed: bool
) -> tuple[FrameDecoder, ...]:
    """Return the decoders that are there and read such samples."""
    return tuple(one for one in readers(syntax, prefer)
                 if not _why_not(one.name, syntax, bits, samples, signed))  # fmt: skip


@cache
def _why_not(name: str, transfer_syntax: str, bits: int, samples: int, signed: bool) -> str:
    """Return why a decoder does not read frames of such samples; "" if it does."""
    reasons = [
        reads.why_not(bits, samples, signed=signed)
        for reads in backend(name).reads
        if transfer_syntax in reads.transfer_syntaxes
    ]
    return "" if "" in reasons else reasons[0] if reasons else "does not know the syntax"


def table(prefer: Sequence[str]) -> list[dict[str, str]]:
    """Return one row per transfer syntax and decoder that knows it.

    Each has uid and name of the syntax, decoder, bits and samples that it reads, ``state``
    ("used", "next", "not preferred" or "missing"), and what is missing.
    """
    order = (*prefer, *(name for name in names() if name not in prefer))
    rows = []
    for uid, name in syntaxes.NAMES.items():
        used = False
        for decoder in map(backend, order):
            missing = decoder.missing(uid)
            for reads in decoder.reads:
                if uid not in reads.transfer_syntaxes:
                    continue
                state = "missing" if missing else "next" if used else "used"
                if not missing and decoder.name not in prefer:
                    state = "not preferred"
                used = used or state == "used"
                rows.append({
                    "uid": uid, "name": name, "decoder": decoder.name, "state": state,
                    "bits": "{}-{}".format(*reads.bits), "signed": "yes" if reads.signed else "no",
                    "samples": ", ".join(map(str, sorted(reads.samples))),
                    "missing": f"{missing}; install {decoder.requires}" if missing else "",
                })  # fmt: skip
    return rows


def broken(prefer: Sequence[str]) -> dict[str, str]:
    """Return the backends that are named or brought by others but cannot be loaded, and why."""
    return {
        name: backend(name).missing("")
        for name in dict.fromkeys((*prefer, *names()))
        if not backend(name).reads
    }
