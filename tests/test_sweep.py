import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lessons import SGD, Adagrad, Adam, AdamW, RMSprop
from lessons.sweep import SweepResult, build, cosine, paired_difference, sweep
from lessons.training import train

AXES = {"lr": (0.003, 0.03), "weight_decay": (0.0, 0.1, 0.4)}
SEEDS = (3, 1)


def mlp():
    return nn.Sequential(
        nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8, bias=False), nn.ReLU(), nn.Linear(8, 3)
    )


class Convolutions(nn.Module):
    """No Sequential; a convolution, running statistics, a frozen parameter and a bare scalar."""

    def __init__(self):
        super().__init__()
        # BatchNorm would leave a bias no gradient but rounding errors.
        self.convolution = nn.Conv1d(1, 4, 3, bias=False)
        self.norm = nn.BatchNorm1d(4)
        self.out = nn.Linear(16, 3)
        self.out.bias.requires_grad_(False)
        self.scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        return self.scale * self.out(
            self.norm(self.convolution(x.unsqueeze(-2))).relu().flatten(-2)
        )


class Tied(nn.Sequential):
    """A subclass of Sequential whose two layers share one weight."""

    def __init__(self):
        super().__init__(nn.Linear(6, 6), nn.Sigmoid(), nn.Linear(6, 6))
        self[2].weight = self[0].weight


def data(seed):
    """Return classes that depend on the inputs, and are other ones for every seed."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(60, 6, generator=generator, dtype=torch.float64)
    y = (x[:, 0] > 0).long() + (x[:, 1] * x[:, 2] > 0).long()
    return {"train": (x[:32], y[:32]), "valid": (x[32:], y[32:])}


def run(optimizer=AdamW, model=mlp, data=data, axes=AXES, seeds=SEEDS, **changes):
    """Sweep in float64 with small settings."""
    return sweep(
        optimizer,
        model,
        data,
        axes,
        seeds,
        **{"steps": 15, "batch_size": 12, "dtype": torch.float64} | changes,
    )


def plain(
    torch_class,
    model,
    seed,
    *,
    data=data,
    schedule=None,
    scale=1,
    loss=F.cross_entropy,
    **settings,
):
    """Return the metrics of one model, trained by torch's optimizer in a plain loop."""
    net, splits = build(model, seed).double(), data(seed)
    optimizer = torch_class([p for p in net.parameters() if p.requires_grad], **settings)
    scheduler = schedule and torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda t: schedule(t / 15)
    )
    train(
        net, optimizer, *splits["train"], steps=15, batch_size=12, seed=seed, scheduler=scheduler,
        loss=lambda output, target: scale * loss(output, target),
    )  # fmt: skip
    net.eval()
    metrics = {}
    with torch.no_grad():
        for split, (x, y) in splits.items():
            metrics[f"{split}_loss"] = loss(net(x), y).item()
            if not y.is_floating_point():
                metrics[f"{split}_accuracy"] = (
                    (net(x).argmax(1) == y).double().mean().item()
                )
    return metrics


def assert_equals_plain(result, torch_class, model, **changes):
    """Assert that every cell of a sweep over AXES has the metrics of its plain loop."""
    for i, lr in enumerate(AXES["lr"]):
        for j, weight_decay in enumerate(AXES["weight_decay"]):
            for k, seed in enumerate(SEEDS):
                settings = dict(lr=lr, weight_decay=weight_decay) | changes
                alone = plain(torch_class, model, seed, **settings)
                assert alone.keys() == result.metrics.keys()
                for metric, value in alone.items():
                    assert math.isclose(
                        result.metrics[metric][i, j, k], value, rel_tol=1e-10
                    ), metric


# --- equal to a loop of torch.optim -------------------------------------------------------------


