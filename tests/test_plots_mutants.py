"""The style of the figures, piece by piece: what no other test would miss."""

import matplotlib
import numpy as np
import pytest

matplotlib.use("agg")

import matplotlib.pyplot as plt

from lessons import optim, plots

OKABE_ITO = {
    *("#000000", "#E69F00", "#56B4E9", "#009E73"),
    *("#F0E442", "#0072B2", "#D55E00", "#CC79A7"),
}


@pytest.fixture
def ax():
    """Axes in the book's style."""
    with matplotlib.rc_context():
        plots.use_style()
        yield plots.figure()[1]
        plt.close("all")


def test_the_styles_are_those_of_the_optimizers_and_of_momentum():
    assert set(plots.STYLES) == {*optim.__all__, "Momentum"}


@pytest.mark.parametrize("name", plots.STYLES)
def test_each_style_has_a_colour_of_the_palette_a_line_and_a_marker_and_can_be_drawn(ax, name):
    style = plots.style(name, marker=True)
    assert set(style) == {"color", "linestyle", "marker"} and style["color"] in OKABE_ITO
    ax.plot([0, 1], [0, 1], **style)


def test_the_cycle_uses_colours_and_dashes_of_the_optimizers(ax):
    dashes = [style["linestyle"] for style in plots.STYLES.values()]
    for line in plots.CYCLE:
        assert line["color"] in OKABE_ITO and line["linestyle"] in dashes
        ax.plot([0, 1], [0, 1], **line)
    # A pattern begins with a whole dash, or short lines in a legend would look alike.
    assert all(dash[0] == 0 for dash in dashes if not isinstance(dash, str))


def test_sizes_are_read_on_a_phone():
    with matplotlib.rc_context():
        plots.use_style()
        of = plt.rcParams
        assert {of["font.size"], of["axes.titlesize"], of["axes.labelsize"]} == {11}
        assert of["legend.fontsize"] == 10 and not of["legend.frameon"]
        assert (of["lines.linewidth"], of["lines.markersize"]) == (1.8, 5)
        assert of["grid.alpha"] == 0.3 and of["image.cmap"] == "viridis"
        assert plots.figure()[0].get_size_inches().tolist() == [6.4, 3.0]
        assert plots.figure(2, 3)[1].shape == (2, 3)
        plt.close("all")


def test_a_band_has_no_border_and_the_lines_colour(ax):
    plots.band(ax, [0, 1], np.array([[0.0, 2.0], [4.0, 4.0]]), label="runs", color="#D55E00")
    (area,) = ax.collections
    assert area.get_linewidth() == 0 and area.get_alpha() == 0.18
    assert matplotlib.colors.to_hex(area.get_facecolor()[0]).upper() == "#D55E00"


def test_a_heatmap_fills_its_axes_without_a_grid_and_with_slanting_names(ax):
    words = dict(xlabel="x", ylabel="y", title="t")
    plots.heatmap(ax, np.zeros((2, 3)), [1, 2, 3], [0, 1], best=(0, 2), **words)
    assert ax.get_aspect() == "auto"
    assert not any(line.get_visible() for line in ax.get_xgridlines() + ax.get_ygridlines())
    assert {label.get_rotation() for label in ax.get_xticklabels()} == {45}
    assert {label.get_rotation() for label in ax.get_yticklabels()} == {0}
    assert [ring.get_markersize() for ring in ax.lines] == [11, 11]
    assert [ring.get_markeredgewidth() for ring in ax.lines] == [2.5, 1]
