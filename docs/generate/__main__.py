"""Write what of the pages is made from the code.

``python -m docs.generate`` writes the tables of options and the texts of the diagrams;
with ``--draw`` Graphviz's ``dot`` then draws every diagram of the folder.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys

from docs.generate import DOCS, generated


def main() -> int:
    """Write the files, and say which have changed."""
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description=__doc__)
    parser.add_argument("--draw", action="store_true", help="draw the diagrams too; needs dot")
    options = parser.parse_args()
    dot = shutil.which("dot")
    if options.draw and dot is None:
        print("the diagrams are drawn by dot: install Graphviz", file=sys.stderr)
        return 1
    for path, text in generated().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(path.relative_to(DOCS.parent))
    if options.draw and dot is not None:
        for path in sorted(DOCS.rglob("*.dot")):
            subprocess.run([dot, "-Tsvg", path, "-o", path.with_suffix(".svg")], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
