import math

import pytest
import torch
import torch.nn.functional as F
from sweeps import data, run
from torch import nn

from lessons import SGD


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"optimizer": torch.optim.AdamW}, TypeError, "optimizer"),
        ({"optimizer": "adam"}, TypeError, "optimizer"),
        (
            {"axes": {"speed": [1.0]}},
            ValueError,
            "lr, betas, eps, weight_decay, amsgrad, maximize, l1, but got 'speed'",
        ),
        ({"axes": {"params": [1.0]}}, ValueError, "got 'params'"),
        ({"axes": {"lr": ["quick"]}}, TypeError, "quick"),
        (
            {"optimizer": SGD, "axes": {"l1_method": ["prox", "clip"]}},
            ValueError,
            "l1_method: 'clip'",
        ),
        ({"axes": {"lr": []}}, ValueError, "'lr' has no values"),
        ({"axes": {"lr": [0.1, -0.1]}}, ValueError, "-0.1"),
        ({"axes": {"betas": [(0.9, 1.0)]}}, ValueError, "beta"),
        ({"settings": {"eps": -1.0}}, ValueError, "-1"),
        ({"settings": {"speed": 1.0}}, TypeError, "speed"),
        ({"seeds": ()}, ValueError, "seeds"),
        ({"seeds": (1, 1)}, ValueError, r"\(1, 1\)"),
        ({"steps": 0}, ValueError, "steps .* 0"),
        ({"steps": True}, TypeError, "steps .* True"),
        ({"chunk": 0}, ValueError, "chunk .* 0"),
        ({"batch_size": 2.5}, TypeError, "batch_size .* 2.5"),
        ({"batch_size": 33}, ValueError, "batch_size .* 32 .* 33"),
        ({"loss_scale": -1.0}, ValueError, "loss_scale .* -1"),
        ({"loss_scale": math.inf}, ValueError, "loss_scale .* inf"),
        (
            {"data": {"test": (torch.zeros(3, 6), torch.zeros(3))}},
            ValueError,
            "'train' split, but got test",
        ),
    ],
)
def test_bad_input_is_named(changes, error, match):
    with pytest.raises(error, match=match):
        run(**changes)


def test_classes_that_come_last_are_refused():
    def labels(seed):
        return {split: (x, (x[:, :2] > 0).long()) for split, (x, _) in data(seed).items()}

    def last(outputs, targets):
        return F.cross_entropy(outputs.mT, targets)

    class Last(nn.Sequential):
        def forward(self, x):
            return super().forward(x).unflatten(-1, (2, 3))

    with pytest.raises(ValueError, match=r"dimension 1, .* \(32, 2, 3\) .* \(32, 2\)"):
        run(model=lambda: Last(nn.Linear(6, 6)), data=labels, loss=last)


def test_seeds_whose_data_differ_in_shape_are_refused():
    def growing(seed):
        return {
            "train": (torch.zeros(20 + seed, 6), torch.zeros(20 + seed, dtype=torch.long))
        }

    with pytest.raises(ValueError, match=r"'train' has \(23, 6\), \(21, 6\)"):
        run(data=growing)
