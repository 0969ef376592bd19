"""Writes tests/fixtures/alignment_a.json: one step of Booster, Vaccine, T-Vaccine and RepNoise on the
embedded world's decoder, from an independent implementation (PyTorch, float64) that follows what the public
training code of each computes.

    /opt/pt/bin/python tests/peers/alignment_a.py

Booster: git-disl/Booster, trainer.py; Vaccine: git-disl/Vaccine, trainer.py; T-Vaccine: Lslland/T-Vaccine,
trainer.py; RepNoise: domenicrosati/representation-noising, representation_noising/loss.py, with padded
pairs as there. Weights and tokens come from the generator of fixtures.py, which the Rust test repeats.
"""

import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F

from fixtures import HARMFUL, PERMITTED, VOCABULARY, adamw, decoder, keep, mean_ce, picture, tokens, uniform

torch.set_num_threads(1)
RATE = 1e-3


def parameters(model):
    return dict(model.named_parameters())


def gradient(model, loss):
    return dict(zip(parameters(model), torch.autograd.grad(loss, list(model.parameters()))))


def step(model, grads):
    """Gradients, and the weights after AdamW's first step along them, clipped to norm 1."""
    norm = math.sqrt(sum(g.square().sum().item() for g in grads.values()))
    optimizer = adamw(model, RATE)
    for name, p in model.named_parameters():
        p.grad = grads[name] * min(1.0, 1.0 / norm)
    optimizer.step()
    return dict(gradients=picture(grads.items()), weights=picture(model.named_parameters()))


def booster(lam, alpha):
    model = decoder()
    before = mean_ce(model, HARMFUL)
    harmful = gradient(model, before)
    norm = torch.stack([g.norm() for g in harmful.values()]).norm() + 1e-7
    moved = decoder()
    for name, p in moved.named_parameters():
        p.data = p.data - alpha * harmful[name] / norm
    after = mean_ce(moved, HARMFUL)
    there = gradient(moved, after)
    kept = gradient(model, keep(model))
    total = {name: kept[name] + lam * (harmful[name] - there[name]) for name in kept}
    return dict(before=before.item(), after=after.item(), **step(model, total))


def with_shifts(model, loss, shifts):
    """The loss while the outputs of the attention modules are shifted; also the outputs of each call."""
    outputs = [[] for _ in model.model.layers]

    def hook(layer):
        def shifted(_module, _inputs, output):
            if shifts is not None:
                output = output + shifts[layer][len(outputs[layer])]
            outputs[layer].append(output)
            return output

        return shifted

    handles = [layer.self_attn.register_forward_hook(hook(i)) for i, layer in enumerate(model.model.layers)]
    value = loss(model)
    for handle in handles:
        handle.remove()
    return value, outputs


def attention_gradients(model, loss):
    """By layer, then by text: the loss functions of fixtures.py run one text at a time."""
    value, outputs = with_shifts(model, loss, None)
    flat = torch.autograd.grad(value, [output for layer in outputs for output in layer])
    texts = len(outputs[0])
    return [flat[i * texts : (i + 1) * texts] for i in range(len(outputs))]


def norm_of(tensors):
    return math.sqrt(sum(t.square().sum().item() for t in tensors))


def vaccine(rho, layers=(0, 1, 2)):
    model = decoder()
    grads = attention_gradients(model, keep_batch)
    grads = [[g if i in layers else torch.zeros_like(g) for g in layer] for i, layer in enumerate(grads)]
    scale = rho / (norm_of(g for layer in grads for g in layer) + 1e-7)
    loss, _ = with_shifts(model, keep_batch, [[g * scale for g in layer] for layer in grads])
    total = gradient(model, loss)
    frozen = [f"model.layers.{i}." for i in range(3) if i not in layers]
    total = {n: torch.zeros_like(g) if any(n.startswith(f) for f in frozen) else g for n, g in total.items()}
    return dict(loss=loss.item(), **step(model, total))


def keep_batch(model):
    """The batch of the Rust test: the refusal twice and the permitted example four times. Repeats share out
    the gradient of their outputs, and with it the shift."""
    from fixtures import REFUSAL

    return 0.4 * mean_ce(model, REFUSAL * 2) + 0.6 * mean_ce(model, PERMITTED * 4)


def importance():
    """Norms of the harmful gradient at the attention outputs: T-Vaccine's weights of its draw."""
    return [norm_of(layer) for layer in attention_gradients(decoder(), lambda model: mean_ce(model, HARMFUL * 2))]


# ---- RepNoise -------------------------------------------------------------------------------------------

# Prompt, harmful answer, refusal: the harmful one is never the shorter. In the second pair a token in the
# middle is the same in both and another one is id 0; the third's answers are as long as each other.
def pairs():
    made = []
    for i, (harmful, refusal) in enumerate([(9, 6), (11, 8), (7, 7)]):
        prompt, a, b = tokens(200 + i, 5 + i), tokens(210 + i, harmful), tokens(220 + i, refusal)
        if i == 1:
            b[3], a[5], b[1] = a[3], 0, 0
        made.append((prompt, a, b))
    return made


