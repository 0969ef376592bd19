"""Checks that Transformers loads a model directory of titer's and answers as titer does.

    python tests/peers/transformers_check.py MODEL_DIR < answer.json

where answer.json is what `titer model generate … --json` printed for the model in MODEL_DIR.
"""

import json
import sys

import torch
from transformers import AutoModelForCausalLM

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
