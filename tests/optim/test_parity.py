"""Equal to torch's optimizers, whatever the shapes, number types, options and gradients: drawn at random."""

import copy

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lessons

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
rates = st.sampled_from([0.0, 1e-3, 0.1, 3.0])
decays = st.sampled_from([0.0, 1e-4, 0.5])
kept = st.sampled_from([0.0, 0.3, 0.9, 0.999])
epsilons = st.sampled_from([1e-8, 1e-3, 1.0])
OPTIONS = {
    "SGD": st.fixed_dictionaries(
        dict(lr=rates, momentum=kept, dampening=kept, weight_decay=decays)
    )
    | st.fixed_dictionaries(
        dict(lr=rates, momentum=st.just(0.9), nesterov=st.just(True), weight_decay=decays)
    ),
    "Adagrad": st.fixed_dictionaries(
        dict(
            lr=rates,
            lr_decay=st.sampled_from([0, 0.1]),
            weight_decay=decays,
            initial_accumulator_value=st.sampled_from([0, 0.5]),
            eps=epsilons,
        )
    ),
    "RMSprop": st.fixed_dictionaries(
        dict(
            lr=rates,
            alpha=kept,
            eps=epsilons,
            weight_decay=decays,
            momentum=kept,
            centered=st.booleans(),
        )
    ),
    "Adam": st.fixed_dictionaries(
        dict(
            lr=rates,
            betas=st.tuples(kept, kept),
            eps=epsilons,
            weight_decay=decays,
            amsgrad=st.booleans(),
        )
    ),
}
OPTIONS["AdamW"] = OPTIONS["Adam"]
cases = st.sampled_from(list(OPTIONS)).flatmap(
    lambda name: st.tuples(st.just(name), OPTIONS[name])
)
gradients = st.lists(
    st.none() | st.tuples(st.sampled_from([0.0, 1e-6, 1.0, 1e4]), st.integers(0, 99)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=300)
@given(
    case=cases,
    shape=st.lists(st.integers(0, 4), max_size=3),
    dtype=st.sampled_from(DTYPES),
    gradients=gradients,
    maximize=st.booleans(),
)
def test_every_step_is_torchs_to_the_last_bit(case, shape, dtype, gradients, maximize):
    name, options = case
    start = torch.randn(shape, generator=torch.Generator().manual_seed(7)).to(dtype)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    mine = getattr(lessons, name)([ours], maximize=maximize, **copy.deepcopy(options))
    other = getattr(torch.optim, name)(
        [theirs], maximize=maximize, foreach=False, **options
    )
    for drawn in gradients:  # None, or a scale and a seed
        for param in (ours, theirs):
            param.grad = None
            if drawn is not None:
                scale, seed = drawn
                noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
                param.grad = (scale * noise).to(dtype)
        mine.step()
        other.step()
        # Half precision overflows in both alike, and NaN equals no NaN.
        assert torch.equal(ours.nan_to_num(), theirs.nan_to_num())
        assert torch.equal(ours.isnan(), theirs.isnan())
    if all(drawn is None for drawn in gradients):
        assert not mine.state[ours]  # torch's Adagrad has made its state already
        return
    assert set(mine.state[ours]) == set(other.state[theirs])
    for key, value in other.state[theirs].items():
        own = mine.state[ours][key]
        assert value is own or torch.equal(value.nan_to_num(), own.nan_to_num())
