"""The frame table: one row per frame, so that every voxel can be traced to its source."""

import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sansfilm.columns import column, encoding
from sansfilm.model import Frame, SlabPlan, SlabResult, VolumePlan

_COLUMNS = {
    "index": pa.list_(pa.int64()),
    "sop_instance_uid": pa.string(),
    "frame_number": pa.int64(),
    "source_uri": pa.string(),
    "position": pa.list_(pa.float64()),
    "slope": pa.float64(),
    "intercept": pa.float64(),
    "window_center": pa.list_(pa.float64()),
    "window_width": pa.list_(pa.float64()),
    "header_offset": pa.int64(),
    "header_length": pa.int64(),
    "pixel_digest": pa.string(),
    "decoder": pa.string(),
    "transfer_syntax": pa.string(),
}


def frames_table(
    plan: VolumePlan, slabs: Sequence[SlabPlan], results: Sequence[SlabResult]
) -> bytes:
    """Return the Parquet file of a volume's frames, in the order of their index.

    Columns as in the public contract, then what the headers say of the acquisition, named by
    DICOM keyword. Positions in mm (LPS; of tiles in the slide coordinate system, and their index
    counts in the pixels of their ``level``); `pixel_digest` is the SHA-256 of the stored values,
    little endian, C order; `header_offset` and `header_length` are bytes in ``dicom/headers``.
    """
    done = {
        (frame.sop_instance_uid, frame.number): frame
        for result in results
        for frame in result.frames
    }
    kept = {
        frame.sop_instance_uid: end - frame.pixels.header_length
        for slab in slabs
        for frame, end in zip(slab.owned, slab.header_ends, strict=True)
    }
    cells = [(cell, frame) for cell, frame in enumerate(plan.frames) if frame is not None]
    outcomes = [done[frame.sop_instance_uid, frame.number] for _, frame in cells]
    found: dict[str, list[Any]] = {
        "index": [plan.index_of(cell // plan.per_cell) for cell, _ in cells],
        "sop_instance_uid": [frame.sop_instance_uid for _, frame in cells],
        "frame_number": [frame.number for _, frame in cells],
        "source_uri": [frame.uri for _, frame in cells],
        "position": [_position(plan, cell, frame) for cell, frame in cells],
        "slope": [frame.slope for _, frame in cells],
        "intercept": [frame.intercept for _, frame in cells],
        "window_center": [[window.center for window in frame.windows] for _, frame in cells],
        "window_width": [[window.width for window in frame.windows] for _, frame in cells],
        "header_offset": [kept[frame.sop_instance_uid] for _, frame in cells],
        "header_length": [frame.pixels.header_length for _, frame in cells],
        "pixel_digest": [outcome.pixel_digest for outcome in outcomes],
        "decoder": [outcome.decoder for outcome in outcomes],
        "transfer_syntax": [frame.spec.transfer_syntax for _, frame in cells],
    }
    columns = {name: column(found[name], kind) for name, kind in _COLUMNS.items()}
    if plan.slide:
        columns["level"] = column([plan.slide.level_of(cell) for cell, _ in cells], pa.int64())
    extra = [{**frame.axes, **frame.extra} for frame in plan.present]
    for name in sorted({name for more in extra for name in more}):
        values = [more.get(name) for more in extra]
        if len({type(value) for value in values if value is not None}) > 1:
            values = [None if value is None else str(value) for value in values]
        columns[name] = column(values)
    sink = io.BytesIO()
    made = pa.Table.from_arrays(list(columns.values()), names=list(columns))
    pq.write_table(made, sink, write_page_checksum=True, **encoding(made.num_rows))
    return sink.getvalue()


def _position(plan: VolumePlan, cell: int, frame: Frame) -> tuple[float, ...] | None:
    """Return Image Position (Patient); of a tile its place in the slide coordinate system."""
    if plan.slide is None or frame.tile is None:
        return frame.position
    return plan.slide.position_of(cell, frame.tile)
