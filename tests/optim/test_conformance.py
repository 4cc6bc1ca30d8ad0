"""The optimizers beside what torch offers around an optimizer, for real: schedulers, scalers, DDP, ….

Every test trains a small network twice, with ours and with torch's optimizer of the same name, and wants the
weights equal to the last bit.
"""

import copy
import functools
import inspect
import math

import pytest
import torch
import torch.distributed as dist
from parity import NAMES
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import lr_scheduler, swa_utils

import lessons

FULL = {
    "SGD": dict(lr=0.05, momentum=0.9, weight_decay=0.01),
    "Adagrad": dict(lr=0.05, lr_decay=0.01, weight_decay=0.01),
    "Adam": dict(lr=0.01, weight_decay=0.01, amsgrad=True),
    "AdamW": dict(lr=0.01, weight_decay=0.1, amsgrad=True),
    "RMSprop": dict(lr=0.01, weight_decay=0.01, momentum=0.9, centered=True),
}
STEPS = 8
every = pytest.mark.parametrize("name", NAMES)


def make_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))


def batches(steps=STEPS):
    """Yield pairs of inputs and targets, the same on every call."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randn(16, 4, generator=generator)
        yield x, x.sum(dim=1, keepdim=True).sin()


def loss_of(model, x, y):
    return (model(x).float() - y).square().mean()


def assert_same(name, run) -> None:
    """Raise unless ``run`` gives the same with ours and with torch's optimizer.

    Args:
        run: a function of (model, make), where ``make(params, **settings)`` builds the optimizer. It trains
            the model; what it returns is compared too.
    """
    weights, returned = [], []
    for package in (lessons, torch.optim):
        make = functools.partial(getattr(package, name), **FULL[name])
        model = make_model()
        returned.append(run(model, make))
        weights.append(list(model.parameters()))
    assert returned[0] == returned[1]
    for a, b, start in zip(*weights, make_model().parameters(), strict=True):
        assert torch.isfinite(b).all() and not torch.equal(b, start)
        assert torch.equal(a, b)


def plain(model, optimizer, steps=STEPS):
    for x, y in batches(steps):
        optimizer.zero_grad()
        loss_of(model, x, y).backward()
        optimizer.step()


# --- schedulers -------------------------------------------------------------------------------------

SCHEDULERS = {
    "ChainedScheduler": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(o, 0.5, 3), lr_scheduler.ExponentialLR(o, 0.9)]
    ),
    "ConstantLR": lambda o: lr_scheduler.ConstantLR(o, factor=0.5, total_iters=3),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=STEPS),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(
        o, 0.001, 0.05, step_size_up=3, cycle_momentum=has_momentum(o)
    ),
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, gamma=0.8),
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 1 / (1 + epoch)),
    "LinearLR": lambda o: lr_scheduler.LinearLR(o, start_factor=0.1, total_iters=4),
    "MultiStepLR": lambda o: lr_scheduler.MultiStepLR(o, milestones=[2, 5]),
    "MultiplicativeLR": lambda o: lr_scheduler.MultiplicativeLR(o, lambda epoch: 0.7),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(
        o, max_lr=0.05, total_steps=STEPS + 1, cycle_momentum=has_momentum(o)
    ),
    "PolynomialLR": lambda o: lr_scheduler.PolynomialLR(o, total_iters=5, power=2),
    "ReduceLROnPlateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=1),
    "SequentialLR": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, 0.1), lr_scheduler.StepLR(o, 2)], milestones=[3]
    ),
    "StepLR": lambda o: lr_scheduler.StepLR(o, step_size=2, gamma=0.3),
    "SWALR": lambda o: swa_utils.SWALR(o, swa_lr=0.02, anneal_epochs=4),
}


def has_momentum(optimizer) -> bool:
    return bool({"momentum", "betas"} & optimizer.defaults.keys())


def test_every_scheduler_of_torch_is_tried():
    known = {
        name
        for module in (lr_scheduler, swa_utils)
        for name, cls in vars(module).items()
        if inspect.isclass(cls)
        and issubclass(cls, lr_scheduler.LRScheduler)
        and cls.__name__ == name  # not an alias
    }
    assert known - {"LRScheduler", "_LRScheduler"} == set(SCHEDULERS)


@every
@pytest.mark.parametrize("tensor", [False, True], ids=["number", "tensor"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_scheduler(name, scheduler, tensor):
    def run(model, make):
        lr = FULL[name]["lr"]
        optimizer = make(model.parameters(), lr=torch.tensor(lr) if tensor else lr)
        rule, rates = SCHEDULERS[scheduler](optimizer), []
        for x, y in batches():
            optimizer.zero_grad()
            loss_of(model, x, y).backward()
            optimizer.step()
            if scheduler == "ReduceLROnPlateau":
                rule.step(1.0)  # a loss that never falls
            else:
                rule.step()
            group = optimizer.param_groups[0]
            settings = [group.get(k) for k in ("momentum", "betas")]
            rates.append((float(group["lr"]), settings))
        assert len({lr for lr, _ in rates}) > 1  # it did something
        return rates

    assert_same(name, run)


# --- around one step --------------------------------------------------------------------------------


@every
def test_hooks(name):
    """A hook before the step may change its arguments; one after it sees the new weights."""

    def run(model, make):
        optimizer, seen = make(model.parameters()), []

        def before(optimizer, args, kwargs):
            seen.append(("before", model[0].weight.sum().item(), len(args), *kwargs))
            return (optimizer, lambda: "replaced"), {}

        def after(optimizer, args, kwargs):
            seen.append(("after", model[0].weight.sum().item(), len(args), *kwargs))

        handle = optimizer.register_step_pre_hook(before)
        optimizer.register_step_post_hook(after)
        for x, y in batches():
            optimizer.zero_grad()
            loss_of(model, x, y).backward()
            seen.append(optimizer.step())
        handle.remove()
        seen.append(optimizer.step())
        assert seen[2] == "replaced" and seen[-1] is None and len(seen) == 3 * STEPS + 2
        return seen

    assert_same(name, run)


@every
def test_checkpoint_hooks(name):
    def run(model, make):
        optimizer = make(model.parameters())
        optimizer.register_state_dict_post_hook(lambda o, d: d | {"note": "mine"})
        optimizer.register_load_state_dict_pre_hook(
            lambda o, d: (
                d | {"param_groups": [{**g, "lr": 0.03} for g in d["param_groups"]]}
            )
        )
        plain(model, optimizer)
        saved = optimizer.state_dict()
        assert saved["note"] == "mine"
        optimizer.load_state_dict(saved)
        plain(model, optimizer)
        return optimizer.param_groups[0]["lr"]

    assert_same(name, run)


@every
def test_closure(name):
    def run(model, make):
        optimizer, losses = make(model.parameters()), []
        for x, y in batches():

            def closure(x=x, y=y):
                optimizer.zero_grad()
                loss = loss_of(model, x, y)
                loss.backward()
                return loss

            losses.append(optimizer.step(closure).item())
        return losses

    assert_same(name, run)


@every
def test_clipped_gradients(name):
    def run(model, make):
        optimizer, norms = make(model.parameters()), []
        for x, y in batches():
            optimizer.zero_grad()
            (100 * loss_of(model, x, y)).backward()
            norms.append(nn.utils.clip_grad_norm_(model.parameters(), 1.0).item())
            optimizer.step()
        assert max(norms) > 1
        return norms

    assert_same(name, run)


@every
def test_autocast(name):
    def run(model, make):
        optimizer = make(model.parameters())
        for x, y in batches():
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                assert model(x).dtype == torch.bfloat16
                loss = loss_of(model, x, y)
            loss.backward()
            optimizer.step()

    assert_same(name, run)


@every
def test_grad_scaler(name):
    """The scaler divides the gradients before the step, and leaves the step out where one is infinite."""

    def run(model, make):
        optimizer, scales = make(model.parameters()), []
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2)
        for step, (x, y) in enumerate(batches()):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = loss_of(model, x, y)
            scaler.scale(loss).backward()
            before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
            if step == 3:
                model[0].weight.grad[0, 0] = math.inf
            if step > 4:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            scaler.step(optimizer)
            scaler.update()
            scales.append(scaler.get_scale())
            same = str(before) == str((model.state_dict(), optimizer.state_dict()))
            assert same == (step == 3)
        assert scales[3] == scales[2] / 2 and max(scales) > 2.0**10
        return scales

    assert_same(name, run)


# --- groups and checkpoints -------------------------------------------------------------------------


@every
def test_a_group_added_in_mid_training(name):
    def run(model, make):
        optimizer = make(model[0].parameters())
        plain(model, optimizer)
        optimizer.add_param_group({"params": list(model[2].parameters()), "lr": 0.02})
        plain(model, optimizer)
        return [group["lr"] for group in optimizer.param_groups]

    assert_same(name, run)


@every
def test_named_parameters(name):
    def run(model, make):
        optimizer = make(model.named_parameters())
        plain(model, optimizer)
        saved = optimizer.state_dict()
        assert saved["param_groups"][0]["param_names"][0] == "0.weight"
        again = make(model.named_parameters())
        again.load_state_dict(saved)
        plain(model, again)
        return again.param_groups[0]["param_names"]

    assert_same(name, run)


@every
def test_a_file_of_weights_only(name, tmp_path):
    def run(model, make):
        optimizer = make(model.parameters())
        plain(model, optimizer)
        everything = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(everything, tmp_path / "file.pt")
        for param in model.parameters():
            nn.init.zeros_(param)
        loaded = torch.load(tmp_path / "file.pt", weights_only=True)
        model.load_state_dict(loaded["model"])
        again = make(model.parameters(), lr=1.0)
        again.load_state_dict(loaded["optimizer"])
        plain(model, again)

    assert_same(name, run)


# --- compiled models --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compiled():
    """One network for all tests, and itself compiled.

    The optimizer sees what Dynamo and AOTAutograd make of the network: its parameters and their gradients.
    The last stage, C++ for single operations, is left out: it takes a minute and changes neither.
    """
    model = make_model()
    return model, torch.compile(model, backend="aot_eager")


@pytest.mark.filterwarnings("default")  # torch's compiler warns of itself
@every
def test_compiled_model(name, compiled):
    model, fast = compiled

    def run(fresh, make):
        model.load_state_dict(fresh.state_dict())
        plain(fast, make(fast.parameters()))
        fresh.load_state_dict(model.state_dict())

    assert_same(name, run)


# --- several processes ------------------------------------------------------------------------------


def halves(model, x, y):
    """Return the loss as two processes see it, each with its half of the batch."""
    parts = zip(x.chunk(2), y.chunk(2), strict=True)
    return sum(loss_of(model, *part) for part in parts) / 2


def train_distributed(rank: int, folder: str) -> None:
    """Be one of two processes: train with each optimizer by DDP and by ZeRO, and save the weights."""
    # Here, since torch warns of itself on this import, and warnings are errors in a test.
    from torch.distributed.optim import ZeroRedundancyOptimizer

    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    ends = {}
    for name in NAMES:
        for package in (lessons, torch.optim):
            for kind in ("ddp", "zero"):
                model = make_model()
                parallel = DistributedDataParallel(model)
                cls = getattr(package, name)
                if kind == "zero":
                    optimizer = ZeroRedundancyOptimizer(
                        model.parameters(), optimizer_class=cls, **FULL[name]
                    )
                else:
                    optimizer = cls(model.parameters(), **FULL[name])
                for step, (x, y) in enumerate(batches()):
                    if kind == "zero" and step == 4:  # a checkpoint gathered from both
                        optimizer.consolidate_state_dict(to=0)
                        saved = [optimizer.state_dict() if rank == 0 else None]
                        dist.broadcast_object_list(saved)
                        optimizer.load_state_dict(saved[0])
                    optimizer.zero_grad()
                    loss_of(parallel, x.chunk(2)[rank], y.chunk(2)[rank]).backward()
                    optimizer.step()
                held = len(optimizer.optim.state if kind == "zero" else optimizer.state)
                ends[kind, package.__name__, name] = (model.state_dict(), held)
    torch.save(ends, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def distributed(tmp_path_factory):
    """What two processes ended with: one dict for each, by kind, package and name."""
    folder = str(tmp_path_factory.mktemp("gloo"))
    torch.multiprocessing.spawn(train_distributed, (folder,), nprocs=2)
    return [torch.load(f"{folder}/{rank}.pt", weights_only=True) for rank in (0, 1)]


@every
@pytest.mark.parametrize("kind", ["ddp", "zero"])
def test_two_processes_are_one(name, kind, distributed):
    model = make_model()
    optimizer = getattr(lessons, name)(model.parameters(), **FULL[name])
    for x, y in batches():
        optimizer.zero_grad()
        halves(model, x, y).backward()
        optimizer.step()
    for ends in distributed:
        for package in (lessons, torch.optim):
            weights, held = ends[kind, package.__name__, name]
            # ZeRO keeps the state of a part of the parameters in each process.
            assert (held < 4) if kind == "zero" else (held == 4)
            for key, value in model.state_dict().items():
                assert torch.equal(weights[key], value)
