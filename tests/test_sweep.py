import concurrent.futures
import functools
import math
import multiprocessing
import os
import pickle
import signal
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lessons import SGD, Adagrad, Adam, AdamW, FTRLProximal, RMSprop, stack
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

    result = run(SGD, data=regression, loss=F.mse_loss, loss_scale=3.0)
    assert list(result.metrics) == ["train_loss", "valid_loss"]
    changes = dict(data=regression, loss=F.mse_loss, scale=3.0)
    assert_equals_plain(result, torch.optim.SGD, mlp, **changes)


@pytest.mark.parametrize(
    ("ours", "theirs", "axes"),
    [
        (AdamW, torch.optim.AdamW, {"betas": ((0.5, 0.9), (0.9, 0.99))}),
        (Adam, torch.optim.Adam, {"amsgrad": (True, False), "eps": (1e-8, 1e-3)}),
        (Adam, torch.optim.Adam, {"decoupled_weight_decay": (False, True)}),
        (SGD, torch.optim.SGD, {"momentum": (0, 0.9)}),
        (SGD, torch.optim.SGD, {"momentum": (0.5, 0.9), "nesterov": (False, True)}),
        (SGD, torch.optim.SGD, {"maximize": (False, True), "lr": (0.01, 0.1)}),
        (RMSprop, torch.optim.RMSprop, {"alpha": (0.5, 0.99), "momentum": (0, 0.9)}),
        (RMSprop, torch.optim.RMSprop, {"centered": (False, True)}),
        (Adagrad, torch.optim.Adagrad, {"lr_decay": (0, 0.5)}),
        (Adagrad, torch.optim.Adagrad, {"initial_accumulator_value": (0, 0.5)}),
        # Torch has none of these: here each cell is trained alone, by the class in a plain loop.
        (AdamW, AdamW, {"l1": (0, 0.01, 0.1)}),
        (SGD, SGD, {"l1": (0.01, 0.1), "l1_method": ("subgradient", "prox", "cumulative")}),
        (FTRLProximal, FTRLProximal, {"lr": (0.1, 0.5), "beta": (1, 2), "l1": (0, 0.01)}),
        (FTRLProximal, FTRLProximal, {"l2": (0.01, 0.1), "per_step": (True, False)}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else value.__name__,
)
def test_any_hyper_parameter_can_be_an_axis(ours, theirs, axes):
    settings = {"lr": 0.1} if ours is FTRLProximal else {"lr": 0.1, "weight_decay": 0.1}
    if "eps" in axes or ours is RMSprop:
        settings["lr"] = 0.01
    losses = run(ours, axes=axes, settings=settings).metrics["train_loss"]
    for place in np.ndindex(losses.shape[:-1]):
        cell = {name: axes[name][i] for name, i in zip(axes, place, strict=True)}
        for k, seed in enumerate(SEEDS):
            alone = plain(theirs, mlp, seed, **settings | cell)["train_loss"]
            assert math.isclose(losses[(*place, k)], alone, rel_tol=1e-10), (cell, seed)
    assert len(np.unique(losses)) == losses.size


def test_axes_come_back_as_plain_values():
    axes = {"betas": np.array([[0.5, 0.9]]), "amsgrad": np.array([True]), "lr": [1]}
    assert run(Adam, axes=axes).axes == {
        "betas": ((0.5, 0.9),),
        "amsgrad": (True,),
        "lr": (1.0,),
    }
    methods = run(SGD, axes={"l1_method": np.array(["prox", "cumulative"])}).axes
    assert methods == {"l1_method": ("prox", "cumulative")}


def test_cells_that_no_optimizer_takes_are_refused_before_any_training():
    with pytest.raises(ValueError, match="Nesterov momentum requires a momentum"):
        run(SGD, axes={"momentum": (0.9, 0.0), "nesterov": (False, True)}, model=None)


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


def test_an_infinite_loss_is_nan_too():
    def far(seed):
        return {split: (x, x[:, :3] * 1e200) for split, (x, _) in data(seed).items()}

    result = run(SGD, data=far, axes={}, settings={"lr": 0.0}, loss=F.mse_loss)
    assert np.isnan(result.metrics["train_loss"]).all()


@pytest.mark.parametrize("model", [mlp, Convolutions])
@pytest.mark.parametrize("part", [5, 14])
def test_examples_are_measured_in_parts_with_the_same_result(model, part, monkeypatch):
    monkeypatch.setattr(stack, "PART", part)
    assert_equals_plain(run(model=model), torch.optim.AdamW, model)


def root_mean_square(outputs, targets):
    """A loss that is no mean over the examples."""
    return (outputs - targets).square().mean().sqrt()


def test_a_loss_may_be_any_function_of_all_examples(monkeypatch):
    monkeypatch.setattr(stack, "PART", 12)

    def regression(seed):
        return {split: (x, x[:, :3].sin()) for split, (x, _) in data(seed).items()}

    result = run(data=regression, loss=root_mean_square)
    assert_equals_plain(
        result, torch.optim.AdamW, mlp, data=regression, loss=root_mean_square
    )


@pytest.mark.parametrize(
    "loss",
    [
        functools.partial(F.cross_entropy, label_smoothing=0.3),
        lambda outputs, targets: F.cross_entropy(outputs, targets),
    ],
)
def test_another_loss_on_classes(loss):
    assert_equals_plain(run(loss=loss), torch.optim.AdamW, mlp, loss=loss)


def test_classes_of_many_positions():
    """Targets of shape (examples, positions), as in the labelling of each pixel."""

    class Positions(nn.Sequential):
        def forward(self, x):
            return super().forward(x).unflatten(-1, (3, 2))

    def model():
        return Positions(nn.Linear(6, 6))

    def labels(seed):
        return {split: (x, (x[:, :2] > 0).long()) for split, (x, _) in data(seed).items()}

    result = run(model=model, data=labels)
    assert_equals_plain(result, torch.optim.AdamW, model, data=labels)


@pytest.mark.parametrize("kind", ["frozen", "shared"])
def test_a_sequential_that_is_no_plain_mlp(kind):
    def model():
        first = nn.Linear(6, 6)
        layers = nn.Sequential(first, nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 3))
        if kind == "shared":
            layers[2] = first
        else:
            first.requires_grad_(False)
        return layers

    assert_equals_plain(run(model=model), torch.optim.AdamW, model)


def test_inputs_of_many_positions():
    """An MLP on inputs of shape (examples, positions, features)."""

    def model():
        return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))

    def pairs(seed):
        return {
            split: (x.unflatten(1, (2, 3)), x.unflatten(1, (2, 3)).sum(2, keepdim=True))
            for split, (x, _) in data(seed).items()
        }

    result = run(model=model, data=pairs, loss=F.mse_loss)
    assert_equals_plain(result, torch.optim.AdamW, model, data=pairs, loss=F.mse_loss)


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


