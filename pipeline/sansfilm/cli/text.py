"""Reports, volumes and series in words for people."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sansfilm.errors import DESCRIPTIONS
from sansfilm.model import Report
from sansfilm.store.verify import Damage
from sansfilm.view.axis_values import listing, shortened
from sansfilm.view.volume import Volume


def volume_line(row: Mapping[str, Any]) -> str:
    """Return the one line that `ls` prints of a volume."""
    shape = "x".join(str(size) for size in row["shape"])
    spacing = "x".join("-" if size is None else f"{size:.3g}" for size in row["spacing_mm"])
    return (
        f"{row['modality']:3} {row['verdict']:9} {shape:>14} {row['dtype']:7} {spacing:>16} mm  "
        f"{row['series_uid']}  {row['volume_id'][:8]}"
    )


def damage_lines(damage: Damage) -> Iterator[str]:
    """Yield the lines that `verify` prints of a damaged object: what it is, and what it hits."""
    yield f"         {damage.key}: {'repaired; it was: ' * damage.repaired}{damage.what}"
    hit = []
    if damage.shard is not None:
        hit.append(f"level {damage.level}, shard {', '.join(map(str, damage.shard))}")
    if damage.frames:
        uids = list(dict.fromkeys(uid for uid, _ in damage.frames))
        named = ", ".join(uids[:3]) + (f" and {len(uids) - 3} more" if len(uids) > 3 else "")
        hit.append(f"{len(damage.frames)} frames of instances {named}")
    if hit:
        yield f"           {'; '.join(hit)}"


def print_report(report: Report) -> None:
    """Print what an ingest did: volumes, then problems by code, then the balance."""
    there = set(report.unchanged)
    for row in report.volumes:
        state = "planned" if report.dry_run else "new"
        if row.get("key") in there:
            state = "already there, nothing to do"
        print(f"{volume_line(row)}  {state}")
    for code, count in sorted(Counter(problem.code for problem in report.problems).items()):
        print(f"{count:6} x {code}: {DESCRIPTIONS[code]}")
        for problem in [problem for problem in report.problems if problem.code == code][:3]:
            print(f"         {_printable(problem.uri)}: {problem.message}")
        if count > 3:
            print(f"         and {count - 3} more: see --json")
    if report.objects:
        kinds = Counter(found.modality or "other" for found in report.objects)
        told = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        print(f"{len(report.objects):6} objects without pixels, kept in the catalogue: {told}")
    frames, files = report.frames, report.files
    verb = "planned" if report.dry_run else "stored"
    print(
        f"{files['seen']} files, {files['images']} images: {frames['found']} frames found = "
        f"{frames['stored']} {verb} + {frames['in_problems']} in problems; {report.seconds:.1f} s"
    )


def round_line(report: Report) -> str:
    """Return the one line that `ingest --watch` prints of a round."""
    now = datetime.now().astimezone().isoformat(" ", "seconds")
    if report.error:
        return f"{now}  storage failed, the next round tries again: {report.error}"
    frames, new = report.frames, len(report.volumes) - len(report.unchanged)
    codes = sorted(Counter(str(problem.code) for problem in report.problems).items())
    told = f" ({', '.join(f'{count} {code}' for code, count in codes)})" if codes else ""
    return (
        f"{now}  {report.files['seen']} files: {new} new volumes, {len(report.unchanged)} were "
        f"there; {frames['found']} frames found = {frames['stored']} stored + "
        f"{frames['in_problems']} in problems{told}; {report.seconds:.1f} s"
    )


def print_info(volume: Volume) -> None:
    """Print everything known of a volume; no patient identity."""
    own = volume.attributes
    lines = {
        "volume": volume.uri,
        "series": own["series_uid"],
        "study": own["study_uid"],
        "modality": own["modality"],
        "verdict": f"{own['verdict']['code']}: {own['verdict']['text']}",
        "missing": _missing(own["missing"]),
        "axes": ", ".join(volume.axes),
        **{f"axis {name}": listing(entry) for name, entry in own["axes_values"].items()},
        "orientation": ", ".join(own["orientation"]) or "unknown",
        "spacing": _spacing(own),
        "values": _values(own),
        "windows": "; ".join(f"C {w['center']:g} W {w['width']:g} {w['explanation']}".rstrip()
                             for w in own["windows"]) or "none",
        "voi luts": "; ".join(f"{lut['explanation'] or 'without a name'}, {lut['entries']} entries"
                              for lut in own.get("voi_luts", ())) or "none",
        "padding": _padding(own["padding"]),
        "lossy": "yes" if own["lossy"]["is_lossy"] else "no",
        "decoded by": ", ".join(f"{syntax}: {', '.join(names)}"
                                for syntax, names in own["decoders"].items()),
        "frames": str(own["frames"]),
        "notes": " ".join(own["notes"]) or "none",
    }  # fmt: skip
    for name, text in lines.items():
        print(f"{name:12} {text}")
    for number, level in enumerate(volume.levels):
        shape = " x ".join(str(size) for size in level.shape)
        shards = " x ".join(str(size) for size in level.shards or ())
        print(f"level {number:<6} {shape} {level.dtype}, shards of {shards}")
    print("numbers      behind the verdict")
    for name, value in own["verdict"]["numbers"].items():
        print(f"  {name:22} {_found(name, value)}")
    if own["affine_lps"]:
        print("affine_lps   index (z, y, x, 1) -> mm (x, y, z, 1)")
        for row in own["affine_lps"]:
            print("  " + "  ".join(f"{value:12.6g}" for value in row))
    print()


def _missing(indices: Sequence[Any]) -> str:
    """Return how many frames are missing and where: indices as in `missing`, runs shortened."""
    if not indices:
        return "none"
    if isinstance(indices[0], Sequence):
        words = [f"({', '.join(str(part) for part in index)})" for index in indices]
    else:
        words = _runs(indices)
    frames = "1 frame" if len(indices) == 1 else f"{len(indices)} frames"
    return f"{frames}, at index {shortened(words, 8)}"


def _runs(numbers: Sequence[int]) -> list[str]:
    """Join neighbours: 3, 7-9."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]


