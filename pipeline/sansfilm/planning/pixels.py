"""What a slab needs of a source: the codestream of a frame, and the instance's header."""

import contextlib
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import Frame, PixelLocation
from sansfilm.planning import dataset
from sansfilm.planning.frames import FrameBytes
from sansfilm.planning.recent import RECENT
from sansfilm.planning.source import AT_ONCE, WHOLE, Source

UNCHANGED_S = 10
"""Seconds for which a large remote file that was found unchanged is not asked for again."""

_KEPT: dict[str, tuple[bytes, bytes]] = {}
"""The deflated dataset of several frames that was read last, by its digest: each of them would
take the whole of it. It stays in memory until the next one."""
_ASKED: dict[tuple[str, str], float] = {}
"""When large remote files were asked whether they have changed."""


def read_frame(frame: Frame, outside: bool = True) -> tuple[bytes | memoryview, bytes]:
    """Read the codestream of a frame and, if asked for, everything outside Pixel Data.

    Returns
    -------
    codestream : bytes or memoryview
        The fragments joined, or the words of an uncompressed frame; a part of what was read
        where it is in one piece.
    header : bytes
        ``frame.pixels.header_length`` bytes: preamble, file meta information and elements up
        to Pixel Data, then any after it. A deflated dataset comes inflated. b"" unless
        `outside`.

    Raises
    ------
    BadInstanceError
        SOURCE_CHANGED if the file is not the one that was planned, UNREADABLE if it cannot be
        read any more.
    """
    where = frame.pixels
    # With its header the only frame of an instance is read for the last time.
    kept = RECENT.get(frame.uri, frame.sha256, last=outside and frame.of == 1)
    try:
        with Source(frame.uri, frame.size, frame.version, kept or b"") as source:
            if not kept:
                _check(frame, source, outside)
            held = source.head(source.size) if outside and source.size <= WHOLE else None
            prefix = b""
            if where.prefix:
                prefix, held = _inflate(source, frame)
            read = source.read if held is None else partial(_part, memoryview(held))
            codestream = _cut(read(where.offset, where.length), where)
            if not outside:
                return codestream, b""
            after = read(where.element_end, where.total - where.element_end)
            return codestream, b"".join((prefix, read(0, where.element_offset), after))
    except OSError as exc:
        message = exc.strerror or type(exc).__name__
        raise BadInstanceError(ProblemCode.UNREADABLE, message) from exc


def fetch_ahead(frames: Iterable[Frame]) -> None:
    """Fetch the remote files of some frames, several at a time, where they are not here yet.

    Decoding would wait for one after the other. What cannot be fetched is told by `read_frame`.
    """
    lacking: dict[str, Frame] = {}
    room = RECENT.budget // 2  # another task may fetch too
    for frame in frames:
        here = frame.modified_ns is not None or RECENT.has(frame.uri, frame.sha256)
        if here or frame.size > WHOLE or frame.uri in lacking:
            continue
        room -= frame.size
        if room < 0:
            break
        lacking[frame.uri] = frame
    if len(lacking) > 1:
        with ThreadPoolExecutor(AT_ONCE, "sansfilm-read") as pool:
            list(pool.map(_fetch, lacking.values()))


def _fetch(frame: Frame) -> None:
    with (
        contextlib.suppress(OSError, BadInstanceError),
        Source(frame.uri, frame.size, frame.version) as source,
    ):
        _check(frame, source, outside=True)
        RECENT.keep(frame.uri, frame.sha256, source.data)


def _check(frame: Frame, source: Source, outside: bool) -> None:
    """Make sure that a file is the one that was planned.

    Raises
    ------
    BadInstanceError
        SOURCE_CHANGED.
    OSError
    """
    if not source.remote:
        changed = (source.size, source.modified_ns) != (frame.size, frame.modified_ns)
    elif source.size <= WHOLE:
        source.head(source.size)  # all of it with one request, which its digest makes sure of
        changed = source.sha256() != frame.sha256
        if not changed and (frame.of > 1 or not outside):
            RECENT.keep(frame.uri, frame.sha256, source.data)
    else:
        changed = _has_changed(frame, source)
        if outside and not frame.version and not changed:
            changed = source.sha256() != frame.sha256
    if changed:
        raise BadInstanceError(ProblemCode.SOURCE_CHANGED, "the file has changed")


def _has_changed(frame: Frame, source: Source) -> bool:
    """Ask storage, unless it was asked a moment ago: the frames of a file follow each other."""
    name, now = (frame.uri, frame.version), time.monotonic()
    if now - _ASKED.get(name, -UNCHANGED_S) < UNCHANGED_S:
        return False
    if source.changed():
        return True
    if len(_ASKED) >= 1000:
        _ASKED.clear()
    _ASKED[name] = now
    return False


def _part(held: memoryview, offset: int, length: int) -> memoryview:
    return held[offset : offset + length]


def _cut(data: bytes | memoryview, where: PixelLocation) -> bytes | memoryview:
    return FrameBytes(where.offset, where.length, where.bits, where.shift).cut(memoryview(data))


def _inflate(source: Source, frame: Frame) -> tuple[bytes, bytes]:
    """Return the file meta information and the inflated dataset."""
    if kept := _KEPT.get(frame.sha256):
        return kept
    where, whole = frame.pixels, source.head(source.size)
    # planning has inflated it within the budget; one byte more and the stream has changed
    data = dataset.inflate(whole[where.prefix :], where.total + 1)
    if frame.of > 1:
        _KEPT.clear()
        _KEPT[frame.sha256] = whole[: where.prefix], data
    return whole[: where.prefix], data
