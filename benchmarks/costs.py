"""What an archive costs, from the figures of the comparison and a table of prices."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PRICES = Path(__file__).with_name("prices.toml")


def prices() -> dict[str, float]:
    """Read the table of prices."""
    return tomllib.loads(PRICES.read_text())


def cost_of(row: Mapping[str, Any], contender: Mapping[str, Any], table: Mapping[str, float],
            series: float) -> dict[str, float]:  # fmt: skip
    """Return what so many series like those of a comparison take.

    Sources are read twice, for planning and for the pixels: one request each on object storage;
    every object is one request. Processor time is that of all cores together.

    Parameters
    ----------
    row, contender : mapping
        One comparison, and one of its contenders, as in the JSON.
    """
    times = series / row["series"]
    cpu, puts, gets = (
        contender["cpu_s"] * times,
        contender["objects"] * times,
        2 * row["files"] * times,
    )
    stored = contender["bytes"] * times / 1e9
    return {
        "cpu_s": cpu,
        "puts": puts,
        "gets": gets,
        "gb": stored,
        "euros": cpu / 3600 * table["euros_per_core_hour"]
        + puts / 1000 * table["euros_per_1000_puts"]
        + gets / 1000 * table["euros_per_1000_gets"],
        "euros_per_month": stored * table["euros_per_gb_month"],
        "kwh": cpu / 3600 * table["watts_per_core"] / 1000,
    }
