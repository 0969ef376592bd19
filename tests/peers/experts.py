"""Writes tests/fixtures/experts.json: small random models of each family with experts, by Transformers.

    python tests/peers/experts.py          (needs torch and transformers; the test needs nothing)

Weights come from the generator of architectures.py by the names that published checkpoints have, one tensor
per expert; Transformers loads them from such a file, fuses them in memory, and its `save_pretrained` must
write the same names again. The fixture holds configurations as Transformers writes them, logits, router
logits of every layer with experts, the experts and weights that its routers choose, and its load-balancing
loss.
"""

import json
import tempfile
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, MixtralConfig, OlmoeConfig, Qwen2MoeConfig, Qwen3MoeConfig
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from architectures import ROWS, SIZES, TOKENS, uniform

torch.set_num_threads(1)
ENDS = dict(eos_token_id=2, pad_token_id=None)
QWEN = dict(moe_intermediate_size=12, num_experts=5, num_experts_per_tok=2)
SHARED = dict(shared_expert_intermediate_size=20)
CASES = {
    "mixtral": MixtralConfig(**SIZES, num_local_experts=4, num_experts_per_tok=2),
    "mixtral-window": MixtralConfig(**SIZES, head_dim=12, num_local_experts=3, num_experts_per_tok=1, sliding_window=48),
    "olmoe": OlmoeConfig(**SIZES, **ENDS, num_experts=8, num_experts_per_tok=3),
    "olmoe-clip": OlmoeConfig(
        **SIZES, **ENDS, num_experts=4, num_experts_per_tok=2, norm_topk_prob=True, clip_qkv=0.5, attention_bias=True
    ),
    "qwen2-moe": Qwen2MoeConfig(**SIZES, **QWEN, **SHARED, tie_word_embeddings=True),
    "qwen2-moe-step": Qwen2MoeConfig(**SIZES, **QWEN, **SHARED, decoder_sparse_step=2, norm_topk_prob=True),
    "qwen3-moe": Qwen3MoeConfig(**SIZES, **QWEN, head_dim=16, norm_topk_prob=True),
    "qwen3-moe-dense": Qwen3MoeConfig(**SIZES, **QWEN, mlp_only_layers=[0], attention_bias=True),
}


def names_of(folder):
    with safe_open(Path(folder) / "model.safetensors", "pt") as file:
        return {name: file.get_slice(name).get_shape() for name in file.keys()}


def filled(config, folder):
    """The model with weights by the places of their published names among the sorted ones."""
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    shapes = names_of(folder)
    tensors = {}
    for seed, name in enumerate(sorted(shapes), start=1):
        count = torch.Size(shapes[name]).numel()
        values = torch.tensor(list(uniform(seed, count)), dtype=torch.float32).reshape(shapes[name])
        tensors[name] = 1 + values / 8 if name.endswith("norm.weight") else values / 4
    save_file(tensors, Path(folder) / "model.safetensors", metadata={"format": "pt"})
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), set(shapes)


def numbers(tensor):
    return [[float(f"{x:.7g}") for x in row] for row in tensor.tolist()]


def main():
    cases = []
    for name, config in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            model, names = filled(config, folder)
            model.save_pretrained(folder)
            assert set(names_of(folder)) == names, "save_pretrained writes what is published"
            written = json.loads((Path(folder) / "config.json").read_text())
        chosen = []
        gates = [m for n, m in model.named_modules() if n.endswith("mlp.gate")]
        hooks = [g.register_forward_hook(lambda _, __, out: chosen.append(out[1:])) for g in gates]
        with torch.no_grad():
            out = model(torch.tensor([TOKENS]), output_router_logits=True)
        [hook.remove() for hook in hooks]
        balance = load_balancing_loss_func(tuple(out.router_logits), written.get("num_experts", written.get("num_local_experts")), config.num_experts_per_tok)
        routers = [
            dict(logits=numbers(logits[ROWS]), weights=numbers(weights[ROWS]), experts=experts[ROWS].tolist())
            for logits, (weights, experts) in zip(out.router_logits, chosen, strict=True)
        ]
        cases.append(dict(name=name, config=written, logits=numbers(out.logits[0, ROWS]), routers=routers, balance=balance.item()))

    path = Path(__file__).parent.parent / "fixtures" / "experts.json"
    path.write_text(json.dumps(dict(tokens=TOKENS, rows=ROWS, cases=cases)) + "\n")
    print(path, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
