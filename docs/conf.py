"""How Sphinx builds the pages; ``make docs`` runs it."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = _PROJECT["name"]
author = _PROJECT["authors"][0]["name"]
version = release = _PROJECT["version"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "docs.extensions.api_pages",
    "docs.extensions.beyond",
    "docs.extensions.conversations",
]
smartquotes = False  # they would make a dash of the hyphens of an option
highlight_language = "none"  # of blocks that name none: formulas
root_doc = "index"
# index.md includes README.md, which is what a forge shows of this folder.
exclude_patterns = ["README.md", "how-to/*/**"]
nitpicky = True
# There is nothing here to link these to, and nothing is fetched from elsewhere.
nitpick_ignore_regex = [
    (r"py:.*", r"(collections|contextlib|enum|random|re|twisted|typing|zope)\..*"),
    (r"py:class", r".*\.[A-Z]"),  # a variable of types
    (r"py:class", r"transports\.conformance\.meeting\..*"),  # the laws' own
]

myst_heading_anchors = 4

toc_object_entries_show_parents = "hide"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
python_use_unqualified_type_names = True
napoleon_use_ivar = True
napoleon_use_rtype = False
default_role = "py:obj"
add_module_names = False

html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sphinx = False
html_copy_source = False
html_show_copyright = False

copybutton_prompt_text = "$ "
