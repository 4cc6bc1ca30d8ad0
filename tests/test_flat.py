"""A flat model trains as the same model does without: to the last bit, and with every surprise an error."""

import copy
import io
import pickle
import re

import pytest
import torch
from torch import nn

import lessons
from lessons import FlatParameters
from lessons.flat import CHECKED_AT_ONCE

# Every rule that treats each weight alone.
SETTINGS = [
    ("SGD", {}),
    ("SGD", dict(momentum=0.9, dampening=0.5, weight_decay=0.1)),
    ("SGD", dict(momentum=0.9, nesterov=True, maximize=True)),
    ("Adagrad", dict(lr_decay=0.1, weight_decay=0.1)),
    ("RMSprop", dict(momentum=0.9, centered=True, weight_decay=0.1)),
    ("Adam", dict(weight_decay=0.1, amsgrad=True)),
    ("AdamW", dict(weight_decay=0.1)),
]
OURS = [
    ("SGD", dict(l1=0.1, l1_method="subgradient")),
    ("SGD", dict(l1=0.1, momentum=0.5)),
    ("SGD", dict(l1=0.1, l1_method="cumulative")),
    ("Adagrad", dict(l1=0.1)),
    ("AdamW", dict(l1=0.1)),
    ("FTRLProximal", dict(l1=0.1, l2=0.1)),
]
TORCHS = [
    (name, dict(foreach=foreach))
    for name in ("Adadelta", "Adamax", "ASGD", "NAdam", "RAdam", "Rprop")
    for foreach in (False, True)
]
RUNS = [(lessons, *setting) for setting in SETTINGS + OURS]
RUNS += [
    (torch.optim, name, {**settings, "foreach": foreach})
    for name, settings in SETTINGS
    for foreach in (False, True)
]
RUNS += [(torch.optim, *setting) for setting in TORCHS]


class Net(nn.Module):
    """Parameters of every kind of shape: odd sizes, transposed, channels last, 0-d and empty."""

    def __init__(self, dtype=torch.float64, device="cpu"):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 5, 2).to(memory_format=torch.channels_last)
        self.norm = nn.BatchNorm1d(5)
        self.turned = nn.Parameter(torch.randn(7, 5).t())
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.empty = nn.Parameter(torch.empty(0, 3))
        self.void = nn.Parameter(torch.empty(0))
        self.to(device, dtype)

    def forward(self, x):
        x = self.norm(self.conv(x).amax((2, 3)))
        return (x @ self.turned).tanh() * self.scale + self.empty.sum() + self.void.sum()


def batch(step, model):
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(6, 3, 4, 4, generator=generator, dtype=torch.float64)
    return x.to(model.scale)


def train(model, optimizer, steps=12, first=0):
    for step in range(first, first + steps):
        optimizer.zero_grad()
        model(batch(step, model)).square().mean().backward()
        optimizer.step()


def make_flat(**kwargs):
    model = Net()
    flat = FlatParameters(model.named_parameters())
    return model, flat, lessons.AdamW([flat], lr=0.1, **kwargs)


def assert_same(model, other):
    mine, others = model.state_dict(), other.state_dict()
    assert list(mine) == list(others)
    for name in mine:
        assert torch.equal(mine[name], others[name]), name
        assert mine[name].stride() == others[name].stride(), name


def show(value):
    """Return a test's id."""
    if isinstance(value, dict):
        return ",".join(f"{key}={setting}" for key, setting in value.items()) or "plain"
    return getattr(value, "__name__", None)


@pytest.mark.parametrize(("package", "name", "settings"), RUNS, ids=show)
def test_training_is_the_same_to_the_last_bit(package, name, settings, dtype, device):
    plain, model = Net(dtype, device), Net(dtype, device)
    make = getattr(package, name)
    train(plain, make(plain.parameters(), lr=0.1, **settings))
    train(model, make([FlatParameters(model.parameters())], lr=0.1, **settings))
    assert_same(model, plain)
    assert not torch.equal(plain.turned, Net(dtype, device).turned)


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "Adam", "AdamW"])
def test_fused_is_the_same_up_to_rounding(name):
    plain, model = Net(), Net()
    make = getattr(torch.optim, name)
    train(plain, make(plain.parameters(), lr=0.1, fused=True))
    train(model, make([FlatParameters(model.parameters())], lr=0.1, fused=True))
    torch.testing.assert_close(model.state_dict(), plain.state_dict())


