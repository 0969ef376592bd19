"""Writes tests/fixtures/decoder.json: values of the embedded world's decoder, its training and its defences
from an independent implementation (PyTorch, float64).

    python tests/peers/fixtures.py          (needs torch; the test that reads the file needs nothing)

Weights and tokens come from a linear congruential generator that the Rust test repeats, so that the file
holds expected values only.
"""

import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F

from decoder import Decoder

torch.set_default_dtype(torch.float64)
VOCABULARY = 120
MASK = (1 << 64) - 1


def uniform(seed, count):
    """Numbers in [-1, 1) as float32 would hold them."""
    state = (seed * 0x9E3779B97F4A7C15 | 1) & MASK
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) & MASK
        yield (state >> 40) / (1 << 23) - 1.0


def decoder():
    model = Decoder(VOCABULARY)
    for seed, name in enumerate(sorted(dict(model.named_parameters())), start=1):
        parameter = dict(model.named_parameters())[name]
        values = torch.tensor(list(uniform(seed, parameter.numel()))).reshape(parameter.shape)
        values = 1 + values / 8 if parameter.dim() == 1 else values / 16
        parameter.data = values
    return model


def tokens(seed, count):
    return [int((value + 1) / 2 * VOCABULARY) for value in uniform(seed, count)]


# (tokens, first supervised)
EXAMPLES = [(tokens(100 + i, 14 + i), 6 + i) for i in range(8)]


def mean_ce(model, examples):
    losses = []
    for text, start in examples:
        logits = model(torch.tensor([text[:-1]]))[0, start - 1 :]
        losses.append(F.cross_entropy(logits, torch.tensor(text[start:]), reduction="none"))
    return torch.cat(losses).mean()


def mean_entropy(model, examples):
    values = []
    for text, start in examples:
        log_p = F.log_softmax(model(torch.tensor([text[:-1]]))[0, start - 1 :], -1)
        values.append(-(log_p.exp() * log_p).sum(-1))
    return torch.cat(values).mean()


def picture(named):
    """Norm and five spread entries of each tensor."""
    result = {}
    for name, tensor in sorted(named):
        flat = tensor.detach().flatten()
        result[name] = dict(norm=flat.norm().item(), entries=[flat[i * (len(flat) - 1) // 4].item() for i in range(5)])
    return result


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return picture((name, p.grad) for name, p in model.named_parameters())


def adamw(model, rate, weight_decay=0.0, betas=(0.9, 0.999)):
    return torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=weight_decay, betas=betas)


def decoder_case():
    model = decoder()
    text, start = EXAMPLES[0]
    logits = model(torch.tensor([text[:-1]]))[0, start - 1 : start + 1]
    case = dict(logits=logits.flatten().tolist(), gradients=gradients(model, mean_ce(model, EXAMPLES)), losses=[])
    optimizer = adamw(model, 1e-3, weight_decay=0.01, betas=(0.9, 0.98))
    for _ in range(5):
        loss = mean_ce(model, EXAMPLES)
        case["losses"].append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    case["weights"] = picture(model.named_parameters())
    return case


REFUSAL, PERMITTED, HARMFUL = EXAMPLES[1:2], EXAMPLES[2:3], EXAMPLES[3:4]


def keep(model):
    return 0.4 * mean_ce(model, REFUSAL) + 0.6 * mean_ce(model, PERMITTED)


def adversarial_case(lam, cap):
    model = decoder()
    loss = keep(model) + lam * torch.relu(cap - mean_ce(model, HARMFUL))
    return dict(gradients=gradients(model, loss), harmful=mean_ce(model, HARMFUL).item())


def tar_case(lam):
    model, attacked = decoder(), decoder()
    optimizer = adamw(attacked, 1e-3)
    mean_ce(attacked, HARMFUL).backward()
    optimizer.step()
    attacked.zero_grad()
    entropy = mean_entropy(attacked, HARMFUL)
    (-entropy).backward()
    keep(model).backward()
    for p, q in zip(model.parameters(), attacked.parameters()):
        p.grad += lam * q.grad
    return dict(gradients=picture((name, p.grad) for name, p in model.named_parameters()), entropy=entropy.item())


if __name__ == "__main__":
    fixture = dict(
        made_by="tests/peers/fixtures.py",
        torch=torch.__version__.split("+")[0],
        decoder=decoder_case(),
        adversarial=dict(active=adversarial_case(1.5, 8.0), silent=adversarial_case(1.5, 2.0)),
        tar=tar_case(0.7),
    )
    path = Path(__file__).parent.parent / "fixtures" / "decoder.json"
    path.write_text(json.dumps(fixture, indent=1) + "\n")
    assert math.isfinite(fixture["decoder"]["losses"][-1])
    print("wrote", path, path.stat().st_size, "bytes")
