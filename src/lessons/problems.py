"""Data sets for the experiments. None needs a network.

A data set is a dictionary: split → (inputs, targets), as :func:`lessons.sweep.sweep` takes it.
"""

import functools
import inspect
from importlib.resources import files

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from torch import Tensor

from lessons.arguments import check_count, check_part
from lessons.optim.base import check_flag, check_number

Splits = dict[str, tuple[Tensor, Tensor]]


# --- what every data set asks of its arguments ------------------------------------------------------


def _seed(name: str, value) -> int:
    return check_count(name, value, least=0)


def _number(name: str, value) -> float:
    check_number(name, value)
    return float(value)


def _chance(name: str, value) -> float:
    if check_part(name, value) in (0, 1):
        raise ValueError(f"{name} must be between 0 and 1, but got {value}")
    return float(value)


def _two_parts(name: str, value) -> tuple[float, ...]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(f"{name} must be a pair of numbers, but got {value!r}")
    return tuple(check_part(f"{name}[{i}]", part) for i, part in enumerate(value))


def _flag(name: str, value) -> bool:
    check_flag(name, value)
    return bool(value)


def _word(*words: str):
    def check(name: str, value) -> str:
        if not isinstance(value, str):
            raise TypeError(f"{name} must be a word, but got {value!r}")
        if value not in words:
            raise ValueError(f"{name} must be {' or '.join(words)}, but got {value!r}")
        return value

    return check


def _dtype(name: str, value) -> torch.dtype:
    if not isinstance(value, torch.dtype):
        raise TypeError(f"{name} must be a torch.dtype, but got {value!r}")
    if not value.is_floating_point:
        raise ValueError(f"{name} must be a type of real numbers, but got {value}")
    return value


ARGUMENTS = dict(
    seed=_seed,
    train=check_count,
    valid=check_count,
    test=check_count,
    features=check_count,
    words=check_count,
    informative=functools.partial(check_count, least=0),
    noise_columns=functools.partial(check_count, least=0),
    spread=_number,
    noise=_number,
    noise_scale=_number,
    exponent=_number,
    label_noise=check_part,
    share=_chance,
    standardised=_flag,
    kind=_word("scales", "frequencies"),
    truth=_word("alike", "balanced"),
    dtype=_dtype,
)


