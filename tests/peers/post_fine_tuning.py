"""Writes tests/fixtures/post_fine_tuning.json: what repairs make of given weights and data, from an
independent implementation (PyTorch, float64).

    python tests/peers/post_fine_tuning.py          (needs torch; the test that reads the file needs nothing)

Weights come from the generator of fixtures.py, as the Rust test has them: the aligned model is its decoder,
the base model and the user's adapters differ from it as `perturbed` and `adapters` say.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F

from fixtures import EXAMPLES, MASK, adamw, decoder, mean_ce, uniform

RANK, SCALE = 4, 2.0
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
torch.set_num_threads(1)


def matrix(seed, shape, scale):
    return torch.tensor(list(uniform(seed, shape[0] * shape[1]))).reshape(shape) * scale


def projections(model):
    return {n: p for n, p in sorted(model.named_parameters()) if n.split(".")[-2] in PROJECTIONS}


def base():
    """The model before alignment: every projection differs from the aligned one."""
    model = decoder()
    for seed, (name, parameter) in enumerate(projections(model).items(), start=300):
        parameter.data = parameter.data - matrix(seed, parameter.shape, 1 / 64)
    return model


def adapters(model):
    """A and B of every projection, as the user trained them."""
    factors = {}
    for seed, (name, parameter) in enumerate(projections(model).items(), start=400):
        rows, columns = parameter.shape
        factors[name] = (matrix(seed, (RANK, columns), 1 / 8), matrix(seed + 100, (rows, RANK), 1 / 8))
    return factors


def tuned(factors=None):
    model = decoder()
    for name, (a, b) in (factors or adapters(model)).items():
        parameter = dict(model.named_parameters())[name]
        parameter.data = parameter.data + SCALE * b @ a
    return model


PROBE = torch.tensor(list(uniform(7, 96 * 256)))


def picture(named):
    """Norm, inner product with fixed numbers, and three spread entries of each tensor."""
    result = {}
    for name, tensor in sorted(named):
        flat = tensor.detach().flatten()
        values = [flat.norm(), flat @ PROBE[: len(flat)]] + [flat[i * (len(flat) - 1) // 2] for i in range(3)]
        result[name] = [float(f"{value.item():.8g}") for value in values]
    return result


def of_layers(model):
    return picture(projections(model).items())


def fingerprint(mask):
    """FNV-1a over the positions of a mask's ones, row by row, as text: too large for a JSON number."""
    state = 0xCBF29CE484222325
    for position in mask.flatten().nonzero().flatten().tolist():
        state = ((state ^ position) * 0x100000001B3) & MASK
    return dict(ones=int(mask.sum()), fnv=str(state))


def inputs(model, texts):
    """What every projection reads, one tensor of (tokens, features) for each text."""
    seen = {name: [] for name in projections(model)}
    modules = dict(model.named_modules())
    hooks = [
        modules[name.removesuffix(".weight")].register_forward_hook(
            lambda _, args, __, name=name: seen[name].append(args[0][0].detach())
        )
        for name in seen
    ]
    with torch.no_grad():
        for text, _ in texts:
            model(torch.tensor([text]))
    for hook in hooks:
        hook.remove()
    return seen


def norms(seen):
    """Root of the mean over texts of the sum over tokens of x squared."""
    return torch.stack([x.square().sum(0) for x in seen]).mean(0).sqrt()


def highest(weight, norm, share):
    """Ones at the highest scores of each row: all but the int(columns · (1 − share)) lowest."""
    score = weight.abs() * norm
    lowest = int(score.shape[1] * (1 - share))
    order = score.argsort(dim=1, stable=True)[:, :lowest]
    return torch.ones_like(score).scatter(1, order, 0.0)


HARMFUL, REFUSALS, PERMITTED = EXAMPLES[0:3], EXAMPLES[3:5], EXAMPLES[5:8]


def antidote_merged(share, harmful, spare=0.0, spared_by=()):
    model = tuned()
    read, guarded = (inputs(model, harmful), inputs(model, spared_by))
    masks = {}
    for name, parameter in projections(model).items():
        one = torch.ones(1, parameter.shape[1])
        mask = highest(parameter.data, norms(read[name]) if harmful else one, share)
        if spare:
            mask = mask * (1 - highest(parameter.data, norms(guarded[name]), spare))
        parameter.data = parameter.data * (1 - mask)
        masks[name] = fingerprint(mask)
    return dict(masks=masks, weights=of_layers(model))


def antidote_factors(share):
    model = decoder()
    factors = adapters(model)
    read = inputs(tuned(), HARMFUL)
    masks, pruned = {}, {}
    for name, (a, b) in factors.items():
        mask_a = highest(a, norms(read[name]), share)
        mask_b = highest(b, norms([x @ a.T for x in read[name]]), share)
        masks[name] = dict(a=fingerprint(mask_a), b=fingerprint(mask_b))
        pruned[name] = (a * (1 - mask_a), b * (1 - mask_b))
    return dict(masks=masks, weights=of_layers(tuned(pruned)))


def set_projections(model, change):
    for name, parameter in projections(model).items():
        parameter.data = change(name, parameter.data)
    return model


