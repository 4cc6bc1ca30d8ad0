"""Complex parameters and sparse gradients: as in torch, or refused before anything changes."""

import copy

import pytest
import torch
from parity import NAMES, assert_equal, product, show

import lessons
from lessons.optim.base import add_quotient_, add_square_

STEPS = 50
COMPLEX = [torch.complex64, torch.complex128]
SETTINGS = {
    "SGD": product(momentum=[0, 0.9], weight_decay=[0, 0.1], maximize=[False, True]),
    "Adagrad": product(
        initial_accumulator_value=[0, 0.5], lr_decay=[0, 0.1], maximize=[False, True]
    ),
    "Adam": product(amsgrad=[False, True], maximize=[False, True]),
    "AdamW": product(amsgrad=[False, True], weight_decay=[0, 0.1]),
    "RMSprop": product(centered=[False, True], momentum=[0, 0.9]),
}
EVERY = [(name, settings) for name in NAMES for settings in SETTINGS[name]]
L1 = [dict(l1=0.1, l1_method=method) for method in ("subgradient", "prox", "cumulative")]


def ids(value):
    return show(value) if isinstance(value, dict) else None


def both(make_params, make_grad, name, settings, **only_torch) -> list:
    """Return ours and torch's optimizer after 50 equal steps; ``make_grad(param)`` draws a gradient."""
    ends = []
    for package in (lessons, torch.optim):
        torch.manual_seed(0)
        params = make_params()
        own = only_torch if package is torch.optim else {}
        optimizer = getattr(package, name)(params, **{"lr": 0.01, **settings}, **own)
        for _ in range(STEPS):
            for param in params:
                param.grad = make_grad(param)
            optimizer.step()
        ends.append(optimizer)
    return ends


def assert_refused(optimizer, match):
    """Raise unless the next step fails and leaves the parameters and the state as they were."""
    params = optimizer.param_groups[0]["params"]
    before = copy.deepcopy((params, optimizer.state_dict()))
    with pytest.raises(RuntimeError, match=match):
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(params, before[0], strict=True))
    assert str(optimizer.state_dict()) == str(before[1])


# --- complex parameters -----------------------------------------------------------------------------


def complex_params(dtype):
    """Return a transposed parameter, a 0-d one, a long and an empty one."""
    values = [torch.randn(5, 7, dtype=dtype).t(), torch.randn((), dtype=dtype)]
    values += [torch.randn(37, dtype=dtype), torch.randn(0, 3, dtype=dtype)]
    return [torch.nn.Parameter(value) for value in values]


@pytest.mark.parametrize("dtype", COMPLEX, ids=str)
@pytest.mark.parametrize("name, settings", EVERY, ids=ids)
def test_complex_equals_torch_to_the_last_bit(name, settings, dtype):
    ours, theirs = both(lambda: complex_params(dtype), torch.randn_like, name, settings)
    assert_equal(ours, theirs)
    for state in ours.state.values():
        assert all(value.dtype == dtype for key, value in state.items() if key != "step")


@pytest.mark.parametrize("dtype", COMPLEX, ids=str)
@pytest.mark.parametrize("name", ["Adagrad", "Adam", "RMSprop"])
def test_complex_with_l2_rounds_like_one_of_torchs_two_paths(name, dtype):
    """torch adds λ·w to the gradient before it takes the real view (foreach=False) or after (foreach=True).

    The sum of complex numbers rounds twice where that of real ones is one fused multiply-add, so torch's two
    paths differ in the last bit. Ours takes the view first: equal to the second, near the first.
    """
    for foreach in (True, False):
        ours, theirs = both(
            lambda: complex_params(dtype),
            torch.randn_like,
            name,
            dict(weight_decay=0.1),
            foreach=foreach,
        )
        if foreach:
            assert_equal(ours, theirs)
        else:
            for a, b in zip(ours.state, theirs.state, strict=True):
                eps = torch.finfo(dtype).eps
                torch.testing.assert_close(a, b, rtol=STEPS * eps, atol=STEPS * eps)


@pytest.mark.parametrize("name", NAMES)
def test_complex_is_pairs_of_reals(name):
    torch.manual_seed(0)
    whole = torch.nn.Parameter(torch.randn(5, dtype=torch.complex128))
    pairs = torch.nn.Parameter(torch.view_as_real(whole.detach()).clone())
    optimizers = [getattr(lessons, name)([param], lr=0.1) for param in (whole, pairs)]
    for _ in range(20):
        whole.grad = torch.randn_like(whole)
        pairs.grad = torch.view_as_real(whole.grad).clone()
        for optimizer in optimizers:
            optimizer.step()
    # SGD alone stays in complex arithmetic, which fuses no multiply-add.
    close = dict(rtol=1e-14, atol=1e-14) if name == "SGD" else dict(rtol=0, atol=0)
    torch.testing.assert_close(torch.view_as_real(whole.detach()), pairs.detach(), **close)


