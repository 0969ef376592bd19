"""What Transformers says with the GGUF of Gemma 3 270M, by the template that the preset gemma3-policy states: ids of
six texts, logits after them, and 12 greedy tokens.

    python tests/peers/gemma3.py MODEL.gguf > tests/fixtures/gemma3.json

Of the 262144 logits every 1024th is kept, to four decimals. One text is longer than the sliding window of 512 tokens.
Nothing of the model's weights is in the fixture.
"""

import json
import pathlib
import sys
import tomllib

import jinja2
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPTS = [
    "What is the capital of France?",
    "How do I bake bread at home?",
    "Name three  planets\n\n- and one fact:\tabout each.",
    "Übersetze „guten Morgen“ ins 日本語. 🎈",
    "def f(x):\n    return x  # 12 * 7 = ?",
    "Why is the sky blue? " * 120,
]
STRIDE = 1024
NEW = 12


def main():
    torch.set_num_threads(1)
    gguf = pathlib.Path(sys.argv[1])
    folder, name = str(gguf.parent), gguf.name
    preset = pathlib.Path(__file__).parent.parent.parent / "data" / "presets" / "gemma3-policy.toml"
    template = tomllib.loads(preset.read_text())["model"]["chat_template"]
    template = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(template)
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    cases = []
    for prompt in PROMPTS:
        messages = [{"role": "user", "content": prompt}]
        text = template.render(messages=messages, bos_token="<bos>", eos_token="<eos>", add_generation_prompt=True)
        ids = torch.tensor([tokenizer(text, add_special_tokens=False).input_ids])
        with torch.no_grad():
            logits = model(ids).logits[0, -1]
            mask = torch.ones_like(ids)
            answer = model.generate(ids, attention_mask=mask, max_new_tokens=NEW, do_sample=False, eos_token_id=1)
        kept = [round(value, 4) for value in logits[::STRIDE].tolist()]
        greedy = answer[0, ids.shape[1]:].tolist()
        cases.append({"prompt": prompt, "ids": ids[0].tolist(), "logits": kept, "greedy": greedy})
        print(repr(text[-60:]), ids.shape, repr(tokenizer.decode(greedy)), file=sys.stderr)
    json.dump({"stride": STRIDE, "new": NEW, "cases": cases}, sys.stdout)
    print()


main()