def run(model, ids):
    """Logits, hidden states as transformers' LlamaModel gives them (the last one after the norm) and MLP
    outputs."""
    mlp, body = [], model.model
    handles = [layer.mlp.register_forward_hook(lambda _m, _i, out: mlp.append(out)) for layer in body.layers]
    x = body.embed_tokens(ids)
    states, length = [x], ids.shape[1]
    for layer in body.layers:
        x = layer(x, model.cos[:length], model.sin[:length])
        states.append(x)
    for handle in handles:
        handle.remove()
    raw = states[-1]
    states[-1] = body.norm(raw)
    return model.lm_head(states[-1]), states, raw, mlp


def masked_ce(logits, ids, mask):
    logits, labels = logits[:, :-1] * mask[:, :-1, None], ids[:, 1:] * mask[:, 1:].long()
    labels = labels.masked_fill(labels == 0, -100)
    return F.cross_entropy(logits.reshape(-1, VOCABULARY), labels.reshape(-1), ignore_index=-100)


def mmd(x, y):
    both = torch.cat([x, y])
    distance = (both[None] - both[:, None]).square().sum(-1)
    n, half = len(both), len(x)
    bandwidth = distance.detach().sum() / (n * n - n) / 2.0**2
    k = sum(torch.exp(-distance / (bandwidth * 2.0**i)) for i in range(5))
    return (k[:half, :half] + k[half:, half:] - k[:half, half:] - k[half:, :half]).mean()


def repnoise(form, alpha, beta, share):
    model = decoder()
    texts = [(p + a, p + b, len(p)) for p, a, b in pairs()]
    width = max(len(t) for a, b, _ in texts for t in (a, b))
    pad = lambda text: text + [0] * (width - len(text))
    harmful = torch.tensor([pad(a) for a, _, _ in texts])
    refusal = torch.tensor([pad(b) for _, b, _ in texts])
    mask = (harmful != refusal).double()
    logits, states, raw, mlp = run(model, harmful)
    noise_loss = 0
    for layer, m in enumerate(mlp):
        # The generator's numbers for the real tokens, one text after the other; padding has none.
        values = iter(list(uniform(300 + layer, sum(len(a) for a, _, _ in texts) * m.shape[-1])))
        noise = torch.zeros_like(m)
        for i, (a, _, _) in enumerate(texts):
            rows = [[next(values) for _ in range(m.shape[-1])] for _ in a]
            noise[i, : len(a)] = torch.tensor(rows)
        m, noise = m * mask[..., None], noise * mask[..., None]
        noise_loss = noise_loss + mmd(m.flatten(1), noise.flatten(1))
    noise_loss = noise_loss / len(mlp)
    refusal_logits = run(model, refusal)[0]
    read = lambda h: model.lm_head(model.model.norm(h))
    if form == "reference":
        harmless = masked_ce(refusal_logits, refusal, mask)
        raised = masked_ce(logits, harmful, mask)
        for h in states:
            raised = raised + masked_ce(read(h), harmful, mask)
    else:

        def answer_ce(all_logits, which):
            rows = [(i, at) for i, t in enumerate(texts) for at in range(t[2], len(t[which]))]
            losses = [F.cross_entropy(all_logits[i, at - 1], torch.tensor(texts[i][which][at])) for i, at in rows]
            return torch.stack(losses).mean()

        harmless = answer_ce(refusal_logits, 1)
        raised = sum(answer_ce(read(h), 0) for h in [*states[:-1], raw])
    raised = raised / len(states)
    kept = share * harmless + (1 - share) * mean_ce(model, PERMITTED)
    loss = kept + beta * noise_loss - alpha * torch.log(raised + 1)
    parts = dict(keep=kept.item(), mmd=noise_loss.item(), harmful=raised.item(), loss=loss.item())
    return dict(**parts, **step(model, gradient(model, loss)))


if __name__ == "__main__":
    fixture = dict(
        made_by="tests/peers/alignment_a.py",
        torch=torch.__version__.split("+")[0],
        booster=booster(5.0, 0.1),
        vaccine=vaccine(2.0),
        t_vaccine=dict(importance=importance(), drawn={str(i): vaccine(2.0, (i,)) for i in range(3)}),
        repnoise=dict(
            # Weight 1 of the refusals: the loss of the public code, which has no permitted examples.
            reference=repnoise("reference", 1.0, 0.5, 1.0),
            plain=repnoise("plain", 0.7, 0.5, 0.4),
        ),
    )
    for case in fixture["t_vaccine"]["drawn"].values():
        del case["weights"]  # the gradients say what is frozen: those that are not listed are zero
        case["gradients"] = {name: g for name, g in case["gradients"].items() if g["norm"] > 0}
    path = Path(__file__).parent.parent / "fixtures" / "alignment_a.json"
    path.write_text(json.dumps(fixture) + "\n")
    print("wrote", path, path.stat().st_size, "bytes")
