"""What holds for every data set: arguments are checked, no example is in two splits, draws are independent."""

import functools
import hashlib
import inspect
import itertools
import math

import numpy as np
import pytest
import torch

from lessons import problems
from lessons.problems import (
    digits,
    digits_task,
    docstrings,
    lasso,
    mnist1d,
    separable,
    two_heads,
    unequal_features,
    zipf_features,
)

frequencies = functools.partial(unequal_features, kind="frequencies")
# Those that shuffle a fixed set, and those that draw.
FIXED = ["digits", "wine", "diabetes", "mnist1d", "docstrings", "breast_cancer"]
NOISY = ["digits_task", "two_heads"]
DRAWN = ["unequal_features", "zipf_features", "lasso", "separable"]
EVERY = FIXED + NOISY + DRAWN
every_set = pytest.mark.parametrize("name", EVERY)

NOT_A_COUNT = [2.5, 3.0, math.nan, math.inf, True, "3", None, torch.tensor(3)]
NOT_A_NUMBER = [True, "0.1", None, 1j, [0.1]]
NOT_FINITE = [math.nan, math.inf, -math.inf, np.float32("nan"), torch.tensor(math.nan)]
COUNTS = ["train", "valid", "test", "features", "words", "informative", "noise_columns"]
WRONG = dict.fromkeys(["seed", *COUNTS], (NOT_A_COUNT, [-1, np.int64(-1)]))
WRONG |= dict.fromkeys(
    ["noise", "noise_scale", "spread", "exponent"], (NOT_A_NUMBER, [-0.1, *NOT_FINITE])
)
WRONG |= {
    "label_noise": (NOT_A_NUMBER, [-0.1, 1.01, *NOT_FINITE]),
    "share": (NOT_A_NUMBER, [-0.1, 0, 1, 1.01, *NOT_FINITE]),
    "dtype": (["float32", None, float], [torch.int64, torch.complex64]),
    "standardised": ([0, "False", None], []),
    "kind": ([1, None], ["sizes", "alike"]),
    "truth": ([1, None], ["true", "scales"]),
}
PAIR = (
    [0.3, (0.3,), (0.1, 0.2, 0.3), "ab", *([0.3, v] for v in NOT_A_NUMBER)],
    [(0.3, v) for v in [-0.1, 1.01, *NOT_FINITE]],
)


def load(name, seed=0, **settings):
    return getattr(problems, name)(seed, **settings)


@every_set
def test_every_argument_of_a_wrong_kind_or_value_is_refused_by_name_and_value(name):
    for argument in inspect.signature(getattr(problems, name)).parameters:
        of_pair = (name, argument) == ("two_heads", "label_noise")
        kinds, values = PAIR if of_pair else WRONG[argument]
        for error, wrongs in ((TypeError, kinds), (ValueError, values)):
            for wrong in wrongs:
                settings = {"seed": 0} | {argument: wrong}
                with pytest.raises(error) as raised:
                    load(name, **settings)
                message = str(raised.value)
                assert argument in message
                part = wrong[1] if of_pair and error is ValueError else wrong
                if not isinstance(wrong, list):
                    assert format(part) in message or repr(part) in message


@every_set
def test_a_count_of_zero_is_refused_where_something_has_to_be(name):
    for argument in inspect.signature(getattr(problems, name)).parameters:
        if argument in ("train", "valid", "test", "features", "words"):
            with pytest.raises(ValueError, match=f"{argument} must be ≥ 1, but got 0"):
                load(name, **{argument: 0})


@every_set
def test_numpys_numbers_are_numbers(name):
    parameters = inspect.signature(getattr(problems, name)).parameters
    plain = {c: 60 for c in COUNTS[:5] if c in parameters} | {"seed": 3}
    numpys = {key: np.int8(value) for key, value in plain.items()}
    plain |= {"noise": 0.5} if "noise" in parameters else {}
    numpys |= {"noise": np.float64(0.5)} if "noise" in parameters else {}
    for split, pair in load(name, **plain).items():
        for one, other in zip(pair, load(name, **numpys)[split], strict=True):
            assert torch.equal(one, other)


def test_a_split_checks_what_it_is_given():
    rows = np.arange(10)
    for wrong in ({"seed": 0.9}, {"train": 2.5}, {"valid": True}):
        with pytest.raises(TypeError, match=next(iter(wrong))):
            problems.split(rows, rows, **{"seed": 0, "train": 3, "valid": 3} | wrong)
    with pytest.raises(ValueError, match="seed must be ≥ 0, but got -1"):
        problems.split(rows, rows, -1, 3, 3)
    parts = problems.split(rows, rows + 100, 0, 3, 4)
    assert [len(x) for x, _ in parts.values()] == [3, 4, 3]
    assert sorted(np.concatenate([x for x, _ in parts.values()])) == [*range(10)]
    assert all((y == x + 100).all() for x, y in parts.values())


# --- splits and seeds -------------------------------------------------------------------------------


