"""Zip and tar files: where each member lies, and which ones are not safe to open.

Nothing is ever written under a member's name. A member is named as fsspec does it:
``zip://folder/1.dcm::/data/study.zip``.
"""

import errno
import stat
import struct
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.options import Budgets

KINDS = ("zip", "tar")
RATIO = 100
"""How many times its own size a zip file may hold, beyond the budget of one member."""
_DEFLATE = 1032
"""Bytes that one byte of a deflate stream can become (RFC 1951: 258 in two bits)."""
_NAMES_OF_PACKED = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
_LONGEST = 2**20
"""Bytes of a tar header's text; names and attributes have some hundred."""
_AHEAD = 2**16
_END, _LOCATOR = struct.Struct("<4s4H2LH"), struct.Struct("<4sLQL")
_END_64, _ENTRY = struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4s6H3L5H2L")
_LOCAL, _LARGE = struct.Struct("<4s5H3L2H"), 0xFFFFFFFF


class Bytes(Protocol):
    """What is asked of a `planning.source.Source`."""

    size: int
    modified_ns: int | None

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes from an offset, fewer only at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Member:
    """One file inside of another one.

    `start` is where its bytes lie in a tar file, its local header in a zip file. `crc` is None
    where there is no checksum.
    """

    name: str
    start: int
    packed: int
    size: int
    deflated: bool = False
    crc: int | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A member that is not opened, and why."""

    name: str
    code: ProblemCode
    message: str


def split(uri: str) -> tuple[str, str, str] | None:
    """Return (kind, member, container) of a member's URI, None for any other."""
    kind, scheme, rest = uri.partition("://")
    name, chained, container = rest.partition("::")
    return (kind, name, container) if kind in KINDS and scheme and chained else None


def kind_by_name(uri: str) -> str:
    """Return "zip" or "tar" for what is called so, "" for anything else."""
    ending = uri.rpartition(".")[2].lower()
    return ending if ending in KINDS else ""


def is_one(whole: Bytes, kind: str) -> bool:
    """Tell whether a file begins as its name says; a scanner may call an image anything."""
    if kind == "zip":
        return whole.read(0, 4) in (b"PK\3\4", b"PK\5\6")
    return whole.read(257, 5) == b"ustar"


def members(whole: Bytes, kind: str, budgets: Budgets) -> list[Member | Refused]:
    """List the files of a container.

    Raises
    ------
    BadInstanceError
        UNREADABLE if it cannot be followed, BUDGET or UNSAFE_ARCHIVE if it promises more than
        it can hold or than is allowed.
    OSError
    """
    found: list[Member | Refused] = []
    for item in _read_directory(whole, kind):
        if len(found) >= budgets.members:
            raise _bad(ProblemCode.BUDGET, f"more than {budgets.members} members")
        found.append(item)
    names = Counter(item.name for item in found)
    there = [item for item in found if isinstance(item, Member)]
    if sum(item.packed for item in there) > whole.size:
        raise _bad(ProblemCode.UNSAFE_ARCHIVE, "members that share their bytes")
    if sum(item.size for item in there) > RATIO * whole.size + budgets.inflated_bytes:
        raise _bad(ProblemCode.BUDGET, f"its members are more than {RATIO} times its size")
    return [_checked(item, names[item.name], budgets) for item in found]


def open_member(whole: Bytes, uri: str, kind: str, name: str) -> tuple[Member, int, bytes]:
    """Find a member that was listed before.

    Returns
    -------
    member : Member
    start : int
        Where its bytes lie in the container.
    data : bytes
        All of it if it had to be inflated, else b"".

    Raises
    ------
    OSError
        If it is not there, or is not what the directory says.
    """
    member = _directory(whole, uri, kind).get(name)
    if member is None:
        raise FileNotFoundError(errno.ENOENT, "no such member")
    start = member.start
    if kind == "zip":
        local = whole.read(start, _LOCAL.size)
        if len(local) < _LOCAL.size or local[:4] != b"PK\3\4":
            raise OSError(errno.EIO, "no local header where the directory has it")
        *_, name_length, extra_length = _LOCAL.unpack(local)
        start += _LOCAL.size + name_length + extra_length
    if not member.deflated:
        return member, start, b""
    key = uri, whole.size, whole.modified_ns, name
    if (kept := _LAST.get(key)) is not None:
        return member, start, kept
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = engine.decompress(whole.read(start, member.packed), member.size + 1)
    except zlib.error as exc:
        raise OSError(errno.EIO, "the member is not valid deflate") from exc
    if len(data) != member.size or zlib.crc32(data) != member.crc:
        raise OSError(errno.EIO, "the member is not what the directory says")
    _LAST.clear()
    _LAST[key] = data
    return member, start, data


