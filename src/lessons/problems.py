"""Data sets for the experiments. None needs a network.

A data set is a dictionary: split → (inputs, targets), as :func:`lessons.sweep.sweep` takes it.
"""

import functools

import numpy as np
import torch
from sklearn.datasets import load_diabetes, load_digits, load_wine
from torch import Tensor

Splits = dict[str, tuple[Tensor, Tensor]]


@functools.cache
def _standardised_digits() -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's 1797 digits, each of the 64 pixels with mean 0 and deviation 1, and their classes.

    Mean and deviation are those of all images: with few training images a pixel that is almost always
    dark would else be blown up. Three pixels are dark in every image, and stay 0.
    """
    images, classes = load_digits(return_X_y=True)
    deviation = images.std(axis=0)
    deviation[deviation == 0] = 1
    return (images - images.mean(axis=0)) / deviation, classes


def digits(
    seed: int = 0,
    *,
    train: int = 1000,
    valid: int = 300,
    dtype: torch.dtype = torch.float32,
) -> Splits:
    """Return handwritten digits of 8 × 8 pixels, standardised, and shuffled into three splits.

    Args:
        seed: of the shuffle.
        train: images in ``"train"``.
        valid: images in ``"valid"``; what is left of the 1797 is ``"test"``.
        dtype: of the inputs.

    Returns:
        split → (inputs of shape (images, 64), classes 0 to 9 of shape (images,)).

    Raises:
        ValueError: a split would be empty.

    Source: scikit-learn's ``load_digits``, after Alpaydin and Kaynak (1998).
    """
    images, classes = _standardised_digits()
    if train < 1 or valid < 1 or train + valid >= len(images):
        raise ValueError(
            f"train and valid must be ≥ 1 and leave some of {len(images)}, but got {train}, {valid}"
        )
    order = np.random.default_rng(seed).permutation(len(images))
    parts = dict(
        zip(
            ("train", "valid", "test"),
            np.split(order, [train, train + valid]),
            strict=True,
        )
    )
    return {
        name: (
            torch.tensor(images[part], dtype=dtype),
            torch.tensor(classes[part], dtype=torch.int64),
        )
        for name, part in parts.items()
    }


def digits_task(
    seed: int,
    *,
    spread: float = 0.0,
    noise_columns: int = 0,
    noise_scale: float = 10**-0.5,
    label_noise: float = 0.3,
    train: int = 300,
    valid: int = 500,
    dtype: torch.dtype = torch.float64,
) -> Splits:
    """Return digits made hard enough to over-fit: few images, wrong labels, features in unequal units.

    One seed has the same images in each split and the same wrong labels whatever the other settings are.

    Args:
        seed: of everything that is drawn.
        spread: each pixel is multiplied by its own 10^u, u uniform on ±spread: as if measured in another
            unit. 0 leaves all standardised.
        noise_columns: how many features of pure noise to append.
        noise_scale: their standard deviation.
        label_noise: the part of the training labels that is replaced by another class, drawn at random.
            The other splits keep their true labels.
        train: images in ``"train"``.
        valid: images in ``"valid"``; what is left of the 1797 is ``"test"``.
        dtype: of the inputs.

    Returns:
        split → (inputs of shape (images, 64 + noise_columns), classes 0 to 9 of shape (images,)).

    Raises:
        ValueError: a split would be empty, or a setting is out of range.
    """
    if not 0 <= label_noise <= 1:
        raise ValueError(f"label_noise must be from 0 to 1, but got {label_noise}")
    if spread < 0 or noise_columns < 0:
        raise ValueError(
            f"spread and noise_columns must be ≥ 0, but got {spread} and {noise_columns}"
        )
    splits = digits(seed, train=train, valid=valid, dtype=torch.float64)
    random = np.random.default_rng([seed, 1])  # apart from the shuffle's
    wrong = torch.from_numpy(random.permutation(train)[: round(label_noise * train)])
    shift = torch.from_numpy(random.integers(1, 10, len(wrong)))
    units = torch.from_numpy(10 ** (spread * random.uniform(-1, 1, 64)))
    task = {}
    for name, (inputs, classes) in splits.items():
        noise = torch.from_numpy(
            noise_scale * random.standard_normal((len(inputs), noise_columns))
        )
        task[name] = (torch.cat([inputs * units, noise], 1).to(dtype), classes)
    labels = task["train"][1]
    labels[wrong] = (labels[wrong] + shift) % 10
    return task


def _split(
    inputs: np.ndarray, targets: np.ndarray, seed: int, train: int, valid: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the shuffled examples in three splits; what is left of them is ``"test"``."""
    if train < 1 or valid < 1 or train + valid >= len(inputs):
        raise ValueError(
            f"train and valid must be ≥ 1 and leave some of {len(inputs)}, but got {train}, {valid}"
        )
    order = np.random.default_rng(seed).permutation(len(inputs))
    parts = np.split(order, [train, train + valid])
    return {
        name: (inputs[part], targets[part])
        for name, part in zip(("train", "valid", "test"), parts, strict=True)
    }


def wine(
    seed: int = 0,
    *,
    standardised: bool = True,
    train: int = 90,
    valid: int = 40,
    dtype: torch.dtype = torch.float32,
) -> Splits:
    """Return 178 wines, their chemical analysis in 13 features, and which of three vines they are from.

    Args:
        seed: of the shuffle.
        standardised: False leaves each feature in its own unit: their standard deviations then run from
            0.12 (phenols that are no flavonoids) to 314 (proline).
        train: wines in ``"train"``.
        valid: wines in ``"valid"``; what is left is ``"test"``.
        dtype: of the inputs.

    Returns:
        split → (inputs of shape (wines, 13), classes 0 to 2 of shape (wines,)).

    Raises:
        ValueError: a split would be empty.

    Source: scikit-learn's ``load_wine``, after Aeberhard and Forina (1991).
    """
    inputs, classes = load_wine(return_X_y=True)
    if standardised:
        inputs = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    return {
        name: (torch.tensor(x, dtype=dtype), torch.tensor(y, dtype=torch.int64))
        for name, (x, y) in _split(inputs, classes, seed, train, valid).items()
    }


def diabetes(
    seed: int = 0,
    *,
    train: int = 200,
    valid: int = 100,
    dtype: torch.dtype = torch.float32,
) -> Splits:
    """Return 442 patients, 10 measurements of each, and how far their diabetes went in a year.

    All features and the target have mean 0 and deviation 1: so 1 − mean squared error is about R².

    Args:
        seed: of the shuffle.
        train: patients in ``"train"``.
        valid: patients in ``"valid"``; what is left is ``"test"``.
        dtype: of inputs and targets.

    Returns:
        split → (inputs of shape (patients, 10), targets of shape (patients, 1)).

    Raises:
        ValueError: a split would be empty.

    Source: scikit-learn's ``load_diabetes``, after Efron, Hastie, Johnstone and Tibshirani (2004).
    """
    inputs, target = load_diabetes(return_X_y=True)
    inputs = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    target = ((target - target.mean()) / target.std())[:, np.newaxis]
    return {
        name: (torch.tensor(x, dtype=dtype), torch.tensor(y, dtype=dtype))
        for name, (x, y) in _split(inputs, target, seed, train, valid).items()
    }
