"""Writes tests/fixtures/likelihood.json: multiple choice, rolling windows and perplexities of
lm-evaluation-harness, and log-likelihoods of a tiny Llama of Transformers.

    python tests/peers/likelihood.py > tests/fixtures/likelihood.json    (pip install lm-eval==0.4.13 transformers torch)

The harness's own functions are called on stand-ins of its task and model. Weights and tokens come from the
generator of fixtures.py, so that the file holds expected values only.
"""

import json
import random
import re
from types import SimpleNamespace

import torch
from lm_eval.api.metrics import bits_per_byte, exact_match_hf_evaluate, weighted_perplexity
from lm_eval.api.model import TemplateLM
from lm_eval.api.task import ConfigurableTask
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from transformers import LlamaConfig, LlamaForCausalLM

MASK = (1 << 64) - 1
VOCABULARY = 120
POSITIONS = 24


def uniform(seed, count):
    """Numbers in [-1, 1) as float32 would hold them: fixtures.py."""
    state = (seed * 0x9E3779B97F4A7C15 | 1) & MASK
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) & MASK
        yield (state >> 40) / (1 << 23) - 1.0


def tokens(seed, count):
    return [int((value + 1) / 2 * VOCABULARY) for value in uniform(seed, count)]


def choices():
    random.seed(1)
    words = ["rye", "wheat bread", "café crème", "水", "ёж", "a", "🎉", "barley", "of the above, all"]
    cases = []
    for _ in range(30):
        texts = random.sample(words, random.randint(2, 5))
        sums = [-round(random.uniform(0.5, 20), 3) for _ in texts]
        if random.random() < 0.3:
            sums[-1] = sums[0]
        gold = random.randrange(len(texts))
        task = SimpleNamespace(
            config=SimpleNamespace(process_results=None),
            _metric_fn_list={"acc": 0, "acc_norm": 0, "acc_bytes": 0},
            OUTPUT_TYPE="multiple_choice",
            multiple_input=False,
            multiple_target=False,
            doc_to_choice=lambda doc: texts,
            doc_to_target=lambda doc: gold,
        )
        result = ConfigurableTask.process_results(task, {}, [(value, False) for value in sums])
        cases.append({"choices": texts, "sums": sums, "gold": gold, **result})
    return cases


def windows():
    cases = []
    for count, longest, context in [(10, 4, 1), (23, 7, 3), (5, 10, 1), (10, 5, 5), (1, 1, 1), (9, 8, 1), (0, 4, 1)]:
        text = list(range(100, 100 + count))
        pairs = [make_disjoint_window(pair) for pair in get_rolling_token_windows(text, 7, longest, context)]
        cases.append({"tokens": text, "longest": longest, "context": context, "windows": pairs})
    return cases


def perplexities():
    texts = ["To be or not to be.", " padded \n\n text ", "café 水 🎉", "word", "a\tb\x1cc d"]
    sums = [-23.5, -17.25, -30.125, -4.0, -11.0]
    items = [
        (value, ConfigurableTask.count_words(text), ConfigurableTask.count_bytes(text))
        for value, text in zip(sums, texts)
    ]
    return {
        "texts": texts,
        "sums": sums,
        "word": weighted_perplexity([(value, words) for value, words, _ in items]),
        "byte": weighted_perplexity([(value, size) for value, _, size in items]),
        "bits_per_byte": bits_per_byte([(value, size) for value, _, size in items]),
    }


def pairs():
    """Encoded by words with the space before them, each the sum of its bytes; 1 begins a text."""

    def encode(text, add_special_tokens=True):
        ids = [sum(piece.encode()) for piece in re.findall(r" ?[^ ]+| +", text)]
        return [1] * add_special_tokens + ids

    model = SimpleNamespace(backend="causal", tok_encode=encode, prefix_token_id=1)
    model._encode_pair = lambda *pair: TemplateLM._encode_pair(model, *pair)
    model._loglikelihood_tokens = lambda requests, disable_tqdm: requests
    texts = [("Q: why?\nA:", " because"), ("Q: why?\nA: ", "because"), ("one  ", "two"), ("", "alone here"),
             ("a", " b c d"), ("glued", "word"), (" ", "x"), ("tail\n\t ", " x y"), ("", "\x01 after")]  # fmt: skip
    requests = [SimpleNamespace(args=pair) for pair in texts]
    encoded = TemplateLM.loglikelihood(model, requests, disable_tqdm=True)
    return [{"text": text, "context": c, "continuation": d} for text, c, d in encoded]


def exact():
    cases = []
    options = [{}, {"ignore_case": True}, {"ignore_punctuation": True}, {"ignore_numbers": True},
               {"ignore_case": True, "ignore_punctuation": True, "regexes_to_ignore": [",", r"\$", r"(?s).*#### "]}]  # fmt: skip
    for reference, response in [("Paris", "paris"), ("Paris.", "Paris"), ("a1", "a"), ("so #### $1,000", "1000."),
                                ("Ä", "ä"), ("x", "y"), ("", ""), ("a b", "a  b"), ("wait…", "wait")]:  # fmt: skip
        for option in options:
            got = exact_match_hf_evaluate(predictions=[response], references=[reference], **option)
            cases.append({"reference": reference, "response": response, "options": option,
                          "exact_match": float(got["exact_match"])})  # fmt: skip
    return cases


def likelihoods():
    torch.set_num_threads(1)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=POSITIONS, rms_norm_eps=1e-5, tie_word_embeddings=False,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval().double()
    named = dict(model.named_parameters())
    for seed, name in enumerate(sorted(named), start=1):
        values = torch.tensor(list(uniform(seed, named[name].numel())), dtype=torch.float64).reshape(named[name].shape)
        named[name].data = 1 + values / 8 if values.dim() == 1 else values / 4
    cases = []
    shapes = [(5, 3), (1, 1), (9, 1), (9, 1), (12, 12), (20, 5), (30, 4), (40, 24), (1, 24), (3, 6)]
    for seed, (before, after) in enumerate(shapes, start=200):
        context, continuation = tokens(seed, before), tokens(seed + 50, after)
        if seed == 203:  # the same context as the pair before
            context = tokens(202, before)
        if seed == 209:  # what greedy decoding writes
            for i in range(after):
                continuation[i] = int(model(torch.tensor([context + continuation[:i]])).logits[0, -1].argmax())
        whole = (context + continuation)[-(POSITIONS + 1) :]
        with torch.no_grad():
            log_p = torch.log_softmax(model(torch.tensor([whole[:-1]])).logits[0], -1)[-after:]
        target = torch.tensor(continuation)
        cases.append({
            "context": context, "continuation": continuation,
            "sum": float(log_p.gather(1, target[:, None]).sum()), "greedy": bool((log_p.argmax(-1) == target).all()),
        })  # fmt: skip
    return cases


print(json.dumps({
    "choices": choices(), "windows": windows(), "perplexity": perplexities(), "pairs": pairs(),
    "exact_match": exact(), "likelihoods": likelihoods(),
}))  # fmt: skip