_LAST: dict[tuple[str, int, int | None, str], bytes] = {}
"""The member that was inflated last: each of its frames would take the whole of it."""
_KNOWN: dict[tuple[str, int, int | None], dict[str, Member]] = {}
"""Directories that were read last; all of them would be read again for each member."""
_MOST_KNOWN = 300_000


def _directory(whole: Bytes, uri: str, kind: str) -> dict[str, Member]:
    key = uri, whole.size, whole.modified_ns
    known = _KNOWN.get(key)
    if known is None:
        listed = (item for item in _read_directory(whole, kind) if isinstance(item, Member))
        try:
            known = {item.name: item for item in listed}
        except BadInstanceError as exc:
            raise OSError(errno.EIO, exc.message) from exc
        if sum(map(len, list(_KNOWN.values()))) > _MOST_KNOWN:
            _KNOWN.clear()
        _KNOWN[key] = known
    return known


def _checked(item: Member | Refused, same_name: int, budgets: Budgets) -> Member | Refused:
    """Refuse a member for its name, or for what it says of its size."""
    if isinstance(item, Refused):
        return item
    code, name, parts = ProblemCode.UNSAFE_ARCHIVE, item.name, item.name.replace("\\", "/")
    ends = name.lower().endswith(_NAMES_OF_PACKED)
    if not name.isprintable() or "::" in name:
        why = "a name that cannot be part of a URI"
    elif parts.startswith("/") or parts[1:2] == ":" or ".." in parts.split("/"):
        why = "a name that leads out of its container"
    elif same_name > 1:
        why = f"{same_name} members of one name"
    elif ends:
        why = "a container in a container is not opened"
    elif item.deflated and item.size > _DEFLATE * item.packed:
        why = f"{item.packed} bytes cannot become {item.size}"
    elif item.deflated and item.packed > item.size + item.size // 16 + 4096:
        why = f"{item.packed} bytes for {item.size}"
    elif not item.deflated and item.size != item.packed:
        why = f"{item.size} bytes are not in {item.packed}"
    elif item.deflated and item.size > budgets.inflated_bytes:
        code, why = ProblemCode.BUDGET, f"a member of {item.size} bytes that have to be inflated"
    else:
        return item
    return Refused(name, code, why)


def _bad(code: ProblemCode, message: str) -> BadInstanceError:
    return BadInstanceError(code, message)


def _read_directory(whole: Bytes, kind: str) -> Iterator[Member | Refused]:
    return _read_zip(whole) if kind == "zip" else _read_tar(whole)


# ------------------------------------------------------------------- zip (APPNOTE.TXT section 4.3)


def _read_zip(whole: Bytes) -> Iterator[Member | Refused]:
    start, size, count = _find_directory(whole)
    pos, end = start, start + size
    block, base = b"", start
    for _ in range(count):
        if pos + _ENTRY.size + 3 * 65535 > base + len(block):  # in pieces: it may be large
            base, block = pos, whole.read(pos, min(2**20, end - pos))
        at = pos - base
        if at + _ENTRY.size > len(block) or block[at : at + 4] != b"PK\1\2":
            raise _bad(ProblemCode.UNREADABLE, "the directory of the zip file cannot be followed")
        (_, made_by, _, flags, method, _, _, crc, packed, length, name_length, extra_length,
         comment_length, _, _, mode, offset) = _ENTRY.unpack_from(block, at)  # fmt: skip
        at += _ENTRY.size
        raw, extra = block[at : at + name_length], block[at + name_length :][:extra_length]
        pos += _ENTRY.size + name_length + extra_length + comment_length
        name = raw.decode("utf-8" if flags & 0x800 else "cp437", "surrogateescape")
        if name.endswith(("/", "\\")) and not length:
            continue
        length, packed, offset = _large(extra, length, packed, offset)
        kind = stat.S_IFMT(mode >> 16) if made_by >> 8 == 3 else 0  # 3: made on Unix
        if kind not in (0, stat.S_IFREG):
            yield Refused(name, ProblemCode.UNSAFE_ARCHIVE, "a link or a special file")
        elif flags & 1 or method not in (0, 8):
            how = "encrypted" if flags & 1 else f"packed by method {method}"
            yield Refused(name, ProblemCode.UNREADABLE, f"{how}, which is not read")
        elif offset + _LOCAL.size + packed > start:
            yield Refused(name, ProblemCode.UNSAFE_ARCHIVE, "it does not lie before the directory")
        else:
            yield Member(name, offset, packed, length, method == 8, crc)


