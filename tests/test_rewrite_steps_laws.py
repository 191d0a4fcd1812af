"""The law of passes that move work out of loops: values and derivatives stay, but for rounding.

One list of loop forms, and random programs, times the passes, on machines on which all moves pay
and on which none does but the products. What single passes make of small graphs is in
`test_rewrite_steps.py`.
"""

import os
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings

import autograd as ag
from autograd.rewrite.cost import NATIVE, NUMPY, Machine
from loops import scan
from tests.loop_forms import FORMS
from tests.loop_programs import Rolled, data, programs, run
from tests.rewriting import after, same_results

PASSES = ("split_products", "regroup", "batch", "push_out", "contract", "residuals")
ALL = (
    *("cse", "merge_loops", "merge_states", "trim_ports", "cse"),
    *("split_products", "invariants", "regroup", "batch", "push_out", "contract"),
    *("residuals", "history", "trim_ports", "cse"),
)
EAGER = Machine(call=1.0)
"""Calls are so slow that whatever can is done for all steps at once."""
RELUCTANT = Machine(call=0.0, cache=0)
"""Memory is so slow that only products are."""
MACHINES = {"eager": EAGER, "reluctant": RELUCTANT, "numpy": NUMPY, "native": NATIVE}
EXPLORING = os.environ.get("HYPOTHESIS_PROFILE") == "exploring"

each_form = pytest.mark.parametrize("form", FORMS, ids=str)
each_machine = pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)


@cache
def gradient(form):
    """The graph of the form's values and of the gradient of its loss in everything it is given."""
    graph = form.graph()
    return graph.grad(of="loss", wrt=[*graph.inputs, *graph.parameters])


def values(form):
    return dict(zip(("xs", "h", "w"), form.values, strict=True))


@each_form
@pytest.mark.parametrize("machine", [EAGER, RELUCTANT], ids=["eager", "reluctant"])
def test_values_and_derivatives_stay(form, machine):
    graph = form.graph()
    for names in [PASSES, *[(name,) for name in PASSES]]:
        found = after(graph, *names, machine=machine)
        same_results(graph, found, 2 * (names is PASSES), inputs=values(form), tolerance=1e-11)


@each_form
@each_machine
def test_gradients_stay(form, machine):
    graph = gradient(form)
    found = after(graph, *ALL, machine=machine)
    same_results(graph, found, int(machine is EAGER), inputs=values(form), tolerance=1e-11)


@each_form
def test_single_passes_keep_gradients(form):
    graph = gradient(form)
    for name in PASSES:
        same_results(graph, after(graph, name, machine=EAGER), 0, inputs=values(form))


@each_form
def test_rewritten_loops_unroll_and_are_saved(form, tmp_path):
    graph = gradient(form)
    rewritten = after(graph, *ALL, machine=EAGER)
    rewritten.save(tmp_path / "graph.json")
    inputs = values(form)
    found = graph.run(**inputs)
    for other in (rewritten.unroll(), ag.Graph.load(tmp_path / "graph.json")):
        for name, value in other.run(**inputs).items():
            tolerance = 1e-11 if value.dtype == np.float64 else 1e-4
            np.testing.assert_allclose(value, found[name], tolerance, tolerance, err_msg=name)


@given(programs(2, 5), data(5))
@settings(max_examples=2000 if EXPLORING else 20, deadline=None)
def test_random_programs_stay(program, start):
    arrays = [*start.values, *start.sequences]
    inputs = {f"x{i}": ag.input(f"x{i}", x.shape) for i, x in enumerate(arrays)}
    nodes = list(inputs.values())
    count = len(start.values)
    result = run(program, nodes[:count], nodes[count:], Rolled())
    graph = ag.Graph(inputs, {"result": result}, allow_unused=True).grad(wrt=list(inputs))
    feed = dict(zip(inputs, arrays, strict=True))
    same_results(graph, after(graph, *ALL, machine=EAGER), 1, inputs=feed, tolerance=1e-10)
    for machine in (NUMPY, NATIVE, RELUCTANT):
        same_results(graph, after(graph, *ALL, machine=machine), 0, inputs=feed, tolerance=1e-10)


# Cells of recurrent layers, of all sizes.


def lstm(hc, x, w, joined):
    h, c = hc
    size = h.shape[-1]
    z = ag.concat([x, h], -1) @ w if joined else x @ w[: x.shape[-1]] + h @ w[x.shape[-1] :]
    i, f, g, o = ag.split(z[..., : 4 * size], 4, -1)
    c = ag.sigmoid(f) * c + ag.sigmoid(i) * ag.tanh(g)
    h = ag.sigmoid(o) * ag.tanh(c)
    return (h, c), h


def gated(hc, x, w, normal):
    """A GRU, or the same with its candidate normalised."""
    h, c = hc
    wide, size = x.shape[-1], h.shape[-1]
    z, r = ag.split(ag.sigmoid(x @ w[:wide, : 2 * size] + h @ w[wide:, : 2 * size]), 2, -1)
    n = x @ w[:wide, 2 * size : 3 * size] + r * (h @ w[wide:, 2 * size : 3 * size])
    if normal:
        n = n - n.mean(-1, keepdims=True)
        n = n / ag.sqrt((n * n).mean(-1, keepdims=True) + 0.1)
    h = (1.0 - z) * ag.tanh(n) + z * h
    return (h, c), h @ h.T


CELLS = {
    "lstm": lambda hc, x, w: lstm(hc, x, w, False),
    "joined lstm": lambda hc, x, w: lstm(hc, x, w, True),
    "gru": lambda hc, x, w: gated(hc, x, w, False),
    "normalised gru": lambda hc, x, w: gated(hc, x, w, True),
}


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(("T", "B"), [(0, 2), (1, 2), (2, 1), (5, 3), (3, 0)])
def test_cells_of_all_sizes(name, T, B):
    xs, h = ag.input("xs", (T, B, 2)), ag.input("h", (B, 3))
    w = ag.parameter("w", np.sin(np.arange(60.0)).reshape(5, 12))
    last, ys = scan(lambda hc, x: CELLS[name](hc, x, w), (h, h * 0.5), xs, name=name)
    loss = ag.square(ys - 0.1).sum() + last[1].sum()
    graph = ag.Graph([xs, h], {"loss": loss}).grad(wrt=["xs", "h", "w"])
    for machine in MACHINES.values():
        found = after(graph, *ALL, machine=machine)
        same_results(graph, found, int(machine is NATIVE), tolerance=1e-11)
