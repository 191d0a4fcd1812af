"""Keyed random numbers: pure in the key, independent between keys, of the right distribution."""

from __future__ import annotations

import numpy as np
import pytest

import autograd as ag
from autograd import random
from autograd.errors import GraphError

KEY = random.key(2024)
FROZEN_KEYS = [
    [15357568266549655283, 6523984625352291713],
    [3881438078912968703, 9752886341311470753],
]
FROZEN_UNIFORM = [0.8720734548204873, 0.29536538151378355]
FROZEN_NORMAL = [-1.7777090465697407, -0.693217299119905, 0.9758835160444307]


def test_bits_are_those_of_every_release():
    np.testing.assert_array_equal(
        random.split(random.key(7)).value, np.array(FROZEN_KEYS, np.uint64)
    )
    np.testing.assert_array_equal(random.uniform(random.key(7), 2).value, FROZEN_UNIFORM)
    np.testing.assert_allclose(random.normal(random.key(7), 3).value, FROZEN_NORMAL, rtol=1e-14)


def test_the_same_key_gives_the_same_bits_computed_or_drawn():
    k = ag.input("k", (2,), np.uint64)
    graph = ag.Graph([k], {"x": random.normal(k, (3, 2))})
    first = graph.run(k=KEY.value)["x"]
    np.testing.assert_array_equal(first, graph.run(k=KEY.value)["x"])
    np.testing.assert_array_equal(first, random.normal(KEY, (3, 2)).value)


def test_keys_with_leading_axes_give_that_many_draws():
    keys = random.split(KEY, 6).reshape(2, 3, 2)
    together = random.normal(keys, (4,))
    assert together.shape == (2, 3, 4)
    np.testing.assert_array_equal(together.value[1, 2], random.normal(keys[1, 2], (4,)).value)


def test_draws_of_a_key_do_not_depend_on_how_many_are_taken():
    np.testing.assert_array_equal(random.uniform(KEY, 3).value, random.uniform(KEY, 9).value[:3])


def test_all_ways_to_a_new_key_differ():
    steps = random.fold_in(KEY, np.arange(1000)).value
    parts = random.split(KEY, 1000).value
    seeds = np.stack([random.key(seed).value for seed in range(1000)])
    every = np.concatenate([steps, parts, seeds, random.split(random.key(0), 1000).value])
    assert len({tuple(k) for k in every.tolist()}) == 4000
    assert len({random.uniform(k).item() for k in every}) == 4000


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_uniform_numbers_fill_the_half_open_interval(dtype: str):
    x = random.uniform(KEY, 200_000, dtype).value
    assert x.dtype == dtype
    assert x.min() >= 0
    assert x.max() < 1
    counts = np.histogram(x, 50, (0, 1))[0]
    assert ((counts - 4000) ** 2 / 4000).sum() < 90  # chi-square, 49 degrees: p < 3e-4


def test_normal_numbers_have_the_moments_and_tails_of_the_distribution():
    x = random.normal(KEY, 200_001).value
    assert abs(x.mean()) < 0.01
    assert abs(x.var() - 1) < 0.015
    assert abs((x**3).mean()) < 0.03
    assert abs((x**4).mean() - 3) < 0.1
    assert abs((np.abs(x) > 1.959964).mean() - 0.05) < 0.002
    assert abs(np.corrcoef(x[:100_000], x[100_000:200_000])[0, 1]) < 0.015


def test_bernoulli_takes_probabilities_that_broadcast():
    mask = random.bernoulli(KEY, np.array([0.0, 0.3, 1.0]), (100_000, 3)).value
    assert mask.dtype == bool
    np.testing.assert_allclose(mask.mean(0), [0.0, 0.3, 1.0], atol=0.01)


def test_a_mask_is_a_constant_of_the_gradient():
    mask = random.bernoulli(KEY, 0.5, (8,))
    g = ag.grad(lambda x: (x * mask).sum())(np.ones(8))
    np.testing.assert_array_equal(g.value, mask.value)


def test_numpys_own_generators_are_left_alone():
    before = np.random.get_state()[1].copy()
    random.normal(KEY, 10)
    np.testing.assert_array_equal(before, np.random.get_state()[1])


@pytest.mark.parametrize("seed", [-1, 2**128])
def test_a_seed_out_of_range_says_so(seed: int):
    with pytest.raises(GraphError, match="from 0 to 2"):
        random.key(seed)


def test_large_seeds_have_keys_of_their_own():
    assert random.key(2**64 + 1).value.tolist() == [1, 1]
