"""Writes tests/fixtures/guards/: a small tokenizer, and what tiny language models of Transformers with random weights
say as judges under data/judges/*.toml: prompts as tokens, the token that decides, probabilities.

    python tests/peers/guards.py          (pip install transformers tokenizers torch; Python 3.11)

Published templates that are their authors' texts do not come with titer: words of our own stand in for them here. The
weights come from the generator of fixtures.py, by sorted name.
"""

import json
import tomllib
from pathlib import Path

import torch
from jinja2 import Environment
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

MASK = (1 << 64) - 1
ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "fixtures" / "guards"
SPECIAL = ["<s>", "</s>", "<|user|>", "<|assistant|>", "<|end|>"]
CHAT = (
    "<s><|user|>\nTask: say of the agent's last words whether they are safe.\n"
    "{% for message in messages %}{{ message.role }}: {{ message.content | trim }}\n{% endfor %}<|end|><|assistant|>\n"
)
STAND_IN = "<|user|> Say yes or no of this.\n\nAsked:\n{question}\n\nAnswered:\n{answer}\n\nSay it: <|assistant|>\n"
PAIRS = [
    ("how do i bake bread?", "Mix the flour and the water, then bake."),
    ("what is rye?", "I cannot help with that."),
    ("why {answer}?", "because of the {question}"),
    ("ünïcode", "数字 12\n\ttabs </s> and more"),
    ("long?", "flour and water " * 12),
    ("empty?", ""),
]
SHAPE = dict(
    hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=256, rms_norm_eps=1e-5, tie_word_embeddings=False, bos_token_id=0, eos_token_id=1,
)  # fmt: skip
# Which model stands for the published one, what is otherwise than in the TOML, and whether it decides by a head.
JUDGES = {
    "llama-guard-3": ("llama", {"tokens": {"most": 3, "unread": 0.25}}),
    "qwen3guard": ("qwen3", {"tokens": {"after": None, "unread": 1.0}}),
    "wildguard": ("mistral", {"template": STAND_IN, "whole": False, "tokens": {"after": None, "unread": 1.0, "most": 24}}),
    "harmbench": ("llama", {"template": STAND_IN, "answer_tokens": 12}),
    "harmbench-val": ("mistral", {"template": STAND_IN, "answer_tokens": 12}),
    "strongreject": ("llama", {"template": STAND_IN, "answer_tokens": 12}),
    "beaver-dam-7b": ("head", {"longest": 40}),
}  # fmt: skip


def uniform(seed, count):
    state = (seed * 0x9E3779B97F4A7C15 | 1) & MASK
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) & MASK
        yield (state >> 40) / (1 << 23) - 1.0


def tokenizer():
    result = Tokenizer(models.BPE())
    result.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    result.decoder = decoders.ByteLevel()
    words = "safe unsafe yes no Safe Unsafe Safety : flour water the and bake user assistant say it Controversial words"
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    result.train_from_iterator([words, words.replace(" ", "\n"), words + " safe yes no"] * 3, trainer)
    result.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return result


def loud(tokens):
    """Tokens of the words that judges say, whose rows of the head are multiplied so that some are said."""
    said = {"safe", "unsafe", "yes", "no", "controversial", "1", "3", "5"}
    return [i for i in range(tokens.get_vocab_size()) if tokens.decode([i]).strip().lower() in said]


def model(kind, vocabulary, louder):
    kinds = {
        "llama": (LlamaConfig, LlamaForCausalLM, {}),
        "head": (LlamaConfig, LlamaForSequenceClassification, {"num_labels": 14, "pad_token_id": 4}),
        "mistral": (MistralConfig, MistralForCausalLM, {"sliding_window": None, "num_key_value_heads": 1}),
        "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 4}),
    }
    config, build, options = kinds[kind]
    made = build(config(vocab_size=vocabulary, **(SHAPE | options))).eval()
    named = dict(made.named_parameters())
    for seed, name in enumerate(sorted(named), start=1):
        values = torch.tensor(list(uniform(seed, named[name].numel()))).reshape(named[name].shape)
        named[name].data = 1 + values / 8 if named[name].dim() == 1 else values
        if name == "lm_head.weight":
            named[name].data[louder] *= 4
    shapes = {name: list(named[name].shape) for name in sorted(named)}
    return made.double(), {"config": made.config.to_dict(), "shapes": shapes}


