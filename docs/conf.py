"""How `make docs` builds the site: Sphinx, pages in Markdown, notebooks run while it builds.

Nothing is fetched, neither here nor by the pages: docs/decisions/0019-documentation-site.md.
"""

import re
import shutil
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

project = "sansfilm"
author = "The sansfilm developers"
version = release = installed_version("sansfilm")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["**/.ipynb_checkpoints"]
html_theme = "furo"
html_title = "sansfilm"
html_copy_source = False
html_show_copyright = False
pygments_style, pygments_dark_style = "friendly", "monokai"

# Docstrings: `name` is a parameter or a Python object of ours.
default_role = "py:obj"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_preprocess_types = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say more: shapes, units, dtypes

myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 60
# Widgets need scripts from elsewhere and a kernel: the site has the pictures that come with them.
nb_ipywidgets_js: dict[str, Any] = {}
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]

HERE = Path(__file__).resolve().parent
_FOREIGN = re.compile(rb"<(?:script|link|img|iframe)[^>]*? (?:src|href)=.(?:https?:)?//[^>]*>")


def bring_notebooks(app: Sphinx, config: Any) -> None:
    """Copy the notebooks, since Sphinx reads nothing outside of its folder, not by links either."""
    shutil.rmtree(HERE / "notebooks", ignore_errors=True)
    shutil.copytree(
        HERE.parent / "notebooks", HERE / "notebooks", ignore=shutil.ignore_patterns(".*")
    )


def point_to_copies(app: Sphinx, docname: str, source: list[str]) -> None:
    """Let links to notebooks, which are right in the repository, be right in the site."""
    source[0] = source[0].replace("](../notebooks/", "](notebooks/")
    source[0] = source[0].replace("](../../notebooks/", "](../notebooks/")


def refuse_foreign_parts(app: Sphinx, error: Exception | None) -> None:
    """Fail if a page would load anything from another place: readers are nobody's business."""
    if error or app.builder.name != "html":
        return
    for page in sorted(Path(app.outdir).rglob("*.html")):
        if found := _FOREIGN.search(page.read_bytes()):
            raise ExtensionError(f"{page.name} loads a part from elsewhere: {found[0].decode()}")


def setup(app: Sphinx) -> None:
    """Register what is done around a build."""
    app.connect("config-inited", bring_notebooks)
    app.connect("source-read", point_to_copies)
    app.connect("build-finished", refuse_foreign_parts)
