import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import lr_scheduler

from lessons import SGD, Adam
from lessons.flat import FlatParameters
from lessons.training import (
    DEVICE_VARIABLE,
    batches,
    check_device,
    default_device,
    train,
)


@pytest.fixture
def devices(monkeypatch):
    """Let the machine seem to have just the devices that are named."""

    def present(*names):
        monkeypatch.delenv(DEVICE_VARIABLE, raising=False)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in names)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in names)

    return present


@pytest.mark.parametrize(
    ("names", "dtype", "chosen"),
    [
        ((), torch.float32, "cpu"),
        (("mps",), torch.float32, "mps"),
        (("mps",), torch.float64, "cpu"),
        (("cuda", "mps"), torch.float32, "cuda"),
        (("cuda",), torch.float64, "cuda"),
    ],
)
def test_the_best_device_that_can_hold_the_numbers_is_chosen(devices, names, dtype, chosen):
    devices(*names)
    assert default_device(dtype) == torch.device(chosen)


def test_the_environment_overrides_the_choice(devices, monkeypatch):
    devices("cuda")
    monkeypatch.setenv(DEVICE_VARIABLE, "cpu")
    assert default_device() == torch.device("cpu")
    monkeypatch.setenv(DEVICE_VARIABLE, "gpu!")
    monkeypatch.setenv(DEVICE_VARIABLE, "")
    assert default_device() == torch.device("cuda")
    for name in ("cuda", "mps"):
        devices(name)
        monkeypatch.setenv(DEVICE_VARIABLE, name)
        assert default_device() == torch.device(name)


ABSENT = "is not on this machine, as far as torch can see"


@pytest.mark.parametrize(
    ("name", "present", "dtype", "why"),
    [
        ("gpu!", (), torch.float32, "is no device that torch knows"),
        (" cpu", (), torch.float32, "is no device that torch knows"),
        ("cuda", (), torch.float32, ABSENT),
        ("cuda:0", ("mps",), torch.float64, ABSENT),
        ("cuda:1", ("cuda",), torch.float32, ABSENT),
        ("mps", ("cuda",), torch.float32, ABSENT),
        ("mps", (), torch.float64, ABSENT),
        ("mps", ("mps",), torch.float64, "has no float64"),
        ("vulkan", (), torch.float32, ABSENT),
        ("meta", (), torch.float32, "holds no numbers"),
    ],
)
def test_a_device_that_cannot_be_used_is_refused_in_one_sentence(
    devices, monkeypatch, name, present, dtype, why
):
    devices(*present)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(present))
    monkeypatch.setenv(DEVICE_VARIABLE, name)
    with pytest.raises(ValueError) as raised:
        default_device(dtype)
    message = str(raised.value)
    assert message.startswith(f"LESSONS_DEVICE={name!r} {why}: ")
    assert "'cpu'" in message and "\n" not in message and ". " not in message


@pytest.mark.parametrize("value", [None, True, 1.5, ["cpu"]])
def test_what_is_no_device_is_named(value):
    with pytest.raises(TypeError, match=r"device must be a device .* but got") as raised:
        check_device("device", value, torch.float32)
    assert repr(value) in str(raised.value)


def test_a_number_type_is_one_of_torchs():
    with pytest.raises(TypeError, match=r"dtype must be a torch\.dtype, but got 'float64'"):
        default_device("float64")


# --- mini-batches -------------------------------------------------------------------------------

sizes = st.integers(1, 12).flatmap(
    lambda examples: st.tuples(st.just(examples), st.integers(1, examples))
)


