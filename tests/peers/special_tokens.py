"""Special tokens that stand beside a tokenizer.json, and the ids that Transformers gives them.

    python tests/peers/special_tokens.py > tests/fixtures/special_tokens.json   (needs transformers 5)

The vocabulary is that of vocabularies.json, its added tokens taken out of tokenizer.json; `kept` ones stay.
"""

import json
import tempfile
from pathlib import Path

from transformers import AutoTokenizer

FIXTURES = Path(__file__).parent.parent / "fixtures"
TEXTS = [
    "<|im_start|>user\nWhat is a lathe?<|im_end|>\n<|im_start|>assistant\n",
    "a <|im_start|> b<own>c <extra_0> <extra_1>[PAD] <tool> </tool>",
    "<|endoftext|><|im_end|> <|im_end|>x",
]


def token(content, **keys):
    return dict(content=content, lstrip=False, rstrip=False, normalized=False, single_word=False, special=True) | keys


CASES = {
    "nothing beside": {},
    "added_tokens_decoder": {
        "tokenizer_config.json": {
            "added_tokens_decoder": {"1": token("<|im_start|>"), "2": token("<|im_end|>"), "0": token("<|endoftext|>")}
        }
    },
    "added_tokens_decoder with sides": {
        "tokenizer_config.json": {
            "added_tokens_decoder": {"2": token("<|im_end|>", lstrip=True), "1": token("<|im_start|>", rstrip=True, special=False)}
        }
    },
    "added_tokens_decoder of new tokens": {
        "tokenizer_config.json": {
            "added_tokens_decoder": {"900": token("<extra_1>"), "800": token("<extra_0>", special=False), "1": token("<|im_start|>")}
        }
    },
    "added_tokens_decoder before older files": {
        "tokenizer_config.json": {"added_tokens_decoder": {"1": token("<|im_start|>")}},
        "special_tokens_map.json": {"additional_special_tokens": ["<|im_end|>"]},
        "added_tokens.json": {"<|endoftext|>": 0},
    },
    "additional_special_tokens": {"tokenizer_config.json": {"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]}},
    "extra_special_tokens, a list": {"tokenizer_config.json": {"extra_special_tokens": ["<|im_start|>", "<extra_0>"]}},
    "extra_special_tokens, by name": {"tokenizer_config.json": {"extra_special_tokens": {"turn_token": "<|im_start|>", "x_token": "<extra_1>"}}},
    "named": {"tokenizer_config.json": {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "[PAD]", "unk_token": None}},
    "named as objects": {
        "tokenizer_config.json": {"eos_token": token("<|im_end|>", __type="AddedToken", lstrip=True), "pad_token": "<|endoftext|>"}
    },
    "named by the makers": {"tokenizer_config.json": {"tool_token": "<tool>", "eos_token": "<|im_end|>"}},
    "special_tokens_map.json": {
        "tokenizer_config.json": {"eos_token": "<|endoftext|>"},
        "special_tokens_map.json": {"eos_token": token("<|im_end|>", special=False), "additional_special_tokens": ["<|im_start|>"]},
    },
    "added_tokens.json": {
        "tokenizer_config.json": {"eos_token": "<|im_end|>"},
        "added_tokens.json": {"<|im_start|>": 1, "<|im_end|>": 2, "<extra_1>": 901, "<extra_0>": 900},
    },
    "kept and described again": {
        "kept": [token("<|im_end|>", id=2, lstrip=True), token("<own>", id=0, special=False)],
        "tokenizer_config.json": {"eos_token": "<|im_end|>", "additional_special_tokens": ["<|im_end|>", "<|im_start|>"]},
    },
    "split": {
        "tokenizer_config.json": {"split_special_tokens": True, "additional_special_tokens": ["<|im_start|>", "<|im_end|>"]}
    },
}


def main():
    base = json.loads((FIXTURES / "vocabularies.json").read_text())["byte_level"]["tokenizer_json"]
    vocabulary = base["model"]["vocab"]
    cases = []
    for name, files in CASES.items():
        kept = [entry | dict(id=vocabulary.get(entry["content"], len(vocabulary))) for entry in files.get("kept", [])]
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            (folder / "tokenizer.json").write_text(json.dumps(base | dict(added_tokens=kept)))
            config = dict(tokenizer_class="PreTrainedTokenizerFast") | files.get("tokenizer_config.json", {})
            (folder / "tokenizer_config.json").write_text(json.dumps(config))
            for other in ["special_tokens_map.json", "added_tokens.json"]:
                if other in files:
                    (folder / other).write_text(json.dumps(files[other]))
            tokenizer = AutoTokenizer.from_pretrained(folder)
            ids = [tokenizer(text, add_special_tokens=False).input_ids for text in TEXTS]
            decoded = [tokenizer.decode(some, skip_special_tokens=True) for some in ids]
        beside = {key: value for key, value in files.items() if key != "kept"} | {"tokenizer_config.json": config}
        cases.append(dict(name=name, kept=kept, files=beside, ids=ids, decoded=decoded, eos=tokenizer.eos_token))
    print(json.dumps(dict(texts=TEXTS, cases=cases)))


if __name__ == "__main__":
    main()
