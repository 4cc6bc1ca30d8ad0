"""What all optimizers share: arguments, groups, hooks, closures, checkpoints and devices."""

import copy
import io
import math
import pickle

import numpy as np
import pytest
import torch
from parity import NAMES, STEPS, assert_equal, make, make_grads, make_params, train
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

import lessons
from lessons.optim import base

L1 = [dict(l1=0.1, l1_method=method) for method in ("subgradient", "prox", "cumulative")]
FULL = {  # settings under which an optimizer keeps every state that it can have
    "SGD": dict(momentum=0.9, weight_decay=0.1),
    "Adagrad": dict(lr_decay=0.01, weight_decay=0.1),
    "Adam": dict(weight_decay=0.1, amsgrad=True),
    "AdamW": dict(weight_decay=0.1, amsgrad=True),
    "RMSprop": dict(weight_decay=0.1, momentum=0.9, centered=True),
}
EVERY = [
    *FULL.items(),
    *[("SGD", dict(momentum=0.9, weight_decay=0.1, nesterov=True, **l1)) for l1 in L1],
]


def one_param(*values, cls=lessons.SGD, **settings):
    """Return a parameter (default: one weight of 1) and an optimizer for it."""
    param = torch.nn.Parameter(torch.tensor(values or [1.0], dtype=torch.float64))
    return param, cls([param], **settings)


# --- arithmetic that also takes a stack -----------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["add", "add_", "add_square_", "add_quotient_"])
def test_a_factor_for_each_model_counts_like_a_number(name, dtype):
    generator = torch.Generator().manual_seed(0)
    tensors = [
        torch.randn(3, 40, generator=generator, dtype=dtype)
        for _ in range(2 + (name == "add_quotient_"))
    ]
    factors = torch.tensor([[0.0], [-0.25], [3.7]], dtype=dtype)
    function = getattr(base, name)
    stacked = function(*(tensor.clone() for tensor in tensors), factors)
    for row, factor in enumerate(factors.flatten().tolist()):
        single = function(*(tensor[row].clone() for tensor in tensors), factor)
        eps = torch.finfo(
            dtype
        ).eps  # the two may round the product differently: by half a unit of its size
        largest = (single - tensors[0][row]).abs() + single.abs()
        assert ((stacked[row] - single).abs() <= eps * largest).all()


def test_a_factor_of_zero_leaves_the_term_out():
    x = torch.ones(2)
    assert base.add(x, torch.full((2,), math.nan), 0) is x


STACKS = [
    ("SGD", dict(lr=0.1, momentum=0.9, dampening=0.5, weight_decay=0.1, l1=0.01)),
    ("SGD", dict(lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True)),
    ("SGD", dict(lr=0.1, momentum=0.5, l1=0.01, l1_method="cumulative")),
    ("SGD", dict(lr=0.1, l1=0.01, l1_method="subgradient")),
    ("Adagrad", dict(lr=0.1, lr_decay=0.01, weight_decay=0.1, eps=1e-3)),
    ("Adam", dict(lr=0.1, weight_decay=0.1, eps=1e-3, amsgrad=True)),
    ("AdamW", dict(lr=0.1, weight_decay=0.1, eps=1e-3)),
    (
        "RMSprop",
        dict(lr=0.1, alpha=0.9, weight_decay=0.1, momentum=0.9, eps=1e-3, centered=True),
    ),
    ("RMSprop", dict(lr=0.1, alpha=0.9, eps=1e-3)),
]


