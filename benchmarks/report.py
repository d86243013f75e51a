"""The results -> docs/benchmarks.md with its plots."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import costs
from benchmarks.inputs import Shape

TEXT = Path(__file__).with_name("report.md")
NAMES = {"raw": "uncompressed", "j2k": "JPEG 2000", "jpegls": "JPEG-LS", "htj2k": "HTJ2K",
         "rle": "RLE", "as it is": "as it is"}  # fmt: skip
STORAGE = TEXT.parent / "results" / "storage.md"
"""What a benchmark on object storage has to say, as Markdown."""
GOALS = {
    Shape(1, 140).name: {"raw": 2.0, "j2k": 1.35, "jpegls": 2.0, "htj2k": 2.0},
    Shape(20, 140).name: {"raw": 1.5, "j2k": 1.15, "jpegls": 1.35, "htj2k": 1.5},
}
"""Times the floor's: wall for one series, wall and processor for twenty."""
MEASURES = {"scaling": "scaling", "first": "first_volume", "planning": "planning",
            "reading": "reading", "cards": "first_card"}  # fmt: skip
"""Parts of the page, by the measures that they show: these may be of another machine."""
MANY, RATE = 500, 25
"""Of so many small series, so many each second and core."""


def write(results: Mapping[str, Any], page: Path, images: Path) -> None:
    """Write the page and its plots; the hand-written part is report.md beside this file."""
    parts = {
        "machine": _machine(results["machine"]),
        "comparisons": "\n\n".join(_comparison(row, images, page) for row in _sorted(results)),
        "wrong": _wrong(results),
        "versions": _versions(results),
        "scaling": _table(results.get("scaling", ()), (
            ("what", "what"), ("input", "input"), ("frames", "frames"), ("wall s", "wall_s"),
            ("CPU s", "cpu_s"), ("peak MB", "peak_mb"), ("frames per CPU s", "frames_per_cpu_s"),
            ("series per CPU s", "series_per_cpu_s"))),
        "first": _first(results.get("first_volume")),
        "planning": _planning(results.get("planning", ())),
        "reading": _reading(results.get("reading", ())),
        "cards": _cards(results.get("first_card", ())),
        "costs": _costs(results),
        "storage": STORAGE.read_text().strip() if STORAGE.exists() else "Not measured.",
    }  # fmt: skip
    for part, name in MEASURES.items():
        facts = results.get("machines", {}).get(name, results["machine"])
        if facts != results["machine"]:
            parts[part] = f"On {_machine(facts)}:\n\n{parts[part]}"
    text = TEXT.read_text()
    for name, part in parts.items():
        text = text.replace(f"{{{name}}}", part)
    page.write_text(text)


