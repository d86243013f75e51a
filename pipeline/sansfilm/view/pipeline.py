"""How zarr-python reads the shards of a local volume here: all cores on the chunks of one shard."""

from collections.abc import Iterable, Iterator
from typing import Any

from zarr.abc.codec import GetResult
from zarr.codecs import ShardingCodec
from zarr.core.buffer import NDBuffer
from zarr.core.codec_pipeline import FusedCodecPipeline

_MANY = 4
"""Shards for each core of which one read is spread well enough by itself."""

Item = tuple[Any, Any, Any, Any, bool]
"""Bytes of a shard, their kind, the selection in the shard, the one in the result, and whether
the shard is selected as a whole."""


class ShardPipeline(FusedCodecPipeline):
    """Splits a selection at the borders of chunks; without, each shard is decoded by one thread."""

    def read_sync(
        self,
        batch_info: Iterable[Item],
        out: NDBuffer,
        drop_axes: tuple[int, ...] = (),
        max_workers: int = 1,
    ) -> tuple[GetResult, ...]:
        """Read selections of shards into `out`; one result for each shard."""
        batch, codec = list(batch_info), self.array_bytes_codec
        if not isinstance(codec, ShardingCodec) or not 1 < max_workers * _MANY > len(batch):
            return super().read_sync(batch, out, drop_axes, max_workers)
        parts = [(number, part) for number, item in enumerate(batch)
                 for part in _split(item, codec.chunk_shape)]  # fmt: skip
        found = super().read_sync([part for _, part in parts], out, drop_axes, max_workers)
        missing = {number for (number, _), result in zip(parts, found, strict=True)
                   if result["status"] == "missing"}  # fmt: skip
        return tuple(
            GetResult(status="missing" if number in missing else "present")
            for number in range(len(batch))
        )


def _split(item: Item, chunk: tuple[int, ...]) -> Iterator[Item]:
    """Split the selection of a shard along the axis that crosses the most chunks."""
    getter, spec, inside, outside, _ = item
    axes = [axis for axis, part in enumerate(inside) if isinstance(part, slice)]
    plain = all(part.step in (None, 1) for part in (*(inside[axis] for axis in axes), *outside)
                if isinstance(part, slice))  # fmt: skip
    if not axes or not plain or len(outside) != len(axes) or len(inside) != len(chunk):
        yield item
        return
    axis = max(
        axes, key=lambda axis: inside[axis].stop // chunk[axis] - inside[axis].start // chunk[axis]
    )
    number, edge = axes.index(axis), chunk[axis]
    start, stop, shift = inside[axis].start, inside[axis].stop, outside[number].start
    shift -= start
    while start < stop:
        end = min(stop, (start // edge + 1) * edge)
        yield (
            getter, spec,
            (*inside[:axis], slice(start, end), *inside[axis + 1 :]),
            (*outside[:number], slice(start + shift, end + shift), *outside[number + 1 :]),
            False,
        )  # fmt: skip
        start = end
