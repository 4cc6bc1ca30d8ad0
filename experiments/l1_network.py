"""L1 and Adam in a small network: which form leaves exact zeros, and does it help against columns of noise?

Writes src/lessons/data/l1_network.csv, in about six minutes on one core.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from lessons import AdamW, stored
from lessons.optim.prox import soft_threshold_
from lessons.problems import digits_task
from lessons.training import train

LR = (0.003, 0.01, 0.03, 0.1, 0.3)
L1 = {
    "no penalty": (0.0,),
    "AdamW's decay": (0.3, 0.6, 1.2, 2.5, 5.0, 10.0),  # its λ, and no L1
    "coupled": (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016),
    "in the metric": (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016),
    "decoupled × lr": (0.1, 0.2, 0.3, 0.4, 0.6, 0.8),
}
STEPS, BATCH_SIZE, NOISE_COLUMNS = 200, 30, 128
TUNING_SEEDS, TEST_SEEDS = range(5), range(100, 110)
ABOUT = f"""\
L1 and Adam on digits: MLP 192-32-10 (ReLU), 64 standardised pixels, {NOISE_COLUMNS} columns of noise of size 1.
Training: 300 images with their true classes, {STEPS} steps of {BATCH_SIZE}, cosine schedule, float64.
L1 on the two matrices, biases free. Forms: coupled has l1 · Σ|w| in the loss; in the metric soft-thresholds by
  lr · l1 / (√v̂ + ε) after each step; decoupled × lr by lr · l1.
AdamW's decay has no L1, and the decay λ (under "l1") on the two matrices.
Grid: lr {LR}; l1 {L1["coupled"]},
  decoupled × lr {L1["decoupled × lr"]}, λ {L1["AdamW's decay"]}.
Protocol: lr and l1 with the best mean accuracy on 500 other images over seeds {TUNING_SEEDS}: the rows of stage
  "tuning" are the means of each setting over them. Then one run each on the fresh seeds {TEST_SEEDS}, stage
  "test"; edges: the axes on whose end the best setting lies.
zeros_pixels, zeros_noise: the part of the first layer's weights that is exactly 0, at pixels and at noise;
  dropped_noise: noise columns of which all 32 weights are 0."""


def run(form: str, lr: float, l1: float, seed: int) -> dict:
    task = digits_task(seed, noise_columns=NOISE_COLUMNS, noise_scale=1.0, label_noise=0)
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64 + NOISE_COLUMNS, 32), nn.ReLU(), nn.Linear(32, 10))
    matrices = [p for p in model.parameters() if p.dim() == 2]
    biases = [p for p in model.parameters() if p.dim() == 1]
    penalised = {
        "params": matrices,
        "l1": l1 if form == "in the metric" else 0,
        "weight_decay": l1 if form == "AdamW's decay" else 0,
    }
    optimizer = AdamW([penalised, {"params": biases, "weight_decay": 0}], lr=lr)

    @torch.no_grad()
    def threshold(optimizer, args, kwargs):
        for p in matrices:
            soft_threshold_(p, optimizer.param_groups[0]["lr"] * l1)

    if form == "decoupled × lr":
        optimizer.register_step_post_hook(threshold)

    def loss(prediction, target):
        penalty = sum(p.abs().sum() for p in matrices) if form == "coupled" else 0
        return F.cross_entropy(prediction, target) + l1 * penalty

    train(
        model,
        optimizer,
        *task["train"],
        steps=STEPS,
        batch_size=BATCH_SIZE,
        loss=loss,
        scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS),
        seed=seed,
    )
    off = model[0].weight == 0
    accuracies = {
        f"{split}_accuracy": (model(x).argmax(1) == y).double().mean().item()
        for split, (x, y) in task.items()
        if split != "train"
    }
    return accuracies | {
        "zeros_pixels": off[:, :64].double().mean().item(),
        "zeros_noise": off[:, 64:].double().mean().item(),
        "dropped_noise": off[:, 64:].all(0).sum().item(),
    }


def main() -> None:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    rows = []
    for form, strengths in L1.items():
        tuning = {}
        for lr in LR:
            for l1 in strengths:
                found = [run(form, lr, l1, seed) for seed in TUNING_SEEDS]
                tuning[lr, l1] = {k: np.mean([f[k] for f in found]) for k in found[0]}
        lr, l1 = max(tuning, key=lambda setting: tuning[setting]["valid_accuracy"])
        ends = {"lr": lr in (LR[0], LR[-1]), "l1": l1 in (strengths[0], strengths[-1])}
        edges = " ".join(name for name, is_end in ends.items() if is_end and l1)
        for tried, measured in tuning.items():
            setting = dict(
                form=form, stage="tuning", lr=tried[0], l1=tried[1], edges="", seed=""
            )
            rows.append(setting | measured)
        for seed in TEST_SEEDS:
            setting = dict(form=form, stage="test", lr=lr, l1=l1, edges=edges, seed=seed)
            rows.append(setting | run(form, lr, l1, seed))
        last = rows[-len(TEST_SEEDS) :]
        means = {k: np.mean([r[k] for r in last]) for k in last[0] if k not in setting}
        print(form, lr, l1, edges, *(f"{k} {v:.3f}" for k, v in means.items()), flush=True)

    stored.write("l1_network", ABOUT, rows)


if __name__ == "__main__":
    main()
