"""What Transformers says with the GGUF of SmolLM2-135M-Instruct: ids of ten prompts, logits after them, and 32
greedy tokens.

    python tests/peers/smollm2.py MODEL.gguf > tests/fixtures/smollm2.json
    python tests/peers/smollm2.py MODEL.gguf --titer target/release/titer    # compares all logits with titer's

Of the 49152 logits every 96th is kept, to four decimals; the second form compares all of them.
"""

import argparse
import json
import pathlib
import subprocess
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPTS = [
    "What is the capital of France?",
    "How do I bake bread at home?",
    "Write a short poem about the sea.",
    "Explain photosynthesis to a child.",
    "What is 12 times 7?",
    "Name three planets and one fact about each.",
    "Translate 'good morning' to Spanish.",
    "Why is the sky blue?",
    "Give me a recipe for pancakes.",
    "What did people use before paper?",
]
STRIDE = 96
NEW = 32


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("gguf", type=pathlib.Path)
    parser.add_argument("--titer")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder, name = str(arguments.gguf.parent), arguments.gguf.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    cases = []
    for prompt in PROMPTS:
        messages = [{"role": "user", "content": prompt}]
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=False)
        with torch.no_grad():
            logits = model(ids).logits[0, -1]
            answer = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=False)
        greedy = answer[0, ids.shape[1]:].tolist()
        if arguments.titer:
            compare(arguments.titer, str(arguments.gguf), prompt, ids[0].tolist(), logits, greedy)
        kept = [round(value, 4) for value in logits[::STRIDE].tolist()]
        cases.append({"prompt": prompt, "ids": ids[0].tolist(), "logits": kept, "greedy": greedy})
    if not arguments.titer:
        json.dump({"stride": STRIDE, "new": NEW, "cases": cases}, sys.stdout)
        print()


def compare(titer, gguf, prompt, ids, logits, greedy):
    command = [titer, "model", "generate", gguf, "--prompt", prompt, "--max-new-tokens", str(NEW), "--json", "--logits"]
    ours = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    difference = (torch.tensor(ours["logits"]) - logits).abs().max().item()
    same = ours["prompt_token_ids"] == ids and ours["token_ids"] == greedy
    print(f"{difference:.2e} {'same tokens' if same else 'OTHER TOKENS'}: {prompt}")


main()
