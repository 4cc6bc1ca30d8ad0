"""Does the best λ move with lr? In short and in long training, for Adam + L2 and AdamW.

Writes src/lessons/data/lr_and_decay.csv, in about three minutes on one core.

AdamW's weights come to rest where a decay of lr · λ · w balances a step of about lr. lr cancels there, so after
many more than 1 / (lr · λ) steps the best λ should not move with lr; before that it should.
"""

import numpy as np
import torch
from torch import nn

from lessons import Adam, AdamW, stored
from lessons.problems import digits_task
from lessons.sweep import cosine, sweep

STEPS = (80, 600)
LR = (0.008, 0.016, 0.032, 0.064)
OPTIMIZERS = {  # name: class and the λ to try, a factor of √2 apart
    "Adam+L2": (Adam, 2.0 ** np.arange(-8, -0.9, 0.5)),
    "AdamW": (AdamW, 2.0 ** np.arange(-3, 4.1, 0.5)),
}
SEEDS = range(12)
ABOUT = f"""\
Adam + L2 and AdamW on digits: MLP 64-32-10 (ReLU), 300 training images with 30 % wrong labels, 500 for
  validation, drawn anew each seed. Batch 30, cosine schedule, float32, decay on all parameters.
Grid: steps {STEPS}; lr {LR}; weight_decay a factor of √2 apart, 2^-8 … 2^-1 for Adam + L2,
  2^-3 … 2^4 for AdamW.
accuracy: on validation images, the mean over seeds {SEEDS}."""


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def run(optimizer: str, steps: int) -> list[dict]:
    """Return a row for each cell of lr × λ."""
    optimizer_class, weight_decays = OPTIMIZERS[optimizer]
    axes = {"lr": LR, "weight_decay": weight_decays}
    found = sweep(
        optimizer_class,
        network,
        digits_task,
        axes,
        SEEDS,
        steps=steps,
        batch_size=30,
        schedule=cosine,
    ).mean("valid_accuracy")
    return [
        {"steps": steps, "optimizer": optimizer, "lr": lr, "weight_decay": weight_decay}
        | {"accuracy": found[i, j]}
        for i, lr in enumerate(LR)
        for j, weight_decay in enumerate(weight_decays)
    ]


def main() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # weights that decay to nothing are slow
    rows = [row for steps in STEPS for name in OPTIMIZERS for row in run(name, steps)]
    stored.write("lr_and_decay", ABOUT, rows)


if __name__ == "__main__":
    main()