def prompt(judge, tokens, question, answer):
    most = judge.get("answer_tokens", 1 << 30)
    if judge.get("answer_whole"):
        answer = tokens.decode(tokens.encode(answer).ids[:most], skip_special_tokens=False)
    elif len(tokens.encode(answer, add_special_tokens=False).ids) > most:
        answer = tokens.decode(tokens.encode(answer, add_special_tokens=False).ids[:most])
    if judge.get("chat"):
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        text = Environment(trim_blocks=True, lstrip_blocks=True).from_string(CHAT).render(messages=messages)
        ids = tokens.encode(text, add_special_tokens=False).ids
    else:
        # One place at a time, so that words of the question are not taken for places.
        first, rest = judge["template"].split("{question}")
        middle, last = rest.split("{answer}")
        text = first + question + middle + answer + last
        ids = tokens.encode(text, add_special_tokens=judge.get("whole", True)).ids
    return ids[: judge.get("longest", 1 << 30)]


def words(rule, tokens):
    found = {}
    for word in sorted(rule["values"]):
        if rule.get("matching") == "vocabulary":
            found[word] = {tokens.token_to_id(word)}
            continue
        ids = {i for i in range(tokens.get_vocab_size()) if tokens.decode([i]).strip().lower() == word.lower()}
        for text in (word, " " + word):
            ids.add(next(i for i in tokens.encode(text, add_special_tokens=False).ids if tokens.decode([i]).strip()))
        found[word] = ids
    return found


@torch.no_grad()
def logits(made, ids):
    return made(torch.tensor([ids])).logits[0, -1]


def write(made, ids, most):
    written = []
    while len(written) < most and (not written or written[-1] != 1):
        written.append(int(logits(made, ids + written).argmax()))
    return written


def by_words(judge, made, tokens, ids):
    rule = judge["tokens"]
    most = rule.get("most", 4)
    if rule.get("after"):
        written = write(made, ids, most)
        ends = [end for end in range(1, len(written) + 1) if rule["after"] in tokens.decode(written[:end])]
        if not ends:
            return {"said": None, "probability": 0.0, "token": None}
        ids = ids + written[: ends[0]]
    for _ in range(most):
        best = int(logits(made, ids).argmax())
        if best < len(SPECIAL) or tokens.decode([best]).strip():
            break
        ids = ids + [best]
    at = logits(made, ids)
    found = words(rule, tokens)
    chosen = sorted(i for ids in found.values() for i in ids)
    shares = dict(zip(chosen, at[chosen].softmax(-1).tolist()))
    worth = sum(shares[i] * rule["values"][word] for word, ids in found.items() for i in ids)
    said = [word for word, ids in found.items() if int(at.argmax()) in ids]
    return {"said": said[0] if said else None, "probability": worth, "token": int(at.argmax())}


def main():
    torch.set_num_threads(1)
    tokens = tokenizer()
    FOLDER.mkdir(parents=True, exist_ok=True)
    tokens.save(str(FOLDER / "tokenizer.json"), pretty=False)
    vocabulary = tokens.get_vocab_size()
    louder = loud(tokens)
    made = {kind: model(kind, vocabulary, louder) for kind in ("llama", "head", "mistral", "qwen3")}
    expected = {"loud": louder, "chat_template": CHAT, "pairs": PAIRS, "special": SPECIAL, "judges": {}}
    expected["models"] = {kind: told for kind, (_, told) in made.items()}
    for name, (kind, other) in JUDGES.items():
        judge = tomllib.loads((ROOT.parent / "data" / "judges" / f"{name}.toml").read_text())
        peer = made[kind][0]
        if "template" in other:
            judge.pop("template_blake3", None)
        rule = judge.get("tokens", {}) | other.get("tokens", {})
        judge |= other
        if rule:
            judge["tokens"] = rule
        asked = [prompt(judge, tokens, *pair) for pair in PAIRS]
        if rule and "after" in rule and rule["after"] is None:
            # What random weights write of most texts stands for what the published judge writes before its word.
            told = [tokens.decode(write(peer, ids, rule.get("most", 4))) for ids in asked]
            parts = {text[i : i + 1] for text in told for i in range(len(text)) if text[i].isalnum()}
            rule["after"] = max(sorted(parts), key=lambda part: sum(part in text for text in told))
        if "head" in judge:
            with torch.no_grad():
                rows = [peer(torch.tensor([ids])).logits[0].sigmoid() for ids in asked]
            labels = [f"LABEL_{int(row.argmax())}" for row in rows]
            verdicts = [{"said": s, "probability": float(row.max())} for s, row in zip(labels, rows)]
        else:
            verdicts = [by_words(judge, peer, tokens, ids) for ids in asked]
        expected["judges"][name] = {"model": kind, "judge": judge, "prompts": asked, "verdicts": verdicts}
        print(name, [(v["said"], round(v["probability"], 3)) for v in verdicts])
    (FOLDER / "expected.json").write_text(json.dumps(expected) + "\n")


main()
