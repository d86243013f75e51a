"""One instance, read once: the codestream of its frame, and its header byte for byte."""

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import Header
from sansfilm.planning import dataset
from sansfilm.planning.source import Source

WHOLE = 16 * 2**20
"""Files up to this size are read at once: one request instead of three."""


def read_instance(header: Header) -> tuple[bytes, bytes]:
    """Read the codestream of a single-frame instance and everything outside its Pixel Data.

    Returns
    -------
    codestream : bytes
        The fragments joined, or the words of an uncompressed frame.
    outside : bytes
        ``header.pixels.header_length`` bytes: preamble, file meta information and elements up
        to Pixel Data, then any after it. A deflated dataset comes inflated.

    Raises
    ------
    BadInstanceError
        SOURCE_CHANGED if the file is not the one that was planned, UNREADABLE if it cannot be
        read any more.
    """
    where = header.pixels
    try:
        with Source(header.uri) as source:
            seen = source.size, source.modified_ns
            if seen != (header.size, header.modified_ns):
                raise BadInstanceError(ProblemCode.SOURCE_CHANGED, "the file has changed")
            undated = header.modified_ns is None  # object storage: only the digest tells
            if where.prefix or source.size <= WHOLE or undated:
                whole = memoryview(source.head(source.size))
                if undated and source.sha256() != header.sha256:
                    raise BadInstanceError(ProblemCode.SOURCE_CHANGED, "the file has changed")
                return _cut(whole, header)
            parts = [source.read(offset, length) for offset, length in where.parts]
            outside = source.read(0, where.element_offset)
            outside += source.read(where.element_end, where.total - where.element_end)
            return b"".join(parts), outside
    except OSError as exc:
        message = exc.strerror or type(exc).__name__
        raise BadInstanceError(ProblemCode.UNREADABLE, message) from exc


def _cut(whole: memoryview, header: Header) -> tuple[bytes, bytes]:
    where = header.pixels
    prefix, data = whole[: where.prefix], whole
    if where.prefix:
        # planning has inflated it within the budget; one byte more and the stream has changed
        data = memoryview(dataset.inflate(bytes(whole[where.prefix :]), where.total + 1))
    parts = [data[offset : offset + length] for offset, length in where.parts]
    outside = (prefix, data[: where.element_offset], data[where.element_end : where.total])
    codestream = bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
    return codestream, b"".join(outside)
