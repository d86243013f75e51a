"""HTML for notebooks: cards, tables and lists, in which every text is escaped.

Inline styles alone, for a notebook takes away all others; colours of the page, light or dark.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

_CARD = "font:13px/1.5 system-ui,sans-serif;max-width:60em"
_CELL = "text-align:left;padding:1px 12px 1px 0;border:0;white-space:nowrap"
_TABLE = "border-collapse:collapse;margin:4px 0;font:inherit;background:none"


def card(title: str, *parts: str) -> str:
    """Return parts, HTML all of them, under a title, which is text."""
    return f'<div style="{_CARD}"><b>{escape(title)}</b>{"".join(parts)}</div>'


def line(text: str, *, faint: bool = False) -> str:
    """Return a line of text."""
    style = ' style="opacity:0.65"' if faint else ""
    return f"<div{style}>{escape(text)}</div>"


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table; a number or a text in each cell."""
    lines = [_row("th", head), *(_row("td", row) for row in rows)]
    return f'<table style="{_TABLE}">{"".join(lines)}</table>'


def counts(numbers: Mapping[str, int]) -> str:
    """Return numbers with what they are of, the largest first, as text."""
    most = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number} {name}" for name, number in most)


def account(
    title: str,
    place: str,
    books: Mapping[str, Mapping[str, int]],
    problems: Iterable[tuple[str, str, str]],
) -> str:
    """Return what became of files and frames, and how often each problem was met.

    Parameters
    ----------
    books : mapping
        What is counted -> what became of it -> how many.
    problems : iterable of (stage, code, what it means)
    """
    kinds = sorted(Counter(problems).items(), key=lambda item: (-item[1], item[0]))
    told = (
        f"{name}: " + ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in book.items())
        for name, book in books.items()
    )
    rows = [(count, *kind) for kind, count in kinds]
    head = ("problems", "stage", "code", "")
    return card(title, line(place, faint=True), *map(line, told), table(head, rows) if rows else "")


def size(count: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"


def shape(sizes: Iterable[Any]) -> str:
    """Return sizes along the axes as people write them; "?" for one that is not known."""
    return " × ".join(
        "?" if size is None else f"{size:.4g}" if isinstance(size, float) else str(size)
        for size in sizes
    )


def _row(tag: str, cells: Sequence[Any]) -> str:
    inside = (f'<{tag} style="{_CELL}">{escape(str(cell))}</{tag}>' for cell in cells)
    return f"<tr>{''.join(inside)}</tr>"
