import itertools

import matplotlib
import numpy as np
import pytest

matplotlib.use("agg")

import matplotlib.pyplot as plt

from lessons import optim, plots


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_every_optimizer_of_the_package_has_a_style():
    assert set(optim.__all__) <= set(plots.STYLES)


@pytest.mark.parametrize(
    "lines", [list(plots.STYLES.values()), list(plots.CYCLE)], ids=["STYLES", "CYCLE"]
)
def test_lines_differ_in_colour_and_without_it(lines):
    for one, other in itertools.combinations(lines, 2):
        assert one["color"] != other["color"]
        assert (one["linestyle"], one.get("marker")) != (
            other["linestyle"],
            other.get("marker"),
        )


def test_an_unknown_style_is_refused():
    with pytest.raises(ValueError, match="no style for 'Adamw'"):
        plots.style("Adamw")


def test_a_heatmap_shows_each_value_where_its_settings_are():
    _, ax = plots.figure()
    values = np.arange(6.0).reshape(2, 3)
    image = plots.heatmap(
        ax, values, [1, 2, 3], [10, 20], xlabel="x", ylabel="y", title="t", best=(1, 2)
    )
    assert np.array_equal(image.get_array(), values)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2", "3"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["10", "20"]
    assert image.origin == "lower"
    assert {tuple(line.get_xydata()[0]) for line in ax.lines} == {(2.0, 1.0)}


def test_the_settings_of_a_heatmap_need_not_be_numbers():
    _, ax = plots.figure()
    x, y = [(0.9, 0.99), (0.9, 0.999)], [False, True, "cumulative"]
    plots.heatmap(ax, np.zeros((3, 2)), x, y, xlabel="x", ylabel="y", title="t")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [*map(str, x)]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [
        "False",
        "True",
        "cumulative",
    ]


def test_a_heatmap_of_the_wrong_shape_is_refused():
    _, ax = plots.figure()
    with pytest.raises(ValueError, match=r"shape \(3, 2\), but the axes have 2 × 3"):
        plots.heatmap(
            ax, np.zeros((3, 2)), [1, 2, 3], [10, 20], xlabel="x", ylabel="y", title="t"
        )


def test_a_band_spans_the_runs_around_their_mean():
    _, ax = plots.figure()
    plots.band(ax, [0, 1], np.array([[0.0, 2.0], [4.0, 4.0]]), label="runs", color="black")
    assert ax.lines[0].get_ydata().tolist() == [2.0, 3.0]
    heights = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (0.0, 4.0)