def test_an_axis_without_an_order_has_no_edges():
    accuracy = {"valid_accuracy": np.array([[0.5], [0.6]])}
    for values in ((False, True), ("prox", "cumulative")):
        assert SweepResult({"axis": values}, (0,), accuracy).edges() == []


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


def test_select_takes_a_part_of_the_grid(result):
    part = result.select(weight_decay=2.0)
    assert part.axes == {"lr": (0.1, 0.2)} and part.seeds == (0, 1)
    assert part.metrics["valid_accuracy"].tolist() == [[0.875, 0.625], [0.75, 0.75]]
    assert part.about["weight_decay"] == 2.0 and "weight_decay" not in result.about
    point = result.select(weight_decay=3.0, lr=0.2)
    assert point.axes == {} and point.metrics["valid_accuracy"].tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (
            {"lr": 0.3},
            r"no lr = 0.3, but lr: \(0.1, 0.2\); weight_decay: \(1.0, 2.0, 3.0\)",
        ),
        ({"eps": 0.1}, "no eps = 0.1"),
    ],
)
def test_select_names_what_there_is(result, values, match):
    with pytest.raises(ValueError, match=match):
        result.select(**values)


# --- as a figure --------------------------------------------------------------------------------


@pytest.fixture
def closing_figures():
    yield
    plt.close("all")


