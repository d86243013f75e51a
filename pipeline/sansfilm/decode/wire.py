"""What a process and its guard say to each other: one JSON text for each line.

Nothing is pickled: a codec that has gone wrong may answer nonsense, but cannot make anybody run
its code. A frame costs a few bytes each way: its description is sent once for all that share it,
and where it lies both sides work out themselves.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import Decoded, Decoding, FrameSpec

LONGEST = 2**16
"""Bytes of what is said of a frame; ours are a few, or a few hundred of one that failed."""
_FIELDS = tuple(field.name for field in fields(FrameSpec) if field.name != "lut")


@dataclass(frozen=True, slots=True)
class Request:
    """Frames to be decoded, which lie in an area of `size`, the one of that number.

    `frames` are (description, bytes of the codestream). `distrusted` are the decoders that are not
    to be used, each for a transfer syntax.
    """

    area: int
    size: int
    frames: tuple[tuple[FrameSpec, int], ...]
    how: Decoding
    distrusted: tuple[tuple[str, str], ...] = ()


def pack_request(request: Request) -> bytes:
    """Return a request as a line; lookup tables are no matter of decoders and stay at home."""
    specs: list[FrameSpec] = []
    kinds: list[int] = []
    for spec, _ in request.frames:  # nearly always like the one before
        if not specs or (spec is not specs[-1] and spec != specs[-1]):
            specs.append(spec)
        kinds.append(len(specs) - 1)
    how = request.how
    return _line([
        request.area, request.size, request.distrusted,
        [how.prefer, how.seconds, how.crosscheck],
        [_packed(spec) for spec in specs],
        kinds, [length for _, length in request.frames],
    ])  # fmt: skip


def unpack_request(line: bytes) -> Request:
    """Return the request of a line."""
    area, size, distrusted, (prefer, seconds, crosscheck), packed, kinds, lengths = json.loads(line)
    specs = [_unpacked(tuple(values)) for values in packed]
    return Request(
        area, size,
        tuple((specs[kind], length) for kind, length in zip(kinds, lengths, strict=True)),
        Decoding(tuple(prefer), seconds, crosscheck),
        tuple((name, syntax) for name, syntax in distrusted),
    )  # fmt: skip


def pack_answers(answers: Iterable[Decoded], *, last: bool) -> bytes:
    """Return what came of the frames of a request as a line; their values are in the area.

    `last` says that the process ends after it.
    """
    return _line([last, [_answer(done) for done in answers]])


def unpack_answers(line: bytes, count: int) -> tuple[list[Decoded], bool]:
    """Return the answers of a line to a request of so many frames, and whether it is the last.

    Raises
    ------
    ValueError
        If it is none.
    """
    match json.loads(line):
        case [bool() as last, [*answers]] if len(answers) == count:
            return [_unanswer(answer) for answer in answers], last
    raise ValueError("no answer")


def _answer(done: Decoded) -> Any:
    if done.error is not None:
        return ["", done.notes, done.error.code.value, done.error.message[:2000]]
    return [done.decoder, done.notes] if done.notes else done.decoder


def _unanswer(answer: Any) -> Decoded:
    match answer:
        case str():
            return _good(answer)
        case [str() as decoder, [*notes], *error] if _are_texts(notes) and _are_texts(error):
            if not error:
                return Decoded(decoder=decoder, notes=tuple(notes))
            code, message = error
            return Decoded(error=BadInstanceError(ProblemCode(code), message), notes=tuple(notes))
    raise ValueError("no answer")


@lru_cache(maxsize=16)
def _good(decoder: str) -> Decoded:
    return Decoded(decoder=decoder)


def _are_texts(values: Sequence[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


@lru_cache(maxsize=256)
def _packed(spec: FrameSpec) -> tuple[Any, ...]:
    return tuple(getattr(spec, name) for name in _FIELDS)


@lru_cache(maxsize=256)
def _unpacked(values: tuple[Any, ...]) -> FrameSpec:
    return FrameSpec(**dict(zip(_FIELDS, values, strict=True)))
