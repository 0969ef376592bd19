"""Checks the tokenizer made of a GGUF file against Hugging Face's, by hand, for the real model.

    /opt/pt/bin/python tests/peers/gguf_tokenizer.py FILE.gguf

1. against the Python tokenizers library with SmolLM2's own settings (single digits, then GPT-2's words);
2. against Transformers' PreTrainedTokenizerFast loaded from the tokenizer.json that titer writes;
3. against Transformers' own conversion of the GGUF file, where the two are meant to agree.
"""

import json
import pathlib
import random
import subprocess
import sys
import tempfile

from gguf import GGUFReader
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

path = pathlib.Path(sys.argv[1])
root = pathlib.Path(__file__).parent.parent.parent
fields = GGUFReader(path).fields


def field(name):
    found = fields.get(f"tokenizer.ggml.{name}")
    return None if found is None else found.contents()


texts = json.loads((root / "tests/fixtures/vocabularies.json").read_text())["texts"]
texts += (root / "tests/peers/chat_templates.py").read_text().split("\n\n")
texts += (root / "crates/titer-data/src/packed.rs").read_text().split("\n    fn ")
random.seed(7)
specials = field("tokens")[:17]
for _ in range(120):
    characters = [chr(random.choice([random.randint(32, 126), random.randint(1, 0x2FF), random.randint(0x3000, 0x9FFF),
                                     random.randint(0x1F300, 0x1FAFF)])) for _ in range(random.randint(1, 40))]
    at = random.randint(0, len(characters))
    characters[at:at] = random.choice([[], [random.choice(specials)], list("12345"), ["   "], ["\n\n\n"]])
    texts.append("".join(characters))

merges = [tuple(merge.split(" ")) for merge in field("merges")]
peer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(field("tokens"))}, merges=merges))
peer.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
)
peer.decoder = decoders.ByteLevel()
peer.add_special_tokens(
    [AddedToken(t, normalized=False) for t, kind in zip(field("tokens"), field("token_type")) if kind == 3]
)

given = {
    "texts": texts, "model": field("model"), "pre": field("pre"), "tokens": field("tokens"),
    "token_type": [int(kind) for kind in field("token_type")], "merges": field("merges"),
    "bos": int(field("bos_token_id")), "eos": int(field("eos_token_id")),
}
command = ["cargo", "run", "--release", "-q", "-p", "titer-data", "--example", "encode"]
done = subprocess.run(command, input=json.dumps(given).encode(), capture_output=True, cwd=root, check=True)
ours = json.loads(done.stdout)


def compare(name, encode):
    wrong = [text for text, ids in zip(texts, ours["ids"]) if encode(text) != ids]
    print(f"{name}: {len(texts) - len(wrong)} of {len(texts)} texts equal", *map(repr, wrong[:3]), sep="\n  ")


compare("tokenizers", lambda text: peer.encode(text, add_special_tokens=False).ids)
with tempfile.TemporaryDirectory() as folder:
    file = pathlib.Path(folder) / "tokenizer.json"
    file.write_text(json.dumps(ours["tokenizer_json"]))
    loaded = PreTrainedTokenizerFast(tokenizer_file=str(file))
    compare("PreTrainedTokenizerFast", lambda text: loaded.encode(text, add_special_tokens=False))
converted = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
compare("Transformers' conversion", lambda text: converted.encode(text, add_special_tokens=False))
round_trips = sum(text == back for text, back in zip(texts, ours["decoded"]))
print(f"decoded again: {round_trips} of {len(texts)}")
