"""The story: DICOM sources become published volumes. This module joins the stages.

discover -> headers -> grouping -> slabs (read, decode, assemble, write) -> commit -> catalogue

What is done with an archive afterwards is in `archive` and `upkeep`, which join stages too.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import batched
from pathlib import Path
from typing import Any

import numpy as np

from sansfilm.assemble.levels import plan_slabs
from sansfilm.assemble.slab import cut_out, fill_slab, reduce_slab, stored_digest
from sansfilm.catalogue.publish import planned, publish
from sansfilm.decode.guarded import decode_frames, decode_one
from sansfilm.errors import DeviceError, OptionError, Problem
from sansfilm.model import (
    Document,
    FileRef,
    Frame,
    Map,
    Report,
    SlabPlan,
    SlabResult,
    VolumePlan,
)
from sansfilm.objects import Objects
from sansfilm.options import Budgets, Options
from sansfilm.planning.discover import discover
from sansfilm.planning.grouping import plan_volumes
from sansfilm.planning.headers import read_frames
from sansfilm.planning.pixels import read_frame
from sansfilm.progress import Progress
from sansfilm.report import Ledger
from sansfilm.run.choose import FEW_SLABS, Workers, choose_runner
from sansfilm.run.contract import Outcome, Runner
from sansfilm.run.interrupt import check, going
from sansfilm.store.commit import commit_volume, is_committed, relatives
from sansfilm.store.grids import stored_grids
from sansfilm.store.root import create_archive
from sansfilm.store.target import open_target
from sansfilm.store.writer import put_metadata, put_slab

HEADERS_AT_ONCE = 64


def ingest(
    sources: str | Path | Iterable[str | Path],
    archive: str | Path,
    *,
    client: Any = None,
    workers: Workers = None,
    scheduler: str | None = None,
    tls: str | Path | None = None,
    options: Options | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
    storage_options: Mapping[str, Any] | None = None,
    allow_unsafe_commit: bool = False,
) -> Report:
    """Turn DICOM sources into volumes of an archive; what is there already is not done again.

    Parameters
    ----------
    sources : str, path, or several
        Folders, files, or URLs that fsspec opens.
    archive : str or path
        Root of the archive: a folder, or a URL that fsspec opens. Made if it is not there.
    client : distributed.Client, optional
    workers : int or "auto", optional
        Number of local processes; 1 is this process; with "auto" the size of the job decides.
    scheduler : str, optional
        Address of a Dask scheduler. Without any of the three: threads of this process.
    tls : str or path, optional
        Folder with ca.pem, cert.pem and key.pem: connections to a scheduler ``tls://``, or of the
        local processes among each other, are encrypted, and only who has a certificate of the
        same authority is let in. A client has its own.
    options : Options, optional
    dry_run : bool, optional
        Plan only: read headers, write nothing.
    progress : Progress, optional
        Is told what happens.
    storage_options : mapping, optional
        For the file system behind the archive's URL. They travel to workers as they are: name
        secrets in the environment instead. Sources are opened as the environment says.
    allow_unsafe_commit : bool, optional
        Go on where storage ignores conditional writes; then one ingest at a time only.

    Returns
    -------
    Report
        Volumes, problems and counts: frames found = frames stored + frames in problems.

    Raises
    ------
    SourceNotFoundError, OptionError, DeviceError
        A wrong call.
    TargetError, SourceLostError
        The archive cannot be written, or the storage of the sources is away; what was committed
        stays, the same call goes on.
    """
    target = open_target(str(archive), storage_options, checks_first=allow_unsafe_commit)
    ledger = Ledger(target.url, progress or Progress(), dry_run=dry_run)
    named = {"client": client, "workers": workers, "scheduler": scheduler, "tls": tls}
    plans = convert(listed(sources), target, options or Options(), ledger, named, dry_run=dry_run)
    if dry_run:
        return ledger.close(planned(target, plans))
    return ledger.close(publish(target, plans, ledger.report, partial(relatives, target)))


def convert(
    sources: Sequence[str],
    target: Objects,
    options: Options,
    ledger: Ledger,
    named: dict[str, Any],
    *,
    dry_run: bool = False,
) -> list[VolumePlan]:
    """Run all stages up to the commit; return the plans of the volumes that are now published."""
    _check_device(options)
    _check_target(target, named)
    with ExitStack() as stack:
        runner = stack.enter_context(choose_runner(0, **named))
        ledger.at_work(runner.dashboard)
        files = ledger.files(*discover(sources, target.url))
        if not dry_run:
            create_archive(target)
        frames = ledger.frames(_headers(runner, options.budgets, files))
        looks = partial(pixel_digest, options), partial(drawn_pixels, options)
        plans = ledger.plans(
            *plan_volumes(frames, options, *looks, stored=partial(stored_grids, target))
        )
        todo = {plan.key: plan for plan in plans if not is_committed(target, plan.key)}
        there = [plan for plan in plans if plan.key not in todo]
        if dry_run:
            ledger.start([], len(plans), there, planned=list(todo.values()))
            return plans

        slabs = [slab for plan in todo.values() for slab in plan_slabs(plan, options)]
        ledger.start(slabs, len(plans), there)
        if named.get("workers") == "auto" and len(slabs) > FEW_SLABS:
            runner = stack.enter_context(choose_runner(len(slabs), **named))
            ledger.at_work(runner.dashboard)
        for outcome in runner.run(partial(write_slab, target, runner.map), going(slabs)):
            results = ledger.slab(outcome.task, outcome.result, outcome.error)
            if results is not None:
                plan = todo.pop(outcome.task.volume)
                finish_volume(target, plan, results, options, ledger)
        check()
        return [plan for plan in plans if plan.key not in todo]


def _headers(runner: Runner, budgets: Budgets, files: Sequence[FileRef]) -> Iterator[Outcome]:
    """Read headers in batches; the files of a batch that failed or lost its worker one by one.

    Else one bad file would take others with it, and volumes would be published without them.
    """
    read, lost = partial(read_headers, budgets), list[FileRef]()
    for outcome in runner.run(read, going(batched(files, HEADERS_AT_ONCE))):
        if outcome.error and len(outcome.task) > 1:
            lost += outcome.task
        else:
            yield outcome
    yield from runner.run(read, going(batched(lost, 1)))
    check()


def read_headers(
    budgets: Budgets, files: Iterable[FileRef]
) -> list[list[Frame] | Document | Problem]:
    """Read a batch of files up to their Pixel Data."""
    return [read_frames(file, budgets) for file in files]


def pixel_digest(options: Options, frame: Frame) -> str:
    """Decode a frame to tell whether it shows what another one does."""
    return stored_digest(stored_pixels(options, frame))


def drawn_pixels(options: Options, frame: Frame) -> int:
    """Return the pixels of a frame that are not 0, as bits, to tell whether segments overlap."""
    if frame.pixels.bits and frame.spec.bits_allocated == 1:  # what is packed stays so
        packed, _ = read_frame(frame, False)
    else:
        drawn = stored_pixels(options, frame) != 0
        packed = np.packbits(drawn, bitorder="little").tobytes()
    return int.from_bytes(packed, "little")


def stored_pixels(options: Options, frame: Frame) -> np.ndarray:
    """Decode a frame for what planning has to know of it."""
    codestream, _ = read_frame(frame, False)
    return cut_out(decode_one(codestream, frame.picture, options.decoding), frame)


def write_slab(target: Objects, run: Map, plan: SlabPlan) -> SlabResult:
    """Do one task: read and decode the frames of a slab, reduce it, write it at every level."""
    slab = fill_slab(plan, read_frame, decode_frames, run)
    if not slab.whole:
        return SlabResult(plan.index, (), slab.frames)
    objects = put_slab(target, plan, reduce_slab(plan, slab.block), slab.headers, run)
    return SlabResult(
        plan.index, objects, slab.frames, slab.value_range, slab.bytes_read, slab.bytes_decoded,
        slab.strange,
    )  # fmt: skip


def finish_volume(
    target: Objects,
    plan: VolumePlan,
    results: Sequence[SlabResult],
    options: Options,
    ledger: Ledger,
) -> None:
    """Write the metadata of a volume whose slabs are all stored, and publish it."""
    slabs = list(plan_slabs(plan, options))
    objects = [stored for result in results for stored in result.objects]
    objects += put_metadata(target, plan, slabs, results)
    commit_volume(target, plan, objects, options)
    ledger.stored(plan, sum(stored.size for stored in objects))


def listed(sources: str | Path | Iterable[str | Path]) -> list[str]:
    """Return one or several sources as a list."""
    if isinstance(sources, str | Path):
        return [str(sources)]
    return [str(source) for source in sources]


def _check_target(target: Objects, named: dict[str, Any]) -> None:
    """Refuse to send work to other processes that would fill a copy of this one's memory."""
    if target.url.startswith("memory:"):
        if named.get("workers") == "auto":
            named["workers"] = None
        if any(choice not in (None, 1) for choice in named.values()):
            message = "what is in memory belongs to this process: name no workers for it"
            raise OptionError(message)


def _check_device(options: Options) -> None:
    if options.device == "gpu":
        raise DeviceError("this version decodes and reduces on the CPU: use device auto or cpu")