@pytest.mark.parametrize("name", NAMES)
def test_a_lazily_conjugated_gradient(name):
    ends = []
    for resolve in (False, True):
        param = torch.nn.Parameter(torch.tensor([1 + 2j, -0.5j]))
        param.grad = torch.tensor([0.3 + 1j, 2 - 1j]).conj()
        assert param.grad.is_conj()
        if resolve:
            param.grad = param.grad.resolve_conj()
        getattr(lessons, name)([param], lr=0.1).step()
        ends.append(param.detach())
    assert torch.equal(*ends)


@pytest.mark.parametrize("name", NAMES)
def test_a_complex_checkpoint_moves_from_torch(name):
    torch.manual_seed(0)
    params = complex_params(torch.complex64)
    grads = [[torch.randn_like(param) for param in params] for _ in range(20)]
    settings = SETTINGS[name][-1]

    def train(optimizer, grads):
        for row in grads:
            for param, grad in zip(optimizer.param_groups[0]["params"], row, strict=True):
                param.grad = grad
            optimizer.step()
        return optimizer

    whole = getattr(torch.optim, name)(copy.deepcopy(params), **settings)
    part = train(getattr(torch.optim, name)(params, **settings), grads[:10])
    ours = getattr(lessons, name)(params)
    ours.load_state_dict(part.state_dict())
    assert_equal(train(ours, grads[10:]), train(whole, grads))


@pytest.mark.parametrize("l1", L1, ids=ids)
def test_l1_of_a_complex_parameter_is_refused(l1):
    real, param = (torch.nn.Parameter(torch.ones(2, dtype=d)) for d in (None, COMPLEX[0]))
    optimizer = lessons.SGD([real, param], lr=0.1, momentum=0.9, **l1)
    real.grad, param.grad = torch.ones_like(real), torch.ones_like(param)
    assert_refused(optimizer, "l1 is not compatible with complex parameters")


@pytest.mark.parametrize("l1", [0.1, torch.tensor([0.1])])
@pytest.mark.parametrize("name", ["Adagrad", "Adam", "AdamW", "FTRLProximal"])
def test_l1_of_a_complex_parameter_is_refused_by_all(name, l1):
    real, param = (torch.nn.Parameter(torch.ones(2, dtype=d)) for d in (None, COMPLEX[0]))
    optimizer = getattr(lessons, name)([real, param], l1=l1)
    real.grad, param.grad = torch.ones_like(real), torch.ones_like(param)
    assert_refused(optimizer, "l1 is not compatible with complex parameters")


@pytest.mark.parametrize("l2", [0, 0.3])
def test_ftrl_of_a_complex_parameter_is_that_of_pairs(l2):
    torch.manual_seed(0)
    whole = torch.nn.Parameter(torch.randn(5, 2, dtype=torch.complex128).t())
    pairs = torch.nn.Parameter(torch.view_as_real(whole.detach()).clone())
    one, two = (lessons.FTRLProximal([p], lr=0.3, l2=l2) for p in (whole, pairs))
    for t in range(10):
        for optimizer in (one, two):
            optimizer.param_groups[0]["lr"] = 0.3 / (1 + t)
        whole.grad = torch.randn_like(whole)
        pairs.grad = torch.view_as_real(whole.grad).clone()
        one.step()
        two.step()
        one.load_state_dict(copy.deepcopy(one.state_dict()))
    assert torch.equal(torch.view_as_real(whole.detach()), pairs.detach())
    assert one.state[whole]["z"].dtype == one.state[whole]["n"].dtype == whole.dtype


# --- sparse gradients -------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def quiet():
    """torch.optim.Adagrad warns that it does not say whether its sparse tensors are to be checked."""
    with torch.sparse.check_sparse_tensor_invariants(False):
        yield


def sparse_grad(param):
    """Return a gradient as an embedding's: rows by their index, some of them more than once."""
    rows = torch.randint(len(param), (1, 10))
    return torch.sparse_coo_tensor(rows, torch.randn(10, *param.shape[1:]), param.shape)


def table():
    return [torch.nn.Parameter(torch.randn(20, 3)), torch.nn.Parameter(torch.randn(8))]


SPARSE = [
    *product(momentum=[0, 0.9], dampening=[0, 0.3], maximize=[False, True]),
    dict(momentum=0.9, nesterov=True),
]


@pytest.mark.parametrize(
    "name, settings",
    [
        *[("SGD", settings) for settings in SPARSE],
        *[("Adagrad", settings) for settings in SETTINGS["Adagrad"]],
    ],
    ids=ids,
)
def test_sparse_equals_torch_to_the_last_bit(name, settings):
    ours, theirs = both(table, sparse_grad, name, settings)
    assert not sparse_grad(ours.param_groups[0]["params"][0]).is_coalesced()
    for a, b in zip(*(o.param_groups[0]["params"] for o in (ours, theirs)), strict=True):
        assert torch.equal(a, b)
        mine, other = ours.state[a], theirs.state[b]
        assert mine.keys() == other.keys()
        for key in mine:
            assert mine[key].layout == other[key].layout
            assert torch.equal(mine[key].to_dense(), other[key].to_dense())


