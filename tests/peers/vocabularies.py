"""Small vocabularies and what Hugging Face's Python tokenizers make of texts with them.

    /opt/pt/bin/python tests/peers/vocabularies.py > tests/fixtures/vocabularies.json

A byte-level vocabulary, trained here, under the pre-tokenizers of GPT-2, SmolLM, Llama 3 and Qwen 2 as
their own tokenizer.json files set them; and a vocabulary as SentencePiece writes it, whose merges
Transformers makes from the scores.
"""

import json
import random

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)
from transformers.convert_slow_tokenizer import generate_merges

CORPUS = [
    "The quick brown fox jumps over the lazy dog. What is a lathe? A machine that turns wood and metal.",
    "def fibonacci(n):\n    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)\n\n\nprint(fibonacci(10))",
    "I'm sure they'll say it's what we've done. You're RIGHT, I'D say so. HE'LL go; THEY'RE here.",
    "In 1984 there were 1,234,567 people; in 2024 there are 89 more. 3.14159 and 0x7fff.",
    "Überraschung: naïve café, façade, jalapeño, Straße. 東京は日本の首都です。 नमस्ते दुनिया",
    "\n\n    indented\t\ttabs\r\nwindows line ends\r\n\r\n   trailing   ",
    "for (int i = 0; i < 100; ++i) { total += values[i] * weights[i]; }",
    "Please answer the question. The answer is that the question is what the answer asks.",
] * 3

TEXTS = [
    "",
    " ",
    "a",
    "   \n\n  \t ",
    "What is a lathe?",
    "<|im_start|>user\nWhat is a lathe?<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|><|im_end|><|endoftext|>",
    "no<|im_end|>spaces<own>around <own> it",
    "<|im_start|",
    "I'M they'LL we've DON'T l'été",
    "1 12 123 1234 12345 1,234,567 3.14 ٣٤٥ ½ Ⅷ ²",
    "Überraschung naïve cafe\u0301 café Å Å ﬁ",
    "東京は日本の首都です。中文，标点！",
    "नमस्ते दुनिया 🧑‍🚀🚀 😀👍🏽",
    "trailing spaces   ",
    "   leading spaces",
    "tabs\t\tand\r\nwindows\r\n\r\n\r\nline ends\r",
    "zero\u200bwidth\u00a0no-break\u3000ideographic\ufeffmark",
    "def f(x):\n        return x  # comment\n\n\n",
    "a" * 60,
    "\x00\x01\x7f\u0080\u00ad\ufffd\U0010ffff",
    "snake_case camelCase kebab-case http://example.org/a?b=c&d=e#f",
    "<s>[INST] hello [/INST] well </s><unk>",
    "▁ under ▁▁ block",
]

random.seed(5)
ALPHABETS = ["abc thelr", " \n\t\r", "0123456789.,", "éüß東京न्\u0301🚀", "'sStTrReEvVmMlLdD ", "!?<|>_#{}"]
for _ in range(60):
    pieces = random.choices(ALPHABETS, k=random.randint(1, 5))
    TEXTS.append("".join("".join(random.choices(piece, k=random.randint(1, 9))) for piece in pieces))

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace("{1,3}", "")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def level(use_regex):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


def words(pattern):
    split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    return pre_tokenizers.Sequence([split, level(False)])


PRE = {
    "gpt-2": (None, level(True), False),
    "smollm": (None, pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), level(True)]), False),
    "llama-bpe": (None, words(LLAMA3), True),
    "qwen2": (normalizers.NFC(), words(QWEN2), False),
}


def coded(tokenizer):
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    return {
        "ids": ids,
        "decoded": [tokenizer.decode(i, skip_special_tokens=True) for i in ids],
        "decoded_all": [tokenizer.decode(i, skip_special_tokens=False) for i in ids],
    }


def train(pre_tokenizer, normalizer=None, alphabet=(), specials=SPECIAL, size=420, **model):
    tokenizer = Tokenizer(models.BPE(**model))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=specials, initial_alphabet=list(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    assert [model["vocab"][token] for token in tokens] == list(range(len(tokens)))
    return tokens, [tuple(merge) for merge in model["merges"]]


def byte_level():
    tokens, merges = train(words(LLAMA3), alphabet=pre_tokenizers.ByteLevel.alphabet())
    # The last merge goes: its token then only comes about where whole words are not merged.
    merges = merges[:-1]
    tokens.append("<own>")
    vocabulary = {token: at for at, token in enumerate(tokens)}
    peers, files = {}, {}
    for name, (normalizer, pre_tokenizer, ignore_merges) in PRE.items():
        tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=ignore_merges))
        if normalizer is not None:
            tokenizer.normalizer = normalizer
        tokenizer.pre_tokenizer = pre_tokenizer
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
        tokenizer.add_tokens([AddedToken("<own>", normalized=False)])
        peers[name] = coded(tokenizer)
        files[name] = json.loads(tokenizer.to_str())
    return {
        "vocabulary": {
            "model": "gpt2",
            "tokens": tokens,
            "token_types": [3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL) - 1) + [4],
            "merges": [" ".join(merge) for merge in merges],
        },
        # One file serves for reading a tokenizer.json.
        "tokenizer_json": files["smollm"],
        "peers": peers,
    }


def sentence_piece():
    spaces = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>"]
    # Words apart while training, as SentencePiece keeps them; whole texts when encoding.
    apart = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="never")
    learnt, _ = train(apart, spaces, specials=special, size=380, unk_token="<unk>")
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    learnt = [token for token in learnt if token not in special]
    characters = [token for token in learnt if len(token) == 1]
    longer = [token for token in learnt if len(token) > 1]
    tokens = special + bytes_ + longer + characters
    first = len(special) + len(bytes_)
    scores = [0.0] * first + [-float(at) for at in range(len(longer) + len(characters))]
    vocabulary = {token: at for at, token in enumerate(tokens)}
    merges = generate_merges(vocabulary, dict(zip(longer, scores[first:])))
    model = models.BPE(
        vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = spaces
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    return {
        "vocabulary": {
            "model": "llama",
            "tokens": tokens,
            "scores": scores,
            "token_types": [2, 3, 3] + [6] * 256 + [1] * (len(tokens) - first),
        },
        "peers": {"llama": coded(tokenizer)},
    }


print(json.dumps({"texts": TEXTS, "byte_level": byte_level(), "sentence_piece": sentence_piece()}, indent=None))