def _find_directory(whole: Bytes) -> tuple[int, int, int]:
    """Return where the central directory starts, its bytes, and its entries."""
    base = max(0, whole.size - _END.size - 65535)
    tail = whole.read(base, whole.size - base)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + _END.size > len(tail):
        raise _bad(ProblemCode.UNREADABLE, "the zip file has no directory: it may be cut")
    _, _, _, _, count, size, start, _ = _END.unpack_from(tail, at)
    if at >= _LOCATOR.size and tail[at - _LOCATOR.size :].startswith(b"PK\6\7"):
        _, _, where, _ = _LOCATOR.unpack_from(tail, at - _LOCATOR.size)
        large = whole.read(where, _END_64.size) if where < whole.size else b""
        if len(large) < _END_64.size or large[:4] != b"PK\6\6":
            raise _bad(ProblemCode.UNREADABLE, "the zip file has no directory where it says")
        *_, count, size, start = _END_64.unpack(large)
    if start + size > base + at or count * _ENTRY.size > size:
        raise _bad(ProblemCode.UNSAFE_ARCHIVE, "a directory that is larger than its file")
    return start, size, count


def _large(extra: bytes, length: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Return the two sizes and the offset, from the Zip64 field where it has them."""
    found, at = [length, packed, offset], 0
    while at + 4 <= len(extra):
        tag, size = struct.unpack_from("<2H", extra, at)
        if tag == 1:
            values = iter(struct.unpack_from(f"<{size // 8}Q", extra[at + 4 :].ljust(size, b"\0")))
            found = [next(values, one) if one == _LARGE else one for one in found]
        at += 4 + size
    return found[0], found[1], found[2]


# ------------------------------------------------------------------------------------------- tar


class _Reader:
    """A file as tarfile wants it, whose headers are short; else one could ask for any memory."""

    def __init__(self, whole: Bytes) -> None:
        self._whole, self._at, self._start, self._block = whole, 0, 0, b""

    def tell(self) -> int:
        """See io.IOBase."""
        return self._at

    def seek(self, position: int) -> int:
        """See io.IOBase."""
        self._at = position
        return position

    def read(self, length: int) -> bytes:
        """Return bytes, or fewer at the end of the file."""
        if not 0 <= length <= _LONGEST or self._at < 0:
            raise tarfile.ReadError
        begin = self._at - self._start
        if begin < 0 or begin + length > len(self._block):
            self._start, self._block = self._at, self._whole.read(self._at, max(length, _AHEAD))
            begin = 0
        data = self._block[begin : begin + length]
        self._at += len(data)
        return data


def _read_tar(whole: Bytes) -> Iterator[Member | Refused]:
    before = -1
    try:
        with tarfile.open(fileobj=_Reader(whole), mode="r:") as tar:  # type: ignore[call-overload]
            while (found := tar.next()) is not None:
                if found.offset <= before or found.size < 0:
                    raise _bad(ProblemCode.UNSAFE_ARCHIVE, "a tar file that goes backwards")
                before = found.offset
                tar.members.clear()  # it would keep them all
                if found.isdir():
                    continue
                if not found.isreg() or found.issparse():
                    text = "a link or a special file"
                    yield Refused(found.name, ProblemCode.UNSAFE_ARCHIVE, text)
                elif found.offset_data + found.size > whole.size:
                    raise tarfile.ReadError
                else:
                    yield Member(found.name, found.offset_data, found.size, found.size)
            rest = whole.read(tar.offset, tarfile.BLOCKSIZE)
        if len(rest) < tarfile.BLOCKSIZE or any(rest):
            raise tarfile.ReadError
    except (tarfile.TarError, ValueError, OverflowError, RecursionError) as exc:
        if isinstance(exc, BadInstanceError):
            raise
        message = "the tar file ends before its end, or cannot be followed"
        raise _bad(ProblemCode.UNREADABLE, message) from exc