@pytest.mark.parametrize("name, settings", STACKS)
def test_a_rule_trains_a_stack_of_models_like_each_alone(name, settings):
    """lr, weight_decay and l1 hold one number a model; the rule is called as a sweep calls it."""
    cls = getattr(lessons, name)
    group = {**cls([torch.zeros(1)], **settings).param_groups[0]}
    scale = torch.tensor([[1.0], [0.1], [0.0], [3.0]], dtype=torch.float64)
    keyed = {key: group[key] for key in cls.hyperparameters}
    stacked = {
        k: v * scale if k in ("lr", "weight_decay", "l1") and v else v
        for k, v in keyed.items()
    }
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    grads = torch.randn(20, 4, 5, generator=generator, dtype=torch.float64)

    def end(param, grads, settings):
        state = cls.init_state(param, group)
        for grad in grads:
            cls.rule(param, grad, state, **settings)
        return param

    together = end(start.clone(), grads, stacked)
    for model in range(4):
        own = {k: v[model].item() if torch.is_tensor(v) else v for k, v in stacked.items()}
        alone = end(start[model].clone(), grads[:, model], own)
        torch.testing.assert_close(together[model], alone, rtol=1e-12, atol=1e-13)


# --- arguments ------------------------------------------------------------------------------------

ARGUMENTS = [
    ("SGD", "lr", "learning rate"),
    ("SGD", "momentum", "momentum value"),
    ("SGD", "dampening", "dampening value"),
    ("SGD", "weight_decay", "weight_decay value"),
    ("SGD", "l1", "l1 value"),
    ("Adagrad", "lr", "learning rate"),
    ("Adagrad", "lr_decay", "lr_decay value"),
    ("Adagrad", "weight_decay", "weight_decay value"),
    ("Adagrad", "initial_accumulator_value", "initial_accumulator_value value"),
    ("Adagrad", "eps", "epsilon value"),
    ("RMSprop", "lr", "learning rate"),
    ("RMSprop", "alpha", "alpha value"),
    ("RMSprop", "eps", "epsilon value"),
    ("RMSprop", "weight_decay", "weight_decay value"),
    ("RMSprop", "momentum", "momentum value"),
    *[
        (name, argument, label)
        for name in ("Adam", "AdamW")
        for argument, label in [
            ("lr", "learning rate"),
            ("betas", "beta parameter at index 0"),
            ("betas", "beta parameter at index 1"),
            ("eps", "epsilon value"),
            ("weight_decay", "weight_decay value"),
        ]
    ],
]


def bad_settings(argument, label, value) -> dict:
    """Return the settings in which ``argument``, or the one of the betas that the label names, is ``value``."""
    if argument == "betas":
        value = (value, 0.9) if label.endswith("0") else (0.9, value)
    return {argument: value}


