"""What a process and its guard say to each other: one JSON text for each line.

Nothing is pickled: a codec that has gone wrong may answer nonsense, but cannot make anybody run
its code.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import Decoded, Decoding, FrameSpec

LONGEST = 2**16
"""Bytes of an answer; ours have a few hundred."""
_FIELDS = tuple(field.name for field in fields(FrameSpec) if field.name != "lut")


@dataclass(frozen=True, slots=True)
class Request:
    """Frames to be decoded: where codestreams lie in an area of `size`, and where values go.

    `frames` are (description, start, length of the codestream, start of the values).
    """

    size: int
    frames: tuple[tuple[FrameSpec, int, int, int], ...]
    how: Decoding


def pack_request(request: Request) -> bytes:
    """Return a request as a line; lookup tables are no matter of decoders and stay at home."""
    specs = list(dict.fromkeys(spec for spec, *_ in request.frames))
    numbers = {spec: number for number, spec in enumerate(specs)}
    how = request.how
    return _line([
        request.size,
        [how.prefer, how.seconds, how.crosscheck],
        [_packed(spec) for spec in specs],
        [[numbers[spec], *places] for spec, *places in request.frames],
    ])  # fmt: skip


def unpack_request(line: bytes) -> Request:
    """Return the request of a line."""
    size, (prefer, seconds, crosscheck), packed, frames = json.loads(line)
    specs = [_unpacked(tuple(values)) for values in packed]
    return Request(
        size,
        tuple((specs[number], *places) for number, *places in frames),
        Decoding(tuple(prefer), seconds, crosscheck),
    )


def pack_answer(done: Decoded) -> bytes:
    """Return what came of a frame as a line; its values are in the area."""
    if done.error is None:
        return _line([done.decoder, done.notes])
    message = done.error.message[:2000]
    return _line(["", done.notes, done.error.code.value, message])


def unpack_answer(line: bytes) -> Decoded:
    """Return the answer of a line.

    Raises
    ------
    ValueError
        If it is none.
    """
    decoder, notes, *error = _texts(json.loads(line))
    if not error:
        return Decoded(decoder=decoder, notes=tuple(notes))
    code, message = error
    return Decoded(error=BadInstanceError(ProblemCode(code), message), notes=tuple(notes))


def _texts(answer: Any) -> Sequence[Any]:
    match answer:
        case [str(), [*notes]] | [str(), [*notes], str(), str()] if all(
            isinstance(note, str) for note in notes
        ):
            return list(answer)
    raise ValueError("no answer")


def _line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


@lru_cache(maxsize=256)
def _packed(spec: FrameSpec) -> tuple[Any, ...]:
    return tuple(getattr(spec, name) for name in _FIELDS)


@lru_cache(maxsize=256)
def _unpacked(values: tuple[Any, ...]) -> FrameSpec:
    return FrameSpec(**dict(zip(_FIELDS, values, strict=True)))
