"""Writes tests/fixtures/fine_tuning.json: terms, gradients and weights of the fine-tuning-stage defences from an
independent implementation (PyTorch, float64).

    python tests/peers/fine_tuning.py          (needs torch; the test that reads the file needs nothing)

Every batch holds one example per kind, so that nothing depends on what is drawn. `moved` is where a model
stands that has left its start; both come from the generator of fixtures.py.
"""

import copy
import json
from pathlib import Path

import torch
import torch.nn.functional as F

from fixtures import EXAMPLES, adamw, decoder, mean_ce, picture, uniform

torch.set_num_threads(1)
REFUSAL, PERMITTED, USER = EXAMPLES[1:2], EXAMPLES[2:3], EXAMPLES[5:6]


def moved():
    model = decoder()
    for seed, name in enumerate(sorted(dict(model.named_parameters())), start=1001):
        parameter = dict(model.named_parameters())[name]
        parameter.data += torch.tensor(list(uniform(seed, parameter.numel()))).reshape(parameter.shape) / 64
    return model


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return picture((name, p.grad) for name, p in model.named_parameters())


def answer_logits(model, examples):
    """Logits at the supervised positions of each example."""
    return [model(torch.tensor([text[:-1]]))[0, start - 1 :] for text, start in examples]


class Lisa:
    """LisaTrainer of git-disl/Lisa, its two anchors and its clock kept as they are there."""

    def __init__(self, model, rho, alignment_step, finetune_step, total):
        self.model, self.rho, self.total = model, rho, total
        self.alignment_step, self.finetune_step = alignment_step, finetune_step
        self.status, self.clock, self.steps = "alignment", 0, 0
        self.alignment_weights = {n: p.detach().clone() for n, p in model.named_parameters()}
        self.finetune_weights = {n: p.detach().clone() for n, p in model.named_parameters()}

    def check_mode(self):
        now = {n: p.detach().clone() for n, p in self.model.named_parameters()}
        if self.status == "alignment" and self.clock % self.alignment_step == 0 and self.steps != 0:
            self.status, self.clock, self.alignment_weights = "finetune", 0, now
        elif self.status == "finetune" and self.clock % self.finetune_step == 0 and self.steps != 0:
            self.status, self.clock, self.finetune_weights = "alignment", 0, now

    def loss(self, alignment, user):
        """Cross-entropy and proximal term of one step."""
        self.check_mode()
        aligning = self.status == "alignment"
        ce = mean_ce(self.model, alignment if aligning else user)
        anchor = self.finetune_weights if aligning else self.alignment_weights
        proximal = torch.zeros(())
        if self.steps > 0.1 * self.total:
            proximal = self.rho / 2 * sum(((p - anchor[n]) ** 2).sum() for n, p in self.model.named_parameters())
        self.steps, self.clock = self.steps + 1, self.clock + 1
        return ce, proximal


def lisa_case():
    model = decoder()
    lisa = Lisa(model, rho=20.0, alignment_step=2, finetune_step=3, total=10)
    optimizer, case = adamw(model, 1e-3), dict(cross_entropy=[], anchor=[])
    for _ in range(7):
        ce, proximal = lisa.loss(REFUSAL + PERMITTED, USER)
        case["cross_entropy"].append(ce.item())
        case["anchor"].append(proximal.item())
        optimizer.zero_grad()
        (ce + proximal).backward()
        optimizer.step()
    case["weights"] = picture(model.named_parameters())
    return case


def mixed_case():
    model = moved()
    loss = mean_ce(model, USER + REFUSAL)
    return dict(cross_entropy=loss.item(), gradients=gradients(model, loss))


