"""One function per command: build options, make one call, print, return the exit code."""

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

import sansfilm
from sansfilm.errors import OptionError
from sansfilm.options import Options

if TYPE_CHECKING:
    from sansfilm.run.choose import Workers


def ingest(arguments: argparse.Namespace) -> int:
    """Turn DICOM sources into volumes of an archive."""
    from sansfilm.cli.bars import progress_for
    from sansfilm.cli.text import print_report
    from sansfilm.convert import ingest as convert
    from sansfilm.report import to_json

    workers: Workers = arguments.workers
    if workers is None and arguments.scheduler is None:
        workers = "auto"
    with progress_for(sys.stderr) as progress:
        report = convert(
            arguments.source, arguments.archive, workers=workers,
            scheduler=arguments.scheduler, dry_run=arguments.dry_run,
            options=Options(device=arguments.device), progress=progress,
        )  # fmt: skip
    if arguments.json:
        print(json.dumps(to_json(report), indent=1))
    else:
        print_report(report)
    return 3 if report.problems else 0


def ls(arguments: argparse.Namespace) -> int:
    """List the volumes of an archive, one line each."""
    from sansfilm.cli.text import volume_line

    rows = sansfilm.open(arguments.archive).rows()
    for row in rows:
        print(json.dumps(row) if arguments.json else volume_line(row))
    if not rows and not arguments.json:
        print("the archive holds no volume", file=sys.stderr)
    return 0


def info(arguments: argparse.Namespace) -> int:
    """Tell everything that is known of a series: place, values, frames, verdict in words."""
    from sansfilm.cli.text import print_info

    volumes = sansfilm.open(arguments.archive).find(arguments.series)
    for volume in volumes:
        if arguments.json:
            levels = [list(level.shape) for level in volume.levels]
            print(json.dumps({"uri": volume.uri, "levels": levels, **volume.attributes}))
        else:
            print_info(volume)
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Draw axial, coronal and sagittal views of a series into a PNG."""
    volume = sansfilm.open(arguments.archive)[arguments.series]
    at = dict(parse_place(text) for text in arguments.at)
    figure = volume.show(parse_window(arguments.window), level=arguments.level, **at)
    save_figure(figure, arguments.output)
    print(arguments.output)
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Read back every object of an archive and compare it with the commit records."""
    damaged = 0
    for volume, damages in sansfilm.verify(arguments.archive, arguments.series):
        damaged += len(damages)
        if arguments.json:
            found = [{"key": damage.key, "what": damage.what} for damage in damages]
            print(json.dumps({"volume": volume, "damages": found}))
            continue
        print(f"{'damaged' if damages else 'ok':8} {volume}")
        for damage in damages:
            print(f"         {damage.key}: {damage.what}")
    return 5 if damaged else 0


def doctor(arguments: argparse.Namespace) -> int:
    """Show decoders per transfer syntax, GPU, object storage and versions."""
    from sansfilm.cli.doctor import examine, print_findings

    findings = examine()
    print(json.dumps(findings, indent=1)) if arguments.json else print_findings(findings)
    return 0


def demo(arguments: argparse.Namespace) -> int:
    """Run the whole chain on the sample that ships with the repository."""
    from sansfilm.cli.demo import run_demo

    return run_demo(arguments.output)


def parse_window(text: str | None) -> Any:
    """Return a preset's name, (center, width), or None.

    Raises
    ------
    OptionError
        If two numbers were meant and are not there.
    """
    if text is None or "," not in text:
        return text
    try:
        center, width = (float(part) for part in text.split(","))
    except ValueError as exc:
        raise OptionError(f"a window is a name or CENTER,WIDTH, got {text!r}") from exc
    return center, width


def parse_place(text: str) -> tuple[str, int]:
    """Return the axis and the index of AXIS=INDEX.

    Raises
    ------
    OptionError
        If it is something else.
    """
    axis, _, place = text.partition("=")
    if not axis or not place.isdecimal():
        raise OptionError(f"a place is AXIS=INDEX such as t=3, got {text!r}")
    return axis, int(place)


def save_figure(figure: Any, path: str) -> None:
    """Write a figure as a picture.

    Raises
    ------
    OptionError
        If the file cannot be written or its ending names no picture format.
    """
    try:
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as exc:
        raise OptionError(f"cannot write the picture {path}: {exc}") from exc
