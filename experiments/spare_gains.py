"""Should gains and biases be decayed? Each choice at its own best lr and λ.

Writes src/lessons/data/spare_gains.csv, in about five minutes on one core.

All runs of one choice are trained as one stack: a parameter has a first axis for the runs, as lr and λ do.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from lessons import AdamW, stored
from lessons.problems import digits_task
from lessons.sweep import build, cosine
from lessons.training import batches

CHOICES = {  # what is decayed
    "the matrices alone": ("matrices",),
    "with the biases": ("matrices", "biases"),
    "with the gains": ("matrices", "gains"),
    "everything": ("matrices", "biases", "gains"),
}
LR = 2.0 ** np.arange(-12, 2)
WEIGHT_DECAY = [0.0, *2.0 ** np.arange(-2, 8)]
STEPS, BATCH = 300, 30
SETTINGS = dict(
    betas=(0.9, 0.999), eps=1e-8, amsgrad=False, decoupled_weight_decay=True, l1=0
)
TUNING_SEEDS, FRESH_SEEDS = range(10), range(500, 540)
ABOUT = f"""\
AdamW with decay on the weight matrices, and with them on biases, on the gains of the LayerNorms, or on both.
  Digits: 300 training images with 30 % wrong labels, 500 for validation, 997 for the test, anew each seed.
  Network 64-32-32-10, a LayerNorm with gains and biases before each ReLU. {STEPS} steps, batch {BATCH}, cosine
  schedule, float32.
Protocol: for each choice, the lr and weight_decay of the best mean accuracy on the validation images over seeds
  {TUNING_SEEDS}; then one run each on the fresh seeds {FRESH_SEEDS}, which the rows below give.
Grid: lr 2^-12 … 2^1, weight_decay 0 and 2^-2 … 2^7.
edges: the axes on whose end the best cell lies (empty: it is interior). tuning: that cell's mean."""


def network() -> nn.Module:
    return nn.Sequential(
        nn.Linear(64, 32),
        nn.LayerNorm(32),
        nn.ReLU(),
        nn.Linear(32, 32),
        nn.LayerNorm(32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )


def kind(name: str, parameter) -> str:
    if name.endswith("bias"):
        return "biases"
    return "matrices" if parameter.dim() == 2 else "gains"


def forward(params: list, x: torch.Tensor) -> torch.Tensor:
    """Return the outputs of a stack of networks; ``params`` and ``x`` have the runs along their first axis."""
    *hidden, last = [params[i : i + 4] for i in range(0, len(params), 4)]
    for weight, bias, gain, shift in hidden:
        x = torch.baddbmm(bias[:, None], x, weight.mT)
        x = F.layer_norm(x, x.shape[-1:]) * gain[:, None] + shift[:, None]
        x = x.relu()
    weight, bias = last
    return torch.baddbmm(bias[:, None], x, weight.mT)


def _column(of_runs: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return a number for each run in the shape that multiplies ``like``."""
    return of_runs.view(-1, *[1] * (like.dim() - 1))


def train(choice: str, runs: list[tuple[float, float, int]]) -> dict[str, np.ndarray]:
    """Train a network for each (lr, weight_decay, seed), and return split → its accuracies."""
    seeds = sorted({seed for _, _, seed in runs})
    data, models = {s: digits_task(s) for s in seeds}, {s: build(network, s) for s in seeds}
    drawn = {s: batches(300, BATCH, STEPS, seed=s) for s in seeds}
    of_run = [seed for _, _, seed in runs]

    def stacked(each):
        return torch.stack([each(seed) for seed in of_run])

    lrs = torch.tensor([lr for lr, _, _ in runs], dtype=torch.float32)
    decays = torch.tensor([decay for _, decay, _ in runs], dtype=torch.float32)
    params, decay, state = [], [], []
    for name, param in models[seeds[0]].named_parameters():
        copies = stacked(lambda seed, name=name: models[seed].get_parameter(name).detach())
        params.append(copies.requires_grad_())
        decay.append(_column(decays * (kind(name, param) in CHOICES[choice]), copies))
        state.append(AdamW.init_state(copies.detach(), {"amsgrad": False}))
    x, y = (stacked(lambda seed, i=i: data[seed]["train"][i]) for i in (0, 1))
    x, order = x.float(), stacked(lambda seed: drawn[seed])
    at = torch.arange(len(runs))[:, None]
    for step in range(STEPS):
        outputs = forward(params, x[at, order[:, step]])
        losses = F.cross_entropy(outputs.mT, y[at, order[:, step]], reduction="none")
        gradients = torch.autograd.grad(losses.mean(1).sum(), params)
        with torch.no_grad():
            for param, gradient, its_state, its_decay in zip(
                params, gradients, state, decay, strict=True
            ):
                AdamW.rule(
                    param,
                    gradient,
                    its_state,
                    lr=_column(lrs * cosine(step / STEPS), param),
                    weight_decay=its_decay,
                    **SETTINGS,
                )
    accuracies = {}
    with torch.no_grad():
        for split in ("valid", "test"):
            x, y = (stacked(lambda seed, i=i, of=split: data[seed][of][i]) for i in (0, 1))
            right = forward(params, x.float()).argmax(-1) == y
            accuracies[split] = right.double().mean(1).numpy()
    return accuracies


def main() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # weights that decay to nothing are slow
    rows = []
    for choice in CHOICES:
        cells = [(lr, decay) for lr in LR for decay in WEIGHT_DECAY]
        means = np.zeros(len(cells))
        for seed in TUNING_SEEDS:
            means += train(choice, [(*c, seed) for c in cells])["valid"] / len(TUNING_SEEDS)
        lr, decay = cells[int(means.argmax())]
        at_end = {"lr": lr in (LR[0], LR[-1]), "weight_decay": decay == WEIGHT_DECAY[-1]}
        edges = [axis for axis, ends in at_end.items() if ends]
        found = train(choice, [(lr, decay, seed) for seed in FRESH_SEEDS])
        chosen = {"decayed": choice, "lr": lr, "weight_decay": decay}
        chosen |= {"edges": " ".join(edges), "tuning": means.max()}
        print(chosen, f"test {found['test'].mean():.4f}", flush=True)
        rows += [
            chosen | {"seed": seed, "test": test}
            for seed, test in zip(FRESH_SEEDS, found["test"], strict=True)
        ]
    stored.write("spare_gains", ABOUT, rows)


if __name__ == "__main__":
    main()
