"""One case of `cargo xtask bench` in PyTorch, Transformers and PEFT: made ready once, then done again for each line of
stdin, with a line of JSON each time. The peer of titer-train's example `bench_worker`, which says what the cases are.

    python tests/peers/bench_worker.py CASE [MODEL] [THREADS]

MODEL is a folder or a .gguf file, `-` for the cases of the embedded world, and a size for those of random weights, which
run on BENCH_DEVICE.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from decoder import Decoder

STEPS = 20


def adamw(parameters):
    return torch.optim.AdamW(parameters, lr=1e-4, betas=(0.9, 0.98), weight_decay=0.0)


def world_step():
    model = Decoder(120)
    optimizer = adamw(model.parameters())

    def turn():
        for _ in range(STEPS):
            tokens = torch.randint(0, 120, (64, 23))
            logits = model(tokens[:, :-1])[:, 14:]
            loss = F.cross_entropy(logits.reshape(-1, 120), tokens[:, 15:].reshape(-1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return STEPS

    return turn


def repeated(turn, times):
    return lambda: sum(turn() for _ in range(times))


def world_probe():
    """The whole text again for each new token, as a plain `generate` does."""
    model, prompts = Decoder(120), torch.randint(0, 120, (128, 14))

    @torch.no_grad()
    def turn():
        tokens = prompts
        for _ in range(8):
            tokens = torch.cat([tokens, model(tokens)[:, -1:].argmax(-1)], 1)
        return 128 * 8

    return turn


def world_probe_cached():
    """Keys and values kept, and the head at the last position alone."""
    model, prompts = Decoder(120), torch.randint(0, 120, (128, 14))

    def attend(attention, x, cos, sin, cache):
        batch, length, width = x.shape

        def split(y):
            return y.view(batch, length, attention.heads, -1).transpose(1, 2)

        def rotate(y):
            a, b = y.chunk(2, -1)
            return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

        q, k, v = (split(project(x)) for project in (attention.q_proj, attention.k_proj, attention.v_proj))
        q, k = rotate(q), rotate(k)
        if cache:
            k, v = torch.cat([cache[0], k], 2), torch.cat([cache[1], v], 2)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=length > 1)
        return attention.o_proj(y.transpose(1, 2).reshape(batch, length, width)), (k, v)

    @torch.no_grad()
    def turn():
        caches, tokens, at = [None] * len(model.model.layers), prompts, 0
        for _ in range(8):
            x = model.model.embed_tokens(tokens)
            cos, sin = (angles[at : at + tokens.shape[1]] for angles in (model.cos, model.sin))
            at += tokens.shape[1]
            for place, layer in enumerate(model.model.layers):
                y, caches[place] = attend(layer.self_attn, layer.input_layernorm(x), cos, sin, caches[place])
                x = x + y
                x = x + layer.mlp(layer.post_attention_layernorm(x))
            tokens = model.lm_head(model.model.norm(x[:, -1:])).argmax(-1)
        return 128 * 8

    return turn


def opened(path):
    from transformers import AutoModelForCausalLM

    where = dict(pretrained_model_name_or_path=path)
    if path.is_file():
        where = dict(pretrained_model_name_or_path=path.parent, gguf_file=path.name)
    return AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)


def training(model, lora, texts=8, length=64):
    if lora and DEVICE != "cpu":
        # PEFT keeps adapters in 32 bits.
        model = model.to(torch.bfloat16)
    if lora:
        from peft import LoraConfig, get_peft_model

        targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=targets, task_type="CAUSAL_LM"))
    else:
        for parameter in model.parameters():
            parameter.requires_grad_(True)
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = adamw(trained)

    def turn():
        text = torch.randint(0, model.config.vocab_size, (texts, length + 1), device=model.device)
        logits = model(input_ids=text[:, :-1]).logits
        loss = F.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1e9)
        optimizer.step()
        return texts * length

    return turn


def generation(model, count=32, length=40, new=24):
    model.eval()
    prompts = torch.randint(0, model.config.vocab_size, (count, length), device=model.device)
    settings = dict(max_new_tokens=new, min_new_tokens=new, do_sample=False, attention_mask=torch.ones_like(prompts))

    @torch.no_grad()
    def turn():
        model.generate(prompts, **settings)
        return count * new

    return turn


def scoring(model):
    """As lm-evaluation-harness: every pair of question and choice in one row, the logits of the choice's tokens."""
    model.eval()
    vocabulary = model.config.vocab_size
    questions = torch.randint(0, vocabulary, (16, 40)).repeat_interleave(4, 0)
    choices = torch.randint(0, vocabulary, (64, 8))
    rows = torch.cat([questions, choices], 1)[:, :-1]

    @torch.no_grad()
    def turn():
        logits = model(input_ids=rows, logits_to_keep=8).logits.log_softmax(-1)
        logits.gather(-1, choices[..., None]).sum((1, 2)).tolist()
        return 64

    return turn


# As the example has them: vocabulary, width, inner width, layers, heads, heads of keys, tied, texts, tokens of each.
SIZES = {
    "tiny": (512, 64, 128, 2, 4, 2, True, 2, 16),
    "0.1b": (49152, 576, 1536, 30, 9, 3, True, 8, 512),
    "1b": (128256, 2048, 8192, 16, 32, 8, True, 8, 512),
    "7b": (32000, 4096, 11008, 32, 32, 32, False, 8, 512),
}
DEVICE = os.environ.get("BENCH_DEVICE", "cpu")


def drawn(size):
    from transformers import LlamaConfig, LlamaForCausalLM

    vocabulary, width, inner, layers, heads, keys, tied, _, length = SIZES[size]
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=inner, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=keys, tie_word_embeddings=tied, max_position_embeddings=2 * length,
    )
    with torch.device(DEVICE):
        return LlamaForCausalLM(config)


def random_lora(size):
    *_, texts, length = SIZES[size]
    model = drawn(size)
    if size == "7b":
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()
    return training(model, True, texts, length)


def random_generate(size):
    *_, texts, length = SIZES[size]
    return generation(drawn(size), 4 * texts, length // 8, length // 8)


def main():
    case = sys.argv[1]
    path = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("-")
    threads = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    if threads > 0:
        torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    cases = {
        "world_step": world_step,
        # One alone is over before a timing says anything.
        "world_probe": lambda: repeated(world_probe(), 10),
        "world_probe_cached": lambda: repeated(world_probe_cached(), 10),
        "smollm2_full": lambda: training(opened(path), False),
        "smollm2_lora": lambda: training(opened(path), True),
        "smollm2_generate": lambda: generation(opened(path)),
        "smollm2_score": lambda: scoring(opened(path)),
        "random_lora": lambda: random_lora(str(path)),
        "random_generate": lambda: random_generate(str(path)),
    }
    turn = cases[case]()
    turn()
    print(json.dumps({"ready": case}), flush=True)
    for _ in sys.stdin:
        started = (time.perf_counter(), time.process_time())
        units = turn()
        if DEVICE.startswith("cuda"):
            torch.cuda.synchronize()
        report = {
            "seconds": time.perf_counter() - started[0],
            "processor_seconds": time.process_time() - started[1],
            "units": units,
            "flops": 0.0,
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        print(json.dumps(report), flush=True)


main()
