"""An archive as a researcher sees it: a table of volumes, and each of them by its UID."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sansfilm.errors import VolumeNotFoundError
from sansfilm.objects import Objects
from sansfilm.view.axis_values import shortened
from sansfilm.view.volume import Volume

if TYPE_CHECKING:
    import pandas as pd

    from sansfilm.view.patches import PatchDataset, Transform
    from sansfilm.view.select import Day, Names

_LENGTHS = ("spacing_min_mm", "spacing_max_mm", "shear_deg")
"""Columns of numbers that single images and those without a place do not have."""

_TOLD = 4
"""The most series that a message names."""

Read = Callable[[], pa.Table]


class Archive:
    """An archive that was opened with `sansfilm.open`.

    Parameters
    ----------
    target
        Where its objects are.
    volumes, problems, objects : callable
        Read the catalogue's rows of all volumes, of problems, and of instances without pixels.
    """

    def __init__(self, target: Objects, volumes: Read, problems: Read, objects: Read) -> None:
        self._target, self._volumes = target, volumes
        self._problems, self._objects = problems, objects

    @property
    def url(self) -> str:
        """Where the archive is."""
        return self._target.url

    def rows(self, *, history: bool = False) -> list[dict[str, Any]]:
        """Return one record per current volume, as ``ls --json`` prints them.

        With `history` also the volumes that a newer or fuller one stands for: ``superseded_by``.
        """
        return list((self._volumes() if history else self._current()).to_pylist())

    def _current(self) -> pa.Table:
        rows = self._volumes()
        newer = rows["superseded_by"]
        if newer.null_count == len(newer):  # as in most archives; to filter loads Arrow's kernels
            return rows
        return rows.filter(newer.is_null())

    @property
    def volumes(self) -> "pd.DataFrame":
        """One row per current volume: what it is, where, its verdict and the numbers behind it.

        To be asked as any table: ``archive.volumes.query("verdict == 'gapped' and missing > 2")``.
        """
        return _frame(self._current()).astype(dict.fromkeys(_LENGTHS, float))

    def select(
        self,
        *,
        modality: "Names" = None,
        verdict: "Names" = None,
        body_part: "Names" = None,
        patient_key: "Names" = None,
        date: "tuple[Day, Day] | None" = None,
    ) -> "Archive":
        """Return the volumes for which all that is named holds, as the archive is now.

        The result is an archive too: to be counted, walked through, shown, selected from again.

        Parameters
        ----------
        modality, verdict, body_part, patient_key : str or several, optional
            What the catalogue says, letter by letter; of several one has to be there.
        date : (from, to), optional
            First and last day of the study: dates, "2026-01-31" or "20260131"; None is open.

        Raises
        ------
        OptionError
            If the archive has no volume of such a name: the message tells those that it has.
        """
        from sansfilm.view.select import matching

        named = {"modality": modality, "verdict": verdict, "body_part": body_part,
                 "patient_key": patient_key}  # fmt: skip
        chosen = matching(self._current(), named, date)
        return Archive(self._target, lambda: chosen, self._problems, self._objects)

    def sql(self, question: str) -> "pd.DataFrame":
        """Answer a question in SQL over the tables ``volumes``, ``problems`` and ``objects``.

        ``archive.sql("select modality, count(*) from volumes group by modality")``; needs DuckDB.
        Nothing but these tables can be reached.

        Raises
        ------
        MissingPackageError
            Without DuckDB.
        OptionError
            If DuckDB does not understand it.
        """
        from sansfilm.view.select import ask

        tables = {"volumes": self._current, "problems": self._problems, "objects": self._objects}
        return ask(question, tables)

    def patches(
        self,
        patch_size: int | Sequence[int],
        *,
        level: int = 0,
        samples_per_volume: int | None = None,
        patch_overlap: int | Sequence[int] = 0,
        seed: int = 0,
        transform: "Transform | None" = None,
    ) -> "PatchDataset":
        """Return a dataset of patches of all volumes, for PyTorch's DataLoader; needs PyTorch.

        ``archive.select(modality="CT").patches(64, samples_per_volume=8)``. Of each patch only
        the chunks that it touches are read. An item is a dictionary: ``image`` is float32
        (channel, z, y, x) in modality values, times and colours being the channels; ``affine``
        maps an index (z, y, x, 1) of the patch to LPS millimetres,
        of uneven slices on the whole only; ``start`` is its first voxel in
        the level, ``valid`` how many of its voxels are the volume's: of one that is smaller than
        a patch the rest is padding, or the volume's lowest value. ``volume_id``, ``series_uid``,
        ``modality`` and ``level`` say what it is of.

        Parameters
        ----------
        patch_size : int or (z, y, x)
            Voxels of the level.
        level : int, optional
        samples_per_volume : int, optional
            How many random patches of each volume: others in each epoch (`set_epoch`), the same
            for the same `seed`, epoch and index, however many workers there are. Without it all
            patches of a grid, the last ones of which end where the volume ends.
        patch_overlap : int or (z, y, x), optional
            Voxels that neighbours in the grid share.
        seed : int, optional
        transform : callable, optional
            Takes an item and returns what the dataset gives. It has to pickle for workers that
            are spawned.

        Raises
        ------
        OptionError
            For a size that is none, a level that some volumes do not have, and volumes without
            a place in the patient: slides, say.
        """
        from sansfilm.view.patches import PatchDataset

        return PatchDataset(
            self._target, self.rows(), patch_size, level=level,
            samples_per_volume=samples_per_volume, patch_overlap=patch_overlap, seed=seed,
            transform=transform,
        )  # fmt: skip

    @property
    def problems(self) -> "pd.DataFrame":
        """What could not be stored, from all ingests: file, stage, code, message."""
        return _frame(self._problems())

    @property
    def objects(self) -> "pd.DataFrame":
        """What is no image, and the instances and series that it refers to.

        Reports, key objects, presentation states, contours, plans, waveforms: where each file is,
        by ``modality`` and ``sop_class_uid``.
        """
        return _frame(self._objects())

    def find(self, name: str) -> list[Volume]:
        """Return the volumes of a SeriesInstanceUID, or the one with a volume_id.

        Raises
        ------
        VolumeNotFoundError
            If there is none: the message tells the first of those that there are.
        """
        rows = self.rows(history=True)
        keys = [
            row["key"]
            for row in rows
            if name == row["volume_id"] or (name == row["series_uid"] and not row["superseded_by"])
        ]
        if not keys:
            there = sorted({row["series_uid"] for row in rows})
            message = f"no series or volume {name} in {self.url}; it has {len(there)} series"
            told = f" ({shortened(there, _TOLD)})" if there else ""
            raise VolumeNotFoundError(f"{message}{told}: see archive.volumes or `sansfilm ls`")
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
        return (Volume(self._target, key) for key in self._current()["key"].to_pylist())

    def __len__(self) -> int:
        return int(self._current().num_rows)

    def __repr__(self) -> str:
        return f"<sansfilm.Archive {self.url}: {len(self)} volumes>"

    def _repr_html_(self) -> str:
        """Show in a notebook how many volumes there are of what; the catalogue alone is read."""
        from sansfilm.view.cards import archive_card

        return archive_card(self.url, self.rows())


def _frame(rows: pa.Table) -> "pd.DataFrame":
    """Return a table for pandas, lists as lists; an empty one has its columns too."""
    import pandas as pd

    return pd.DataFrame(rows.to_pylist(), columns=rows.column_names)