@pytest.mark.usefixtures("closing_figures")
def test_a_heatmap_has_the_means_and_the_names_of_the_axes(result):
    image = result.heatmap()
    ax = image.axes
    np.testing.assert_allclose(image.get_array(), [[0.3, 0.75, 0.1], [0.5, 0.75, 0.5]])
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("lr", "weight_decay")
    assert ax.get_title() == "mean valid accuracy"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "2", "3"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["0.1", "0.2"]
    assert {tuple(line.get_xydata()[0]) for line in ax.lines} == {(1.0, 0.0)}  # the best
    _, bar = ax.figure.axes
    assert bar.get_ylabel() == "valid accuracy"


@pytest.mark.usefixtures("closing_figures")
def test_a_heatmap_goes_where_it_is_told_with_the_options_of_plots(result):
    _, (left, right) = plt.subplots(1, 2)
    image = result.heatmap("valid_loss", ax=right, xlabel="λ", limits=(0, 2), best=None)
    assert image.axes is right and right.figure.axes == [left, right]
    assert right.get_xlabel() == "λ" and right.get_ylabel() == "lr"
    assert image.get_clim() == (0, 2) and not right.lines
    assert image.get_array().mask.tolist() == [[True, False, False], [False] * 3]


@pytest.mark.usefixtures("closing_figures")
def test_a_heatmap_without_a_number_has_no_ring(result):
    result.metrics["valid_loss"][:] = np.nan
    assert not result.heatmap("valid_loss").axes.lines


@pytest.mark.usefixtures("closing_figures")
def test_a_heatmap_of_booleans_words_and_pairs():
    axes = {"amsgrad": (False, True), "betas": ((0.9, 0.99), (0.9, 0.999))}
    ax = SweepResult(axes, (0,), {"valid_accuracy": np.eye(2)[..., None]}).heatmap().axes
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["False", "True"]
    assert ax.get_xticklabels()[1].get_text() == "(0.9, 0.999)"


def test_a_heatmap_wants_two_axes(result):
    with pytest.raises(ValueError, match=r"two axes, but the sweep has 1: lr; select\(\)"):
        result.select(weight_decay=1.0).heatmap()
    three = SweepResult(
        {"a": (1,), "b": (1,), "c": (1,)}, (0,), {"x": np.zeros((1, 1, 1, 1))}
    )
    with pytest.raises(ValueError, match=r"two axes, but the sweep has 3: a, b, c; select"):
        three.heatmap("x")


# --- in a file ----------------------------------------------------------------------------------


def test_a_file_gives_back_all_that_was_saved(tmp_path):
    axes = {
        "betas": ((0.9, 0.99), (0.8, 0.999)),
        "lr": (0.1, 1 / 3, 1e300),
        "amsgrad": (True, False),
    }
    result = run(Adam, axes=axes, schedule=cosine)
    result.metrics["train_loss"][0, 0, 0] = np.nan
    path = tmp_path / "a sweep, β₂ × lr"
    result.save(path)
    again = SweepResult.load(str(path))
    assert (again.axes, again.seeds, again.about) == (result.axes, SEEDS, result.about)
    assert [*again.metrics] == [*result.metrics]
    for name, values in result.metrics.items():
        assert again.metrics[name].dtype == np.float64
        np.testing.assert_array_equal(again.metrics[name], values)
    assert [*tmp_path.iterdir()] == [path]


def test_a_result_tells_what_was_the_same_in_all_runs():
    about = run(settings={"eps": 1e-6}, schedule=cosine).about
    assert about["optimizer"] == "AdamW" and about["eps"] == 1e-6
    assert about["betas"] == [0.9, 0.999] and about["amsgrad"] is False
    assert (about["steps"], about["batch_size"], about["loss_scale"]) == (15, 12, 1)
    assert about["dtype"] == "torch.float64" and "Linear(in_features=6" in about["model"]
    assert about["schedule"][0] == 1 and len(about["schedule"]) == 8
    assert not about.keys() & AXES.keys()
    start = run(settings={"eps": 1e-6}, axes={"lr": (0.0,)}).metrics  # of this seed
    for name, shown in about["untrained"].items():
        assert math.isclose(float(shown), start[name][0, 0], rel_tol=1e-3)


