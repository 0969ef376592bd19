"""Writes tests/fixtures/blocks.json: small random models of families whose files or blocks are not Llama's.

    python tests/peers/blocks.py          (needs torch and transformers; the test needs nothing)
    python tests/peers/blocks.py --random 40 OUT.json
    TITER_BLOCKS=OUT.json cargo test --release --workspace --test model blocks

Weights come from the generator of architectures.py by the places of the names that `save_pretrained` writes. The
fixture holds configurations as Transformers writes them, names and shapes of the tensors, logits, and of the
gradient of Σ sin(logits) by each tensor one number: its product with other numbers of the generator. The second form
draws configurations at random; the third compares them.
"""

import json
import random
import sys
import tempfile
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, GptOssConfig, GPTNeoXConfig, Phi3Config
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from architectures import ROWS, SIZES, TOKENS, VOCABULARY, uniform

torch.set_num_threads(1)
ENDS = dict(eos_token_id=2, pad_token_id=None, bos_token_id=None)
# Of 8 features of a head all are rotated, or 6.
LONG = dict(rope_type="longrope", short_factor=[1.0, 1.1, 1.3, 1.7], long_factor=[1.0, 2.5, 6.0, 11.0])
THREE = {key: value[:3] if isinstance(value, list) else value for key, value in LONG.items()}
NEOX = {key: value for key, value in SIZES.items() if key != "num_key_value_heads"}
PHI = SIZES | ENDS
OSS = SIZES | ENDS | dict(num_local_experts=4, num_experts_per_tok=2)
CASES = {
    "phi3": Phi3Config(**PHI),
    "phi3-tied": Phi3Config(**PHI | dict(num_key_value_heads=None), tie_word_embeddings=True),
    "phi3-partial": Phi3Config(**PHI, partial_rotary_factor=0.75, rope_parameters=dict(rope_theta=2e3)),
    "phi3-head-dim": Phi3Config(**PHI, head_dim=10),
    # The text is longer than what the model was first trained on, or not.
    "phi3-long": Phi3Config(**PHI, original_max_position_embeddings=32, rope_parameters=LONG),
    "phi3-short": Phi3Config(**PHI, original_max_position_embeddings=64, rope_parameters=LONG),
    "phi3-long-partial": Phi3Config(
        **PHI,
        original_max_position_embeddings=16,
        partial_rotary_factor=0.75,
        rope_parameters=THREE | dict(attention_factor=1.3),
    ),
    "gpt-neox": GPTNeoXConfig(**NEOX),
    "gpt-neox-one-after-the-other": GPTNeoXConfig(**NEOX, use_parallel_residual=False, hidden_act="gelu_new"),
    "gpt-neox-all-rotated": GPTNeoXConfig(
        **NEOX, rope_parameters=dict(rope_theta=5e3, partial_rotary_factor=1.0, rope_type="linear", factor=2.0)
    ),
    "gpt-neox-no-biases": GPTNeoXConfig(**NEOX, attention_bias=False, hidden_act="gelu_fast", tie_word_embeddings=True),
    "gpt-oss": GptOssConfig(**OSS, head_dim=8),
    "gpt-oss-window": GptOssConfig(**OSS | dict(num_hidden_layers=3), head_dim=12, sliding_window=9),
    "gpt-oss-layers": GptOssConfig(
        **OSS,
        head_dim=8,
        sliding_window=64,
        layer_types=["full_attention", "sliding_attention"],
        attention_bias=False,
        swiglu_limit=0.3,
        swiglu_alpha=1.1,
        tie_word_embeddings=True,
        rope_parameters=dict(rope_type="default", rope_theta=2e3),
    ),
    "gpt-oss-mxfp4": GptOssConfig(
        **OSS | dict(hidden_size=32, intermediate_size=64, num_local_experts=2, num_hidden_layers=1), head_dim=8
    ),
}


def phi3(pick):
    heads = pick([1, 3, 4, 5, 7])
    shared = pick([heads, 1])
    dim = pick([4, 6, 8, 16])
    share = pick([share for share in (0.25, 0.5, 0.75, 1.0) if int(dim * share) % 2 == 0 and int(dim * share)])
    half = int(dim * share) // 2
    rope = dict(rope_theta=pick([1e4, 3e5]), partial_rotary_factor=share)
    if pick([True, False]):
        rope |= dict(rope_type="longrope") | {
            key: [round(pick([1, 2, 5]) * (1 + i / 3), 3) for i in range(half)] for key in ("short_factor", "long_factor")
        }
        rope |= pick([{}, dict(attention_factor=1.2), dict(factor=3.0)])
    return Phi3Config(
        vocab_size=VOCABULARY,
        hidden_size=heads * dim,
        intermediate_size=pick([12, 31, 64]),
        num_hidden_layers=pick([1, 2, 3]),
        num_attention_heads=heads,
        num_key_value_heads=shared,
        max_position_embeddings=pick([40, 128]),
        original_max_position_embeddings=pick([8, 39, 40, 64]),
        rope_parameters=rope,
        rms_norm_eps=pick([1e-6, 1e-3]),
        tie_word_embeddings=pick([True, False]),
        sliding_window=pick([None, 40, 2047]),
        **ENDS,
    )