@pytest.mark.parametrize("package", [lessons, torch.optim])
def test_complex_parameters(package):
    ends = []
    for flat in (False, True):
        generator = torch.Generator().manual_seed(0)
        params = [
            nn.Parameter(torch.randn(n, generator=generator, dtype=torch.complex128))
            for n in (3, 5)
        ]
        optimizer = package.AdamW([FlatParameters(params)] if flat else params, lr=0.1)
        for _ in range(5):
            optimizer.zero_grad()
            sum((p - 1j).abs().pow(2).sum() for p in params).backward()
            optimizer.step()
        ends.append(torch.cat(params))
    assert torch.equal(*ends)


def test_lbfgs_and_its_closure():
    ends = []
    for flat in (False, True):
        params = [nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.tensor([3.0, 4.0]))]
        optimizer = torch.optim.LBFGS([FlatParameters(params)] if flat else params, lr=0.5)

        def closure(params=params, optimizer=optimizer):
            optimizer.zero_grad()
            loss = (params[0] - 1).square() + params[1].square().sum()
            loss.backward()
            return loss

        for _ in range(3):
            optimizer.step(closure)
        ends.append(torch.cat([p.reshape(-1) for p in params]))
    assert torch.equal(*ends)
    torch.testing.assert_close(ends[0], torch.tensor([1.0, 0.0, 0.0]), rtol=0, atol=1e-4)


def test_two_groups_with_settings_of_their_own():
    plain, model = Net(), Net()

    def groups(model, wrap):
        matrices = [p for p in model.parameters() if p.dim() > 1]
        others = [p for p in model.parameters() if p.dim() <= 1]
        return [
            {"params": wrap(matrices), "weight_decay": 0.5},
            {"params": wrap(others), "lr": 0.01},
        ]

    for net, wrap in ((plain, list), (model, lambda params: [FlatParameters(params)])):
        optimizer = lessons.AdamW(groups(net, wrap), lr=0.1)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3)
        for first in range(3):
            train(net, optimizer, steps=1, first=first)
            schedule.step()
    assert_same(model, plain)


# --- the model stays as it was -------------------------------------------------------------------


def test_the_model_keeps_its_parameters_and_its_state_dict():
    plain, model = Net(), Net()
    before = list(model.parameters())
    flat = FlatParameters(model.parameters())
    assert_same(model, plain)
    assert all(p is q for p, q in zip(model.parameters(), before, strict=True))
    assert all(type(p) is nn.Parameter and p.is_leaf for p in model.parameters())
    assert all(type(value) is torch.Tensor for value in model.state_dict().values())
    assert flat.parts == before
    assert isinstance(flat, nn.Parameter) and flat.requires_grad and flat.is_leaf
    assert flat.shape == flat.grad.shape == (sum(p.numel() for p in before),)


def test_the_buffer_holds_the_weights_in_their_order():
    params = [nn.Parameter(torch.tensor([1.0, 2.0])), nn.Parameter(torch.tensor([[3.0]]))]
    flat = FlatParameters(params)
    assert flat.tolist() == [1, 2, 3]
    with torch.no_grad():
        flat.mul_(2)
        params[0][0] = 7
    assert flat.tolist() == [7, 4, 6] and params[1].tolist() == [[6]]


def test_a_parameter_with_gaps_is_packed():
    part = nn.Parameter(torch.arange(6.0)[::2])
    flat = FlatParameters([part])
    assert part.tolist() == flat.tolist() == [0, 2, 4]


def test_loading_a_state_dict_reaches_the_buffer():
    model, _, optimizer = make_flat()
    trained = Net()
    train(trained, lessons.SGD(trained.parameters(), lr=0.1))
    file = io.BytesIO()
    torch.save(trained.state_dict(), file)
    file.seek(0)
    model.load_state_dict(torch.load(file))
    assert_same(model, trained)
    train(model, optimizer)
    train(trained, lessons.AdamW(trained.parameters(), lr=0.1))
    assert_same(model, trained)


def test_a_checkpoint_goes_on_as_if_nothing_had_happened():
    model, _, optimizer = make_flat()
    train(model, optimizer, steps=4)
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    train(model, optimizer, steps=4, first=4)
    other, _, resumed = make_flat()
    other.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    train(other, resumed, steps=4, first=4)
    assert_same(other, model)


