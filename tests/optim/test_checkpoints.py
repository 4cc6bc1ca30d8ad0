"""Checkpoints of other versions and of other trainers: read as torch reads them, or refused whole."""

import copy
import io
import math
import pickle

import numpy as np
import pytest
import torch

import lessons

FULL = {  # settings under which an optimizer keeps every state that it can have
    "SGD": dict(momentum=0.9, l1=0.01, l1_method="cumulative"),
    "Adagrad": dict(lr_decay=0.01),
    "Adam": dict(amsgrad=True),
    "AdamW": dict(amsgrad=True),
    "RMSprop": dict(momentum=0.9, centered=True),
    "FTRLProximal": dict(l1=0.01),
}
EVERY = list(FULL)
IN_TORCH = EVERY[:-1]
COUNTING = EVERY[1:]  # all but SGD


def trained(name, steps=3, *, package=lessons, dtype=torch.float32, **settings):
    """Return a parameter of three weights and an optimizer after some steps."""
    param = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=dtype))
    if package is lessons:
        settings = FULL[name] | settings
    optimizer = getattr(package, name)([param], **{"lr": 0.1} | settings)
    go_on(param, optimizer, range(steps))
    return param, optimizer


def go_on(param, optimizer, steps):
    for step in steps:
        param.grad = torch.tensor([1.0, -0.5, 0.1], dtype=param.dtype) * (step + 1)
        optimizer.step()


def everything(optimizer) -> str:
    """Return all that an optimizer holds, as text that shows every bit."""
    return repr(pickle.dumps(optimizer.state_dict()))


def saved(optimizer) -> dict:
    """Return a checkpoint as it comes back from a file."""
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def assert_goes_on(name, param, optimizer, checkpoint, **settings):
    """Raise unless a new optimizer with the checkpoint trains like the old one, to the last bit."""
    twin = torch.nn.Parameter(param.detach().clone())
    other = getattr(lessons, name)([twin], **{"lr": 0.7} | settings)
    other.load_state_dict(checkpoint)
    for one, two in ((param, optimizer), (twin, other)):
        go_on(one, two, range(3, 8))
    assert torch.equal(param, twin)
    return other


# --- read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [int, float, np.int64, np.float32, torch.tensor])
@pytest.mark.parametrize("name", COUNTING)
def test_the_count_of_steps_may_be_a_number(name, kind):
    param, optimizer = trained(name)
    checkpoint = copy.deepcopy(optimizer.state_dict())
    checkpoint["state"][0]["step"] = kind(3)
    other = assert_goes_on(name, param, optimizer, checkpoint)
    (state,) = other.state.values()
    assert isinstance(state["step"], torch.Tensor) and state["step"] == 8
    assert kind is torch.tensor or state["step"].dtype == torch.float32


@pytest.mark.parametrize("name", EVERY)
def test_a_checkpoint_from_before_the_first_step(name):
    param, optimizer = trained(name, steps=0)
    other = assert_goes_on(name, param, optimizer, saved(optimizer), lr=0.5)
    assert other.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize("name", IN_TORCH)
@pytest.mark.parametrize("setting", ["nesterov", "momentum", "centered", "maximize"])
def test_a_setting_that_came_late_is_read_as_torch_does(name, setting):
    """torch takes its default; what ours were made with does not matter."""
    if setting not in getattr(lessons, name).older:
        return
    param, optimizer = trained(name, package=torch.optim)
    checkpoint = copy.deepcopy(optimizer.state_dict())
    del checkpoint["param_groups"][0][setting]
    other = {"maximize": True, "centered": True, "momentum": 0.5, "nesterov": True}
    settings = {setting: other[setting]}
    if setting == "nesterov":
        settings["momentum"] = 0.5
    assert_goes_on(name, param, optimizer, checkpoint, **settings)


def test_maximize_came_late_to_all():
    for name in EVERY:
        param, optimizer = trained(name)
        checkpoint = copy.deepcopy(optimizer.state_dict())
        del checkpoint["param_groups"][0]["maximize"]
        assert_goes_on(name, param, optimizer, checkpoint, maximize=True)
        assert "maximize" not in checkpoint["param_groups"][0]


@pytest.mark.parametrize("flag", ["foreach", "differentiable", "capturable", "fused"])
@pytest.mark.parametrize("name", IN_TORCH)
def test_what_only_torch_has_may_be_there_or_not(name, flag):
    for value in (None, False, True):
        param, optimizer = trained(name, package=torch.optim)
        checkpoint = copy.deepcopy(optimizer.state_dict())
        checkpoint["param_groups"][0].pop(flag, None)
        if value is not None:
            checkpoint["param_groups"][0][flag] = value
        assert_goes_on(name, param, optimizer, checkpoint)