def test_a_file_needs_no_pickle(tmp_path, monkeypatch):
    run().save(tmp_path / "sweep.npz")
    for name in ("load", "loads"):
        monkeypatch.setattr(pickle, name, None)
    assert SweepResult.load(tmp_path / "sweep.npz").seeds == SEEDS


@pytest.mark.parametrize("content", ["text", "array", "archive", "empty"])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "other"
    with path.open("wb") as file:
        if content == "text":
            file.write(b"lr,accuracy\n0.1,0.9\n")
        elif content == "array":
            np.save(file, np.ones(3))
        elif content == "archive":
            np.savez(file, train_loss=np.ones(3))
    before = path.read_bytes()
    for load in (SweepResult.load, lambda path: run(resume=path)):
        with pytest.raises(ValueError, match=r"other is no file of a sweep"):
            load(path)
    assert path.read_bytes() == before


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        SweepResult.load(tmp_path / "nowhere")


def test_a_save_that_fails_leaves_the_old_file(result, tmp_path, monkeypatch):
    path = tmp_path / "sweep.npz"
    result.save(path)
    before = path.read_bytes()

    def full(file, **arrays):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space"):
        result.save(path)
    assert path.read_bytes() == before


# --- with an interruption -----------------------------------------------------------------------


class Visits:
    """The data set of this file, as a function that remembers its calls and fails at will."""

    def __init__(self, failure=None, at=None):
        self.seeds, self.failure, self.at = [], failure, at

    def __call__(self, seed):
        self.seeds.append(seed)
        if seed == self.at:
            raise self.failure
        return data(seed)


def assert_same(result, expected):
    """Assert that two sweeps agree to the last bit."""
    assert (result.axes, result.seeds) == (expected.axes, expected.seeds)
    assert result.metrics.keys() == expected.metrics.keys()
    for name, values in expected.metrics.items():
        np.testing.assert_array_equal(result.metrics[name], values, err_msg=name)


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), RuntimeError("out of memory")])
def test_an_interrupted_sweep_goes_on_from_what_is_done(tmp_path, failure):
    path, seeds = tmp_path / "sweep.npz", (3, 1, 2)
    with pytest.raises(type(failure)):
        run(data=Visits(failure, at=2), seeds=seeds, chunk=3, resume=path)

    partial = SweepResult.load(path)
    assert partial.metrics["finished"][0, 0].tolist() == [1, 1, 0]
    expected = run(seeds=seeds, chunk=3)
    for name, values in expected.metrics.items():
        np.testing.assert_array_equal(partial.metrics[name][..., :2], values[..., :2])
        assert np.isnan(partial.metrics[name][..., 2]).all()

    visits = Visits()
    assert_same(run(data=visits, seeds=seeds, chunk=3, resume=path), expected)
    assert visits.seeds == [3, 2, 2]  # the first to tell the sweep by, then two blocks
    assert "finished" not in expected.metrics


def test_a_diverged_run_is_done(tmp_path):
    axes, path = {"lr": (0.1, 1e300)}, tmp_path / "sweep.npz"
    first = run(SGD, axes=axes, resume=path)
    assert np.isnan(first.metrics["train_loss"][1]).all()
    visits = Visits()
    assert_same(run(SGD, axes=axes, data=visits, resume=path), first)
    assert visits.seeds == [3]


def test_a_finished_sweep_comes_from_its_file_in_whatever_blocks(tmp_path):
    first = run(resume=tmp_path / "resume.npz")
    first.save(tmp_path / "saved.npz")
    for name in ("resume.npz", "saved.npz"):
        visits = Visits()
        assert_same(run(data=visits, resume=tmp_path / name, chunk=1), first)
        assert visits.seeds == [3]


def test_blocks_of_another_size_lose_nothing(tmp_path):
    path = tmp_path / "sweep.npz"
    with pytest.raises(KeyboardInterrupt):
        run(data=Visits(KeyboardInterrupt(), at=1), chunk=4, resume=path)
    finished = SweepResult.load(path).metrics["finished"]
    assert finished[..., 0].all() and not finished[..., 1].any()
    for name, values in run(resume=path, chunk=100).metrics.items():
        np.testing.assert_allclose(values, run().metrics[name], rtol=1e-10)


