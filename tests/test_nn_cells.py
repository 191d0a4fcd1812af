"""`nn.Recurrent` of any cell: against the cell stepped by hand, in all its options."""

import numpy as np
import pytest

import autograd as ag
import nn
from tests.nn_helpers import RNG, ancestors, gradients, tracked


class Leaky(nn.Cell):
    """h' = k h + (1 - k) tanh(A x + B h + b), k = sigmoid(leak), with a learned start."""

    def __init__(self, input_size: int, size: int, rng: int = 0) -> None:
        own = RNG(rng)
        self.state_size = size
        self.inside = nn.Linear(input_size, size, rng=own)
        self.recurrent = nn.Linear(size, size, bias=False, rng=own)
        self.leak = ag.parameter("leak", own.normal(size=size))
        self.h0 = ag.parameter("h0", own.normal(size=size))

    def initial_state(self):
        return self.h0

    def forward(self, x, h):
        keep = ag.sigmoid(self.leak).named("keep")
        new = ag.tanh(self.inside(x) + self.recurrent(h)).named("new")
        return keep * h + (1 - keep) * new


class Counter(nn.Cell):
    """A state in a dict, and an output that is no part of it."""

    state_size = {"sum": 3, "product": 3}

    def initial_state(self):
        return {"sum": np.zeros(3), "product": np.ones(3)}

    def step(self, x, state):
        after = {"sum": state["sum"] + x, "product": state["product"] * x}
        return after["sum"] - after["product"], after


def by_hand(cell: nn.Cell, xs: np.ndarray, state=None):
    ys = []
    for x in xs:
        state = cell(x) if state is None else cell(x, state)
        ys.append(state)
    return ag.stack(ys), state


XS = RNG(1).normal(size=(5, 2, 3))


def test_a_layer_is_its_cell_stepped_with_its_gradient():
    cell = Leaky(3, 4)
    layer = nn.Recurrent(cell)
    results = []
    for run in (layer, lambda xs: by_hand(cell, xs)):
        xs = tracked(XS)
        cell.zero_grad()
        ys, last = run(xs)
        (ag.square(ys).sum() + last.sum()).backward()
        results.append((ys.value, last.value, xs.grad.value, gradients(cell)))
    for ours, expected in zip(results[0][:3], results[1][:3], strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-13)
    for name, g in results[0][3].items():
        np.testing.assert_allclose(g, results[1][3][name], rtol=1e-12, err_msg=name)
    assert "cell.h0" in gradients(layer)
    assert sum(len(node.bodies) for node in ancestors(layer(XS)[0])) == 1


def test_it_is_right_to_second_order():
    layer = nn.Recurrent(Leaky(3, 4))
    assert ag.check_grad(lambda xs: layer(xs)[0], (XS,), order=2)


def test_a_drawn_layer_follows_the_batch_and_compiles():
    layer = nn.Recurrent(Leaky(3, 4))
    graph = ag.trace(layer, XS.shape)
    more = RNG(2).normal(size=(7, 6, 3))
    expected = layer(more)[0].value
    longer = graph.resize(x0=more.shape)
    for one in (longer, longer.unroll(), longer.compile("numpy"), ag.compile(layer)):
        found = one(more) if callable(one) else list(one.run(x0=more).values())
        first = found[0]
        np.testing.assert_allclose(
            first.value if isinstance(first, ag.Node) else first, expected, rtol=1e-12
        )


def test_states_of_any_structure_and_outputs_that_are_no_state():
    layer = nn.Recurrent(Counter())
    ys, last = layer(XS)
    np.testing.assert_allclose(last["sum"].value, XS.sum(0), rtol=1e-13)
    np.testing.assert_allclose(last["product"].value, XS.prod(0), rtol=1e-13)
    np.testing.assert_allclose(ys.value, XS.cumsum(0) - XS.cumprod(0), rtol=1e-13)
    halves = layer(XS[3:], layer(XS[:3])[1])[1]
    np.testing.assert_allclose(halves["sum"].value, last["sum"].value, rtol=1e-13)


