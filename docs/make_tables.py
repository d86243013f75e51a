"""Write the pages of docs/reference that the code decides: commands and codes.

    python docs/make_tables.py

`make docs` does this first, and tests/test_docs.py tells when a page is not of today.
"""

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import sansfilm.errors
from sansfilm.cli import main
from sansfilm.errors import DESCRIPTIONS, SansfilmError
from sansfilm.verdict import MEANINGS

REFERENCE = Path(__file__).resolve().parent / "reference"

EXIT_CODES = {
    main.CLEAN: "All went well.",
    main.FAILED: "It failed: no GPU where one was asked for, a package that is missing.",
    main.USAGE: "A wrong call: an option, a source, an archive or a series that is not there.",
    main.PROBLEMS: "Done, with problems: some files or frames could not be used.",
    main.STORAGE: "Storage or network: the archive cannot be read or written.",
    main.INTEGRITY: "Integrity: stored bytes are not what was committed.",
    main.INTERRUPTED: "Interrupted: the same command goes on from there.",
}

_CODES = """\
# Codes

Made from the code by `docs/make_tables.py`, not by hand.

## Verdicts

What the geometry of a volume turned out to be: `Volume.verdict.code`, and the column `verdict` of
the catalogue. [Verdicts](../verdicts.md) has those of real series.

{verdicts}
## Problems

One record for each file or frame that could not be used as it is; the run goes on. They are in the
report of the run and in `archive.problems`. Codes are stable.

{problems}
## Exceptions

A wrong call, or a run that cannot go on. All are in `sansfilm.errors`, and all are `SansfilmError`;
each is also the exception of Python that is named beside it.

{exceptions}
## Exit codes

{exits}"""
_COMMANDS = """\
# Commands

Made from the code by `docs/make_tables.py`, not by hand. `sansfilm COMMAND --help` says the same,
and `python -m sansfilm` is `sansfilm`. Results are on stdout, progress is on stderr;
[Codes](codes.md#exit-codes) has the exit codes.

{options}"""


def pages() -> dict[str, str]:
    """Return every page by its file name."""
    return {"codes.md": codes_page(), "commands.md": commands_page()}


def codes_page() -> str:
    """Return what verdicts, problems, exceptions and exit codes mean."""
    return _CODES.format(
        verdicts=table(("verdict", "meaning"), _coded(MEANINGS)),
        problems=table(("code", "meaning"), _coded(DESCRIPTIONS)),
        exceptions=table(("exception", "also a", "meaning"), _exceptions()),
        exits=table(("code", "meaning"), _coded(EXIT_CODES)),
    )


def commands_page() -> str:
    """Return the reference of the command line, from its parser."""
    parser = main.build_parser()
    parts = [_COMMANDS.format(options=table(("option", "meaning"), _rows(parser)))]
    for name, command in commands_of(parser).items():
        usage = _usage(f"{parser.prog} {name}", command)
        arguments = table(("argument", "meaning"), _rows(command))
        parts.append(f"## {name}\n\n{command.description}\n\n    {usage}\n\n{arguments}")
    return "\n".join(parts)


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command."""
    (commands,) = (
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    )
    return dict(commands.choices)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def _coded(meanings: Mapping[Any, str]) -> Iterator[tuple[str, str]]:
    return ((f"`{code}`", text) for code, text in meanings.items())


def _exceptions() -> Iterator[tuple[str, str, str]]:
    for name, found in vars(sansfilm.errors).items():
        if isinstance(found, type) and issubclass(found, SansfilmError) and found.__bases__[1:]:
            meaning = (found.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
            yield f"`{name}`", f"`{found.__bases__[1].__name__}`", meaning


def _rows(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) or "--help" in action.option_strings:
            continue
        yield f"`{_spelled(action)}`", action.help or ""


def _spelled(action: argparse.Action) -> str:
    if not action.option_strings:
        return str(action.metavar or action.dest)
    names = ", ".join(action.option_strings)
    return f"{names} {_value(action)}".strip()


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    return str(action.metavar or "|".join(map(str, action.choices or (action.dest.upper(),))))


def _usage(name: str, parser: argparse.ArgumentParser) -> str:
    """Return a line as people write it; argparse's own differs between versions of Python."""
    words = [name]
    for action in parser._actions:
        if "--help" in action.option_strings:
            continue
        if not action.option_strings:
            word = _spelled(action)
            word += "..." if action.nargs == "+" else ""
            words.append(f"[{word}]" if action.nargs == "?" else word)
        else:
            word = f"{action.option_strings[0]} {_value(action)}".strip()
            words.append(word if action.required else f"[{word}]")
    return " ".join(words)


if __name__ == "__main__":
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