def _checked(load=None, **special):
    """Have ``load`` check its arguments, each as ``ARGUMENTS`` or ``special`` says for its name.

    A check returns the value as a plain number: NumPy's small integers would overflow in sums.
    """
    if load is None:
        return functools.partial(_checked, **special)
    signature = inspect.signature(load)
    checks = {name: {**ARGUMENTS, **special}[name] for name in signature.parameters}

    @functools.wraps(load)
    def checked(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        values = {
            name: checks[name](name, value) for name, value in bound.arguments.items()
        }
        return load(**values)

    return checked


# --- the data sets ----------------------------------------------------------------------------------


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


@_checked
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
        TypeError: an argument is of a wrong kind, as 2.5 or True for a count.
        ValueError: a split would be empty.

    Source: scikit-learn's ``load_digits``, after Alpaydin and Kaynak (1998).
    """
    return {
        name: (torch.tensor(x, dtype=dtype), torch.tensor(y, dtype=torch.int64))
        for name, (x, y) in split(*_standardised_digits(), seed, train, valid).items()
    }


@_checked
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
        TypeError: an argument is of a wrong kind, as 2.5 or True for a count.
        ValueError: a split would be empty, or a setting is out of range.
    """
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


def split(inputs, targets, seed: int, train: int, valid: int) -> dict[str, tuple]:
    """Return the shuffled examples in three splits; what is left of them is ``"test"``.

    Args:
        inputs, targets: arrays or tensors, an example a row.
        seed: of the shuffle.
        train: examples in ``"train"``.
        valid: examples in ``"valid"``.

    Raises:
        TypeError: the seed or a size is no whole number.
        ValueError: a split would be empty.
    """
    train, valid = check_count("train", train), check_count("valid", valid)
    if train + valid >= len(inputs):
        raise ValueError(
            f"train and valid must leave some of {len(inputs)}, but got {train}, {valid}"
        )
    order = np.random.default_rng(_seed("seed", seed)).permutation(len(inputs))
    parts = np.split(order, [train, train + valid])
    return {
        name: (inputs[part], targets[part])
        for name, part in zip(("train", "valid", "test"), parts, strict=True)
    }


def _standardised(inputs: np.ndarray) -> np.ndarray:
    """Return inputs whose every column has mean 0 and standard deviation 1."""
    return (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)


@_checked
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
        TypeError: an argument is of a wrong kind, as 2.5 or True for a count.
        ValueError: a split would be empty.

    Source: scikit-learn's ``load_wine``, after Aeberhard and Forina (1991).
    """
    inputs, classes = load_wine(return_X_y=True)
    if standardised:
        inputs = _standardised(inputs)
    return {
        name: (torch.tensor(x, dtype=dtype), torch.tensor(y, dtype=torch.int64))
        for name, (x, y) in split(inputs, classes, seed, train, valid).items()
    }


@_checked
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
        TypeError: an argument is of a wrong kind, as 2.5 or True for a count.
        ValueError: a split would be empty.

    Source: scikit-learn's ``load_diabetes``, after Efron, Hastie, Johnstone and Tibshirani (2004).
    """
    inputs, target = load_diabetes(return_X_y=True)
    inputs = _standardised(inputs)
    target = ((target - target.mean()) / target.std())[:, np.newaxis]
    return {
        name: (torch.tensor(x, dtype=dtype), torch.tensor(y, dtype=dtype))
        for name, (x, y) in split(inputs, target, seed, train, valid).items()
    }


@functools.cache
def _generated_mnist1d() -> tuple[np.ndarray, np.ndarray]:
    """Return the 5000 standard examples of MNIST-1D, as its package generates them, and their classes."""
    import random

    from mnist1d.data import get_dataset_args, make_dataset

    # It seeds the global generators, which are the caller's.
    state, numpys_state = random.getstate(), np.random.get_state()
    try:
        data = make_dataset(get_dataset_args())
    finally:
        random.setstate(state)
        np.random.set_state(numpys_state)
    return (
        np.concatenate([data["x"], data["x_test"]]),
        np.concatenate([data["y"], data["y_test"]]),
    )


@_checked
def mnist1d(
    seed: int = 0,
    *,
    train: int = 500,
    valid: int = 1000,
    dtype: torch.dtype = torch.float32,
) -> Splits:
    """Return MNIST-1D, digits drawn as noisy curves of 40 points, shuffled into three splits.

    A digit may stand anywhere on the curve, so a model has to find it: convolutions do well, linear models not.

    Args:
        seed: of the shuffle. The 5000 examples are always the same.
        train: examples in ``"train"``.
        valid: examples in ``"valid"``; what is left of the 5000 is ``"test"``.
        dtype: of the inputs.

    Returns:
        split → (inputs of shape (examples, 40), classes 0 to 9 of shape (examples,)).

    Raises:
        TypeError: an argument is of a wrong kind, as 2.5 or True for a count.
        ValueError: a split would be empty.

    Source: generated by the package ``mnist1d`` of Greydanus and Kobak (2024), with its defaults.
    """
    return {
        name: (torch.tensor(x, dtype=dtype), torch.tensor(y, dtype=torch.int64))
        for name, (x, y) in split(*_generated_mnist1d(), seed, train, valid).items()
    }


@_checked
def unequal_features(
    seed: int = 0,
    *,
    kind: str = "scales",
    truth: str = "alike",
    features: int = 50,
    train: int = 100,
    valid: int = 1000,
    test: int = 1000,
    noise: float = 1.0,
    dtype: torch.dtype = torch.float32,
) -> Splits:
    """Return linear regression on features of which some are large or frequent and others small or rare.

    The target is Σ xⱼwⱼ plus noise. Divided by one number, without the noise it has a variance of about 1.

    Args:
        seed: of everything that is drawn.
        kind: ``"scales"``: xⱼ is Gaussian with a standard deviation of its own, sⱼ = 10^u, u uniform on ±1.
            ``"frequencies"``: xⱼ is 1 with a probability of its own, pⱼ = 10^u, u uniform from −2 to −0.3, and
            otherwise 0; sⱼ is the root of pⱼ.
        truth: ``"alike"``: wⱼ is drawn from N(0, 1), whatever the feature. ``"balanced"``: it is divided by
            sⱼ, so that each feature contributes about as much to the target as any other.
        features: how many.
        train, valid, test: examples in each split.
        noise: the standard deviation of the noise on the targets, in all splits.
        dtype: of inputs and targets.

    Returns:
        split → (inputs of shape (examples, features), targets of shape (examples, 1)).

    Raises:
        TypeError: an argument is of a wrong kind, as 2.5 or True for a count.
        ValueError: a word or a number is out of range.
    """
    draw = np.random.default_rng(seed)
    examples = train + valid + test
    if kind == "scales":
        size = 10 ** draw.uniform(-1, 1, features)
        inputs = size * draw.standard_normal((examples, features))
    else:
        size = 10 ** (draw.uniform(-2, -0.3, features) / 2)
        inputs = (draw.random((examples, features)) < size**2).astype(float)
    weights = draw.standard_normal(features)
    if truth == "balanced":
        weights /= size
    weights /= np.linalg.norm(size * weights)
    targets = inputs @ weights + noise * draw.standard_normal(examples)
    cuts = [train, train + valid]
    return {
        name: (torch.tensor(x, dtype=dtype), torch.tensor(y[:, None], dtype=dtype))
        for name, x, y in zip(
            ("train", "valid", "test"),
            np.split(inputs, cuts),
            np.split(targets, cuts),
            strict=True,
        )
    }


@_checked(label_noise=_two_parts)
def two_heads(
    seed: int = 0,
    *,
    label_noise: tuple[float, float] = (0.3, 0.3),
    train: int = 300,
    valid: int = 500,
    dtype: torch.dtype = torch.float32,
) -> Splits:
    """Return standardised digits with two questions to each image, for a network with two heads.

    The first asks for the digit's remainder on division by 5, the second for its half, rounded down: five
    classes each, which together name the digit.

    Args:
        seed: of everything that is drawn.
        label_noise: for each question the part of the training labels that is replaced by another class.
            The other splits keep their true labels.
        train: images in ``"train"``.
        valid: images in ``"valid"``; what is left of the 1797 is ``"test"``.
        dtype: of the inputs.

    Returns:
        split → (inputs of shape (images, 64), classes 0 to 4 of shape (images, 2)).

    Raises:
        TypeError: an argument is of a wrong kind, as 2.5 or True for a count.
        ValueError: a split would be empty, or a part is not from 0 to 1.
    """
    splits = {
        name: (inputs, torch.stack([classes % 5, classes // 2], 1))
        for name, (inputs, classes) in digits(
            seed, train=train, valid=valid, dtype=dtype
        ).items()
    }
    draw = np.random.default_rng([seed, 2])  # apart from the shuffle's
    labels = splits["train"][1]
    for question, part in enumerate(label_noise):
        wrong = torch.from_numpy(draw.permutation(train)[: round(part * train)])
        shift = torch.from_numpy(draw.integers(1, 5, len(wrong)))
        labels[wrong, question] = (labels[wrong, question] + shift) % 5
    return splits


@functools.cache
def _docstring_counts() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the words, the counts of shape (documents, words) as float32, and the documents' classes."""
    with (
        (files("lessons") / "data" / "docstrings.npz").open("rb") as file,
        np.load(file) as stored,
    ):
        words = np.array(stored["words"].item().split())
        counts = np.zeros((len(stored["classes"]), len(words)), dtype=np.float32)
        rows = np.repeat(np.arange(len(counts)), stored["lengths"])
        counts[rows, stored["columns"]] = stored["counts"]
        return words, counts, stored["classes"].astype(np.int64)


@_checked
def docstrings(
    seed: int = 0,
    *,
    train: int = 1000,
    valid: int = 1000,
    dtype: torch.dtype = torch.float32,
) -> Splits:
    """Return docstrings of four Python packages as bags of words, shuffled into three splits.

    The task is to say which package a docstring is from: matplotlib (class 0), sklearn (1), sympy (2) or
    torch (3), a thousand from each. The packages' own names are left out. An input is ln(1 + count) of a
    word, 0 for most of the 2860 words, and then each document is scaled to length 1 (Euclidean norm), so
    that long ones weigh no more than short ones.

    Args:
        seed: of the shuffle.
        train: documents in ``"train"``.
        valid: documents in ``"valid"``; what is left of the 4000 is ``"test"``.
        dtype: of the inputs.

    Returns:
        split → (inputs of shape (documents, words), dense; classes 0 to 3 of shape (documents,)).

    Raises:
        TypeError: an argument is of a wrong kind, as 2.5 or True for a count.
        ValueError: a split would be empty.

    Source: the docstrings of matplotlib 3.11.2, scikit-learn 1.9.1, sympy 1.14.0 and torch 2.13.0, of at
    least 30 words, in the hands of their authors and under the packages' BSD-like licences. They were
    counted once, by experiments/docstrings.py, and the counts are stored with this package.
    """
    _, counts, classes = _docstring_counts()
    splits = {}
    for name, (rows, targets) in split(counts, classes, seed, train, valid).items():
        inputs = torch.from_numpy(rows).to(dtype).log1p_()
        inputs /= inputs.norm(dim=1, keepdim=True)
        splits[name] = (inputs, torch.from_numpy(targets))
    return splits


def docstring_words() -> list[str]:
    """Return the words that :func:`docstrings` counts, one a column, in alphabetic order."""
    return _docstring_counts()[0].tolist()


@_checked
def zipf_features(
    seed: int,
    *,
    features: int = 1000,
    exponent: float = 1.0,
    words: int = 10,
    train: int = 4000,
    valid: int = 1000,
    test: int = 1000,
    dtype: torch.dtype = torch.float64,
) -> Splits:
    """Return sparse examples of 0s and 1s, like documents of a few words, with labels from a linear truth.

    An example draws ``words`` of the features, with replacement, and has a 1 at each that it drew. Feature
    j, counted from 1, is drawn in proportion to j^−exponent. The true weights are normal with deviation 1,
    whatever a feature's frequency; the label is 1 with probability sigmoid(sum of the weights drawn).

    Args:
        seed: of everything that is drawn.
        features: how many there are; the first is the most frequent.
        exponent: 1 for Zipf's law, as words have it; 0 makes all features equally frequent.
        words: draws an example.
        train: examples in ``"train"``.
        valid: examples in ``"valid"``.
        test: examples in ``"test"``.
        dtype: of inputs and targets.

    Returns:
        split → (inputs of shape (examples, features), labels 0 or 1 of shape (examples, 1): such as
        ``binary_cross_entropy_with_logits`` takes).

    Raises:
        TypeError: an argument is of a wrong kind, as 2.5 or True for a count.
        ValueError: a size is below 1, or the exponent is negative.

    Source: Zipf (1949) for the law.
    """
    sizes = dict(features=features, words=words, train=train, valid=valid, test=test)
    random = np.random.default_rng(seed)
    truth = random.standard_normal(features)
    share = np.arange(1, features + 1) ** -exponent
    below = np.cumsum(share / share.sum())[:-1]  # where each feature's share ends
    splits = {}
    for name in ("train", "valid", "test"):
        drawn = np.searchsorted(below, random.random((sizes[name], words)), side="right")
        inputs = np.zeros((sizes[name], features))
        np.put_along_axis(inputs, drawn, 1, axis=1)
        chance = 1 / (1 + np.exp(-inputs @ truth))
        labels = random.random(sizes[name]) < chance
        splits[name] = (
            torch.tensor(inputs, dtype=dtype),
            torch.tensor(labels[:, None], dtype=dtype),
        )
    return splits


@_checked
def lasso(
    seed: int = 0,
    *,
    features: int = 60,
    informative: int = 10,
    noise: float = 1.0,
    spread: float = 0.0,
    train: int = 100,
    valid: int = 100,
    test: int = 1000,
    dtype: torch.dtype = torch.float64,
) -> Splits:
    """Return a regression in which only the first ``informative`` features matter: the other weights are 0.

    The target is the sum of the informative features, each times a weight of its own, and noise. A weight is
    from 0.5 to 1.5 in size and has a random sign.

    Args:
        seed: of everything that is drawn. What a setting does not touch stays the same: so two spreads
            differ in nothing but the units.
        features: normally distributed, independent, with standard deviation 1 (before ``spread``).
        informative: how many of them have a weight other than 0.
        noise: the standard deviation of what the features do not explain.
        spread: each feature is multiplied by its own 10^u, u uniform on ±spread, and its weight divided by
            that: as if measured in another unit. The targets stay the same.
        train, valid, test: examples in the splits.
        dtype: of inputs and targets.

    Returns:
        split → (inputs of shape (examples, features), targets of shape (examples, 1)).

    Raises:
        TypeError: an argument is of a wrong kind, as 2.5 or True for a count.
        ValueError: a setting is out of range.

    Source: named after Tibshirani (1996), whose estimator finds such weights.
    """
    if informative > features:
        raise ValueError(
            f"informative must be from 0 to features, but got {informative} of {features}"
        )
    sizes = dict(train=train, valid=valid, test=test)
    truth, units, *splits = (np.random.default_rng([seed, part]) for part in range(5))
    weights = truth.uniform(0.5, 1.5, features) * truth.choice([-1, 1], features)
    weights[informative:] = 0
    scale = 10 ** (spread * units.uniform(-1, 1, features))
    data = {}
    for (name, size), random in zip(sizes.items(), splits, strict=True):
        inputs = random.standard_normal((size, features))
        targets = inputs @ weights + noise * random.standard_normal(size)
        data[name] = (
            torch.tensor(inputs * scale, dtype=dtype),
            torch.tensor(targets[:, np.newaxis], dtype=dtype),
        )
    return data


@_checked
def breast_cancer(
    seed: int = 0,
    *,
    noise_columns: int = 0,
    train: int = 300,
    valid: int = 100,
    dtype: torch.dtype = torch.float64,
) -> Splits:
    """Return 569 tumours, 30 measurements of each, and whether the tumour is benign (1) or malignant (0).

    The measurements have mean 0 and deviation 1 over all tumours. Their names are scikit-learn's
    ``load_breast_cancer().feature_names``, in the same order.

    Args:
        seed: of the shuffle and of the noise.
        noise_columns: how many features of pure noise, with deviation 1, to append: a weight there is a
            mistake.
        train: tumours in ``"train"``.
        valid: tumours in ``"valid"``; what is left is ``"test"``.
        dtype: of inputs and targets.

    Returns:
        split → (inputs of shape (tumours, 30 + noise_columns), targets of shape (tumours, 1), which suit
        ``binary_cross_entropy_with_logits``).

    Raises:
        TypeError: an argument is of a wrong kind, as 2.5 or True for a count.
        ValueError: a split would be empty, or ``noise_columns`` is negative.

    Source: scikit-learn's ``load_breast_cancer``, after Street, Wolberg and Mangasarian (1993).
    """
    inputs, benign = load_breast_cancer(return_X_y=True)
    inputs = _standardised(inputs)
    random = np.random.default_rng([seed, 1])  # apart from the shuffle's
    noise = random.standard_normal((len(inputs), noise_columns))
    inputs, benign = np.hstack([inputs, noise]), benign[:, np.newaxis]
    return {
        name: (torch.tensor(x, dtype=dtype), torch.tensor(y, dtype=dtype))
        for name, (x, y) in split(inputs, benign, seed, train, valid).items()
    }


@_checked
def separable(
    seed: int = 0,
    *,
    train: int = 200,
    test: int = 2000,
    share: float = 0.75,
    dtype: torch.dtype = torch.float64,
) -> Splits:
    """Return a separable problem on which adaptive optimizers learn the wrong thing.

    A label y is 1 in about ``share`` of the cases, else −1. The first feature is y itself; the second and the
    third are 1. All others are 0 but for those that one training example has to itself: one feature if
    y = 1, five if y = −1. In the test examples these are all 0, since their own features were never trained.

    Args:
        seed: of the labels, from which all else follows.
        train: examples in ``"train"``.
        test: examples in ``"test"``.
        share: the chance of a label 1, above a half in the source.
        dtype: of inputs and targets.

    Returns:
        split → (inputs of shape (examples, 3 + 5 · train), labels −1 or 1 of shape (examples,)).

    Raises:
        TypeError: an argument is of a wrong kind, as 2.5 or True for a count.
        ValueError: a size is below 1, or the share is not between 0 and 1.

    Source: Wilson et al. (2017).
    """
    random = np.random.default_rng(seed)
    splits = {}
    for name, size in (("train", train), ("test", test)):
        labels = np.where(random.random(size) < share, 1.0, -1.0)
        inputs = np.zeros((size, 3 + 5 * train))
        inputs[:, 0], inputs[:, 1:3] = labels, 1
        if name == "train":
            for example, label in enumerate(labels):
                first = 3 + 5 * example
                inputs[example, first : first + (1 if label > 0 else 5)] = 1
        splits[name] = (
            torch.tensor(inputs, dtype=dtype),
            torch.tensor(labels, dtype=dtype),
        )
    return splits
