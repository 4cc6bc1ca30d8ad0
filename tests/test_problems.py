import random
from importlib.resources import files

import numpy as np
import pytest
import torch

from lessons.problems import (
    _generated_mnist1d,
    breast_cancer,
    diabetes,
    digits,
    digits_task,
    docstring_words,
    docstrings,
    lasso,
    mnist1d,
    separable,
    two_heads,
    unequal_features,
    wine,
    zipf_features,
)


def test_digits_are_standardised_and_every_image_is_in_one_split():
    splits = digits(dtype=torch.float64)
    assert [len(x) for x, _ in splits.values()] == [1000, 300, 497]
    everything = torch.cat([x for x, _ in splits.values()])
    assert everything.shape == (1797, 64)
    assert torch.allclose(
        everything.mean(0), torch.zeros(64, dtype=torch.float64), atol=1e-12
    )
    deviation = everything.std(0, correction=0)
    assert sorted(deviation.round(decimals=12).unique().tolist()) == [0, 1]
    assert (deviation == 0).sum() == 3  # pixels that are dark in every image
    assert torch.cat([y for _, y in splits.values()]).bincount().tolist() == [
        178, 182, 177, 183, 181, 182, 181, 179, 174, 180,
    ]  # fmt: skip


def test_digits_keep_each_image_with_its_class():
    def pairs(splits):
        return {
            (tuple(x.tolist()), y.item())
            for xs, ys in splits.values()
            for x, y in zip(xs, ys, strict=True)
        }

    assert pairs(digits(0)) == pairs(digits(1))


def test_the_seed_decides_the_splits():
    assert torch.equal(digits(3)["test"][0], digits(3)["test"][0])
    assert not torch.equal(digits(3)["test"][0], digits(4)["test"][0])


@pytest.mark.parametrize(
    ("train", "valid", "got"),
    [
        (0, 300, "train must be ≥ 1, but got 0"),
        (300, 0, "valid must be ≥ 1, but got 0"),
        (*(1000, 797), "got 1000, 797"),
    ],
)
def test_digits_refuse_an_empty_split(train, valid, got):
    with pytest.raises(ValueError, match=got):
        digits(train=train, valid=valid)


def test_the_task_without_changes_is_the_plain_digits():
    task, plain = (
        digits_task(5, label_noise=0),
        digits(5, train=300, valid=500, dtype=torch.float64),
    )
    for split in plain:
        for changed, original in zip(task[split], plain[split], strict=True):
            assert torch.equal(changed, original)


def test_label_noise_makes_exactly_that_part_of_the_training_labels_wrong_and_no_other():
    task, plain = digits_task(5, label_noise=0.3), digits_task(5, label_noise=0)
    wrong = {split: (task[split][1] != plain[split][1]).sum().item() for split in task}
    assert wrong == {"train": 90, "valid": 0, "test": 0}
    assert set(task["train"][1].tolist()) == set(range(10))


def test_spread_gives_each_pixel_one_unit_in_all_splits():
    task, plain = digits_task(5, spread=0.5), digits_task(5)
    log_units = []
    for split in task:
        ratio = task[split][0] / plain[split][0]
        bright = ratio.isfinite().all(0)
        log_units.append(ratio[:, bright].log10().mean(0))
        assert torch.allclose(ratio[:, bright], ratio[:1, bright], rtol=1e-12, atol=0)
    assert torch.allclose(log_units[0], log_units[2])
    assert -0.5 <= log_units[0].min() < -0.4 and 0.4 < log_units[0].max() <= 0.5


def test_the_spread_does_not_change_labels_or_images():
    wide, narrow = digits_task(5, spread=1), digits_task(5, spread=0.1)
    assert torch.equal(wide["train"][1], narrow["train"][1])
    assert torch.equal(wide["train"][0].sign(), narrow["train"][0].sign())


