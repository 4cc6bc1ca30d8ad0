"""What a sweep refuses: by the argument's name and its value, before any model is trained or a file written."""

import concurrent.futures
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeps import data, mlp, plain, run
from torch import nn
from torch.optim import lr_scheduler

from lessons import SGD, Adagrad, Adam, AdamW, FTRLProximal, RMSprop, stack, sweep
from lessons.sweep import build


@pytest.fixture(autouse=True)
def no_training(monkeypatch, request):
    """Fail if anything is trained, but in the tests of what works."""
    if "works" not in request.node.name:
        monkeypatch.setattr(stack.Stack, "train", lambda self: pytest.fail("trained"))


def unread(*_):
    pytest.fail("data, model or loss were asked for")


# --- kinds --------------------------------------------------------------------------------------

NUMBERS = {"lr": [0.1]}
X, Y = data(0)["train"]


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


@pytest.mark.parametrize("name", ["steps", "batch_size", "chunk"])
@pytest.mark.parametrize("value", ["5", "all", 2.0, True, [3], torch.tensor(3)], ids=repr)
def test_counts_are_whole_numbers(name, value):
    with pytest.raises(
        TypeError, match=f"^{name} must be a whole number, but got"
    ) as raised:
        run(data=unread, model=unread, **{name: value})
    assert repr(value) in str(raised.value)


