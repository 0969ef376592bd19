"""What `titer export --format tensorboard` writes, read back by TensorBoard and compared with the same frame as CSV.

    python -m venv /tmp/tb && /tmp/tb/bin/pip install tensorboard
    titer export EXPERIMENT --what curves --format tensorboard --out /tmp/runs
    titer export EXPERIMENT --what curves --format csv --out /tmp/curves.csv
    /tmp/tb/bin/python tests/peers/tensorboard_values.py curves /tmp/curves.csv /tmp/runs

The same with `training` for `curves`. Every value of the CSV must come back, at its step and in single precision,
and no other. Not run in CI, which has no TensorBoard; last run with tensorboard 2.21.0.
"""

import collections
import csv
import math
import pathlib
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator, SCALARS

HARMFUL = {"seen", "unseen", "cross-domain"}


def single(text):
    return struct.unpack("<f", struct.pack("<f", float(text)))[0]


def curves(row):
    """Tags and values of one row."""
    probe = row["probe"]
    score = "harmfulness" if probe in HARMFUL else "moved" if probe == "routing" else "ability"
    yield f"{score}/{probe}", row["mean_score"]
    yield f"refused/{probe}", row["refused_share"]
    yield f"degenerate/{probe}", row["degenerate_share"]


def training(row):
    yield f"loss/{row['term']}", row["value"]
    for column in ["learning_rate", "gradient_norm", "tokens"]:
        yield column, row[column]


kind, table, folder = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
tags = {"curves": curves, "training": training}[kind]
keys = {"curves": ["defence", "defence_seed", "arm", "attack", "attack_seed"], "training": ["artifact"]}[kind]
step = {"curves": "budget_steps", "training": "step"}[kind]

# Of each run: the set of (tag, step, value). Runs are compared as a multiset of such sets: their names are for people.
expected = collections.defaultdict(set)
with table.open(newline="") as file:
    for row in csv.DictReader(file):
        run = tuple(row[key] for key in keys)
        expected[run].update((tag, int(row[step]), single(value)) for tag, value in tags(row))

found, times = [], []
for path in sorted(folder.iterdir()):
    accumulator = EventAccumulator(str(path), size_guidance={SCALARS: 0}).Reload()
    values = set()
    for tag in accumulator.Tags()["scalars"]:
        for event in accumulator.Scalars(tag):
            values.add((tag, event.step, event.value))
            times.append(event.wall_time)
    found.append(frozenset(values))

count = sum(len(values) for values in expected.values())
print(f"{len(found)} runs, {sum(map(len, found))} values; expected {len(expected)} runs, {count} values")
missing = collections.Counter(map(frozenset, expected.values()))
missing.subtract(found)
wrong = {values: number for values, number in missing.items() if number}
assert not wrong, f"{len(wrong)} runs differ, such as {sorted(next(iter(wrong)))[:5]}"
assert count > 0 and all(math.isfinite(time) and time > 1e9 for time in times), "wall times"
print("every value came back")