@pytest.mark.parametrize("value", [-1, -1e-9, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name, argument, label", ARGUMENTS)
def test_rejects_a_number_out_of_range(name, argument, label, value):
    settings = bad_settings(argument, label, value)
    with pytest.raises(ValueError) as ours:
        getattr(lessons, name)([torch.zeros(1)], **settings)
    assert str(ours.value) == f"Invalid {label}: {value}"
    theirs = {"SGD": {"dampening", "l1"}}.get(name, set())  # torch does not check these
    if value == -1 and argument not in theirs:
        with pytest.raises(ValueError) as torchs:
            getattr(torch.optim, name)([torch.zeros(1)], **settings)
        assert str(ours.value).split(": ")[0] in (
            str(torchs.value).split(": ")[0],
            str(torchs.value)
            .split(": ")[0]
            .replace("accumulator_value", "accumulator_value value"),
        )


@pytest.mark.parametrize("name", NAMES)
def test_rejects_a_default_that_every_group_overrides(name):
    for package in (lessons, torch.optim):
        with pytest.raises(ValueError, match="Invalid learning rate: -1"):
            getattr(package, name)([{"params": [torch.zeros(1)], "lr": 0.1}], lr=-1)


@pytest.mark.parametrize("name, argument, label", ARGUMENTS)
@pytest.mark.parametrize("value", ["0.1", None, True, 1j])
def test_rejects_what_is_no_number(name, argument, label, value):
    with pytest.raises(TypeError, match=rf"^{argument}(\[[01]\])? must be a number"):
        getattr(lessons, name)([torch.zeros(1)], **bad_settings(argument, label, value))


@pytest.mark.parametrize("name, argument, label", ARGUMENTS)
def test_takes_zero(name, argument, label):
    getattr(lessons, name)([torch.zeros(1)], **bad_settings(argument, label, 0))


@pytest.mark.parametrize(
    "name, argument", [("Adam", "betas"), ("AdamW", "betas"), ("RMSprop", "alpha")]
)
def test_a_mean_cannot_keep_everything(name, argument):
    for value in [(1.0, 0.9), (0.9, 1.0)] if argument == "betas" else [1.0]:
        with pytest.raises(ValueError, match=r"Invalid .*: 1\.0$"):
            getattr(lessons, name)([torch.zeros(1)], **{argument: value})


@pytest.mark.parametrize("betas", [0.9, (0.9,), (0.9, 0.99, 0.999), None])
def test_betas_are_two(betas):
    with pytest.raises(ValueError, match="betas must be a pair of numbers"):
        lessons.Adam([torch.zeros(1)], betas=betas)


@pytest.mark.parametrize(
    "settings", [dict(nesterov=True), dict(nesterov=True, momentum=0.9, dampening=0.1)]
)
def test_nesterov_wants_momentum_without_dampening(settings):
    for cls in (lessons.SGD, torch.optim.SGD):
        with pytest.raises(
            ValueError, match="Nesterov momentum requires a momentum and zero dampening"
        ):
            cls([torch.zeros(1)], **settings)


def test_l1_method_is_one_of_three():
    with pytest.raises(
        ValueError,
        match="Invalid l1_method: 'clip', not one of subgradient, prox, cumulative",
    ):
        lessons.SGD([torch.zeros(1)], l1_method="clip")


@pytest.mark.parametrize("settings", [dict(momentum=1), dict(momentum=0.9, dampening=1.1)])
def test_settings_under_which_an_l1_penalty_has_no_size(settings):
    lessons.SGD([torch.zeros(1)], **settings)
    with pytest.raises(
        ValueError, match="l1 wants momentum below 1 and dampening of at most 1, but got"
    ):
        lessons.SGD([torch.zeros(1)], l1=0.1, **settings)
    lessons.SGD([torch.zeros(1)], l1=0.1, momentum=0.9, dampening=1)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, "0-d", "1-d", "2-d"])
@pytest.mark.parametrize("name", NAMES)
def test_a_number_may_be_numpys_or_a_tensor(name, kind):
    ends = []
    for package in (lessons, torch.optim):
        dim = None if not isinstance(kind, str) else int(kind[0])
        lr = kind(1) if dim is None else torch.full((1,) * dim, 0.1)
        optimizer = make(package, name, make_params(), lr=lr, weight_decay=0.1)
        for row in make_grads()[:20]:
            for param, grad in zip(
                (p for group in optimizer.param_groups for p in group["params"]),
                row,
                strict=True,
            ):
                param.grad = grad
            optimizer.step()
        assert optimizer.param_groups[0]["lr"] is lr
        ends.append(optimizer)
    assert_equal(*ends)


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_betas_may_be_tensors(name):
    ends = []
    for package in (lessons, torch.optim):
        betas = torch.tensor([0.9]), torch.tensor([0.99])
        ends.append(make(package, name, make_params(), betas=betas))
        train(ends[-1], make_grads()[:20])
    assert_equal(*ends)


def test_numpys_numbers_keep_the_bounds():
    for value in (np.float32(-1), np.float32("nan"), np.int64(-1)):
        with pytest.raises(ValueError, match="Invalid learning rate"):
            lessons.SGD([torch.zeros(1)], lr=value)
    for value in (np.True_, np.complex64(1), np.array([0.1])):
        with pytest.raises(TypeError, match="lr must be a number"):
            lessons.SGD([torch.zeros(1)], lr=value)