def test_all_that_the_module_gives_is_there():
    assert set(sweep.__all__) == {"SweepResult", "build", "cosine", "paired_difference", "sweep"}
    assert all(callable(getattr(sweep, name)) for name in sweep.__all__)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"seeds": 3}, "seeds .* list .* 3"),
        ({"seeds": np.array(3)}, r"seeds .* list .*array\(3\)"),
        ({"seeds": None}, "seeds .* None"),
        ({"seeds": "01"}, "seeds .* '01'"),
        ({"seeds": {0: 1}}, "seeds .* {0: 1}"),
        ({"seeds": [0.9]}, "seeds .* float: 0.9"),
        ({"seeds": [1, np.float64(2)]}, "seeds .* float64: .*2.0"),
        ({"seeds": ["0"]}, "seeds .* str: '0'"),
        ({"seeds": [False]}, "seeds .* bool: False"),
        ({"seeds": torch.arange(2)}, "seeds .* Tensor"),
        ({"axes": [("lr", [0.1])]}, "axes must be a dictionary"),
        ({"axes": None}, "axes must be a dictionary"),
        ({"axes": {"lr": 0.1}}, "'lr' must be a list of values, but got 0.1"),
        ({"axes": {"lr": None}}, "'lr' .* None"),
        ({"axes": {"lr": "0.1"}}, "'lr' .* list .* '0.1'"),
        ({"axes": {"lr": {0.1: 1}}}, "'lr' .* list .* {0.1: 1}"),
        ({"axes": {"lr": torch.tensor(0.1)}}, r"'lr' .* list .* tensor\(0.1"),
        ({"axes": {"lr": [None]}}, "'lr' .* numbers .* None"),
        ({"axes": {"lr": [0.1, "0.2"]}}, "'lr' .* numbers .* '0.2'"),
        ({"axes": {"lr": [True]}}, "'lr' .* numbers .* True"),
        ({"axes": {"lr": [1j]}}, "'lr' .* numbers .* 1j"),
        ({"axes": {"lr": [[0.1, 0.2]]}}, r"'lr' .* numbers .* \[0.1, 0.2\]"),
        ({"axes": {"amsgrad": True}}, "'amsgrad' .* list .* True"),
        ({"axes": {"amsgrad": [0, 1]}}, "'amsgrad' must have True or False .* got 0"),
        ({"axes": {"amsgrad": [True, "False"]}}, "'amsgrad' .* 'False'"),
        ({"axes": {"amsgrad": [None]}}, "'amsgrad' .* None"),
        ({"axes": {"betas": (0.9, 0.99)}}, "'betas' must have 2 numbers .* 0.9"),
        ({"axes": {"betas": [(0.9, 0.99, 0.999)]}}, "'betas' must have 2 numbers"),
        ({"axes": {"betas": [(0.9, "0.99")]}}, "'betas' .* '0.99'"),
        (
            {"optimizer": SGD, "axes": {"l1_method": "prox"}},
            "'l1_method' .* list .* 'prox'",
        ),
        ({"optimizer": SGD, "axes": {"l1_method": [1]}}, "'l1_method' .* words .* 1"),
        ({"settings": [("eps", 1.0)]}, "settings must be a dictionary"),
        ({"settings": {"eps": "1e-8"}}, "eps .* '1e-8'"),
        ({"settings": {"eps": None}}, "eps .* None"),
        ({"optimizer": int}, "optimizer must be a class of lessons"),
        ({"optimizer": SGD.__base__}, "optimizer must be a class of lessons"),
        ({"loss": nn.CrossEntropyLoss}, "loss .* class CrossEntropyLoss: call it first"),
        ({"loss": "mse"}, "loss .* str: 'mse'"),
        ({"loss": None}, "^loss must be a function of outputs and targets, but got .* None"),
        ({"loss": lambda outputs: 0}, "loss .* too many positional"),
        ({"schedule": 0.5}, "^schedule .* of the fraction of the steps done, .* float: 0.5"),
        ({"schedule": lr_scheduler.ExponentialLR}, "schedule .* class ExponentialLR"),
        ({"schedule": lambda: 1}, "schedule .* too many positional"),
        ({"schedule": lambda fraction: None}, r"schedule\(0\) must be a number, .* None"),
        ({"schedule": lambda fraction: "1"}, r"schedule\(0\) must be a number, .* '1'"),
        ({"model": nn.Linear(6, 3)}, "model must be a function .* module, Linear"),
        ({"model": nn.Linear}, "model must be a function without arguments .*in_features"),
        ({"model": lambda seed: mlp()}, "model must be a function without .*'seed'"),
        (
            {"model": None},
            "^model must be a function without arguments that makes the torch.nn.Module, "
            "but got NoneType: None$",
        ),
        ({"device": None}, "device .* None"),
        ({"device": 3.5}, "device .* float: 3.5"),
        ({"dtype": "float64"}, "dtype .* 'float64'"),
        ({"dtype": np.float64}, r"dtype .*numpy\.float64"),
        ({"executor": concurrent.futures.ThreadPoolExecutor}, "executor .*<class"),
        ({"executor": 2}, "executor .* 2"),
        ({"resume": True}, "resume .* bool: True"),
        ({"resume": 3}, "resume .* int: 3"),
        ({"loss_scale": "64"}, "loss_scale .* str: '64'"),
        ({"loss_scale": True}, "loss_scale .* bool: True"),
        ({"loss_scale": None}, "loss_scale .* None"),
        ({"progress": "no"}, "progress .* 'no'"),
        ({"progress": 1}, "progress .* 1"),
    ],
)
def test_what_is_of_another_kind_is_named(changes, match):
    with pytest.raises(TypeError, match=match):
        run(**{"data": unread, "model": lambda: unread()} | changes)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"seeds": [-1]}, "seeds must be ≥ 0, but got -1"),
        ({"loss_scale": 0}, "loss_scale .* 0"),
        ({"loss_scale": math.nan}, "loss_scale .* nan"),
        ({"axes": {"lr": [math.nan]}}, "learning rate: nan"),
        ({"schedule": lambda fraction: -fraction}, r"schedule\(0.06667\) value: -0.06"),
        ({"schedule": lambda fraction: math.nan}, r"schedule\(0\) value: nan"),
        ({"schedule": lambda fraction: 1e300, "axes": {"lr": [1e10]}}, "learning rate inf"),
        ({"dtype": torch.int64}, "dtype .*int64"),
        ({"dtype": torch.complex64}, "dtype .*complex64"),
        ({"device": "gpu"}, "device='gpu' is no device"),
        ({"device": "vulkan"}, "device='vulkan' is not on this machine"),
        (
            {"axes": {"betas": [(0.9, 1 - 1e-10)]}, "dtype": torch.float32},
            r"axes have .*0.9999.*, in torch.float32 .* 1.0.*: Invalid beta",
        ),
    ],
)
def test_what_is_out_of_range_is_named(changes, match):
    with pytest.raises(ValueError, match=match):
        run(**{"data": unread, "model": lambda: unread()} | changes)