def test_gradients_that_are_there_already_are_kept():
    model, plain = Net(), Net()
    for net in (model, plain):
        net(batch(0, net)).square().mean().backward()
    flat = FlatParameters(model.parameters())
    for mine, other in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(mine.grad, other.grad)
    lessons.SGD([flat], lr=0.1).step()
    lessons.SGD(plain.parameters(), lr=0.1).step()
    assert_same(model, plain)


# --- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("set_to_none", [True, False])
def test_zero_grad_sets_zeros_in_place(set_to_none):
    model, flat, optimizer = make_flat()
    train(model, optimizer, steps=1)
    gradient = flat.grad
    assert gradient.any()
    optimizer.zero_grad(set_to_none)
    assert flat.grad is gradient and not gradient.any()
    assert not any(p.grad.any() for p in model.parameters())


def test_gradients_add_up_until_zero_grad():
    model, flat, _ = make_flat()
    for _ in range(2):
        (3 * model.scale).backward()
    assert model.scale.grad == 6 and flat.grad.sum() == 6


def test_a_part_without_a_gradient_takes_a_step_of_gradient_zero():
    used, unused = (nn.Parameter(torch.ones(2)) for _ in range(2))
    flat = FlatParameters([("used", used), ("unused", unused)])
    assert flat.untouched() == ["used", "unused"]
    optimizer = lessons.AdamW([flat], lr=0.1, weight_decay=0.5)
    optimizer.zero_grad()
    (used[0] * 2).backward()
    assert flat.untouched() == ["unused"]
    optimizer.step()
    torch.testing.assert_close(used, torch.tensor([0.85, 0.95]))
    torch.testing.assert_close(unused, torch.tensor([0.95, 0.95]))  # the decay alone


def test_a_loss_on_the_buffer_itself_counts():
    model, flat, _ = make_flat()
    (model.scale * 3 + flat.square().sum()).backward()
    expected = 2 * flat.detach()
    assert model.scale.grad == 3 + 2 * model.scale
    assert (flat.grad != expected).sum() == 1
    assert torch.equal(model.turned.grad, 2 * model.turned)


def test_a_sparse_gradient_becomes_dense():
    table = nn.Embedding(4, 2, sparse=True)
    before = table.weight.detach().clone()
    optimizer = lessons.SGD([FlatParameters(table.parameters())], lr=1)
    table(torch.tensor([1, 1])).sum().backward()
    optimizer.step()
    assert not table.weight.grad.is_sparse
    assert torch.equal(
        before - table.weight, torch.tensor([[0.0] * 2, [2.0] * 2] + [[0.0] * 2] * 2)
    )


def test_gradients_may_be_changed_in_place():
    model, flat, _ = make_flat()
    model(batch(0, model)).square().mean().backward()
    total = nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    assert total > 0.1
    torch.testing.assert_close(flat.grad.norm().item(), 0.1, rtol=1e-4, atol=0)
    assert nn.utils.clip_grad_norm_([flat], 0.05).item() == pytest.approx(0.1, rel=1e-4)
    before = flat.grad.clone()
    flat.grad *= 2
    model.scale.grad *= 2
    model.scale.grad.data /= 2
    model.scale.data += 1
    assert torch.equal(flat.grad, 2 * before)
    flat.check()


def test_the_gradient_scaler_finds_the_gradients():
    model, flat, optimizer = make_flat()
    before = flat.detach().clone()
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for factor in (float("inf"), 1.0):
        optimizer.zero_grad()
        scaler.scale(model.scale * factor).backward()
        scaler.step(optimizer)
        scaler.update()
        assert torch.equal(before, flat) is (factor != 1)
    assert model.scale.grad == 1


# --- what the buffer could not follow is an error ---------------------------------------------------


def halve_outside(model):
    model.turned.grad = model.turned.grad / 2


def drop(model):
    model.scale.grad = None


def replace_data(model):
    model.turned.data = model.turned.data.clone()


def replace_data_of_a_gradient(model):
    model.turned.grad.data = model.turned.grad.data.clone()


REBOUND = {
    halve_outside: ".grad of parameter turned",
    drop: ".grad of parameter scale",
    replace_data: ".data of parameter turned",
    replace_data_of_a_gradient: ".grad of parameter turned",
    nn.Module.zero_grad: ".grad of parameter turned",
    nn.Module.float: ".data of parameter turned",
}