def kl_case(beta):
    model, start = moved(), decoder()
    values = []
    for logits, fixed in zip(answer_logits(model, REFUSAL + PERMITTED), answer_logits(start, REFUSAL + PERMITTED)):
        p = F.softmax(fixed.detach(), -1)
        values.append(F.kl_div(F.log_softmax(logits, -1), p, reduction="none").sum(-1))
    kl = torch.cat(values).mean()
    return dict(divergence=kl.item(), gradients=gradients(model, mean_ce(model, USER) + beta * kl))


def constrained_case():
    """Equation 3 of arXiv 2406.05946 as a scalar, differentiated by autograd."""
    model, start = moved(), decoder()
    losses = []
    for (text, first), logits, fixed in zip(USER, answer_logits(model, USER), answer_logits(start, USER)):
        target = torch.tensor(text[first:])[:, None]
        log_p = F.log_softmax(logits, -1).gather(1, target)[:, 0]
        log_a = F.log_softmax(fixed, -1).gather(1, target)[:, 0].detach()
        beta = torch.tensor(([0.5] + [2.0] * 4 + [0.1] * len(log_p))[: len(log_p)])
        losses.append(-2 / beta * F.logsigmoid(beta * (log_p - log_a)))
    loss = torch.cat(losses).mean()
    return dict(constrained=loss.item(), gradients=gradients(model, loss))


def ldifs_case(rho, states):
    model, start = moved(), decoder()

    def hidden(of):
        kept = []
        modules = [layer.mlp if states == "mlp" else layer for layer in of.model.layers]
        hooks = [module.register_forward_hook(lambda _, __, out: kept.append(out)) for module in modules]
        for text, _ in USER:
            of(torch.tensor([text[:-1]]))
        for hook in hooks:
            hook.remove()
        return kept

    distance = sum(((a - b.detach()) ** 2).sum() for a, b in zip(hidden(model), hidden(start))) / len(USER)
    loss = mean_ce(model, USER) + rho / 2 * distance
    return dict(features=(rho / 2 * distance).item(), gradients=gradients(model, loss))


def ewc_case(lam):
    model, start = moved(), decoder()
    mean_ce(start, REFUSAL + PERMITTED).backward()
    fisher = {name: p.grad**2 for name, p in start.named_parameters()}
    anchor = {name: p.detach() for name, p in start.named_parameters()}
    penalty = lam / 2 * sum((fisher[n] * (p - anchor[n]) ** 2).sum() for n, p in model.named_parameters())
    loss = mean_ce(model, USER) + penalty
    return dict(anchor=penalty.item(), gradients=gradients(model, loss))


def freeze_case():
    """Three steps with weight decay while layer 1 requires no gradient."""
    model = decoder()
    model.model.layers[1].requires_grad_(False)
    optimizer = adamw(model, 1e-3, weight_decay=0.1)
    held = copy.deepcopy(model.model.layers[1].state_dict())
    for _ in range(3):
        optimizer.zero_grad()
        mean_ce(model, USER).backward()
        optimizer.step()
    assert all(torch.equal(held[name], p) for name, p in model.model.layers[1].state_dict().items())
    return dict(weights=picture(model.named_parameters()))


def rounded(value):
    """Eleven digits: far below what the test asks for, and a third of the file."""
    if isinstance(value, float):
        return float(f"{value:.11g}")
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    return [rounded(entry) for entry in value] if isinstance(value, list) else value


if __name__ == "__main__":
    fixture = dict(
        made_by="tests/peers/fine_tuning.py",
        torch=torch.__version__.split("+")[0],
        lisa=lisa_case(),
        mixed=mixed_case(),
        kl=kl_case(0.7),
        constrained=constrained_case(),
        ldifs=dict(mlp=ldifs_case(0.03, "mlp"), residual=ldifs_case(0.03, "residual")),
        ewc=ewc_case(3000.0),
        freeze=freeze_case(),
    )
    path = Path(__file__).parent.parent / "fixtures" / "fine_tuning.json"
    path.write_text(json.dumps(rounded(fixture), separators=(",", ":")) + "\n")
    print("wrote", path, path.stat().st_size, "bytes")
