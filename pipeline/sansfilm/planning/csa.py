"""The private header of Siemens MR (CSA): names with text values, and the protocol in it.

Facts: nibabel's documentation of the format, and headers of scanners. Nothing of a header that
contradicts itself is believed, and nothing is read twice or beyond its end.
"""

import re
import struct
from collections.abc import Mapping

from sansfilm.model import Vector

_MAGIC = b"SV10"
_MOST_TAGS = 1024
_TAG = struct.Struct("<64si4siii")
_ITEM = struct.Struct("<4i")
_BEGIN, _END = "### ASCCONV BEGIN", "### ASCCONV END ###"
_SIZE = re.compile(r"sSliceArray\.lSize[ \t]*=[ \t]*(0[xX][0-9a-fA-F]{1,8}|\d{1,8})[ \t]*")
_POSITION = re.compile(
    r"sSliceArray\.asSlice\[(\d{1,5})\]\.sPosition\.d(Sag|Cor|Tra)[ \t]*=[ \t]*"
    r"([-+]?\d{1,12}(?:\.\d{0,20})?(?:[eE][-+]?\d{1,3})?)[ \t]*"
)
_AXES = {"Sag": 0, "Cor": 1, "Tra": 2}
"""The protocol's names of x, y and z in DICOM's LPS frame."""


def read_csa(data: bytes) -> Mapping[str, tuple[str, ...]]:
    """Return the values of each name in a CSA header; empty if it is none, or a damaged one.

    Parameters
    ----------
    data : bytes
        Value of CSA Image Header Info (0029,xx10) or CSA Series Header Info (0029,xx20), in the
        form that starts with SV10 or in the one before it.
    """
    try:
        return _read(data)
    except (struct.error, ValueError):
        return {}


def read_slices(protocol: str) -> tuple[Vector, ...]:
    """Return the centres of the slices that a protocol (ASCCONV) prescribes, mm, LPS.

    Empty if it does not say how many there are, or prescribes none. Coordinates of 0 are left
    out in it.
    """
    start = protocol.find(_BEGIN)
    end = protocol.find(_END, start)
    if start < 0 or end < 0:
        return ()
    count = 0
    positions: dict[int, list[float]] = {}
    for line in protocol[start:end].splitlines():
        if size := _SIZE.fullmatch(line):
            count = int(size[1], 0)
        elif place := _POSITION.fullmatch(line):
            position = positions.setdefault(int(place[1]), [0.0, 0.0, 0.0])
            position[_AXES[place[2]]] = float(place[3])
    if not positions or max(positions) >= count:
        return ()
    if count - len(positions) > 1:  # one of them may lie where all three coordinates are 0
        return ()
    whole = [positions.get(n, [0.0, 0.0, 0.0]) for n in range(count)]
    return tuple((x, y, z) for x, y, z in whole)


def _read(data: bytes) -> dict[str, tuple[str, ...]]:
    newer = data.startswith(_MAGIC)
    pos = 8 if newer else 0
    count, check = struct.unpack_from("<II", data, pos)
    if check != 77 or not 0 < count <= _MOST_TAGS:
        raise ValueError(count)
    pos += 8
    found: dict[str, tuple[str, ...]] = {}
    excess = 0
    for number in range(count):
        name, multiplicity, _, _, items, check = _TAG.unpack_from(data, pos)
        if check not in (77, 205) or items < 0:
            raise ValueError(check)
        pos += _TAG.size
        if number == 0 and not newer:  # the older form adds this to every length
            excess = items
        values = []
        for _ in range(items):
            first, second, _, _ = _ITEM.unpack_from(data, pos)
            pos += _ITEM.size
            length = second if newer else first - excess
            if not 0 <= length <= len(data) - pos:
                if newer:
                    raise ValueError(length)
                break
            values.append(_text(data[pos : pos + length]))
            pos += (length + 3) // 4 * 4
        found[_text(name)] = tuple(values[:multiplicity] if multiplicity > 0 else values)
    return found


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("latin-1").strip()
