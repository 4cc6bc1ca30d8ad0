"""Can AdamW's λ be had from that of Adam + L2? Divide it by a usual size of the gradients.

Writes src/lessons/data/decay_recipe.csv, in about two minutes on one core. Run it after who_wins.py,
natural_cases.py and language_cases.py, whose tuned settings it reads.

Adam + L2 rests at the least loss + λ/2 · Σw², AdamW at about that of loss + λ/2 · Σσw², with σ = √v̂ the rms
gradient of each weight. So a λ of Adam + L2 is about as strong as λ / σ in AdamW, for a usual σ.
"""

import torch
from language_cases import TASKS as LANGUAGE
from natural_cases import TASKS as NATURAL
from penalty_or_place import DIGITS

from lessons import Adam, stored
from lessons.sweep import build, cosine
from lessons.training import train

TASKS = DIGITS | NATURAL | LANGUAGE
SEEDS = range(3)
FILES = ("who_wins", "natural_cases", "language_cases")
ABOUT = f"""\
The tuned λ of Adam + L2 and of AdamW on the tasks of who_wins.csv (grid "all"), natural_cases.csv and
  language_cases.csv; and σ = √v̂ of every weight, after a training with Adam + L2 at its tuned lr and λ, with
  the schedule and the steps of those files, float32.
median, rms: of all weights' σ, the mean over seeds {SEEDS}.
gain: by how much the test error of Adam + L2 is below that of Adam without decay, in percent of the latter."""


def sigma(name: str, lr: float, weight_decay: float, seed: int) -> torch.Tensor:
    """Return √v̂ of every weight after a training with Adam + L2."""
    task = TASKS[name]
    model = build(task.model, seed)
    optimizer = Adam(model.parameters(), lr=lr, weight_decay=weight_decay)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: cosine(k / task.steps))
    x, y = task.data(seed)["train"]
    x = x.float() if x.is_floating_point() else x
    y = y.float() if y.is_floating_point() else y
    train(
        model,
        optimizer,
        x,
        y,
        steps=task.steps,
        batch_size=task.batch_size,
        scheduler=scheduler,
        seed=seed,
        **task.more,
    )
    v = torch.cat([optimizer.state[p]["exp_avg_sq"].flatten() for p in model.parameters()])
    return (v / (1 - 0.999**task.steps)).sqrt()


def tuned() -> dict:
    """Return task → optimizer → its rows."""
    found = {}
    for row in (row for file in FILES for row in stored.read(file)):
        if row.get("grid", "all") == "all":
            found.setdefault(row["task"], {}).setdefault(row["optimizer"], []).append(row)
    return found


def error(rows: list[dict]) -> float:
    """Return the mean test error: a loss, or 1 − accuracy."""
    by_accuracy = rows[0].get("metric", "accuracy") == "accuracy"
    tests = [float(row.get("test") or row["test_accuracy"]) for row in rows]
    mean = sum(tests) / len(tests)
    return 1 - mean if by_accuracy else mean


def run(name: str, rows: dict) -> dict:
    l2, decoupled = rows["Adam+L2"][0], rows["AdamW"][0]
    lr, weight_decay = float(l2["lr"]), float(l2["weight_decay"])
    sigmas = [sigma(name, lr, weight_decay, seed) for seed in SEEDS]
    without = error(rows["Adam"])
    return {
        "task": name,
        "l2": weight_decay,
        "adamw": float(decoupled["weight_decay"]),
        "median": sum(s.median().item() for s in sigmas) / len(sigmas),
        "rms": sum(s.square().mean().sqrt().item() for s in sigmas) / len(sigmas),
        "gain": 100 * (1 - error(rows["Adam+L2"]) / without),
    }


def main() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # weights that decay to nothing are slow
    rows = []
    for name, of_task in tuned().items():
        rows.append(run(name, of_task))
        print(rows[-1], flush=True)
    stored.write("decay_recipe", ABOUT, rows, digits=3)


if __name__ == "__main__":
    main()
