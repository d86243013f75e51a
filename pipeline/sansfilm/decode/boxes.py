"""The boxes of JP2 and JPEG XL files (ITU-T T.800 I.4, ISO/IEC 18181-2)."""

import struct
from collections.abc import Iterator


def boxes(frame: bytes | memoryview) -> Iterator[tuple[bytes, int]]:
    """Yield the type of each box, and where its contents begin."""
    pos = 0
    while pos + 8 <= len(frame):
        length, kind = struct.unpack_from(">I4s", frame, pos)
        head = 8
        if length == 1 and pos + 16 <= len(frame):
            length, head = struct.unpack_from(">Q", frame, pos + 8)[0], 16
        yield kind, pos + head
        if length < head:  # 0: up to the end
            return
        pos += length
