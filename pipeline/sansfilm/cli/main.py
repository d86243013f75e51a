"""The `sansfilm` command: parse, call, print, exit code."""

import argparse
import gc
import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from typing import NoReturn

from sansfilm.cli.logs import LEVELS, log_to_stderr
from sansfilm.errors import (
    ArchiveNotFoundError,
    IntegrityError,
    OptionError,
    SansfilmError,
    SourceLostError,
    SourceNotFoundError,
    TargetError,
    VolumeNotFoundError,
)

CLEAN, FAILED, USAGE, PROBLEMS, STORAGE, INTEGRITY, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130
_EPILOG = """\
exit codes: 0 clean, 1 failed, 2 wrong call, 3 done with problems, 4 storage or network,
5 integrity, 130 interrupted, 143 terminated. Results on stdout, progress on stderr.
Not for clinical use."""
_VERSION = version("sansfilm")
# NumPy's threads are for large products of matrices, and wait by spinning: no command has such.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def run() -> NoReturn:
    """Run the command of this process and exit with its code."""
    code = main(sys.argv[1:])
    gc.freeze()  # else the interpreter looks for cycles in all there is: a twentieth of a small run
    sys.exit(code)


def main(arguments: Sequence[str]) -> int:
    """Run one command; return its exit code."""
    parser = build_parser()
    try:
        options = parser.parse_args(arguments)
    except SystemExit as exc:  # argparse has printed what is wrong, or the help
        return int(exc.code or 0)
    log_to_stderr("debug" if options.debug else options.log_level, options.log_format)
    say: Callable[[str], object] = partial(print, file=sys.stderr)
    if options.log_format == "json":  # then nothing else is on stderr
        say = logging.getLogger("sansfilm").error
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except KeyboardInterrupt as exc:
        say("sansfilm: interrupted; the same command goes on from here")
        return 128 + exc.args[0] if exc.args else INTERRUPTED
    except BrokenPipeError:  # `sansfilm ls | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLEAN
    except SansfilmError as exc:
        say(f"sansfilm: {exc}")
        return _code(exc)


def _code(exc: SansfilmError) -> int:
    wrong_calls = (OptionError, SourceNotFoundError, ArchiveNotFoundError, VolumeNotFoundError)
    if isinstance(exc, wrong_calls):
        return USAGE
    if isinstance(exc, TargetError | SourceLostError):
        return STORAGE
    return INTEGRITY if isinstance(exc, IntegrityError) else FAILED


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    from sansfilm.cli import commands

    parser = argparse.ArgumentParser(
        prog="sansfilm", description="DICOM archives to multi-resolution OME-Zarr volumes.",
        epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"sansfilm {_VERSION}")
    parser.add_argument("--debug", action="store_true", help="the same as --log-level debug")
    _add_log_options(parser, "warning", "text")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        words = (command.__doc__ or "").strip()
        sub = subparsers.add_parser(name, help=words.splitlines()[0], description=words)
        sub.set_defaults(command=command)
        _add_log_options(sub, argparse.SUPPRESS, argparse.SUPPRESS)  # before or after the command
        return sub

    ingest = add("ingest", commands.ingest)
    ingest.add_argument(
        "source", nargs="+", metavar="SOURCE", help="folder, file, zip, tar or URL of DICOM"
    )
    ingest.add_argument("archive", metavar="ARCHIVE", help="folder or URL of the archive")
    ingest.add_argument("--dry-run", action="store_true", help="plan only, write nothing")
    where = ingest.add_mutually_exclusive_group()
    where.add_argument("--workers", type=int, metavar="N", help="local processes; 1 is this one")
    where.add_argument("--scheduler", metavar="ADDRESS", help="Dask scheduler, tcp:// or tls://")
    ingest.add_argument("--tls", metavar="DIR",
                        help="speak TLS, with ca.pem, cert.pem and key.pem of DIR")  # fmt: skip
    ingest.add_argument("--allow-unsafe-commit", action="store_true",
                        help="go on where storage ignores conditional writes")  # fmt: skip
    ingest.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto",
                        help="where to decode and reduce (default: auto)")  # fmt: skip

    ingest.add_argument("--report", metavar="FILE.jsonl",
                        help="append one JSON line for each event to a file")  # fmt: skip
    ingest.add_argument("--watch", action="store_true",
                        help="go on: ingest what arrives, until Ctrl-C")  # fmt: skip
    ingest.add_argument("--every", type=float, metavar="SECONDS",
                        help="with --watch, between two looks (default: 10)")  # fmt: skip
    ingest.add_argument("--quiet", type=float, metavar="SECONDS",
                        help="with --watch, how long a file stands still before it is read "
                             "(default: as --every)")  # fmt: skip

    listing = add("ls", commands.ls)
    info = add("info", commands.info)
    verify = add("verify", commands.verify)
    garbage = add("gc", commands.gc)
    index = add("index", commands.index)
    show = add("show", commands.show)
    for sub in (listing, info, verify, garbage, index, show):
        sub.add_argument("archive", metavar="ARCHIVE", help="folder or URL of the archive")
    for sub in (info, show):
        sub.add_argument("series", metavar="SERIES", help="SeriesInstanceUID or volume_id")
    verify.add_argument("series", metavar="SERIES", nargs="?", help="only this series or volume")
    listing.add_argument("--all", action="store_true",
                         help="also volumes that a newer or fuller one stands for")  # fmt: skip
    verify.add_argument("--quick", action="store_true",
                        help="compare sizes only: bits that flipped are not found")  # fmt: skip
    verify.add_argument("--repair", action="store_true",
                        help="make damaged objects anew from unchanged sources")  # fmt: skip
    garbage.add_argument("--older-than", metavar="AGE", default="7d",
                         help="such as 7d, 12h or 30m (default: 7d)")  # fmt: skip
    garbage.add_argument("--dry-run", action="store_true", help="list only, delete nothing")
    show.add_argument("-o", "--output", metavar="PICTURE.png", required=True,
                      help="where to put the picture")  # fmt: skip
    show.add_argument(
        "--window",
        metavar="NAME|CENTER,WIDTH",
        help="a preset such as lung, 'voi lut', or two numbers; default: the series' own",
    )
    show.add_argument("--level", type=int, metavar="N", help="0 is full resolution")
    show.add_argument(
        "--at",
        metavar="AXIS=INDEX",
        action="append",
        default=[],
        help="place along a further axis, counted from 0, such as t=3; default: 0",
    )

    doctor = add("doctor", commands.doctor)
    demo = add("demo", commands.demo)
    demo.add_argument(
        "-o",
        "--output",
        metavar="FOLDER",
        default="out/demo",
        help="where to put archive and picture (default: out/demo)",
    )
    for sub in (ingest, listing, info, verify, garbage, index, doctor):
        sub.add_argument("--json", action="store_true", help="machine-readable output")
    return parser


def _add_log_options(parser: argparse.ArgumentParser, level: str, form: str) -> None:
    parser.add_argument("--log-level", choices=LEVELS, default=level,
                        help="what is logged to stderr (default: warning)")  # fmt: skip
    parser.add_argument("--log-format", choices=("text", "json"), default=form,
                        help="json: one object a line, and nothing else on stderr")  # fmt: skip