def _sorted(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    kinds = list(NAMES)
    return sorted(results["comparisons"], key=lambda row: (row["series"], kinds.index(row["kind"])))


def _machine(facts: Mapping[str, Any]) -> str:
    return (
        f"{facts['cores']} cores of {facts['cpu']}, {facts['memory_mb'] / 1024:.0f} GiB, "
        f"{facts['system']} {facts['kernel']}, Python {facts['python']}"
    )


def _comparison(row: Mapping[str, Any], images: Path, page: Path) -> str:
    title = (
        f"### {row['series']} series, {row['files']} slices, {NAMES[row['kind']]}, "
        f"{row['bytes'] / 1e6:.0f} MB"
    )
    contenders = row["contenders"]
    floor = contenders.get("floor", {})
    right = {name: each for name, each in contenders.items() if not each["faults"]}
    lines = []
    for name, each in sorted(right.items(), key=lambda item: item[1]["wall_s"]):
        lines.append({
            "who": f"**{each['title']}**" if name == "sansfilm" else each["title"],
            "wall": _spread(each, "wall_s"), "cpu": _spread(each, "cpu_s"),
            "x wall": _ratio(each, floor, "wall_s"), "x cpu": _ratio(each, floor, "cpu_s"),
            "peak": f"{each['peak_mb'] or 0:.0f}", "out": f"{each['bytes'] / 1e6:.1f}",
            "objects": each["objects"],
            "runs": f"{each['counted']}{'' if each['quiet'] >= each['counted'] else ' (loaded)'}",
            "remarks": "; ".join(each["remarks"]),
        })  # fmt: skip
    table = _table(lines, (
        ("contender", "who"), ("wall s", "wall"), ("x floor", "x wall"), ("CPU s", "cpu"),
        ("x floor", "x cpu"), ("peak MB", "peak"), ("out MB", "out"), ("objects", "objects"),
        ("runs", "runs"), ("remarks", "remarks")))  # fmt: skip
    verdict = _verdict(row, right)
    picture = _plot(row, right, images)
    place = picture.relative_to(page.parent).as_posix()
    return f"{title}\n\n{table}\n\n{verdict}\n\n![wall time of each contender]({place})"


def _verdict(row: Mapping[str, Any], right: Mapping[str, Any]) -> str:
    """Say whether the goals were reached; of a busy machine nothing is said."""
    ours, floor = right.get("sansfilm"), right.get("floor")
    if ours is None or floor is None:
        return ""
    if any(each["quiet"] < each["counted"] for each in (ours, floor)):
        return "The machine was busy: no verdict."
    said = []
    goal = GOALS.get(row["input"].removesuffix(f"-{row['kind']}"), {}).get(row["kind"])
    if goal:
        names = ("wall_s",) if row["series"] == 1 else ("wall_s", "cpu_s")
        worst = max(ours[name] / floor[name] for name in names)
        said.append(f"at most {goal} times the floor: {worst:.2f}, {_reached(worst <= goal)}")
    if row["series"] >= MANY:
        rate = row["series"] / ours["cpu_s"]
        said.append(f"at least {RATE} series per second and core: {rate:.1f}, "
                    f"{_reached(rate >= RATE)}")  # fmt: skip
    others = [
        each["peak_mb"]
        for name, each in right.items()
        if name not in ("sansfilm", "sansfilm-1", "floor") and each["peak_mb"]
    ]
    if others and ours["peak_mb"]:
        lowest = min(others)
        said.append(f"less memory than all but the floor ({lowest:.0f} MB): "
                    f"{ours['peak_mb']:.0f}, {_reached(ours['peak_mb'] < lowest)}")  # fmt: skip
    return "Goals: " + "; ".join(said) + "." if said else ""


def _reached(yes: bool) -> str:
    return "reached" if yes else "**not reached**"


def _spread(each: Mapping[str, Any], name: str) -> str:
    low, high = each[f"{name}_range"]
    return f"{each[name]:.2f} ({low:.2f}-{high:.2f})"


def _ratio(each: Mapping[str, Any], floor: Mapping[str, Any], name: str) -> str:
    return f"{each[name] / floor[name]:.2f}" if floor and not floor["faults"] else "-"


def _plot(row: Mapping[str, Any], right: Mapping[str, Any], images: Path) -> Path:
    """Draw wall and processor time of those that are right."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    order = sorted(right.values(), key=lambda each: -each["wall_s"])
    with mpl.rc_context({"svg.hashsalt": "sansfilm", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(7, 0.5 + 0.36 * len(order)), layout="constrained")
        axes = figure.subplots()
        places = range(len(order))
        colours = ["#c8553d" if each["title"].startswith("sansfilm") else "#588b8b"
                   if each["title"] != "the floor" else "#444444" for each in order]  # fmt: skip
        axes.barh(places, [each["wall_s"] for each in order], 0.55, color=colours)
        axes.scatter([each["cpu_s"] for each in order], places, color="black", s=12, zorder=3)
        axes.set_yticks(places, [each["title"].partition(":")[0] for each in order])
        axes.set_xlabel("seconds: bars wall, points processor")
        axes.spines[["top", "right"]].set_visible(False)
        images.mkdir(parents=True, exist_ok=True)
        file = images / f"benchmarks-{row['input'].replace(' ', '-')}.svg"
        figure.savefig(file, metadata={"Date": None})
    return file


def _wrong(results: Mapping[str, Any]) -> str:
    lines = [
        f"- {NAMES[row['kind']]}, {row['series']} series: **{each['title']}**: "
        + "; ".join(each["faults"][:2])
        for row in _sorted(results)
        for each in row["contenders"].values()
        if each["faults"]
    ]
    return "\n".join(lines) or "None."


def _versions(results: Mapping[str, Any]) -> str:
    found = {
        name: version
        for row in results["comparisons"]
        for each in row["contenders"].values()
        for name, version in each["versions"].items()
    }
    return ", ".join(f"{name} {found[name]}" for name in sorted(found, key=str.lower))


def _first(found: Mapping[str, Any] | None) -> str:
    if not found:
        return "Not measured."
    return (
        f"Of {found['input']}, the first volume can be opened {found['first_s']} s after the start "
        f"of the command, which ends after {found['whole_s']} s."
    )


def _planning(rows: Sequence[Mapping[str, Any]]) -> str:
    flat = [{**row, **row["us_per_instance"]} for row in rows]
    return _table(flat, (
        ("input", "input"), ("instances", "instances"), ("discover, µs each", "discover"),
        ("headers and digest, µs", "headers"), ("grouping, µs", "grouping"),
        ("instances per CPU s", "instances_per_cpu_s"),
        ("CPU s per 100,000", "cpu_s_per_100000")))  # fmt: skip


def _reading(rows: Sequence[Mapping[str, Any]]) -> str:
    lines: list[dict[str, Any]] = []
    for region in dict.fromkeys(row["region"] for row in rows):
        inside = [row for row in rows if row["region"] == region]
        fastest = min(row["wall_ms"] for row in inside)
        lines += [{**row, "times": f"{row['wall_ms'] / fastest:.2f}"} for row in inside]
    return _table(lines, (("region", "region"), ("reader", "reader"), ("wall ms", "wall_ms"),
                          ("x fastest", "times"), ("CPU ms", "cpu_ms")))  # fmt: skip


def _cards(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [{**row, "range": "{}-{}".format(*row["range_ms"])} for row in rows]
    return _table(lines, (("shown", "what"), ("wall ms", "wall_ms"), ("range", "range"),
                          ("import before, ms", "import_ms")))  # fmt: skip


def _costs(results: Mapping[str, Any]) -> str:
    """Return what sansfilm costs for an exam, and for 1 TB of sources, from the largest inputs."""
    table = costs.prices()
    best: dict[str, Mapping[str, Any]] = {}
    for row in _sorted(results):
        if "sansfilm" in row["contenders"] and row["files"] / row["series"] == 140:
            best[row["kind"]] = row
    lines = []
    for kind, row in best.items():
        each = row["contenders"]["sansfilm"]
        if each["faults"]:
            continue
        terabyte = 1e12 / row["bytes"] * row["series"]
        for what, series in (("exam", table["series_per_exam"]), ("TB of sources", terabyte)):
            cost = costs.cost_of(row, each, table, series)
            lines.append({"what": f"{NAMES[kind]}, one {what}", **{k: _short(v) for k, v in
                          cost.items()}})  # fmt: skip
    return _table(lines, (
        ("", "what"), ("CPU s", "cpu_s"), ("PUT", "puts"), ("GET", "gets"), ("GB stored", "gb"),
        ("euros", "euros"), ("euros a month", "euros_per_month"), ("kWh", "kwh")))  # fmt: skip


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[tuple[str, str]]) -> str:
    if not rows:
        return "Not measured."
    return "\n".join(_lines(rows, columns))


def _lines(rows: Sequence[Mapping[str, Any]], columns: Sequence[tuple[str, str]]) -> Iterator[str]:
    yield "| " + " | ".join(title for title, _ in columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield "| " + " | ".join(str(row[key]) for _, key in columns) + " |"
