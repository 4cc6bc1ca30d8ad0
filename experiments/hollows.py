"""Does momentum lead out of a bad hollow, or out of a good one? Against a larger lr, and against noise.

Writes src/lessons/data/hollows.csv, in about a minute on one core. One draw of losses decides little: which
settings are best depends on it, and with them how often a run leaves its hollow. So all is drawn twenty times.
"""

import torch

from lessons import stored
from lessons.optim.sgd import sgd

DRAWS = range(20)
TUNING, FRESH = 1000, 1000  # losses a draw
RUGGEDNESS = 1.0, 2.0
BUMPS, STEPS = 8, 150
NEARER = 0.01  # a loss that differs by less is that of the same hollow
RATES = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]
CONTENDERS = {  # name: (lr, momentum, size of the noise), a grid of 42 each
    "larger lr": (10 ** torch.linspace(-2, 1.0, 42, dtype=torch.float64), [0.0], [0.0]),
    "momentum": (RATES, [0.8, 0.9, 0.95, 0.98, 0.99, 0.995], [0.0]),
    "noise": (RATES, [0.0], [0.3, 1.0, 3.0, 10.0, 30.0, 100.0]),
}
ABOUT = f"""\
Random losses of one weight w: 0.1·w² and eight bumps or holes h·(1 − u²)² for |u| < 1, with u = (w − place) /
  width, place uniform on ±4, width on 0.5 to 1.5, h on ±ruggedness; the start is uniform on ±4.
Sliding down: 500 steps of lr 0.02, too small to jump; ends at the bottom of the hollow in which it starts.
Contenders: each has 42 settings. {STEPS} steps, over which lr falls to 0 in a line, then 200 of lr 0.02.
  larger lr: logspace(-2, 1, 42); momentum: lr {RATES} × 0.8, 0.9, 0.95, 0.98,
  0.99, 0.995; noise: lr as before × noise 0.3, 1, 3, 10, 30, 100, uniform on ± that, added to each gradient.
Protocol: the setting with the least mean loss at the end of {TUNING} losses, then one run on each of {FRESH}
  fresh ones; all of it for the draws {DRAWS}, of which each is a row.
edge: yes if the setting lies on an end of its grid.
lower, higher: how many of the fresh runs end in a lower or a higher hollow than sliding down, by {NEARER}."""


def drawn(count: int, seed: int, ruggedness: float):
    """Return a start each, and the bumps and holes: place, width and height."""
    generator = torch.Generator().manual_seed(seed)
    place, width, height = torch.rand(
        3, BUMPS, count, generator=generator, dtype=torch.float64
    )
    start = 8 * torch.rand(count, generator=generator, dtype=torch.float64) - 4
    parts = zip(8 * place - 4, 0.5 + width, ruggedness * (2 * height - 1), strict=True)
    return start, list(parts)


def loss(w, parts):
    value = 0.1 * w * w
    for place, width, height in parts:
        inside = (1 - ((w - place) / width) ** 2).clamp(min=0)
        value = value + height * inside * inside
    return value


def slope(w, parts):
    value = 0.2 * w
    for place, width, height in parts:
        u = (w - place) / width
        value -= (4 * height / width) * u * (1 - u * u).clamp(min=0)
    return value


def bottom(w, parts, steps: int):
    """Return the loss at the bottom of the hollow that w is in."""
    for _ in range(steps):
        w = w - 0.02 * slope(w, parts)
    return loss(w, parts)


def contend(losses, lr, momentum, noise):
    """Return the loss at the bottom of the hollow where each setting's runs end: settings × losses."""
    start, parts = losses
    w, state = start.expand(len(lr), -1).clone(), {}
    generator = torch.Generator().manual_seed(0)
    rest = dict(dampening=0, weight_decay=0, nesterov=False, l1=0, l1_method="prox")
    for t in range(STEPS):
        kick = 2 * torch.rand(len(start), generator=generator, dtype=torch.float64) - 1
        grad = slope(w, parts) + noise[:, None] * kick
        rate = lr[:, None] * (1 - t / STEPS)
        sgd(w, grad, state, lr=rate, momentum=momentum[:, None], **rest)
    return bottom(w, parts, 200)


def run(draw: int, ruggedness: float, contender: str) -> dict:
    axes = [torch.as_tensor(axis, dtype=torch.float64) for axis in CONTENDERS[contender]]
    settings = torch.cartesian_prod(*axes).T
    tuning = contend(drawn(TUNING, 2 * draw, ruggedness), *settings)
    best = settings[:, [int(tuning.mean(1).nan_to_num(torch.inf).argmin())]]
    fresh = drawn(FRESH, 2 * draw + 1, ruggedness)
    reached, slid = contend(fresh, *best)[0], bottom(*fresh, 500)
    names = ("lr", "momentum", "noise")
    at_end = any(
        len(axis) > 1 and value.item() in (axis[0], axis[-1])
        for axis, value in zip(axes, best, strict=True)
    )
    row = dict(ruggedness=ruggedness, contender=contender, draw=draw)
    row |= dict(zip(names, best[:, 0].tolist(), strict=True)) | dict(edge="yes" if at_end else "")
    row |= dict(lower=(reached < slid - NEARER).sum().item())
    row |= dict(higher=(reached > slid + NEARER).sum().item())
    print(*row.values(), flush=True)
    return row


def main() -> None:
    torch.set_num_threads(1)
    rows = [
        run(draw, ruggedness, contender)
        for ruggedness in RUGGEDNESS
        for contender in CONTENDERS
        for draw in DRAWS
    ]
    stored.write("hollows", ABOUT, rows)


if __name__ == "__main__":
    main()
