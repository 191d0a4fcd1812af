"""The oracles are held against published numbers and finite differences: who guards the guards."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from tests.oracles import binary_addition as adder
from tests.oracles import published_numbers as published
from tests.oracles.first_rnn import FirstRNN
from tests.oracles.glibc_random import GlibcRandom
from tests.oracles.time_rnn import TimeRNN, reference_block

ALL_PAIRS = np.array(list(itertools.product(range(128), repeat=2))).T


def numeric_gradient(loss: Callable[[], float], array: np.ndarray) -> np.ndarray:
    """Central differences of `loss()` with respect to `array`, which is changed and restored."""
    gradient, step = np.zeros_like(array), 1e-6
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + step
        above = loss()
        array[index] = kept - step
        gradient[index] = (above - loss()) / (2 * step)
        array[index] = kept
    return gradient


# --- glibc's rand() -------------------------------------------------------------------------------


def test_glibc_random_gives_the_sequences_of_a_c_program():
    seed_1, seed_42, seed_0 = GlibcRandom(), GlibcRandom(42), GlibcRandom(0)
    assert tuple(seed_1.rand() for _ in range(10)) == published.GLIBC_SEED_1
    assert tuple(seed_42.rand() for _ in range(5)) == published.GLIBC_SEED_42
    assert seed_0.rand() == published.GLIBC_SEED_1[0], "srand(0) is srand(1)"
    for _ in range(10, 20087):
        seed_1.rand()
    assert seed_1.rand() == published.GLIBC_SEED_1_NUMBER_20088


# --- the three binary-addition recipes ------------------------------------------------------------


def test_the_published_run_has_its_ten_published_errors_and_sums():
    weights: adder.Weights = {}
    reports = list(adder.published_recipe(weights))
    printed = [published.Printed(round(r.loss, 8), r.a, r.b, r.guess) for r in reports]
    assert tuple(printed) == published.PUBLISHED_RUN
    assert (adder.predict(weights, *ALL_PAIRS) == ALL_PAIRS.sum(axis=0)).all()


@pytest.mark.slow
def test_the_numpy_listing_has_its_reference_losses():
    weights: adder.Weights = {}
    reports = list(adder.numpy_recipe(weights, every=19000))
    for report, expected in zip(
        reports, (published.NUMPY_RUN_FIRST, published.NUMPY_RUN_LAST), strict=True
    ):
        assert report.loss == pytest.approx(expected.loss, rel=1e-13, abs=0)
        assert (report.a, report.b, report.guess) == expected[1:]
    assert (adder.predict(weights, *ALL_PAIRS) == ALL_PAIRS.sum(axis=0)).all()


def test_the_article_prints_its_first_lines():
    """4,000 of the 20,000 iterations: the three wrong lines and the first two right ones."""
    reports = list(adder.article_recipe({}, iterations=4001))
    assert tuple((r.a, r.b, r.guess) for r in reports) == published.ARTICLE_RUN[:5]


def test_the_article_draws_pairs_whose_sums_fit_eight_bits():
    weights, pairs = adder.article_weights_and_pairs(GlibcRandom())
    assert pairs[0] == (103, 70), "the pair the program uses up while building its graph"
    assert max(a + b for a, b in pairs) < 256
    assert all((np.abs(array) <= 0.5).all() for array in weights.values())


def test_the_document_run_is_consistent_with_its_wrong_bit_counts():
    wrong = tuple((run.guess ^ (run.a + run.b)).bit_count() for run in published.NUMPY_DOCUMENT_RUN)
    assert wrong == published.NUMPY_DOCUMENT_WRONG_BITS


# --- the Go listing and the chapter 5.3 block -----------------------------------------------------


def first_rnn() -> FirstRNN:
    return FirstRNN(*map(np.array, (published.FIRST_IW, published.FIRST_HW, published.FIRST_OW)))


def test_first_rnn_has_the_reference_numbers_from_a_zero_state():
    net, zeros = first_rnn(), np.zeros(2)
    xs, targets = np.array([published.FIRST_X]), np.array([published.FIRST_TARGET])
    hs, os = net.forward(xs, zeros)
    g = net.gradients(xs, targets, zeros)
    same = {"rtol": 1e-14, "atol": 0}
    np.testing.assert_allclose(hs[0], published.FIRST_HIDDEN, **same)
    np.testing.assert_allclose(os[0, 0], published.FIRST_OUTPUT, **same)
    np.testing.assert_allclose(net.loss(xs, targets, zeros), published.FIRST_HALF_LOSS, **same)
    np.testing.assert_allclose(os[0, 0] - targets[0, 0], published.FIRST_DELTA, **same)
    np.testing.assert_allclose(g.d_ow[:, 0], published.FIRST_D_OW, **same)
    np.testing.assert_allclose(g.d_iw, published.FIRST_D_IW, **same)
    np.testing.assert_array_equal(g.d_hw, published.FIRST_D_HW)
    np.testing.assert_allclose(g.dx[0], published.FIRST_DX, **same)


def test_first_rnn_keeps_its_state_over_steps():
    hs, os = first_rnn().forward(np.array([published.FIRST_X] * 3), np.zeros(2))
    np.testing.assert_allclose(hs, published.FIRST_KEPT_HIDDEN, rtol=1e-14)
    np.testing.assert_allclose(os[:, 0], published.FIRST_KEPT_OUTPUTS, rtol=1e-14)


def test_first_rnn_gradients_equal_finite_differences_over_three_steps():
    net = first_rnn()
    rng = np.random.default_rng(0)
    xs, targets, h0 = rng.normal(size=(3, 2)), rng.normal(size=(3, 1)), rng.normal(size=2)
    g = net.gradients(xs, targets, h0)
    pairs = ((net.iw, g.d_iw), (net.hw, g.d_hw), (net.ow, g.d_ow), (xs, g.dx), (h0, g.dh0))
    for array, gradient in pairs:
        numeric = numeric_gradient(lambda: net.loss(xs, targets, h0), array)
        np.testing.assert_allclose(gradient, numeric, atol=1e-9)
    assert np.abs(g.d_hw).min() > 0


def test_time_rnn_has_the_reference_block():
    xs, wx, wh, b = reference_block()
    block = TimeRNN(wx, wh, b, stateful=True)
    decimals = {"rtol": 0, "atol": 6e-11}
    np.testing.assert_allclose(block.forward(xs), published.BLOCK_HS, **decimals)
    dxs = block.backward(np.ones((2, 3, 3)))
    np.testing.assert_allclose(dxs, published.BLOCK_DXS, **decimals)
    np.testing.assert_allclose(block.d_wx, published.BLOCK_D_WX, **decimals)
    np.testing.assert_allclose(block.d_wh, published.BLOCK_D_WH, **decimals)
    np.testing.assert_allclose(block.d_b, published.BLOCK_D_B, **decimals)
    np.testing.assert_allclose(block.dh, published.BLOCK_DH, **decimals)
    second = block.forward(xs)
    np.testing.assert_allclose(second[:, -1], published.BLOCK_SECOND_CALL_LAST_H, **decimals)
    block.h = np.full((2, 3), 0.5)
    np.testing.assert_allclose(
        block.forward(xs)[:, 0], published.BLOCK_FIRST_H_FROM_HALF, **decimals
    )


def test_time_rnn_gradients_equal_finite_differences():
    xs, wx, wh, b = reference_block()
    block = TimeRNN(wx, wh, b)
    weight = np.random.default_rng(0).normal(size=(2, 3, 3))
    block.forward(xs)
    dxs = block.backward(weight)
    for array, gradient in ((xs, dxs), (wx, block.d_wx), (wh, block.d_wh), (b, block.d_b)):
        numeric = numeric_gradient(lambda: float((block.forward(xs) * weight).sum()), array)
        np.testing.assert_allclose(gradient, numeric, atol=1e-9)


def test_time_rnn_truncation_loses_exactly_the_gradient_of_the_state():
    """Two stateful blocks: the same values as one, truncated gradients; `dh` makes up for it."""
    xs, wx, wh, b = reference_block()
    ones = np.ones((2, 3, 3))
    whole = TimeRNN(wx, wh, b)
    hs = whole.forward(np.concatenate([xs, xs[::-1]], axis=1))
    whole.backward(np.ones((2, 6, 3)))

    def in_two_blocks(pass_on: bool) -> dict[str, np.ndarray]:
        first, second = (TimeRNN(wx, wh, b, stateful=True) for _ in range(2))
        h_first = first.forward(xs)
        second.h = first.h
        h_second = second.forward(xs[::-1])
        np.testing.assert_allclose(np.concatenate([h_first, h_second], axis=1), hs, atol=1e-15)
        second.backward(ones)
        upstream = ones.copy()
        upstream[:, -1] += second.dh if pass_on else 0.0
        first.backward(upstream)
        return {name: getattr(first, name) + getattr(second, name) for name in names}

    names = {"d_wx": "wx", "d_wh": "wh", "d_b": "b"}
    truncated, full = in_two_blocks(pass_on=False), in_two_blocks(pass_on=True)
    for name, short in names.items():
        gap = np.abs(truncated[name] - getattr(whole, name)).max()
        assert gap == pytest.approx(published.BLOCK_TRUNCATION_GAPS[short], abs=5e-5)
        np.testing.assert_allclose(full[name], getattr(whole, name), atol=1e-14)
