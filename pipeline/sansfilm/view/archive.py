"""An archive as a researcher sees it: a table of volumes, and each of them by its UID."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sansfilm.errors import VolumeNotFoundError
from sansfilm.objects import Objects
from sansfilm.view.volume import Volume

if TYPE_CHECKING:
    import pandas as pd

_LENGTHS = ("spacing_min_mm", "spacing_max_mm", "shear_deg")
"""Columns of numbers that single images and those without a place do not have."""
_COLUMNS = (
    "series_uid", "study_uid", "volume_id", "key", "patient_key", "modality", "body_part",
    "study_date", "verdict", "verdict_text", *_LENGTHS, "missing", "duplicates", "axes", "shape",
    "dtype", "spacing_mm", "affine_lps", "levels", "frames", "transfer_syntaxes", "is_lossy",
    "supersedes", "superseded_by", "uri", "committed_at",
)  # fmt: skip
"""Columns of an archive without volumes, so that a question has the answer none."""

Rows = Callable[[], Sequence[Mapping[str, Any]]]


class Archive:
    """An archive that was opened with `sansfilm.open`.

    Parameters
    ----------
    target
        Where its objects are.
    rows, problems, objects : callable
        Read the catalogue's rows of all volumes, of problems, and of instances without pixels.
    """

    def __init__(self, target: Objects, rows: Rows, problems: Rows, objects: Rows) -> None:
        self._target, self._rows = target, rows
        self._problems, self._objects = problems, objects

    @property
    def url(self) -> str:
        """Where the archive is."""
        return self._target.url

    def rows(self, *, history: bool = False) -> list[dict[str, Any]]:
        """Return one record per current volume, as ``ls --json`` prints them.

        With `history` also the volumes that a newer or fuller one stands for: ``superseded_by``.
        """
        return [dict(row) for row in self._rows() if history or row["superseded_by"] is None]

    @property
    def volumes(self) -> "pd.DataFrame":
        """One row per current volume: what it is, where, its verdict and the numbers behind it.

        To be asked as any table: ``archive.volumes.query("verdict == 'gapped' and missing > 2")``.
        """
        import pandas as pd

        rows = self.rows()
        table = pd.DataFrame(rows, columns=None if rows else _COLUMNS)
        return table.astype(dict.fromkeys(_LENGTHS, float))

    @property
    def problems(self) -> "pd.DataFrame":
        """What could not be stored, from all ingests: file, stage, code, message."""
        import pandas as pd

        columns = ["uri", "stage", "code", "message", "series_uid", "frame", "frames"]
        return pd.DataFrame([dict(row) for row in self._problems()], columns=columns)

    @property
    def objects(self) -> "pd.DataFrame":
        """What is no image, and the instances and series that it refers to.

        Reports, key objects, presentation states, contours, plans, waveforms: where each file is,
        by ``modality`` and ``sop_class_uid``.
        """
        import pandas as pd

        columns = [
            "uri", "sop_instance_uid", "sop_class_uid", "series_uid", "study_uid", "patient_key",
            "modality", "referenced_series_uids", "referenced_sop_instance_uids", "sha256",
        ]  # fmt: skip
        return pd.DataFrame([dict(row) for row in self._objects()], columns=columns)

    def find(self, name: str) -> list[Volume]:
        """Return the volumes of a SeriesInstanceUID, or the one with a volume_id.

        Raises
        ------
        VolumeNotFoundError
            If there is none.
        """
        keys = [
            row["key"]
            for row in self._rows()
            if name == row["volume_id"] or (name == row["series_uid"] and not row["superseded_by"])
        ]
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
        return iter([Volume(self._target, row["key"]) for row in self.rows()])

    def __len__(self) -> int:
        return len(self.rows())

    def __repr__(self) -> str:
        return f"<sansfilm.Archive {self.url}: {len(self)} volumes>"
