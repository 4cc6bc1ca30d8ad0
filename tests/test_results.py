import math
import pickle

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sweeps import AXES, SEEDS, run

from lessons import Adam
from lessons.sweep import SweepResult, cosine, paired_difference


@pytest.fixture
def result():
    accuracy = np.array(
        [[[0.2, 0.4], [0.875, 0.625], [0.1, 0.1]], [[0.5, 0.5], [0.75, 0.75], [0.0, 1.0]]]
    )
    axes = {"lr": (0.1, 0.2), "weight_decay": (1.0, 2.0, 3.0)}
    loss = 1 - accuracy
    loss[0, 0, 1] = np.nan
    return SweepResult(
        axes,
        (0, 1),
        {"valid_accuracy": accuracy, "valid_loss": loss, "test_loss": accuracy},
    )


def test_mean_is_over_the_seeds(result):
    np.testing.assert_allclose(
        result.mean("valid_accuracy"), [[0.3, 0.75, 0.1], [0.5, 0.75, 0.5]]
    )


def test_best_takes_the_highest_accuracy_and_the_least_loss_and_the_first_of_equals(result):
    assert result.best("valid_accuracy") == {"lr": 0.1, "weight_decay": 2.0}
    assert result.best("valid_loss") == {"lr": 0.1, "weight_decay": 2.0}
    assert result.best("test_loss") == {"lr": 0.1, "weight_decay": 3.0}


def test_edges_names_the_axes_that_were_too_short(result):
    assert result.edges("valid_accuracy") == ["lr"]
    assert result.edges("test_loss") == ["lr", "weight_decay"]


def test_an_axis_without_an_order_has_no_edges():
    accuracy = {"valid_accuracy": np.array([[0.5], [0.6]])}
    for values in ((False, True), ("prox", "cumulative")):
        assert SweepResult({"axis": values}, (0,), accuracy).edges() == []


def test_an_axis_of_one_value_has_no_edges():
    one = SweepResult({"lr": (0.1,)}, (0,), {"valid_accuracy": np.array([[0.5]])})
    assert one.edges("valid_accuracy") == []


def test_a_metric_without_a_number_has_no_best(result):
    result.metrics["valid_loss"][:] = np.nan
    with pytest.raises(ValueError, match="'valid_loss' is NaN"):
        result.best("valid_loss")


def test_an_unknown_metric_is_named(result):
    with pytest.raises(
        ValueError, match="valid_accuracy, valid_loss, test_loss, but got 'accuracy'"
    ):
        result.mean("accuracy")


@pytest.mark.parametrize("metric", [None, 3, ["valid_loss"], True])
@pytest.mark.parametrize("method", ["mean", "best", "edges", "heatmap"])
def test_a_metric_is_a_name(result, method, metric):
    with pytest.raises(TypeError, match="metric must be a name, but got") as raised:
        getattr(result, method)(metric)
    assert repr(metric) in str(raised.value)


@pytest.mark.parametrize(
    ("values", "error", "match"),
    [
        (np.zeros((2, 3)), ValueError, r"'x' has shape \(2, 3\), .* have \(2, 3, 2\)"),
        (np.zeros((2, 3, 1)), ValueError, r"'x' has shape \(2, 3, 1\)"),
        (np.full((2, 3, 2), "1"), TypeError, "'x' must be an array of numbers"),
        (np.full((2, 3, 2), None), TypeError, "'x' must be an array of numbers"),
        ([[[1.0] * 2] * 3] * 2, TypeError, "'x' must be an array of numbers"),
    ],
)
def test_a_metric_has_a_number_for_each_run(result, values, error, match):
    with pytest.raises(error, match=match):
        SweepResult(result.axes, result.seeds, {"x": values})


def test_flags_are_selected_by_flags_alone():
    both = {"amsgrad": (True, False), "beta": (1.0, 2.0)}
    result = SweepResult(both, (0,), {"x": np.arange(4.0).reshape(2, 2, 1)})
    assert result.select(amsgrad=np.False_, beta=1).metrics["x"].tolist() == [2]
    assert result.select(amsgrad=True, beta=np.int64(2)).metrics["x"].tolist() == [1]
    for values in ({"amsgrad": 1}, {"amsgrad": 0.0}, {"beta": True}, {"amsgrad": "False"}):
        with pytest.raises(ValueError, match="the axes have no"):
            result.select(**values)


def test_pairs_are_selected_by_pairs():
    axes = {"betas": ((0.9, 0.99), (0.9, 0.999))}
    result = SweepResult(axes, (0,), {"x": np.array([[1.0], [2.0]])})
    assert result.select(betas=(0.9, 0.999)).metrics["x"].tolist() == [2]


