"""Writes tests/fixtures/architectures.json: small random models of each family, by Transformers.

    python tests/peers/architectures.py          (needs torch and transformers; the test needs nothing)

Weights come from a linear congruential generator that the Rust test repeats, so that the file holds only
configurations, as Transformers writes them, logits, and of each weight's gradient one number: its product with
numbers of that generator.
"""

import json
import tempfile
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Olmo3Config,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)

torch.set_num_threads(1)
MASK = (1 << 64) - 1
VOCABULARY = 40


def uniform(seed, count):
    """Numbers in [-1, 1) that float32 holds exactly."""
    state = (seed * 0x9E3779B97F4A7C15 | 1) & MASK
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) & MASK
        yield (state >> 40) / (1 << 23) - 1.0


def fill(model):
    """Gives every weight its numbers: by the place of its name among the sorted ones."""
    named = dict(model.named_parameters())
    for seed, name in enumerate(sorted(named), start=1):
        parameter = named[name]
        values = torch.tensor(list(uniform(seed, parameter.numel())), dtype=torch.float32)
        values = values.reshape(parameter.shape)
        if name.endswith("norm.weight"):
            values = 1 + values / 8
        else:
            values = values / 4
        parameter.data = values
    return model.eval()


def gradients(model):
    """Of each weight, by the place of its name: the gradient's product with numbers of the generator."""
    named = dict(model.named_parameters())
    products = []
    for seed, name in enumerate(sorted(named), start=1):
        gradient = named[name].grad.flatten().double()
        along = torch.tensor(list(uniform(seed + 1000, gradient.numel())), dtype=torch.float64)
        products.append(float(f"{(gradient @ along).item():.6g}"))
    return products


