"""Who wins, Adam+L2 or AdamW, on words, on numbers as tokens, and with BatchNorm?

Writes src/lessons/data/language_cases.csv with the protocol of natural_cases.py, in about ten minutes on one
core.

What was written down before the runs:

- Words. A word's gradients are as large as it is frequent, so AdamW decays the vectors of frequent words more
  than those of rare words. L2 decays all alike, which is right if the vectors of all words are of one size:
  Adam + L2. If those of rare words are larger, in proportion to 1/√frequency: AdamW. In generated data the
  sizes are known. For real text "alike" is a guess.
- Modular addition. Each number is as frequent as any other, so the two penalties are alike: neither.
- BatchNorm. In front of a normalisation neither is a penalty, and nothing follows: open.
"""

import functools
import re
from collections import Counter
from functools import partial
from pydoc_data.topics import topics

import numpy as np
import torch
from natural_cases import Task, convolutions, main, powers
from torch import nn

from lessons.problems import mnist1d, split

# --- data -----------------------------------------------------------------------------------------


@functools.cache
def triples(vocabulary: int) -> torch.Tensor:
    """Return all neighbouring words of Python's manual, three at a time.

    Word 0 is the most frequent one; triples with a word beyond the first ``vocabulary`` are left out.
    """
    pages = [re.findall("[a-z]+", page.lower()) for page in topics.values()]
    counts = Counter(word for page in pages for word in page)
    number = {word: k for k, (word, _) in enumerate(counts.most_common(vocabulary))}
    return torch.tensor(
        [
            [number[word] for word in page[i : i + 3]]
            for page in pages
            for i in range(len(page) - 2)
            if number.keys() >= set(page[i : i + 3])
        ]
    )


def words(seed: int, *, vocabulary: int, train: int = 1000, valid: int = 2000) -> dict:
    """Return pairs of words, and the word that follows each."""
    found = triples(vocabulary)
    return split(found[:, :2], found[:, 2], seed, train, valid)


def generated_words(
    seed: int,
    *,
    truth: str,
    vocabulary: int = 200,
    classes: int = 10,
    train: int = 1000,
    valid: int = 1000,
    test: int = 2000,
) -> dict:
    """Return pairs of words drawn by Zipf's law, each with a class.

    A word has a score for each class; the class is drawn from the softmax of the two words' sum.

    Args:
        truth: ``"alike"``: the scores are drawn from N(0, 1), whatever the word. ``"balanced"``: they are
            divided by the root of the word's frequency. Then all are multiplied by one number, so that the
            rms over what is drawn is 2.
    """
    draw = np.random.default_rng(seed)
    frequency = 1 / np.arange(1, vocabulary + 1)
    frequency /= frequency.sum()
    scores = draw.standard_normal((vocabulary, classes))
    if truth == "balanced":
        scores /= np.sqrt(frequency)[:, None]
    scores *= 2 / np.sqrt(frequency @ (scores**2).mean(1))
    pairs = draw.choice(vocabulary, (train + valid + test, 2), p=frequency)
    drawn = (scores[pairs].sum(1) + draw.gumbel(size=(len(pairs), classes))).argmax(1)
    return split(torch.from_numpy(pairs), torch.from_numpy(drawn), seed, train, valid)


def addition(seed: int, *, p: int, train: int, valid: int = 300) -> dict:
    """Return all pairs of numbers below p, and their sums modulo p."""
    pairs = torch.cartesian_prod(torch.arange(p), torch.arange(p))
    return split(pairs, pairs.sum(1) % p, seed, train, valid)


# --- models ---------------------------------------------------------------------------------------


def language_model(vocabulary: int, classes: int, width: int = 16) -> nn.Module:
    """Return a vector for each word, and a linear layer from two of them to what follows."""
    return nn.Sequential(
        nn.Embedding(vocabulary, width),
        nn.Flatten(-2),
        nn.Linear(2 * width, classes),
    )


def adder(p: int, width: int = 16, hidden: int = 64) -> nn.Module:
    """Return a vector for each number, and a layer of hidden units between two of them and their sum."""
    return nn.Sequential(
        nn.Embedding(p, width),
        nn.Flatten(-2),
        nn.Linear(2 * width, hidden),
        nn.ReLU(),
        nn.Linear(hidden, p),
    )


def batch_norm(channels: int, length: int) -> nn.Module:
    """Return a BatchNorm without gains. No running means: a stack of models cannot keep them."""
    return nn.BatchNorm1d(channels, affine=False, track_running_stats=False)


# --- tasks ----------------------------------------------------------------------------------------


def language(expected, data, classes):
    return Task(
        expected,
        data,
        partial(language_model, 200, classes),
        "loss",
        lr=powers(-9, 1),
        weight_decay={"Adam+L2": powers(-11, -6), "AdamW": powers(-4, 1)},
        steps=400,
        batch_size=50,
        tuning_seeds=5,
        test_seeds=40,
    )


TASKS = {
    "words of Python's manual": language("Adam + L2", partial(words, vocabulary=200), 200),
    "generated words, vectors alike": language(
        "Adam + L2", partial(generated_words, truth="alike"), 10
    ),
    "generated words, balanced": language(
        "AdamW", partial(generated_words, truth="balanced"), 10
    ),
    "addition modulo 41": Task(
        "neither",
        partial(addition, p=41, train=700),
        partial(adder, 41),
        "accuracy",
        # A factor of √2 apart: a factor of 2 on λ takes Adam+L2 from 95 % to 20 %.
        lr=powers(-8, -4) ** 0.5,
        weight_decay={
            "Adam+L2": powers(-21, -15) ** 0.5,
            "AdamW": powers(-5, 1) ** 0.5,
        },
        steps=1000,
        batch_size=100,
        tuning_seeds=10,
        test_seeds=60,
    ),
    "mnist1d, convolutions and BatchNorm": Task(
        "open",
        mnist1d,
        partial(convolutions, batch_norm),
        "accuracy",
        lr=powers(-8, -5),
        weight_decay={"Adam+L2": powers(-6, -2), "AdamW": powers(0, 4)},
        steps=600,
        batch_size=50,
        tuning_seeds=8,
        test_seeds=40,
    ),
}
ABOUT = f"""\
Adam, Adam+L2 and AdamW on words, on numbers as tokens, and with BatchNorm; experiments/language_cases.py
  holds every setting.
Protocol and columns: those of natural_cases.csv, but in the addition the grids are a factor of √2 apart.
Real words: pydoc_data.topics of this Python, {len(triples(200)):,} triples among its 200 most frequent words.
BatchNorm: by the mean and deviation of the batch, and when it is measured, of 128 examples at a time."""

if __name__ == "__main__":
    main("language_cases", ABOUT, TASKS)
