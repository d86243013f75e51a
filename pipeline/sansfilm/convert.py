"""The story: DICOM sources become published volumes. This module joins the stages.

discover -> headers -> grouping -> slabs (read, decode, assemble, write) -> commit -> catalogue

What is done with an archive afterwards is in `archive` and `upkeep`, which join stages too.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import batched
from pathlib import Path
from typing import Any

import numpy as np

from sansfilm.assemble.levels import plan_slabs
from sansfilm.assemble.slab import BATCH_BYTES, cut_out, fill_slab, reduce_slab, stored_digest
from sansfilm.catalogue.publish import planned, publish
from sansfilm.decode import device
from sansfilm.decode.guarded import decode_frames, decode_one, expect
from sansfilm.errors import DeviceError, OptionError, Problem
from sansfilm.events import Events, log_event
from sansfilm.metrics import Counted, count, timed
from sansfilm.model import (
    FileRef,
    Frame,
    Map,
    Report,
    SlabPlan,
    SlabResult,
    VolumePlan,
)
from sansfilm.objects import Objects
from sansfilm.options import Options
from sansfilm.planning.discover import discover
from sansfilm.planning.grouping import plan_volumes
from sansfilm.planning.headers import read_files
from sansfilm.planning.pixels import fetch_ahead, read_frame
from sansfilm.planning.recent import RECENT
from sansfilm.progress import Progress, Several
from sansfilm.report import Ledger
from sansfilm.run.choose import FEW_SLABS, Workers, choose_runner, cores
from sansfilm.run.contract import OnGpu, Runner
from sansfilm.store.commit import commit_volume, is_committed, relatives
from sansfilm.store.grids import stored_grids
from sansfilm.store.root import create_archive
from sansfilm.store.target import open_target
from sansfilm.store.writer import put_metadata, put_slab

HEADERS_AT_ONCE = 64
Companions = Callable[[Sequence[Frame]], Sequence[FileRef]]


def ingest(
    sources: str | Path | Iterable[str | Path],
    archive: str | Path,
    *,
    client: Any = None,
    workers: Workers = None,
    scheduler: str | None = None,
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
    TargetError
        The archive cannot be written; what was committed stays, the same call goes on.
    """
    target = open_target(str(archive), storage_options, checks_first=allow_unsafe_commit)
    named = {"client": client, "workers": workers, "scheduler": scheduler}
    return fill(target, listed(sources), options or Options(), progress, named, dry_run=dry_run)


def fill(
    target: Objects,
    sources: Sequence[str],
    options: Options,
    progress: Progress | None,
    named: dict[str, Any],
    *,
    found: Sequence[FileRef | Problem] = (),
    companions: Companions | None = None,
    dry_run: bool = False,
) -> Report:
    """Do one ingest into an open archive, with all who are told of it.

    `found` is what is to be read of the sources, if they are listed already; see `convert`.
    """
    told = Several(progress or Progress(), Events(log_event), Counted())
    ledger = Ledger(target.url, told, dry_run=dry_run)
    fresh: dict[str, bytes] = {}
    with ledger.told(sources, options):
        plans = convert(
            found or sources, target, options, ledger, named, fresh, companions, dry_run=dry_run
        )
        if dry_run:
            return ledger.close(planned(target, plans))
        rows = publish(target, plans, ledger.report, partial(relatives, target), fresh)
        return ledger.close(rows)


