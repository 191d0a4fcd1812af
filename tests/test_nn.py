"""Layers, losses and SGD: against finite differences, the oracles, and torch's names and shapes."""

import copy
import gc

import mpmath
import numpy as np
import pytest

import autograd as ag
import nn
from autograd.node import Node
from tests.oracles import published_numbers as published
from tests.oracles.time_rnn import TimeRNN, reference_block

RNG = np.random.default_rng


def tracked(array: np.ndarray) -> Node:
    return ag.tensor(array, requires_grad=True)


def gradients(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: p.grad.value for name, p in module.named_parameters()}


def ancestors(node: Node) -> set[Node]:
    seen, stack = {node}, [node]
    while stack:
        for x in stack.pop().inputs:
            if x not in seen:
                seen.add(x)
                stack.append(x)
    return seen


# --- Module ---------------------------------------------------------------------------------------


class Adder(nn.Module):
    def __init__(self, rng: int = 0) -> None:
        rng = RNG(rng)
        self.rnn = nn.RNN(2, 3, rng=rng)
        self.heads = [nn.Linear(3, 1, rng=rng), nn.Linear(3, 2, rng=rng)]
        self.scales = {"low": ag.parameter("s", 1.0), "high": ag.parameter("s", 2.0)}
        self.size = 3

    def forward(self, xs):
        hs, _ = self.rnn(xs)
        return self.heads[0](hs) * self.scales["low"]


ADDER_NAMES = [
    *(f"rnn.{name}" for name in published.RNN_NAMES),
    *("heads.0.weight", "heads.0.bias", "heads.1.weight", "heads.1.bias"),
    *("scales.low", "scales.high"),
]


def test_parameters_are_named_by_their_paths():
    adder = Adder()
    assert [name for name, _ in adder.named_parameters()] == ADDER_NAMES
    assert [p.name for p in adder.parameters()] == ADDER_NAMES


def test_names_follow_the_outermost_module_whenever_it_is_built():
    class Outer(nn.Module):
        pass

    outer, inner = Outer(), Outer()
    outer.part = inner
    inner.layer = nn.Linear(2, 2)
    assert inner.layer.weight.name == "part.layer.weight"
    inner.scale = ag.parameter("anything", 1.0)
    assert [name for name, _ in outer.named_parameters()][-1] == "part.scale"
    assert inner.scale.name == "part.scale"


def test_a_parameter_held_twice_counts_once_under_its_first_path():
    class Tied(nn.Module):
        def __init__(self):
            self.first = nn.Linear(2, 2)
            self.second = nn.Linear(2, 2)
            self.second.weight = self.first.weight

    names = [name for name, _ in Tied().named_parameters()]
    assert names == ["first.weight", "first.bias", "second.bias"]
    assert Tied().second.weight.name == "first.weight"


def test_a_module_outlives_the_module_that_held_it():
    outer = Adder()
    inner = outer.rnn
    del outer
    inner.extra = ag.parameter("extra", 1.0)
    assert inner.extra.name == "extra"


def test_modules_make_no_reference_cycles():
    gc.collect()
    gc.disable()
    try:
        adder = Adder()
        adder(np.ones((2, 1, 2))).sum().backward()
        del adder
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_the_same_module_computes_and_draws():
    adder, xs = Adder(), RNG(1).normal(size=(4, 2, 2))
    graph = ag.trace(adder, xs)
    assert set(graph.parameters) < set(ADDER_NAMES)
    np.testing.assert_array_equal(graph(xs), adder(xs).value)


def test_zero_grad_forgets_gradients():
    layer = nn.Linear(2, 1)
    layer(np.ones((1, 2))).sum().backward()
    assert layer.weight.grad is not None
    layer.zero_grad()
    assert layer.weight.grad is None


def test_a_module_without_forward_says_so():
    with pytest.raises(ag.LoopGradError, match="Module has no forward"):
        nn.Module()(1.0)


# --- init -----------------------------------------------------------------------------------------


def test_initial_values_have_their_distributions_and_dtypes():
    u = nn.init.uniform((1000,), -2.0, 1.0, rng=0, dtype="float32")
    n = nn.init.normal((10000,), 3.0, 0.5, rng=0)
    assert u.dtype == np.float32
    assert -2.0 <= u.min() < -1.98
    assert 0.98 < u.max() < 1.0
    assert n.dtype == np.float64
    assert abs(n.mean() - 3.0) < 0.02
    assert abs(n.std() - 0.5) < 0.02
    assert not nn.init.zeros((2, 3)).any()


