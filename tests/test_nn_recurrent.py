"""RNNCell and RNN: against plain loops, finite differences, oracles, torch's names and shapes."""

import numpy as np
import pytest

import autograd as ag
import nn
from tests.loop_reference import assert_same
from tests.nn_helpers import RNG, ancestors, gradients, tracked
from tests.oracles import published_numbers as published
from tests.oracles.time_rnn import TimeRNN, reference_block

ACTIVATIONS = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0.0),
    "sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
}


def stepped(rnn: nn.RNN, xs: np.ndarray, h0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The layers of `rnn` written as plain NumPy loops."""
    weights = {name: p.value for name, p in rnn.named_parameters()}
    finals = []
    for k in range(rnn.num_layers):
        h, hs = h0[k], []
        bias = weights.get(f"bias_ih_l{k}", 0.0) + weights.get(f"bias_hh_l{k}", 0.0)
        for x in xs:
            pre = x @ weights[f"weight_ih_l{k}"].T + h @ weights[f"weight_hh_l{k}"].T + bias
            h = ACTIVATIONS[rnn.nonlinearity](pre)
            hs.append(h)
        finals.append(h)
        xs = np.array(hs).reshape(len(hs), *h.shape)
    return xs, np.array(finals)


@pytest.mark.parametrize("nonlinearity", ACTIVATIONS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("num_layers", [1, 3])
def test_rnn_equals_plain_loops(nonlinearity, bias, num_layers):
    rnn = nn.RNN(2, 3, num_layers, bias, nonlinearity, rng=0)
    rng = RNG(1)
    xs, h0 = rng.normal(size=(4, 5, 2)), rng.normal(size=(num_layers, 5, 3))
    hs, h_n = rnn(xs, h0)
    expected, finals = stepped(rnn, xs, h0)
    np.testing.assert_allclose(hs.value, expected, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(h_n.value, finals, rtol=1e-14, atol=1e-15)
    np.testing.assert_array_equal(hs.value[-1], h_n.value[-1])
    assert len(rnn.parameters()) == num_layers * (4 if bias else 2)


def test_rnn_has_torchs_names_shapes_and_counts():
    rnn = nn.RNN(100, 20, rng=0)
    assert tuple(name for name, _ in rnn.named_parameters()) == published.RNN_NAMES
    assert tuple(p.shape for p in rnn.parameters()) == published.RNN_100_20_SHAPES
    assert sum(p.size for p in rnn.parameters()) == published.RNN_100_20_PARAMETERS
    for p in rnn.parameters():
        assert 0.2 < np.abs(p.value).max() <= 20**-0.5
    xs = RNG(1).normal(size=(10, 3, 100))
    out, h = rnn(xs, np.zeros((1, 3, 20)))
    assert (out.shape, h.shape) == ((10, 3, 20), (1, 3, 20))
    np.testing.assert_array_equal(rnn(xs)[0].value, out.value, "h0 omitted is zeros")

    deep = nn.RNN(100, 20, num_layers=4, rng=0)
    assert sum(p.size for p in deep.parameters()) == published.RNN_100_20_FOUR_LAYERS_PARAMETERS
    out, h = deep(xs, np.zeros((4, 3, 20)))
    assert (out.shape, h.shape) == ((10, 3, 20), (4, 3, 20))
    assert not np.any(out.value[-1] == h.value[0])


def test_cells_can_be_stacked_and_stepped_by_hand():
    first, second = nn.RNNCell(100, 20, rng=0), nn.RNNCell(20, 15, rng=1)
    assert tuple(name for name, _ in first.named_parameters()) == published.RNN_CELL_NAMES
    assert sum(p.size for p in first.parameters()) == published.RNN_100_20_PARAMETERS
    assert sum(p.size for p in second.parameters()) == published.RNN_CELL_20_15_PARAMETERS
    h0, h1 = np.zeros((3, 20)), None
    for x in RNG(2).normal(size=(10, 3, 100)):
        h0 = first(x, h0)
        h1 = second(h0, h1)
    assert (h0.shape, h1.shape) == ((3, 20), (3, 15))


def test_rnn_is_its_cell_stepped():
    rnn, cell = nn.RNN(2, 3, rng=0), nn.RNNCell(2, 3)
    for own, other in zip(cell.parameters(), rnn.parameters(), strict=True):
        own.value = other.value
    xs, h = RNG(1).normal(size=(4, 5, 2)), None
    hs, _ = rnn(xs)
    for x, expected in zip(xs, hs.value, strict=True):
        h = cell(x, h)
        assert_same(h, expected, 1e-14)


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_rnn_has_right_gradients(num_layers, bias):
    rnn = nn.RNN(2, 3, num_layers, bias, rng=0)
    rng = RNG(1)
    xs, h0 = rng.normal(size=(3, 2, 2)), rng.normal(size=(num_layers, 2, 3))
    weight = rng.normal(size=(3, 2, 3))
    x, h = tracked(xs), tracked(h0)
    hs, h_n = rnn(x, h)
    ((hs * weight).sum() + (h_n * h_n).sum()).backward()

    def loss() -> float:
        out, last = stepped(rnn, xs, h0)
        return float((out * weight).sum() + (last * last).sum())

    for name, p in rnn.named_parameters():
        kept, numeric = p.value.copy(), np.zeros(p.shape)
        for index in np.ndindex(p.shape):
            sides = []
            for step in (1e-6, -1e-6):
                moved = kept.copy()
                moved[index] += step
                p.value = moved
                sides.append(loss())
            numeric[index] = (sides[0] - sides[1]) / 2e-6
        p.value = kept
        np.testing.assert_allclose(p.grad.value, numeric, atol=1e-8, err_msg=name)
    for array, node in ((xs, x), (h0, h)):
        numeric = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            kept = array[index]
            array[index] = kept + 1e-6
            above = loss()
            array[index] = kept - 1e-6
            numeric[index] = (above - loss()) / 2e-6
            array[index] = kept
        np.testing.assert_allclose(node.grad.value, numeric, atol=1e-8)


def block_rnn() -> tuple[nn.RNN, np.ndarray]:
    """The reference block's weights in our layout, and its inputs sequence first."""
    xs, wx, wh, b = reference_block()
    rnn = nn.RNN(2, 3)
    zeros = np.zeros(3)
    for p, value in zip(rnn.parameters(), (wx.T, wh.T, b, zeros), strict=True):
        p.value = value
    return rnn, xs.swapaxes(0, 1)


def test_rnn_has_the_reference_block():
    """Values, all gradients, that of the initial state, and the state carried to a second call."""
    rnn, xs = block_rnn()
    x, h0 = tracked(xs), tracked(np.zeros((1, 2, 3)))
    hs, h_n = rnn(x, h0)
    hs.sum().backward()
    g = gradients(rnn)
    decimals = {"rtol": 0, "atol": 6e-11}
    np.testing.assert_allclose(hs.value.swapaxes(0, 1), published.BLOCK_HS, **decimals)
    np.testing.assert_allclose(x.grad.value.swapaxes(0, 1), published.BLOCK_DXS, **decimals)
    np.testing.assert_allclose(g["weight_ih_l0"].T, published.BLOCK_D_WX, **decimals)
    np.testing.assert_allclose(g["weight_hh_l0"].T, published.BLOCK_D_WH, **decimals)
    np.testing.assert_allclose(g["bias_ih_l0"], published.BLOCK_D_B, **decimals)
    np.testing.assert_allclose(h0.grad.value[0], published.BLOCK_DH, **decimals)
    second, _ = rnn(xs, h_n)
    last = second.value[-1]
    np.testing.assert_allclose(last, published.BLOCK_SECOND_CALL_LAST_H, **decimals)
    from_half, _ = rnn(xs, np.full((1, 2, 3), 0.5))
    first = from_half.value[0]
    np.testing.assert_allclose(first, published.BLOCK_FIRST_H_FROM_HALF, **decimals)


def test_truncated_backpropagation_is_what_stop_gradient_makes_of_two_blocks():
    rnn, xs = block_rnn()
    later = xs[:, ::-1]

    def block_gradients(stop: bool) -> dict[str, np.ndarray]:
        rnn.zero_grad()
        first, state = rnn(xs)
        second, _ = rnn(later, ag.stop_gradient(state) if stop else state)
        (first.sum() + second.sum()).backward()
        return gradients(rnn)

    rnn.zero_grad()
    rnn(np.concatenate([xs, later]))[0].sum().backward()
    whole = gradients(rnn)
    _, wx, wh, b = reference_block()
    for name, full in block_gradients(stop=False).items():
        np.testing.assert_allclose(full, whole[name], atol=1e-13)

    oracles = [TimeRNN(wx, wh, b, stateful=True) for _ in range(2)]
    oracles[0].forward(xs.swapaxes(0, 1))
    oracles[1].h = oracles[0].h
    oracles[1].forward(later.swapaxes(0, 1))
    for oracle in oracles:
        oracle.backward(np.ones((2, 3, 3)))
    truncated = block_gradients(stop=True)
    for name, oracle_name in (("weight_ih_l0", "d_wx"), ("weight_hh_l0", "d_wh")):
        expected = sum(getattr(oracle, oracle_name) for oracle in oracles)
        np.testing.assert_allclose(truncated[name].T, expected, atol=1e-14)
        gap = np.abs(truncated[name] - whole[name]).max()
        assert gap == pytest.approx(published.BLOCK_TRUNCATION_GAPS[oracle_name[2:]], abs=5e-5)


def test_on_tensors_an_rnn_is_one_loop_per_layer_whatever_its_length():
    rnn = nn.RNN(2, 3, num_layers=2, rng=0)
    counts = []
    for length in (1, 50):
        _, h_n = rnn(np.ones((length, 4, 2)))
        nodes = ancestors(h_n)
        assert sum(len(node.bodies) for node in nodes) == 2
        counts.append(len(nodes))
    assert counts[0] == counts[1]


def test_the_body_is_drawn_once_for_each_spec(monkeypatch):
    drawn = []
    real = nn.RNNCell.step

    def counting(*args):
        drawn.append(1)
        return real(*args)

    monkeypatch.setattr(nn.RNNCell, "step", counting)
    rnn = nn.RNN(3, 3, num_layers=2)
    for length in (5, 5, 9):
        rnn(np.ones((length, 4, 3)))
    assert len(drawn) == 2, "once for each layer, for all lengths"
    rnn(np.ones((5, 2, 3)))
    assert len(drawn) == 4


def test_rnn_draws_one_loop_that_resizes_and_unrolls():
    rnn = nn.RNN(2, 3, rng=0)
    xs, h0 = ag.input("xs", (4, 1, 2)), ag.input("h0", (1, 1, 3))
    hs, h_n = rnn(xs, h0)
    graph = ag.Graph([xs, h0], {"hs": hs, "h_n": h_n})
    (loop,) = graph.find(op="loop")
    assert graph.names[loop] == "rnn_l0"
    x, start = RNG(1).normal(size=(9, 5, 2)), RNG(2).normal(size=(1, 5, 3))
    longer = graph.resize(xs=x.shape, h0=start.shape)
    for one in (longer, longer.unroll()):
        results = one.run(xs=x, h0=start)
        np.testing.assert_allclose(results["hs"], stepped(rnn, x, start)[0], rtol=1e-14)


def test_an_rnn_inside_a_loop():
    """Its body is drawn outside of the loop that is open, and its parameters are captured."""
    from loops import scan

    rnn = nn.RNN(2, 2, rng=0)
    xs = RNG(1).normal(size=(3, 1, 2))
    final, _ = scan(lambda carry, _: (rnn(carry)[0], None), xs, length=2)
    expected = rnn(rnn(xs)[0])[0]
    np.testing.assert_allclose(final.value, expected.value, rtol=1e-14)
    final.sum().backward()
    assert all(np.abs(g).max() > 0 for g in gradients(rnn).values())


@pytest.mark.parametrize(("t", "b", "d", "h"), [(0, 2, 2, 3), (1, 2, 2, 3), (3, 0, 2, 3)])
def test_rnn_of_no_steps_and_of_empty_batches(t, b, d, h):
    rnn = nn.RNN(d, h, rng=0, dtype="float32")
    h0 = tracked(np.ones((1, b, h), np.float32))
    hs, h_n = rnn(np.ones((t, b, d), np.float32), h0)
    assert (hs.shape, h_n.shape) == ((t, b, h), (1, b, h))
    assert hs.dtype == h_n.dtype == np.float32
    (hs.sum() + h_n.sum()).backward()
    for p in rnn.parameters():
        assert p.grad.spec == p.spec
    if t == 0:
        np.testing.assert_array_equal(h_n.value, h0.value)
        np.testing.assert_array_equal(h0.grad.value, np.ones((1, b, h)))


def test_rnn_of_hidden_or_input_size_zero():
    assert nn.RNN(2, 0)(np.ones((3, 1, 2)))[0].shape == (3, 1, 0)
    assert nn.RNN(0, 2)(np.ones((3, 1, 0)))[0].shape == (3, 1, 2)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: nn.RNN(2, 3, nonlinearity="exp"), ag.LoopGradError, "one of tanh, relu, sigmoid"),
        (lambda: nn.RNNCell(2, 3, nonlinearity=""), ag.LoopGradError, "nonlinearity must be one"),
        (lambda: nn.RNN(2, 3, num_layers=0), ag.LoopGradError, "at least one layer.* is 0"),
        (lambda: nn.RNN(2, 3)(np.ones(2)), ag.ShapeError, r"takes \(steps, batch, features\)"),
        (
            lambda: nn.RNN(2, 3)(np.ones((4, 5, 2)), np.zeros((5, 3))),
            ag.ShapeError,
            r"initial state of RNN must be float64\[1, 5, 3\].*float64\[5, 3\]",
        ),
        (
            lambda: nn.RNNCell(2, 3)(np.ones((4, 2)), np.zeros((4, 2))),
            ag.ShapeError,
            r"state of RNNCell must be float64\[4, 3\]",
        ),
        (
            lambda: nn.RNNCell(2, 3)(np.ones((4, 2)), np.zeros((4, 3), "float32")),
            ag.ShapeError,
            r"must be float64\[4, 3\].*float32\[4, 3\]",
        ),
    ],
)
def test_recurrent_layers_say_what_does_not_fit(make, error, match):
    with pytest.raises(error, match=match):
        make()
