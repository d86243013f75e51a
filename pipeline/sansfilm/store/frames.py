"""The frame table: one row per frame, so that every voxel can be traced to its source."""

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from sansfilm.model import Frame, FrameResult, SlabPlan, SlabResult, VolumePlan

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
    DICOM keyword. Positions in mm (LPS); `pixel_digest` is the SHA-256 of the stored values,
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
    rows = [
        _row(plan.index_of(cell // plan.per_cell), frame, kept[frame.sop_instance_uid],
             done[frame.sop_instance_uid, frame.number])
        for cell, frame in enumerate(plan.frames)
        if frame is not None
    ]  # fmt: skip
    extra = [{**frame.axes, **frame.extra} for frame in plan.present]
    columns = {name: pa.array([row[name] for row in rows], kind) for name, kind in _COLUMNS.items()}
    for name in sorted({name for more in extra for name in more}):
        column = [more.get(name) for more in extra]
        if len({type(value) for value in column if value is not None}) > 1:
            column = [None if value is None else str(value) for value in column]
        columns[name] = pa.array(column)
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


def _row(
    index: tuple[int, ...], frame: Frame, header_offset: int, result: FrameResult
) -> dict[str, object]:
    return {
        "index": index,
        "sop_instance_uid": frame.sop_instance_uid,
        "frame_number": frame.number,
        "source_uri": frame.uri,
        "position": frame.position,
        "slope": frame.slope,
        "intercept": frame.intercept,
        "window_center": [window.center for window in frame.windows],
        "window_width": [window.width for window in frame.windows],
        "header_offset": header_offset,
        "header_length": frame.pixels.header_length,
        "pixel_digest": result.pixel_digest,
        "decoder": result.decoder,
        "transfer_syntax": frame.spec.transfer_syntax,
    }