@pytest.mark.parametrize("package", [lessons, torch.optim])
@pytest.mark.parametrize("rebind", REBOUND, ids=show)
def test_a_step_refuses_a_part_that_was_rebound(rebind, package):
    model = Net()
    flat = FlatParameters(model.named_parameters())
    optimizer = package.AdamW([flat])
    model(batch(0, model)).square().mean().backward()
    with torch.no_grad():
        flat.grad.sum()  # to have looked before does not help
    rebind(model)
    message = re.escape(f"{REBOUND[rebind]} was made another tensor, as by model.")
    message += r"to\(\), and" if REBOUND[rebind].startswith(".data") else "zero_grad"
    before = flat.detach().clone()
    with pytest.raises(RuntimeError, match=message):
        optimizer.step()
    with pytest.raises(RuntimeError, match=message):
        optimizer.zero_grad()
    with pytest.raises(RuntimeError, match=message):
        flat.check()
    assert torch.equal(flat, before) and not optimizer.state


@pytest.mark.filterwarnings("ignore:Using backward")
def test_a_gradient_that_autograd_replaced_is_refused():
    model, flat, optimizer = make_flat()
    model(batch(0, model)).square().mean().backward(create_graph=True)
    with pytest.raises(RuntimeError, match=r"\.grad of parameter .*create_graph=True\), and"):
        optimizer.step()
    params = [nn.Parameter(torch.ones(2))]
    flat = FlatParameters(params)
    flat.sum().backward(create_graph=True)
    with pytest.raises(RuntimeError, match=r"\.grad of the buffer was made"):
        lessons.SGD([flat]).step()


def test_the_buffer_itself_may_not_be_replaced():
    _, flat, optimizer = make_flat()
    with pytest.raises(RuntimeError, match="write it with copy_"):
        flat.grad = torch.ones_like(flat)
    flat.check()
    flat.data = flat.data.clone()
    with pytest.raises(RuntimeError, match=r"\.data of the buffer"):
        optimizer.step()


def test_of_many_parts_each_is_checked_in_its_turn():
    params = [nn.Parameter(torch.ones(1)) for _ in range(3 * CHECKED_AT_ONCE - 5)]
    flat = FlatParameters(params)
    for lost in (0, CHECKED_AT_ONCE - 1, CHECKED_AT_ONCE, len(params) - 1):
        params[lost].grad, kept = None, params[lost].grad
        with pytest.raises(RuntimeError, match=f"parameter {lost} "):
            for _ in range(3):
                _ = flat.grad
        params[lost].grad = kept
        flat.check()


def test_flattened_again_the_first_buffer_refuses():
    model, first, old = make_flat()
    second = FlatParameters(model.parameters())
    with pytest.raises(RuntimeError, match=r"\.data of parameter"):
        old.step()
    second.check()
    assert torch.equal(first, second)


def plain():
    return nn.Parameter(torch.ones(2, 3))


def tied():
    weight = plain()
    return [weight, nn.Parameter(weight.detach().t())]


REFUSED = {
    "none": (list, ValueError, "got no parameters"),
    "frozen": (
        lambda: [plain(), plain().requires_grad_(False)],
        ValueError,
        "parameter 1 is not trained",
    ),
    "no leaf": (lambda: [plain(), plain() * 2], ValueError, "parameter 1 is not trained"),
    "twice": (lambda: [("w", plain())] * 2, ValueError, "parameters w and w share memory"),
    "tied": (tied, ValueError, "parameters 0 and 1 share memory"),
    "two dtypes": (
        lambda: [("a", plain()), ("b", nn.Parameter(torch.ones(2).double()))],
        ValueError,
        "parameter b is torch.float64 on cpu, but parameter a is torch.float32 on cpu",
    ),
    "two devices": (
        lambda: [plain(), nn.Parameter(torch.ones(2, device="meta"))],
        ValueError,
        "parameter 1 is torch.float32 on meta",
    ),
    "groups": (lambda: [{"params": [plain()]}], TypeError, "0 is dict; parameter groups"),
    "flat": (lambda: [FlatParameters([plain()])], TypeError, "0 is FlatParameters"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_a_part_is_refused_by_name(case):
    params, error, message = REFUSED[case]
    params = params()
    before = [p.data_ptr() for p in params if type(p) is nn.Parameter]
    with pytest.raises(error, match=message):
        FlatParameters(params)
    assert [p.data_ptr() for p in params if type(p) is nn.Parameter] == before


# --- copies ----------------------------------------------------------------------------------------


def test_a_copy_of_the_model_alone_is_not_flat():
    model, flat, optimizer = make_flat()
    train(model, optimizer, steps=2)
    twin = copy.deepcopy(model)
    assert_same(twin, model)
    assert all(p.grad is None for p in twin.parameters())
    before = flat.detach().clone()
    train(twin, lessons.SGD(twin.parameters(), lr=0.1))
    assert torch.equal(flat, before)


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda all: pickle.loads(pickle.dumps(all))]
)
def test_a_copy_with_its_flat_parameters_is_flat_on_its_own(duplicate):
    model, flat, optimizer = make_flat()
    train(model, optimizer, steps=2)
    other, its_flat, its_optimizer = duplicate((model, flat, optimizer))
    assert type(its_flat) is FlatParameters and its_flat.names == flat.names
    assert all(p is q for p, q in zip(its_flat.parts, other.parameters(), strict=True))
    assert its_optimizer.param_groups[0]["params"][0] is its_flat
    before = flat.detach().clone()
    train(other, its_optimizer, steps=2, first=2)
    assert torch.equal(flat, before)
    train(model, optimizer, steps=2, first=2)
    assert_same(model, other)


