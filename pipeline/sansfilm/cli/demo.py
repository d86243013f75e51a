"""The whole chain on the sample of the repository."""

import sys
from pathlib import Path

import sansfilm
from sansfilm.cli.commands import save_figure
from sansfilm.cli.text import print_report, volume_line

SAMPLES = ("ct-head-j2k", "mr-asl")


def run_demo(output: str) -> int:
    """Ingest the sample, list the archive, draw the CT; say where all is.

    Raises
    ------
    SourceNotFoundError
        If this installation came without its data.
    """
    sources = [sansfilm.samples(name) for name in SAMPLES]
    folder = Path(output)
    archive_url = folder / "archive"
    report = sansfilm.ingest(sources, archive_url)
    print_report(report)
    archive = sansfilm.open(archive_url)
    print("\nThe catalogue:")
    for row in archive.rows():
        print(volume_line(row))
    ct = next(volume for volume in archive if volume.modality == "CT")
    picture = folder / "ct.png"
    save_figure(ct.show("bone"), str(picture))
    print(f"\nThe archive is at {archive_url.resolve()}")
    print(f"The picture is at {picture.resolve()}")
    print(f"Open it in Python: import sansfilm; sansfilm.open({str(archive_url)!r}).volumes")
    if report.problems:
        print("sansfilm: the sample should have no problems", file=sys.stderr)
        return 1
    return 0