@pytest.mark.parametrize("value", [None, [0.1], np.array([0.1, 0.2]), {0.1}], ids=repr)
def test_one_value_is_selected_at_a_time(result, value):
    with pytest.raises(TypeError, match="lr must be one value of its axis, but got"):
        result.select(lr=value)


def test_select_takes_a_part_of_the_grid(result):
    part = result.select(weight_decay=2.0)
    assert part.axes == {"lr": (0.1, 0.2)} and part.seeds == (0, 1)
    assert part.metrics["valid_accuracy"].tolist() == [[0.875, 0.625], [0.75, 0.75]]
    assert part.about["weight_decay"] == 2.0 and "weight_decay" not in result.about
    point = result.select(weight_decay=3.0, lr=0.2)
    assert point.axes == {} and point.metrics["valid_accuracy"].tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (
            {"lr": 0.3},
            r"no lr = 0.3, but lr: \(0.1, 0.2\); weight_decay: \(1.0, 2.0, 3.0\)",
        ),
        ({"eps": 0.1}, "no eps = 0.1"),
    ],
)
def test_select_names_what_there_is(result, values, match):
    with pytest.raises(ValueError, match=match):
        result.select(**values)


# --- as a figure --------------------------------------------------------------------------


@pytest.fixture
def closing_figures():
    yield
    plt.close("all")


@pytest.mark.usefixtures("closing_figures")
def test_a_heatmap_has_the_means_and_the_names_of_the_axes(result):
    image = result.heatmap()
    ax = image.axes
    np.testing.assert_allclose(image.get_array(), [[0.3, 0.75, 0.1], [0.5, 0.75, 0.5]])
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("lr", "weight_decay")
    assert ax.get_title() == "mean valid accuracy"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "2", "3"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["0.1", "0.2"]
    assert {tuple(line.get_xydata()[0]) for line in ax.lines} == {(1.0, 0.0)}  # the best
    _, bar = ax.figure.axes
    assert bar.get_ylabel() == "valid accuracy"


@pytest.mark.usefixtures("closing_figures")
def test_a_heatmap_goes_where_it_is_told_with_the_options_of_plots(result):
    _, (left, right) = plt.subplots(1, 2)
    image = result.heatmap("valid_loss", ax=right, xlabel="λ", limits=(0, 2), best=None)
    assert image.axes is right and right.figure.axes == [left, right]
    assert right.get_xlabel() == "λ" and right.get_ylabel() == "lr"
    assert image.get_clim() == (0, 2) and not right.lines
    assert image.get_array().mask.tolist() == [[True, False, False], [False] * 3]


@pytest.mark.usefixtures("closing_figures")
def test_a_heatmap_without_a_number_has_no_ring(result):
    result.metrics["valid_loss"][:] = np.nan
    assert not result.heatmap("valid_loss").axes.lines


@pytest.mark.usefixtures("closing_figures")
def test_a_heatmap_of_booleans_words_and_pairs():
    axes = {"amsgrad": (False, True), "betas": ((0.9, 0.99), (0.9, 0.999))}
    ax = SweepResult(axes, (0,), {"valid_accuracy": np.eye(2)[..., None]}).heatmap().axes
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["False", "True"]
    assert ax.get_xticklabels()[1].get_text() == "(0.9, 0.999)"


@pytest.mark.usefixtures("closing_figures")
def test_a_heatmap_wants_one_of_matplotlibs_axes(result):
    _, several = plt.subplots(1, 2)
    for ax in (several, 3, "left"):
        with pytest.raises(TypeError, match="ax must be one of Matplotlib's Axes, but got"):
            result.heatmap(ax=ax)


def test_a_heatmap_wants_two_axes(result):
    with pytest.raises(ValueError, match=r"two axes, but the sweep has 1: lr; select\(\)"):
        result.select(weight_decay=1.0).heatmap()
    three = SweepResult(
        {"a": (1,), "b": (1,), "c": (1,)}, (0,), {"x": np.zeros((1, 1, 1, 1))}
    )
    with pytest.raises(ValueError, match=r"two axes, but the sweep has 3: a, b, c; select"):
        three.heatmap("x")


# --- in a file ----------------------------------------------------------------------------


