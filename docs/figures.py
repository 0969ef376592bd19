#!/usr/bin/env python3
"""Writes figures of whole experiments into README and book, between the marks that ask for them.

    titer show apothecary-defences --store STORE --json > defences.json
    titer show apothecary-api --store STORE --json > api.json
    docs/figures.py defences.json api.json

A mark is a line `<!-- figures: EXPERIMENT WHAT -->`, and `<!-- end of figures -->` ends what is replaced. WHAT is a
defence's label, or `table`. Marks of experiments that are not handed in are left as they are.
"""

import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MARK = re.compile(r"(<!-- figures: (\S+) (.+?) -->\n)(.*?)(<!-- end of figures -->)", re.DOTALL)
WORDS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}


def number(value):
    return f"{value:.2f}".replace("-", "−")


def factor(value):
    if value is None:
        return "∞"
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def titer(one):
    if one is None:
        return "not measured"
    if one["value"] is None and not one["lower"]:
        return "unknown"
    if one["censored"]:
        return f"≥ {factor(one['lower'])}"
    end = ")" if one["upper"] is None else "]"
    return f"{factor(one['value'])} [{factor(one['lower'])}, {factor(one['upper'])}{end}"


def score(one):
    if one is None:
        return "not measured"
    return f"{number(one['value'])} ({number(one['lower'])}–{number(one['upper'])})"


def budgets(defence, attack, probe):
    """From the first run to break to the last: `(3, 6]`, `> 200`, `before any attack`."""
    runs = [run for run in defence["break_budgets"] if run["attack"] == attack and run["probe"] == probe]
    broken = [run for run in runs if run["until"] is not None]
    text = []
    if broken and not max(run["until"] for run in broken):
        text.append("before any attack")
    elif broken:
        text.append(f"({min(run['after'] for run in broken)}, {max(run['until'] for run in broken)}]")
    if len(broken) < len(runs):
        text.append(f"> {min(run['after'] for run in runs if run['until'] is None)}")
    return " or ".join(text)


def seeds(defence):
    runs = defence["break_budgets"]
    words = []
    for key, what in (("defence_seed", "defence seed"), ("seed", "attack seed")):
        count = len({run[key] for run in runs})
        words.append(f"{WORDS[count]} {what}{'s' if count > 1 else ''}")
    return ", ".join(words)


def evidence(found):
    """Numbers have minus signs, words their hyphens."""
    return re.sub(r"(?<![\w.])-(?=\d)", "−", found["evidence"])


def scientific(rate):
    """As titer writes it: `3e-5`."""
    return f"{rate:.0e}".replace("e-0", "e-")


def alignment(experiment, label):
    defence = by_label(experiment, label)
    attacks = list(dict.fromkeys(run["attack"] for run in defence["break_budgets"]))
    rates = {run["attack"]: scientific(run["settings"]["rate"]) for run in defence["break_budgets"]}
    probes = [p for p in ("seen", "unseen") if any(run["probe"] == p for run in defence["break_budgets"])]
    ratio = {(one["attack"], one["probe"]): one["ratio"] for one in defence["ratios"]}
    head = ["attack rate", *probes, *(f"ratio, {p}" for p in probes)]
    start = seeds(defence)
    lines = [
        f"{start[0].upper()}{start[1:]}, full fine-tuning. Break budgets in steps, from the first run to break to the",
        "last, and their ratio to `none` with 95 % intervals:",
        "",
        row(head),
        "|" + "---|" * len(head),
    ]
    for attack in attacks:
        cells = [budgets(defence, attack, p) for p in probes] + [titer(ratio[attack, p]) for p in probes]
        lines.append(row([rates[attack], *cells]))
    bounded = titer(defence["titer_utility_bounded"])
    lines += ["", *wrapped(f"- **Titer** {titer(defence['titer'])}; utility-bounded {bounded}.")]
    for name in ("resistance", "stability", "trainability"):
        found = defence["conditions"][name]
        verdict = found["verdict"].replace("inconclusive", "is inconclusive")
        lines += wrapped(f"- **{name.capitalize()}** {verdict}: {evidence(found)}.")
    return lines


def by_label(experiment, label):
    return next(defence for defence in experiment["defences"] if defence["defence"] == label)


def row(cells):
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def wrapped(text, width=118):
    lines, line = [], ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = "  " + word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]


def shares(defence):
    return sorted((one for one in defence["scores"] if one["dose"] is not None), key=lambda one: one["dose"])


def headings(defence, prefix=""):
    names = [f"{one['dose']:g}" for one in shares(defence)]
    return [f"{prefix}p = {names[0]}", *names[1:]]


def provider(experiment, label):
    defence, none = by_label(experiment, label), by_label(experiment, "none")
    users = len({run["seed"] for run in defence["break_budgets"]})
    lines = [
        f"300 steps at 1e-3 over 500 rows, {WORDS[users]} users, one seed of the defence; 95 % intervals of each number "
        "alone.",
        "",
        row(["", *headings(none)]),
        "|" + "---|" * (len(shares(none)) + 1),
    ]
    for what, key in (("harmful score", "harmful"), ("fine-tune accuracy", "accuracy")):
        for name, of in (("none", none), (label, defence)):
            lines.append(row([f"{what}, `{name}`", *(score(one[key]["after"]) for one in shares(of))]))
    words = [f"{name.capitalize()}: {defence['conditions'][name]['verdict']}." for name in ("resistance", "trainability")]
    return [*lines, "", " ".join(words)]


def table(experiment):
    return provided(experiment) if experiment["threat_model"] == "fine-tuning-api" else attacked(experiment)


SIGNS = {"holds": "✓ holds", "fails": "✗ fails", "inconclusive": "? inconclusive"}


def attacked(experiment):
    conditions = ("resistance", "stability", "generalization", "trainability")
    head = ["defence", "titer", "utility-bounded", *conditions]
    lines = [row(head), "|" + "---|" * len(head)]

    def place(one):
        worth = one["titer"]["value"] or one["titer"]["lower"]
        return one["baseline"], -worth, one["defence"]

    for one in sorted(experiment["defences"], key=place):
        signs = [SIGNS[one["conditions"][name]["verdict"]] for name in conditions]
        lines.append(row([f"`{one['defence']}`", titer(one["titer"]), titer(one["titer_utility_bounded"]), *signs]))
    return lines


def provided(experiment):
    first = experiment["defences"][0]
    head = ["stage", "defence", *headings(first, "harmful, "), *headings(first, "accuracy, ")]
    lines = [row(head), "|" + "---|" * len(head)]
    before = None
    for one in experiment["defences"]:
        stage = "" if one["baseline"] else "in line" if len(one["stages"]) > 1 else one["stage"]
        cells = [number(each[key]["after"]["value"]) for key in ("harmful", "accuracy") for each in shares(one)]
        lines.append(row(["" if stage == before else stage, f"`{one['defence']}`", *cells]))
        before = stage
    return lines


def main(files):
    experiments = {one["experiment"]: one for one in (json.loads(pathlib.Path(f).read_text()) for f in files)}

    def written(match):
        begin, name, what, _, end = match.groups()
        experiment = experiments.get(name)
        if experiment is None:
            return match.group(0)
        make = provider if experiment["threat_model"] == "fine-tuning-api" else alignment
        lines = table(experiment) if what == "table" else make(experiment, what)
        return "\n".join([begin, *lines, "", end])

    for page in [ROOT / "README.md", *sorted((ROOT / "docs/src").rglob("*.md"))]:
        text = page.read_text()
        new = MARK.sub(written, text)
        if new != text:
            page.write_text(new)
            print(page.relative_to(ROOT))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1:])