def gpt_neox(pick):
    heads, dim = pick([1, 3, 4, 5, 7]), pick([4, 6, 8, 16])
    share = pick([share for share in (0.25, 0.5, 0.75, 1.0) if int(dim * share) % 2 == 0 and int(dim * share)])
    rope = dict(rope_theta=pick([1e4, 3e5]), partial_rotary_factor=share)
    rope |= pick([{}, dict(rope_type="linear", factor=3.0)])
    return GPTNeoXConfig(
        vocab_size=VOCABULARY,
        hidden_size=heads * dim,
        intermediate_size=pick([12, 31, 64]),
        num_hidden_layers=pick([1, 2, 3]),
        num_attention_heads=heads,
        max_position_embeddings=pick([40, 128]),
        rope_parameters=rope,
        layer_norm_eps=pick([1e-6, 1e-3]),
        hidden_act=pick(["gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh"]),
        tie_word_embeddings=pick([True, False]),
        use_parallel_residual=pick([True, False]),
        attention_bias=pick([True, False]),
    )


def gpt_oss(pick):
    heads, experts, layers = pick([1, 3, 4, 5]), pick([1, 3, 5]), pick([1, 2, 3])
    return GptOssConfig(
        vocab_size=VOCABULARY,
        hidden_size=pick([12, 20, 27]),
        intermediate_size=pick([12, 31]),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=pick([heads, 1]),
        head_dim=pick([4, 6, 16]),
        num_local_experts=experts,
        num_experts_per_tok=pick(range(1, experts + 1)),
        max_position_embeddings=pick([40, 128]),
        sliding_window=pick([1, 5, 39, 40, 128]),
        layer_types=pick([None, [pick(["full_attention", "sliding_attention"]) for _ in range(layers)]]),
        attention_bias=pick([True, False]),
        swiglu_limit=pick([0.5, 7.0]),
        rope_parameters=pick([None, dict(rope_type="default", rope_theta=1e4)]),
        rms_norm_eps=pick([1e-6, 1e-3]),
        tie_word_embeddings=pick([True, False]),
        **ENDS,
    )


def names_of(folder):
    with safe_open(Path(folder) / "model.safetensors", "pt") as file:
        return {name: list(file.get_slice(name).get_shape()) for name in file.keys()}


def numbers(tensor):
    return [[float(f"{x:.7g}") for x in row] for row in tensor.tolist()]


def drawn(seed, name, shape):
    values = torch.tensor(list(uniform(seed, torch.Size(shape).numel())), dtype=torch.float32).reshape(shape)
    if name.endswith("_blocks"):
        return ((values + 1) * 128).to(torch.uint8)
    if name.endswith("_scales"):
        return (121 + (values + 1) * 2.5).to(torch.uint8)
    return 1 + values / 8 if name.endswith("norm.weight") else values / 4


def packed(shapes):
    """The same model's tensors with experts in mxfp4."""
    for name, shape in shapes.items():
        if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            experts, inputs, outputs = shape
            yield name + "_blocks", [experts, outputs, inputs // 32, 16]
            yield name + "_scales", [experts, outputs, inputs // 32]
        else:
            yield name, shape


def case(name, config):
    with tempfile.TemporaryDirectory() as folder:
        AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
        plain = names_of(folder)
        shapes = dict(packed(plain)) if name.endswith("mxfp4") else plain
        tensors = {key: drawn(seed, key, shapes[key]) for seed, key in enumerate(sorted(shapes), start=1)}
        for key in [key.removesuffix("_blocks") for key in shapes if key.endswith("_blocks")]:
            pair = tensors.pop(key + "_blocks"), tensors.pop(key + "_scales")
            tensors[key] = convert_moe_packed_tensors(*pair, dtype=torch.float32)
        save_file(tensors, Path(folder) / "model.safetensors", metadata={"format": "pt"})
        written = json.loads((Path(folder) / "config.json").read_text())
        # Its grouped products want rows of whole 16 bytes.
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, experts_implementation="eager").eval()
    if shapes != plain:
        written["quantization_config"] = dict(quant_method="mxfp4", modules_to_not_convert=["lm_head"])
    logits = model(torch.tensor([TOKENS])).logits[0]
    logits.sin().sum().backward()
    gradients = {}
    for key, parameter in model.named_parameters():
        key = key if key in plain else "embed_out.weight"
        place = sorted(plain).index(key)
        other = torch.tensor(list(uniform(1000 + place, parameter.numel())), dtype=torch.float32)
        gradients[key] = float(f"{(parameter.grad.flatten() * other).sum().item():.7g}")
    assert gradients.keys() == plain.keys(), gradients.keys() ^ plain.keys()
    return dict(name=name, config=written, shapes=shapes, logits=numbers(logits[ROWS]), gradients=gradients)


def main():
    if sys.argv[1:2] == ["--random"]:
        pick = random.Random(1).choice
        kinds = dict(phi3=phi3, gpt_neox=gpt_neox, gpt_oss=gpt_oss)
        cases = [case(f"{kind}-{i}", make(pick)) for kind, make in kinds.items() for i in range(int(sys.argv[2]))]
        path = Path(sys.argv[3])
    else:
        cases = [case(name, config) for name, config in CASES.items()]
        path = Path(__file__).parent.parent / "fixtures" / "blocks.json"
    path.write_text(json.dumps(dict(tokens=TOKENS, rows=ROWS, cases=cases)) + "\n")
    print(path, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
