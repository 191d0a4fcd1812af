"""Recurrent layers against PyTorch, as it computed their values and gradients once.

The numbers are in tests/fixtures, written by make_torch_recurrent.py there. Inputs, parameters and
cotangents are not stored: they are drawn here as they were there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autograd as ag
import nn
from autograd.node import Node
from autograd.tree import flatten
from tests import nn_reference as by_hand
from tests.nn_helpers import tracked

FOLDER = Path(__file__).parent / "fixtures"
KINDS = ("rnn_tanh", "rnn_relu", "lstm", "lstm_projected", "gru")
FEATURES, HIDDEN = 2, 3
RELATIVE = 1e-12
"""How far a result may be from torch's, in units of the largest element of torch's. Measured were
4.1e-15 at most, in all ways to run and at 1,000 steps too."""


def stored(name: str) -> Any:
    return json.loads((FOLDER / f"torch_{name}.json").read_text(encoding="utf-8"))


def thousandths(rng: np.random.RandomState, shape: Any, limit: float = 1.0) -> np.ndarray:
    """What make_torch_recurrent.py drew: whole thousandths within +-limit."""
    most = int(1000 * limit)
    return rng.randint(-most, most + 1, tuple(shape), dtype=np.int64) / 1000.0


class Case:
    """One stored case, with everything that went into it."""

    def __init__(self, name: str, row: dict[str, Any]) -> None:
        self.name = name
        self.row = row
        self.kwargs: dict[str, Any] = row["kwargs"]
        self.form: str = row.get("form", "cell")
        self.lengths: list[int] | None = row.get("lengths")
        rng = np.random.RandomState(row["seed"])
        self.state_dict = {n: thousandths(rng, shape, 0.5) for n, shape in row["state_dict"]}
        self.inputs = {"x": thousandths(rng, row["x"])}
        outputs = row["outputs"]
        shapes = [np.shape(y) for y in outputs]
        if self.form == "long":
            shapes[0] = (*row["x"][:2], np.shape(outputs[0]["steps"])[-1])
        states = shapes if self.form == "cell" else shapes[1:]
        for i, shape in enumerate(states if row["states"] else ()):
            self.inputs[f"state_{i}"] = thousandths(rng, shape)
        self.cotangents = [thousandths(rng, shape) for shape in shapes]
        self.outputs = outputs
        self.gradients: dict[str, Any] = row["gradients"]
        self.state_shapes = states

    def states(self) -> list[np.ndarray]:
        """The initial states, zeros where torch was given none."""
        zeros = [np.zeros(shape) for shape in self.state_shapes]
        return [self.inputs.get(f"state_{i}", zero) for i, zero in enumerate(zeros)]

    def time_axis(self) -> int:
        return int(self.kwargs.get("batch_first", False) and self.form != "unbatched")


def cases(name: str) -> list[Any]:
    """The cases of a file as parameters of a test, called by what is special about each."""
    result = []
    for i, row in enumerate(stored(name)["cases"]):
        kwargs = row["kwargs"]
        words = [f"{key}={value}" for key, value in kwargs.items() if key != "nonlinearity"]
        kind = row.get("form", "x".join(map(str, row["x"])))
        label = "-".join([name, str(i), row["class"], kind, *words])
        result.append(pytest.param(Case(label, row), id=label))
    return result


CELLS = cases("cells")
LAYERS = [case for kind in KINDS for case in cases(kind)]
LONG = [case for case in LAYERS if case.values[0].form == "long"]
SHORT = [case for case in LAYERS if case.values[0].form != "long"]


def mostly_slow(cases: list[Any], every: int) -> list[Any]:
    """The same cases, all but each `every`th marked as slow: together they are."""
    slow = pytest.mark.slow
    return [
        case if i % every == 0 else pytest.param(*case.values, id=case.id, marks=slow)
        for i, case in enumerate(cases)
    ]


def distance(ours: Any, theirs: Any) -> float:
    """The largest difference, in units of the largest element of `theirs`."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape
    if not theirs.size:
        return 0.0
    largest = np.abs(theirs).max()
    return float(np.abs(ours - theirs).max() / (largest if largest else 1.0))