def test_noise_columns_follow_the_pixels_and_say_nothing_about_them():
    task, plain = digits_task(5, noise_columns=128, noise_scale=0.5), digits_task(5)
    noise = torch.cat([x for x, _ in task.values()])[:, 64:]
    assert noise.shape == (1797, 128)
    assert torch.equal(task["test"][0][:, :64], plain["test"][0])
    assert abs(noise.std().item() - 0.5) < 0.01
    correlation = torch.corrcoef(noise.T).fill_diagonal_(0)
    assert correlation.abs().max() < 0.15  # 6 standard errors


@pytest.mark.parametrize(
    "settings",
    [{"label_noise": 1.5}, {"label_noise": -0.1}, {"spread": -1.0}, {"noise_columns": -2}],
)
def test_the_task_refuses_a_setting_out_of_range(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        digits_task(0, **settings)


def test_wine_holds_every_wine_once_standardised_or_in_its_own_units():
    for standardised, deviations in ((True, (1, 1)), (False, (0.12, 314))):
        splits = wine(3, standardised=standardised, dtype=torch.float64)
        assert [len(x) for x, _ in splits.values()] == [90, 40, 48]
        inputs, classes = (torch.cat(parts) for parts in zip(*splits.values(), strict=True))
        assert inputs.shape == (178, 13)
        assert classes.bincount().tolist() == [59, 71, 48]
        found = inputs.std(0, correction=0)
        assert found.min().item() == pytest.approx(deviations[0], rel=0.05)
        assert found.max().item() == pytest.approx(deviations[1], rel=0.05)


def test_wine_standardised_keeps_each_wine_with_its_class():
    raw, standardised = wine(4, standardised=False), wine(4)
    for split in raw:
        assert torch.equal(raw[split][1], standardised[split][1])
        correlation = torch.corrcoef(
            torch.stack([raw[split][0][:, 12], standardised[split][0][:, 12]])
        )
        assert correlation[0, 1] > 0.999


def test_diabetes_is_standardised_and_its_linear_fit_explains_half():
    splits = diabetes(2, dtype=torch.float64)
    assert [x.shape for x, _ in splits.values()] == [(200, 10), (100, 10), (142, 10)]
    inputs, target = (torch.cat(parts) for parts in zip(*splits.values(), strict=True))
    for values in (inputs, target):
        assert torch.allclose(
            values.mean(0), torch.zeros(1, dtype=torch.float64), atol=1e-12
        )
        assert torch.allclose(
            values.std(0, correction=0), torch.ones(1, dtype=torch.float64)
        )
    fit = torch.linalg.lstsq(inputs, target).solution
    assert 0.5 < 1 - (inputs @ fit - target).square().mean() < 0.53


@pytest.mark.parametrize("problem", [wine, diabetes])
def test_the_seed_decides_the_split_and_no_split_may_be_empty(problem):
    assert torch.equal(problem(3)["test"][0], problem(3)["test"][0])
    assert not torch.equal(problem(3)["test"][0], problem(4)["test"][0])
    with pytest.raises(ValueError, match="got 100, 1000"):
        problem(train=100, valid=1000)


def test_mnist1d_leaves_the_global_generators_as_they_were():
    _generated_mnist1d.cache_clear()
    random.seed(7)
    np.random.seed(7)
    expected = random.random(), np.random.rand()
    random.seed(7)
    np.random.seed(7)
    mnist1d(0)
    assert (random.random(), np.random.rand()) == expected


def test_mnist1d_is_standardised_as_a_whole_and_every_example_is_in_one_split():
    splits = mnist1d(2, dtype=torch.float64)
    assert [x.shape for x, _ in splits.values()] == [(500, 40), (1000, 40), (3500, 40)]
    inputs, classes = (torch.cat(parts) for parts in zip(*splits.values(), strict=True))
    assert classes.bincount().tolist() == [500] * 10
    assert len(inputs.unique(dim=0)) == 5000
    assert abs(inputs.mean().item()) < 1e-12 and abs(inputs.std().item() - 1) < 1e-4


@pytest.mark.parametrize("kind", ["scales", "frequencies"])
def test_unequal_features_have_the_sizes_and_the_weights_that_they_say(kind):
    def fitted(truth):
        """Sizes of the features, and the weights that least squares finds without noise."""
        x, y = unequal_features(
            3, kind=kind, truth=truth, train=20_000, noise=0, dtype=torch.float64
        )["train"]
        return x.square().mean(0).sqrt(), torch.linalg.lstsq(x, y).solution.flatten()

    (size, alike), (same_size, balanced) = fitted("alike"), fitted("balanced")
    assert torch.equal(size, same_size)
    smallest, largest = (0.1, 10) if kind == "scales" else (0.1, 10**-0.15)
    assert smallest * 0.85 < size.min() < smallest * 1.3
    assert largest * 0.75 < size.max() < largest * 1.05
    ratio = alike / balanced  # is each feature's size, times one number
    assert torch.allclose(ratio / ratio.mean(), size / size.mean(), rtol=0.1)
    for weights in (alike, balanced):
        assert (size * weights).norm().item() == pytest.approx(1, abs=0.05)


def test_unequal_features_have_the_noise_asked_for():
    quiet, noisy = (
        unequal_features(3, noise=0, test=20_000),
        unequal_features(3, test=20_000),
    )
    assert torch.equal(quiet["test"][0], noisy["test"][0])
    assert (noisy["test"][1] - quiet["test"][1]).std().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    "settings",
    [{"kind": "x"}, {"truth": "x"}, {"train": 0}, {"features": 0}, {"noise": -1}],
)
def test_unequal_features_refuse_a_setting_out_of_range(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        unequal_features(0, **settings)


def test_two_heads_name_the_digit_together():
    plain = digits(5, train=300, valid=500)
    for split, (inputs, classes) in two_heads(5, label_noise=(0, 0)).items():
        assert torch.equal(inputs, plain[split][0])
        remainder, half = classes.unbind(1)
        digit = 2 * half + (remainder - 2 * half) % 5 % 2
        assert torch.equal(digit, plain[split][1])


def test_each_head_has_its_own_part_of_wrong_training_labels():
    noisy, true = two_heads(5, label_noise=(0.3, 0.1)), two_heads(5, label_noise=(0, 0))
    wrong = {split: (noisy[split][1] != true[split][1]).sum(0).tolist() for split in noisy}
    assert wrong == {"train": [90, 30], "valid": [0, 0], "test": [0, 0]}
    assert set(noisy["train"][1].flatten().tolist()) == set(range(5))
    with pytest.raises(ValueError, match="label_noise"):
        two_heads(0, label_noise=(0.3, 1.1))


def test_docstrings_are_a_thousand_of_each_package_each_in_one_split():
    splits = docstrings(3, dtype=torch.float64)
    assert {name: tuple(x.shape) for name, (x, _) in splits.items()} == {
        "train": (1000, 2860),
        "valid": (1000, 2860),
        "test": (2000, 2860),
    }
    everything = torch.cat([x for x, _ in splits.values()])
    assert torch.cat([y for _, y in splits.values()]).bincount().tolist() == [1000] * 4
    assert torch.equal(  # the same documents, whatever the seed
        everything.sum(0).round(decimals=9),
        torch.cat([x for x, _ in docstrings(4, dtype=torch.float64).values()])
        .sum(0)
        .round(decimals=9),
    )
    assert (everything > 0).sum(0).min() >= 10  # each word is in ten documents or more


def test_a_docstring_is_the_logarithms_of_its_counts_scaled_to_length_1():
    inputs, _ = docstrings(dtype=torch.float64, train=3)["train"]
    assert torch.allclose(inputs.norm(dim=1), torch.ones(3, dtype=torch.float64))
    # In units of ln 2, which is what a word that stands there once has, they are ln(1 + n).
    for row in inputs:
        counts = (row * (np.log(2) / row[row > 0].min())).expm1()
        assert torch.allclose(counts, counts.round(), atol=1e-9)


def test_docstring_words_are_the_columns_and_hold_no_package_name():
    words = docstring_words()
    assert words == sorted(set(words)) and len(words) == 2860
    assert all(word.isalpha() and word.islower() and len(word) > 1 for word in words)
    names = ("matplotlib", "pyplot", "sklearn", "scikit", "sympy", "torch")
    assert not [word for word in words if any(name in word for name in names)]
    splits = docstrings()
    inputs, classes = (torch.cat([pair[i] for pair in splits.values()]) for i in (0, 1))
    for word, package in (("axes", 0), ("estimator", 1), ("polynomial", 2), ("tensor", 3)):
        held = inputs[:, words.index(word)] > 0
        assert classes[held].bincount(minlength=4).argmax() == package


def test_the_words_are_a_copy():
    docstring_words().clear()
    assert docstring_words()


@pytest.mark.parametrize(
    ("train", "valid", "got"),
    [
        (0, 300, "train must be ≥ 1, but got 0"),
        (300, 0, "valid must be ≥ 1, but got 0"),
        (*(3000, 1000), "got 3000, 1000"),
    ],
)
def test_docstrings_refuse_an_empty_split(train, valid, got):
    with pytest.raises(ValueError, match=got):
        docstrings(train=train, valid=valid)


def test_the_stored_corpus_is_small_and_the_package_holds_it():
    path = files("lessons") / "data" / "docstrings.npz"
    assert 100_000 < len(path.read_bytes()) < 600_000


@pytest.mark.parametrize("exponent", [0.0, 1.0])
def test_zipf_features_have_the_frequencies_of_the_law(exponent):
    inputs, labels = zipf_features(0, exponent=exponent, train=20_000)["train"]
    assert inputs.shape == (20_000, 1000) and labels.shape == (20_000, 1)
    assert set(inputs.unique().tolist()) == set(labels.unique().tolist()) == {0.0, 1.0}
    share = torch.arange(1, 1001, dtype=torch.float64) ** -exponent
    expected = 1 - (1 - share / share.sum()) ** 10  # ten draws, of which one is enough
    error = (expected * (1 - expected) / 20_000).sqrt()
    assert ((inputs.mean(0) - expected).abs() < 5 * error).all()


def test_zipf_labels_follow_one_linear_truth_in_all_splits():
    splits = zipf_features(0, features=10, words=3, train=40_000, test=40_000)
    fits = []
    for name in ("train", "test"):
        inputs, labels = splits[name]
        fits.append(torch.linalg.lstsq(inputs, labels - 0.5).solution)
    assert (fits[0] - fits[1]).abs().max() < 0.05
    assert fits[0].abs().max() > 0.2


def test_the_seed_decides_the_zipf_features():
    first, same, other = (zipf_features(seed)["test"][0] for seed in (1, 1, 2))
    assert torch.equal(first, same) and not torch.equal(first, other)


@pytest.mark.parametrize(
    "settings", [{"features": 0}, {"words": 0}, {"test": 0}, {"exponent": -1.0}]
)
def test_zipf_features_refuse_a_setting_out_of_range(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        zipf_features(0, **settings)


def fitted(inputs, targets):
    return torch.linalg.lstsq(inputs, targets).solution[:, 0]


def test_lasso_has_weights_where_it_says_and_nowhere_else():
    splits = lasso(1, train=4000, noise=0.1)
    assert [x.shape for x, _ in splits.values()] == [(4000, 60), (100, 60), (1000, 60)]
    assert all(y.shape == (len(x), 1) for x, y in splits.values())
    w = fitted(*splits["train"])
    assert ((w[:10].abs() > 0.49) & (w[:10].abs() < 1.51)).all()
    assert w[10:].abs().max() < 0.02
    x, y = splits["test"]  # the same weights in each split
    assert (x @ w - y[:, 0]).std().item() == pytest.approx(0.1, rel=0.1)


def test_the_units_of_lasso_change_the_inputs_and_not_the_targets():
    plain, spread = lasso(2), lasso(2, spread=1.0)
    for split in plain:
        assert torch.equal(plain[split][1], spread[split][1])
        units = spread[split][0] / plain[split][0]
        torch.testing.assert_close(units, units[:1].expand_as(units))
    assert 0.1 < units.min() < 0.2 and 5 < units.max() < 10
    w = fitted(*lasso(2, spread=1.0, train=4000, noise=0)["train"])
    torch.testing.assert_close(
        w * units[0], fitted(*lasso(2, train=4000, noise=0)["train"])
    )


def test_the_seed_decides_lasso():
    assert torch.equal(lasso(3)["test"][0], lasso(3)["test"][0])
    assert not torch.equal(lasso(3)["test"][1], lasso(4)["test"][1])
    x, other = lasso(3)["train"][0], lasso(3)["valid"][0]
    assert not torch.equal(x, other)


@pytest.mark.parametrize(
    "settings",
    [
        {"informative": 61},
        {"informative": -1},
        {"noise": -0.1},
        {"spread": -1},
        {"test": 0},
    ],
)
def test_lasso_refuses_a_setting_out_of_range(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        lasso(0, **settings)


def test_breast_cancer_holds_every_tumour_once_standardised():
    splits = breast_cancer(3)
    assert [len(x) for x, _ in splits.values()] == [300, 100, 169]
    inputs, benign = (torch.cat(parts) for parts in zip(*splits.values(), strict=True))
    assert inputs.shape == (569, 30) and benign.shape == (569, 1)
    assert benign.sum() == 357 and set(benign.flatten().tolist()) == {0, 1}
    ones = torch.ones(30, dtype=torch.float64)
    torch.testing.assert_close(inputs.std(0, correction=0), ones)
    torch.testing.assert_close(inputs.mean(0), 0 * ones, atol=1e-12, rtol=0)
    # Large tumours are rarely benign, so inputs and targets belong together.
    assert torch.corrcoef(torch.stack([inputs[:, 0], benign[:, 0]]))[0, 1] < -0.7


def test_the_noise_columns_of_breast_cancer_say_nothing():
    noisy, plain = breast_cancer(5, noise_columns=70), breast_cancer(5)
    assert torch.equal(noisy["test"][0][:, :30], plain["test"][0])
    assert torch.equal(noisy["valid"][1], plain["valid"][1])
    noise = torch.cat([x for x, _ in noisy.values()])[:, 30:]
    assert noise.shape == (569, 70) and abs(noise.std().item() - 1) < 0.02
    benign = torch.cat([y for _, y in noisy.values()])
    correlation = torch.corrcoef(torch.cat([benign, noise], 1).T)[0, 1:]
    assert correlation.abs().max() < 0.17  # 4 standard errors
    with pytest.raises(ValueError, match="noise_columns must be"):
        breast_cancer(noise_columns=-1)


def test_the_seed_decides_the_split_of_breast_cancer():
    assert torch.equal(breast_cancer(3)["test"][0], breast_cancer(3)["test"][0])
    assert not torch.equal(breast_cancer(3)["test"][0], breast_cancer(4)["test"][0])
    with pytest.raises(ValueError, match="got 500, 69"):
        breast_cancer(train=500, valid=69)


def test_separable_examples_have_the_shared_features_and_their_own():
    splits = separable(3, train=50, test=70)
    (inputs, labels), (new_inputs, new_labels) = splits["train"], splits["test"]
    assert inputs.shape == (50, 253) and new_inputs.shape == (70, 253)
    for x, y in ((inputs, labels), (new_inputs, new_labels)):
        assert torch.equal(x[:, 0], y) and set(y.tolist()) == {-1.0, 1.0}
        assert (x[:, 1:3] == 1).all()
    own = inputs[:, 3:]
    assert torch.equal(own.sum(1), torch.where(labels > 0, 1.0, 5.0).double())
    assert own.sum(0).max() == 1  # no feature has two owners
    assert (new_inputs[:, 3:] == 0).all()


def test_the_seed_and_the_share_decide_the_separable_labels():
    first, same, other = (separable(seed)["train"][1] for seed in (1, 1, 2))
    assert torch.equal(first, same) and not torch.equal(first, other)
    labels = separable(0, test=20_000, share=0.6)["test"][1]
    assert abs((labels > 0).double().mean() - 0.6) < 0.02


@pytest.mark.parametrize("settings", [{"train": 0}, {"test": 0}, {"share": 1.0}])
def test_separable_refuses_a_setting_out_of_range(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        separable(0, **settings)
