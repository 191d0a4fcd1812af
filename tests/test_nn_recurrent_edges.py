"""Recurrent layers where they may go wrong: no steps, no rows, padding, float32, derivatives."""

from __future__ import annotations

import ast
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autograd as ag
import nn
from autograd.tree import flatten
from tests import nn_reference as by_hand
from tests.nn_helpers import RNG, gradients, tracked
from tests.oracles import published_numbers as published
from tests.oracles.time_rnn import reference_block

LAYERS: dict[str, Any] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
CELLS: dict[str, Any] = {"rnn": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}
OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "rnn": ("rnn", {}),
    "rnn no bias": ("rnn", {"bias": False}),
    "rnn relu": ("rnn", {"nonlinearity": "relu"}),
    "rnn sigmoid": ("rnn", {"nonlinearity": "sigmoid"}),
    "rnn norm": ("rnn", {"layer_norm": True}),
    "lstm": ("lstm", {}),
    "lstm no bias": ("lstm", {"bias": False}),
    "lstm projected": ("lstm", {"proj_size": 2}),
    "lstm peepholes": ("lstm", {"peepholes": True}),
    "lstm peepholes projected": ("lstm", {"peepholes": True, "proj_size": 2, "bias": False}),
    "lstm norm": ("lstm", {"layer_norm": True}),
    "lstm norm peepholes": ("lstm", {"layer_norm": True, "peepholes": True}),
    "gru": ("gru", {}),
    "gru no bias": ("gru", {"bias": False}),
    "gru reset before": ("gru", {"reset_after": False}),
    "gru reset before no bias": ("gru", {"reset_after": False, "bias": False}),
    "gru norm": ("gru", {"layer_norm": True}),
    "gru norm reset before": ("gru", {"layer_norm": True, "reset_after": False}),
}
"""A layer and options of it; all that a step can compute."""
SIZES = [*product((0, 1, 2), repeat=4)]


def flat(result: Any) -> list[ag.Node]:
    """The outputs of a layer as a list: of all steps, then the final states."""
    return flatten(result)[0]


def given_states(layer: nn.Module, shape: tuple[int, ...], make: Any) -> Any:
    """Initial states of `shape`, one or two, as the layer takes them."""
    return (make(shape), make(shape)) if isinstance(layer, nn.LSTM) else make(shape)


# No steps, no rows, no features.


def sized(name: str, d: int, h: int, dtype: str = "float32", **kwargs: Any) -> Any:
    return LAYERS[name](d, h, rng=0, dtype=dtype, **kwargs)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(("t", "b", "h", "d"), SIZES)