def test_adagrads_start_stays_as_it_is():
    _, optimizer = trained("Adagrad", package=torch.optim)
    checkpoint = copy.deepcopy(optimizer.state_dict())
    group = checkpoint["param_groups"][0]
    del group["initial_accumulator_value"]
    group["params"] = [0, 1]  # the second has no state yet
    params = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    other = lessons.Adagrad(params, initial_accumulator_value=5)
    other.load_state_dict(checkpoint)
    params[1].grad = torch.zeros(3)
    other.step()
    assert other.state[params[1]]["sum"].tolist() == [5, 5, 5]


def test_an_optimizer_of_an_old_pickle():
    for name in EVERY:
        param, optimizer = trained(name)
        old = copy.deepcopy(optimizer.__getstate__())
        for setting in optimizer.older:
            if optimizer.param_groups[0][setting] == optimizer.older[setting]:
                del old["param_groups"][0][setting]
        assert "maximize" not in old["param_groups"][0]
        (twin,) = old["param_groups"][0]["params"]
        if "step" in old["state"][twin]:
            old["state"][twin]["step"] = 3
        other = object.__new__(type(optimizer))
        other.__setstate__(old)
        for one, two in ((param, optimizer), (twin, other)):
            go_on(one, two, range(3, 6))
        assert torch.equal(param, twin)


@pytest.mark.parametrize("tensor", [False, True], ids=["number", "tensor"])
@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64]
)
@pytest.mark.parametrize("name", EVERY)
def test_saved_and_resumed_is_the_same_as_gone_on(name, dtype, tensor):
    """In every type, though torch casts all state to the parameter's: 0.013 is another number in bfloat16."""
    lr = torch.tensor(0.013) if tensor else 0.013
    param, optimizer = trained(name, dtype=dtype, lr=lr)
    checkpoint = saved(optimizer)
    other = assert_goes_on(name, param, optimizer, checkpoint)
    for a, b in zip(other.state.values(), optimizer.state.values(), strict=True):
        assert a.keys() == b.keys()
        for key in a:
            assert type(a[key]) is type(b[key])
            assert torch.as_tensor(a[key]).dtype == torch.as_tensor(b[key]).dtype
            assert torch.equal(torch.as_tensor(a[key]), torch.as_tensor(b[key])), key


def test_a_cast_model_keeps_the_accounts():
    """The parameter in bfloat16, loaded from float32: what is like the weights is cast, one number is not."""
    for name, number in (("SGD", "l1_due"), ("FTRLProximal", "lr")):
        _, optimizer = trained(name, lr=torch.tensor(0.013))
        param = torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
        other = getattr(lessons, name)([param])
        other.load_state_dict(optimizer.state_dict())
        (before,) = optimizer.state.values()
        after = other.state[param]
        assert after[number].dtype == torch.float32
        assert after[number] == before[number] and after[number] is not before[number]
        shaped = [value for value in after.values() if getattr(value, "ndim", 0)]
        assert len(shaped) == 2 and all(v.dtype == torch.bfloat16 for v in shaped)


# --- refused ------------------------------------------------------------------------------------------


def of_group(**changes):
    return lambda checkpoint: checkpoint["param_groups"][0].update(changes)


def of_state(**changes):
    return lambda checkpoint: checkpoint["state"][0].update(changes)


def without(kind, name):
    def damage(checkpoint):
        del (checkpoint["state"][0] if kind == "state" else checkpoint["param_groups"][0])[
            name
        ]

    return damage