def test_layers_and_directions():
    cells = [(Leaky(3, 4, 0), Leaky(3, 4, 1)), (Leaky(8, 2, 2), Leaky(8, 2, 3))]
    layer = nn.Recurrent(cells, bidirectional=True)
    ys, last = layer(XS)
    xs: np.ndarray = XS
    for k, (forward, backward) in enumerate(cells):
        there, end = by_hand(forward, xs)
        back, start = by_hand(backward, xs[::-1])
        xs = np.concatenate([there.value, back.value[::-1]], -1)
        np.testing.assert_allclose(last[k][0].value, end.value, rtol=1e-13)
        np.testing.assert_allclose(last[k][1].value, start.value, rtol=1e-13)
    np.testing.assert_allclose(ys.value, xs, rtol=1e-13)
    names = [name for name, _ in layer.named_parameters()]
    assert names[0] == "cells.0.forward.inside.weight"
    assert names[-1] == "cells.1.backward.h0"
    one = nn.Recurrent(cells[0], bidirectional=True)
    np.testing.assert_allclose(one(XS)[1][1].value, last[0][1].value, rtol=1e-13)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_ragged_rows_get_what_they_get_alone_and_padding_reaches_nothing(bidirectional):
    cells = (Leaky(3, 4, 0), Leaky(3, 4, 1))
    layer = nn.Recurrent(cells if bidirectional else cells[0], bidirectional=bidirectional)
    lengths = np.array([3, 0, 5])
    xs = RNG(3).normal(size=(5, 3, 3))
    for b, n in enumerate(lengths):
        xs[n:, b] = np.nan
    given = tracked(xs)
    ys, last = layer(given, lengths=lengths)
    ag.square(ys).sum().backward()
    for b, n in enumerate(lengths):
        alone, end = layer(xs[:n, b : b + 1])
        np.testing.assert_allclose(ys.value[:n, b], alone.value[:, 0], rtol=1e-12)
        for own, expected in zip(ag.tree.flatten(last)[0], ag.tree.flatten(end)[0], strict=True):
            np.testing.assert_allclose(own.value[b], expected.value[0], rtol=1e-12)
        assert not ys.value[n:, b].any()
        assert not given.grad.value[n:, b].any()
    assert all(np.isfinite(g).all() for g in gradients(layer).values())


def test_what_happens_inside_can_be_watched():
    cell = Leaky(3, 4)
    ys, _, seen = nn.Recurrent(cell)(XS, watch="new")
    assert set(seen) == {"new"}
    np.testing.assert_allclose(nn.Recurrent(cell)(XS)[0].value, ys.value, rtol=1e-13)
    h = np.broadcast_to(cell.h0.value, (2, 4))
    keep = 1 / (1 + np.exp(-cell.leak.value))
    for new, y in zip(seen["new"].value, ys.value, strict=True):
        h = keep * h + (1 - keep) * new
        np.testing.assert_allclose(h, y, rtol=1e-12)
    lstm = nn.LSTM(3, 4, 2, bidirectional=True, batch_first=True)
    *_, gates = lstm(XS.swapaxes(0, 1), watch=("f", "o"))
    assert gates["1.backward.f"].shape == (2, 5, 4)
    assert len(gates) == 8
    *_, gates = nn.GRU(3, 4)(XS, watch=("r", "z", "n"))
    assert set(gates) == {"r", "z", "n"}
    gates["z"].sum().backward()


def test_state_goes_on_from_call_to_call():
    cell = Leaky(3, 4)
    layer = nn.Recurrent(cell, stateful=True, batch_first=True)
    whole, _ = nn.Recurrent(cell)(XS)
    xs = XS.swapaxes(0, 1)
    first, _ = layer(xs[:, :3])
    second, last = layer(xs[:, 3:])
    parts = np.concatenate([first.value, second.value], 1)
    np.testing.assert_allclose(parts.swapaxes(0, 1), whole.value, rtol=1e-13)
    second.sum().backward()
    assert layer.state_grad.shape == (2, 4)
    np.testing.assert_array_equal(layer.state.value, last.value)
    with pytest.raises(ag.ShapeError, match="another batch size"):
        layer(xs[:1])
    layer.reset_state()
    layer(xs[:1])
    layer.set_state(np.ones((1, 4)))
    np.testing.assert_array_equal(
        layer(xs[:1, :0])[1].value, 1.0, "no step leaves the state where it was"
    )
    with pytest.raises(ag.GraphError, match="make the state an input of the graph"):
        ag.trace(layer, (1, 3, 3))