SIZES = dict(
    vocab_size=VOCABULARY,
    hidden_size=24,
    intermediate_size=32,
    num_hidden_layers=2,
    num_attention_heads=3,
    num_key_value_heads=1,
    max_position_embeddings=128,
)
LLAMA3 = dict(
    rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32
)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16)
CASES = {
    "llama-grouped": LlamaConfig(**SIZES, rms_norm_eps=1e-5),
    "llama-ends": LlamaConfig(**SIZES, eos_token_id=[3, 5], bos_token_id=1, pad_token_id=0),
    "llama-tied": LlamaConfig(**(SIZES | dict(num_attention_heads=4, num_key_value_heads=2)), tie_word_embeddings=True),
    "llama-biases": LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True),
    "llama-head-dim": LlamaConfig(**SIZES, head_dim=10),
    "llama-linear": LlamaConfig(**SIZES, rope_parameters=dict(rope_type="linear", factor=4.0, rope_theta=5e3)),
    "llama-llama3": LlamaConfig(**SIZES, rope_parameters=LLAMA3 | dict(rope_theta=5e5)),
    "llama-yarn": LlamaConfig(**SIZES, rope_parameters=YARN | dict(rope_theta=2e4)),
    "llama-yarn-mscale": LlamaConfig(
        **SIZES,
        rope_parameters=YARN | dict(rope_theta=1e4, mscale=0.7, mscale_all_dim=1.0, beta_fast=16, truncate=False),
    ),
    "llama-dynamic": LlamaConfig(**SIZES, rope_parameters=dict(rope_type="dynamic", factor=4.0, rope_theta=5e3)),
    "qwen3-yarn": Qwen3Config(**SIZES, head_dim=16, rope_parameters=YARN | dict(rope_theta=1e6, attention_factor=1.3)),
    "mistral": MistralConfig(**SIZES, head_dim=8, sliding_window=None),
    "mistral-window": MistralConfig(**SIZES, head_dim=12, sliding_window=5),
    "qwen2": Qwen2Config(**SIZES, rope_parameters=dict(rope_type="default", rope_theta=1e6)),
    "qwen2-tied": Qwen2Config(**SIZES, tie_word_embeddings=True),
    "qwen3": Qwen3Config(**SIZES, head_dim=16),
    "qwen3-biases": Qwen3Config(**SIZES, head_dim=8, attention_bias=True, tie_word_embeddings=True),
}
ENDS = dict(eos_token_id=2, pad_token_id=None, bos_token_id=None)
CASES |= {
    "olmo2": Olmo2Config(**SIZES, **ENDS),
    "olmo2-biases": Olmo2Config(**SIZES, **ENDS, attention_bias=True, tie_word_embeddings=True),
    "smollm3": SmolLM3Config(**SIZES | dict(num_hidden_layers=5), **ENDS),
    "smollm3-layers": SmolLM3Config(
        **SIZES, **ENDS, no_rope_layers=[0, 1], mlp_bias=True, attention_bias=True, tie_word_embeddings=False
    ),
    "granite": GraniteConfig(
        **SIZES, embedding_multiplier=12.0, attention_multiplier=0.5, residual_multiplier=0.22, logits_scaling=8.0
    ),
    "granite-biases": GraniteConfig(**SIZES, attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
}
FULL, SLIDING = "full_attention", "sliding_attention"
USED = dict(use_sliding_window=True)
CASES |= {
    "qwen2-window": Qwen2Config(**SIZES, **USED, sliding_window=6, max_window_layers=1),
    "qwen3-window": Qwen3Config(**SIZES, **USED, head_dim=8, sliding_window=4, layer_types=[SLIDING, FULL]),
    "smollm3-window": SmolLM3Config(**SIZES | dict(num_hidden_layers=5), **ENDS, **USED, sliding_window=7),
    "gemma2": Gemma2Config(
        **SIZES | dict(num_hidden_layers=3), head_dim=10, query_pre_attn_scalar=10, sliding_window=6,
        attn_logit_softcapping=2.0, final_logit_softcapping=3.0,
    ),
    "gemma2-plain": Gemma2Config(
        **SIZES, head_dim=16, query_pre_attn_scalar=5, sliding_window=1, attn_logit_softcapping=None,
        final_logit_softcapping=None, attention_bias=True, tie_word_embeddings=False, hidden_activation="silu",
        layer_types=[FULL, SLIDING],
    ),
    "gemma3": Gemma3TextConfig(
        **SIZES | dict(num_hidden_layers=7), head_dim=12, query_pre_attn_scalar=12, sliding_window=8,
        rope_parameters={FULL: dict(rope_type="linear", factor=8.0, rope_theta=1e6)},
    ),
    "gemma3-pattern": Gemma3TextConfig(
        **SIZES | dict(num_hidden_layers=3), head_dim=6, query_pre_attn_scalar=24, sliding_window=3,
        sliding_window_pattern=2, final_logit_softcapping=5.0, attention_bias=True,
        rope_parameters={FULL: LLAMA3 | dict(rope_theta=5e5), SLIDING: dict(rope_type="linear", factor=2.0, rope_theta=50.0)},
    ),
    "olmo3": Olmo3Config(**SIZES | dict(num_hidden_layers=4), **ENDS, sliding_window=6),
    "olmo3-yarn": Olmo3Config(
        **SIZES, **ENDS, sliding_window=5, attention_bias=True, layer_types=[SLIDING, FULL],
        rope_parameters={FULL: YARN | dict(rope_theta=2e4), SLIDING: dict(rope_type="default", rope_theta=1e3)},
    ),
}
# Changed by hand after saving: what Transformers then reads.
GONE = object()
EDITED = {
    "gemma3-of-four": (
        Gemma3TextConfig(**SIZES | dict(num_hidden_layers=7), head_dim=8, query_pre_attn_scalar=8, sliding_window=4),
        dict(
            rope_parameters=GONE, layer_types=GONE, rope_theta=2e4, rope_local_base_freq=200.0, rope_scaling=None,
            hidden_act="silu", _sliding_window_pattern=2,
        ),
    ),
    "olmo3-of-four": (
        Olmo3Config(**SIZES | dict(num_hidden_layers=5), **ENDS, sliding_window=7),
        dict(rope_parameters=GONE, layer_types=GONE, rope_theta=2e4, rope_scaling=YARN | dict(attention_factor=1.2)),
    ),
    "llama-both-ropes": (
        LlamaConfig(**SIZES, rope_parameters=LLAMA3 | dict(rope_theta=5e5)),
        dict(rope_scaling=dict(rope_type="linear", factor=2.0)),
    ),
    "llama-original-beside": (
        LlamaConfig(**SIZES, rope_parameters=LLAMA3 | dict(rope_theta=5e5)),
        dict(original_max_position_embeddings=16),
    ),
    "llama-swish": (LlamaConfig(**SIZES), dict(hidden_act="swish")),
    "qwen2-null-heads": (Qwen2Config(**SIZES | dict(num_key_value_heads=3)), dict(num_key_value_heads=None)),
}
TOKENS = [int((value + 1) / 2 * VOCABULARY) for value in uniform(100, 40)]
ROWS = [0, 1, 17, 39]


def main():
    cases = []
    for name, (config, edits) in ({name: (config, {}) for name, config in CASES.items()} | EDITED).items():
        model = fill(AutoModelForCausalLM.from_config(config, dtype=torch.float32))
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            path = Path(folder) / "config.json"
            written = json.loads(path.read_text()) | edits
            written = {key: value for key, value in written.items() if value is not GONE}
            path.write_text(json.dumps(written))
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        with torch.no_grad():
            logits = model(torch.tensor([TOKENS])).logits[0, ROWS]
        # A token that also pads is a word like others here; in f32 some products of gradients would be right to 1e-4 only.
        model = model.double()
        model.get_input_embeddings().padding_idx = None
        torch.logsumexp(model(torch.tensor([TOKENS])).logits[0, ROWS], 1).sum().backward()
        rounded = [[float(f"{x:.7g}") for x in row] for row in logits.tolist()]
        cases.append(dict(name=name, config=written, logits=rounded, gradients=gradients(model)))

    path = Path(__file__).parent.parent / "fixtures" / "architectures.json"
    path.write_text(json.dumps(dict(tokens=TOKENS, rows=ROWS, cases=cases)) + "\n")
    print(path, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
