"""The book's figures: one style, colours that colour-blind readers tell apart, lines that differ in grey."""

from collections.abc import Sequence
from numbers import Real

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Colours after Okabe and Ito (2008). Each optimizer has its own colour, dash and marker in every chapter.
STYLES = {
    "SGD": dict(color="#000000", linestyle="-", marker="s"),
    "Momentum": dict(color="#56B4E9", linestyle=(0, (5, 1)), marker="P"),
    "Adagrad": dict(color="#009E73", linestyle="-.", marker="D"),
    "RMSprop": dict(color="#CC79A7", linestyle=(0, (3, 1, 1, 1, 1, 1)), marker="v"),
    "Adam": dict(color="#D55E00", linestyle="--", marker="^"),
    "AdamW": dict(color="#0072B2", linestyle="-", marker="o"),
    "FTRLProximal": dict(color="#E69F00", linestyle=":", marker="X"),
}
# Further lines in a figure that compares settings rather than optimizers.
CYCLE = (
    dict(color="#0072B2", linestyle="-"),
    dict(color="#D55E00", linestyle="--"),
    dict(color="#009E73", linestyle="-."),
    dict(color="#CC79A7", linestyle=":"),
    dict(color="#000000", linestyle=(0, (5, 1))),
    dict(color="#56B4E9", linestyle=(0, (3, 1, 1, 1, 1, 1))),
)
WIDTH = 6.4  # inches; at 360 pixels, a phone's width, the text is still read


def use_style() -> None:
    """Make all figures of this session look alike."""
    plt.rcParams.update(
        {
            "figure.dpi": 144,
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "font.size": 11,
            "axes.titlesize": 11,
            "axes.labelsize": 11,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.3,
            "lines.linewidth": 1.8,
            "lines.markersize": 5,
            "legend.frameon": False,
            "legend.fontsize": 10,
            "image.cmap": "viridis",
        }
    )


def figure(
    rows: int = 1, columns: int = 1, *, height: float = 3.0, **kwargs
) -> tuple[Figure, Axes | np.ndarray]:
    """Return a figure of the book's width, with ``rows`` × ``columns`` axes, each ``height`` inches high."""
    return plt.subplots(rows, columns, figsize=(WIDTH, height * rows), **kwargs)


def style(name: str, *, marker: bool = False) -> dict:
    """Return the line style of an optimizer, for ``ax.plot(…, **style("AdamW"))``.

    Raises:
        ValueError: no optimizer of that name has a style.
    """
    if name not in STYLES:
        raise ValueError(f"no style for {name!r}; there are {', '.join(STYLES)}")
    return {key: value for key, value in STYLES[name].items() if marker or key != "marker"}


def band(ax: Axes, x: Sequence, runs: np.ndarray, *, label: str, **line) -> None:
    """Draw the mean of several runs, and a band from the lowest to the highest.

    Args:
        ax: where to draw.
        x: the horizontal values, of shape (points,).
        runs: of shape (runs, points).
        label: for the legend.
        line: the line's style.
    """
    runs = np.asarray(runs)
    (drawn,) = ax.plot(x, runs.mean(0), label=label, **line)
    ax.fill_between(
        x, runs.min(0), runs.max(0), color=drawn.get_color(), alpha=0.18, linewidth=0
    )


def heatmap(
    ax: Axes,
    values: np.ndarray,
    x: Sequence,
    y: Sequence,
    *,
    xlabel: str,
    ylabel: str,
    title: str,
    limits: tuple[float, float] | None = None,
    best: tuple[int, int] | None = None,
):
    """Draw a grid of results, one cell a pair of settings, and return the image for a colour bar.

    Args:
        ax: where to draw.
        values: of shape (len(y), len(x)); NaN is left blank.
        x: the settings along the horizontal axis: numbers, or anything with a name.
        y: the settings along the vertical axis, the first at the bottom.
        xlabel: the horizontal axis's name.
        ylabel: the vertical axis's name.
        title: above the grid.
        limits: the values at the two ends of the colours.
        best: row and column of a cell to mark with a ring.

    Raises:
        ValueError: the shape of ``values`` is not that of the two axes.
    """
    values = np.asarray(values)
    if values.shape != (len(y), len(x)):
        raise ValueError(
            f"values has shape {values.shape}, but the axes have {len(y)} × {len(x)} settings"
        )
    low, high = limits if limits is not None else (None, None)
    image = ax.imshow(values, origin="lower", aspect="auto", vmin=low, vmax=high)
    ax.grid(False)
    for axis, settings in ((ax.xaxis, x), (ax.yaxis, y)):
        every = max(1, len(settings) // 6)
        axis.set_ticks(
            range(0, len(settings), every), [_tick(s) for s in settings[::every]]
        )
    ax.tick_params(axis="x", rotation=45)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if best is not None:
        # Black upon white: the ring shows on any colour.
        for color, width in (("white", 2.5), ("black", 1)):
            ring = dict(markeredgecolor=color, markeredgewidth=width)
            ax.plot(best[1], best[0], "o", markersize=11, markerfacecolor="none", **ring)
    return image


def _tick(setting) -> str:
    """Return what stands at a tick: a number with two digits, anything else in full."""
    is_number = isinstance(setting, Real) and not isinstance(setting, bool)
    return f"{setting:.2g}" if is_number else str(setting)