@given(size=sizes, steps=st.integers(1, 30), seed=st.integers(0, 2**32))
def test_batches_are_shuffles_cut_into_whole_batches(size, steps, seed):
    examples, batch_size = size
    chosen = batches(examples, batch_size, steps, seed)
    assert chosen.shape == (steps, batch_size) and chosen.dtype == torch.int64
    generator = torch.Generator().manual_seed(seed)
    for epoch in chosen.split(examples // batch_size):
        shuffle = torch.randperm(examples, generator=generator)
        assert torch.equal(epoch.flatten(), shuffle[: epoch.numel()])


def test_another_seed_draws_other_batches_and_torchs_own_draws_stay():
    before = torch.get_rng_state()
    drawn = [batches(50, 10, 20, seed).tolist() for seed in range(20)]
    assert all(one not in drawn[:i] for i, one in enumerate(drawn))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("value", [2.0, "2", None, True, [2], torch.tensor(2)], ids=repr)
@pytest.mark.parametrize("place", range(4))
def test_batches_want_whole_numbers(place, value):
    name = ("examples", "batch_size", "steps", "seed")[place]
    arguments = [10, 2, 3, 0]
    arguments[place] = value
    with pytest.raises(TypeError, match=f"^{name} must be a whole number, but got"):
        batches(*arguments)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((10, 0, 3, 0), "batch_size must be ≥ 1, but got 0"),
        ((10, 11, 3, 0), "batch_size must be at most the 10 training examples, but got 11"),
        ((10, 3, 0, 0), "steps must be ≥ 1, but got 0"),
        ((10, 3, 3, -1), "seed must be ≥ 0, but got -1"),
    ],
)
def test_batches_out_of_range_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        batches(*arguments)


# --- the loop -----------------------------------------------------------------------------------


def problem(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 3, generator=generator, dtype=dtype)
    model = nn.Linear(3, 2, dtype=dtype)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    return model, x, (x[:, 0] > 0).long()


@settings(max_examples=20)
@given(
    steps=st.integers(1, 8),
    batch_size=st.integers(1, 40),
    seed=st.integers(0, 2**32),
    decay=st.sampled_from([None, 0.5, 0.0]),
    as_numpy=st.booleans(),
)
def test_it_is_the_loop_that_one_would_write(steps, batch_size, seed, decay, as_numpy):
    """Against gradients that autograd hands out, which cannot add up, and steps made by hand."""
    model, x, y = problem(torch.float64)
    weights = [p.detach().clone().requires_grad_() for p in model.parameters()]
    before, lr, expected = [], 0.1, []
    for batch in batches(40, batch_size, steps, seed):
        loss = F.cross_entropy(F.linear(x[batch], *weights), y[batch])
        grads = torch.autograd.grad(loss, weights)
        weights = [
            (w - lr * g).detach().requires_grad_()
            for w, g in zip(weights, grads, strict=True)
        ]
        lr *= 1 if decay is None else decay
        expected.append(loss.detach())
        before.append(weights[0])

    optimizer, seen = SGD(model.parameters(), lr=0.1), []
    if as_numpy:
        steps, batch_size, seed = np.int64(steps), np.uint8(batch_size), np.int64(seed)
    for p in model.parameters():
        p.grad = torch.ones_like(p)  # of whatever came before
    losses = train(
        model,
        optimizer,
        x,
        y,
        steps=steps,
        batch_size=batch_size,
        seed=seed,
        scheduler=None if decay is None else lr_scheduler.ExponentialLR(optimizer, decay),
        after_step=lambda step: seen.append((step, model.weight.detach().clone())),
    )
    assert losses.shape == (steps,) and not losses.requires_grad
    torch.testing.assert_close(losses, torch.stack(expected), rtol=1e-12, atol=1e-12)
    assert [step for step, _ in seen] == list(range(1, steps + 1))
    for (_, weight), wanted in zip(seen, before, strict=True):
        torch.testing.assert_close(weight, wanted.detach(), rtol=1e-12, atol=1e-12)


def test_the_losses_end_on_the_cpu(device):
    model, x, y = problem()
    model.to(device)
    losses = train(
        model, SGD(model.parameters()), x.to(device), y.to(device), steps=2, batch_size=8
    )
    assert losses.device.type == "cpu"


def test_a_regression_has_the_loss_it_is_given():
    model, x, _ = problem()
    y = x[:, :2].sin()
    expected = nn.MSELoss()(model(x), y)
    losses = train(
        model, SGD(model.parameters()), x, y, steps=1, batch_size=40, loss=nn.MSELoss()
    )
    torch.testing.assert_close(losses[0], expected.detach())


def run(model=None, optimizer=None, x=None, y=None, **changes):
    """Train for three steps, with arguments changed; ``optimizer`` may be a function of the model."""
    own_model, own_x, own_y = problem()
    model = own_model if model is None else model
    if optimizer is None or not isinstance(optimizer, torch.optim.Optimizer | str | type):
        params = (
            model.parameters() if isinstance(model, nn.Module) else own_model.parameters()
        )
        optimizer = (optimizer or SGD)(params)
    x, y = own_x if x is None else x, own_y if y is None else y
    return train(model, optimizer, x, y, **{"steps": 3, "batch_size": 8} | changes)


