"""What no commit names: half volumes of runs that never went on, and temporary files."""

import re
import time
from collections import defaultdict
from collections.abc import Iterator

from sansfilm.errors import IntegrityError
from sansfilm.objects import Objects
from sansfilm.store.commit import RECORD, read_commit

_IN_VOLUME = re.compile(r"(series/[0-9.]+/[0-9a-f]{32})/.+")
_TEMPORARY = re.compile(r"(?:.*/)?\.[^/]+\.[0-9a-f]{32}")
"""As LocalTarget names them where a file cannot be written without a name."""


def find_garbage(target: Objects, older_than_s: float) -> Iterator[tuple[str, int]]:
    """Yield (key, bytes) of what no commit record names and nobody has written to for a while.

    A volume without a record counts as a whole: one object that is young keeps all of it, since
    some run may still be filling it. Of a volume whose record is damaged nothing is garbage.
    Whatever is neither in a volume nor a temporary file is left alone.

    Raises
    ------
    TargetError
        If the archive cannot be read.
    """
    before = time.time() - older_than_s
    everything = target.find("")
    volumes: dict[str, list[str]] = defaultdict(list)
    for key in everything:
        inside = _IN_VOLUME.fullmatch(key)
        if inside and not _TEMPORARY.fullmatch(key):
            volumes[inside[1]].append(key)
        elif _TEMPORARY.fullmatch(key) and _age_is(target, [key], before):
            yield key, everything[key]
    for volume, keys in volumes.items():
        try:
            record = read_commit(target, volume)
        except FileNotFoundError:
            left = _age_is(target, keys, before) and not target.exists(f"{volume}/{RECORD}")
            garbage = keys if left else []
        except IntegrityError:
            continue
        else:
            named = {f"{volume}/{stored['key']}" for stored in record["objects"]}
            strays = [key for key in keys if key not in named and key != f"{volume}/{RECORD}"]
            garbage = [key for key in strays if _age_is(target, [key], before)]
        for key in garbage:
            yield key, everything[key]


def _age_is(target: Objects, keys: list[str], before: float) -> bool:
    """Tell whether all of them were written before a time; what is gone is not."""
    try:
        return all(target.modified(key) < before for key in keys)
    except FileNotFoundError:
        return False
