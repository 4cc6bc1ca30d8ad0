import concurrent.futures
import functools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sweeps import (
    AXES,
    SEEDS,
    Convolutions,
    Tied,
    assert_equals_plain,
    data,
    mlp,
    plain,
    run,
)
from torch import nn

from lessons import SGD, Adagrad, Adam, AdamW, FTRLProximal, RMSprop, stack
from lessons.sweep import build, cosine

# --- equal to a loop of torch.optim -------------------------------------------------------


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
        run(
            SGD,
            axes={"momentum": (0.9, 0.0), "nesterov": (False, True)},
            model=lambda: pytest.fail("a model was made"),
        )


# --- independent of what else is trained --------------------------------------------------


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


@pytest.mark.parametrize("seeds", [(3,), range(3)])
@pytest.mark.parametrize("axes", [{}, {"lr": (0.03,)}])
def test_torchs_default_type_decides_the_first_weights_alone(seeds, axes):
    """Weights that are drawn as float64 are others; a loop of torch in float64 says which."""
    torch.set_default_dtype(torch.float64)
    try:
        with concurrent.futures.ThreadPoolExecutor(2) as executor:
            result = run(
                axes=axes, seeds=seeds, settings={"lr": 0.03}, chunk=1, executor=executor
            )
        for k, seed in enumerate(seeds):
            alone = plain(torch.optim.AdamW, mlp, seed, lr=0.03)["valid_loss"]
            found = result.metrics["valid_loss"][..., k].item()
            assert math.isclose(found, alone, rel_tol=1e-10)
    finally:
        torch.set_default_dtype(torch.float32)


def test_settings_may_be_tensors():
    """As a parameter group may hold them: without or with a dimension."""
    expected = run(axes={}, settings={"lr": 0.5, "weight_decay": 0.25})
    for settings in (
        {"lr": torch.tensor(0.5), "weight_decay": torch.tensor([0.25])},
        {"lr": torch.tensor([0.5]), "weight_decay": 0.25},
    ):
        np.testing.assert_allclose(
            run(axes={}, settings=settings).metrics["train_loss"],
            expected.metrics["train_loss"],
            rtol=1e-10,
        )


def test_what_cannot_be_measured_is_named():
    with pytest.raises(ValueError, match="device='meta' holds no numbers"):
        run(device="meta")


# --- memory and devices -------------------------------------------------------------------


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


def test_the_parts_in_which_examples_are_measured_do_not_matter(monkeypatch):
    def loss(outputs, targets):  # of all examples at once, for all that the sweep can know
        return F.cross_entropy(outputs, targets)

    whole = run(loss=loss).metrics["valid_loss"]
    for part in range(4, 30, 3):
        monkeypatch.setattr(stack, "PART", part)
        np.testing.assert_allclose(run(loss=loss).metrics["valid_loss"], whole, rtol=1e-12)


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
    one = 147 * 4  # weights of four bytes each
    monkeypatch.setattr("lessons.sweep.BLOCK_BYTES", one - 1)  # a model that is larger trains alone
    sizes.clear()
    run(seeds=(1,), steps=1, dtype=torch.float32)
    assert sizes == [one] * 6


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


# --- the parts ----------------------------------------------------------------------------


def test_build_repeats_the_initial_weights_of_a_seed():
    assert torch.equal(build(mlp, 4)[0].weight, build(mlp, 4)[0].weight)
    assert not torch.equal(build(mlp, 4)[0].weight, build(mlp, 5)[0].weight)


def test_cosine_falls_from_one_to_zero():
    assert [cosine(0), cosine(1)] == [1, 0]
    assert math.isclose(cosine(0.5), 0.5)
