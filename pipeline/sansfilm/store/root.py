"""The root of an archive: what makes a folder ours, and refuses to be written into others."""

import json

from sansfilm.errors import ArchiveNotFoundError, IntegrityError, OptionError, TargetError
from sansfilm.objects import Objects
from sansfilm.store.ome import FORMAT
from sansfilm.store.target import UNSAFE

MARK = "sansfilm.json"
_CONTENT = json.dumps({"format": "sansfilm archive", "version": FORMAT}, indent=1).encode()


def create_archive(target: Objects) -> bool:
    """Make an archive where there is none; an existing one is left as it is. Tell which.

    Then create its mark once more: storage that does not refuse this would let two ingests at once
    publish one volume twice.

    Raises
    ------
    OptionError
        If the folder holds something else: images are never mixed with other files.
    TargetError
        If it cannot be written, or is there in a format that this version does not read, or does
        not refuse a second create.
    IntegrityError
        If its mark is damaged.
    """
    new = target.is_empty()
    if new:
        target.create(MARK, _CONTENT)
    elif not _is_archive(target):
        message = f"{target.url} is not empty and not a sansfilm archive: name another folder"
        raise OptionError(message)
    if target.create(MARK, _CONTENT):
        if new:
            target.delete(MARK)
        raise TargetError(target.url, UNSAFE)
    return new


def check_archive(target: Objects) -> None:
    """Make sure that there is an archive.

    Raises
    ------
    ArchiveNotFoundError
    TargetError
        If it cannot be read, or is there in a format that this version does not read.
    IntegrityError
        If its mark is damaged.
    """
    if not _is_archive(target):
        raise ArchiveNotFoundError(f"there is no sansfilm archive at {target.url}")


def _is_archive(target: Objects) -> bool:
    try:
        content = target.get(MARK)
    except FileNotFoundError:
        return False
    if content == _CONTENT:
        return True
    try:
        version = json.loads(content)["version"]
    except (ValueError, KeyError, TypeError):
        version = FORMAT
    if version != FORMAT:
        message = f"format {version}, this sansfilm reads {FORMAT}: install another version"
        raise TargetError(target.url, message)
    raise IntegrityError(target.join(MARK), f"is damaged; it should be {_CONTENT.decode()!r}")
