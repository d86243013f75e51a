"""Keep an archive sound: verify and repair its objects, clear away, rebuild the catalogue.

With `archive` and `convert` the modules that join stages.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import batched
from pathlib import Path
from typing import Any

import numpy as np

from sansfilm.catalogue import publish, table
from sansfilm.catalogue.check import check
from sansfilm.catalogue.segments import gather_anew
from sansfilm.convert import convert
from sansfilm.errors import OptionError, SansfilmError, VolumeNotFoundError
from sansfilm.model import Identity
from sansfilm.objects import AT_ONCE, Objects, each
from sansfilm.options import Options, Storage, Tolerances
from sansfilm.planning.kept import kept_identity
from sansfilm.planning.source import Source
from sansfilm.progress import Progress
from sansfilm.report import Ledger
from sansfilm.run import interrupt
from sansfilm.store.commit import RECORD, find_volumes, read_commit, relatives
from sansfilm.store.garbage import find_garbage
from sansfilm.store.overlay import Rebuilt
from sansfilm.store.root import check_archive
from sansfilm.store.target import open_target
from sansfilm.store.verify import Damage, verify_volume
from sansfilm.view.volume import Volume

Findings = Iterator[tuple[str, list[Damage]]]


def verify(
    url: str | Path,
    series: str | None = None,
    *,
    quick: bool = False,
    repair: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Findings:
    """Read back every object of an archive, or of one series, against the commit records.

    Parameters
    ----------
    series : str, optional
        SeriesInstanceUID or volume_id.
    quick : bool, optional
        Compare the sizes of a listing only: what is missing or cut is found, flipped bits are not.
    repair : bool, optional
        Make damaged objects anew from the sources, where these are reachable and unchanged. Only
        bytes with the digest of the commit record are written; otherwise `what` says why not.
    storage_options : mapping, optional
        For the file system behind a URL.

    Yields
    ------
    volume : str
        Key of a volume, or "catalogue".
    damages : list of Damage
        Objects that are missing or are not what was committed; [] if all is well.

    Raises
    ------
    ArchiveNotFoundError
        If there is no archive.
    VolumeNotFoundError
        If there is no such series or volume.
    """
    target, volumes = _opened(url, storage_options)
    if series is not None:
        volumes = [key for key in volumes if series in key.split("/")]
        if not volumes:
            raise VolumeNotFoundError(f"no series or volume {series} in {url}: see `sansfilm ls`")
    damaged = set()
    for volume in volumes:
        damages = list(verify_volume(target, volume, quick=quick))
        if damages and repair:
            damages = _repair(target, volume, damages)
        if not all(damage.repaired for damage in damages):
            damaged.add(volume)
        yield volume, damages
    if series is None:
        wrong = dict(check(target, volumes, damaged, quick=quick))
        if wrong and repair:
            for volume in volumes:
                _index_volume(target, volume)
            gather_anew(target)
            left = dict(check(target, volumes, damaged, quick=quick))
            yield (
                "catalogue",
                [
                    Damage(key, left.get(key, what), repaired=key not in left)
                    for key, what in wrong.items()
                ],
            )
        else:
            yield "catalogue", [Damage(*found) for found in wrong.items()]


def gc(
    url: str | Path,
    *,
    older_than: timedelta = timedelta(days=7),
    dry_run: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Iterator[tuple[str, int]]:
    """Delete what no commit record names and nobody has written to for a while.

    That is half volumes, strays in whole ones, and temporary files; never a committed object, and
    never anything of a volume whose record is damaged. An ingest that is still at work must have
    written to each of its volumes within `older_than`.

    Yields
    ------
    key, bytes
        Of each object that was deleted, or would be in a dry run.

    Raises
    ------
    ArchiveNotFoundError
        If there is no archive.
    OptionError
        If the age is negative.
    """
    if older_than < timedelta(0):
        raise OptionError(f"an age cannot be negative, got {older_than}")
    target, _ = _opened(url, storage_options)
    for key, size in find_garbage(target, older_than.total_seconds()):
        if not dry_run:
            target.delete(key)
        yield key, size


def index(url: str | Path, *, storage_options: Mapping[str, Any] | None = None) -> Findings:
    """Write the catalogue anew, from the volumes alone.

    Volumes by their metadata, patients by the headers that volumes keep. What no volume can tell
    stays as it is: problems, objects without pixels and their patients. Rows of volumes that are
    not committed are removed.

    Yields
    ------
    volume : str
        Key of a volume, or "catalogue" at the end.
    damages : list of Damage
        Why the volume could not be read: its rows stay as they are. Of the catalogue: what is
        still not sound.

    Raises
    ------
    ArchiveNotFoundError
        If there is no archive.
    """
    target, volumes = _opened(url, storage_options)
    damaged = set()
    for some in batched(volumes, AT_ONCE * 8):
        problems = each(target, partial(_index_volume, target), some)
        for volume, problem in zip(some, problems, strict=True):
            if problem:
                damaged.add(volume)
            yield volume, problem
    rows = {f"{table.VOLUMES}/{volume.rpartition('/')[2]}.parquet" for volume in volumes}
    for key in set(target.find(table.VOLUMES)) - rows:
        target.delete(key)
    gather_anew(target)
    yield "catalogue", [Damage(*found) for found in check(target, volumes, damaged)]


def _opened(
    url: str | Path, storage_options: Mapping[str, Any] | None
) -> tuple[Objects, list[str]]:
    target = open_target(str(url), storage_options)
    check_archive(target)
    return target, find_volumes(target)


def _index_volume(target: Objects, key: str) -> list[Damage]:
    """Write the rows of a volume; say what is damaged if they cannot be made."""
    try:
        volume = Volume(target, key)
        documents = tuple(json.loads(volume.read(name)) for name in ("zarr.json", "0/zarr.json"))
        publish.index_volume(
            target, key, documents, relatives(target, key), _identities(volume)
        )  # fmt: skip
    except SansfilmError as exc:
        return [Damage(key, f"cannot be read: {exc}")]
    return []


def _identities(volume: Volume) -> set[Identity]:
    rows = volume.frames.drop_duplicates("sop_instance_uid")
    kept = np.asarray(volume.header_array[:]).tobytes()
    return {
        kept_identity(kept[start : start + length])
        for start, length in zip(rows["header_offset"], rows["header_length"], strict=True)
    }


def _repair(target: Objects, volume: str, damages: list[Damage]) -> list[Damage]:
    """Make the damaged objects of a volume anew; say of each whether it is whole again."""
    names = [damage.key[len(volume) + 1 :] for damage in damages]
    if RECORD in names:
        cure = f"not repaired: delete {RECORD} and ingest the sources again"
        return [replace(damage, what=f"{damage.what}; {cure}") for damage in damages]
    record = read_commit(target, volume)
    digests = {stored["key"]: stored["sha256"] for stored in record["objects"]}
    made: Mapping[str, bytes] = {}
    why = _unlike(record)
    if not why:
        try:
            made = _made_again(target, volume, record, names)
            why = "the sources do not make this volume again"
        except SansfilmError as exc:
            why = str(exc)
    done = []
    for name, damage in zip(names, damages, strict=True):
        if name not in made:
            done.append(replace(damage, what=f"{damage.what}; not repaired: {why}"))
        elif hashlib.sha256(made[name]).hexdigest() != digests[name]:
            other = "these versions of sansfilm and its codecs make other bytes"
            done.append(replace(damage, what=f"{damage.what}; not repaired: {other}"))
        else:
            target.put(damage.key, made[name])
            done.append(replace(damage, repaired=True))
    return done


def _unlike(record: Mapping[str, Any]) -> str:
    """Return which source is not what it was; "" if all are."""
    for named in record["sources"]:
        try:
            with Source(named["uri"]) as source:
                digest = source.sha256()
        except OSError as exc:
            return f"the source {named['uri']} cannot be read: {exc.strerror or exc}"
        if digest != named["sha256"]:
            return f"the source {named['uri']} has changed"
    return ""


def _made_again(
    target: Objects, volume: str, record: Mapping[str, Any], names: list[str]
) -> Mapping[str, bytes]:
    """Do the ingest of one volume again, beside the archive; return the objects of these names."""
    told = record["options"]
    options = Options(
        tolerances=Tolerances(**told["tolerances"]), storage=Storage(**told["storage"]),
        prefer=tuple(told["prefer"]),
    )  # fmt: skip
    beside = Rebuilt(target, volume, names)
    sources = sorted({source["uri"] for source in record["sources"]})
    for _ in convert(sources, beside, options, Ledger(target.url, Progress()), {}):
        pass
    interrupt.check()
    return beside.made
