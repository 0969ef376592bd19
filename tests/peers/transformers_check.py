"""Checks that Transformers loads a model directory of titer's and answers as titer does.

    python tests/peers/transformers_check.py MODEL_DIR < answer.json

where answer.json is what `titer model generate … --json` printed for the model in MODEL_DIR.

    python tests/peers/transformers_check.py families FOLDER

compares the logits of each family's model that titer saved in FOLDER, which
`TITER_FAMILIES=FOLDER cargo test --release --workspace --test model architectures` filled.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

if sys.argv[1] == "families":
    worst = 0.0
    for folder in sorted(Path(sys.argv[2]).iterdir()):
        expected = json.loads((folder / "logits.json").read_text())
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        with torch.no_grad():
            got = model(torch.tensor([expected["tokens"]])).logits[0, expected["rows"]]
        difference = (got - torch.tensor(expected["logits"])).abs().max().item()
        print(f"{folder.name}: {type(model).__name__}, largest difference {difference:.3g}")
        worst = max(worst, difference)
    sys.exit(0 if worst < 1e-4 else 1)

answer = json.load(sys.stdin)
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
prompt = torch.tensor([answer["prompt_token_ids"]])
output = model.generate(
    prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=len(answer["token_ids"]), do_sample=False
)
got = output[0, prompt.shape[1] :].tolist()
print("transformers", got)
print("titer       ", answer["token_ids"])
sys.exit(0 if got == answer["token_ids"] else 1)
