"""One function per command: build options, make one call, print, return the exit code."""

import argparse
import json
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import sansfilm
from sansfilm.errors import OptionError
from sansfilm.options import Options

if TYPE_CHECKING:
    from sansfilm.model import Report
    from sansfilm.progress import Progress
    from sansfilm.run.choose import Workers


def ingest(arguments: argparse.Namespace) -> int:
    """Turn DICOM sources into volumes of an archive."""
    from sansfilm.cli.bars import progress_for
    from sansfilm.events import Events, ReportFile
    from sansfilm.progress import Progress, Several
    from sansfilm.run.interrupt import draining

    with ExitStack() as stack:
        stack.enter_context(draining())
        told: list[Progress] = []
        if arguments.report is not None:
            told.append(Events(stack.enter_context(ReportFile(arguments.report)).emit))
        if arguments.watch:
            _watch(arguments, Several(*told))
        if arguments.every is not None or arguments.quiet is not None:
            raise OptionError("--every and --quiet belong to --watch")
        if arguments.log_format == "text":
            told.append(stack.enter_context(progress_for(sys.stderr)))
        report = sansfilm.ingest(
            arguments.source, arguments.archive, dry_run=arguments.dry_run,
            progress=Several(*told), **_how(arguments),
        )  # fmt: skip
    _print_report(report, arguments.json)
    return 3 if report.problems else 0


def _watch(arguments: argparse.Namespace, told: "Progress") -> NoReturn:
    """Ingest what arrives, and print a line for each round, until it is interrupted."""
    from sansfilm.cli.text import round_line
    from sansfilm.report import to_json

    if arguments.dry_run:
        raise OptionError("--watch writes what arrives: leave out --dry-run")
    every_s = 10 if arguments.every is None else arguments.every
    rounds = sansfilm.watch(
        arguments.source, arguments.archive, every_s=every_s, quiet_s=arguments.quiet,
        progress=told, **_how(arguments),
    )  # fmt: skip
    for report in rounds:
        print(json.dumps(to_json(report)) if arguments.json else round_line(report), flush=True)
    raise AssertionError("watching has no end")


def _how(arguments: argparse.Namespace) -> dict[str, Any]:
    workers: Workers = arguments.workers
    if workers is None and arguments.scheduler is None:
        workers = "auto"
    return {
        "workers": workers, "scheduler": arguments.scheduler, "tls": arguments.tls,
        "options": Options(device=arguments.device),
        "allow_unsafe_commit": arguments.allow_unsafe_commit,
    }  # fmt: skip


def _print_report(report: "Report", as_json: bool) -> None:
    from sansfilm.cli.text import print_report
    from sansfilm.report import to_json

    if as_json:
        print(json.dumps(to_json(report), indent=1))
    else:
        print_report(report)


def ls(arguments: argparse.Namespace) -> int:
    """List the volumes of an archive, one line each."""
    from sansfilm.cli.text import volume_line

    rows = sansfilm.open(arguments.archive).rows(history=arguments.all)
    for row in rows:
        later = f"  superseded by {row['superseded_by'][:8]}" if row["superseded_by"] else ""
        print(json.dumps(row) if arguments.json else volume_line(row) + later)
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
    found = sansfilm.verify(
        arguments.archive, arguments.series, quick=arguments.quick, repair=arguments.repair
    )
    return _print_findings(found, arguments, "ok")


def index(arguments: argparse.Namespace) -> int:
    """Write the catalogue anew from the volumes alone."""
    return _print_findings(sansfilm.index(arguments.archive), arguments, "indexed")


def _print_findings(
    findings: Iterable[tuple[str, list[Any]]], arguments: argparse.Namespace, well: str
) -> int:
    from sansfilm.cli.text import damage_lines

    damaged = False
    for volume, damages in findings:
        left = [damage for damage in damages if not damage.repaired]
        damaged |= bool(left)
        if arguments.json:
            found = [asdict(damage) for damage in damages]
            print(json.dumps({"volume": volume, "damages": found}))
            continue
        print(f"{'damaged' if left else 'repaired' if damages else well:8} {volume}")
        for damage in damages:
            print(*damage_lines(damage), sep="\n")
    return 5 if damaged else 0


def gc(arguments: argparse.Namespace) -> int:
    """Delete what no commit record names and nobody has written to for a while."""
    found = sansfilm.gc(
        arguments.archive, older_than=parse_age(arguments.older_than), dry_run=arguments.dry_run
    )
    total = count = 0
    for key, size in found:
        count, total = count + 1, total + size
        print(json.dumps({"key": key, "bytes": size}) if arguments.json else f"{size:>12} {key}")
    if not arguments.json:
        verb = "would be deleted" if arguments.dry_run else "deleted"
        print(f"{count} objects, {total} bytes {verb}")
    return 0


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


def parse_age(text: str) -> timedelta:
    """Return the time that 7d, 12h, 30m or 10s stand for.

    Raises
    ------
    OptionError
        If it is something else.
    """
    units = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
    number, unit = text[:-1], text[-1:]
    if unit not in units or not (number.isascii() and number.isdecimal() and len(number) < 7):
        raise OptionError(f"an age is a whole number of d, h, m or s such as 7d, got {text!r}")
    return timedelta(**{units[unit]: int(number)})


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