def test_a_file_gives_back_all_that_was_saved(tmp_path):
    axes = {
        "betas": ((0.9, 0.99), (0.8, 0.999)),
        "lr": (0.1, 1 / 3, 1e300),
        "amsgrad": (True, False),
    }
    result = run(Adam, axes=axes, schedule=cosine)
    result.metrics["train_loss"][0, 0, 0] = np.nan
    path = tmp_path / "a sweep, β₂ × lr"
    result.save(path)
    again = SweepResult.load(str(path))
    assert (again.axes, again.seeds, again.about) == (result.axes, SEEDS, result.about)
    assert [*again.metrics] == [*result.metrics]
    for name, values in result.metrics.items():
        assert again.metrics[name].dtype == np.float64
        np.testing.assert_array_equal(again.metrics[name], values)
    assert [*tmp_path.iterdir()] == [path]


def test_a_result_tells_what_was_the_same_in_all_runs():
    about = run(settings={"eps": 1e-6}, schedule=cosine).about
    assert about["optimizer"] == "AdamW" and about["eps"] == 1e-6
    assert about["betas"] == [0.9, 0.999] and about["amsgrad"] is False
    assert (about["steps"], about["batch_size"], about["loss_scale"]) == (15, 12, 1)
    assert about["dtype"] == "torch.float64" and "Linear(in_features=6" in about["model"]
    assert about["schedule"][0] == 1 and len(about["schedule"]) == 8
    assert not about.keys() & AXES.keys()
    start = run(settings={"eps": 1e-6}, axes={"lr": (0.0,)}).metrics  # of this seed
    for name, shown in about["untrained"].items():
        assert math.isclose(float(shown), start[name][0, 0], rel_tol=1e-3)


def test_a_file_needs_no_pickle(tmp_path, monkeypatch):
    run().save(tmp_path / "sweep.npz")
    for name in ("load", "loads"):
        monkeypatch.setattr(pickle, name, None)
    assert SweepResult.load(tmp_path / "sweep.npz").seeds == SEEDS


@pytest.mark.parametrize("content", ["text", "array", "archive", "empty"])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "other"
    with path.open("wb") as file:
        if content == "text":
            file.write(b"lr,accuracy\n0.1,0.9\n")
        elif content == "array":
            np.save(file, np.ones(3))
        elif content == "archive":
            np.savez(file, train_loss=np.ones(3))
    before = path.read_bytes()
    for load in (SweepResult.load, lambda path: run(resume=path)):
        with pytest.raises(ValueError, match=r"other is no file of a sweep"):
            load(path)
    assert path.read_bytes() == before


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        SweepResult.load(tmp_path / "nowhere")


def test_a_save_that_fails_leaves_the_old_file(result, tmp_path, monkeypatch):
    path = tmp_path / "sweep.npz"
    result.save(path)
    before = path.read_bytes()

    def full(file, **arrays):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space"):
        result.save(path)
    assert path.read_bytes() == before
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("path", [None, 3, True, b"sweep.npz"])
def test_a_path_is_one(result, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for use in (result.save, SweepResult.load):
        with pytest.raises(
            TypeError, match="path must be a file's path, but got"
        ) as raised:
            use(path)
        assert repr(path) in str(raised.value)
    assert not any(tmp_path.iterdir())


# --- paired differences -------------------------------------------------------------------


def test_paired_difference_is_students_interval():
    mean, half = paired_difference([1.0, 2.0, 3.0, 5.0, 4.0], [0.0, 2.0, 1.0, 4.0, 2.0])
    assert math.isclose(mean, 1.2)
    t = 2.7764451052  # of 4 degrees of freedom
    assert math.isclose(half, t * math.sqrt(0.7 / 5), rel_tol=1e-9)


@pytest.mark.parametrize(
    ("first", "second"),
    [([1.0], [2.0]), ([1.0, 2.0], [1.0, 2.0, 3.0]), (1.0, 2.0), (np.eye(2), np.eye(2))],
)
def test_paired_difference_wants_pairs(first, second):
    with pytest.raises(ValueError, match="paired"):
        paired_difference(first, second)


@pytest.mark.parametrize("place", ["first", "second"])
@pytest.mark.parametrize(
    "values",
    [
        None,
        "12",
        ["1.0", "2.0"],
        [True, False],
        [None, 1.0],
        [[1.0], [1.0, 2.0]],
        {1.0, 2.0},
    ],
    ids=repr,
)
def test_paired_differences_are_of_numbers(place, values):
    pair = {"first": [1.0, 2.0], "second": [1.0, 2.0]} | {place: values}
    with pytest.raises(TypeError, match=f"{place} must be numbers, one a seed, but got"):
        paired_difference(**pair)


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=2, max_size=9))
def test_the_pair_turned_round_has_the_opposite_difference(pairs):
    first, second = zip(*pairs, strict=True)
    mean, half = paired_difference(first, np.array(second))
    assert paired_difference(torch.tensor(second, dtype=torch.float64), first) == (
        -mean,
        half,
    )
    assert half >= 0