def test_a_tensor_setting_has_one_element():
    lessons.SGD([torch.zeros(1)], lr=torch.tensor([0.1]))
    with pytest.raises(ValueError, match="Tensor lr must be 1-element"):
        lessons.SGD([torch.zeros(1)], lr=torch.tensor([0.1, 0.2]))
    with pytest.raises(ValueError, match="Invalid learning rate"):
        lessons.SGD([torch.zeros(1)], lr=torch.tensor(-0.1))


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_torchs(name):
    ours, theirs = (
        getattr(package, name)([torch.zeros(1)]).defaults
        for package in (lessons, torch.optim)
    )
    assert ours.items() - theirs.items() <= {("l1", 0), ("l1_method", "prox")} | {
        ("differentiable", False)
    }
    only_torchs = {"foreach", "fused", "capturable", "differentiable"}
    assert theirs.keys() - ours.keys() <= only_torchs


# --- groups ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_rejected_group_changes_nothing(name):
    param, optimizer = one_param(cls=getattr(lessons, name))
    before = copy.deepcopy(optimizer.param_groups)
    with pytest.raises(ValueError, match="Invalid learning rate: -1"):
        optimizer.add_param_group({"params": [torch.zeros(1)], "lr": -1})
    with pytest.raises(ValueError, match="Invalid weight_decay value: nan"):
        optimizer.add_param_group({"params": [torch.zeros(1)], "weight_decay": math.nan})
    with pytest.raises(ValueError, match="more than one parameter group"):
        optimizer.add_param_group({"params": [param]})
    with pytest.raises(TypeError, match="param_group must be a dict"):
        optimizer.add_param_group([param])
    assert optimizer.param_groups == before and not optimizer.state
    with pytest.raises(ValueError, match="Invalid learning rate: -1"):
        getattr(lessons, name)([{"params": [torch.zeros(1)], "lr": -1}])


def test_a_group_added_in_mid_training_trains():
    param, optimizer = one_param(lr=0.1)
    late = torch.nn.Parameter(torch.ones(1))
    optimizer.add_param_group({"params": [late], "lr": 0.5})
    param.grad, late.grad = torch.ones_like(param), torch.ones_like(late)
    optimizer.step()
    assert (param.item(), late.item()) == (0.9, 0.5)


def test_takes_named_parameters():
    model = torch.nn.Linear(2, 1)
    optimizer = lessons.AdamW(model.named_parameters())
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]


# --- the step -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_step_runs_the_closure_with_gradients_on(name):
    param, optimizer = one_param(2.0, cls=getattr(lessons, name))

    def closure():
        optimizer.zero_grad()
        loss = param.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4.0
    assert param.grad.item() == 4.0 and param.item() < 2.0
    assert optimizer.step() is None


@pytest.mark.parametrize("name, settings", EVERY)
def test_no_gradient_is_no_step(name, settings):
    param, optimizer = one_param(1.0, -2.0, cls=getattr(lessons, name), **settings)
    param.grad = torch.ones_like(param)
    optimizer.step()
    before, state = param.detach().clone(), state_of(optimizer)
    param.grad = None
    optimizer.step()
    assert torch.equal(param, before) and state_of(optimizer) == state
    param.grad = torch.zeros_like(param)  # a zero gradient is one: decay and momentum go on
    optimizer.step()
    assert (param != before).all() and state_of(optimizer) != state


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_without_any_gradient_gets_no_state(name):
    param, optimizer = one_param(cls=getattr(lessons, name))
    optimizer.step()
    assert not optimizer.state and param.item() == 1.0


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("name, settings", EVERY)
def test_the_gradient_is_left_as_it_was(name, settings, maximize):
    param, optimizer = one_param(cls=getattr(lessons, name), **settings, maximize=maximize)
    param.grad = torch.full_like(param, 0.3)
    for _ in range(3):
        optimizer.step()
    assert param.grad.item() == 0.3


