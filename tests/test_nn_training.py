"""Losses and SGD: values, gradients, extremes, and what they refuse."""

import copy

import mpmath
import numpy as np
import pytest

import autograd as ag
import nn
from autograd.node import Node
from tests.nn_helpers import RNG, ancestors, tracked

# --- losses ---------------------------------------------------------------------------------------

PROBABILITIES, TARGETS = RNG(0).uniform(0.2, 0.8, (4, 3)), RNG(1).integers(0, 2, (4, 3)) * 1.0
LOGITS = np.log(PROBABILITIES / (1 - PROBABILITIES))
CROSS_ENTROPY = -(TARGETS * np.log(PROBABILITIES) + (1 - TARGETS) * np.log(1 - PROBABILITIES))
LOSSES = [
    (nn.squared_error, PROBABILITIES, (PROBABILITIES - TARGETS) ** 2),
    (nn.half_squared_error, PROBABILITIES, (PROBABILITIES - TARGETS) ** 2 / 2),
    (nn.binary_cross_entropy, PROBABILITIES, CROSS_ENTROPY),
    (nn.binary_cross_entropy_with_logits, LOGITS, CROSS_ENTROPY),
]


@pytest.mark.parametrize(("loss", "prediction", "expected"), LOSSES)
def test_losses_have_their_values_and_gradients(loss, prediction, expected):
    reductions = {"mean": expected.mean(), "sum": expected.sum(), "none": expected}
    for reduction, value in reductions.items():
        result = loss(prediction, TARGETS, reduction=reduction)
        np.testing.assert_allclose(result.value, value, rtol=1e-13)
    assert loss(prediction, TARGETS).item() == pytest.approx(expected.mean())
    ag.check_grad(lambda x: loss(x, TARGETS), (prediction,))


# exp(-1e4) is 0, and that is right: under --numpy-errors=raise NumPy would report it
UNDERFLOW = np.errstate(under="ignore")


@UNDERFLOW
def test_cross_entropy_of_logits_is_exact_where_it_can_be_computed_at_all():
    mpmath.mp.dps = 50
    for z in (-1e4, -800.0, -40.0, -1e-3, 0.0, 1e-300, 2.0, 36.0, 800.0, 1e4):
        for t in (0.0, 1.0):
            x = tracked(np.array([z]))
            loss = nn.binary_cross_entropy_with_logits(x, np.array([t]))
            loss.backward()
            sign = 1 - 2 * t
            exact = mpmath.log1p(mpmath.exp(sign * mpmath.mpf(z)))
            slope = sign / (1 + mpmath.exp(-sign * mpmath.mpf(z)))
            for got, want in ((loss.item(), exact), (x.grad.value[0], slope)):
                assert abs(got - want) <= 4e-16 * abs(want) + mpmath.mpf(5e-308)


@UNDERFLOW
def test_cross_entropy_of_float32_logits_stays_finite():
    x = tracked(np.array([-1e3, 1e3, -1e3, 1e3], np.float32))
    loss = nn.binary_cross_entropy_with_logits(x, np.array([0, 1, 1, 0]), reduction="sum")
    loss.backward()
    assert loss.dtype == np.float32
    assert loss.item() == 2000.0
    np.testing.assert_array_equal(x.grad.value, np.array([0, 0, -1, 1], np.float32))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cross_entropy_of_saturated_probabilities_is_finite(dtype):
    x = tracked(np.array([0.0, 1.0, 0.0, 1.0], dtype))
    loss = nn.binary_cross_entropy(x, np.array([0.0, 1.0, 1.0, 0.0]), reduction="none")
    assert not loss.value[:2].any()
    assert (loss.value[2:] > 80).all()
    loss.sum().backward()
    assert np.isfinite(x.grad.value).all()


def test_targets_may_be_integers_or_bools():
    for targets in (TARGETS.astype(int), TARGETS.astype(bool)):
        loss = nn.binary_cross_entropy(PROBABILITIES, targets)
        assert loss.item() == pytest.approx(CROSS_ENTROPY.mean())


@pytest.mark.parametrize("loss", [loss for loss, _, _ in LOSSES])
def test_losses_say_what_does_not_fit(loss):
    with pytest.raises(ag.ShapeError, match=r"must have one shape.*reshape one of them"):
        loss(np.ones((4, 1)), np.ones(4))
    with pytest.raises(ag.DTypeError, match="needs a float prediction"):
        loss(np.ones(4, int), np.ones(4))
    with pytest.raises(ag.LoopGradError, match="'mean', 'sum' or 'none', but is 'max'"):
        loss(np.ones(4) / 2, np.ones(4), reduction="max")


# --- SGD ------------------------------------------------------------------------------------------


def quadratic(p: ag.Parameter) -> Node:
    return ag.sum(p * p * np.array([1.0, 4.0]))


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_sgd_follows_its_formula(momentum):
    p = ag.parameter("p", [3.0, -1.0])
    optimizer = nn.SGD([p], lr=0.1, momentum=momentum)
    theta, velocity = p.value.copy(), np.zeros(2)
    for _ in range(4):
        optimizer.zero_grad()
        quadratic(p).backward()
        optimizer.step()
        velocity = momentum * velocity + 2 * theta * [1.0, 4.0]
        theta = theta - 0.1 * velocity
        np.testing.assert_allclose(p.value, theta, rtol=1e-15)


