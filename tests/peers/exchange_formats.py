"""What `titer export --what results` writes, read by the programs that it is written for.

    python -m venv /tmp/exchange && /tmp/exchange/bin/pip install jsonschema inspect-ai pyyaml
    titer export EXPERIMENT --what results --format every-eval-ever --by me --out /tmp/eee
    titer export EXPERIMENT --what results --format inspect --out /tmp/logs
    titer export EXPERIMENT --what results --format eval-results --dataset me/bench --out /tmp/cards
    /tmp/exchange/bin/python tests/peers/exchange_formats.py SCHEMAS /tmp/eee /tmp/logs /tmp/cards

SCHEMAS is the folder `every_eval_ever/schemas` of github.com/evaleval/every_eval_ever, whose JSON Schemas judge the
documents and every line of answers. Checksums, counts and means are taken again from the lines. Logs are read by
Inspect's own reader, files of the hub by PyYAML. Not run in CI; last run with inspect-ai 0.3.285, jsonschema 4.26.0
and the schemas 0.3.0 at commit 9bce413.
"""

import hashlib
import json
import math
import pathlib
import sys

import jsonschema
import yaml
from inspect_ai.log import read_eval_log


def every_eval_ever(schemas, folder):
    of = lambda name: jsonschema.Draft7Validator(json.loads((schemas / name).read_text()))
    whole, line = of("eval.schema.json"), of("instance_level_eval.schema.json")
    documents = sorted(folder.rglob("*.json"))
    assert documents, f"no document below {folder}"
    for path in documents:
        document = json.loads(path.read_text())
        whole.validate(document)
        details = document["detailed_evaluation_results"]
        samples = (folder / details["file_path"]).read_bytes()
        assert (folder / details["file_path"]).parent == path.parent
        assert hashlib.sha256(samples).hexdigest() == details["checksum"], path
        # At all that Python calls the end of a line: answers hold none of it.
        rows = [json.loads(row) for row in samples.decode().splitlines()]
        assert len(rows) == details["total_rows"], path
        scores = {}
        for row in rows:
            line.validate(row)
            assert row["evaluation_id"] == document["evaluation_id"]
            assert row["model_id"] == document["model_info"]["id"]
            scores.setdefault(row["evaluation_result_id"], []).append(row["evaluation"]["score"])
        results = {result["evaluation_result_id"]: result for result in document["evaluation_results"]}
        assert len(results) == len(document["evaluation_results"]), "results share an identifier"
        for name, values in scores.items():
            score = results[name]["score_details"]["score"]
            assert math.isclose(score, sum(values) / len(values), abs_tol=1e-9), name
        print(f"{path.name}: {len(results)} results, {len(rows)} answers")


def inspect(folder):
    logs = sorted(folder.glob("*.json"))
    assert logs, f"no log in {folder}"
    for path in logs:
        log = read_eval_log(str(path))
        assert log.version == 2 and log.status == "success"
        assert log.results.completed_samples == len(log.samples)
        assert len({(sample.id, sample.epoch) for sample in log.samples}) == len(log.samples), "samples share a name"
        for score in log.results.scores:
            values = [sample.scores[score.name].value for sample in log.samples if score.name in sample.scores]
            assert math.isclose(score.metrics["mean"].value, sum(values) / len(values), abs_tol=1e-9)
        print(f"{path.name}: {len(log.samples)} samples, {[score.name for score in log.results.scores]}")


def cards(folder):
    files = sorted(folder.glob("*/.eval_results/*.yaml"))
    assert files, f"no card below {folder}"
    for path in files:
        for entry in yaml.safe_load(path.read_text()):
            assert set(entry) <= {"dataset", "value", "date", "source", "evaluation_framework", "notes"}, entry
            assert {"id", "task_id"} <= set(entry["dataset"]) and isinstance(entry["value"], (int, float)), entry
        print(f"{path}: as it should be")


if __name__ == "__main__":
    schemas, eee, logs, pages = map(pathlib.Path, sys.argv[1:])
    every_eval_ever(schemas, eee)
    inspect(logs)
    cards(pages)
