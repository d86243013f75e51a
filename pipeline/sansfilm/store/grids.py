"""The lattices of stored volumes: what came in later may have been drawn on one of them."""

import hashlib
import json
from typing import Any

from sansfilm.errors import IntegrityError
from sansfilm.model import Grid, Verdict
from sansfilm.objects import Objects
from sansfilm.store.commit import Published, published


def stored_grids(target: Objects, series_uid: str) -> list[Grid]:
    """Return the lattices of a series' published volumes, those that no other stands for.

    They equal `VolumePlan.grid` of the plans that the volumes were made from. Nothing but this
    series is read.

    Raises
    ------
    IntegrityError
        If a record or the metadata of a volume is damaged: a grid is never taken from it.
    TargetError
        If the archive cannot be read.
    """
    volumes = published(target, series_uid)
    current = [each for each in volumes if not any(other.stands_for(each) for other in volumes)]
    grids = (_grid(target, volume) for volume in current)
    return [grid for grid in grids if grid is not None]


def _grid(target: Objects, volume: Published) -> Grid | None:
    group, array = (_read(target, volume, path) for path in ("zarr.json", "0/zarr.json"))
    own = group["attributes"]["sansfilm"]
    if own["affine_lps"] is None or "z" in own["axes_values"] or "segmentation" in own:
        return None
    sizes = dict(zip(array["dimension_names"], array["shape"], strict=True))
    return Grid(
        series_uid=own["series_uid"], volume_id=own["volume_id"],
        frame_of_reference_uid=own["frame_of_reference_uid"],
        shape=(sizes["z"], sizes["y"], sizes["x"]),
        affine_lps=tuple(tuple(row) for row in own["affine_lps"]),
        spacing_mm=tuple(own["spacing_mm"][-3:]), verdict=Verdict(**own["verdict"]),
    )  # fmt: skip


def _read(target: Objects, volume: Published, path: str) -> Any:
    key = f"{volume.key}/{path}"
    try:
        data = target.get(key)
    except FileNotFoundError as exc:
        raise IntegrityError(key, "is missing: see `sansfilm verify`") from exc
    if hashlib.sha256(data).hexdigest() != volume.digests.get(path):
        raise IntegrityError(key, "is damaged: see `sansfilm verify`")
    return json.loads(data)