# --- what is no list of parameters ------------------------------------------------------------------


class Tree(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)


NO_LIST = {
    "parameter": lambda: plain(),
    "tensor": lambda: torch.ones(3),
    "flat": lambda: FlatParameters([plain()]),
    "set": lambda: {plain(), plain()},
    "frozen set": lambda: frozenset([plain()]),
    "dict": lambda: {"w": plain()},
    "state dict": lambda: Tree().state_dict(),
    "model": Tree,
    "model in a row": lambda: nn.Sequential(nn.Linear(2, 1), nn.Tanh()),
    "dict of parameters": lambda: nn.ParameterDict({"w": plain()}),
    "text": lambda: "model.parameters()",
    "number": lambda: 3,
    "none": lambda: None,
}
NO_ENTRIES = {
    "numbers": lambda: iter([1, 2]),
    "models": lambda: [nn.Linear(2, 1)],
    "arrays": lambda: [plain().detach().numpy()],
    "a method": lambda: [Tree().parameters],
    "lists": lambda: [[plain()]],
    "names": lambda: ["w"],
    "turned pair": lambda: [(plain(), "w")],
    "triple": lambda: [("w", plain(), 1)],
    "pair of parameters": lambda: [(plain(), plain())],
    "late": lambda: (entry for entry in [plain(), plain(), None]),
}


@pytest.mark.parametrize("case", NO_LIST)
def test_what_is_no_list_of_parameters_is_refused_as_torch_does(case):
    params = NO_LIST[case]()
    for cls in (torch.optim.SGD, lessons.SGD):
        if "set" not in case:  # torch refuses them in a group alone
            with pytest.raises(TypeError):
                cls(params)
    with pytest.raises(TypeError) as error:
        FlatParameters(params)
    message = str(error.value)
    assert message == (
        "params must be a list of parameters, such as model.parameters(), but got "
        f"{torch.typename(params)}{'; a set has no order' * ('set' in case)}"
    )


@pytest.mark.parametrize("case", NO_ENTRIES)
def test_what_is_no_parameter_is_refused_by_its_place(case):
    params = NO_ENTRIES[case]()
    with pytest.raises(TypeError, match=f"but {2 if case == 'late' else 0} is"):
        FlatParameters(params)


def test_a_generator_that_fails_late_leaves_the_first_alone():
    param = plain()
    place = param.data_ptr()
    with pytest.raises(TypeError, match="but 1 is NoneType"):
        FlatParameters(entry for entry in [param, None])
    assert param.data_ptr() == place and param.grad is None


def test_every_ordered_collection_is_taken():
    for kind in (
        list,
        tuple,
        iter,
        nn.ParameterList,
        lambda ps: {"a": ps[0], "b": ps[1]}.values(),
    ):
        params = [plain(), plain()]
        assert FlatParameters(kind(params)).parts == params


def test_a_sparse_parameter_is_refused():
    param = nn.Parameter(torch.eye(2).to_sparse())
    with pytest.raises(ValueError, match="parameter 1 is sparse"):
        FlatParameters([plain(), param])


def test_a_sparse_gradient_that_is_there_already_is_kept():
    params = [plain(), nn.Parameter(torch.ones(2, 2))]
    params[1].grad = torch.eye(2).to_sparse()
    assert FlatParameters(params).grad.tolist() == [0] * 6 + [1, 0, 0, 1]