def test_sgd_replaces_values_and_never_writes_into_them():
    p = ag.parameter("p", [3.0, -1.0])
    before, kept = p.value, p.value.copy()
    optimizer = nn.SGD([p], lr=0.1, momentum=0.9)
    quadratic(p).backward()
    optimizer.step()
    np.testing.assert_array_equal(before, kept)
    assert p.value is not before


def test_sgd_takes_gradients_of_a_graph_in_place_of_grad():
    p = ag.parameter("p", [3.0, -1.0])
    graph = ag.Graph([], {"loss": quadratic(p)}).grad()
    nn.SGD([p], lr=0.1).step([graph.run()["grad_p"]])
    np.testing.assert_allclose(p.value, [2.4, -0.2])


def test_sgd_leaves_parameters_without_a_gradient_alone():
    p, unused = ag.parameter("p", [3.0, -1.0]), ag.parameter("unused", [1.0])
    optimizer = nn.SGD([p, unused], lr=0.1, momentum=0.9)
    quadratic(p).backward()
    optimizer.step()
    assert unused.value.item() == 1.0
    assert not optimizer.state[1][0].any()
    assert optimizer.state[0][0].any()


def test_the_update_rule_can_be_drawn():
    optimizer = nn.SGD([ag.parameter("p", [1.0])], lr=0.1, momentum=0.9)
    p, g, v = (ag.input(name, (2,)) for name in "pgv")
    new, (velocity,) = optimizer.update(p, g, (v,), lr=0.1, momentum=0.9)
    graph = ag.Graph([p, g, v], {"p": new, "v": velocity})
    results = graph.run(p=[1.0, 2.0], g=[1.0, 1.0], v=[0.0, 10.0])
    np.testing.assert_allclose(results["v"], [1.0, 10.0])
    np.testing.assert_allclose(results["p"], [0.9, 1.0])


def test_a_step_that_fails_changes_nothing():
    p, q = ag.parameter("p", [1.0, 1.0]), ag.parameter("q", [1.0])
    optimizer = nn.SGD([p, q], lr=0.1, momentum=0.9)
    state = copy.deepcopy(optimizer.state)
    with pytest.raises(ag.ShapeError, match=r"gradient of parameter 'q' must be of shape \(1,\)"):
        optimizer.step([np.ones(2), np.ones(3)])
    np.testing.assert_array_equal(p.value, [1.0, 1.0])
    np.testing.assert_array_equal(optimizer.state[0], state[0])


def test_sgd_says_what_it_cannot_take():
    p = ag.parameter("p", [1.0])
    with pytest.raises(ag.DTypeError, match=r"trains parameters, but got ndarray.*autograd\.param"):
        nn.SGD([np.ones(2)], lr=0.1)
    with pytest.raises(ag.LoopGradError, match="got 2 with 1 different ones"):
        nn.SGD([p, p], lr=0.1)
    with pytest.raises(ag.LoopGradError, match="got 0 with 0"):
        nn.SGD([], lr=0.1)
    for lr in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ag.LoopGradError, match="lr must be a number >= 0"):
            nn.SGD([p], lr=lr)
    with pytest.raises(ag.LoopGradError, match="momentum must be a number >= 0"):
        nn.SGD([p], lr=0.1, momentum=-1)
    with pytest.raises(ag.GradientError, match="1 expected, 2 came"):
        nn.SGD([p], lr=0.1).step([np.ones(1), np.ones(1)])


def test_float32_stays_float32_everywhere():
    rnn, out = nn.RNN(2, 3, 2, rng=0, dtype="float32"), nn.Linear(3, 1, rng=0, dtype="float32")
    optimizer = nn.SGD([*rnn.parameters(), *out.parameters()], 0.1, momentum=0.9)
    xs, ys = np.ones((4, 2, 2), np.float32), np.ones((4, 2, 1))
    loss = nn.binary_cross_entropy_with_logits(out(rnn(xs)[0]), ys)
    assert {node.dtype for node in ancestors(loss) if not node.bodies} == {np.dtype("float32")}
    for body in (body for node in ancestors(loss) for body in node.bodies):
        assert {node.dtype for node in body.nodes} == {np.dtype("float32")}
    loss.backward()
    optimizer.step()
    for p, (velocity,) in zip(optimizer.parameters, optimizer.state, strict=True):
        assert p.dtype == p.grad.dtype == velocity.dtype == np.float32


def test_layers_losses_and_sgd_learn_to_count_ones():
    """All together, the eager way: the task is to say how many ones have come so far."""
    rng = RNG(0)
    rnn, out = nn.RNN(1, 8, rng=rng), nn.Linear(8, 1, rng=rng)
    optimizer = nn.SGD([*rnn.parameters(), *out.parameters()], lr=0.1, momentum=0.9)
    losses = []
    for _ in range(150):
        xs = rng.integers(0, 2, (5, 16, 1)).astype(float)
        loss = nn.squared_error(out(rnn(xs)[0]), xs.cumsum(axis=0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 < losses[0]


def test_a_graph_can_be_differentiated_after_its_parameters_were_trained():
    layer = nn.Linear(2, 1, rng=0)
    graph = ag.trace(lambda x: layer(x).sum(), (3, 2))
    layer.weight.value = layer.weight.value + 1.0
    x = RNG(1).normal(size=(3, 2))
    g = graph.grad().run(x=x)["grad_weight"]
    np.testing.assert_allclose(g[0], x.sum(axis=0), rtol=1e-14)
