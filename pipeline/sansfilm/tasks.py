"""What workers do: plain functions of small plans, which join stages for one task each."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from sansfilm.assemble.slab import cut_out, fill_slab, reduce_slab, stored_digest
from sansfilm.decode import device as devices
from sansfilm.decode.guarded import decode_frames, decode_one, expect
from sansfilm.decode.rates import batch_bytes
from sansfilm.errors import DeviceError
from sansfilm.machine import cores
from sansfilm.metrics import count, timed
from sansfilm.model import FileRef, Frame, Map, SlabPlan, SlabResult
from sansfilm.objects import Objects
from sansfilm.options import Budgets, Options
from sansfilm.planning.headers import Found, read_files
from sansfilm.planning.pixels import fetch_ahead, read_frame
from sansfilm.run.contract import OnGpu, Runner
from sansfilm.store.writer import put_slab


def read_headers(
    budgets: Budgets, threads: int, files: Sequence[FileRef], alike: int = 1
) -> list[Found]:
    """Read a batch of files up to their Pixel Data; so many threads here will decode it soon.

    Each may stand for so many that are `alike`.
    """
    found = read_files(budgets, files)
    specs = (frame.spec for one in found if isinstance(one, list) for frame in one)
    expect(specs, threads, alike)
    return found


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
    target: Objects, run: Map, plan: SlabPlan, device: str = "cpu", batch: int = 0
) -> SlabResult:
    """Read and decode the frames of a slab, reduce it, write it at every level.

    `batch` bytes of stored values are decoded in one go; by default as many as are good for a CPU.
    """
    spec = next((frame.picture for frame in plan.frames if frame is not None), None)
    if spec and not batch:
        batch = batch_bytes(spec, alone=run is map)
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


def check_device(options: Options, runner: Runner, *, here: bool) -> None:
    """Make sure that a GPU which is asked for by name is to be had.

    Raises
    ------
    DeviceError
    """
    if options.device != "gpu" or _gpus(runner, here=here):
        return
    cure = 'start a worker for each GPU with --resources "GPU=1"'
    if runner.gpus is None:
        cure = "install sansfilm[gpu] on a machine with an NVIDIA GPU and driver"
    raise DeviceError(f"there is no GPU to decode on: {cure}, or use device auto or cpu")


def slabs_on_gpu(target: Objects, runner: Runner, options: Options, *, here: bool) -> OnGpu | None:
    """Return how slabs are done where a GPU is; None if none is to be had, or wanted."""
    if options.device == "cpu" or not _gpus(runner, here=here):
        return None
    write = partial(
        write_slab, target, runner.map, device=options.device, batch=devices.BATCH_BYTES
    )
    # two slabs share the cores of this process; a Dask worker has one
    others = max(1, cores() / 2) if runner.gpus is None else 1
    return OnGpu(write, partial(devices.wanted, cores=others), always=options.device == "gpu")


def _gpus(runner: Runner, *, here: bool) -> int:
    return here if runner.gpus is None else runner.gpus