def rows(splits):
    """Return each split's examples, inputs and targets together, as a list of bytes."""
    return {
        split: [
            np.concatenate([x.ravel(), np.ravel(y)]).tobytes()
            for x, y in zip(inputs.double().numpy(), targets.double().numpy(), strict=True)
        ]
        for split, (inputs, targets) in splits.items()
    }


@pytest.mark.parametrize("name", FIXED)
def test_a_fixed_set_holds_each_example_once_whatever_the_seed(name):
    first, second = (rows(load(name, seed)) for seed in (0, 1))
    everything = [[*itertools.chain(*examples.values())] for examples in (first, second)]
    assert sorted(everything[0]) == sorted(everything[1])
    for split in first:
        assert first[split] != second[split]
        assert sorted(first[split]) != sorted(second[split])
    if name != "docstrings":  # some functions share their text
        assert all(len(set(every)) == len(every) for every in everything)


@pytest.mark.parametrize("name", EVERY)
def test_the_seed_decides_everything(name):
    first, same, other = (load(name, seed) for seed in (3, 3, 4))
    for split, pair in first.items():
        for i, values in enumerate(pair):
            assert torch.equal(values, same[split][i])
            assert not torch.equal(values, other[split][i])


SMALL = dict(train=2000, valid=2000, test=2000)


@pytest.mark.parametrize("loader", [lasso, unequal_features], ids=["lasso", "unequal"])
def test_drawn_splits_share_no_draw(loader):
    plain, quiet = loader(5, **SMALL), loader(5, **SMALL, noise=0)
    inputs = [x.double() / x.double().std(0) for x, _ in plain.values()]
    noise = [(y - quiet[split][1]).double() for split, (_, y) in plain.items()]
    for parts in (inputs, noise):
        for i, part in enumerate(parts):
            assert part.std().item() == pytest.approx(
                1, abs=0.08
            )  # in each split, train too
            assert abs(part.mean().item()) < 0.1
            for other in parts[:i]:
                product = (part * other).mean(0)
                assert product.abs().max() < 6 / 2000**0.5


@pytest.mark.parametrize(
    "loader", [zipf_features, frequencies], ids=["zipf", "frequencies"]
)
def test_splits_of_zeros_and_ones_share_no_draw(loader):
    splits = [x for x, _ in loader(5, **SMALL).values()]
    for i, one in enumerate(splits):
        for other in splits[:i]:
            assert (one == other).all(1).double().mean() < 0.05


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_labels_of_zipf_are_chances_drawn_anew_in_each_split(seed):
    """One feature, drawn once: every example has the same chance, and nothing else differs."""
    splits = zipf_features(seed, features=1, words=1, **SMALL)
    labels = [y[:, 0] for _, y in splits.values()]
    assert all((x == 1).all() for x, _ in splits.values())
    truth = np.random.default_rng(seed).standard_normal(1)[0]
    chance = 1 / (1 + math.exp(-truth))
    for i, one in enumerate(labels):
        assert one.mean().item() == pytest.approx(chance, abs=5 * 0.5 / 2000**0.5)
        for other in labels[:i]:
            same = (one == other).double().mean().item()
            assert same == pytest.approx(chance**2 + (1 - chance) ** 2, abs=0.06)


def test_the_labels_of_separable_are_drawn_anew_in_each_split():
    splits = separable(1, train=400, test=400, share=0.5)
    same = (splits["train"][1] == splits["test"][1]).double().mean().item()
    assert same == pytest.approx(0.5, abs=0.125)  # 5 standard errors


@pytest.mark.parametrize("seed", [0, 1])
def test_lasso_has_the_moments_that_it_says(seed):
    weights = []
    for s in range(10 * seed, 10 * seed + 10):
        x, y = lasso(s, train=3000, noise=0)["train"]
        assert abs(x.mean().item()) < 0.015 and x.std().item() == pytest.approx(1, abs=0.01)
        weights.append(torch.linalg.lstsq(x, y).solution[:10, 0])
    sizes = torch.cat(weights).abs()
    assert sizes.min() >= 0.5 and sizes.max() <= 1.5
    assert sizes.mean().item() == pytest.approx(1, abs=0.15)
    assert 0.3 < (torch.cat(weights) > 0).double().mean() < 0.7


# --- wrong labels -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 1.0])
def test_wrong_labels_are_of_every_other_class_alike_and_in_training_alone(part, seed):
    noisy = digits_task(seed, label_noise=part, train=1200, valid=300)
    true = digits(seed, train=1200, valid=300)
    for split in ("valid", "test"):
        assert torch.equal(noisy[split][1], true[split][1])
    shift = (noisy["train"][1] - true["train"][1]) % 10
    counts = shift.bincount(minlength=10)
    assert counts[0] == 1200 - round(part * 1200)
    expected = part * 1200 / 9
    assert (counts[1:] - expected).abs().max() <= 5 * expected**0.5
    wrong = shift.nonzero()[:, 0].double()
    if part == 0.5:  # anywhere, not at the front
        assert wrong.mean().item() == pytest.approx(600, abs=50)


