"""The account of a run: every file and frame is stored, or in a Problem, or was not an image."""

import time
from array import array
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from sansfilm.catalogue.records import object_rows
from sansfilm.decode.device import has_decoded
from sansfilm.errors import Problem, ProblemCode
from sansfilm.model import (
    Document,
    Frame,
    FrameResult,
    Report,
    SlabPlan,
    SlabResult,
    VolumePlan,
)
from sansfilm.options import Options
from sansfilm.progress import Progress
from sansfilm.run.contract import Outcome

Earlier = tuple[SlabPlan, SlabResult]

_NOT_DICOM = (ProblemCode.NOT_DICOM, ProblemCode.UNREADABLE, ProblemCode.EMPTY_SOURCE)
VERSIONS = ("sansfilm", "imagecodecs", "numpy", "pydicom", "zarr", "dask")


@dataclass(slots=True)
class AtWork:
    """A volume of which a slab has been begun: all its slabs, and what came of some, by index.

    `before` are the bytes of the slabs that an earlier run had stored.
    """

    plan: VolumePlan
    slabs: list[SlabPlan]
    results: dict[int, SlabResult] = field(default_factory=dict)
    before: int = 0


class Ledger:
    """Keeps the books of one run on the client; `close` balances them."""

    def __init__(self, archive: str, progress: Progress, *, dry_run: bool = False) -> None:
        self.report = Report(archive=archive, dry_run=dry_run)
        self._progress = progress
        self._started = time.perf_counter()
        self._ingested = array("q")
        self._images = self._frames = 0
        self._notes: set[str] = set()
        self._volumes = self._left = 0
        self._before: dict[str, dict[int, SlabResult]] = defaultdict(dict)
        self._at_work: dict[str, AtWork] = {}

    @contextmanager
    def told(self, sources: Sequence[str], options: Options) -> Iterator[None]:
        """Tell that a run begins, and of whatever ends it before its time."""
        about = {
            "sources": list(sources),
            "dry_run": self.report.dry_run,
            "options": asdict(options),
            "versions": {name: _version(name) for name in VERSIONS},
        }
        self._progress.run_started(self.report.archive, about)
        try:
            yield
        except BaseException as exc:
            self._progress.run_failed(exc)
            raise

    def at_work(self, dashboard: str) -> None:
        """Note who works; a cluster has a dashboard."""
        if dashboard:
            self._progress.cluster_started(dashboard)

    def files[F: Sized](self, files: F, problems: Iterable[Problem]) -> F:
        """Note what discovery found; may be called again for more."""
        self.report.files["seen"] += len(files)
        self._add(problems)
        self._progress.files_found(len(files))
        return files

    def frames(self, batches: Iterable[Outcome]) -> Iterator[list[Frame]]:
        """Note what each file turned out to be; yield the frames of each image."""
        for batch in batches:
            for found in batch.result or _unread(batch):
                self._progress.header_read()
                if isinstance(found, Problem):
                    self._add([found])
                    continue
                if isinstance(found, Document):
                    self.report.objects.append(found)
                    continue
                self._images += 1
                self.report.bytes["read"] += found[0].size
                self._frames += len(found)
                yield found
        refused = [problem for problem in self.report.problems if problem.stage == "headers"]
        strangers = sum(1 for problem in refused if problem.code in _NOT_DICOM)
        images, objects = self._images, len(self.report.objects)
        self.report.files["images"] = images + sum(1 for problem in refused if problem.frames)
        self.report.files["dicom"] = images + objects + len(refused) - strangers
        self.report.frames["found"] = self._frames + sum(problem.frames for problem in refused)

    def plans(
        self, planned: Iterable[tuple[list[VolumePlan], list[Problem], int]]
    ) -> Iterator[VolumePlan]:
        """Note what was planned; byte-identical copies of an instance count as one frame."""
        for plans, problems, copies in planned:
            self._add(problems)
            self.report.frames["found"] -= copies
            yield from plans

    def unchanged(self, plans: Iterable[VolumePlan], done: Container[str]) -> list[VolumePlan]:
        """Note and return the plans whose volumes are done already; they count as stored."""
        there = [plan for plan in plans if plan.key in done]
        for plan in there:
            self.report.unchanged.append(plan.key)
            self._count(plan)
        return there

    def todo(
        self, plans: Sequence[VolumePlan], slabs: Sequence[SlabPlan], stored: Sequence[Earlier]
    ) -> None:
        """Note volumes to be written, in so many slabs, of which an earlier run has `stored` some.

        In a dry run they count as stored.
        """
        self._volumes += len(plans)
        for slab, result in stored:
            self._before[slab.volume][slab.index] = result
        self.report.slabs_before += len(stored)
        if self.report.dry_run:
            for plan in plans:
                self._count(plan)
        else:
            self._left += len(slabs) - len(stored)

    def start(self) -> int:
        """Tell that planning has ended; return how many slabs are to be written."""
        unchanged = len(self.report.unchanged)
        self._progress.planned(self._volumes + unchanged, self._left, unchanged)
        if self.report.slabs_before:
            self._progress.slabs_found(self.report.slabs_before)
        return self._left

    def begin(self, plan: VolumePlan, slabs: list[SlabPlan]) -> list[SlabPlan]:
        """Note that a volume is begun; return the slabs that an earlier run has not stored."""
        work = self._at_work[plan.key] = AtWork(plan, slabs)
        before = self._before.pop(plan.key, {})
        if len(before) == len(slabs):  # with one that is left the volume comes to its end
            before.popitem()
        for slab in slabs:
            if slab.index in before:
                result = work.results[slab.index] = before[slab.index]
                work.before += sum(each.size for each in result.objects)
                self._note(slab, result)
        return [slab for slab in slabs if slab.index not in before]

    def slab(
        self, slab: SlabPlan, result: SlabResult | None, error: Exception | None
    ) -> AtWork | None:
        """Note a slab that has ended; return its volume once that is whole.

        A frame that failed leaves its volume incomplete: it is not stored, and each of its other
        frames is a Problem too.
        """
        if result is None:
            result = _lost(slab, error)
        self.report.bytes["read"] += result.bytes_read
        self.report.bytes["decoded"] += result.bytes_decoded
        self._progress.slab_written(result)
        self._note(slab, result)
        work = self._at_work[slab.volume]
        work.results[slab.index] = result
        if len(work.results) < len(work.slabs):
            return None
        del self._at_work[slab.volume]
        done = [
            (frame, outcome)
            for part in work.slabs
            for frame, outcome in zip(part.present, work.results[part.index].frames, strict=True)
        ]
        # a large tile may be in several slabs: it is one frame
        failed = {(f.sop_instance_uid, f.number): o.problem for f, o in done if o.problem}
        if not failed:
            return work
        message = f"{len(failed)} frames of the volume failed, so it was not stored"
        lost = {
            (frame.sop_instance_uid, frame.number): _frame_problem(
                frame, "assemble", ProblemCode.INCOMPLETE_VOLUME, message
            )
            for frame, _ in done
        }
        self._add((lost | failed).values())
        return None

    def _note(self, slab: SlabPlan, result: SlabResult) -> None:
        """Note who decoded a slab, and what decoders were found to be wrong."""
        if has_decoded(result):
            self.report.device = "gpu"
        self._add(self._wrong_decoders(slab, result))

    def _wrong_decoders(self, slab: SlabPlan, result: SlabResult) -> Iterable[Problem]:
        """Yield what decoders were found to be wrong, each once in a run."""
        for frame, done in zip(slab.present, result.frames, strict=True):
            for note in set(done.notes) - self._notes:
                self._notes.add(note)
                yield Problem(frame.uri, "decode", ProblemCode.DECODER_WRONG, note)

    def stored(self, work: AtWork, written: int) -> None:
        """Note a volume that has been published, of so many bytes; some may be of before."""
        self._count(work.plan)
        written -= work.before
        self.report.bytes["written"] += written
        self._progress.volume_committed(work.plan.key, len(work.plan.present), written)

    def _count(self, plan: VolumePlan) -> None:
        self.report.frames["stored"] += len(plan.present)
        self._ingested.extend({hash(frame.uri) for frame in plan.present})

    def close(self, volumes: Sequence[dict[str, Any]]) -> Report:
        """Balance the books and return the report."""
        report = self.report
        report.volumes = volumes
        report.problems.sort(key=lambda p: (p.uri, p.stage, p.code, p.frame or 0, p.message))
        report.frames["in_problems"] = sum(problem.frames for problem in report.problems)
        report.files["ingested"] = len(np.unique(np.frombuffer(self._ingested, np.int64)))
        report.files["skipped"] = report.files["seen"] - report.files["ingested"]
        report.seconds = time.perf_counter() - self._started
        self._progress.run_finished(report)
        return report

    def _add(self, problems: Iterable[Problem]) -> None:
        for problem in problems:
            self.report.problems.append(problem)
            self._progress.problem_found(problem)