def convert(
    sources: Sequence[str | FileRef | Problem],
    target: Objects,
    options: Options,
    ledger: Ledger,
    named: dict[str, Any],
    fresh: dict[str, bytes] | None = None,
    companions: Companions | None = None,
    *,
    dry_run: bool = False,
) -> list[VolumePlan]:
    """Run all stages up to the commit; return the plans of the volumes that are now published.

    Into `fresh` go documents of those that this run has made: see `put_metadata`. `companions`
    is asked, when the headers are read, which other files belong to volumes of these frames.
    """
    _check_target(target, named)
    fresh = {} if fresh is None else fresh
    here = options.device != "cpu" and device.present()
    with ExitStack() as stack:
        stack.callback(RECENT.clear)
        runner = stack.enter_context(choose_runner(0, **named, gpu=here))
        _check_device(options, runner, here=here)
        ledger.at_work(runner.dashboard)
        files = ledger.files(*discover(sources, target.url, options.budgets))
        new = not dry_run and create_archive(target)
        read = partial(runner.run, partial(read_files, options.budgets))
        frames = ledger.frames(read(batched(files, HEADERS_AT_ONCE)))
        if companions is not None and (more := companions(frames)):
            frames += ledger.frames(read(batched(ledger.files(more, []), HEADERS_AT_ONCE)))
        looks = partial(pixel_digest, options), partial(drawn_pixels, options)
        plans = ledger.plans(
            *plan_volumes(frames, options, *looks, stored=partial(stored_grids, target))
        )
        todo = {plan.key: plan for plan in plans
                if new or not is_committed(target, plan.key)}  # fmt: skip
        there = [plan for plan in plans if plan.key not in todo]
        if dry_run:
            ledger.start([], len(plans), there, planned=list(todo.values()))
            return plans

        slabs = [slab for plan in todo.values() for slab in plan_slabs(plan, options)]
        ledger.start(slabs, len(plans), there)
        if named.get("workers") == "auto" and len(slabs) > FEW_SLABS:
            runner = stack.enter_context(choose_runner(len(slabs), **named, gpu=here))
            ledger.at_work(runner.dashboard)
        on_gpu = slabs_on_gpu(target, runner, options, here=here)
        for outcome in runner.run(partial(write_slab, target, runner.map), slabs, on_gpu):
            if on_gpu and outcome.result and device.has_decoded(outcome.result):
                ledger.report.device = "gpu"
            results = ledger.slab(outcome.task, outcome.result, outcome.error)
            if results is not None:
                plan = todo.pop(outcome.task.volume)
                finish_volume(target, plan, results, options, ledger, fresh)
        return [plan for plan in plans if plan.key not in todo]


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


def write_slab(
    target: Objects, run: Map, plan: SlabPlan, device: str = "cpu", batch: int = BATCH_BYTES
) -> SlabResult:
    """Do one task: read and decode the frames of a slab, reduce it, write it at every level."""
    plan = replace(plan, decoding=replace(plan.decoding, device=device))
    fetch_ahead(frame for frame in plan.frames if frame is not None)
    slab = fill_slab(plan, read_frame, lambda *told: timed(decode_frames(*told)), run, batch)
    count("bytes_read", slab.bytes_read)
    count("bytes_decoded", slab.bytes_decoded)
    if not slab.whole:
        return SlabResult(plan.index, (), slab.frames)
    objects = put_slab(target, plan, reduce_slab(plan, slab.block), slab.headers, run)
    count("bytes_written", sum(stored.size for stored in objects))
    return SlabResult(
        plan.index, objects, slab.frames, slab.value_range, slab.bytes_read, slab.bytes_decoded,
        slab.strange,
    )  # fmt: skip


def slabs_on_gpu(target: Objects, runner: Runner, options: Options, *, here: bool) -> OnGpu | None:
    """Return how slabs are done where a GPU is; None if none is to be had, or wanted."""
    if options.device == "cpu" or not (here if runner.gpus is None else runner.gpus):
        return None
    write = partial(write_slab, target, runner.map, device=options.device, batch=device.BATCH_BYTES)
    # two slabs share the cores of this process; a Dask worker has one
    others = max(1, cores() / 2) if runner.gpus is None else 1
    return OnGpu(write, partial(device.wanted, cores=others), always=options.device == "gpu")


def finish_volume(
    target: Objects,
    plan: VolumePlan,
    results: Sequence[SlabResult],
    options: Options,
    ledger: Ledger,
    fresh: dict[str, bytes],
) -> None:
    """Write the metadata of a volume whose slabs are all stored, and publish it."""
    slabs = list(plan_slabs(plan, options))
    objects = [stored for result in results for stored in result.objects]
    objects += put_metadata(target, plan, slabs, results, fresh)
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


def _check_device(options: Options, runner: Runner, *, here: bool) -> None:
    if options.device == "gpu" and not (here if runner.gpus is None else runner.gpus):
        if runner.gpus is None:
            cure = "install sansfilm[gpu] on a machine with an NVIDIA GPU and driver"
        else:
            cure = 'start a worker for each GPU with --resources "GPU=1"'
        raise DeviceError(f"there is no GPU to decode on: {cure}, or use device auto or cpu")