def assert_is_torchs(ours: Any, theirs: Any, what: str) -> None:
    """Compare with what is stored: an array, or the digest of a long sequence."""
    if isinstance(theirs, dict):
        ours = np.asarray(ours)
        assert np.sum(ours) == pytest.approx(theirs["sum"], rel=RELATIVE), what
        squares = np.sum(np.square(ours))
        assert squares == pytest.approx(theirs["sum_of_squares"], rel=RELATIVE), what
        ours, theirs = ours[[0, 499, 999]], theirs["steps"]
    far = distance(ours, theirs)
    assert far < RELATIVE, f"{what} is {far} from torch's"


# The reference by hand.

HAND_CELLS = {"RNN": by_hand.rnn_cell, "LSTM": by_hand.lstm_cell, "GRU": by_hand.gru_cell}


def hand_cell(case: Case) -> by_hand.Cell:
    cell = HAND_CELLS[case.row["class"].removesuffix("Cell")]
    if "nonlinearity" not in case.kwargs:
        return cell
    return lambda *args: cell(*args, nonlinearity=case.kwargs["nonlinearity"])


@pytest.mark.parametrize("case", CELLS)
def test_cells_by_hand_are_torchs(case: Case):
    ours = hand_cell(case)(case.state_dict, case.inputs["x"], *case.states())
    for y, theirs in zip(ours, case.outputs, strict=True):
        assert_is_torchs(y, theirs, "the state")


@pytest.mark.parametrize("case", LAYERS)
def test_layers_by_hand_are_torchs(case: Case):
    directions = 1 + case.kwargs["bidirectional"]
    xs = np.moveaxis(case.inputs["x"], case.time_axis(), 0)
    args = (hand_cell(case), case.state_dict, xs, case.states())
    if case.lengths is None:
        ys, finals = by_hand.layered(*args, directions)
    else:
        ys, finals = by_hand.each_row_alone(*args, case.lengths, directions)
    for y, theirs in zip(
        [np.moveaxis(ys, 0, case.time_axis()), *finals], case.outputs, strict=True
    ):
        assert_is_torchs(y, theirs, "the output")


# nn.


def made(case: Case) -> nn.Module:
    """The module of a case, with torch's parameters loaded as torch's state_dict has them."""
    module = getattr(nn, case.row["class"])(FEATURES, HIDDEN, rng=0, **case.kwargs)
    assert [[n, list(p.shape)] for n, p in module.named_parameters()] == case.row["state_dict"]
    module.load_state_dict(case.state_dict)
    return module


def given(case: Case) -> dict[str, np.ndarray]:
    """The inputs of a case, with NaN in the padding: torch never sees it either."""
    inputs = {name: np.array(x) for name, x in case.inputs.items()}
    xs = np.moveaxis(inputs["x"], case.time_axis(), 0)
    for b, n in enumerate(case.lengths or ()):
        xs[n:, b] = np.nan
    return inputs


def called(case: Case, module: Any, inputs: dict[str, Any]) -> list[Node]:
    """Call a module as torch's is called; return what comes out as a flat list."""
    states = tuple(inputs[f"state_{i}"] for i in range(len(inputs) - 1))
    args = [inputs["x"], *([states] if len(states) > 1 else states)]
    lengths = {} if case.lengths is None else {"lengths": case.lengths}
    flat, _ = flatten(module(*args, **lengths))
    return flat


def pulled(outputs: list[Any], cotangents: list[np.ndarray]) -> Node:
    """The scalar whose gradient pulls the cotangents back."""
    return sum((y * u).sum() for y, u in zip(outputs, cotangents, strict=True))


def assert_case(case: Case, outputs: list[Any], gradients: dict[str, Any]) -> None:
    for i, (y, theirs) in enumerate(zip(outputs, case.outputs, strict=True)):
        assert_is_torchs(y, theirs, f"output {i}")
    assert list(gradients) == list(case.gradients)
    for name, theirs in case.gradients.items():
        assert_is_torchs(gradients[name], theirs, f"the gradient of {name}")


def drawn(case: Case, module: nn.Module) -> ag.Graph:
    """The module as a graph, with torch's gradients in it as outputs grad_<name>."""
    inputs = {name: ag.input(name, x.shape) for name, x in case.inputs.items()}
    outputs = called(case, module, inputs)
    results = {f"y{i}": y for i, y in enumerate(outputs)}
    graph = ag.Graph([*inputs.values()], {**results, "loss": pulled(outputs, case.cotangents)})
    return graph.grad("loss", [*case.gradients])