# --- what works ---------------------------------------------------------------------------------


def test_hooks_on_modules_and_tensors_work():
    calls = []
    model, x, y = problem()
    plain = copy.deepcopy(model)
    model.register_forward_hook(lambda *_: calls.append("module"))
    model.weight.register_hook(lambda grad: 2 * grad)
    for net, lr in ((model, 0.1), (plain, 0.2)):
        train(net, SGD([net.weight], lr=lr), x, y, steps=1, batch_size=8)
    assert calls == ["module"] and torch.equal(model.weight, plain.weight)


def test_dropout_is_on_in_training_and_off_in_eval_mode():
    def losses(training):
        model = nn.Sequential(problem()[0], nn.Dropout(0.5)).train(training)
        return run(model)

    assert torch.equal(losses(False), run(seed=0)) and not torch.equal(losses(True), run())


def test_a_part_may_be_frozen():
    model, x, y = problem()
    model.bias.requires_grad_(False)
    before = copy.deepcopy(model)
    train(model, SGD(model.parameters(), lr=0.1), x, y, steps=3, batch_size=8)
    assert torch.equal(model.bias, before.bias)
    assert not torch.equal(model.weight, before.weight)


def test_what_else_can_be_trained():
    flat, plain = problem()[0], problem()[0]
    losses = run(flat, SGD([FlatParameters(flat.parameters())], lr=0.1))
    assert torch.equal(losses, run(plain, SGD(plain.parameters(), lr=0.1)))
    weight = torch.zeros(3, 2, requires_grad=True)
    run(lambda x: x @ weight, SGD([weight], lr=0.1))  # a function, and no module
    assert weight.abs().sum() > 0
    run(nn.LazyLinear(2))
    before = weight.detach().clone()  # of the loss, and the model has none
    run(
        nn.Identity(),
        SGD([weight], lr=0.1),
        loss=lambda x, y: F.cross_entropy(x @ weight, y),
    )
    assert not torch.equal(weight, before)


def test_a_list_of_schedulers_that_wrap_each_other_works():
    model = problem()[0]
    optimizer = SGD(model.parameters(), lr=1.0)
    parts = [lr_scheduler.ConstantLR(optimizer), lr_scheduler.ExponentialLR(optimizer, 0.5)]
    for scheduler in (
        lr_scheduler.SequentialLR(optimizer, parts, [2]),
        lr_scheduler.ChainedScheduler(parts),
    ):
        run(model, optimizer, scheduler=scheduler)


def test_a_scheduler_is_whatever_can_step_without_arguments():
    class Own:
        steps = 0

        def step(self, *args, **options):
            Own.steps += 1

    run(scheduler=Own())
    run(scheduler=SimpleNamespace(step=Own().step))
    assert Own.steps == 6


# --- what is refused ----------------------------------------------------------------------------

