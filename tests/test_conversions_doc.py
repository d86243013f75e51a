"""Each line of the table of conversions names the test that proves it: it has to be there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_tests_that_are_named_are_there():
    text = (ROOT / "docs" / "conversions.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert len(named) > 15
    for file, name in named:
        assert f"\ndef {name}(" in (ROOT / file).read_text(), f"{file}::{name}"
    tables = [line for line in text.splitlines() if re.match(r"\| (?!to |a volume with )\w", line)]
    assert [line for line in tables if "::test_" not in line] == []
