"""Reports, volumes and series in words for people."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sansfilm.errors import DESCRIPTIONS
from sansfilm.model import Report
from sansfilm.view.volume import Volume


def volume_line(row: Mapping[str, Any]) -> str:
    """Return the one line that `ls` prints of a volume."""
    shape = "x".join(str(size) for size in row["shape"])
    spacing = "x".join("-" if size is None else f"{size:.3g}" for size in row["spacing_mm"])
    return (
        f"{row['modality']:3} {row['verdict']:9} {shape:>14} {row['dtype']:7} {spacing:>16} mm  "
        f"{row['series_uid']}  {row['volume_id'][:8]}"
    )


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
    frames, files = report.frames, report.files
    verb = "planned" if report.dry_run else "stored"
    print(
        f"{files['seen']} files, {files['images']} images: {frames['found']} frames found = "
        f"{frames['stored']} {verb} + {frames['in_problems']} in problems; {report.seconds:.1f} s"
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
        "orientation": ", ".join(own["orientation"]) or "unknown",
        "spacing": _numbers(own["spacing_mm"]) + " mm",
        "values": _values(own),
        "windows": "; ".join(f"C {w['center']:g} W {w['width']:g} {w['explanation']}".rstrip()
                             for w in own["windows"]) or "none",
        "padding": "none" if own["padding"] is None else _numbers(own["padding"]),
        "lossy": "yes" if own["lossy"]["is_lossy"] else "no",
        "decoded by": ", ".join(f"{syntax}: {', '.join(names)}"
                                for syntax, names in own["decoders"].items()),
        "frames": str(own["frames"]),
    }  # fmt: skip
    for name, text in lines.items():
        print(f"{name:12} {text}")
    for number, level in enumerate(volume.levels):
        shape = " x ".join(str(size) for size in level.shape)
        shards = " x ".join(str(size) for size in level.shards or ())
        print(f"level {number:<6} {shape} {level.dtype}, shards of {shards}")
    for name, value in own["verdict"]["numbers"].items():
        print(f"  {name:22} {value}")
    if own["affine_lps"]:
        print("affine_lps   index (z, y, x, 1) -> mm (x, y, z, 1)")
        for row in own["affine_lps"]:
            print("  " + "  ".join(f"{value:12.6g}" for value in row))
    print()


def _values(own: Mapping[str, Any]) -> str:
    rescale = own["rescale"]
    unit = rescale["unit"] or "no unit"
    if rescale["per_frame"]:
        return f"modality values ({unit}), slope and intercept differ by frame"
    state = "modality values" if rescale["applied"] else "stored values"
    return f"{state} ({unit}), slope {rescale['slope']:g}, intercept {rescale['intercept']:g}"


def _numbers(values: Any) -> str:
    return " x ".join("-" if value is None else f"{value:.6g}" for value in values)


def _printable(uri: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in uri)