def test_truncated_gradients_are_those_of_blocks():
    cell = Leaky(3, 4)
    xs = RNG(4).normal(size=(6, 2, 3))
    nn.Recurrent(cell, truncate=3)(xs)[0].sum().backward()
    truncated = gradients(cell)
    cell.zero_grad()
    blocks = nn.Recurrent(cell, stateful=True)
    for k in (0, 3):
        blocks(xs[k : k + 3])[0].sum().backward()
    for name, g in gradients(cell).items():
        np.testing.assert_allclose(truncated[name], g, rtol=1e-12, err_msg=name)


def test_a_fixed_cell_is_drawn_again_when_something_is_put_in_its_place():
    lstm = nn.LSTM(3, 4, rng=0)
    before = lstm(XS)[0].value
    lstm.weight_hh_l0 = ag.parameter("other", np.zeros((16, 4)))
    after = lstm(XS)[0].value
    assert not np.allclose(before, after)
    assert lstm.cells[0][0].weight_hh is lstm.weight_hh_l0
    assert lstm.weight_hh_l0.name == "weight_hh_l0"


class Wrong(nn.Cell):
    def forward(self, x, h):
        return x, h


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: nn.Recurrent(Wrong())(XS), ag.LoopGradError, "set self.state_size"),
        (lambda: nn.Recurrent(Wrong())(XS, np.ones((2, 3))), ag.GraphError, r"returned \(value, v"),
        (lambda: nn.Recurrent(nn.Linear(3, 4)), ag.GraphError, "Recurrent takes a cell, or a list"),
        (lambda: nn.Recurrent([]), ag.GraphError, "Recurrent takes a cell, or a list"),
        (
            lambda: nn.Recurrent(Leaky(3, 4), bidirectional=True),
            ag.GraphError,
            "takes a pair of cells",
        ),
        (
            lambda: nn.Recurrent(Leaky(3, 4))(XS[0, 0]),
            ag.ShapeError,
            r"takes \(steps, batch",
        ),
        (
            lambda: nn.Recurrent([Leaky(3, 4), Leaky(4, 4)])(XS, np.ones((2, 4))),
            ag.ShapeError,
            "a list or tuple of 2, one for each of the layers",
        ),
        (
            lambda: nn.Recurrent(Leaky(3, 4))(XS, watch="gate"),
            ag.GraphError,
            "no node named 'gate' to watch; it has .*new",
        ),
        (lambda: nn.LSTM(3, 4, proj_size=4), ag.LoopGradError, "smaller than hidden_size"),
        (lambda: nn.LSTM(3, 4)(XS, np.ones((1, 2, 4))), ag.ShapeError, "initial state of LSTM"),
        (lambda: nn.GRU(3, -1), ag.LoopGradError, "hidden_size must be a whole number"),
        (lambda: nn.GRU(3, 4)(np.ones((5, 2, 4))), ag.ShapeError, r"takes inputs \(..., 3\)"),
    ],
)
def test_what_does_not_fit_is_said(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_bad_state_sizes_are_refused():
    cell = Wrong()
    for size in (-1, "a", (2, 1.5), True):
        cell.state_size = size
        with pytest.raises(ag.LoopGradError, match="state_size of Wrong must be"):
            nn.Recurrent(cell)(XS)


def test_options_of_torchs_layers_are_said_when_they_are_made():
    rnn = nn.RNN(3, 4, 2, dropout=0.1)
    for name, value in (("nonlinearity", "relu"), ("hidden_size", 5), ("dropout", 0.5)):
        with pytest.raises(ag.LoopGradError, match=f"{name} of RNN is said when it is made"):
            setattr(rnn, name, value)
    rnn.dropout = None
    assert rnn(XS)[0].shape == (5, 2, 4)


def test_dropout_of_one_layer_is_warned_of():
    with pytest.warns(UserWarning, match=r"between layers, and this GRU has one"):
        nn.GRU(3, 4, dropout=0.5)