DAMAGES = [
    (EVERY, "it has no lr", without("group", "lr")),
    (EVERY, "it has no params", without("group", "params")),
    (EVERY, "it has no state", lambda c: c.pop("state")),
    (EVERY, "it has no param_groups", lambda c: c.pop("param_groups")),
    (EVERY, "Invalid learning rate: nan", of_group(lr=math.nan)),
    (EVERY, "lr must be a number, but got str: '0.1'", of_group(lr="0.1")),
    (EVERY, "maximize must be a bool, but got 'False'", of_group(maximize="False")),
    (["Adam", "AdamW"], "it has no amsgrad", without("group", "amsgrad")),
    (["SGD"], "it has no dampening", without("group", "dampening")),
    (["FTRLProximal"], "it has no per_step", without("group", "per_step")),
    (COUNTING, "has no step", without("state", "step")),
    (COUNTING, "Invalid step value: -1", of_state(step=-1)),
    (COUNTING, "Invalid step value: nan", of_state(step=math.nan)),
    (COUNTING, "step must be a number, but got str: 'three'", of_state(step="three")),
    (COUNTING, "Tensor step must be 1-element", of_state(step=torch.ones(3))),
    (COUNTING, "step must be a number, but got ndarray", of_state(step=np.array(3))),
    (["Adam", "AdamW"], "has no exp_avg$", without("state", "exp_avg")),
    (["Adam", "AdamW"], "has no exp_avg_sq", without("state", "exp_avg_sq")),
    (["Adam", "AdamW"], "has no max_exp_avg_sq", without("state", "max_exp_avg_sq")),
    (
        ["Adam", "AdamW"],
        r"exp_avg is torch.float32 of shape \(1,\), but its parameter is torch.float32 of shape \(3,\)",
        of_state(exp_avg=torch.ones(1)),
    ),
    (["Adam"], "exp_avg is torch.complex64", of_state(exp_avg=torch.ones(3) * 1j)),
    (["Adam"], "exp_avg is list, not a tensor", of_state(exp_avg=[0.0] * 3)),
    (["Adam"], "exp_avg_sq is ndarray, not a tensor", of_state(exp_avg_sq=np.zeros(3))),
    (["Adagrad"], "has no sum", without("state", "sum")),
    (["RMSprop"], "has no square_avg", without("state", "square_avg")),
    (["RMSprop"], "has no grad_avg", without("state", "grad_avg")),
    (["RMSprop"], "has no momentum_buffer", without("state", "momentum_buffer")),
    (["SGD"], "momentum_buffer is torch.float32", of_state(momentum_buffer=torch.ones(2))),
    (["SGD"], "has no l1_due", without("state", "l1_due")),
    (["SGD"], "has no l1_received", without("state", "l1_received")),
    (["SGD"], "Invalid l1_due value: nan", of_state(l1_due=math.nan)),
    (["FTRLProximal"], "has no z", without("state", "z")),
    (["FTRLProximal"], "has no lr", without("state", "lr")),
    (["FTRLProximal"], "Invalid lr value: 0", of_state(lr=0)),
    (EVERY, "state is list, not a dict", lambda c: c["state"].update({0: [1, 2]})),
]


@pytest.mark.parametrize("by_hook", [False, True], ids=["file", "hook"])
@pytest.mark.parametrize(
    "name, message, damage", [(n, m, d) for names, m, d in DAMAGES for n in names]
)
def test_a_damaged_checkpoint_is_refused_and_nothing_changes(
    name, message, damage, by_hook
):
    _, donor = trained(name, steps=5)
    checkpoint = copy.deepcopy(donor.state_dict())
    param, optimizer = trained(name, lr=0.3)
    if by_hook:
        optimizer.register_load_state_dict_pre_hook(lambda _, read: damage(read) and None)
    else:
        damage(checkpoint)
    before, weights = everything(optimizer), param.detach().clone()
    with pytest.raises(ValueError, match=f"{name} cannot load .* state: .*{message}"):
        optimizer.load_state_dict(checkpoint)
    assert everything(optimizer) == before and torch.equal(param, weights)
    # Nothing is left behind in the optimizer either.
    assert len(optimizer._optimizer_load_state_dict_pre_hooks) == by_hook
    optimizer.step()


def test_what_is_no_checkpoint():
    for value in (None, [], "file.pt"):
        with pytest.raises(ValueError, match=r"Adam cannot load .*, not a dict"):
            lessons.Adam([torch.zeros(1)]).load_state_dict(value)


def test_a_refused_checkpoint_leaves_all_groups_alone():
    params = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    optimizer = lessons.Adam([{"params": [param]} for param in params], lr=0.1)
    checkpoint = copy.deepcopy(optimizer.state_dict())
    checkpoint["param_groups"][0]["lr"] = 0.5
    checkpoint["param_groups"][1]["lr"] = -0.5
    before = everything(optimizer)
    with pytest.raises(ValueError, match=r"Invalid learning rate: -0\.5"):
        optimizer.load_state_dict(checkpoint)
    assert everything(optimizer) == before


def test_state_that_no_parameter_has_is_kept_as_torch_does():
    param, optimizer = trained("Adam")
    optimizer.load_state_dict({**optimizer.state_dict(), "note": "mine"})
    checkpoint = optimizer.state_dict()
    checkpoint["state"]["test"] = 1
    optimizer.load_state_dict(checkpoint)
    assert optimizer.state["test"] == 1
    go_on(param, optimizer, range(2))
