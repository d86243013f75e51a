"""docs/verdicts.md says what the code makes of the data today."""

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
if not DOCS.is_dir():  # a source distribution has none
    pytest.skip("there are no docs here", allow_module_level=True)


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("make_verdicts", DOCS / "make_verdicts.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page(maker):
    return maker.make_page([("tests/data", 1)])


def sections(page):
    """Split a page at its headings of second order, by heading."""
    head, *parts = page.split("\n## ")
    return {"": head} | {part.partition("\n")[0]: part.strip() for part in parts}


def test_the_page_is_of_today(page):
    committed = sections((DOCS / "verdicts.md").read_text(encoding="utf-8"))
    assert committed["tests/data"] == sections(page)["tests/data"], "run: make verdicts"


def test_the_page_says_what_it_was_made_of(maker, page):
    assert "\nover `tests/data`. " in page
    told = sections((DOCS / "verdicts.md").read_text(encoding="utf-8"))
    assert {f"`{name}`" in told[""] for name in told if "data" in name} == {True}


def test_the_same_data_give_the_same_bytes(maker, page):
    assert maker.make_page([("tests/data", 1)]) == page


def test_a_collection_that_is_not_there_is_not_told_of(maker):
    assert "nowhere" not in maker.make_page([("../nowhere/data", 2)])


def test_verdicts_are_told_by_folder(page):
    rows = [line for line in page.splitlines() if line.startswith("| `ct-tilt-jpegls` | 1 | CT")]
    assert len(rows) == 1
    assert "| sheared | 6 slices, one every 2.371 mm. They lean by 18.50 degrees" in rows[0]
    assert "| `us-cine` |" in page


def test_no_verdict_without_a_meaning(maker):
    row = {"verdict": "crooked"}
    with pytest.raises(AssertionError, match="crooked has no meaning"):
        maker._volume(row)
