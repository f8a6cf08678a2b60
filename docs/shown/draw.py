"""Runs the pages beside it, draws their pictures and writes what they print: `python docs/shown/draw.py [page ...]`.

A page saves its pictures into the current folder, which is docs/pictures/shown here and an empty one in the tests.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import time
import warnings
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PICTURES = HERE.parent / "pictures" / "shown"
BLOCK = re.compile(r"^```(python|output)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(page: Path) -> str:
    """The page as it reads after its code has run."""
    memory: dict[str, Any] = {"__name__": page.stem}
    printed = io.StringIO()

    def block(found: re.Match[str]) -> str:
        if found[1] == "output":
            text = printed.getvalue()
            printed.truncate(printed.seek(0))
            return f"```output\n{text}```"
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile(found[2], str(page), "exec"), memory)
        except BaseException:
            print(printed.getvalue())
            raise
        return found[0]

    return BLOCK.sub(block, page.read_text(encoding="utf-8"))


if __name__ == "__main__":
    PICTURES.mkdir(parents=True, exist_ok=True)
    os.chdir(PICTURES)
    warnings.simplefilter("error")  # as in the tests
    for path in sorted(HERE.glob("*.md")):
        if len(sys.argv) == 1 or path.stem in sys.argv[1:]:
            started = time.process_time()
            path.write_text(run(path), encoding="utf-8")
            print(f"{path.stem}: {time.process_time() - started:.1f} s of processor time")