@pytest.mark.parametrize("name", ["SGD", "Adagrad"])
def test_an_embedding_trains_like_its_dense_twin(name):
    ends = []
    for sparse in (True, False):
        torch.manual_seed(0)
        model = torch.nn.Embedding(20, 3, sparse=sparse, dtype=torch.float64)
        optimizer = getattr(lessons, name)(model.parameters(), lr=0.1)
        for _ in range(20):
            optimizer.zero_grad()
            model(torch.randint(20, (10,))).square().sum().backward()
            assert model.weight.grad.is_sparse == sparse
            optimizer.step()
        ends.append(model.weight.detach())
    torch.testing.assert_close(*ends, rtol=1e-13, atol=1e-13)  # sums in another order


def test_sparse_and_complex_is_plain_arithmetic_for_sgd():
    def grad(param):
        rows = torch.randint(len(param), (1, 10))
        values = torch.randn(10, dtype=param.dtype)
        return torch.sparse_coo_tensor(rows, values, param.shape)

    def params():
        return [torch.nn.Parameter(torch.randn(8, dtype=torch.complex64))]

    ours, theirs = both(params, grad, "SGD", {})
    assert torch.equal(*(o.param_groups[0]["params"][0] for o in (ours, theirs)))
    param = params()[0]
    param.grad = grad(param)
    assert_refused(
        lessons.Adagrad([param]), "Adagrad takes no gradients that are sparse and"
    )


@pytest.mark.parametrize("name", ["Adam", "AdamW", "RMSprop"])
def test_sparse_is_refused_in_torchs_words(name):
    dense, param = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(20))
    dense.grad, param.grad = torch.ones(2), sparse_grad(param)
    with pytest.raises(RuntimeError) as theirs:
        getattr(torch.optim, name)([dense, param]).step()
    ours = getattr(lessons, name)([dense, param])
    assert_refused(ours, f"^{theirs.value}$")


def test_ftrl_refuses_sparse():
    param = torch.nn.Parameter(torch.ones(20))
    param.grad = sparse_grad(param)
    words = "^the rule does not support sparse gradients$"
    assert_refused(lessons.FTRLProximal([param]), words)


def test_a_factor_scales_a_sparse_term():
    """At the entries; the rule that takes them today has only a factor of 1."""
    y = torch.tensor([0.0, 2.0, 0.0, -3.0]).to_sparse()
    x = torch.ones(4)
    assert add_square_(x, y, 0.5).tolist() == [3.0, 5.5]
    assert x.tolist() == [1.0, 3.0, 1.0, 5.5]
    add_quotient_(x, y, torch.tensor([2.0, 3.0]), -0.5)
    assert x.tolist() == [1.0, 2.5, 1.0, 6.0]


@pytest.mark.parametrize("weight_decay", [0.1, torch.tensor([0.1])])
@pytest.mark.parametrize("name", ["SGD", "Adagrad"])
def test_sparse_with_weight_decay_is_refused(name, weight_decay):
    dense, param = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(20))
    dense.grad, param.grad = torch.ones(2), sparse_grad(param)
    optimizer = getattr(lessons, name)([dense, param], weight_decay=weight_decay)
    words = "weight_decay option is not compatible with sparse gradients"
    assert_refused(optimizer, f"^{words}$")
    if name == "Adagrad":
        with pytest.raises(RuntimeError, match=f"^{words}$"):
            torch.optim.Adagrad([param], weight_decay=0.1).step()


@pytest.mark.parametrize("l1", [0.1, torch.tensor([0.1])])
def test_adagrad_refuses_sparse_with_l1(l1):
    dense, param = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(20))
    dense.grad, param.grad = torch.ones(2), sparse_grad(param)
    optimizer = lessons.Adagrad([dense, param], l1=l1)
    assert_refused(optimizer, "^l1 is not compatible with sparse gradients in Adagrad$")


def test_sparse_with_an_l1_of_0_takes_the_subgradient():
    param = torch.nn.Parameter(torch.ones(20))
    param.grad = sparse_grad(param)
    expected = 1 - 0.1 * param.grad.to_dense()
    lessons.SGD([param], lr=0.1, l1=0, l1_method="subgradient").step()
    torch.testing.assert_close(param.detach(), expected)


@pytest.mark.parametrize("momentum", [0, 0.9])
@pytest.mark.parametrize("l1", L1, ids=ids)
def test_sparse_with_l1(l1, momentum):
    """The steps after the gradient's act on all weights; the subgradient would make the gradient dense."""
    if l1["l1_method"] == "subgradient":
        param = table()[0]
        param.grad = sparse_grad(param)
        optimizer = lessons.SGD([param], momentum=momentum, **l1)
        assert_refused(optimizer, "'subgradient' is not compatible with sparse grad")
        return
    ends = []
    for dense in (False, True):
        torch.manual_seed(0)
        param = torch.nn.Parameter(torch.randn(20, 3))
        optimizer = lessons.SGD([param], lr=0.01, momentum=momentum, **l1)
        for _ in range(50):
            grad = sparse_grad(param)
            param.grad = grad.to_dense() if dense else grad
            optimizer.step()
        ends.append(param.detach())
    torch.testing.assert_close(*ends, rtol=1e-4, atol=1e-5)
    assert torch.equal(ends[0] == 0, ends[1] == 0)
