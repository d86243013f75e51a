"""An archive as a researcher sees it: a table of volumes, and each of them by its UID."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sansfilm.errors import VolumeNotFoundError
from sansfilm.objects import Objects
from sansfilm.view.volume import Volume

if TYPE_CHECKING:
    import pandas as pd

Rows = Callable[[], Sequence[Mapping[str, Any]]]


class Archive:
    """An archive that was opened with `sansfilm.open`.

    Parameters
    ----------
    target
        Where its objects are.
    rows, problems : callable
        Read the catalogue's rows of current volumes and of problems.
    """

    def __init__(self, target: Objects, rows: Rows, problems: Rows) -> None:
        self._target, self._rows, self._problems = target, rows, problems

    @property
    def url(self) -> str:
        """Where the archive is."""
        return self._target.url

    def rows(self) -> list[dict[str, Any]]:
        """Return one record per current volume, as ``ls --json`` prints them."""
        return [dict(row) for row in self._rows()]

    @property
    def volumes(self) -> "pd.DataFrame":
        """One row per current volume: what it is, where, and its verdict."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    @property
    def problems(self) -> "pd.DataFrame":
        """What could not be stored, from all ingests: file, stage, code, message."""
        import pandas as pd

        columns = ["uri", "stage", "code", "message", "series_uid", "frame", "frames"]
        return pd.DataFrame([dict(row) for row in self._problems()], columns=columns)

    def find(self, name: str) -> list[Volume]:
        """Return the volumes of a SeriesInstanceUID, or the one with a volume_id.

        Raises
        ------
        VolumeNotFoundError
            If there is none.
        """
        keys = [row["key"] for row in self._rows() if name in (row["series_uid"], row["volume_id"])]
        if not keys:
            raise VolumeNotFoundError(
                f"no series or volume {name} in {self.url}: see `sansfilm ls`"
            )
        return [Volume(self._target, key) for key in keys]

    def __getitem__(self, name: str) -> Volume:
        """Return the one volume of a SeriesInstanceUID or volume_id.

        Raises
        ------
        VolumeNotFoundError
            If there is none, or the series has several: the message names their volume_ids.
        """
        found = self.find(name)
        if len(found) > 1:
            ids = ", ".join(volume.volume_id for volume in found)
            message = f"series {name} has {len(found)} volumes, name one by its volume_id: {ids}"
            raise VolumeNotFoundError(message)
        return found[0]

    def __iter__(self) -> Iterator[Volume]:
        return iter([Volume(self._target, row["key"]) for row in self._rows()])

    def __len__(self) -> int:
        return len(self._rows())

    def __repr__(self) -> str:
        return f"<sansfilm.Archive {self.url}: {len(self)} volumes>"