@pytest.mark.parametrize("model", [mlp, Convolutions, Tied])
@pytest.mark.parametrize(
    ("ours", "theirs", "settings"),
    [
        (AdamW, torch.optim.AdamW, {}),
        (Adam, torch.optim.Adam, {"amsgrad": True}),
        (SGD, torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
        (
            Adagrad,
            torch.optim.Adagrad,
            {"initial_accumulator_value": 0.1, "lr_decay": 0.01},
        ),
        (RMSprop, torch.optim.RMSprop, {"momentum": 0.5, "centered": True}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_cell_equals_a_plain_loop_of_torch(ours, theirs, settings, model):
    result = run(ours, model, settings=settings)
    assert result.metrics["valid_loss"].shape == (2, 3, 2)
    # No two cells are alike, so none can be mixed up.
    assert len(np.unique(result.metrics["valid_loss"])) == 12
    assert_equals_plain(result, theirs, model, **settings)


def test_schedule_and_loss_scale_equal_a_plain_loop():
    result = run(schedule=cosine, loss_scale=64.0)
    assert_equals_plain(result, torch.optim.AdamW, mlp, schedule=cosine, scale=64.0)


def test_maximize_equals_a_plain_loop():
    result = run(SGD, settings={"maximize": True})
    assert_equals_plain(result, torch.optim.SGD, mlp, maximize=True)


def test_a_regression_has_losses_and_no_accuracy():
    def regression(seed):
        return {split: (x, x[:, :3].sin()) for split, (x, _) in data(seed).items()}

    result = run(data=regression, loss=F.mse_loss)
    assert list(result.metrics) == ["train_loss", "valid_loss"]
    assert_equals_plain(result, torch.optim.AdamW, mlp, data=regression, loss=F.mse_loss)


@pytest.mark.parametrize(
    ("ours", "theirs", "name", "values"),
    [
        (AdamW, torch.optim.AdamW, "betas", [(0.5, 0.9), (0.9, 0.99)]),
        (AdamW, torch.optim.AdamW, "eps", [1e-8, 1e-2]),
        (SGD, torch.optim.SGD, "momentum", [0, 0.9]),
        (RMSprop, torch.optim.RMSprop, "alpha", [0.5, 0.99]),
        (RMSprop, torch.optim.RMSprop, "momentum", [0, 0.9]),
        (Adagrad, torch.optim.Adagrad, "lr_decay", [0, 0.5]),
    ],
)
def test_any_number_of_a_rule_can_be_an_axis(ours, theirs, name, values):
    result = run(ours, axes={name: values}, settings={"lr": 0.01})
    for i, value in enumerate(values):
        alone = plain(theirs, mlp, SEEDS[1], lr=0.01, **{name: value})
        assert math.isclose(
            result.metrics["train_loss"][i, 1], alone["train_loss"], rel_tol=1e-10
        )


def test_l1_varies_between_cells():
    axes = {"l1": (0.0, 0.01, 0.1)}
    for method in ("prox", "cumulative", "subgradient"):
        settings = {"lr": 0.1, "l1_method": method, "momentum": 0.5}
        together = run(SGD, axes=axes, settings=settings)
        for i, l1 in enumerate(axes["l1"]):
            alone = run(SGD, axes={}, settings={**settings, "l1": l1})
            np.testing.assert_allclose(
                together.metrics["train_loss"][i], alone.metrics["train_loss"], rtol=1e-10
            )


# --- independent of what else is trained --------------------------------------------------------


@pytest.mark.parametrize("model", [mlp, Convolutions])
@pytest.mark.parametrize("chunk", [1, 4, 5, 6, 100])
def test_the_chunk_does_not_matter(chunk, model):
    seeds = (3, 1, 2)
    whole, cut = (
        run(model=model, seeds=seeds, chunk=18),
        run(model=model, seeds=seeds, chunk=chunk),
    )
    for metric in whole.metrics:
        np.testing.assert_allclose(
            cut.metrics[metric], whole.metrics[metric], rtol=1e-10, err_msg=metric
        )


def test_order_and_company_of_seeds_and_cells_do_not_matter():
    whole = run(seeds=(3, 1, 2)).metrics["valid_loss"]
    turned = run(seeds=(2, 3), axes={"weight_decay": (0.4, 0.1), "lr": (0.03,)}).metrics[
        "valid_loss"
    ]
    np.testing.assert_allclose(turned[0, 0], whole[1, 2, [2, 0]], rtol=1e-10)
    np.testing.assert_allclose(turned[1, 0], whole[1, 1, [2, 0]], rtol=1e-10)


def test_no_axes_train_one_model_a_seed_with_the_settings():
    single = run(axes={}, settings={"lr": 0.03, "weight_decay": 0.4})
    assert single.axes == {} and single.metrics["valid_loss"].shape == (2,)
    np.testing.assert_allclose(
        single.metrics["valid_loss"], run().metrics["valid_loss"][1, 2], rtol=1e-10
    )
    assert single.best() == {}


def test_data_may_be_the_same_for_all_seeds():
    fixed = run(data=data(1)).metrics["train_loss"]
    np.testing.assert_allclose(
        fixed[..., 1], run().metrics["train_loss"][..., 1], rtol=1e-10
    )
    assert not np.isclose(fixed[..., 0], run().metrics["train_loss"][..., 0]).any()


def test_the_global_generator_is_left_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    run()
    assert torch.equal(torch.rand(3), expected)


def test_a_diverged_run_is_nan_and_harms_no_other():
    result = run(SGD, axes={"lr": (0.1, 1e300)})
    alone = run(SGD, axes={"lr": (0.1,)})
    assert np.isnan(result.metrics["valid_loss"][1]).all()
    class_0 = [(data(seed)["valid"][1] == 0).double().mean().item() for seed in SEEDS]
    assert result.metrics["valid_accuracy"][1].tolist() == class_0
    np.testing.assert_allclose(
        result.metrics["valid_loss"][0], alone.metrics["valid_loss"][0], rtol=1e-10
    )
    assert result.best("valid_loss") == {"lr": 0.1}


def test_float32_is_the_default_and_close_to_float64():
    single, double = run(dtype=torch.float32), run()
    np.testing.assert_allclose(
        single.metrics["train_loss"], double.metrics["train_loss"], rtol=1e-4
    )
    assert (single.metrics["train_loss"] != double.metrics["train_loss"]).all()


# --- the result ---------------------------------------------------------------------------------


@pytest.fixture
def result():
    accuracy = np.array(
        [[[0.2, 0.4], [0.875, 0.625], [0.1, 0.1]], [[0.5, 0.5], [0.75, 0.75], [0.0, 1.0]]]
    )
    axes = {"lr": (0.1, 0.2), "weight_decay": (1.0, 2.0, 3.0)}
    loss = 1 - accuracy
    loss[0, 0, 1] = np.nan
    return SweepResult(
        axes,
        (0, 1),
        {"valid_accuracy": accuracy, "valid_loss": loss, "test_loss": accuracy},
    )


def test_mean_is_over_the_seeds(result):
    np.testing.assert_allclose(
        result.mean("valid_accuracy"), [[0.3, 0.75, 0.1], [0.5, 0.75, 0.5]]
    )


def test_best_takes_the_highest_accuracy_and_the_least_loss_and_the_first_of_equals(result):
    assert result.best("valid_accuracy") == {"lr": 0.1, "weight_decay": 2.0}
    assert result.best("valid_loss") == {"lr": 0.1, "weight_decay": 2.0}
    assert result.best("test_loss") == {"lr": 0.1, "weight_decay": 3.0}


def test_edges_names_the_axes_that_were_too_short(result):
    assert result.edges("valid_accuracy") == ["lr"]
    assert result.edges("test_loss") == ["lr", "weight_decay"]


def test_an_axis_of_one_value_has_no_edges():
    one = SweepResult({"lr": (0.1,)}, (0,), {"valid_accuracy": np.array([[0.5]])})
    assert one.edges("valid_accuracy") == []


def test_a_metric_without_a_number_has_no_best(result):
    result.metrics["valid_loss"][:] = np.nan
    with pytest.raises(ValueError, match="'valid_loss' is NaN"):
        result.best("valid_loss")


def test_an_unknown_metric_is_named(result):
    with pytest.raises(
        ValueError, match="valid_accuracy, valid_loss, test_loss, but got 'accuracy'"
    ):
        result.mean("accuracy")


# --- the parts ----------------------------------------------------------------------------------


def test_build_repeats_the_initial_weights_of_a_seed():
    assert torch.equal(build(mlp, 4)[0].weight, build(mlp, 4)[0].weight)
    assert not torch.equal(build(mlp, 4)[0].weight, build(mlp, 5)[0].weight)


def test_cosine_falls_from_one_to_zero():
    assert [cosine(0), cosine(1)] == [1, 0]
    assert math.isclose(cosine(0.5), 0.5)


def test_paired_difference_is_students_interval():
    mean, half = paired_difference([1.0, 2.0, 3.0, 5.0, 4.0], [0.0, 2.0, 1.0, 4.0, 2.0])
    assert math.isclose(mean, 1.2)
    t = 2.7764451052  # of 4 degrees of freedom
    assert math.isclose(half, t * math.sqrt(0.7 / 5), rel_tol=1e-9)


@pytest.mark.parametrize(
    ("first", "second"), [([1.0], [2.0]), ([1.0, 2.0], [1.0, 2.0, 3.0])]
)
def test_paired_difference_wants_pairs(first, second):
    with pytest.raises(ValueError, match="paired"):
        paired_difference(first, second)


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"optimizer": torch.optim.AdamW}, TypeError, "optimizer"),
        ({"optimizer": "adam"}, TypeError, "optimizer"),
        (
            {"axes": {"speed": [1.0]}},
            ValueError,
            "lr, betas, eps, weight_decay, l1, but got 'speed'",
        ),
        ({"axes": {"amsgrad": [True, False]}}, ValueError, "'amsgrad'"),
        ({"axes": {"lr": []}}, ValueError, "'lr' has no values"),
        ({"axes": {"lr": [0.1, -0.1]}}, ValueError, "-0.1"),
        ({"axes": {"betas": [(0.9, 1.0)]}}, ValueError, "beta"),
        ({"settings": {"lr": -1.0}}, ValueError, "-1"),
        ({"settings": {"speed": 1.0}}, TypeError, "speed"),
        ({"seeds": ()}, ValueError, "seeds"),
        ({"seeds": (1, 1)}, ValueError, r"\(1, 1\)"),
        ({"steps": 0}, ValueError, "steps .* 0"),
        ({"chunk": 0}, ValueError, "chunk .* 0"),
        ({"batch_size": 2.5}, ValueError, "batch_size .* 2.5"),
        ({"batch_size": 33}, ValueError, "batch_size .* 32 .* 33"),
        ({"loss_scale": -1.0}, ValueError, "loss_scale .* -1"),
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


def test_seeds_whose_data_differ_in_shape_are_refused():
    def growing(seed):
        return {
            "train": (torch.zeros(20 + seed, 6), torch.zeros(20 + seed, dtype=torch.long))
        }

    with pytest.raises(ValueError, match=r"'train' has \(23, 6\), \(21, 6\)"):
        run(data=growing)
