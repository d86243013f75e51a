"""Checkpoints: which slabs of an unfinished volume are stored, so that a kill repeats seconds.

A volume that takes longer gets one more object, with the results of its slabs so far; it goes once
the volume is published. It lies in the volume's own folder, which without a commit record does not
exist for any reader, and goes with it as garbage.

Before its content stands a digest over that and over everything that decides the volume's bytes
and is not in the content: its key, the options, the versions of what makes them. What is cut,
damaged, of another volume or another version has another digest, and counts for nothing.
"""

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from sansfilm.errors import TargetError
from sansfilm.model import FrameResult, SlabPlan, SlabResult, StoredObject
from sansfilm.objects import Objects, each
from sansfilm.options import Options
from sansfilm.store.commit import made_by

CHECKPOINT = "_checkpoint"
FIRST_S, EVERY_S = 10.0, 5.0
"""Seconds of work before the first checkpoint of a volume, and between two."""
SHARE = 50
"""Writing them takes at most one part in so many of the time, on slow storage too."""


@dataclass(slots=True)
class _Volume:
    """The results of a volume by slab, when they are written next, whether some are stored.

    `unsettled` are keys of objects that a power cut might still take.
    """

    due: float
    results: dict[int, SlabResult] = field(default_factory=dict)
    stored: bool = False
    unsettled: list[str] = field(default_factory=list)


class Checkpoints:
    """Keeps the results of all volumes that are at work in one run, on the client."""

    def __init__(self, target: Objects, options: Options) -> None:
        self._target, self._options = target, options
        self._volumes: dict[str, _Volume] = {}
        self._since = time.monotonic()

    def load(self, slabs: Iterable[SlabPlan]) -> list[tuple[SlabPlan, SlabResult]]:
        """Return the slabs that an earlier run has stored, and what came of them.

        All their objects are there, with the size that they had. Results do not count what was
        read and decoded then.

        Raises
        ------
        TargetError
        """
        volumes: dict[str, list[SlabPlan]] = defaultdict(list)
        for slab in slabs:
            volumes[slab.volume].append(slab)
        several = [volume for volume, parts in volumes.items() if len(parts) > 1]
        found = each(self._target, self._load, several)
        return [
            (slab, self._volumes[volume].results[slab.index])
            for volume, there in zip(several, found, strict=True)
            if there
            for slab in volumes[volume]
            if slab.index in self._volumes[volume].results
        ]

    def _load(self, volume: str) -> bool:
        try:
            data = self._target.get(f"{volume}/{CHECKPOINT}")
        except FileNotFoundError:
            return False
        # Written anew before anything is looked up: `gc` now sees that the volume is at work, and
        # the slabs of another version, which this run will replace, are nobody's any more.
        results = {result.index: result for result in self._decode(volume, data)}
        self._volumes[volume] = _Volume(0.0, results)
        self._write(volume)
        sizes = self._target.find(volume)
        for index, result in list(results.items()):
            if any(sizes.get(f"{volume}/{stored.key}") != stored.size for stored in result.objects):
                del results[index]
        return True

    def note(self, slab: SlabPlan, result: SlabResult | None) -> None:
        """Note what came of a slab whose volume is not whole yet; write that if it is time.

        Raises
        ------
        TargetError
        """
        if result is None or not result.objects:  # lost, or with frames that failed
            return
        volume = self._volumes.setdefault(slab.volume, _Volume(self._since + FIRST_S))
        if slab.index not in volume.results:
            volume.results[slab.index] = result
            volume.unsettled += [f"{slab.volume}/{stored.key}" for stored in result.objects]
            if time.monotonic() >= volume.due:
                self._write(slab.volume)

    def write(self) -> None:
        """Write the results of all volumes that are not whole: the run ends before its time.

        Raises
        ------
        TargetError
        """
        for volume in self._volumes:
            self._write(volume)

    def drop(self, volume: str) -> None:
        """Forget a volume that is published. A checkpoint that may not be deleted does no harm."""
        self._since = time.monotonic()
        kept = self._volumes.pop(volume, None)
        if kept and kept.stored:
            with suppress(TargetError):
                self._target.delete(f"{volume}/{CHECKPOINT}")

    def _write(self, volume: str) -> None:
        kept = self._volumes[volume]
        self._target.settle(kept.unsettled)  # not counted: a disk writes what it was given anyway
        kept.unsettled.clear()
        started = time.monotonic()
        data = self._encode(volume, kept.results.values())
        self._target.put(f"{volume}/{CHECKPOINT}", data)
        now = time.monotonic()
        kept.due, kept.stored = now + max(EVERY_S, SHARE * (now - started)), True

    def _encode(self, volume: str, results: Iterable[SlabResult]) -> bytes:
        content = json.dumps([_packed(result) for result in results]).encode()
        return self._digest(volume, content) + content

    def _decode(self, volume: str, data: bytes) -> Iterator[SlabResult]:
        content = data[len(self._digest(volume, b"")) :]
        if data == self._digest(volume, content) + content:
            yield from (_unpacked(*packed) for packed in json.loads(content))

    def _digest(self, volume: str, content: bytes) -> bytes:
        about = {"volume": volume, "crosscheck": self._options.crosscheck,
                 **made_by(self._options)}  # fmt: skip
        told = json.dumps(about, sort_keys=True).encode()
        return hashlib.sha256(told + b"\n" + content).hexdigest().encode() + b"\n"


def _packed(result: SlabResult) -> tuple[object, ...]:
    """Return what a volume needs to know of a slab that is stored; its frames have no Problems."""
    objects = [(stored.key, stored.size, stored.sha256) for stored in result.objects]
    frames = [
        (frame.sop_instance_uid, frame.number, frame.pixel_digest, frame.decoder, frame.notes)
        for frame in result.frames
    ]
    return result.index, objects, frames, result.value_range, result.strange


def _unpacked(
    index: int,
    objects: Sequence[tuple[str, int, str]],
    frames: Sequence[tuple[str, int, str, str, Sequence[str]]],
    value_range: tuple[float, float],
    strange: Sequence[int],
) -> SlabResult:
    low, high = value_range
    return SlabResult(
        index,
        tuple(StoredObject(*stored) for stored in objects),
        tuple(
            FrameResult(uid, number, digest, decoder, notes=tuple(notes))
            for uid, number, digest, decoder, notes in frames
        ),
        (low, high),
        strange=tuple(strange),
    )