CLASSES = problem()[2]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"steps": "3"}, TypeError, "steps .* str: '3'"),
        ({"batch_size": 8.0}, TypeError, "batch_size .* float: 8.0"),
        ({"batch_size": 41}, ValueError, "batch_size .* 40 .* 41"),
        ({"seed": 0.5}, TypeError, "seed .* float: 0.5"),
        ({"seed": True}, TypeError, "seed .* bool: True"),
        ({"loss": nn.CrossEntropyLoss}, TypeError, r"loss .* CrossEntropyLoss: call it"),
        ({"loss": "mse"}, TypeError, "loss .* predictions and targets, .* str: 'mse'"),
        ({"loss": None}, TypeError, "loss .* None"),
        ({"loss": lambda output: output.sum()}, TypeError, "loss .* too many positional"),
        ({"loss": lambda output, target: 1.0}, TypeError, "loss .* tensor, .* 1.0"),
        (
            {"loss": nn.CrossEntropyLoss(reduction="none")},
            ValueError,
            r"loss .* one number, .* \(8,\)",
        ),
        (
            {"loss": lambda output, target: torch.tensor(0.0)},
            ValueError,
            "loss does not depend on any parameter",
        ),
        (
            {"after_step": 3},
            TypeError,
            "after_step .* the number of the update, but got int: 3",
        ),
        (
            {"x": np.zeros((40, 3))},
            TypeError,
            "x must be a tensor, .* ndarray: .*as_tensor",
        ),
        ({"y": np.zeros(40)}, TypeError, "y must be a tensor, .* ndarray: .*as_tensor"),
        ({"x": [[0.0] * 3] * 40}, TypeError, "x must be a tensor, but got list"),
        ({"y": CLASSES[:39]}, ValueError, "x and y must be equally many, .* 40 and 39"),
        (
            {"x": torch.zeros(0, 3), "y": CLASSES[:0]},
            ValueError,
            "at least one, .* 0 and 0",
        ),
        ({"y": torch.tensor(1)}, ValueError, "y must have its examples"),
        ({"x": torch.zeros(40, 3, device="meta")}, ValueError, "x and y .* meta, cpu"),
        ({"y": CLASSES.to("meta")}, ValueError, "x and y .* cpu, meta"),
        (
            {"x": torch.zeros(40, 3, device="meta"), "y": CLASSES.to("meta")},
            ValueError,
            r"x is on meta, but model on cpu: move it by x.to",
        ),
        (
            {"x": torch.zeros(40, 3, dtype=torch.float64)},
            ValueError,
            r"x is torch.float64, but model torch.float32: cast it by x.to\(torch.float32\)",
        ),
        ({"y": CLASSES.int()}, ValueError, r"y is torch.int32, .* y.long\(\)"),
        ({"model": nn.Linear}, TypeError, r"model .* class Linear: call it first"),
        (
            {"model": 3},
            TypeError,
            "^model must be a function of a batch of inputs, but got int: 3$",
        ),
        ({"optimizer": SGD}, TypeError, "optimizer .* <class .*SGD"),
        ({"optimizer": "SGD"}, TypeError, "optimizer .* 'SGD'"),
        ({"optimizer": torch.optim.LBFGS}, TypeError, "optimizer"),
        ({"scheduler": lr_scheduler.ExponentialLR}, TypeError, "scheduler .* <class"),
        ({"scheduler": lambda fraction: 1}, TypeError, "scheduler .* <function"),
    ],
)
def test_a_wrong_argument_is_named_before_anything_moves(changes, error, words):
    model, _, _ = problem()
    model.requires_grad_(True)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(error, match=words):
        run(**{"model": model} | changes)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (torch.optim.LBFGS, "optimizer must step without a closure, but got LBFGS"),
        (
            lambda params: SGD(problem()[0].parameters()),
            r"optimizer holds none of the parameters of model .*model.parameters\(\)",
        ),
        (
            lambda params: SGD([p.requires_grad_(False) for p in params]),
            r"optimizer .* model is frozen: .*requires_grad_\(\)",
        ),
    ],
)
def test_an_optimizer_that_cannot_train_the_model_is_refused(make, words):
    model, x, y = problem()
    optimizer = make(model.parameters())
    with pytest.raises((TypeError, ValueError), match=words):
        train(model, optimizer, x, y, steps=3, batch_size=8)
    assert not optimizer.state


def test_a_frozen_model_is_refused_whatever_else_the_optimizer_holds():
    model = problem()[0].requires_grad_(False)
    temperature = torch.ones((), requires_grad=True)
    optimizer = SGD([*model.parameters(), temperature])
    with pytest.raises(ValueError, match=r"optimizer holds none of .* requires_grad_\(\)"):
        run(model, optimizer)


def test_a_scheduler_is_the_optimizers_and_steps_alone():
    model = problem()[0]
    optimizer, other = Adam(model.parameters()), Adam(model.parameters())
    with pytest.raises(ValueError, match="scheduler belongs to another optimizer"):
        run(model, optimizer, scheduler=lr_scheduler.ExponentialLR(other, 0.5))
    with pytest.raises(TypeError, match=r"scheduler .* ReduceLROnPlateau: .* after_step"):
        run(model, optimizer, scheduler=lr_scheduler.ReduceLROnPlateau(optimizer))


def test_an_error_of_the_model_is_left_as_it_is():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run(x=torch.zeros(40, 5))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run(x=torch.zeros(40, 5), y=torch.zeros(40, 2))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run(lambda x: x @ torch.zeros(5, 2))