@settings(max_examples=25)
@given(
    value=st.one_of(st.none(), st.text(), st.booleans(), st.complex_numbers(), st.binary())
)
@pytest.mark.parametrize("name", ["lr", "eps", "weight_decay", "betas", "amsgrad"])
def test_no_value_is_taken_for_another(name, value):
    if name == "amsgrad" and isinstance(value, bool):
        return
    values = [(0.9, value)] if name == "betas" else [value]
    with pytest.raises(TypeError, match=f"axis '{name}' must have .* but got") as raised:
        run(axes={name: values}, data=unread, model=lambda: unread())
    assert repr(value) in str(raised.value)


def test_a_folder_is_no_file_to_resume_from(tmp_path):
    with pytest.raises(
        ValueError, match=f"resume must be a file, but {tmp_path} is a folder"
    ):
        run(resume=tmp_path, data=unread)


def test_numpys_numbers_and_any_list_works():
    changes = dict(axes={"lr": np.array([0.1, 0.2])}, seeds=[0, 1])
    expected = run(**changes).metrics["train_loss"]
    for axis, seeds in (
        (torch.tensor([0.1, 0.2], dtype=torch.float64), np.arange(2)),
        ([np.float64(0.1), torch.tensor(0.2, dtype=torch.float64)], range(2)),
        (iter((0.1, 0.2)), iter([0, np.int8(1)])),
    ):
        found = run(
            axes={"lr": axis},
            seeds=seeds,
            steps=np.int64(15),
            batch_size=np.int32(12),
            chunk=np.uint8(2),
            loss_scale=np.float32(1),
            settings={"eps": np.float64(1e-8)},
        )
        assert found.axes == {"lr": (0.1, 0.2)} and found.seeds == (0, 1)
        assert {type(value) for value in (*found.seeds, *found.axes["lr"])} == {int, float}
        np.testing.assert_allclose(found.metrics["train_loss"], expected, rtol=1e-10)


# --- models and data ----------------------------------------------------------------------------


class Noisy(nn.Linear):
    def forward(self, x):
        return super().forward(x) + torch.randn(3, dtype=x.dtype)


class Unused(nn.Linear):
    def __init__(self, dtype=torch.float32):
        super().__init__(6, 3)
        self.extra = nn.Parameter(torch.zeros(2, dtype=dtype))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: nn.Sequential(mlp(), nn.Dropout(0.1)), "model .* Dropout"),
        (lambda: nn.Sequential(mlp(), nn.AlphaDropout(0.1)), "model .* Dropout"),
        (lambda: Noisy(6, 3), "model must not draw random numbers"),
        (lambda: nn.Sequential(mlp(), nn.RReLU()), "model"),
        (lambda: mlp().requires_grad_(False), "model has no parameter that requires"),
        (lambda: nn.Identity(), "model has no parameter that requires"),
        (lambda: nn.LazyLinear(3), "model must know the shape of weight"),
        (lambda: Unused(torch.complex64), "model .* extra is complex"),
        (Unused, "model and loss do not work .* not have been used"),
        (
            lambda: nn.Linear(5, 3),
            r"model .* data \(train: torch.float64 \(32, 6\) → torch.int64",
        ),
    ],
)
def test_models_that_no_stack_can_train_are_named(make, match, tmp_path):
    with pytest.raises(ValueError, match=match):
        run(model=make, resume=tmp_path / "sweep.npz")
    assert not any(tmp_path.iterdir())


