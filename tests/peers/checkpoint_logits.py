"""Compares titer's logits of a real checkpoint with those of Transformers.

    python tests/peers/checkpoint_logits.py MODEL           (a directory, or a .gguf file)

Runs `target/release/examples/checkpoint` (cargo build --release -p titer-model --example checkpoint), then
lets Transformers load the directory that titer saves as well.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

torch.set_num_threads(1)
path = Path(sys.argv[1])
binary = Path(__file__).parents[2] / "target" / "release" / "examples" / "checkpoint"
ids = [504, 3575, 282, 4649, 314, 7042, 30, 533, 260, 713, 216, 33, 41, 38, 41, 2973, 808, 13197, 335, 260]


def logits(model):
    with torch.no_grad():
        return model.eval()(torch.tensor([ids])).logits[0].numpy()


with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    (folder / "ids.json").write_text(json.dumps(ids))
    subprocess.run([binary, path, folder / "ids.json", folder / "logits", folder / "saved"], check=True)
    got = np.fromfile(folder / "logits", dtype="<f4").reshape(len(ids), -1)
    where = dict(pretrained_model_name_or_path=path.parent, gguf_file=path.name) if path.is_file() else dict(
        pretrained_model_name_or_path=path
    )
    peers = {"the same file": where, "titer's directory": dict(pretrained_model_name_or_path=folder / "saved")}
    for name, where in peers.items():
        expected = logits(AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32))
        same = (got.argmax(1) == expected.argmax(1)).mean()
        print(f"{name}: largest difference {np.abs(got - expected).max():.3g} of {np.abs(expected).max():.3g}, "
              f"largest token the same in {same:.0%} of rows")
