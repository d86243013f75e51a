"""The story: DICOM sources become published volumes. This module joins the stages.

discover -> headers -> grouping -> slabs (read, decode, assemble, write) -> commit -> catalogue

`intake` calls it for an archive and fills the catalogue; `tasks` holds what workers do of it. What
is done with an archive afterwards is in `archive` and `upkeep`, which join stages too.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import batched, chain, starmap
from typing import Any

from sansfilm.assemble.levels import plan_slabs
from sansfilm.decode.device_backends import present
from sansfilm.errors import Problem
from sansfilm.machine import cores
from sansfilm.model import FileRef, Frame, SlabResult, VolumePlan
from sansfilm.objects import Objects
from sansfilm.options import Options
from sansfilm.planning.discover import discover
from sansfilm.planning.grouping import plan_volumes
from sansfilm.planning.recent import RECENT
from sansfilm.report import Ledger
from sansfilm.run.choose import choose_runner, enlarged
from sansfilm.run.contract import Outcome, Runner, attempt
from sansfilm.run.interrupt import check, going, interrupted
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

Found = tuple[list[FileRef], list[Problem]]
Companions = Callable[[Sequence[Frame]], Sequence[FileRef]]


def convert(
    sources: Sequence[str],
    target: Objects,
    options: Options,
    ledger: Ledger,
    named: dict[str, Any],
    *,
    found: Found | None = None,
    companions: Companions = lambda frames: (),
    fresh: dict[str, bytes] | None = None,
    dry_run: bool = False,
) -> list[VolumePlan]:
    """Run all stages up to the commit; return the plans of the volumes that are now published.

    `found` is what was listed of the sources before. `companions` is asked, when headers are read,
    which other files belong to volumes of these frames. Into `fresh` go documents of those that
    this run has made: see `put_metadata`.
    """
    fresh = {} if fresh is None else fresh
    gpu = options.device != "cpu" and present()
    with ExitStack() as stack:
        stack.callback(RECENT.clear)
        runner = stack.enter_context(choose_runner(0, **named, gpu=gpu))
        check_device(options, runner, here=gpu)
        ledger.at_work(runner.dashboard)
        files = ledger.files(*(found or discover(sources, target.url, options.budgets)))
        larger = partial(enlarged, stack, ledger.at_work, named, gpu=gpu)
        runner = larger(runner, len(files) // HEADERS_AT_ONCE)
        new = not dry_run and create_archive(target)
        read = partial(headers, runner, options, soon=not dry_run)
        frames = ledger.frames(read(files))
        if more := companions(frames):
            frames += ledger.frames(read(ledger.files(more, [])))
        looks = partial(pixel_digest, options), partial(drawn_pixels, options)
        plans = ledger.plans(
            *plan_volumes(frames, options, *looks, stored=partial(stored_grids, target))
        )
        done = set() if new else committed(target, [plan.key for plan in plans])
        todo = {plan.key: plan for plan in plans if plan.key not in done}
        there = [plan for plan in plans if plan.key in done]
        if dry_run:
            ledger.start([], len(plans), there, planned=list(todo.values()))
            return plans

        slabs = [slab for plan in todo.values() for slab in plan_slabs(plan, options)]
        checkpoints = Checkpoints(target, options)
        stored = [] if new else checkpoints.load(slabs)
        left = ledger.start(slabs, len(plans), there, stored=stored)
        runner = larger(runner, len(left))
        on_gpu = slabs_on_gpu(target, runner, options, here=gpu)
        written = runner.run(partial(write_slab, target, runner.map), going(left), on_gpu)
        for outcome in chain(starmap(Outcome, stored), written):
            results = ledger.slab(outcome.task, outcome.result, outcome.error)
            if results is None:
                checkpoints.note(outcome.task, outcome.result)
                continue
            plan = todo.pop(outcome.task.volume)
            finish_volume(target, plan, results, options, ledger, fresh)
            checkpoints.drop(plan.key)
        if interrupted():
            checkpoints.write()
        check()
        return [plan for plan in plans if plan.key not in todo]


def headers(
    runner: Runner, options: Options, files: Sequence[FileRef], *, soon: bool
) -> Iterator[Outcome]:
    """Read headers in batches; the files of a batch that failed or lost its worker one by one.

    Else one bad file would take others with it, and volumes would be published without them.
    `soon` their pixels will be decoded.
    """
    threads = 0 if not soon else 1 if runner.map is map else cores()
    read, lost = partial(read_headers, options.budgets, threads), list[FileRef]()
    # the first one here, before there are threads: a process with one thread can fork its guards
    first = 1 if runner.gpus is None else 0
    for file in files[:first]:
        yield attempt(partial(read, alike=len(files)), (file,))
    for outcome in runner.run(read, going(batched(files[first:], HEADERS_AT_ONCE))):
        if outcome.error and len(outcome.task) > 1:
            lost += outcome.task
        else:
            yield outcome
    yield from runner.run(read, going(batched(lost, 1)))
    check()


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
