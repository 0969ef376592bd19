"""Adapters between titer and PEFT.

    python tests/peers/peft_fixture.py                    writes tests/fixtures/peft/: an adapter that PEFT
                                                          saved for a small Llama, and the logits with it
    python tests/peers/peft_fixture.py check FOLDER       loads FOLDER/model and FOLDER/adapter, which titer's test
                                                          wrote, and compares with FOLDER/logits.json

FOLDER comes from `TITER_PEFT=FOLDER cargo test --release -p titer-train --test lora`.
"""

import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from architectures import CASES, ROWS, TOKENS, fill, uniform

torch.set_num_threads(1)


def logits(model, tokens, rows):
    with torch.no_grad():
        return model.eval()(torch.tensor([tokens])).logits[0, rows]


if sys.argv[1:2] == ["check"]:
    folder = Path(sys.argv[2])
    expected = json.loads((folder / "logits.json").read_text())
    base = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    before = logits(base, expected["tokens"], expected["rows"])
    got = logits(PeftModel.from_pretrained(base, folder / "adapter"), expected["tokens"], expected["rows"])
    wanted = torch.tensor(expected["logits"])
    print(f"PEFT with titer's adapter differs from titer by {(got - wanted).abs().max():.3g};",
          f"the adapter moves logits by {(before - wanted).abs().max():.3g}")
    sys.exit(0 if (got - wanted).abs().max() < 1e-4 else 1)

model = fill(AutoModelForCausalLM.from_config(CASES["llama-grouped"], dtype=torch.float32))
targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
model = get_peft_model(model, LoraConfig(r=2, lora_alpha=6, target_modules=targets, task_type="CAUSAL_LM"))
for seed, (name, parameter) in enumerate(sorted(model.named_parameters()), start=1000):
    if "lora_" in name:
        values = torch.tensor(list(uniform(seed, parameter.numel())), dtype=torch.float32)
        parameter.data = (values / 4).reshape(parameter.shape)
folder = Path(__file__).parent.parent / "fixtures" / "peft"
model.save_pretrained(folder)
(folder / "README.md").unlink(missing_ok=True)
values = logits(model, TOKENS, ROWS).tolist()
text = json.dumps(dict(tokens=TOKENS, rows=ROWS, logits=[[float(f"{x:.8g}") for x in row] for row in values]))
(folder / "logits.json").write_text(text + "\n")
print(*(f"{path} {path.stat().st_size}" for path in folder.iterdir()), sep="\n")
