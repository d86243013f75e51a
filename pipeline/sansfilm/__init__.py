"""sansfilm: DICOM archives to analysis-ready, multi-resolution OME-Zarr volumes.

The stages, in the order the data takes: `planning` (discover, headers, geometry, grouping),
`decode`, `assemble`, `store`, `catalogue`; `view` opens the result. `convert` joins them.
"""

import logging
from typing import TYPE_CHECKING, Any

from sansfilm.errors import Problem, ProblemCode, ProblemWarning, SansfilmError
from sansfilm.model import Report
from sansfilm.options import Budgets, Options, Storage, Tolerances
from sansfilm.progress import Progress

if TYPE_CHECKING:
    from sansfilm.archive import open_archive as open
    from sansfilm.archive import read
    from sansfilm.intake import ingest
    from sansfilm.landing import watch
    from sansfilm.sample_data import samples
    from sansfilm.upkeep import gc, index, verify
    from sansfilm.view.archive import Archive
    from sansfilm.view.volume import Volume

__all__ = [
    "Archive",
    "Budgets",
    "Options",
    "Problem",
    "ProblemCode",
    "ProblemWarning",
    "Progress",
    "Report",
    "SansfilmError",
    "Storage",
    "Tolerances",
    "Volume",
    "gc",
    "index",
    "ingest",
    "open",
    "read",
    "samples",
    "verify",
    "watch",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())

# Loaded at first use: `import sansfilm` costs neither Dask nor pandas nor zarr.
_LAZY = {
    "Archive": ("sansfilm.view.archive", "Archive"),
    "Volume": ("sansfilm.view.volume", "Volume"),
    "gc": ("sansfilm.upkeep", "gc"),
    "index": ("sansfilm.upkeep", "index"),
    "ingest": ("sansfilm.intake", "ingest"),
    "open": ("sansfilm.archive", "open_archive"),
    "read": ("sansfilm.archive", "read"),
    "samples": ("sansfilm.sample_data", "samples"),
    "verify": ("sansfilm.upkeep", "verify"),
    "watch": ("sansfilm.landing", "watch"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'sansfilm' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _LAZY[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
