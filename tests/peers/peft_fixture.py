"""Adapters between titer and PEFT.

    python tests/peers/peft_fixture.py                    writes tests/fixtures/peft/: an adapter that PEFT
                                                          saved for a small Llama, and the logits with it;
                                                          below folds/ others, with ranks and scales of their own,
                                                          DoRA, and modules saved whole
    python tests/peers/peft_fixture.py check FOLDER       loads FOLDER/model and FOLDER/adapter, which titer's test
                                                          wrote, and compares with FOLDER/logits.json

FOLDER comes from `TITER_PEFT=FOLDER cargo test --release --workspace --test train lora`.
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

folder = Path(__file__).parent.parent / "fixtures" / "peft"
PATTERNS = dict(
    rank_pattern={"q_proj": 3, "layers.1.mlp.down_proj": 1},
    alpha_pattern={"k_proj": 5, "layers.0.self_attn.(v|o)_proj": 9},
)
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
FOLDS = {
    "patterns": ("llama-grouped", dict(target_modules=[*ATTENTION, "down_proj"], **PATTERNS)),
    "stabilised": ("llama-grouped", dict(target_modules=ATTENTION, use_rslora=True, **PATTERNS)),
    "dora": ("llama-grouped", dict(target_modules=["q_proj", "v_proj", "up_proj"], use_dora=True)),
    "some-layers": ("llama-grouped", dict(target_modules=ATTENTION, layers_to_transform=[1])),
    "one-pattern": ("llama-grouped", dict(target_modules=r"model\.layers\.\d+\.mlp\.(gate|up)_proj")),
    "head": ("llama-grouped", dict(target_modules=["q_proj"], modules_to_save=["lm_head"])),
    "tied": ("llama-tied", dict(target_modules=["q_proj"], modules_to_save=["embed_tokens"])),
}


def folds(name, case, settings):
    model = fill(AutoModelForCausalLM.from_config(CASES[case], dtype=torch.float32))
    before = logits(model, TOKENS, ROWS)
    model = get_peft_model(model, LoraConfig(r=2, lora_alpha=6, task_type="CAUSAL_LM", **settings))
    trained = [(name, parameter) for name, parameter in sorted(model.named_parameters()) if parameter.requires_grad]
    for seed, (place, parameter) in enumerate(trained, start=2000):
        values = torch.tensor(list(uniform(seed, parameter.numel())), dtype=torch.float32).reshape(parameter.shape)
        parameter.data = (1.5 + values / 2) if "magnitude" in place else values / 4
    model.save_pretrained(folder / "folds" / name)
    (folder / "folds" / name / "README.md").unlink(missing_ok=True)
    after = logits(model, TOKENS, ROWS)
    merged = logits(model.merge_and_unload(), TOKENS, ROWS)
    print(name, f"moves by {(after - before).abs().max():.3g}, merged {(after - merged).abs().max():.3g}")
    return dict(case=case, logits=[[float(f"{x:.8g}") for x in row] for row in after.tolist()])


values = {name: folds(name, *fold) for name, fold in FOLDS.items()}
(folder / "folds.json").write_text(json.dumps(values) + "\n")

model = fill(AutoModelForCausalLM.from_config(CASES["llama-grouped"], dtype=torch.float32))
targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
model = get_peft_model(model, LoraConfig(r=2, lora_alpha=6, target_modules=targets, task_type="CAUSAL_LM"))
for seed, (name, parameter) in enumerate(sorted(model.named_parameters()), start=1000):
    if "lora_" in name:
        values = torch.tensor(list(uniform(seed, parameter.numel())), dtype=torch.float32)
        parameter.data = (values / 4).reshape(parameter.shape)
model.save_pretrained(folder)
(folder / "README.md").unlink(missing_ok=True)
values = logits(model, TOKENS, ROWS).tolist()
text = json.dumps(dict(tokens=TOKENS, rows=ROWS, logits=[[float(f"{x:.8g}") for x in row] for row in values]))
(folder / "logits.json").write_text(text + "\n")
print(*(f"{path} {path.stat().st_size}" for path in folder.iterdir()), sep="\n")
