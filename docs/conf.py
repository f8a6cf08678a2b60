"""How Sphinx builds the documentation; the reference pages are written first, into a folder that git ignores."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import reference  # noqa: E402  it lies beside this file

project = "Isthmus"
author = "the Isthmus developers"
version = release = reference.isthmus.__version__
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "Isthmus"
highlight_language = "python"
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing"]  # links out of docs; test_docs.py follows them

reference.write(HERE / "reference")