class Wide(nn.Sequential):
    """Prints as the plain model does, but starts from other weights."""

    def __init__(self):
        super().__init__(*mlp())
        self[0].weight.data *= 2

    def _get_name(self):
        return "Sequential"


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("optimizer is AdamW, not Adam", {"optimizer": Adam}),
        ("eps is 1e-08, not 0.001", {"settings": {"eps": 1e-3}}),
        ("steps is 15, not 16", {"steps": 16}),
        ("batch_size is 12, not 11", {"batch_size": 11}),
        ("loss_scale is 1.0, not 2.0", {"loss_scale": 2.0}),
        ("dtype is torch.float64, not torch.float32", {"dtype": torch.float32}),
        ("schedule is None, not .1.0, ", {"schedule": cosine}),
        ("seeds is .3, 1., not .1, 3.", {"seeds": (1, 3)}),
        ("axes is ", {"axes": {"lr": (0.003, 0.04), "weight_decay": (0.0, 0.1, 0.4)}}),
        ("axes is ", {"axes": dict(reversed(AXES.items()))}),
        ("model is ", {"model": lambda: nn.Linear(6, 3)}),
        ("untrained is ", {"model": Wide}),
        ("untrained is ", {"data": lambda seed: data(seed + 1)}),
        ("untrained is ", {"loss": functools.partial(F.cross_entropy, reduction="sum")}),
    ],
)
def test_the_file_of_another_sweep_is_refused_and_left_alone(tmp_path, name, changes):
    path = tmp_path / "sweep.npz"
    run(resume=path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"sweep.npz holds another sweep: its {name}"):
        run(**{"resume": path} | changes)
    assert path.read_bytes() == before


def test_two_schedules_are_told_apart(tmp_path):
    run(schedule=cosine, resume=tmp_path / "sweep.npz")
    with pytest.raises(ValueError, match="its schedule is"):
        run(schedule=lambda fraction: 1 - fraction, resume=tmp_path / "sweep.npz")


def test_a_place_that_cannot_be_written_is_found_before_the_training(tmp_path):
    visits = Visits()
    with pytest.raises(FileNotFoundError):
        run(data=visits, resume=tmp_path / "nowhere" / "sweep.npz")
    assert visits.seeds == [3]


# --- with an executor ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def processes():
    # "spawn": a copy of a process whose threads have computed may hang.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(
        2, context, initializer=torch.set_num_threads, initargs=(1,)
    ) as executor:
        yield executor


