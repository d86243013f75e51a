"""`python -m benchmarks`: prepare, compare, write it down; see docs/benchmarks.md."""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import machine, report
from benchmarks.compare import Heat, compare, heats
from benchmarks.field import BY_NAME, KINDS
from benchmarks.inputs import Shape
from benchmarks.measures import first_card, first_volume, planning, reading, scaling

RESULTS = Path(__file__).with_name("results") / "compare.json"
ALLOWED = 1.25
"""How much the ratio may grow before a check fails: what other processes do to it."""
CACHE = machine.ROOT / "out" / "bench"


def main() -> int:
    """Parse and call; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    sub = commands.add_parser("compare", help="run all contenders in turn on the same input")
    sub.set_defaults(command=run_compare)
    sub.add_argument("--size", choices=("small", "usual", "full"), default="usual",
                     help="a minute, half an hour, hours (default: usual)")  # fmt: skip
    sub.add_argument("--kinds", help=f"only these of {','.join(KINDS)}")
    sub.add_argument("--contenders", help=f"only these of {','.join(BY_NAME)}")
    sub.add_argument("--shape", metavar="SERIES,SLICES,EDGE", help="one input only, of this shape")
    sub.add_argument("--folder", type=Path, help="a real series, or a folder of such, instead")
    sub.add_argument("--rounds", type=int, help="how often each runs")
    sub.add_argument("--cache", type=Path, default=CACHE, help="where prepared inputs are kept")
    sub.add_argument("--json", type=Path, default=RESULTS, help="where results are added to")
    for name, command, words in (
        ("measure", run_measures, "scaling, the first volume, planning, reading, first cards"),
        ("report", run_report, "write docs/benchmarks.md from the results"),
        ("check", run_check, "compare ratios, never seconds, with the committed results"),
    ):
        sub = commands.add_parser(name, help=words)
        sub.set_defaults(command=command)
        sub.add_argument("--cache", type=Path, default=CACHE)
        sub.add_argument("--json", type=Path, default=RESULTS)
        sub.add_argument("--full", action="store_true", help="more of it")
        sub.add_argument("--only", choices=("scaling", "first_volume", "planning", "reading",
                                            "first_card"))  # fmt: skip
    options = parser.parse_args()
    code: int = options.command(options)
    return code


def run_compare(options: argparse.Namespace) -> int:
    """Compare; each result takes the place of an older one of the same input."""
    with tempfile.TemporaryDirectory(dir=_made(options.cache)) as work:
        for heat in _chosen(options):
            print(f"{heat.folder or f'{heat.shape.name} {heat.kind}'}", file=sys.stderr)
            found = compare(heat, options.cache, Path(work))
            _print(found)
            known = _known(options.json)
            kept = [each for each in known["comparisons"] if each["input"] != found["input"]]
            _write(options.json, {**known, "machine": machine.facts(),
                                  "comparisons": [*kept, found]})  # fmt: skip
    return 0


def run_measures(options: argparse.Namespace) -> int:
    """Measure what the comparison does not show."""
    with tempfile.TemporaryDirectory(dir=_made(options.cache)) as folder:
        work = Path(folder)
        measures = {
            "planning": lambda: planning(options.cache),
            "reading": lambda: reading(options.cache, work),
            "first_card": lambda: first_card(options.cache, work),
            "first_volume": lambda: first_volume(options.cache, work),
            "scaling": lambda: scaling(options.cache, work, full=options.full),
        }
        for name, measure in measures.items():
            if options.only in (None, name):
                print(name, file=sys.stderr)
                found = measure()
                print(json.dumps(found, indent=1))
                known = _known(options.json)
                machines = {**known.get("machines", {}), name: machine.facts()}
                _write(options.json, {**known, "machines": machines, name: found})
    return 0


def run_report(options: argparse.Namespace) -> int:
    """Write the page from the results."""
    docs = machine.ROOT / "docs"
    report.write(_known(options.json), docs / "benchmarks.md", docs / "images")
    return 0


def run_check(options: argparse.Namespace) -> int:
    """Compare processor time over the floor's with the committed results; 1 if it has grown.

    Also if an output is wrong, or the careful script is faster.
    """
    known = {each["input"]: each["contenders"] for each in _known(options.json)["comparisons"]}
    failed = False
    with tempfile.TemporaryDirectory(dir=_made(options.cache)) as work:
        for heat in heats("small"):
            found = compare(heat, options.cache, Path(work))
            _print(found)
            now = found["contenders"]
            for fault in (f"{name}: {each['faults'][0]}" for name, each in now.items()
                          if each["faults"]):  # fmt: skip
                print(f"{found['input']}: wrong: {fault}")
                failed = True
            if failed or found["input"] not in known:
                continue
            ratio, before = (_over_floor(each) for each in (now, known[found["input"]]))
            slower = now["sansfilm"]["cpu_s"] > now["careful"]["cpu_s"]
            print(f"{found['input']}: {ratio:.2f} times the floor, {before:.2f} was committed")
            failed |= slower or ratio > before * ALLOWED
    return int(failed)


def _over_floor(contenders: dict[str, Any]) -> float:
    return float(contenders["sansfilm"]["cpu_s"] / contenders["floor"]["cpu_s"])


def _chosen(options: argparse.Namespace) -> list[Heat]:
    names = options.contenders.split(",") if options.contenders else None
    kinds = options.kinds.split(",") if options.kinds else KINDS
    rounds = options.rounds
    if options.folder:
        return [Heat(Shape(1, 1), "", names or list(BY_NAME), rounds or 5, options.folder)]
    if options.shape:
        shape = Shape(*map(int, options.shape.split(",")))
        return [Heat(shape, kind, names or list(BY_NAME), rounds or 5) for kind in kinds]
    return [
        Heat(heat.shape, heat.kind, [n for n in heat.names if names is None or n in names],
             rounds or heat.rounds)
        for heat in heats(options.size) if heat.kind in kinds
    ]  # fmt: skip


def _known(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text()) if path.exists() else {}
    return {"comparisons": [], **found}


def _write(path: Path, results: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")


def _print(found: dict[str, Any]) -> None:
    contenders = found["contenders"]
    floor = contenders.get("floor")
    for each in contenders.values():
        ratios = ""
        if floor and not floor["faults"]:
            ratios = "".join(f"  {each[k] / floor[k]:5.2f}x" for k in ("wall_s", "cpu_s"))
        said = "; ".join(each["faults"] or each["remarks"])
        print(f"{each['title'][:32]:32} wall {each['wall_s']:7.2f}  cpu {each['cpu_s']:7.2f}"
              f"{ratios}  peak {each['peak_mb'] or 0:6.0f} MB  {each['quiet']}/{len(each['runs'])} "
              f"{'WRONG ' if each['faults'] else ''}{said[:80]}")  # fmt: skip


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