def test_two_heads_err_apart_from_each_other():
    settings = dict(train=1200, valid=300)
    noisy = two_heads(3, label_noise=(0.5, 0.5), **settings)["train"][1]
    true = two_heads(3, label_noise=(0, 0), **settings)["train"][1]
    wrong = noisy != true
    assert wrong.sum(0).tolist() == [600, 600]
    both = wrong.all(1).double().mean().item()
    assert both == pytest.approx(0.25, abs=0.07)
    shifts = ((noisy - true) % 5)[wrong].bincount(minlength=5)
    assert shifts[0] == 0 and (shifts[1:] - 300).abs().max() <= 5 * 300**0.5


# --- inputs belong to their targets -----------------------------------------------------------------


def centroid_accuracy(splits):
    """Return the part of the test examples that the nearest training mean classifies rightly."""
    (x, y), (new, true) = splits["train"], splits["test"]
    means = torch.stack([x[y == c].mean(0) for c in range(int(y.max()) + 1)])
    return (torch.cdist(new, means).argmin(1) == true).double().mean().item()


@pytest.mark.parametrize(
    ("name", "least"),
    [("digits", 0.85), ("wine", 0.8), ("docstrings", 0.75), ("mnist1d", 0.2)],
)
def test_the_nearest_mean_is_far_better_than_chance(name, least):
    assert centroid_accuracy(load(name, dtype=torch.float64)) > least


def test_mnist1d_has_the_labels_of_its_package():
    from mnist1d.data import get_dataset_args, make_dataset

    state = np.random.get_state()
    data = make_dataset(get_dataset_args())
    np.random.set_state(state)
    labels = {
        x.tobytes(): y
        for part in ("", "_test")
        for x, y in zip(data["x" + part], data["y" + part], strict=True)
    }
    assert len(labels) == 5000
    for inputs, classes in mnist1d(1, dtype=torch.float64).values():
        found = [labels.pop(x.tobytes()) for x in inputs.numpy()]
        assert found == classes.tolist()
    assert not labels


def test_a_docstrings_entries_are_logarithms():
    inputs, _ = docstrings(2, dtype=torch.float64)["test"]
    logarithms = {round(math.log(1 + n) / math.log(2), 6) for n in range(1, 400)}
    second = []
    for row in inputs[:300]:
        values = row[row > 0].unique()  # in rising order
        ratios = (values / values[0]).tolist()
        if len(ratios) > 1:
            second.append(round(ratios[1], 6))
        assert values[0] <= 1 and set(np.round(ratios, 6)) <= logarithms
    # Of the words that stand there twice and once: ln 3 / ln 2, not 2.
    assert second.count(round(math.log(3) / math.log(2), 6)) > 0.9 * len(second)


# --- the same on every platform ---------------------------------------------------------------------


def checksum(splits):
    """Return a few digits that change with any value of a data set, but not with its last bits."""
    sums = hashlib.sha256()
    for split, pair in sorted(splits.items()):
        for values in pair:
            rounded = (values.double().numpy() * 1e5).round().astype(np.int64)
            sums.update(f"{split} {rounded.shape}".encode() + rounded.tobytes())
    return sums.hexdigest()[:12]


CHECKSUMS = {
    "digits": "58c9bd0689c7",
    "wine": "98783349179f",
    "diabetes": "9fe40fd15173",
    "mnist1d": "39517fc53e92",
    "docstrings": "fba6aa51b176",
    "breast_cancer": "b0ca80ca1d6b",
    "digits_task": "738c11336816",
    "two_heads": "8e5b51b9f1ae",
    "unequal_features": "ea53138bc95f",
    "zipf_features": "aeae987b319d",
    "lasso": "0056e7991d2f",
    "separable": "af6629a62ead",
}


@every_set
def test_a_seed_draws_the_same_on_every_platform(name):
    assert checksum(load(name, 5, dtype=torch.float64)) == CHECKSUMS[name]


@every_set
def test_the_type_is_that_which_is_asked_for_and_the_seed_is_0_if_none_is(name):
    function = getattr(problems, name)
    parameters = inspect.signature(function).parameters
    seeds = [] if parameters["seed"].default == 0 else [0]
    assert seeds or parameters["seed"].default == 0
    for dtype in (torch.float32, torch.float64):
        if "dtype" not in parameters:
            continue
        plain, seeded = function(*seeds, dtype=dtype), function(0, dtype=dtype)
        for split, tensors in plain.items():
            for a, b in zip(tensors, seeded[split], strict=True):
                assert torch.equal(a, b) and a.dtype in (dtype, torch.int64)
            assert tensors[0].dtype == dtype


def test_noise_columns_are_weaker_than_the_pixels_by_default():
    inputs = digits_task(0, noise_columns=50, valid=1000)["valid"][0]
    assert inputs[:, -50:].std() == pytest.approx(10**-0.5, rel=0.02)
