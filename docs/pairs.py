"""Writes docs/pairs.md, the table of what goes together: `python docs/pairs.py`."""

from __future__ import annotations

from pathlib import Path

from isthmus.checks import pair_tables

if __name__ == "__main__":
    Path(__file__).with_suffix(".md").write_text(pair_tables(), encoding="utf-8")
