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


def settings_of(ax, axis):
    ticks = getattr(ax, f"get_{axis}ticks")()
    labels = getattr(ax, f"get_{axis}ticklabels")()
    return {
        int(place): label.get_text() for place, label in zip(ticks, labels, strict=True)
    }


@pytest.mark.parametrize("size", [1, 6, 7, 11, 12, 13, 18, 25, 60])
def test_each_tick_names_the_setting_at_its_place_and_they_are_few(size):
    _, ax = plots.figure()
    x, y = [10.0 * (i + 1) for i in range(size)], [f"row {i}" for i in range(size + 1)]
    plots.heatmap(
        ax, np.zeros((size + 1, size)), x, y, xlabel="rate", ylabel="decay", title="loss"
    )
    for axis, settings in (("x", x), ("y", y)):
        shown = settings_of(ax, axis)
        for place, text in shown.items():
            setting = settings[place]
            assert text == (setting if axis == "y" else f"{setting:.2g}")
        assert 0 in shown and min(len(settings), 6) <= len(shown) <= 11
        gaps = set(np.diff(sorted(shown)))
        assert len(gaps) <= 1  # at equal distances
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("rate", "decay", "loss")


def test_ticks_have_two_digits():
    _, ax = plots.figure()
    x = [0.00123, 1 / 3, np.float32(0.1), 1e-5]
    plots.heatmap(ax, np.zeros((1, 4)), x, [0], xlabel="x", ylabel="y", title="t")
    assert [*settings_of(ax, "x").values()] == ["0.0012", "0.33", "0.1", "1e-05"]


def test_the_colours_of_a_heatmap_end_at_its_limits():
    _, axes = plots.figure(1, 2)
    values = np.array([[0.0, 1.0, np.nan]])
    words = dict(xlabel="x", ylabel="y", title="t")
    free = plots.heatmap(axes[0], values, [1, 2, 3], [0], **words)
    bound = plots.heatmap(axes[1], values, [1, 2, 3], [0], limits=(-1, 3), **words)
    assert free.get_clim() == (0, 1) and bound.get_clim() == (-1, 3)
    assert free.get_array().mask.tolist() == [[False, False, True]]  # NaN is blank
    assert not axes[0].lines  # no ring where none is asked for


def test_the_ring_of_the_best_cell_is_white_and_black_and_empty():
    _, ax = plots.figure()
    words = dict(xlabel="x", ylabel="y", title="t")
    plots.heatmap(ax, np.zeros((2, 3)), [1, 2, 3], [0, 1], best=(0, 2), **words)
    white, black = ax.lines
    for ring in (white, black):
        assert ring.get_xydata().tolist() == [[2, 0]] and ring.get_marker() == "o"
        assert ring.get_markerfacecolor() == "none"
    assert white.get_markeredgecolor() == "white" and black.get_markeredgecolor() == "black"
    assert white.get_markeredgewidth() > black.get_markeredgewidth()


def test_a_band_is_neither_of_medians_nor_of_quantiles():
    _, ax = plots.figure()
    runs = np.array([[0.0, 1], [1, 1], [2, 7], [3, -1], [94, 2]])
    plots.band(ax, [5, 9], runs, label="five runs", color="#D55E00", linestyle="--")
    (line,), (area,) = ax.lines, ax.collections
    assert line.get_xdata().tolist() == [5, 9] and line.get_ydata().tolist() == [20, 2]
    assert line.get_label() == "five runs" and line.get_linestyle() == "--"
    corners = {tuple(corner) for corner in area.get_paths()[0].vertices.tolist()}
    assert corners == {(5, 0), (5, 94), (9, -1), (9, 7)}
    # The band has the line's colour, so faint that the line is seen on it.
    assert matplotlib.colors.to_hex(area.get_facecolor()[0]) == "#d55e00"
    assert area.get_facecolor()[0, 3] < 0.3


def test_a_style_has_a_marker_when_asked_for():
    assert plots.style("Adam") == {"color": "#D55E00", "linestyle": "--"}
    assert plots.style("Adam", marker=True) == plots.STYLES["Adam"]


def test_a_figure_has_the_books_width_and_a_height_for_each_row():
    for rows, columns in ((1, 1), (2, 3)):
        figure, axes = plots.figure(rows, columns, height=2.0)
        assert figure.get_size_inches().tolist() == [plots.WIDTH, 2.0 * rows]
        assert np.size(axes) == rows * columns


def test_the_style_is_on_after_one_call():
    with matplotlib.rc_context():
        plots.use_style()
        _, ax = plots.figure()
        assert not ax.spines["top"].get_visible() and not ax.spines["right"].get_visible()
        assert plt.rcParams["figure.constrained_layout.use"] and plt.rcParams["axes.grid"]
        assert plt.rcParams["figure.dpi"] == 144 and plt.rcParams["font.size"] >= 10
