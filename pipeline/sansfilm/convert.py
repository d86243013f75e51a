"""The story: DICOM sources become published volumes. This module joins the stages.

discover -> headers -> grouping -> slabs (read, decode, assemble, write) -> commit -> catalogue

`intake` calls it for an archive and fills the catalogue; `tasks` holds what workers do of it. What
is done with an archive afterwards is in `archive` and `upkeep`, which join stages too.
"""

import gc
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import batched, chain, islice, starmap
from typing import Any

from sansfilm.assemble.levels import plan_slabs
from sansfilm.decode.device_backends import present
from sansfilm.errors import Problem
from sansfilm.machine import cores
from sansfilm.model import FileRef, Frame, VolumePlan
from sansfilm.objects import Objects
from sansfilm.options import Options
from sansfilm.planning.discover import discover
from sansfilm.planning.families import Families
from sansfilm.planning.grouping import plan_volumes
from sansfilm.planning.listing import Listing
from sansfilm.planning.recent import RECENT
from sansfilm.report import AtWork, Ledger
from sansfilm.run.choose import choose_runner, enlarged
from sansfilm.run.contract import Outcome, Runner, attempt
from sansfilm.run.interrupt import check, going, interrupted
from sansfilm.spool import Spool
from sansfilm.store.checkpoint import Checkpoints
from sansfilm.store.commit import commit_volume, committed
from sansfilm.store.grids import stored_grids
from sansfilm.store.root import create_archive
from sansfilm.store.writer import put_metadata
from sansfilm.tasks import (
    check_device,
    drawn_pixels,
    pixel_digest,
    read_headers,
    slabs_on_gpu,
    write_slab,
)

HEADERS_AT_ONCE = 64
PLANS_AT_ONCE = 8
"""Volumes that an archive is asked for at the same time."""

Files = Listing | Sequence[FileRef]
Found = tuple[Files, list[Problem]]
Companions = Callable[[Iterable[Frame]], Sequence[FileRef]]
Published = tuple[VolumePlan, Mapping[str, bytes]]
"""A plan whose volume is in the archive, and those of its documents that this run has made."""


def convert(
    sources: Sequence[str],
    target: Objects,
    options: Options,
    ledger: Ledger,
    named: dict[str, Any],
    *,
    found: Found | None = None,
    companions: Companions = lambda frames: (),
    dry_run: bool = False,
) -> Generator[Published]:
    """Run all stages up to the commit; yield each plan once its volume is published.

    A dry run yields all plans. After a signal what is at work is finished, and no more is begun:
    see `check`.

    `found` is what was listed of the sources before. `companions` is asked, when headers are read,
    which other files belong to volumes of these frames.
    """
    gpu = options.device != "cpu" and present()
    with ExitStack() as stack:
        stack.callback(RECENT.clear)
        stack.callback(gc.unfreeze)  # what a fork has frozen: see `forks`
        runner = stack.enter_context(choose_runner(0, **named, gpu=gpu))
        check_device(options, runner, here=gpu)
        ledger.at_work(runner.dashboard)
        files = ledger.files(*(found or discover(sources, target.url, options.budgets)))
        larger = partial(enlarged, stack, ledger.at_work, named, gpu=gpu)
        runner = larger(runner, len(files) // HEADERS_AT_ONCE)
        new = not dry_run and create_archive(target)
        read = partial(headers, runner, options, soon=not dry_run)
        checkpoints = Checkpoints(target, options)
        looks = partial(pixel_digest, options), partial(drawn_pixels, options)
        stored = partial(stored_grids, target)
        with Families() as families:
            families.add(ledger.frames(read(files)))
            if more := companions(families.frames()):
                families.add(ledger.frames(read(ledger.files(more, []))))
            del files, found  # of a large archive they are large themselves
            todo = stack.enter_context(Spool[VolumePlan](families.room))
            plans = ledger.plans(plan_volumes(f, options, *looks, stored) for f in going(families))
            for some in batched(plans, PLANS_AT_ONCE):
                done = set() if new else committed(target, [plan.key for plan in some])
                yield from ((plan, {}) for plan in ledger.unchanged(some, done))
                left = [plan for plan in some if plan.key not in done]
                slabs = [slab for plan in left for slab in plan_slabs(plan, options)]
                ledger.todo(left, slabs, [] if new or dry_run else checkpoints.load(slabs))
                for plan in left:
                    todo.append(plan, len(plan.frames))
        check()
        runner = larger(runner, ledger.start())
        if dry_run:
            yield from ((plan, {}) for plan in todo)
            return

        parts = ((plan, list(plan_slabs(plan, options))) for plan in todo)
        tasks = going(chain.from_iterable(starmap(ledger.begin, parts)))
        on_gpu = slabs_on_gpu(target, runner, options, here=gpu)
        for outcome in runner.run(partial(write_slab, target, runner.map), tasks, on_gpu):
            volume = ledger.slab(outcome.task, outcome.result, outcome.error)
            if volume is None:
                checkpoints.note(outcome.task, outcome.result)
                continue
            documents = finish_volume(target, volume, options, ledger)
            checkpoints.drop(volume.plan.key)
            yield volume.plan, documents
        if interrupted():
            checkpoints.write()


def headers(runner: Runner, options: Options, files: Files, *, soon: bool) -> Iterator[Outcome]:
    """Read headers in batches; the files of a batch that failed or lost its worker one by one.

    Else one bad file would take others with it, and volumes would be published without them.
    `soon` their pixels will be decoded.
    """
    threads = 0 if not soon else 1 if runner.map is map else cores()
    read, lost = partial(read_headers, options.budgets, threads), list[FileRef]()
    # the first one here, before there are threads: a process with one thread can fork its guards
    left = iter(files)
    for file in islice(left, 1 if runner.gpus is None else 0):
        yield attempt(partial(read, alike=len(files)), (file,))
    for outcome in runner.run(read, going(batched(left, HEADERS_AT_ONCE))):
        if outcome.error and len(outcome.task) > 1:
            lost += outcome.task
        else:
            yield outcome
    yield from runner.run(read, going(batched(lost, 1)))
    check()


def finish_volume(
    target: Objects, volume: AtWork, options: Options, ledger: Ledger
) -> Mapping[str, bytes]:
    """Write the metadata of a volume whose slabs are all stored, and publish it."""
    results = [volume.results[slab.index] for slab in volume.slabs]
    objects = [stored for result in results for stored in result.objects]
    documents: dict[str, bytes] = {}
    objects += put_metadata(target, volume.plan, volume.slabs, results, documents)
    commit_volume(target, volume.plan, objects, options)
    ledger.stored(volume, sum(stored.size for stored in objects))
    return documents
