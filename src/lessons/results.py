"""What a sweep measured: arrays whose dimensions have names, which draw themselves and are kept in a file."""

import json
import math
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from scipy.special import stdtrit

from lessons import plots


@dataclass(frozen=True)
class SweepResult:
    """What a sweep measured.

    Attributes:
        axes: hyper-parameter's name → its values, in the order of the arrays' dimensions.
        seeds: the seeds: the arrays' last dimension.
        metrics: name → float64 array of shape (values of axis 1, values of axis 2, …, seeds):
            ``"{split}_loss"``, and ``"{split}_accuracy"`` (0 to 1) where the targets are classes. The
            losses are without ``loss_scale`` and hold no penalty. A run that diverged has loss NaN, and
            the accuracy of a constant guess.
        about: name → what was the same in all runs, in the words of JSON.
    """

    axes: dict[str, tuple]
    seeds: tuple[int, ...]
    metrics: dict[str, np.ndarray]
    about: dict = field(default_factory=dict)

    def mean(self, metric: str) -> np.ndarray:
        """Return the mean over the seeds: one number a cell."""
        if metric not in self.metrics:
            raise ValueError(
                f"metric must be one of {', '.join(self.metrics)}, but got {metric!r}"
            )
        return self.metrics[metric].mean(axis=-1)

    def best(self, metric: str = "valid_accuracy") -> dict:
        """Return the settings of the cell with the best mean: the highest accuracy or the least loss.

        The first of equal cells counts, and a mean that is no number never does.

        Raises:
            ValueError: the metric is unknown, or it is NaN in every cell.
        """
        return {name: self.axes[name][i] for name, i in self._best_index(metric).items()}

    def edges(self, metric: str = "valid_accuracy") -> list[str]:
        """Return the axes on whose first or last value the best cell lies: the grid was too narrow there.

        An axis of one value has no ends, nor has one of booleans or words.
        """
        return [
            name
            for name, i in self._best_index(metric).items()
            if len(self.axes[name]) > 1
            and i in (0, len(self.axes[name]) - 1)
            and not isinstance(self.axes[name][0], (bool, str))
        ]

    def select(self, **values) -> "SweepResult":
        """Return the part of the grid that has these values, without their axes: ``select(amsgrad=True)``.

        Raises:
            ValueError: there is no such axis, or the axis has no such value.
        """
        axes, metrics = dict(self.axes), self.metrics
        for name, value in values.items():
            if value not in axes.get(name, ()):
                have = "; ".join(f"{key}: {axis}" for key, axis in axes.items())
                raise ValueError(f"the axes have no {name} = {value!r}, but {have}")
            i, dimension = axes[name].index(value), list(axes).index(name)
            metrics = {key: array.take(i, dimension) for key, array in metrics.items()}
            del axes[name]
        return SweepResult(axes, self.seeds, metrics, {**self.about, **values})

    def heatmap(
        self, metric: str = "valid_accuracy", *, ax: Axes | None = None, **options
    ) -> AxesImage:
        """Draw the mean over the seeds, the first axis upwards and the second to the right.

        NaN is left blank, and a ring marks the best cell.

        Args:
            metric: what to draw.
            ax: where to draw; by default in a new figure, which gets a colour bar.
            options: arguments of :func:`lessons.plots.heatmap` to use instead of the default ones.

        Returns:
            The image, for a colour bar.

        Raises:
            ValueError: the sweep does not have two axes, or the metric is unknown.
        """
        if len(self.axes) != 2:
            raise ValueError(
                f"a heatmap has two axes, but the sweep has {len(self.axes)}:"
                f" {', '.join(self.axes)}; select() leaves one out"
            )
        mean, name = self.mean(metric), metric.replace("_", " ")
        (ylabel, y), (xlabel, x) = self.axes.items()
        options = dict(xlabel=xlabel, ylabel=ylabel, title=f"mean {name}") | options
        if not np.isnan(mean).all():
            options.setdefault("best", tuple(self._best_index(metric).values()))
        if ax is not None:
            return plots.heatmap(ax, mean, x, y, **options)
        figure, ax = plots.figure()
        image = plots.heatmap(ax, mean, x, y, **options)
        figure.colorbar(image, label=name)
        return image

    def save(self, path) -> None:
        """Write all to one file, a NumPy archive with the labels in JSON.

        The file is replaced at one stroke: a reader finds the old one or the new one, whatever happens.
        """
        labels = dict(axes=self.axes, seeds=self.seeds, about=self.about)
        partial = Path(f"{path}.part")
        with partial.open("wb") as file:
            np.savez(file, labels=json.dumps(labels), **self.metrics)
        os.replace(partial, path)

    @classmethod
    def load(cls, path) -> "SweepResult":
        """Return what :meth:`save` wrote.

        Raises:
            ValueError: the file is none of these.
        """
        with open(path, "rb") as file:
            arrays = dict(np.load(file)) if zipfile.is_zipfile(path) else {}
        if "labels" not in arrays:
            raise ValueError(f"{path} is no file of a sweep")
        labels = json.loads(arrays.pop("labels").item())
        axes = {
            name: tuple(tuple(v) if isinstance(v, list) else v for v in values)
            for name, values in labels["axes"].items()
        }
        return cls(axes, tuple(labels["seeds"]), arrays, labels["about"])

    def _best_index(self, metric: str) -> dict[str, int]:
        score = self.mean(metric) * (1 if metric.endswith("accuracy") else -1)
        score = np.where(np.isnan(score), -np.inf, score)
        if np.isneginf(score).all():
            raise ValueError(f"metric {metric!r} is NaN or infinite in every cell")
        return dict(
            zip(
                self.axes,
                map(int, np.unravel_index(score.argmax(), score.shape)),
                strict=True,
            )
        )


def paired_difference(first, second) -> tuple[float, float]:
    """Return the mean of first − second over paired runs, and half the width of its 95 % interval.

    Pairs are runs that share a seed, and so data, initial weights and mini-batches: what they share cancels.

    Args:
        first, second: one number a seed, in the same order of seeds.

    Raises:
        ValueError: the lengths differ, or are below 2.

    Source: Student's t interval.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.ndim != 1 or first.shape != second.shape or len(first) < 2:
        raise ValueError(
            f"first and second must be ≥ 2 paired numbers, but have shapes {first.shape}, {second.shape}"
        )
    difference = first - second
    error = difference.std(ddof=1) / math.sqrt(len(difference))
    return float(difference.mean()), float(stdtrit(len(difference) - 1, 0.975) * error)