def _found(name: str, value: Any) -> str:
    """Return a number behind a verdict, or several of them in one line."""
    if name == "missing" and not isinstance(value, int):
        return _missing(value)
    if isinstance(value, Mapping):
        return ", ".join(
            f"{part} ({_found(part, inner)})" if isinstance(inner, Mapping)
            else f"{part} {_found(part, inner)}"
            for part, inner in value.items()
        )  # fmt: skip
    if isinstance(value, list):
        each_on_a_line = value and isinstance(value[0], Mapping)
        return (f"\n{'':25}" if each_on_a_line else ", ").join(_found(name, part) for part in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _values(own: Mapping[str, Any]) -> str:
    rescale = own["rescale"]
    unit = rescale["unit"] or "no unit"
    if rescale["per_frame"]:
        return f"modality values ({unit}), slope and intercept differ by frame"
    state = "modality values" if rescale["applied"] else "stored values"
    return f"{state} ({unit}), slope {rescale['slope']:g}, intercept {rescale['intercept']:g}"


def _spacing(own: Mapping[str, Any]) -> str:
    values, kind = own["spacing_mm"], own.get("spacing_kind", "patient")
    if not any(values):
        return "unknown"
    text = " x ".join("-" if value is None else f"{value:.6g}" for value in values) + " mm"
    return text if kind == "patient" else f"{text} ({kind})"


def _padding(ends: Sequence[float | str] | None) -> str:
    if ends is None:
        return "none"
    words = dict.fromkeys(str(end) if isinstance(end, str) else f"{end:.10g}" for end in ends)
    return " to ".join(words)


def _printable(uri: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in uri)
