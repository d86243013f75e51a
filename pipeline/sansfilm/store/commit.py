"""The commit record: written last, create-only; a volume without one does not exist.

It names every source and every object with size and SHA-256, and carries a digest of itself.
It holds no time of day: same sources and options give the same bytes. When a volume was
committed is when its record was written.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from typing import Any, Self

from sansfilm.errors import IntegrityError
from sansfilm.model import StoredObject, VolumePlan
from sansfilm.objects import Objects, each
from sansfilm.options import Options
from sansfilm.store.ome import FORMAT

RECORD = "_commit.json"
_NAMED = ("sansfilm", "imagecodecs", "numpy", "pyarrow")


@dataclass(frozen=True, slots=True)
class Published:
    """A volume as its record has it: (SOP Instance UID, number) of its frames, its objects."""

    key: str
    volume_id: str
    frames: frozenset[tuple[str, int]]
    written: float
    digests: Mapping[str, str]

    def stands_for(self, other: Self) -> bool:
        """Tell whether it holds all frames of another one; of the same ones the later does."""
        later = (self.written, self.volume_id) > (other.written, other.volume_id)
        return self.frames > other.frames or (later and self.frames == other.frames)


def committed(target: Objects, volumes: Sequence[str]) -> set[str]:
    """Return which volumes are published."""
    found = each(target, lambda volume: target.exists(f"{volume}/{RECORD}"), volumes)
    return {volume for volume, there in zip(volumes, found, strict=True) if there}


def commit_volume(
    target: Objects, plan: VolumePlan, objects: Sequence[StoredObject], options: Options
) -> bool:
    """Publish a volume; tell whether this call did it, not another ingest of the same sources.

    Raises
    ------
    TargetError
    """
    record: dict[str, Any] = {
        "volume_id": plan.volume_id,
        "series_uid": plan.series_uid,
        "sources": _sources(plan),
        "objects": [asdict(stored) for stored in sorted(objects, key=lambda stored: stored.key)],
        **made_by(options),
    }
    return target.create(f"{plan.key}/{RECORD}", _canonical(record | {"digest": _digest(record)}))


def read_commit(target: Objects, volume: str) -> dict[str, Any]:
    """Read the record of a published volume.

    Raises
    ------
    FileNotFoundError
        If the volume is not published.
    IntegrityError
        If the record is damaged.
    """
    data = target.get(f"{volume}/{RECORD}")
    try:
        record: dict[str, Any] = json.loads(data)
        digest = record.pop("digest")
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise IntegrityError(f"{volume}/{RECORD}", "is not a commit record") from exc
    if digest != _digest(record) or data != _canonical(record | {"digest": digest}):
        raise IntegrityError(f"{volume}/{RECORD}", "does not match its own digest")
    if volume != f"series/{record['series_uid']}/{record['volume_id']}":
        raise IntegrityError(f"{volume}/{RECORD}", "is the record of another volume")
    return record


def relatives(target: Objects, volume: str) -> tuple[list[str], str | None]:
    """Compare a published volume with the others of its series that share instances with it.

    A volume stands for another if it holds all frames of it; of two with the same frames, other
    contents, the one that was committed later. Volumes that overlap stand beside each other:
    each has frames that would be lost from sight. Both sides decide alike, so two ingests at
    once cannot hide each other's.

    Returns
    -------
    supersedes : list of str
        volume_ids that this one stands for.
    superseded_by : str or None
        volume_id of one that stands for this one.
    """
    series_uid = volume.split("/")[1]
    if find_volumes(target, series_uid) == [volume]:  # as nearly always: no record need be read
        return [], None
    volumes = published(target, series_uid)
    mine = next(each for each in volumes if each.key == volume)
    supersedes = [other.volume_id for other in volumes if mine.stands_for(other)]
    superseded_by = [other.volume_id for other in volumes if other.stands_for(mine)]
    return supersedes, superseded_by[-1] if superseded_by else None


def published(target: Objects, series_uid: str) -> list[Published]:
    """Return the published volumes of a series, sorted by volume_id.

    Raises
    ------
    IntegrityError
        If a record is damaged.
    """
    found = []
    for key in find_volumes(target, series_uid):
        record = read_commit(target, key)
        frames = frozenset(
            (source["sop_instance_uid"], number)
            for source in record["sources"]
            for number in source["frames"]
        )
        digests = {stored["key"]: stored["sha256"] for stored in record["objects"]}
        written = target.modified(f"{key}/{RECORD}")
        found.append(Published(key, record["volume_id"], frames, written, digests))
    return found


def find_volumes(target: Objects, series_uid: str | None = None) -> list[str]:
    """Return the keys of all published volumes, or of those of one series, sorted."""
    prefix = f"series/{series_uid}" if series_uid else "series"
    return sorted(
        key.rpartition("/")[0] for key in target.find(prefix) if key.endswith(f"/{RECORD}")
    )


def made_by(options: Options) -> dict[str, Any]:
    """Return what decides the bytes of a volume besides its sources."""
    return {
        "format": FORMAT,
        "options": options.shaping() | {"prefer": options.prefer},
        "versions": _versions(),
    }


@cache
def _versions() -> dict[str, str]:
    """Return what made the bytes; asking costs a millisecond."""
    return {name: version(name) for name in _NAMED}


def _sources(plan: VolumePlan) -> list[dict[str, Any]]:
    """Return one entry per instance, with the numbers of its frames that are in the volume."""
    sources: dict[str, dict[str, Any]] = {}
    for frame in plan.present:
        source = {"uri": frame.uri, "sop_instance_uid": frame.sop_instance_uid,
                  "size": frame.size, "sha256": frame.sha256, "frames": []}  # fmt: skip
        sources.setdefault(frame.sop_instance_uid, source)["frames"].append(frame.number)
    return list(sources.values())


def _canonical(record: dict[str, Any]) -> bytes:
    return json.dumps(record, sort_keys=True, indent=1, allow_nan=False).encode()


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(_canonical(record)).hexdigest()
