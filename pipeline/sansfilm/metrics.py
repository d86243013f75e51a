"""Counters for Prometheus, where something in this process serves them: Dask's ``/metrics`` does.

The scheduler of a local cluster is in the client's process and tells what was stored; each worker
tells what it read, decoded and wrote. Nothing is imported for them: who serves metrics has loaded
``prometheus_client``.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from sansfilm.errors import Problem
from sansfilm.progress import Progress

_COUNTERS = {
    "volumes_stored": "Volumes that became visible.",
    "frames_stored": "Frames of the volumes that became visible.",
    "problems": "Files and frames that could not be used, by code.",
    "bytes_read": "Bytes of codestreams and headers that slabs read.",
    "bytes_decoded": "Bytes of stored values that slabs decoded.",
    "bytes_written": "Bytes of objects that slabs wrote.",
    "decode_seconds": "Seconds that threads of slabs waited for decoders.",
}


def count(name: str, amount: float = 1, **labels: str) -> None:
    """Add to a counter, if anybody could ask for it."""
    if "prometheus_client" in sys.modules:
        found = _counters()[name]
        (found.labels(**labels) if labels else found).inc(amount)


def timed[T](results: Iterable[T]) -> Iterator[T]:
    """Pass decoded frames on; count the time that they were waited for."""
    waiting, ended = iter(results), object()
    while True:
        started = time.perf_counter()
        result = next(waiting, ended)
        count("decode_seconds", time.perf_counter() - started)
        if result is ended:
            return
        yield result  # type: ignore[misc]


class Counted(Progress):
    """Counts what the client knows."""

    def volume_committed(self, key: str, frames: int, written: int) -> None:
        """See Progress."""
        count("volumes_stored")
        count("frames_stored", frames)

    def problem_found(self, problem: Problem) -> None:
        """See Progress."""
        count("problems", code=str(problem.code))


@cache
def _counters() -> dict[str, Any]:
    from prometheus_client import Counter

    return {
        name: Counter(f"sansfilm_{name}", text, ["code"] if name == "problems" else ())
        for name, text in _COUNTERS.items()
    }
