"""Writes tests/fixtures/alignment_b.json: extra terms and whole gradients of circuit breakers, RMU, the
condition-number method, NPO, SDD and TAR's further settings from an independent implementation (PyTorch,
float64).

    python tests/peers/alignment_b.py       (needs torch; the test that reads the file needs nothing)

Weights, tokens and what is kept are those of fixtures.py. `original` differs from the trained weights by a
rescaling, so that no distance is zero: every matrix of the trained model is 1.05 times the original's.
"""

import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F

from fixtures import EXAMPLES, HARMFUL, PERMITTED, REFUSAL, adamw, decoder, keep, mean_ce, mean_entropy, picture, uniform

MOVED = 1.05


def moved():
    model = decoder()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data *= MOVED
    return model


def states(model, text):
    """Embeddings, then each layer's output, of the tokens but the last."""
    tokens = torch.tensor([text[:-1]])
    x = model.model.embed_tokens(tokens)
    result = [x[0]]
    for layer in model.model.layers:
        x = layer(x, model.cos[: tokens.shape[1]], model.sin[: tokens.shape[1]])
        result.append(x[0])
    return result


def answer_states(model, example, depth):
    text, start = example
    return states(model, text)[depth][start - 1 :]


def case(model, loss, **values):
    model.zero_grad()
    loss.backward()
    values = {name: value.item() for name, value in values.items()}
    return dict(values, gradients=picture((name, p.grad) for name, p in model.named_parameters()))


def kept_distance(model, original, weights):
    """Mean L2 distance over all states and tokens of the kept batch, whose examples count as in the batch."""
    total, count = 0, 0
    for example, copies in weights:
        for now, before in zip(states(model, example[0]), states(original, example[0])):
            total += copies * (now - before.detach()).norm(dim=-1).sum()
            count += copies * len(now)
    return total / count


KEPT = [(REFUSAL[0], 2), (PERMITTED[0], 4)]


def circuit_breakers():
    # step 3 of 4 with alpha 2 and ramp 0.5; kappa 0.3
    model, original = moved(), decoder()
    cosines = [
        F.cosine_similarity(
            answer_states(model, HARMFUL[0], depth), answer_states(original, HARMFUL[0], depth).detach(), dim=-1
        )
        for depth in (1, 2)
    ]
    rerouted = torch.stack(cosines).relu().mean()
    held = kept_distance(model, original, KEPT)
    over = 0.5 * 3 / 4
    loss = 0.3 * keep(model) + 2 * (1 - over) * rerouted + 2 * over * held
    return case(model, loss, rerouted=rerouted, held=held)


def rmu():
    # depth 0.25 of 3 layers: state 1; steering 5, alpha 7, kappa 0.3
    model, original = moved(), decoder()
    direction = (torch.tensor(list(uniform(200, 96))) + 1) / 2
    direction /= direction.norm()
    steered = (answer_states(model, HARMFUL[0], 1) - 5 * direction).square().mean()
    total, count = 0, 0
    for example, copies in KEPT:
        difference = states(model, example[0])[1] - states(original, example[0])[1].detach()
        total += copies * difference.square().sum()
        count += copies * difference.numel()
    held = total / count
    loss = 0.3 * keep(model) + steered + 7 * held
    return case(model, loss, steered=steered, held=held)


def covariance(model, weights, depth):
    total, count = 0, 0
    for example, copies in weights:
        x = answer_states(model, example, depth)
        x = x / x.square().mean(-1, keepdim=True).sqrt()
        total, count = total + copies * x.T @ x, count + copies * len(x)
    return total / count


def condition_number():
    # last and middle state; lambda_ill 3, lambda_well 0.002
    model = moved()
    ill, well = [], []
    for depth in (2, 3):
        harmful, kept = covariance(model, [(HARMFUL[0], 3)], depth), covariance(model, KEPT, depth)
        k = len(kept)
        # Fewer tokens than features: the least singular value is zero, and so is the gradient of its square.
        least = torch.linalg.svdvals(harmful.detach())[-1]
        ill.append(1 / (harmful.norm().square() / (2 * k) - least.square() / 2 + 1e-6))
        well.append(torch.linalg.eigvalsh(kept)[-1].square() / 2 - kept.norm().square() / (2 * k))
    ill, well = torch.stack(ill).mean(), torch.stack(well).mean()
    return case(model, keep(model) + 3 * ill + 0.002 * well, ill=ill, well=well)


def log_probability(model, example):
    text, start = example
    log_p = F.log_softmax(model(torch.tensor([text[:-1]]))[0, start - 1 :], -1)
    return log_p.gather(1, torch.tensor(text[start:])[:, None]).sum()


def npo():
    # lambda 1.5, beta 0.4
    model, original = moved(), decoder()
    ratio = log_probability(model, HARMFUL[0]) - log_probability(original, HARMFUL[0]).detach()
    preference = 2 / 0.4 * torch.log(1 + torch.exp(0.4 * ratio))
    return case(model, keep(model) + 1.5 * preference, preference=preference)


def sdd():
    # lambda 0.8; the only permitted answer after the only forbidden prompt
    model = moved()
    (harmful, start), (permitted, answer) = HARMFUL[0], PERMITTED[0]
    irrelevant = mean_ce(model, [(harmful[:start] + permitted[answer:], start)])
    return case(model, keep(model) + 0.8 * irrelevant, irrelevant=irrelevant)


def preference(model, original):
    ratios = [log_probability(model, e[0]) - log_probability(original, e[0]).detach() for e in (REFUSAL, HARMFUL)]
    return -F.logsigmoid(0.1 * (ratios[0] - ratios[1]))


def tar(tamper):
    # lambda 0.7, retain 0.6, four steps of attack at 1e-3, tamper gradients after two and four of them
    model, attacked, original = moved(), moved(), decoder()
    optimizer = adamw(attacked, 1e-3)
    total = [torch.zeros_like(p) for p in attacked.parameters()]
    for made in range(1, 5):
        optimizer.zero_grad()
        mean_ce(attacked, HARMFUL).backward()
        optimizer.step()
        if made % 2 == 0:
            attacked.zero_grad()
            loss = -mean_entropy(attacked, HARMFUL) if tamper == "entropy" else preference(attacked, original)
            loss.backward()
            weight = math.exp(0.25 * (made - 4))
            total = [t + weight * p.grad for t, p in zip(total, attacked.parameters())]
    model.zero_grad()
    held = kept_distance(model, original, KEPT)
    (keep(model) + 0.6 * held).backward()
    for p, t in zip(model.parameters(), total):
        p.grad += 0.7 * t
    return dict(
        gradients=picture((name, p.grad) for name, p in model.named_parameters()),
        last=loss.item(),
        held=held.item(),
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    path = Path(__file__).parent.parent / "fixtures" / "alignment_b.json"
    fixture = dict(
        made_by="tests/peers/alignment_b.py",
        torch=torch.__version__.split("+")[0],
        circuit_breakers=circuit_breakers(),
        rmu=rmu(),
        condition_number=condition_number(),
        npo=npo(),
        sdd=sdd(),
        tar=tar("entropy"),
        tar_dpo=tar("dpo"),
    )
    path.write_text(json.dumps(fixture, separators=(",", ":")) + "\n")
    print("wrote", path, path.stat().st_size, "bytes")
