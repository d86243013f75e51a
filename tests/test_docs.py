"""The pages of docs are of today: tables that the code decides, public names, links."""

import importlib.util
import re
from pathlib import Path

import pytest

import sansfilm
import sansfilm_kernels
from sansfilm.cli import main

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
if not DOCS.is_dir():  # a source distribution has none
    pytest.skip("there are no docs here", allow_module_level=True)
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
FRONT = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("make_tables", DOCS / "make_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["codes.md", "commands.md"])
def test_generated_pages_are_of_today(maker, name):
    committed = (DOCS / "reference" / name).read_text(encoding="utf-8")
    assert committed == maker.pages()[name], "run: python docs/make_tables.py"


def test_every_exit_code_has_a_meaning(maker):
    codes = {value for name, value in vars(main).items() if name.isupper() and type(value) is int}
    assert codes == maker.EXIT_CODES.keys()


def test_every_option_of_every_command_has_a_meaning(maker):
    rows = [line for line in maker.commands_page().splitlines() if line.startswith("| `")]
    assert len(rows) > 30
    assert [row for row in rows if not row.rstrip("| ").count(" | ")] == []


@pytest.mark.parametrize(
    ("page", "package"), [("python.md", sansfilm), ("kernels.md", sansfilm_kernels)]
)
def test_the_reference_has_every_public_name(page, package):
    text = (DOCS / "reference" / page).read_text(encoding="utf-8")
    named = re.findall(rf"^\.\. auto\w+:: {package.__name__}\.(\w+)$", text, flags=re.MULTILINE)
    assert sorted(named) == sorted(package.__all__)


@pytest.mark.parametrize("path", [*FRONT, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        target, _, anchor = link.partition("#")
        if "://" in link or not target:
            continue
        found = (path.parent / target).resolve()
        assert found.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {
                re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings
            }
            assert anchor in slugs, link


NOUNS = {
    "sansfilm": sansfilm,
    "sansfilm_kernels": sansfilm_kernels,
    "kernels": sansfilm_kernels,
    "archive": sansfilm.Archive,
    "vol": sansfilm.Volume,
}


def code_of(path):
    """Return the Python of a page: its blocks, and what stands in a sentence as a call."""
    text = path.read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    rest = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return "\n".join([*blocks, *re.findall(r"`([^`\n]+\([^`\n]*\))`", rest)])


@pytest.mark.parametrize("path", [*FRONT, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_code_uses_names_that_there_are(path):
    own = {"attributes"}  # made when a volume is opened
    for noun, name in re.findall(rf"(?<![\w.])({'|'.join(NOUNS)})\.(\w+)", code_of(path)):
        assert name in own or hasattr(NOUNS[noun], name), f"{noun}.{name}"


@pytest.mark.parametrize("path", [*FRONT, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_are_those_that_there_are(path, maker):
    lines = path.read_text(encoding="utf-8").splitlines()
    commands = maker.commands_of(main.build_parser())
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in lines:
        for call in re.findall(r"(?:^    |`|/bin/)sansfilm ([a-z][^`|#]*)", line):
            name, *words = call.split()
            assert name in commands, line
            known = {
                option for action in commands[name]._actions for option in action.option_strings
            }
            assert {word for word in words if word.startswith("-")} <= known, line
        for target in re.findall(r"(?:^    |`)make ([a-z0-9-]+)", line):
            assert target in targets, line