def to_json(report: Report) -> dict[str, Any]:
    """Return what ``ingest --json`` prints."""
    return {
        "archive": report.archive,
        "dry_run": report.dry_run,
        "device": report.device,
        "volumes": list(report.volumes),
        "unchanged": report.unchanged,
        "slabs_before": report.slabs_before,
        "problems": [asdict(problem) for problem in report.problems],
        "objects": object_rows(report.objects),
        "files": report.files,
        "frames": report.frames,
        "seconds": round(report.seconds, 3),
        "bytes": report.bytes,
        "error": report.error,
    }


def _unread(batch: Outcome) -> list[Problem]:
    """Account for the files of a batch that did not come home."""
    message = f"the task of this file failed: {type(batch.error).__name__}"
    return [Problem(file.uri, "headers", ProblemCode.WORKER_LOST, message) for file in batch.task]


def _lost(slab: SlabPlan, error: Exception | None) -> SlabResult:
    """Account for the frames of a task that did not come home."""
    message = f"the task of this frame failed: {type(error).__name__}"
    frames = tuple(
        FrameResult(
            frame.sop_instance_uid, frame.number,
            problem=_frame_problem(frame, "run", ProblemCode.WORKER_LOST, message),
        )
        for frame in slab.present
    )  # fmt: skip
    return SlabResult(slab.index, (), frames)


def _frame_problem(frame: Frame, stage: str, code: ProblemCode, message: str) -> Problem:
    return Problem(frame.uri, stage, code, message, frame.series_uid, frame.number, 1)


def _version(name: str) -> str:
    """Return the version of a package, "" where what is installed cannot be read."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
