"""The account of a run: every file and frame is stored, or in a Problem, or was not an image."""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sansfilm.catalogue.records import object_rows
from sansfilm.decode.device import has_decoded
from sansfilm.errors import Problem, ProblemCode
from sansfilm.model import (
    Document,
    FileRef,
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

_NOT_DICOM = (ProblemCode.NOT_DICOM, ProblemCode.UNREADABLE, ProblemCode.EMPTY_SOURCE)
VERSIONS = ("sansfilm", "imagecodecs", "numpy", "pydicom", "zarr", "dask")


class Ledger:
    """Keeps the books of one run on the client; `close` balances them."""

    def __init__(self, archive: str, progress: Progress, *, dry_run: bool = False) -> None:
        self.report = Report(archive=archive, dry_run=dry_run)
        self._progress = progress
        self._started = time.perf_counter()
        self._ingested: set[str] = set()
        self._images = self._frames = 0
        self._notes: set[str] = set()
        self._slabs: dict[str, dict[int, SlabPlan]] = {}
        self._before: dict[str, dict[int, int]] = defaultdict(dict)
        self._results: dict[str, dict[int, SlabResult]] = {}

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

    def files(self, files: Sequence[FileRef], problems: Iterable[Problem]) -> Sequence[FileRef]:
        """Note what discovery found; may be called again for more."""
        self.report.files["seen"] += len(files)
        self._add(problems)
        self._progress.files_found(len(files))
        return files

    def frames(self, batches: Iterable[Outcome]) -> list[Frame]:
        """Note what each file turned out to be; return the frames of the images."""
        frames: list[Frame] = []
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
                frames += found
        refused = [problem for problem in self.report.problems if problem.stage == "headers"]
        strangers = sum(1 for problem in refused if problem.code in _NOT_DICOM)
        images, objects = self._images, len(self.report.objects)
        self.report.files["images"] = images + sum(1 for problem in refused if problem.frames)
        self.report.files["dicom"] = images + objects + len(refused) - strangers
        self._frames += len(frames)
        self.report.frames["found"] = self._frames + sum(problem.frames for problem in refused)
        return frames

    def plans(
        self, plans: list[VolumePlan], problems: Iterable[Problem], copies: int
    ) -> list[VolumePlan]:
        """Note what was planned; byte-identical copies of an instance count as one frame."""
        self._add(problems)
        self.report.frames["found"] -= copies
        return plans

    def start(
        self,
        slabs: Sequence[SlabPlan],
        plans: int,
        unchanged: Sequence[VolumePlan],
        *,
        stored: Sequence[tuple[SlabPlan, SlabResult]] = (),
        planned: Sequence[VolumePlan] = (),
    ) -> list[SlabPlan]:
        """Note what is to be written; return the slabs that an earlier run has not `stored`.

        Volumes that are there already count as stored, and so do those `planned` in a dry run.
        """
        for slab in slabs:
            self._slabs.setdefault(slab.volume, {})[slab.index] = slab
        for plan in unchanged:
            self.report.unchanged.append(plan.key)
        for plan in (*unchanged, *planned):
            self._count(plan)
        for slab, result in stored:
            self._before[slab.volume][slab.index] = sum(each.size for each in result.objects)
        left = [slab for slab in slabs if slab.index not in self._before[slab.volume]]
        self.report.slabs_before = len(stored)
        self._progress.planned(plans, len(left), len(unchanged))
        if stored:
            self._progress.slabs_found(len(stored))
        return left

    def slab(
        self, slab: SlabPlan, result: SlabResult | None, error: Exception | None
    ) -> list[SlabResult] | None:
        """Note a slab that has ended; return all results once its volume is whole.

        A frame that failed leaves its volume incomplete: it is not stored, and each of its other
        frames is a Problem too.
        """
        if result is None:
            result = _lost(slab, error)
        self.report.bytes["read"] += result.bytes_read
        self.report.bytes["decoded"] += result.bytes_decoded
        if has_decoded(result):
            self.report.device = "gpu"
        if slab.index not in self._before[slab.volume]:
            self._progress.slab_written(result)
        self._add(self._wrong_decoders(slab, result))
        results = self._results.setdefault(slab.volume, {})
        results[slab.index] = result
        slabs = self._slabs[slab.volume]
        if len(results) < len(slabs):
            return None
        del self._slabs[slab.volume], self._results[slab.volume]
        done = [
            (frame, outcome)
            for index, part in slabs.items()
            for frame, outcome in zip(part.present, results[index].frames, strict=True)
        ]
        # a large tile may be in several slabs: it is one frame
        failed = {(f.sop_instance_uid, f.number): o.problem for f, o in done if o.problem}
        if not failed:
            return [results[index] for index in sorted(results)]
        message = f"{len(failed)} frames of the volume failed, so it was not stored"
        lost = {
            (frame.sop_instance_uid, frame.number): _frame_problem(
                frame, "assemble", ProblemCode.INCOMPLETE_VOLUME, message
            )
            for frame, _ in done
        }
        self._add((lost | failed).values())
        return None

    def _wrong_decoders(self, slab: SlabPlan, result: SlabResult) -> Iterable[Problem]:
        """Yield what decoders were found to be wrong, each once in a run."""
        for frame, done in zip(slab.present, result.frames, strict=True):
            for note in set(done.notes) - self._notes:
                self._notes.add(note)
                yield Problem(frame.uri, "decode", ProblemCode.DECODER_WRONG, note)

    def stored(self, plan: VolumePlan, written: int) -> None:
        """Note a volume that has been published, of so many bytes; some may be of before."""
        self._count(plan)
        written -= sum(self._before[plan.key].values())
        self.report.bytes["written"] += written
        self._progress.volume_committed(plan.key, len(plan.present), written)

    def _count(self, plan: VolumePlan) -> None:
        self.report.frames["stored"] += len(plan.present)
        self._ingested |= {frame.uri for frame in plan.present}

    def close(self, volumes: Sequence[dict[str, Any]]) -> Report:
        """Balance the books and return the report."""
        report = self.report
        report.volumes = list(volumes)
        report.problems.sort(key=lambda p: (p.uri, p.stage, p.code, p.frame or 0, p.message))
        report.frames["in_problems"] = sum(problem.frames for problem in report.problems)
        report.files["ingested"] = len(self._ingested)
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
        "volumes": report.volumes,
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
