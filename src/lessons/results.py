"""What a sweep measured: arrays whose dimensions have names, which draw themselves and are kept in a file."""

import json
import math
import os
import zipfile
from dataclasses import dataclass, field
from numbers import Real
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

    Raises:
        TypeError: a metric is no array of numbers.
        ValueError: it has another shape.
    """

    axes: dict[str, tuple]
    seeds: tuple[int, ...]
    metrics: dict[str, np.ndarray]
    about: dict = field(default_factory=dict)

    def __post_init__(self):
        shape = (*(len(values) for values in self.axes.values()), len(self.seeds))
        for name, values in self.metrics.items():
            if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
                raise TypeError(f"metric {name!r} must be an array of numbers")
            if values.shape != shape:
                raise ValueError(
                    f"metric {name!r} has shape {values.shape}, but axes and seeds have {shape}"
                )

    def mean(self, metric: str) -> np.ndarray:
        """Return the mean over the seeds: one number a cell.

        Raises:
            TypeError: ``metric`` is no name.
            ValueError: there is no such metric.
        """
        if not isinstance(metric, str):
            raise TypeError(f"metric must be a name, but got {metric!r}")
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
            TypeError: a value is no number, pair of numbers, boolean or word.
            ValueError: there is no such axis, or the axis has no such value.
        """
        axes, metrics = dict(self.axes), self.metrics
        for name, value in values.items():
            if not isinstance(value, Real | str | tuple | np.bool_):
                raise TypeError(f"{name} must be one value of its axis, but got {value!r}")
            # The number 1 equals True, but means something else.
            flag = isinstance(value, bool | np.bool_)
            found = [
                own == value and isinstance(own, bool) == flag for own in axes.get(name, ())
            ]
            if not any(found):
                have = "; ".join(f"{key}: {axis}" for key, axis in axes.items())
                raise ValueError(f"the axes have no {name} = {value!r}, but {have}")
            i, dimension = found.index(True), list(axes).index(name)
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
            TypeError: ``metric`` is no name, or ``ax`` is not one of Matplotlib's axes.
            ValueError: the sweep does not have two axes, or the metric is unknown.
        """
        if ax is not None and not isinstance(ax, Axes):
            raise TypeError(
                f"ax must be one of Matplotlib's Axes, but got {type(ax).__name__}: {ax!r}"
            )
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

        Raises:
            TypeError: ``path`` is no path.
        """
        check_path("path", path)
        labels = dict(axes=self.axes, seeds=self.seeds, about=self.about)
        partial = Path(f"{path}.part")
        try:
            with partial.open("wb") as file:
                np.savez(file, labels=json.dumps(labels), **self.metrics)
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    @classmethod
    def load(cls, path) -> "SweepResult":
        """Return what :meth:`save` wrote.

        Raises:
            TypeError: ``path`` is no path.
            ValueError: the file is none of these, or it is damaged.
        """
        check_path("path", path)
        with open(path, "rb") as file:
            try:
                if not zipfile.is_zipfile(file):
                    raise ValueError("no whole archive of NumPy's")
                file.seek(0)
                arrays = dict(np.load(file))
                labels = json.loads(arrays.pop("labels").item())
                axes = {
                    name: tuple(tuple(v) if isinstance(v, list) else v for v in values)
                    for name, values in labels["axes"].items()
                }
                return cls(axes, tuple(labels["seeds"]), arrays, dict(labels["about"]))
            except Exception as error:  # zip, NumPy and JSON have many kinds of their own
                raise ValueError(
                    f"{path} is no file of a sweep, or it is damaged: {error}"
                ) from error

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
        TypeError: they are no numbers.
        ValueError: the lengths differ, or are below 2.

    Source: Student's t interval.
    """
    first, second = _numbers("first", first), _numbers("second", second)
    if first.ndim != 1 or first.shape != second.shape or len(first) < 2:
        raise ValueError(
            f"first and second must be ≥ 2 paired numbers, but have shapes {first.shape}, {second.shape}"
        )
    difference = first - second
    error = difference.std(ddof=1) / math.sqrt(len(difference))
    return float(difference.mean()), float(stdtrit(len(difference) - 1, 0.975) * error)


def _numbers(name: str, values) -> np.ndarray:
    """Return ``values`` as an array of float64, if they are numbers."""
    try:
        array = np.asarray(values)
    except ValueError:  # lists of several lengths
        array = np.asarray(None)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be numbers, one a seed, but got {values!r}")
    return array.astype(float)


def check_path(name: str, value) -> None:
    """Raise ``TypeError`` unless ``value`` can name a file."""
    if not isinstance(value, str | os.PathLike):
        raise TypeError(
            f"{name} must be a file's path, but got {type(value).__name__}: {value!r}"
        )