def test_what_makes_no_module_is_named():
    with pytest.raises(TypeError, match=r"model must make a torch\.nn\.Module, but made 3"):
        run(model=lambda: 3)


@pytest.mark.parametrize("seed", [0.5, "1", True, None])
def test_a_module_is_built_of_a_whole_number(seed):
    with pytest.raises(TypeError, match="seed must be a whole number"):
        build(mlp, seed)


HOOKS = {
    "forward": lambda m: m[1].register_forward_hook(unread),
    "before": lambda m: m[1].register_forward_pre_hook(unread),
    "backward": lambda m: m[1].register_full_backward_hook(unread),
    "before backward": lambda m: m[1].register_full_backward_pre_hook(unread),
    "gradient": lambda m: m[0].weight.register_hook(unread),
    "accumulated": lambda m: m[0].weight.register_post_accumulate_grad_hook(unread),
}


@pytest.mark.parametrize("kind", HOOKS)
@pytest.mark.parametrize("of_seed", [3, 1])  # the first, or another one
def test_hooks_are_refused(kind, of_seed):
    def hooked():
        model = mlp()
        if torch.initial_seed() == of_seed:
            HOOKS[kind](model)
        return model

    place = "0.weight" if kind in ("gradient", "accumulated") else "1"
    with pytest.raises(ValueError, match=f"model has a hook on {place}, "):
        stack.Stack(recipe_of(hooked), (3, 1), [{"lr": 0.1}])
    if of_seed == 3:
        with pytest.raises(ValueError, match=f"model has a hook on {place}, "):
            run(model=hooked)


def recipe_of(model):
    return stack.Recipe(
        optimizer=AdamW,
        settings={},
        model=model,
        data=data,
        steps=1,
        batch_size=4,
        schedule=None,
        loss=F.cross_entropy,
        loss_scale=1.0,
        device="cpu",
        dtype=torch.float64,
        default_dtype=torch.float32,
    )


def test_dropout_that_is_off_works():
    def model():
        return nn.Sequential(mlp(), nn.Dropout(0.5)).eval()

    np.testing.assert_array_equal(
        run(model=model, axes={}).metrics["train_loss"],
        run(model=lambda: nn.Sequential(mlp()), axes={}).metrics["train_loss"],
    )


def test_a_batch_beforehand_leaves_no_trace_in_running_means_and_works():
    def model():
        return nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))

    alone = build(model, 3).double().eval()
    x, y = data(3)["train"]
    about = run(model=model, axes={}).about["untrained"]
    assert float(about["train_loss"]) == pytest.approx(
        F.cross_entropy(alone(x), y).item(), rel=1e-3
    )