def test_a_seed_repeats_itself_and_a_generator_goes_on():
    same = [nn.Linear(3, 2, rng=7).weight.value for _ in range(2)]
    np.testing.assert_array_equal(*same)
    rng = RNG(7)
    one, other = (nn.Linear(3, 2, rng=rng).weight.value for _ in range(2))
    np.testing.assert_array_equal(one, same[0])
    assert not np.any(one == other)
    assert not np.any(nn.Linear(3, 2).weight.value == nn.Linear(3, 2).weight.value)


# --- Linear ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("leading", [(), (4,), (2, 0), (2, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_is_x_times_weight_transposed_plus_bias(leading, bias):
    layer = nn.Linear(3, 2, bias=bias, rng=0)
    x = RNG(1).normal(size=(*leading, 3))
    expected = x @ layer.weight.value.T + (layer.bias.value if bias else 0.0)
    np.testing.assert_array_equal(layer(x).value, expected)
    assert layer.weight.shape == (2, 3)
    assert len(layer.parameters()) == 1 + bias


def test_linear_starts_within_one_over_the_root_of_its_inputs():
    layer = nn.Linear(25, 400, rng=0)
    for p in layer.parameters():
        assert 0.19 < np.abs(p.value).max() <= 0.2


def test_linear_has_right_gradients():
    layer, x = nn.Linear(3, 2, rng=0), tracked(RNG(1).normal(size=(4, 3)))
    y = layer(x)
    (0.5 * y * y).sum().backward()
    np.testing.assert_allclose(layer.weight.grad.value, y.value.T @ x.value, rtol=1e-14)
    np.testing.assert_allclose(layer.bias.grad.value, y.value.sum(axis=0), rtol=1e-14)
    np.testing.assert_allclose(x.grad.value, y.value @ layer.weight.value, rtol=1e-14)
    ag.check_grad(lambda x: ag.tanh(layer(x)).sum(), (x.value,))


@pytest.mark.parametrize("layer", [nn.Linear(2, 3), nn.RNNCell(2, 3), nn.RNN(2, 3)])
def test_layers_name_their_weight_when_inputs_do_not_fit(layer):
    wrong = np.ones((4, 1, 5))
    with pytest.raises(ag.ShapeError, match=r"layer of 'weight\w*' takes inputs \(\.\.\., 2\)"):
        layer(wrong)
    with pytest.raises(ag.DTypeError, match=r"computes in float64.*\.astype\('float64'\)"):
        layer(np.ones((4, 1, 2), np.float32))


def test_a_layer_without_inputs_or_outputs_works():
    y = nn.Linear(0, 2)(np.ones((3, 0)))
    assert y.shape == (3, 2)
    assert nn.Linear(2, 0)(np.ones((3, 2))).shape == (3, 0)


# --- RNNCell and RNN ------------------------------------------------------------------------------

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
        np.testing.assert_array_equal(h.value, expected)


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
    real = nn.recurrent._step

    def counting(*args):
        drawn.append(1)
        return real(*args)

    monkeypatch.setattr(nn.recurrent, "_step", counting)
    rnn = nn.RNN(3, 3, num_layers=2)
    for length in (5, 5, 9):
        rnn(np.ones((length, 4, 3)))
    assert len(drawn) == 1, "both layers and all lengths share one body"
    rnn(np.ones((5, 2, 3)))
    assert len(drawn) == 2


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


def test_float32_stays_float32_everywhere():
    adder = Adder()
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
    assert adder.rnn.weight_ih_l0.dtype == np.float64


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: nn.RNN(2, 3, nonlinearity="exp"), ag.LoopGradError, "one of tanh, relu, sigmoid"),
        (lambda: nn.RNNCell(2, 3, nonlinearity=""), ag.LoopGradError, "nonlinearity must be one"),
        (lambda: nn.RNN(2, 3, num_layers=0), ag.LoopGradError, "at least one layer.* is 0"),
        (lambda: nn.RNN(2, 3)(np.ones((4, 2))), ag.ShapeError, r"takes \(steps, batch, features\)"),
        (
            lambda: nn.RNN(2, 3)(np.ones((4, 5, 2)), np.zeros((5, 3))),
            ag.ShapeError,
            r"initial state of an RNN must be float64\[1, 5, 3\].*float64\[5, 3\]",
        ),
        (
            lambda: nn.RNNCell(2, 3)(np.ones((4, 2)), np.zeros((4, 2))),
            ag.ShapeError,
            r"state of an RNNCell must be float64\[4, 3\]",
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


# --- losses ---------------------------------------------------------------------------------------

PROBABILITIES, TARGETS = RNG(0).uniform(0.05, 0.95, (4, 3)), RNG(1).integers(0, 2, (4, 3)) * 1.0
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
    new, (velocity,) = optimizer.update(p, g, (v,))
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
