#!/usr/bin/env python3
"""Writes figures of whole experiments into README and book, between the marks that ask for them.

    docs/figures.py STORE apothecary-defences apothecary-api

A mark is a line `<!-- figures: EXPERIMENT WHAT -->`, and `<!-- end of figures -->` ends what is replaced. WHAT is a
defence's label for what `titer show --defence LABEL --format md` says; `table` for the table of defences side by side of
`titer compare --format md`, `scores` for its other tables, `harm` for the first of these, and `LABEL scores` for their lines of that
defence, of its sham and of the undefended model. TITER names another program than the one on the PATH. Marks of experiments that are not named are
left as they are.
"""

import functools
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MARK = re.compile(r"(<!-- figures: (\S+) (.+?) -->\n)(.*?)(<!-- end of figures -->)", re.DOTALL)


@functools.cache
def printed(*words):
    command = [os.environ.get("TITER", "titer"), *words, "--format", "md"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def said(store, experiment, what):
    label, _, scores = what.partition(" ")
    if what not in ("table", "scores", "harm") and scores != "scores":
        return printed("show", experiment, "--store", store, "--defence", what)
    text = printed("compare", experiment, "--store", store)
    first, *others = re.split(r"(?<=\|)\n\n", text)
    if what == "table":
        return first
    if what == "harm":
        return others[0]
    if what == "scores":
        return "\n\n".join(others)
    wanted = {"defence", "---", "none", label, f"{label}-sham"}

    def of_it(line):
        return not line.startswith("|") or line.split("|")[1].strip() in wanted

    return "\n".join(line for line in "\n\n".join(others).splitlines() if of_it(line))


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