@pytest.mark.parametrize(
    ("data", "error", "match"),
    [
        (None, TypeError, "data must be a dictionary"),
        ((X, Y), TypeError, "data must be a dictionary, .* tuple"),
        (lambda seed: None, TypeError, "data must be a dictionary, .* NoneType"),
        (torch.utils.data.TensorDataset(X, Y), TypeError, "data must .* TensorDataset"),
        (
            {"train": X},
            TypeError,
            r"data\['train'\] must be \(inputs, targets\), .* Tensor",
        ),
        ({"train": (X, Y, Y)}, TypeError, r"data\['train'\] must be \(inputs, targets\)"),
        (
            {"train": (X.numpy(), Y.numpy())},
            TypeError,
            r"the inputs of data\['train'\] must be a tensor, .* ndarray: .* torch.as_tensor",
        ),
        ({"train": (X, Y.tolist())}, TypeError, r"the targets of data\['train'\] .* list"),
        (
            {"train": (X, Y), "valid": (X, Y[:-1])},
            ValueError,
            r"the inputs of data\['valid'\] and the targets .* 32 and 31",
        ),
        (
            {"train": (X, Y), "valid": (X[:0], Y[:0])},
            ValueError,
            r"data\['valid'\] .* 0 and 0",
        ),
        (
            {"train": (X, Y), "valid": (X[:, :3], Y)},
            ValueError,
            r"data .*valid: .* \(32, 3\)",
        ),
        ({"train": (X, Y.int())}, ValueError, "data .* torch.int32"),
        ({"train": (X.int(), Y)}, ValueError, "data .*torch.int32"),
        ({"train": (X, Y + 1)}, ValueError, "data .*out of bounds"),
        ({"train": (X, Y - 1)}, ValueError, "data .*out of bounds"),
    ],
)
def test_data_of_another_kind_are_named(data, error, match, tmp_path):
    with pytest.raises(error, match=match):
        run(data=data, resume=tmp_path / "sweep.npz")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_a_loss_returns_one_number(reduction):
    loss = nn.CrossEntropyLoss(reduction=reduction)

    def odd(outputs, targets):
        return loss(outputs, targets) if reduction == "none" else 1.0

    with pytest.raises(ValueError, match="loss"):
        run(loss=odd)


def test_seeds_have_the_same_splits():
    splits = {3: data(3), 1: {"train": data(1)["train"]}}
    with pytest.raises(ValueError, match="data must have the same splits for every seed"):
        stack.Stack(replace(recipe_of(mlp), data=splits.get), (3, 1), [{}])


# --- a learning rate of 0 -----------------------------------------------------------------------

TRAINED = (SGD, Adagrad, Adam, AdamW, RMSprop, FTRLProximal)
EACH = [(optimizer, {}) for optimizer in TRAINED]
EACH += [(optimizer, {"l1": 0.01}) for optimizer in TRAINED if optimizer is not RMSprop]


@pytest.mark.parametrize(
    ("optimizer", "l1"),
    EACH,
    ids=lambda value: value.__name__ if isinstance(value, type) else " ".join(value),
)
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (dict(axes={"lr": (0.1, 0.0)}), "lr"),
        (dict(axes={}, settings={"lr": 0.0}), "lr"),
        (
            dict(axes=NUMBERS, schedule=lambda fraction: min(1, 4 * fraction)),
            "schedule.*lr",
        ),
        (
            dict(axes=NUMBERS, schedule=lambda fraction: float(fraction < 0.5)),
            "schedule.*lr",
        ),
        (dict(axes={"lr": (0.1, 1e-60)}, dtype=torch.float32), "lr"),
        (
            dict(
                axes=NUMBERS,
                schedule=lambda f: 1.0 if f < 0.5 else 1e-60,
                dtype=torch.float32,
            ),
            "schedule.*lr",
        ),
    ],
    ids=["axis", "setting", "warm-up", "end", "float32", "end in float32"],
)
def test_a_learning_rate_of_0_works_or_is_named(optimizer, l1, changes, why, tmp_path):
    settings = changes.get("settings", {}) | l1
    try:
        result = run(optimizer, resume=tmp_path / "s", **changes | {"settings": settings})
    except ValueError as error:
        assert optimizer is FTRLProximal, error
        assert re.search(why, str(error)) and not any(tmp_path.iterdir())
        return
    for i, lr in enumerate(result.axes.get("lr", (0.0,))):
        found = result.metrics["valid_loss"].reshape(-1, 2)[i]
        assert np.isfinite(found).all()
        if "dtype" not in changes:
            for loss, seed in zip(found, result.seeds, strict=True):
                alone = plain(
                    optimizer, mlp, seed, lr=lr, schedule=changes.get("schedule"), **l1
                )
                assert math.isclose(loss, alone["valid_loss"], rel_tol=1e-10)


# --- what only looks alike ----------------------------------------------------------------------


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
