"""The demos of the documents on RNNs: their numbers, and the networks that they lead to."""

import threading

import numpy as np
import pytest

import autograd as ag
import nn
from autograd.errors import LoopGradError, ShapeError
from demos import first_network, first_rnn
from demos.first_network import OPTIMIZERS, FirstRNN, optimizer_named
from tests.oracles import published_numbers as published
from tests.oracles.first_rnn import FirstRNN as Oracle
from tests.test_oracles import first_rnn as oracle_rnn

# --- the Go article's network ---------------------------------------------------------------------


def test_first_rnn_has_the_reference_numbers():
    results = first_rnn.run(first_rnn.draw(), 1)
    same = {"rtol": 1e-13, "atol": 0}
    np.testing.assert_allclose(results["hidden"][0], published.FIRST_HIDDEN, **same)
    np.testing.assert_allclose(results["outputs"][0, 0], published.FIRST_OUTPUT, **same)
    np.testing.assert_allclose(results["loss"], published.FIRST_HALF_LOSS, **same)
    np.testing.assert_allclose(results["grad_input_weight"], published.FIRST_D_IW, **same)
    np.testing.assert_array_equal(results["grad_hidden_weight"], published.FIRST_D_HW)
    np.testing.assert_allclose(results["grad_output_weight"][:, 0], published.FIRST_D_OW, **same)
    np.testing.assert_allclose(results["grad_xs"][0], published.FIRST_DX, **same)


def test_first_rnn_keeps_its_state_and_has_the_gradients_of_its_oracle():
    results = first_rnn.run(first_rnn.draw(), 3)
    np.testing.assert_allclose(results["hidden"], published.FIRST_KEPT_HIDDEN, rtol=1e-13)
    np.testing.assert_allclose(results["outputs"][:, 0], published.FIRST_KEPT_OUTPUTS, rtol=1e-13)
    xs, targets = np.array([first_rnn.X] * 3), np.array([first_rnn.TARGET] * 3)
    expected = oracle_rnn().gradients(xs, targets, np.zeros(2))
    for name, gradient in (
        ("input_weight", expected.d_iw),
        ("hidden_weight", expected.d_hw),
        ("output_weight", expected.d_ow),
        ("xs", expected.dx),
        ("h0", expected.dh0),
    ):
        np.testing.assert_allclose(results[f"grad_{name}"], gradient, rtol=1e-12, err_msg=name)
    assert np.abs(results["grad_hidden_weight"]).min() > 1e-3


def test_first_rnn_called_again_with_its_last_state_goes_on():
    model = first_rnn.article_network()
    outputs, state = [], None
    for _ in range(3):
        output, hidden = model([first_rnn.X], state)
        state = hidden[-1]
        outputs.append(float(output[0, 0]))
    np.testing.assert_allclose(outputs, published.FIRST_KEPT_OUTPUTS, rtol=1e-13)


def test_first_rnn_of_a_batch_is_that_of_its_rows():
    model = FirstRNN(3, 4, 2, 4, rng=0)
    rng = np.random.default_rng(1)
    xs, state = rng.normal(size=(5, 6, 3)), rng.normal(size=(6, 4))
    oracle = Oracle(*[p.value for p in model.parameters()])
    outputs, hidden = model(xs, state)
    from_zeros, _ = model(xs)
    for row in range(6):
        hs, os = oracle.forward(xs[:, row], state[row])
        np.testing.assert_allclose(hidden.value[:, row], hs, rtol=1e-13)
        np.testing.assert_allclose(outputs.value[:, row], os, rtol=1e-13)
        _, os = oracle.forward(xs[:, row], np.zeros(4))
        np.testing.assert_allclose(from_zeros.value[:, row], os, rtol=1e-13)


def test_first_rnn_drawn_from_zeros_takes_other_lengths_and_batches():
    model = FirstRNN(2, 3, 1, 3, rng=0)
    graph = ag.trace(lambda xs: {"outputs": model(xs)[0]}, (2, 1, 2))
    xs = np.random.default_rng(1).normal(size=(7, 5, 2))
    drawn = graph.resize(xs=xs.shape).run(xs=xs)["outputs"]
    np.testing.assert_allclose(drawn, model(xs)[0].value, rtol=1e-14)


@pytest.mark.parametrize("shape", [(4, 2), (4, 3, 2)])
def test_first_rnn_has_right_gradients(shape):
    model = FirstRNN(2, 3, 2, 3, rng=0)
    kinds = np.arange(np.prod(shape[:-1])).reshape(shape[:-1]) % 2

    def loss(xs):
        return nn.cross_entropy(model(xs)[0], kinds)

    ag.check_grad(loss, np.random.default_rng(2).normal(size=shape))
    ag.check_grad(loss, np.random.default_rng(2).normal(size=shape), order=2)