def assert_graph_case(case: Case, results: dict[str, np.ndarray]) -> None:
    outputs = [results[f"y{i}"] for i in range(len(case.outputs))]
    assert_case(case, outputs, {name: results[f"grad_{name}"] for name in case.gradients})


@pytest.mark.parametrize("case", mostly_slow([*LONG, *CELLS, *SHORT], 3))
def test_on_tensors(case: Case):
    module = made(case)
    inputs = {name: tracked(x) for name, x in given(case).items()}
    outputs = called(case, module, inputs)
    pulled(outputs, case.cotangents).backward()
    leaves = inputs | dict(module.named_parameters())
    assert_case(
        case, [y.value for y in outputs], {name: x.grad.value for name, x in leaves.items()}
    )


@pytest.mark.parametrize("case", [*CELLS, *LAYERS])
def test_drawn(case: Case):
    """The graph by the reference executor."""
    graph = drawn(case, made(case))
    with ag.backend("reference"):
        assert_graph_case(case, graph.run(**given(case)))


@pytest.mark.parametrize("case", mostly_slow([*LONG, *CELLS, *SHORT], 5))
def test_planned(case: Case):
    """The graph by a NumPy plan."""
    plan = drawn(case, made(case)).compile("numpy")
    assert_graph_case(case, plan.run(**given(case)))


@pytest.mark.parametrize("case", mostly_slow([*LONG, *CELLS[::3], *SHORT[::7]], 7))
def test_planned_native(case: Case):
    """The graph by machine code; compiling takes half a second a case, so these are some."""
    pytest.importorskip("llvmlite")
    plan = drawn(case, made(case)).compile("native")
    loops = [name for name in plan.fallbacks if name.startswith(("rnn", "lstm", "gru"))]
    assert case.lengths or not loops
    assert_graph_case(case, plan.run(**given(case)))


@pytest.mark.parametrize("case", mostly_slow(SHORT, 5))
def test_unrolled(case: Case):
    """Laid out step by step, ragged batches as well: no loop is left."""
    graph = drawn(case, made(case)).unroll()
    assert not graph.find(op="loop")
    with ag.backend("reference"):
        assert_graph_case(case, graph.run(**given(case)))


