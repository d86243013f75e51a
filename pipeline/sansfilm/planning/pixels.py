"""What a slab needs of a source: the codestream of a frame, and the instance's header."""

from functools import partial

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import Frame, PixelLocation
from sansfilm.planning import dataset
from sansfilm.planning.frames import FrameBytes
from sansfilm.planning.source import Source

WHOLE = 16 * 2**20
"""A single frame of a file up to this size is read with all of it: one request, not three."""

_KEPT: dict[str, tuple[bytes, bytes]] = {}
"""The deflated dataset of several frames that was read last, by its digest: each of them would
take the whole of it. It stays in memory until the next one."""


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
    try:
        # What is read whole is compared by its digest, so that its size need not be asked for.
        with Source(frame.uri, frame.size if outside else None) as source:
            if (source.size, source.modified_ns) != (frame.size, frame.modified_ns):
                raise BadInstanceError(ProblemCode.SOURCE_CHANGED, "the file has changed")
            held, prefix = None, b""
            if outside and source.size <= WHOLE:
                held = source.head(source.size)
            if outside and frame.modified_ns is None and source.sha256() != frame.sha256:
                # objects have no date that tells; each is read whole once, with its header
                raise BadInstanceError(ProblemCode.SOURCE_CHANGED, "the file has changed")
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
