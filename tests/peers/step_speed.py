"""Milliseconds per training step of the embedded world's decoder in PyTorch: 64 examples of 22 tokens,
8 of them supervised, AdamW. One thread. The peer of titer-train's example `step_speed`."""

import sys
import time

import torch
import torch.nn.functional as F

from decoder import Decoder

torch.set_num_threads(1)
torch.set_flush_denormal(True)
steps = int(sys.argv[1]) if len(sys.argv) > 1 else 60
torch.manual_seed(0)
model = Decoder(120)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01)


def step():
    tokens = torch.randint(0, 120, (64, 23))
    logits = model(tokens[:, :-1])[:, 14:]
    loss = F.cross_entropy(logits.reshape(-1, 120), tokens[:, 15:].reshape(-1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


for _ in range(5):
    step()
started = time.perf_counter()
for _ in range(steps):
    step()
print(f"{(time.perf_counter() - started) * 1e3 / steps:.2f}")