def test_sizes_from_zero_on(name, t, b, h, d):
    """Shapes, dtypes, and a gradient for everything: zeros where there is nothing to pull."""
    layer = sized(name, d, h)
    xs = tracked(np.ones((t, b, d), np.float32))
    states = given_states(layer, (1, b, h), lambda shape: tracked(np.full(shape, 0.5, np.float32)))
    ys, *finals = flat(layer(xs, states))
    assert ys.shape == (t, b, h)
    assert [s.shape for s in finals] == [(1, b, h)] * len(finals)
    assert {y.dtype for y in (ys, *finals)} == {np.dtype(np.float32)}
    (ys.sum() + sum(s.sum() for s in finals)).backward()
    for p in (*layer.parameters(), xs, *flat(states)):
        assert p.grad.spec == p.spec
    if t == 0:
        for state, final in zip(flat(states), finals, strict=True):
            np.testing.assert_array_equal(final.value, state.value)
            np.testing.assert_array_equal(state.grad.value, np.ones((1, b, h)))
        for p in layer.parameters():
            np.testing.assert_array_equal(p.grad.value, np.zeros(p.shape))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(
    "backend", ["reference", "numpy", pytest.param("native", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(("t", "b"), [(0, 2), (1, 2), (2, 0), (0, 0)])
def test_no_steps_and_no_rows_drawn(name, backend, t, b):
    if backend == "native":
        pytest.importorskip("llvmlite")
    layer = sized(name, 2, 3, "float64")
    xs = ag.input("xs", (t, b, 2))
    states = given_states(layer, (1, b, 3), lambda shape: np.full(shape, 0.5))
    ys, *finals = flat(layer(xs, states))
    graph = ag.Graph([xs], {"loss": ys.sum() + sum(s.sum() for s in finals), "ys": ys})
    graph = graph.grad("loss", ["xs", *graph.parameters])
    results = graph.compile(backend).run(xs=np.ones((t, b, 2)))
    expected = layer(np.ones((t, b, 2)), states)[0].value
    np.testing.assert_allclose(results["ys"], expected, rtol=1e-12)
    assert results["grad_xs"].shape == (t, b, 2)
    for name, p in layer.named_parameters():
        gradient = results[f"grad_{name}"]
        assert gradient.shape == p.shape
        assert (t * b > 0) == bool(np.abs(gradient).max() > 0)


# Ragged batches.


@pytest.mark.parametrize("both", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(("t", "b", "h", "d"), [*product((0, 1, 2), (0, 1, 2), (0, 2), (0, 2))])
def test_ragged_sizes_from_zero_on(name, t, b, h, d, both):
    """Two layers, every row another length, a list as it comes; row 0 has no steps."""
    layer = LAYERS[name](d, h, 2, bidirectional=both, rng=0, dtype="float32")
    xs = tracked(np.ones((t, b, d), np.float32))
    rows = 2 * (1 + both)
    states = given_states(layer, (rows, b, h), lambda s: tracked(np.full(s, 0.5, np.float32)))
    ys, *finals = flat(layer(xs, states, lengths=[i % (t + 1) for i in range(b)]))
    assert (ys.shape, ys.dtype) == ((t, b, h * (1 + both)), np.float32)
    (ys.sum() + sum(s.sum() for s in finals)).backward()
    for state, final in zip(flat(states), finals, strict=True):
        assert (final.shape, final.dtype) == ((rows, b, h), np.float32)
        np.testing.assert_array_equal(final.value[:, :1], state.value[:, :1])
        np.testing.assert_array_equal(state.grad.value[:, :1], np.ones((rows, min(b, 1), h)))
    for p in (*layer.parameters(), xs):
        assert p.grad.spec == p.spec
        assert np.isfinite(p.grad.value).all()


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("lengths", [(2, 0, 3), (0, 0, 0), (1, 3, 0)])
def test_each_row_of_a_ragged_batch_is_that_row_alone(name, lengths, both):
    """Rows of length 0 keep their states; NaN in the padding reaches no value and no gradient."""
    layer = sized(name, 2, 3, "float64", num_layers=2, bidirectional=both)
    rng = RNG(1)
    values = rng.normal(size=(3, 3, 2))
    for b, n in enumerate(lengths):
        values[n:, b] = np.nan
    shape = (2 * (1 + both), 3, 3)
    start = given_states(layer, shape, lambda shape: rng.normal(size=shape))
    u = rng.normal(size=(3, 3, 3 * (1 + both)))

    def pulled(columns, alone: bool) -> tuple[list[Any], list[Any], dict[str, np.ndarray]]:
        layer.zero_grad()
        steps = lengths[columns.start] if alone else 3
        xs = tracked(values[:steps, columns])
        states = [tracked(s[:, columns]) for s in flatten(start)[0]]
        own = tuple(states) if len(states) > 1 else states[0]
        ys, *finals = flat(layer(xs, own) if alone else layer(xs, own, lengths=lengths))
        loss = (ys * u[:steps, columns]).sum() + sum(s.sum() for s in finals)
        loss.backward()
        found = {n: p.grad.value for n, p in layer.named_parameters()}
        return [y.value for y in (ys, *finals)], [x.grad.value for x in (xs, *states)], found

    together, gradients, parameters = pulled(slice(0, 3), alone=False)
    assert all(np.isfinite(x).all() for x in (*together, *gradients, *parameters.values()))
    total = {n: np.zeros(p.shape) for n, p in layer.named_parameters()}
    for b, n in enumerate(lengths):
        outputs, pulls, part = pulled(slice(b, b + 1), alone=True)
        for whole, row in zip((together[0], gradients[0]), (outputs[0], pulls[0]), strict=True):
            np.testing.assert_allclose(whole[:n, b : b + 1], row, rtol=1e-12, atol=1e-14)
            np.testing.assert_array_equal(whole[n:, b], 0.0)
        for whole, row in zip(
            (*together[1:], *gradients[1:]), (*outputs[1:], *pulls[1:]), strict=True
        ):
            np.testing.assert_allclose(whole[:, b : b + 1], row, rtol=1e-12, atol=1e-14)
        total = {name: total[name] + g for name, g in part.items()}
    for key, g in total.items():
        np.testing.assert_allclose(parameters[key], g, rtol=1e-11, atol=1e-13)


# float32.


def specs(graph: ag.Graph) -> set[ag.Spec]:
    """The specs of all nodes of a graph, those in bodies of loops too."""
    found: set[ag.Spec] = set()
    for _, _, node in graph.walk():
        found |= set(node.spec if isinstance(node.spec, tuple) else [node.spec])
    return found


@pytest.mark.parametrize("ragged", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", OPTIONS)
def test_no_float64_in_a_float32_training_graph(name, ragged):
    """Loss, gradient and update, also after all passes; the optimizer's numbers are scalars."""
    kind, options = OPTIONS[name]
    layer = LAYERS[kind](2, 3, 2, bidirectional=True, rng=0, dtype="float32", **options)

    def loss(xs, n):
        ys, _ = layer(xs, lengths=n) if ragged else layer(xs)
        return ag.square(ys).mean() + 0.0 * n.sum().astype("float32")

    step = nn.TrainingStep(loss, nn.Adam(layer.parameters(), lr=0.1), backend="reference")
    batch = {"xs": np.ones((4, 2, 2), np.float32), "n": np.array([4, 2])}
    graph = step.graph(**batch)
    for one in (graph, graph.optimize()):
        wide = {s for s in specs(one) if s.dtype == np.float64}
        assert all(s.shape == () for s in wide), wide
    step.run(**batch)
    assert all(p.value.dtype == np.float32 for p in layer.parameters())
    assert all(x.dtype == np.float32 for state in step.optimizer.state for x in state)


@pytest.mark.parametrize("shape", [(2,), (3, 2), (0, 2)])
@pytest.mark.parametrize("name", OPTIONS)
def test_a_float32_cell_starts_from_float32_zeros(name, shape):
    """With a batch and without one; no state given is zeros given."""
    kind, options = OPTIONS[name]
    cell = CELLS[kind](2, 3, rng=0, dtype="float32", **options)
    x = np.ones(shape, np.float32)
    sizes = flatten(cell.state_size)[0]
    zeros = [np.zeros((*shape[:-1], size), np.float32) for size in sizes]
    expected = flat(cell(x, tuple(zeros) if len(zeros) > 1 else zeros[0]))
    for y, wanted in zip(flat(cell(x)), expected, strict=True):
        assert y.dtype == np.float32
        np.testing.assert_array_equal(y.value, wanted.value)


@pytest.mark.parametrize("name", OPTIONS)
def test_float32_is_near_float64(name):
    kind, options = OPTIONS[name]
    wide = LAYERS[kind](2, 3, 2, rng=0, **options)
    narrow = LAYERS[kind](2, 3, 2, dtype="float32", **options)
    narrow.load_state_dict(wide.state_dict())
    xs = RNG(1).normal(size=(6, 2, 2))
    for layer in (wide, narrow):
        (layer(xs.astype(layer.parameters()[0].dtype))[0] ** 2).sum().backward()
    for p, q in zip(wide.parameters(), narrow.parameters(), strict=True):
        assert q.grad.dtype == np.float32
        scale = max(1.0, np.abs(p.grad.value).max())
        np.testing.assert_allclose(q.grad.value, p.grad.value, rtol=0, atol=2e-5 * scale)


# Derivatives, to second order, of every cell with every option.


def away_from_kinks(module: nn.Module) -> nn.Module:
    """Give relus sums far from 0, some of each sign: differences at a kink say nothing."""
    for name, p in module.named_parameters():
        if name.startswith("bias_ih"):
            p.value = np.array([3.0, -3.0, 4.0])
    return module


@pytest.mark.parametrize("name", OPTIONS)
def test_finite_differences_of_cells(name):
    kind, options = OPTIONS[name]
    cell = CELLS[kind](2, 3, rng=0, **options)
    if options.get("nonlinearity") == "relu":
        away_from_kinks(cell)
    x = ag.input("x", (2, 2))
    sizes = flatten(cell.state_size)[0]
    states = [ag.input(f"s{i}", (2, size)) for i, size in enumerate(sizes)]
    after = flat(cell(x, tuple(states) if len(states) > 1 else states[0]))
    graph = ag.Graph([x, *states], {f"after_{i}": y for i, y in enumerate(after)})
    rng = RNG(1)
    args = tuple(rng.normal(size=node.shape) for node in graph.inputs.values())
    assert ag.check_grad(graph, args, order=2).error < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("name", OPTIONS)
def test_finite_differences_of_layers(name, ragged):
    kind, options = OPTIONS[name]
    layer = LAYERS[kind](2, 3, rng=0, bidirectional=True, **options)
    if options.get("nonlinearity") == "relu":
        away_from_kinks(layer)
    xs = ag.input("xs", (3, 2, 2))
    ys, last = layer(xs, lengths=[2, 3] if ragged else None)
    outputs = {f"y{i}": y for i, y in enumerate((ys, *flat(last)))}
    graph = ag.Graph([xs], outputs)
    args = (0.5 * RNG(1).normal(size=(3, 2, 2)),)
    assert ag.check_grad(graph, args, order=2).error < 1e-9


# Options that torch does not have, against the cells written by hand.


def with_papers_names(cell: nn.Cell) -> dict[str, np.ndarray]:
    """The parameters of a cell with layer norm by the names of tests/nn_reference.py."""
    w = {name: p.value for name, p in cell.named_parameters()}
    if isinstance(cell, nn.RNNCell):
        return {**w, "gain_a": w["gain"], "shift_a": w["bias_ih"] + w["bias_hh"]}
    if isinstance(cell, nn.LSTMCell):
        none = np.zeros(len(w["bias_ih"]))
        return {**w, "shift_ih": none, "shift_hh": none, "bias": w["bias_ih"] + w["bias_hh"]}
    size = 2 * cell.hidden_size
    found = dict(w)
    for side in ("ih", "hh"):
        gain, bias = w[f"gain_{side}"], w[f"bias_{side}"]
        found |= {f"gain_{side}": gain[:size], f"shift_{side}": bias[:size]}
        found |= {f"gain_{side[0]}n": gain[size:], f"shift_{side[0]}n": bias[size:]}
    return found


def sigmoid_cell(*args: Any) -> Any:
    return by_hand.rnn_cell(*args, nonlinearity="sigmoid")


BY_HAND: dict[str, Any] = {
    "rnn sigmoid": sigmoid_cell,
    "lstm peepholes": by_hand.lstm_peephole_cell,
    "lstm peepholes projected": by_hand.lstm_peephole_cell,
    "gru reset before": by_hand.gru_reset_before_cell,
    "gru reset before no bias": by_hand.gru_reset_before_cell,
    "rnn norm": by_hand.layer_norm_rnn_cell,
    "lstm norm": by_hand.layer_norm_lstm_cell,
    "gru norm": by_hand.layer_norm_gru_cell,
}


def randomized(module: nn.Module, seed: int) -> nn.Module:
    """Gains and shifts too, which start as ones and zeros."""
    rng = RNG(seed)
    for p in module.parameters():
        p.value = rng.uniform(-1, 1, p.shape)
    return module


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.parametrize("batch", [(), (4,)])
def test_variants_are_those_written_by_hand(name, batch):
    kind, options = OPTIONS[name]
    cell: Any = randomized(CELLS[kind](2, 3, **options), seed=0)
    rng = RNG(1)
    x = rng.normal(size=(*batch, 2))
    states = [rng.normal(size=(*batch, n)) for n in flatten(cell.state_size)[0]]
    w = {n: p.value for n, p in cell.named_parameters()}
    if options.get("layer_norm"):
        w = with_papers_names(cell)
    expected = BY_HAND[name](w, x, *states)
    found = flat(cell(x, tuple(states) if len(states) > 1 else states[0]))
    for y, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(y.value, wanted, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", [name for name in BY_HAND if "norm" not in name])
def test_layers_of_variants_are_those_written_by_hand(name):
    """Two layers, both directions, ragged."""
    kind, options = OPTIONS[name]
    layer: Any = randomized(LAYERS[kind](2, 3, 2, bidirectional=True, **options), seed=0)
    rng = RNG(1)
    xs, lengths = rng.normal(size=(4, 3, 2)), (2, 4, 1)
    states = [rng.normal(size=(4, 3, n)) for n in flatten(layer.cells[0][0].state_size)[0]]
    own = tuple(states) if len(states) > 1 else states[0]
    ys, last = layer(xs, own, lengths=lengths)
    w = {n: p.value for n, p in layer.named_parameters()}
    expected, finals = by_hand.each_row_alone(BY_HAND[name], w, xs, states, lengths, 2)
    np.testing.assert_allclose(ys.value, expected, rtol=1e-13, atol=1e-14)
    for final, wanted in zip(flat(last), finals, strict=True):
        np.testing.assert_allclose(final.value, wanted, rtol=1e-13, atol=1e-14)


# Blocks of a sequence: TimeRNN of "Deep Learning from Scratch 2", chapter 5.3.


def time_rnn(stateful: bool = True) -> tuple[nn.RNN, np.ndarray]:
    """The block of the reference numbers, batch first, with its bias in bias_ih."""
    xs, wx, wh, b = reference_block()
    layer = nn.RNN(2, 3, batch_first=True, stateful=stateful)
    values = (wx.T, wh.T, b, np.zeros(3))
    layer.load_state_dict(dict(zip(published.RNN_NAMES, values, strict=True)))
    return layer, xs


def assert_published(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=6e-11)


def test_a_stateful_layer_has_the_blocks_numbers():
    layer, xs = time_rnn()
    x = tracked(xs)
    hs, _ = layer(x)
    hs.sum().backward()
    g = gradients(layer)
    assert_published(hs.value, published.BLOCK_HS)
    assert_published(x.grad.value, published.BLOCK_DXS)
    assert_published(g["weight_ih_l0"].T, published.BLOCK_D_WX)
    assert_published(g["weight_hh_l0"].T, published.BLOCK_D_WH)
    assert_published(g["bias_ih_l0"], published.BLOCK_D_B)
    assert_published(layer.state_grad.value[0], published.BLOCK_DH)
    assert_published(layer(xs)[0].value[:, -1], published.BLOCK_SECOND_CALL_LAST_H)
    layer.set_state(np.full((1, 2, 3), 0.5))
    assert_published(layer(xs)[0].value[:, 0], published.BLOCK_FIRST_H_FROM_HALF)
    layer.reset_state()
    assert layer.state is None
    assert_published(layer(xs)[0].value, published.BLOCK_HS)


@pytest.mark.parametrize("name", LAYERS)
def test_the_gradient_by_a_blocks_start_restores_that_of_the_whole(name):
    """Adding `state_grad` to the cotangent of the block before: exactly full BPTT."""
    layer = LAYERS[name](2, 3, 2, rng=0, stateful=True)
    whole = LAYERS[name](2, 3, 2)
    whole.load_state_dict(layer.state_dict())
    xs = RNG(1).normal(size=(6, 2, 2))
    full = whole(xs)[0]
    full.sum().backward()
    first, last = layer(xs[:3])
    second, _ = layer(xs[3:])
    np.testing.assert_array_equal(np.concatenate([first.value, second.value]), full.value)
    second.sum().backward()
    truncated = gradients(layer)
    dh = [g.value for g in flatten(layer.state_grad)[0]]
    (first.sum() + sum((s * g).sum() for s, g in zip(flat(last), dh, strict=True))).backward()
    for key, expected in gradients(whole).items():
        np.testing.assert_allclose(gradients(layer)[key], expected, rtol=1e-12, atol=1e-14)
        assert np.abs(truncated[key] - expected).max() > 1e-3


def test_without_stateful_calls_start_from_zeros_whatever_is_set():
    layer, xs = time_rnn(stateful=False)
    first = layer(xs)[0].value
    layer.set_state(np.full((1, 2, 3), 0.5))
    np.testing.assert_array_equal(layer(xs)[0].value, first)


@pytest.mark.parametrize("name", LAYERS)
def test_another_batch_size_needs_a_reset(name):
    layer = LAYERS[name](2, 3, rng=0, stateful=True)
    layer(np.ones((4, 2, 2)))
    with pytest.raises(ag.ShapeError, match=r"float64\[1, 2, 3\].*reset"):
        layer(np.ones((4, 5, 2)))
    layer.reset_state()
    assert layer(np.ones((4, 5, 2)))[0].shape == (4, 5, 3)


def test_a_stateful_layer_is_not_frozen_into_graphs():
    layer = nn.RNN(2, 3, rng=0, stateful=True)
    layer(np.ones((4, 2, 2)))
    kept = layer.state.value
    with pytest.raises(ag.GraphError, match=r"RNN is stateful.* pass it"):
        layer(ag.input("xs", (4, 2, 2)))
    with pytest.raises(ag.GraphError, match=r"RNN is stateful.* pass it"):
        ag.trace(lambda xs: layer(xs)[0], (4, 2, 2))
    graph = ag.trace(lambda xs, h: layer(xs, h)[0], (4, 2, 2), (1, 2, 3))
    assert set(graph.inputs) == {"xs", "h"}
    np.testing.assert_array_equal(layer.state.value, kept)


# Nobody differentiates a layer by hand.


def rules_in(node: ast.AST) -> list[str]:
    """What in a piece of source defines a gradient: custom functions, and rules of ops."""
    if isinstance(node, ast.Name | ast.Attribute | ast.alias):
        names = {getattr(node, field, None) for field in ("id", "attr", "name")}
        return sorted(names & {"custom_vjp", "defvjp"})
    if isinstance(node, ast.ClassDef):
        methods = [x.name for x in node.body if isinstance(x, ast.FunctionDef)]
        return [f"{node.name}.{name}" for name in methods if name in ("pull", "vjp")]
    if isinstance(node, ast.Assign) and any(
        isinstance(x, ast.Name) and x.id == "vjps" for x in node.targets
    ):
        rules = ast.unparse(node.value)
        return [] if set(rules) <= set("(None,) ") else [f"vjps = {rules}"]
    return []


@pytest.mark.parametrize(
    "source",
    [
        "from autograd import custom_vjp",
        "f = ag.custom_vjp(g)",
        "class A(Op):\n    vjps = (lambda g, y, x: g,)",
        "class A(Op):\n    def pull(self, needs, g, y, xs): ...",
    ],
)
def test_gradients_by_hand_are_found(source):
    assert any(rules_in(node) for node in ast.walk(ast.parse(source)))


def test_nn_defines_no_gradient():
    """Nothing in nn has one of its own. (An op without any, such as a check of labels, may be.)"""
    sources = sorted(Path(nn.__file__).parent.rglob("*.py"))
    assert len(sources) > 10
    found = []
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found += [f"{path.name}: {rule}" for rule in rules_in(node)]
    assert not found


@pytest.mark.parametrize("name", CELLS)
def test_another_formula_has_another_gradient(name, monkeypatch):
    """A step changed in one place has the right gradient at once, in cell and layer."""

    def slopes(layer: Any) -> dict[str, np.ndarray]:
        xs = ag.input("xs", (3, 2, 2))
        graph = ag.Graph([xs], {"y": layer(xs)[0]})
        assert ag.check_grad(graph, (RNG(1).normal(size=(3, 2, 2)),), order=1).error < 1e-7
        layer(np.ones((3, 2, 2)))[0].sum().backward()
        return gradients(layer)

    before = slopes(LAYERS[name](2, 3, rng=0))
    real = CELLS[name].after

    def changed(cell, x, state):
        return real(cell, x * x + 1.0, state)

    monkeypatch.setattr(CELLS[name], "after", changed)
    after = slopes(LAYERS[name](2, 3, rng=0))
    for key in before:
        assert np.abs(before[key] - after[key]).max() > 1e-3


# What is kept.


def test_steps_are_kept_for_the_sizes_used_last(monkeypatch):
    """Drawn once for a size, also after others; sizes without end take no memory without end."""
    drawn = []
    real = nn.recurrent._drawn_step

    def counting(cell, specs, *args):
        drawn.append(specs[0].shape[0])
        return real(cell, specs, *args)

    monkeypatch.setattr(nn.recurrent, "_drawn_step", counting)
    monkeypatch.setattr(nn.recurrent, "MOST", 3)
    layer = nn.GRU(2, 3, rng=0)
    for size in (1, 2, 3, 1, 2, 3, 1, 4, 1, 2):
        layer(np.ones((2, size, 2)))
    assert drawn == [1, 2, 3, 4, 2]
    assert len(layer._kept) == 3


# What errors say.


def test_a_state_of_the_wrong_form_is_shown_what_is_wanted():
    layer = nn.LSTM(2, 3, rng=0)
    wanted = r"initial state of LSTM must be \(float64\[1, 2, 3\], float64\[1, 2, 3\]\)"
    with pytest.raises(ag.ShapeError, match=wanted + r".*came as value"):
        layer(np.ones((4, 2, 2)), np.zeros((1, 2, 3)))
    with pytest.raises(ag.ShapeError, match=wanted + r".*float64\[2, 3\] came"):
        layer(np.ones((4, 2, 2)), (np.zeros((1, 2, 3)), np.zeros((2, 3))))


@pytest.mark.parametrize("lengths", [None, [4, 4]])
def test_what_is_not_finite_is_found_in_layer_and_step(lengths):
    layer = nn.GRU(2, 3, 2, rng=0)
    xs = np.ones((4, 2, 2))
    xs[3] = np.inf
    with pytest.raises(ag.NonFiniteError, match=r"gru_l0\[3\]\."), ag.check_finite():
        layer(xs, lengths=lengths)
