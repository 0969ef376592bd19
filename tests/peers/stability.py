"""Log-likelihoods of data/tasks under SmolLM2-135M-Instruct, by Transformers in float32 on one thread.

As lm-eval scores multiple choice: prompt and choice are encoded apart, and a choice's score is the sum of its
tokens' log-probabilities (the right choice comes first here, then the wrong ones as the file has them).
Perplexity: every paragraph alone, its first token given.

    python tests/peers/stability.py MODEL.gguf > tests/fixtures/smollm2-stability.json
"""

import json
import math
import sys
import tomllib
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

torch.set_num_threads(1)
gguf = Path(sys.argv[1])
data = Path(__file__).parents[2] / "data" / "tasks"
tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32).eval()


@torch.no_grad()
def log_likelihood(given, continuation):
    """Sum of the log-probabilities of `continuation` after `given`; both are token numbers."""
    logits = model(torch.tensor([given + continuation])).logits[0]
    rows = logits[len(given) - 1 : -1].log_softmax(-1)
    return sum(row[token].item() for row, token in zip(rows, continuation))


def encode(text):
    return tokenizer(text, add_special_tokens=False).input_ids


questions = tomllib.loads((data / "general-knowledge.toml").read_text())["questions"]
scores = []
for question in questions:
    prompt = encode(f"Question: {question['ask']}\nAnswer:")
    choices = [question["right"], *question["wrong"]]
    scores.append([round(log_likelihood(prompt, encode(f" {choice}")), 4) for choice in choices])

paragraphs = tomllib.loads((data / "held-out.toml").read_text())["paragraphs"]
nats, tokens = [], []
for paragraph in paragraphs:
    first, *rest = encode(" ".join(paragraph["text"].split()))
    nats.append(round(-log_likelihood([first], rest), 4))
    tokens.append(len(rest))

right = sum(max(range(4), key=row.__getitem__) == 0 for row in scores)
json.dump(
    {
        "accuracy": right / len(scores),
        "choices": scores,
        "perplexity": math.exp(sum(nats) / sum(tokens)),
        "paragraph_nats": nats,
        "paragraph_tokens": tokens,
    },
    sys.stdout,
)
