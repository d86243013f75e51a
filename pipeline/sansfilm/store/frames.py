"""The frame table: one row per frame, so that every voxel can be traced to its source."""

import io
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from sansfilm.model import FrameResult, Header, SlabPlan, SlabResult

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


def frames_table(slabs: Sequence[SlabPlan], results: Sequence[SlabResult]) -> bytes:
    """Return the Parquet file of a volume's frames, in the order of their index.

    Columns as in the public contract, then what the headers say of the acquisition, named by
    DICOM keyword. Positions in mm (LPS); `pixel_digest` is the SHA-256 of the stored values,
    little endian, C order; `header_offset` and `header_length` are bytes in ``dicom/headers``.
    """
    by_index = {result.index: result for result in results}
    rows: list[dict[str, object]] = []
    extra: list[Mapping[str, object]] = []
    for slab in slabs:
        for header, end, frame in zip(
            slab.frames, slab.header_ends, by_index[slab.index].frames, strict=True
        ):
            rows.append(_row(len(rows), header, end, frame))
            extra.append(header.extra)
    columns = {name: pa.array([row[name] for row in rows], kind) for name, kind in _COLUMNS.items()}
    for name in sorted({name for more in extra for name in more}):
        columns[name] = pa.array([more.get(name) for more in extra])
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


def _row(index: int, header: Header, end: int, frame: FrameResult) -> dict[str, object]:
    length = header.pixels.header_length
    return {
        "index": [index],
        "sop_instance_uid": header.sop_instance_uid,
        "frame_number": 1,
        "source_uri": header.uri,
        "position": header.position,
        "slope": header.slope,
        "intercept": header.intercept,
        "window_center": [window.center for window in header.windows],
        "window_width": [window.width for window in header.windows],
        "header_offset": end - length,
        "header_length": length,
        "pixel_digest": frame.pixel_digest,
        "decoder": frame.decoder,
        "transfer_syntax": header.spec.transfer_syntax,
    }
