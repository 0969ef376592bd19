#!/usr/bin/env python3
"""Writes figures of whole experiments into README and book, between the marks that ask for them.

    docs/figures.py STORE apothecary-defences apothecary-api

A mark is a line `<!-- figures: EXPERIMENT WHAT -->`, and `<!-- end of figures -->` ends what is replaced. WHAT is a
defence's label, `table` or `scores`. What stands between is what `titer show --defence WHAT --format md` says, or of `titer
compare --format md` the table of defences side by side, or the others; TITER names another program than the one on the PATH. Marks of experiments that are not named are left as
they are.
"""

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MARK = re.compile(r"(<!-- figures: (\S+) (.+?) -->\n)(.*?)(<!-- end of figures -->)", re.DOTALL)


def said(store, experiment, what):
    verb = ["compare", experiment] if what in ("table", "scores") else ["show", experiment, "--defence", what]
    command = [os.environ.get("TITER", "titer"), *verb, "--format", "md", "--store", store]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    first, *others = re.split(r"(?<=\|)\n\n", text)
    return {"table": first, "scores": "\n\n".join(others)}.get(what, text)


def main(store, *experiments):
    def written(match):
        begin, name, what, _, end = match.groups()
        return f"{begin}\n{said(store, name, what)}\n\n{end}" if name in experiments else match.group(0)

    for page in [ROOT / "README.md", *sorted((ROOT / "docs/src").rglob("*.md"))]:
        text = page.read_text()
        new = MARK.sub(written, text)
        if new != text:
            page.write_text(new)
            print(page.relative_to(ROOT))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
