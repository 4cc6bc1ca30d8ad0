import pytest
import torch
from torch import nn

from lessons import SGD
from lessons.training import DEVICE_VARIABLE, batches, default_device, train


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
    with pytest.raises(ValueError, match="LESSONS_DEVICE='gpu!' is no device"):
        default_device()


def problem():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 3, generator=generator)
    model = nn.Linear(3, 2)
    return model, x, (x[:, 0] > 0).long()


def test_training_lowers_the_loss_and_returns_each_batchs():
    torch.manual_seed(0)
    model, x, y = problem()
    seen = []
    losses = train(
        model,
        SGD(model.parameters(), lr=0.5),
        x,
        y,
        steps=50,
        batch_size=8,
        after_step=seen.append,
    )
    assert losses.shape == (50,)
    assert losses[-10:].mean() < losses[:10].mean() / 2
    assert seen == list(range(1, 51))


def test_the_seed_decides_the_batches():
    def losses(seed):
        torch.manual_seed(0)
        model, x, y = problem()
        return train(
            model,
            SGD(model.parameters(), lr=0.1),
            x,
            y,
            steps=9,
            batch_size=8,
            seed=seed,
        )

    assert torch.equal(losses(1), losses(1))
    assert not torch.equal(losses(1), losses(2))


def test_each_epoch_shows_every_example_once():
    model, x, y = problem()
    shown = []
    model.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0]))
    train(model, SGD(model.parameters(), lr=0.1), x, y, steps=5, batch_size=8)
    assert torch.equal(torch.cat(shown).sort(0).values, x.sort(0).values)


def test_the_scheduler_steps_with_the_optimizer():
    model, x, y = problem()
    optimizer = SGD(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    train(model, optimizer, x, y, steps=3, batch_size=8, scheduler=scheduler)
    assert optimizer.param_groups[0]["lr"] == 0.125


@pytest.mark.parametrize("batch_size", [0, 41])
def test_a_batch_that_cannot_be_drawn_is_refused_before_anything_moves(batch_size):
    model, x, y = problem()
    before = model.weight.clone()
    with pytest.raises(ValueError, match=f"batch_size .* but got {batch_size}"):
        train(model, SGD(model.parameters(), lr=0.1), x, y, steps=3, batch_size=batch_size)
    assert torch.equal(model.weight, before)


def test_batches_are_shuffles_cut_into_whole_batches():
    chosen = batches(10, 3, 7, seed=0)
    assert chosen.shape == (7, 3)
    for epoch in (chosen[:3], chosen[3:6]):
        assert len(set(epoch.flatten().tolist())) == 9
    assert not torch.equal(chosen[:3], chosen[3:6])
    assert not torch.equal(chosen, batches(10, 3, 7, seed=1))


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="steps must be ≥ 1, but got 0"):
        batches(10, 3, 0, seed=0)