@pytest.fixture
def one_thread():
    """As in the executors' processes: so that the sums are rounded alike."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("model", [mlp, Convolutions])
def test_processes_give_the_same_bits(processes, model):
    changes = dict(model=model, seeds=(3, 1, 2), chunk=4, schedule=cosine)
    assert_same(run(executor=processes, **changes), run(**changes))


@pytest.mark.usefixtures("one_thread")
def test_processes_take_tensors_and_the_default_type(processes):
    """Weights that are drawn as float64 are others than those drawn as float32."""
    changes = dict(data=data(1), chunk=4, dtype=torch.float32)
    single = run(**changes)
    assert_same(run(executor=processes, **changes), single)
    torch.set_default_dtype(torch.float64)
    try:
        expected = run(**changes)
        assert_same(run(executor=processes, **changes), expected)
    finally:
        torch.set_default_dtype(torch.float32)
    assert (expected.metrics["train_loss"] != single.metrics["train_loss"]).all()
    left = [processes.submit(torch.get_default_dtype) for _ in range(8)]
    assert {future.result() for future in left} == {torch.float32}


@pytest.mark.usefixtures("one_thread")
def test_threads_do_not_disturb_each_others_initial_weights():
    changes = dict(seeds=range(8), steps=2, chunk=2)
    expected = run(**changes)
    for _ in range(5):
        with concurrent.futures.ThreadPoolExecutor(8) as executor:
            assert_same(run(executor=executor, **changes), expected)


@pytest.mark.parametrize("name", ["model", "data", "loss", "schedule"])
def test_what_no_process_can_be_sent_is_named(processes, name):
    function = {"model": mlp, "data": data, "loss": F.cross_entropy, "schedule": cosine}
    with pytest.raises(TypeError, match=f"^{name} cannot be sent to another process: .*kl"):
        run(executor=processes, **{name: lambda *args: function[name](*args)})


def test_threads_need_no_pickle():
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        assert_same(run(executor=executor, model=lambda: mlp(), chunk=3), run(chunk=3))


def test_a_failure_ends_the_sweep_and_keeps_what_was_done(tmp_path):
    path, seeds = tmp_path / "sweep.npz", (3, 1, *range(10, 60))
    visits = Visits(RuntimeError("out of memory"), at=1)
    with (
        concurrent.futures.ThreadPoolExecutor(1) as executor,
        pytest.raises(RuntimeError, match="out of memory"),
    ):
        run(data=visits, seeds=seeds, chunk=6, resume=path, executor=executor)
    finished = SweepResult.load(path).metrics["finished"][0, 0]
    assert finished[:2].tolist() == [1, 0]
    assert finished.sum() == len(visits.seeds) - 2 < 40  # the one begun was waited for


def deadly(seed, *, at, parent, died):
    """The data set of this file; the first process that asks for seed ``at`` is killed."""
    if seed == at and os.getpid() != parent and not Path(died).exists():
        Path(died).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return data(seed)


class Given:
    """An executor that gives out these futures, one for each job."""

    def __init__(self, *futures):
        self.futures = iter(futures)

    def submit(self, job, *arguments):
        future = next(self.futures)
        if future is None:
            future = concurrent.futures.Future()
            future.set_result(job(*arguments))
        return future


def test_of_two_failures_the_first_one_is_raised():
    class Late(concurrent.futures.Future):
        def cancel(self):  # it has begun: it fails a little later than the first
            if not self.done():
                self.set_exception(RuntimeError("the second"))
            return False

    first = concurrent.futures.Future()
    first.set_exception(RuntimeError("the first"))
    with pytest.raises(RuntimeError, match="the first"):
        run(axes={"lr": [0.1, 0.2]}, seeds=(0,), chunk=1, executor=Given(first, Late()))


def test_an_interrupt_cancels_what_has_not_begun(tmp_path, monkeypatch):
    waiting, saved = concurrent.futures.Future(), []

    def save(result, path):
        saved.append(path)
        if len(saved) == 2:  # the first time before the training, the second after a block
            raise KeyboardInterrupt

    monkeypatch.setattr(SweepResult, "save", save)
    with pytest.raises(KeyboardInterrupt):
        run(
            axes={"lr": [0.1, 0.2]},
            seeds=(0,),
            chunk=1,
            executor=Given(None, waiting),
            resume=tmp_path / "sweep.npz",
        )
    assert waiting.cancelled()


@pytest.mark.usefixtures("one_thread")
def test_a_killed_process_loses_nothing_that_was_done(tmp_path):
    died, path, seeds = tmp_path / "died", tmp_path / "sweep.npz", (3, 1, 2)
    changes = dict(
        data=functools.partial(deadly, at=1, parent=os.getpid(), died=str(died)),
        seeds=seeds,
        chunk=3,
        resume=path,
    )
    context = multiprocessing.get_context("spawn")
    with (
        concurrent.futures.ProcessPoolExecutor(1, context) as executor,
        pytest.raises(concurrent.futures.BrokenExecutor, match=r"resume=.* keeps what was"),
    ):
        run(executor=executor, **changes)
    assert died.exists()
    assert SweepResult.load(path).metrics["finished"][:, 0].T.tolist() == [
        [1, 1],
        [0, 0],
        [0, 0],
    ]
    visits = Visits()
    resumed = run(**changes | {"data": visits})
    assert visits.seeds == [3, 1, 1, 2, 2]
    assert_same(resumed, run(seeds=seeds, chunk=3))


@pytest.mark.usefixtures("one_thread")
def test_a_dask_cluster_that_loses_a_worker_loses_nothing(tmp_path):
    distributed = pytest.importorskip("distributed")
    died, seeds = tmp_path / "died", (3, 1, 2, 5)
    deadly_data = functools.partial(deadly, at=1, parent=os.getpid(), died=str(died))
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        survived = run(
            model=lambda: mlp(),  # Dask sends functions of any kind
            data=deadly_data,
            seeds=seeds,
            chunk=3,
            executor=client.get_executor(),
        )
    assert died.exists()
    assert_same(survived, run(seeds=seeds, chunk=3))


# --- memory, devices, progress ------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 4, 6, 7, 12])
@pytest.mark.parametrize("axes", [AXES, {**AXES, "amsgrad": (True, False)}])
def test_no_more_than_a_chunk_of_models_is_trained_at_once(chunk, axes, monkeypatch):
    monkeypatch.setattr(stack, "PART", 10)
    forward, seen = stack.Stack._forward, []

    def spy(self, x):
        seen.append((len(self.weights), len(x), x.shape[1]))
        return forward(self, x)

    monkeypatch.setattr(stack.Stack, "_forward", spy)
    run(axes=axes, chunk=chunk, seeds=(3, 1, 2))
    weights, models, examples = np.array(seen).T
    assert (weights == models).all() and models.max() == min(
        chunk, 12 if chunk >= 12 else 6
    )
    assert examples.max() == 12  # the batch


def test_the_default_chunk_fits_a_cpus_cache(monkeypatch):
    sizes = []
    train_stack = stack.Stack.train
    monkeypatch.setattr(
        stack.Stack,
        "train",
        lambda self: (sizes.append(self.weights.nbytes), train_stack(self)),
    )
    run(axes={"lr": np.linspace(0, 0.1, 2000)}, seeds=(1,), steps=1, dtype=torch.float32)
    assert len(sizes) > 1 and 2**19 < max(sizes) <= 2**20


@pytest.mark.parametrize("model", [mlp, Convolutions])
def test_every_device_gives_the_same(device, model):
    changes = dict(model=model, dtype=torch.float32, schedule=cosine)
    here, there = run(**changes).metrics, run(device=device, **changes).metrics
    np.testing.assert_allclose(there["valid_loss"], here["valid_loss"], rtol=1e-3)


@pytest.mark.parametrize("model", [mlp, Convolutions])
@pytest.mark.parametrize("ours", [AdamW, SGD, Adagrad, RMSprop, FTRLProximal])
def test_a_training_stays_on_the_device_and_never_waits_for_it(model, ours, monkeypatch):
    """A tensor of the device "meta" has a shape and no values: to read one raises, and so does to mix them."""
    table, devices = stack.Stack._table, []

    def spy(self, of_models):
        devices.append(of_models.device.type)
        here = torch.zeros(of_models.shape) if of_models.is_meta else of_models
        return table(self, here)

    monkeypatch.setattr(stack.Stack, "_table", spy)
    run(ours, model, axes={"lr": (0.1, 0.2)}, device="meta", schedule=cosine)
    assert devices == ["cpu"] * 4 + ["meta"] * 4  # untrained, and trained in one block


def test_progress_shows_the_runs_that_are_done(tmp_path, capsys):
    run(chunk=3)
    assert capsys.readouterr() == ("", "")
    with pytest.raises(KeyboardInterrupt):
        failing = Visits(KeyboardInterrupt(), at=1)
        run(data=failing, chunk=3, resume=tmp_path / "sweep", progress=True)
    assert "6/12" in capsys.readouterr().err
    run(chunk=3, resume=tmp_path / "sweep", progress=True)
    out, err = capsys.readouterr()
    assert not out and "12/12" in err and "run" in err and "3/12" not in err
    run(resume=tmp_path / "sweep", progress=True)  # nothing is left to do
    assert "12/12" in capsys.readouterr().err


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
            "lr, betas, eps, weight_decay, amsgrad, maximize, l1, but got 'speed'",
        ),
        ({"axes": {"params": [1.0]}}, ValueError, "got 'params'"),
        ({"axes": {"lr": ["quick"]}}, ValueError, "quick"),
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
        ({"steps": True}, ValueError, "steps .* True"),
        ({"chunk": 0}, ValueError, "chunk .* 0"),
        ({"batch_size": 2.5}, ValueError, "batch_size .* 2.5"),
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