@pytest.mark.parametrize(
    ("sizes", "match"),
    [
        ((2, 2, 1, 1), "state_dim must equal hidden_dim, but they are 1 and 2; .*the same number"),
        ((2, 3, 1, 4), "state_dim must equal hidden_dim, but they are 4 and 3"),
        ((0, 2, 1, 2), "input_dim must be a whole number >= 1, but is 0"),
        ((2, -1, 1, 2), "hidden_dim must be a whole number >= 1, but is -1"),
        ((2, 2, 1.0, 2), "output_dim must be a whole number >= 1, but is 1.0"),
        ((2, 2, 1, True), "state_dim must be a whole number >= 1, but is True"),
    ],
)
def test_first_rnn_validates_its_sizes(sizes, match):
    with pytest.raises(LoopGradError, match=match):
        FirstRNN(*sizes)


@pytest.mark.parametrize("sizes", [(2, 3, 1, 3), (3, 2, 1, 2), (1, 1, 1, 1)])
def test_first_rnn_takes_sizes_that_made_the_listing_panic(sizes):
    outputs, hidden = FirstRNN(*sizes, rng=0)(np.ones((4, sizes[0])))
    assert (outputs.shape, hidden.shape) == ((4, sizes[2]), (4, sizes[1]))


@pytest.mark.parametrize(
    ("xs", "state", "match"),
    [
        ((4, 3), None, r"FirstRNN takes \(steps, 2\) or \(steps, batch, 2\), but got"),
        ((2,), None, r"FirstRNN takes \(steps, 2\)"),
        ((4, 2), (5,), r"the state of FirstRNN must be of shape \(3,\)"),
        ((4, 6, 2), (3,), r"the state of FirstRNN must be of shape \(6, 3\)"),
    ],
)
def test_first_rnn_says_what_does_not_fit(xs, state, match):
    model = FirstRNN(2, 3, 1, 3, rng=0)
    with pytest.raises(ShapeError, match=match):
        model(np.ones(xs), None if state is None else np.ones(state))


def test_optimizers_are_chosen_by_name_and_another_name_lists_them():
    parameters = FirstRNN(2, 3, 1, 3, rng=0).parameters()
    chosen = optimizer_named("adagrad", parameters, lr=0.25)
    assert (type(chosen), chosen.lr) == (nn.Adagrad, 0.25)
    assert optimizer_named("sgd", parameters).momentum == 0.9
    with pytest.raises(
        LoopGradError, match="no optimizer named 'adagard'; .*" + ", ".join(OPTIMIZERS)
    ):
        optimizer_named("adagard", parameters)


def test_a_step_of_adagrad_is_the_rule():
    """theta -= lr g / (sqrt(G) + eps) with G += g^2, for a gradient by the oracle."""
    model = first_rnn.article_network()
    xs, targets = np.array([first_rnn.X] * 3), np.array([first_rnn.TARGET] * 3)
    optimizer = optimizer_named("adagrad", model.parameters(), lr=0.1)

    def loss(xs, targets):
        return nn.half_squared_error(model(xs)[0], targets, reduction="sum")

    step = nn.TrainingStep(loss, optimizer)
    weights = [np.array(first_rnn.WEIGHTS[name]) for name in first_rnn.WEIGHTS]
    totals = [np.zeros_like(w) for w in weights]
    for _ in range(3):
        step.run(xs=xs, targets=targets)
        expected = Oracle(*weights).gradients(xs, targets, np.zeros(2))
        for i, g in enumerate((expected.d_iw, expected.d_hw, expected.d_ow)):
            totals[i] = totals[i] + g * g
            weights[i] = weights[i] - 0.1 * g / (np.sqrt(totals[i]) + 1e-10)
    for parameter, weight in zip(model.parameters(), weights, strict=True):
        np.testing.assert_allclose(parameter.value, weight, rtol=1e-10)


def test_first_rnn_learns_with_every_optimizer_at_once_as_alone():
    before = threading.active_count()
    together = first_rnn.learn_at_once(list(OPTIMIZERS), 200, seed=0)
    assert threading.active_count() == before
    for name, learned in together.items():
        assert np.mean(learned.losses[-20:]) < 0.7 * learned.losses[0], name
    assert together["adagrad"].right(first_rnn.Waves.some(500, 1)) > 0.95
    for name in ("adagrad", "adam"):
        alone = first_rnn.learn(name, 200, seed=0)
        np.testing.assert_array_equal(alone.losses, together[name].losses)
        for p, q in zip(alone.model.parameters(), together[name].model.parameters(), strict=True):
            np.testing.assert_array_equal(p.value, q.value)


def test_first_rnn_refuses_an_optimizer_it_has_not(capsys):
    with pytest.raises(SystemExit):
        first_rnn.main(["--optimizer", "newton"])
    assert "invalid choice: 'newton'" in capsys.readouterr().err
    assert set(first_network.OPTIMIZERS) >= {"adagrad", "sgd"}
