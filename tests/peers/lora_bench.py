"""The work of `crates/titer-train/examples/lora_bench.rs` in PyTorch, Transformers and PEFT.

    python tests/peers/lora_bench.py MODEL lora|full|generate [STEPS] [THREADS]

MODEL is a directory or a .gguf file. Prints one line of JSON.
"""

import json
import resource
import sys
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

path, work = Path(sys.argv[1]), sys.argv[2]
steps = int(sys.argv[3]) if len(sys.argv) > 3 else 5
torch.set_num_threads(int(sys.argv[4]) if len(sys.argv) > 4 else 1)
torch.manual_seed(0)
where = dict(pretrained_model_name_or_path=path)
if path.is_file():
    where = dict(pretrained_model_name_or_path=path.parent, gguf_file=path.name)
model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
vocabulary = model.config.vocab_size

if work == "generate":
    model.eval()
    prompts = torch.randint(0, vocabulary, (32, 40))
    settings = dict(max_new_tokens=24, min_new_tokens=24, do_sample=False, attention_mask=torch.ones_like(prompts))
    started = (time.perf_counter(), time.process_time())
    with torch.no_grad():
        for _ in range(steps):
            model.generate(prompts, **settings)
    tokens = steps * 32 * 24
else:
    if work == "lora":
        from peft import LoraConfig, get_peft_model

        targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=targets, task_type="CAUSAL_LM"))
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if work == "full":
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        trained = list(model.parameters())
    optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0)

    def step():
        text = torch.randint(0, vocabulary, (8, 65))
        logits = model(input_ids=text[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1e9)
        optimizer.step()

    step()
    started = (time.perf_counter(), time.process_time())
    for _ in range(steps):
        step()
    tokens = steps * 8 * 64

seconds, cpu_seconds = time.perf_counter() - started[0], time.process_time() - started[1]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(
    json.dumps(
        dict(
            work=work,
            tokens_per_second=round(tokens / seconds, 1),
            tokens_per_cpu_second=round(tokens / cpu_seconds, 1),
            peak_mb=round(peak),
        )
    )
)