# --- views of one memory ----------------------------------------------------------------------------


def views(*cuts):
    base = torch.arange(24.0).view(4, 6)
    return [nn.Parameter(cut(base)) for cut in cuts]


def numpys():
    """Two tensors that know nothing of each other, on one array of NumPy."""
    array = torch.arange(6.0).numpy()
    return [nn.Parameter(torch.from_numpy(part)) for part in (array[:4], array[3:])]


OVERLAP = {
    "all and its end": lambda: views(lambda b: b, lambda b: b[3:]),
    "end and all": lambda: views(lambda b: b[3:], lambda b: b),
    "rows": lambda: views(lambda b: b[:2], lambda b: b[1:]),
    "a column in it": lambda: views(lambda b: b[:, 3], lambda b: b),
    "columns": lambda: views(lambda b: b[:, :3], lambda b: b[:, 2:]),
    "a long one over two": lambda: views(
        lambda b: b, lambda b: b[0, :1], lambda b: b[3, 5:]
    ),
    "the last of a long one": lambda: views(
        lambda b: b[:, 0], lambda b: b[0, 1], lambda b: b[2, 0]
    ),
    "numpy": numpys,
}
APART = {
    "rows": lambda: views(lambda b: b[:2], lambda b: b[2:]),
    "columns": lambda: views(lambda b: b[:, :3], lambda b: b[:, 3:]),
    "every second": lambda: views(
        lambda b: b[::2, ::2], lambda b: b[1::2], lambda b: b[::2, 1::2]
    ),
    "nothing": lambda: views(lambda b: b[::2, :0], lambda b: b[:0, :1], lambda b: b),
}


@pytest.mark.parametrize("case", OVERLAP)
def test_overlapping_views_are_refused(case):
    params = OVERLAP[case]()
    before = [(p.data_ptr(), p.tolist()) for p in params]
    with pytest.raises(ValueError, match=r"parameters \d and \d share memory"):
        FlatParameters(params)
    assert [(p.data_ptr(), p.tolist()) for p in params] == before
    assert all(p.grad is None for p in params)


@pytest.mark.parametrize("case", APART)
def test_views_without_a_weight_in_common_are_taken(case):
    params = APART[case]()
    values = [p.flatten().tolist() for p in params]
    with torch.device("meta"):  # where others' tensors come to be does not matter
        flat = FlatParameters(params)
    assert flat.tolist() == [w for part in values for w in part]


def test_an_expanded_parameter_is_refused():
    for value in (torch.ones(1, 3).expand(2, 3), torch.ones(4).as_strided((2, 3), (1, 1))):
        with pytest.raises(ValueError, match="weights of parameter b share memory"):
            FlatParameters([("a", plain()), ("b", nn.Parameter(value))])


# --- compiled ---------------------------------------------------------------------------------------


@pytest.fixture
def fresh_dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.filterwarnings("default")  # torch's compiler warns of itself
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_works_in_a_compiled_loop(backend, fresh_dynamo):
    """SGD's arithmetic stays the same when it is compiled, so the weights do to the last bit."""
    ends = []
    for compiled in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        flat = FlatParameters(model.named_parameters())
        optimizer = lessons.SGD([flat], lr=0.1, momentum=0.9)

        def step(x, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        if compiled:
            step = torch.compile(step, backend=backend)
        for i in range(4):
            step(torch.arange(6.0).view(2, 3) + i)
        flat.check()
        ends.append(flat.detach().clone())
    assert torch.equal(*ends)
    model[2].bias.grad = model[2].bias.grad.clone()
    with pytest.raises(RuntimeError, match=r"\.grad of parameter 2\.bias was made another"):
        step(torch.ones(2, 3))
    assert torch.equal(flat, ends[1])


@pytest.mark.filterwarnings("default")
def test_a_compiled_step(fresh_dynamo):
    ends = []
    for compiled in (False, True):
        model = nn.Sequential(nn.Linear(2, 1))
        nn.init.ones_(model[0].weight)
        nn.init.zeros_(model[0].bias)
        optimizer = lessons.SGD([FlatParameters(model.parameters())], lr=0.1)
        step = (
            torch.compile(optimizer.step, backend="eager") if compiled else optimizer.step
        )
        for i in range(3):
            optimizer.zero_grad()
            model(torch.ones(1, 2) + i).square().mean().backward()
            step()
        ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*ends)