def interpolated(alpha):
    aligned = projections(decoder())
    return of_layers(set_projections(tuned(), lambda name, w: (1 - alpha) * w + alpha * aligned[name].data))


def safe_lora(normalization, count=None):
    """The `count` matrices whose update is turned most by C are projected; without `count` a threshold in the
    widest gap between cosines says which."""
    aligned, before = projections(decoder()), projections(base())
    cosines, new = {}, {}
    for name, w in projections(tuned()).items():
        v, update = (aligned[name] - before[name]).data, (w - aligned[name]).data
        c = v @ v.T / v.norm() ** (2 if normalization == "squared-norm" else 1)
        cosines[name] = F.cosine_similarity((c @ update).flatten(), update.flatten(), dim=0).item()
        new[name] = aligned[name].data + c @ update
    ascending = sorted(cosines.values())
    at = count or max(range(5, 16), key=lambda i: ascending[i] - ascending[i - 1])
    threshold = (ascending[at - 1] + ascending[at]) / 2
    weights = of_layers(set_projections(tuned(), lambda name, w: new[name] if cosines[name] <= threshold else w))
    return dict(threshold=threshold, projected=at, weights=weights)


def clipped_step(model, optimizer, gradients, clip=1.0):
    for parameter, gradient in zip(model.parameters(), gradients):
        parameter.grad = gradient.clone()
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()


def gradients(model, examples):
    loss = mean_ce(model, examples)
    return torch.autograd.grad(loss, list(model.parameters())), loss.item()


def resta(gamma, steps, rate):
    unsafe = decoder()
    optimizer = adamw(unsafe, rate)
    for _ in range(steps):
        clipped_step(unsafe, optimizer, gradients(unsafe, EXAMPLES[0:1])[0])
    aligned, unsafe = projections(decoder()), projections(unsafe)
    return of_layers(set_projections(tuned(), lambda name, w: w + gamma * (aligned[name] - unsafe[name]).data))


def ascent(model, rho):
    h, loss = gradients(model, EXAMPLES[0:1])
    norm = torch.sqrt(sum(g.square().sum() for g in h))
    return h, [rho * g / (norm + 1e-7) for g in h], loss


def move(model, step, sign=1):
    for parameter, delta in zip(model.parameters(), step):
        parameter.data = parameter.data + sign * delta


def panacea(rho, lam, cap, steps, rate):
    model = tuned()
    optimizer = adamw(model, rate)
    for _ in range(steps):
        g, _ = gradients(model, EXAMPLES[1:2])
        h, epsilon, _ = ascent(model, rho)
        move(model, epsilon)
        raised, loss = gradients(model, EXAMPLES[0:1])
        move(model, epsilon, -1)
        pull = 0.0 if loss > cap else lam
        clipped_step(model, optimizer, [a + lam * b - pull * c for a, b, c in zip(g, h, raised)])
    move(model, ascent(model, rho)[1])
    return of_layers(model)


def panacea_on_adapters(rho):
    """The perturbation alone, on A and B: W + s·(B + ε_B)(A + ε_A)."""
    start = adapters(decoder())
    leaves = {name: [f.clone().requires_grad_() for f in factors] for name, factors in start.items()}
    model = decoder()
    weights = {name: p.detach() + SCALE * leaves[name][1] @ leaves[name][0] for name, p in projections(model).items()}
    text, first = EXAMPLES[0]
    logits = torch.func.functional_call(model, weights, (torch.tensor([text[:-1]]),))[0, first - 1 :]
    F.cross_entropy(logits, torch.tensor(text[first:])).backward()
    norm = torch.sqrt(sum(f.grad.square().sum() for pair in leaves.values() for f in pair))
    moved = {
        name: tuple((f + rho * f.grad / (norm + 1e-7)).detach() for f in pair) for name, pair in leaves.items()
    }
    return of_layers(tuned(moved))


if __name__ == "__main__":
    fixture = dict(
        made_by="tests/peers/post_fine_tuning.py",
        torch=torch.__version__.split("+")[0],
        interpolation=interpolated(0.3),
        antidote=dict(
            merged=antidote_merged(0.05, HARMFUL),
            spared=antidote_merged(0.1, HARMFUL, 0.2, REFUSALS + PERMITTED),
            magnitude=antidote_merged(0.1, []),
            factors=antidote_factors(0.25),
        ),
        safe_lora=dict(
            threshold=safe_lora("norm"), count=safe_lora("norm", 5), scale_free=safe_lora("squared-norm", 4)
        ),
        resta=resta(0.8, 3, 1e-3),
        panacea=dict(
            active=panacea(0.5, 0.3, 50.0, 2, 1e-3),
            silent=panacea(0.5, 0.3, 1.0, 2, 1e-3),
            adapters=panacea_on_adapters(0.5),
        ),
    )
    path = Path(__file__).parent.parent / "fixtures" / "post_fine_tuning.json"
    path.write_text(json.dumps(fixture, separators=(",", ":")).replace('],"', '],\n"').replace('},"', '},\n"') + "\n")
    print("wrote", path, path.stat().st_size, "bytes")