class Stepped:
    """A layer of torch's written with our cells and Python's loops."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.directions = 1 + case.kwargs["bidirectional"]
        self.cells: dict[str, Any] = {}
        kwargs = dict(case.kwargs)
        layers, one_more = kwargs.pop("num_layers"), kwargs.pop("bidirectional")
        del kwargs["batch_first"]
        width = kwargs.get("proj_size", HIDDEN) * (1 + one_more)
        for k in range(layers):
            for suffix in (f"_l{k}", f"_l{k}_reverse")[: self.directions]:
                size = width if k else FEATURES
                cell = getattr(nn, case.row["class"] + "Cell")(size, HIDDEN, **kwargs)
                names = [name for name, _ in cell.named_parameters()]
                cell.load_state_dict({name: case.state_dict[name + suffix] for name in names})
                self.cells[suffix] = cell

    def named_parameters(self) -> Iterator[tuple[str, ag.Parameter]]:
        for suffix, cell in self.cells.items():
            for name, parameter in cell.named_parameters():
                yield name + suffix, parameter

    def rows(self, xs: Node, states: list[Node]) -> tuple[Node, list[Node]]:
        """Run xs (T, ..., D) from states (layers * directions, ..., H)."""
        finals = []
        for k in range(len(self.cells) // self.directions):
            sides = []
            for d in range(self.directions):
                cell = self.cells[f"_l{k}" + "_reverse" * d]
                now = tuple(s[k * self.directions + d] for s in states)
                ys: list[Node] = []
                for t in range(len(xs))[:: -1 if d else 1]:
                    after = cell(xs[t], now if len(now) > 1 else now[0])
                    now = after if isinstance(after, tuple) else (after,)
                    ys.append(now[0])
                sides.append(ag.stack(ys[:: -1 if d else 1]))
                finals.append(now)
            xs = ag.concat(sides, axis=-1)
        return xs, [ag.stack(list(s)) for s in zip(*finals, strict=True)]

    def __call__(self, xs: Node, *states: Any, lengths: Any = None) -> tuple[Any, ...]:
        axis = self.case.time_axis()
        xs = ag.moveaxis(xs, axis, 0)
        flat = list(flatten(states)[0]) or [ag.tensor(s) for s in self.case.states()]
        if lengths is None:
            ys, finals = self.rows(xs, flat)
            return ag.moveaxis(ys, 0, axis), *finals
        columns, last = [], []
        for b, n in enumerate(lengths):
            ys, finals = self.rows(xs[:n, b], [s[:, b] for s in flat])
            columns.append(ag.pad(ys, ((0, len(xs) - n), (0, 0))))
            last.append(finals)
        finals = [ag.stack(list(s), axis=1) for s in zip(*last, strict=True)]
        return ag.moveaxis(ag.stack(columns, axis=1), 0, axis), *finals


@pytest.mark.parametrize("case", LAYERS)
def test_cells_stepped(case: Case):
    module = Stepped(case)
    inputs = {name: tracked(x) for name, x in given(case).items()}
    outputs = called(case, module, inputs)
    pulled(outputs, case.cotangents).backward()
    leaves = inputs | dict(module.named_parameters())
    gradients = {name: leaves[name].grad.value for name in case.gradients}
    assert_case(case, [y.value for y in outputs], gradients)


# Names, shapes, numbers of parameters and how they are drawn.

INITIAL = stored("init")


@pytest.mark.parametrize("call", INITIAL["modules"])
def test_parameters_have_torchs_names_shapes_and_number(call: str):
    name, arguments = call.removesuffix(")").split("(")
    values = [x.split("=") for x in arguments.split(", ")]
    positional = [int(x[0]) for x in values if len(x) == 1]
    named = {x[0]: json.loads(x[1].lower()) for x in values if len(x) == 2}
    module = getattr(nn, name)(*positional, **named)
    theirs = INITIAL["modules"][call]
    assert [name for name, _ in module.named_parameters()] == theirs["names"]
    assert [list(p.shape) for p in module.parameters()] == theirs["shapes"]
    assert sum(p.size for p in module.parameters()) == theirs["count"]


@pytest.mark.parametrize("name", INITIAL["initial"])
def test_parameters_are_drawn_as_torchs_are(name: str):
    """Uniform within +-1/sqrt(H): the same edges, mean and deviation in 100,000 draws."""
    theirs = INITIAL["initial"][name]
    rng = np.random.default_rng(20)
    count, edge = INITIAL["draws"], INITIAL["hidden"] ** -0.5
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < count:
        module = getattr(nn, name)(100, INITIAL["hidden"], rng=rng)
        parts += [p.value.ravel() for p in module.parameters()]
    values = np.concatenate(parts)[:count]
    assert -edge <= values.min() < -0.999 * edge
    assert 0.999 * edge < values.max() <= edge
    assert values.min() == pytest.approx(theirs["min"], rel=1e-3)
    assert values.max() == pytest.approx(theirs["max"], rel=1e-3)
    error = edge / np.sqrt(3 * count)  # of a mean of that many
    assert abs(values.mean() - theirs["mean"]) < 6 * error
    assert values.std() == pytest.approx(theirs["std"], rel=0.01)


# The calls of an introduction to RNNs in PyTorch, with the lines it prints.


def sizes(shape: tuple[int, ...]) -> str:
    return f"torch.Size({list(shape)})"


def test_the_introductions_calls_print_its_lines():
    xs = np.random.default_rng(0).normal(size=(10, 3, 100))
    out, h = nn.RNN(input_size=100, hidden_size=20, num_layers=1)(xs, np.zeros((1, 3, 20)))
    line = f"out: {sizes(out.shape)} h: {sizes(h.shape)}"
    assert line == "out: torch.Size([10, 3, 20]) h: torch.Size([1, 3, 20])"
    out, h = nn.RNN(input_size=100, hidden_size=20, num_layers=4)(xs, np.zeros((4, 3, 20)))
    line = f"out: {sizes(out.shape)} h: {sizes(h.shape)}"
    assert line == "out: torch.Size([10, 3, 20]) h: torch.Size([4, 3, 20])"
    np.testing.assert_array_equal(out.value[-1], h.value[-1])

    first, second = nn.RNNCell(100, 20), nn.RNNCell(20, 15)
    h0, h1 = np.zeros((3, 20)), np.zeros((3, 15))
    for x in xs:
        h0 = first(x, h0)
        h1 = second(h0, h1)
    assert f"h0: {sizes(h0.shape)}" == "h0: torch.Size([3, 20])"
    assert f"h1: {sizes(h1.shape)}" == "h1: torch.Size([3, 15])"
