"""Writes tests/fixtures/optimizers.json: five steps of each optimiser, with and without clipping, from independent
implementations (torch's SGD and AdamW, Transformers' Adafactor, torch's clip_grad_norm_; float64).

    python tests/peers/optimizers.py        (needs torch and transformers; the test that reads the file needs nothing)

Model and examples are those of fixtures.py. Weight decay is decoupled in all of them, as in AdamW: where the
implementation has another kind, the weights are shrunk by hand before its step.
"""

import json
from pathlib import Path

import torch
from transformers.optimization import Adafactor

from fixtures import EXAMPLES, decoder, mean_ce, picture


def adamw(parameters, rate, momentum, betas, decay):
    return torch.optim.AdamW(parameters, lr=rate, betas=betas, weight_decay=decay)


def sgd(parameters, rate, momentum, betas, decay):
    return torch.optim.SGD(parameters, lr=rate, momentum=momentum)


def adafactor(parameters, rate, momentum, betas, decay):
    return Adafactor(
        parameters,
        lr=rate,
        beta1=momentum or None,
        weight_decay=decay,
        scale_parameter=False,
        relative_step=False,
        warmup_init=False,
    )


RULES = dict(adamw=adamw, sgd=sgd, adafactor=adafactor)
# Rule, rate, momentum, betas, weight decay, clip; 0 for none.
CASES = [
    ("adamw", 1e-3, 0.0, (0.95, 0.9), 0.01, 0.5),
    ("sgd", 0.05, 0.0, (0.9, 0.999), 0.0, 0.0),
    ("sgd", 0.05, 0.9, (0.9, 0.999), 0.1, 0.5),
    ("adafactor", 1e-3, 0.0, (0.9, 0.999), 0.0, 0.0),
    ("adafactor", 1e-3, 0.9, (0.9, 0.999), 0.1, 0.5),
]


def run(rule, rate, momentum, betas, decay, clip):
    model = decoder()
    parameters = list(model.parameters())
    optimizer = RULES[rule](parameters, rate, momentum, betas, decay)
    losses, norms = [], []
    for _ in range(5):
        loss = mean_ce(model, EXAMPLES)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, clip or float("inf")).item())
        if rule == "sgd":
            with torch.no_grad():
                for parameter in parameters:
                    parameter.mul_(1 - rate * decay)
        optimizer.step()
    return dict(
        optimizer=rule,
        rate=rate,
        momentum=momentum,
        beta1=betas[0],
        beta2=betas[1],
        weight_decay=decay,
        clip=clip,
        losses=losses,
        norms=norms,
        weights=picture(model.named_parameters()),
    )


if __name__ == "__main__":
    fixture = dict(
        made_by="tests/peers/optimizers.py",
        torch=torch.__version__.split("+")[0],
        cases=[run(*case) for case in CASES],
    )
    path = Path(__file__).parent.parent / "fixtures" / "optimizers.json"
    path.write_text(json.dumps(fixture, indent=1) + "\n")
    for case in fixture["cases"]:
        print(case["optimizer"], [round(loss, 4) for loss in case["losses"]], [round(norm, 3) for norm in case["norms"]])
    print("wrote", path, path.stat().st_size, "bytes")
