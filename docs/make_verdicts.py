"""Write docs/verdicts.md: what sansfilm makes of every folder of real DICOM that is here.

    python docs/make_verdicts.py

Ingests each folder of tests/data, and of ../shared/data if that is beside the repository, into an
archive of its own that is thrown away. The same data and code give the same bytes.
"""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import sansfilm
from sansfilm.verdict import MEANINGS

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "verdicts.md"
COLLECTIONS = (("tests/data", 1), ("../shared/data", 2))
"""Each collection and how deep its folders lie: one ingest for each of them."""
LEFT_OUT = ("LICENSES",)

INTRODUCTION = """\
# Verdicts

What `sansfilm` makes of real DICOM files, folder by folder. Made by `make verdicts`, not by hand,
over {collections}. [Codes](reference/codes.md) says what each verdict and
each problem means. The numbers behind a verdict are in `Volume.verdict`; `sansfilm info` prints
them.
"""


def make_page(collections: Iterable[tuple[str, int]] = COLLECTIONS) -> str:
    """Return the page over those collections that are there."""
    there = [(name, depth) for name, depth in collections if (ROOT / name).is_dir()]
    names = " and ".join(f"`{name}`" for name, _ in there)
    parts = [INTRODUCTION.format(collections=names)]
    parts += [make_section(name, depth) for name, depth in there]
    return "\n".join(parts)


def make_section(name: str, depth: int) -> str:
    """Return what was found in the folders of one collection."""
    volumes, problems, frames = [], [], []
    for folder in _folders(ROOT / name, depth):
        with tempfile.TemporaryDirectory() as scratch:
            report = sansfilm.ingest(folder, Path(scratch) / "archive")
        place = f"`{folder.relative_to(ROOT / name).as_posix()}`"
        alike = Counter(tuple(_volume(row)) for row in report.volumes)
        volumes += [[place, str(count), *cells] for cells, count in sorted(alike.items())]
        codes = Counter(str(problem.code) for problem in report.problems)
        problems += [[place, f"`{code}`", str(count)] for code, count in sorted(codes.items())]
        found, stored, lost = (report.frames[key] for key in ("found", "stored", "in_problems"))
        if found != stored + lost:
            raise AssertionError(f"{folder}: {found} frames found, {stored} + {lost} accounted for")
        files = report.files["seen"], len(report.objects)
        frames.append([place, *map(str, (*files, found, stored, lost))])
    volume_columns = ("folder", "volumes", "modality", "axes", "shape", "dtype", "spacing, mm",
                      "verdict", "in words")  # fmt: skip
    frame_columns = ("folder", "files", "no images", "frames found", "frames stored",
                     "frames in problems")  # fmt: skip
    return "\n".join(
        [
            f"## {name}\n", "### Volumes\n", "Volumes of a folder that are alike share a row.\n",
            _table(volume_columns, volumes),
            "### Problems\n", _table(("folder", "code", "how many"), problems),
            "### Frames\n", "Each frame found is either stored or in a problem.\n",
            _table(frame_columns, frames),
        ]
    )  # fmt: skip


def _folders(collection: Path, depth: int) -> Iterator[Path]:
    for folder in sorted(path for path in collection.iterdir() if path.is_dir()):
        if folder.name.startswith((".", "__")) or folder.name in LEFT_OUT:
            continue
        if depth > 1:
            yield from _folders(folder, depth - 1)
        else:
            yield folder


def _volume(row: dict[str, Any]) -> list[str]:
    if row["verdict"] not in MEANINGS:
        raise AssertionError(f"verdict {row['verdict']} has no meaning in sansfilm.verdict")
    spacing = ["-" if size is None else f"{size:.4g}" for size in row["spacing_mm"]]
    return [
        row["modality"] or "-", " ".join(row["axes"]), " x ".join(map(str, row["shape"])),
        row["dtype"], " x ".join(spacing), row["verdict"], row["verdict_text"],
    ]  # fmt: skip


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    cells = [[str(cell).replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
