import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sweeps import AXES, Visits, assert_same, data, mlp, run
from torch import nn

from lessons import SGD, Adam
from lessons.sweep import SweepResult, cosine


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
