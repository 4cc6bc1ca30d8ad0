import functools
import json
import re
import zipfile

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
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


# --- a file that is not what it seems -----------------------------------------------------------


def labels_and_metrics(path):
    with np.load(path) as archive:
        arrays = dict(archive)
    return json.loads(arrays.pop("labels").item()), arrays


@pytest.fixture
def kept(tmp_path):
    """A file that a sweep of this file has kept."""
    run(steps=1, resume=tmp_path / "sweep.npz")
    return tmp_path / "sweep.npz"


def assert_refused(path, match):
    """Assert that neither a sweep nor ``load`` takes the file, and that it stays as it is."""
    before = path.read_bytes()
    with pytest.raises(ValueError, match=match):
        run(steps=1, resume=path)
    assert path.read_bytes() == before
    assert [*path.parent.iterdir()] == [path]


def without(metrics, labels):
    del metrics["valid_loss"]


def more(metrics, labels):
    metrics["test_loss"] = metrics["valid_loss"]


def renamed(metrics, labels):
    metrics["test_loss"] = metrics.pop("valid_loss")


@pytest.mark.parametrize("change", [without, more, renamed])
def test_a_file_with_other_metrics_is_refused(kept, change):
    labels, metrics = labels_and_metrics(kept)
    change(metrics, labels)
    np.savez(kept, labels=json.dumps(labels), **metrics)
    assert_refused(
        kept, r"sweep.npz holds another sweep: its list of metrics is \[.*'train_loss'"
    )
    assert set(SweepResult.load(kept).metrics) == set(metrics)  # a result all the same


@pytest.mark.parametrize(
    ("name", "shape"),
    [("finished", (1,)), ("valid_accuracy", (2, 3))]
    + [
        ("train_loss", shape)
        for shape in [(), (1,), (2,), (2, 3, 1), (3, 2, 2), (2, 3, 2, 1)]
    ],
)
def test_a_metric_of_another_shape_is_refused(kept, name, shape):
    labels, metrics = labels_and_metrics(kept)
    metrics[name] = np.ones(shape)
    np.savez(kept, labels=json.dumps(labels), **metrics)
    match = rf"sweep.npz .*'{name}' has shape {re.escape(str(shape))}, .* \(2, 3, 2\)"
    assert_refused(kept, match)
    with pytest.raises(ValueError, match=match):
        SweepResult.load(kept)


@pytest.mark.parametrize("value", [0.5, np.nan, -1])
def test_what_is_half_finished_is_refused(kept, value):
    labels, metrics = labels_and_metrics(kept)
    metrics["finished"][0, 0, 0] = value
    np.savez(kept, labels=json.dumps(labels), **metrics)
    assert_refused(kept, r"sweep.npz is damaged: its 'finished' is neither 0 nor 1")


@pytest.mark.parametrize(
    "array",
    [
        np.array("words"),
        np.full((2, 3, 2), "x"),
        np.full((2, 3, 2), None),
        np.ones(3, complex),
    ],
    ids=["word", "words", "objects", "complex"],
)
@pytest.mark.parametrize("name", ["train_loss", "labels"])
def test_a_metric_that_holds_no_numbers_is_refused(kept, array, name):
    labels, metrics = labels_and_metrics(kept)
    arrays = {"labels": json.dumps(labels), **metrics} | {name: array}
    np.savez(kept, **arrays)
    assert_refused(kept, r"sweep.npz is no file of a sweep, or it is damaged")
    with pytest.raises(
        ValueError, match=r"sweep.npz is no file of a sweep, or it is damaged"
    ):
        SweepResult.load(kept)


@pytest.mark.parametrize(
    "change",
    [
        lambda labels: labels.pop("axes"),
        lambda labels: labels.pop("seeds"),
        lambda labels: labels.pop("about"),
        lambda labels: labels.update(axes=3),
        lambda labels: labels.update(axes={"lr": 0.1}),
        lambda labels: labels.update(about=None),
        lambda labels: labels["seeds"].append(7),
    ],
)
def test_labels_that_do_not_fit_are_refused(kept, change):
    labels, metrics = labels_and_metrics(kept)
    change(labels)
    np.savez(kept, labels=json.dumps(labels), **metrics)
    assert_refused(kept, r"sweep.npz is no file of a sweep, or it is damaged")


def test_what_is_no_archive_is_told(tmp_path):
    (tmp_path / "words.npz").write_text("lr, loss")
    with pytest.raises(ValueError, match=r"words.npz is no .*: no whole archive of NumPy's$"):
        SweepResult.load(tmp_path / "words.npz")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1), how=st.sampled_from(["cut", "noise", "hole"]))
def test_a_damaged_file_is_told_by_its_name_or_read_aright(tmp_path, where, how):
    whole = tmp_path / "whole.npz"
    if not whole.exists():
        run(axes={}, steps=1).save(whole)
    content, expected = whole.read_bytes(), SweepResult.load(whole)
    place = int(where * (len(content) - 1))
    rest = {
        "cut": b"",
        "noise": bytes([content[place] ^ 0xFF]) + content[place + 1 :],
        "hole": content[place + 64 :],
    }[how]
    path = tmp_path / "damaged.npz"
    path.write_bytes(content[:place] + rest)
    try:
        found = SweepResult.load(path)
    except ValueError as error:
        assert "damaged.npz is no file of a sweep, or it is damaged" in str(error)
    else:  # a byte that nothing reads, such as a time stamp
        assert how == "noise"
        assert_same(found, expected)


@pytest.mark.parametrize("kind", ["weights", "archive of another kind"])
def test_another_archive_is_not_overwritten(tmp_path, kind):
    path = tmp_path / "other.npz"
    if kind == "weights":
        torch.save(mlp().state_dict(), path)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("labels.npy", "no array")
    assert_refused(path, r"other.npz is no file of a sweep, or it is damaged")