@pytest.mark.parametrize("name", NAMES)
def test_step_hooks_run_before_and_after(name):
    param, optimizer = one_param(cls=getattr(lessons, name))
    seen = []
    pre = optimizer.register_step_pre_hook(
        lambda opt, args, kwargs: seen.append(param.item())
    )
    optimizer.register_step_post_hook(lambda opt, args, kwargs: seen.append(param.item()))
    param.grad = torch.ones_like(param)
    optimizer.step()
    assert seen[0] == 1.0 > seen[1] == param.item()
    pre.remove()
    optimizer.step()
    assert len(seen) == 3


@pytest.mark.parametrize("name", NAMES)
def test_a_scheduler_sets_the_rate_like_torchs(name):
    ends = []
    for package in (lessons, torch.optim):
        optimizer = make(package, name, make_params(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
        for row in make_grads()[:50]:
            train(optimizer, [row])
            scheduler.step()
        ends.append(optimizer)
    assert ends[0].param_groups[0]["lr"] == 0.0
    assert_equal(*ends)


def test_weights_keep_their_place_in_memory():
    param, optimizer = one_param(1.0, 2.0)
    place = param.data_ptr()
    param.grad = torch.ones_like(param)
    optimizer.step()
    assert param.data_ptr() == place


# --- checkpoints ----------------------------------------------------------------------------------


def saved(optimizer) -> dict:
    """Return the optimizer's state as it comes back from a file."""
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_moves_to_torch_and_back(name, dtype):
    """300 steps of ours, 300 of torch's and 400 of ours again equal 1,000 steps of torch's."""
    grads, whole = (
        make_grads("cpu", dtype),
        make(torch.optim, name, make_params(dtype=dtype), **FULL[name]),
    )
    train(whole, grads)
    params = make_params(dtype=dtype)
    last = None
    for package, start, end in [
        (lessons, 0, 300),
        (torch.optim, 300, 600),
        (lessons, 600, STEPS),
    ]:
        optimizer = make(
            package, name, params
        )  # default settings: the checkpoint brings its own
        if last is None:
            optimizer = make(package, name, params, **FULL[name])
        else:
            optimizer.load_state_dict(saved(last))
        train(optimizer, grads[start:end], first=start)
        last = optimizer
    assert_equal(last, whole)


def state_of(optimizer) -> str:
    """Return everything that an optimizer holds, as text that shows every bit."""
    return repr(pickle.dumps(optimizer.state_dict()))


@pytest.mark.parametrize("source", NAMES)
@pytest.mark.parametrize("target", NAMES)
@pytest.mark.parametrize("package", [lessons, torch.optim])
def test_another_optimizers_checkpoint_is_refused(source, target, package):
    params = make_params()
    donor = make(package, source, params)
    ours = make(lessons, target, params, **FULL[target])
    train(ours, make_grads()[:3])
    before = state_of(ours)
    if source == target:
        ours.load_state_dict(donor.state_dict())
    else:
        with pytest.raises(
            ValueError, match=f"^{target} cannot load another optimizer's state"
        ):
            ours.load_state_dict(donor.state_dict())
        assert state_of(ours) == before


@pytest.mark.parametrize("name", ["NAdam", "RAdam", "Adamax", "Adadelta", "ASGD", "Rprop"])
def test_torchs_other_optimizers_are_refused(name):
    params = make_params()
    donor = getattr(torch.optim, name)(params)
    for target in NAMES:
        ours = getattr(lessons, target)(params)
        before = state_of(ours)
        with pytest.raises(
            ValueError, match=f"{target} cannot load another optimizer's state: it has no "
        ):
            ours.load_state_dict(donor.state_dict())
        assert state_of(ours) == before


def test_decay_stays_where_it_is():
    """torch lets an AdamW's checkpoint turn an Adam into an AdamW."""
    params = [torch.zeros(1)]
    for one, two in [("Adam", "AdamW"), ("AdamW", "Adam")]:
        for package in (lessons, torch.optim):
            with pytest.raises(
                ValueError,
                match="cannot load another optimizer's state: its decoupled_weight_decay is",
            ):
                getattr(lessons, two)(params).load_state_dict(
                    getattr(package, one)(params).state_dict()
                )
    ours = lessons.AdamW(params)
    ours.load_state_dict(torch.optim.AdamW(params).state_dict())
    assert ours.param_groups[0]["decoupled_weight_decay"] is True
    old = torch.optim.AdamW(params).state_dict()
    del old["param_groups"][0]["decoupled_weight_decay"]  # as torch wrote it before 2.7
    ours.load_state_dict(old)
    assert ours.param_groups[0]["decoupled_weight_decay"] is True
    twin = lessons.Adam(params, decoupled_weight_decay=True)
    twin.load_state_dict(ours.state_dict())
    assert twin.param_groups[0]["decoupled_weight_decay"] is True


def test_a_checkpoint_with_other_groups_is_refused():
    ours = make(lessons, "Adam", make_params())
    before = state_of(ours)
    with pytest.raises(ValueError, match="different number of parameter groups"):
        ours.load_state_dict(lessons.Adam([torch.zeros(1)]).state_dict())
    assert state_of(ours) == before


def test_torchs_sgd_knows_no_l1():
    param, ours = one_param()
    ours.load_state_dict(torch.optim.SGD([param], lr=0.5).state_dict())
    group = ours.param_groups[0]
    assert (group["lr"], group["l1"], group["l1_method"]) == (0.5, 0, "prox")
    param.grad = torch.ones_like(param)
    ours.step()
    assert param.item() == 0.5


@pytest.mark.parametrize("how", ["checkpoint", "deepcopy", "pickle"])
@pytest.mark.parametrize("name, settings", EVERY)
def test_training_goes_on_from_a_copy(name, settings, how):
    grads = make_grads()
    whole, part = (make(lessons, name, make_params(), **settings) for _ in range(2))
    train(whole, grads[:120])
    train(part, grads[:60])
    if how == "checkpoint":
        again = make(
            lessons,
            name,
            [param for group in part.param_groups for param in group["params"]],
        )
        again.load_state_dict(saved(part))
    else:
        again = (
            copy.deepcopy(part) if how == "deepcopy" else pickle.loads(pickle.dumps(part))
        )
        assert again.param_groups[0]["params"][0] is not part.param_groups[0]["params"][0]
    train(again, grads[60:120])
    for one, two in zip(again.param_groups, whole.param_groups, strict=True):
        for a, b in zip(one["params"], two["params"], strict=True):
            assert torch.equal(a, b) and again.state[a].keys() == whole.state[b].keys()
            assert all(
                torch.as_tensor(again.state[a][k]).equal(torch.as_tensor(whole.state[b][k]))
                for k in again.state[a]
            )


# --- a rule of one's own ---------------------------------------------------------------------------


def counts_gradients(param, grad, state, *, lr):
    state["seen"] += 1
    param.add_(grad, alpha=-lr)


def test_a_linear_rule_without_decay_takes_sparse_gradients():
    class Plain(base.Optimizer):
        rule = staticmethod(counts_gradients)
        linear, no_sparse, numbers = True, None, ()
        check = staticmethod(lambda group: None)
        init_state = staticmethod(lambda param, group: {"seen": param * 0 + group["from"]})

    param = torch.nn.Parameter(torch.ones(3))
    optimizer = Plain([param], {"lr": 0.5, "maximize": False, "from": 7})
    for grad in (torch.ones(3), torch.tensor([0.0, 2.0, 0.0]).to_sparse()):
        param.grad = grad
        optimizer.step()
    assert param.tolist() == [0.5, -0.5, 0.5]
    assert optimizer.state[param]["seen"].tolist() == [9, 9, 9]


def test_a_rule_says_how_it_starts_and_what_it_takes():
    class Bare(base.Optimizer):
        rule = staticmethod(counts_gradients)

    class Checked(Bare):
        check = staticmethod(lambda group: None)

    settings = dict(lr=0.5, maximize=False)
    with pytest.raises(NotImplementedError):
        Bare([torch.zeros(1)], settings)
    param = torch.nn.Parameter(torch.ones(1))
    param.grad = torch.ones(1)
    with pytest.raises(NotImplementedError):
        Checked([param], settings).step()
    with pytest.raises(TypeError, match="__init_subclass__"):

        class Odd(Bare, colour="red"):
            pass


# --- the count of steps ----------------------------------------------------------------------------


@pytest.fixture
def default_type():
    before = torch.get_default_dtype()
    yield torch.set_default_dtype
    torch.set_default_dtype(before)


def test_the_count_goes_on_whatever_torchs_default_type_and_device(default_type):
    default_type(torch.bfloat16)  # 256 + 1 is 256 in it
    with torch.device("meta"):
        state = {"step": base.new_step()}
    for _ in range(300):
        step = base.next_step(state)
    assert step == 300


def test_a_count_from_a_gpu_comes_to_the_cpu():
    with FakeTensorMode():
        assert base.as_step(torch.ones((), device="cuda")).device.type == "cpu"


# --- a GPU that is not there ----------------------------------------------------------------------


@pytest.fixture
def cuda(monkeypatch):
    """A parameter with a gradient on a made-up GPU: torch checks devices and shapes, and holds no values.

    Only these tensors are fake. ``state["step"]`` is a real number on the CPU and can be read; reading a number
    from a fake tensor raises, and so does mixing it with a real one.
    """

    def copy_(
        self, source
    ):  # the method, unlike the operation behind it, asks for a torch built with CUDA
        return torch.ops.aten.copy_(self, source)

    monkeypatch.setattr(torch.Tensor, "copy_", copy_)
    with FakeTensorMode():
        param = torch.nn.Parameter(torch.randn(3, 2, device="cuda"))
        param.grad = torch.randn(3, 2, device="cuda")
    return param


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("name, settings", EVERY)
def test_a_step_on_the_gpu_never_waits_for_it(cuda, name, settings, maximize):
    optimizer = getattr(lessons, name)([cuda], **settings, maximize=maximize)
    for _ in range(3):
        optimizer.step()
    for key, value in optimizer.state[cuda].items():
        if isinstance(value, torch.Tensor):
            assert value.device.type == ("cpu" if key == "step" else "cuda"), key
    if "step" in optimizer.state[cuda]:
        assert optimizer.state[cuda]["step"] == 3


def waits_for_the_largest(param, grad, state, *, lr):
    param.sub_(grad, alpha=lr / grad.abs().max().item())


def decides_on_a_value(param, grad, state, *, lr):
    if grad.isfinite().all():
        param.sub_(grad, alpha=lr)


def makes_noise_on_the_cpu(param, grad, state, *, lr):
    param.sub_(grad + torch.randn(param.shape), alpha=lr)


def keeps_a_mean_on_the_cpu(param, grad, state, *, lr):
    mean = state.setdefault("mean", torch.zeros(param.shape))
    param.sub_(mean.lerp_(grad, 0.1), alpha=lr)


@pytest.mark.parametrize(
    "broken, error",
    [
        (waits_for_the_largest, DataDependentOutputException),
        (decides_on_a_value, DataDependentOutputException),
        (makes_noise_on_the_cpu, AssertionError),
        (keeps_a_mean_on_the_cpu, AssertionError),
    ],
)
def test_the_made_up_gpu_notices_a_broken_rule(cuda, broken, error):
    class Broken(base.Optimizer):
        rule = staticmethod(broken)
        check = init_state = staticmethod(lambda *args: {})

    with pytest.raises(error):
        Broken([cuda], dict(lr=0.1, maximize=False)).step()
